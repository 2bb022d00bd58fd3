//! What a thread may still read, and what it may still touch: two backward data-flow analyses.

use std::sync::atomic::Ordering;

use super::{Action, Expr, Instruction, Observed, Register};
use crate::memory::{Barrier, Footprint, Future, Location, Value};

/// What one instruction does to memory.
pub(super) fn footprint(instruction: &Instruction) -> Footprint {
    match instruction {
        Instruction::Access { place, action, .. } => {
            let mask = place.mask();
            let reads = if matches!(action, Action::Store(..) | Action::Unlock) { 0 } else { mask };
            let writes = if action.writes() { mask } else { 0 };
            Footprint { reads, writes, full_barrier: false }
        }
        Instruction::Fence { barrier, .. } => {
            Footprint { full_barrier: *barrier == Barrier::SeqCst, ..Footprint::default() }
        }
        _ => Footprint::default(),
    }
}

/// The same as the future of a thread that does only this.
fn alone(instruction: &Instruction) -> Future {
    let all = footprint(instruction);
    let nothing = Future { all, ..Future::NOTHING };
    match instruction {
        Instruction::Access { action, .. } => Future {
            // Locking is no release, but nobody ever reads what it wrote: the others wait for the unlock.
            unreleased: if action.order().releases() || *action == Action::Lock { 0 } else { all.writes },
            loads: match action {
                Action::Load(_) | Action::CompareExchange { .. } => all.touched(),
                _ => 0,
            },
            acquires: if action.order().acquires() || action.failure() == Some(Ordering::Acquire) {
                all.reads
            } else {
                0
            },
            unlocked: match action {
                Action::Lock | Action::Unlock => 0,
                _ => all.touched(),
            },
            ..nothing
        },
        Instruction::Fence { barrier, .. } => {
            let acquire_fence = *barrier != Barrier::Release;
            Future { acquire_fence, light_fence: acquire_fence && !all.full_barrier, ..nothing }
        }
        _ => nothing,
    }
}

/// Where control may go after the instruction at `at`.
fn successors(code: &[Instruction], at: usize) -> impl Iterator<Item = usize> {
    let (next, jump) = match &code[at] {
        Instruction::Jump(target) => (None, Some(*target)),
        Instruction::Unless(_, target) | Instruction::Choose { other: target, .. } => {
            (Some(at + 1), Some(*target))
        }
        _ => (Some(at + 1), None),
    };
    next.into_iter().chain(jump)
}

/// The least solution of `before[i] = transfer(i, ∪ before[successors of i])`, given `before` at the end.
fn backward<T: Copy + PartialEq>(
    code: &[Instruction],
    at_end: T,
    bottom: T,
    union: impl Fn(T, T) -> T,
    transfer: impl Fn(usize, T) -> T,
) -> Vec<T> {
    let mut before = vec![bottom; code.len()];
    before.push(at_end);
    loop {
        let mut changed = false;
        for at in (0..code.len()).rev() {
            let after = successors(code, at).map(|next| before[next]).fold(bottom, &union);
            let new = transfer(at, after);
            changed |= new != before[at];
            before[at] = new;
        }
        if !changed {
            return before;
        }
    }
}

/// Before each instruction: the registers whose value may still be read.
pub(super) fn live(code: &[Instruction], observed: u32) -> Vec<u32> {
    needed(code, observed, Expr::uses, Expr::uses)
}

/// Before each instruction: the registers of which more may still be asked than whether they are 0.
fn exact(code: &[Instruction], observed: u32) -> Vec<u32> {
    needed(code, observed, Expr::exact_uses, Expr::exact_uses_of_condition)
}

/// Before each instruction: the registers that may still be used, if these are the uses of a value and of a condition.
fn needed(
    code: &[Instruction],
    observed: u32,
    of_value: impl Fn(&Expr) -> u32,
    of_condition: impl Fn(&Expr) -> u32,
) -> Vec<u32> {
    use super::ListAction;
    backward(
        code,
        observed,
        0,
        |a, b| a | b,
        |at, after| {
            let (sets, uses) = match &code[at] {
                Instruction::Access { place, action, into, .. } => {
                    let operands = match action {
                        Action::Store(_, value) | Action::Swap(_, value) | Action::Add(_, value) => {
                            value.uses()
                        }
                        Action::CompareExchange { expected, new, .. } => expected.uses() | new.uses(),
                        _ => 0,
                    };
                    (*into, place.index.uses() | operands)
                }
                Instruction::Set(register, value) => (Some(*register), of_value(value)),
                Instruction::Unless(condition, _) | Instruction::Claim { holds: condition, .. } => {
                    (None, of_condition(condition))
                }
                Instruction::List { action, into, .. } => match action {
                    ListAction::Push(entry)
                    | ListAction::PushFront(entry)
                    | ListAction::Remove(entry)
                    | ListAction::Contains(entry)
                    | ListAction::Get(entry) => (*into, entry.uses()),
                    ListAction::Length => (*into, 0),
                },
                Instruction::Jump(_) | Instruction::Choose { .. } | Instruction::Fence { .. } => (None, 0),
            };
            let after = sets.map_or(after, |register| after & !(1 << register.0));
            // An observed register keeps its value to the end, whatever branch is taken.
            after | uses | observed
        },
    )
}

/// Before each instruction: everything that may still be done to memory, and what must be done first.
pub(super) fn future(code: &[Instruction], observed: Observed) -> Vec<Future> {
    let exact = exact(code, observed.registers);
    let found_out =
        |at: usize, register: Register| successors(code, at).any(|next| exact[next] & 1 << register.0 != 0);
    let at_end = Future { once: !observed.objects, ..Future::NOTHING };
    backward(code, at_end, Future::NOTHING, Future::or, |at, after| {
        let instruction = &code[at];
        let alone = alone(instruction);
        let (here, touched) = (alone.all, alone.all.touched());
        let mut before = after.or(alone);
        before.fenced &= !touched;
        let lock = match instruction {
            Instruction::Access { action: Action::Lock, .. } if touched.count_ones() == 1 => touched,
            _ => 0,
        };
        for (location, locked) in before.locked.iter_mut().enumerate() {
            *locked = if touched & 1 << location != 0 { 0 } else { *locked | lock };
        }
        if here.full_barrier {
            before.fenced = !0;
        }
        // Whatever it reads later it must not read again, nor after having learnt or written something.
        let learns = alone.acquires != 0 || alone.acquire_fence;
        before.once &= !(after.all.reads & if learns { !0 } else { touched });
        // A wait is more than a read, and so is a compare-exchange; of a value exchanged no more may be found out than whether it is 0.
        if let Instruction::Access { action, into, .. } = instruction {
            let plain = match action {
                Action::Load(_) | Action::Store(..) => true,
                Action::Swap(..) => !into.is_some_and(|register| found_out(at, register)),
                _ => false,
            };
            before.once &= if plain { !0 } else { !touched };
        }
        if let Instruction::Access { action, into, .. } = instruction {
            let compared = matches!(action, Action::CompareExchange { .. });
            if compared || into.is_some_and(|register| found_out(at, register)) {
                before.exact |= alone.loads;
            }
            match action {
                Action::Lock => before.holds &= !touched,
                Action::Unlock => before.holds |= touched,
                _ => (),
            }
        }
        before
    })
}

/// What may be done to memory before a thread waits for a value that is not there.
#[derive(Clone, Debug)]
pub(super) struct Until {
    /// Where it waits, and for which value
    waits: Vec<(Location, Value)>,
    /// Before each instruction, for every set of values that are there, as bits
    table: Vec<Footprint>,
    /// Before each instruction: which of them make a difference
    matter: Vec<u8>,
}

/// So many places to wait are told apart, one a bit; at more it is as if the value were always there.
const WAITS: usize = 8;

impl Until {
    pub fn new(code: &[Instruction]) -> Until {
        let waits = |instruction: &Instruction| match instruction {
            Instruction::Access { place, action: Action::Lock, .. } => Some((place.only()?, 0)),
            Instruction::Access { place, action: Action::Park, .. } => Some((place.only()?, 1)),
            _ => None,
        };
        let mut places: Vec<_> = code.iter().filter_map(waits).collect();
        places.sort_unstable();
        places.dedup();
        places.truncate(WAITS);
        let nothing = Footprint::default();
        let until = |stops: &dyn Fn(&Instruction) -> bool| {
            backward(code, nothing, nothing, Footprint::union, |at, after| {
                if stops(&code[at]) { nothing } else { after.union(footprint(&code[at])) }
            })
        };
        let sets: Vec<Vec<Footprint>> = (0..1_u32 << places.len())
            .map(|there| {
                until(&|instruction| {
                    let place = waits(instruction);
                    let index = place.and_then(|place| places.iter().position(|other| *other == place));
                    index.is_some_and(|index| there & 1 << index == 0)
                })
            })
            .collect();
        let table: Vec<_> = (0..=code.len()).flat_map(|at| sets.iter().map(move |set| set[at])).collect();
        let matters = |sets: &[Footprint]| {
            let differs = |stop: usize| (0..sets.len()).any(|there| sets[there] != sets[there | 1 << stop]);
            (0..places.len()).fold(0, |all, stop| all | u8::from(differs(stop)) << stop)
        };
        let matter = table.chunks(sets.len()).map(matters).collect();
        Until { waits: places, table, matter }
    }

    /// Where it waits, and for which value.
    pub fn waits(&self) -> &[(Location, Value)] {
        &self.waits
    }

    /// Which of them make a difference to what may be done from a place on.
    pub fn matter(&self, place: u16) -> u8 {
        self.matter[usize::from(place)]
    }

    /// What may be done from a place on before the thread waits for a value that is not there.
    pub fn before(&self, place: u16, there: u8) -> Footprint {
        self.table[usize::from(place) << self.waits.len() | usize::from(there)]
    }
}

/// The locations at which such a thing is done.
pub(super) fn places(code: &[Instruction], what: impl Fn(&Action) -> bool) -> u16 {
    let places = code.iter().map(|instruction| match instruction {
        Instruction::Access { place, action, .. } if what(action) => place.mask(),
        _ => 0,
    });
    places.fold(0, |all, place| all | place)
}

/// Locks that may be held by somebody who violates a claim, or who waits, be it only for a lock that may be held `long`.
pub(super) fn held_long(code: &[Instruction], future: &[Future], long: u16) -> u16 {
    let stops = |instruction: &Instruction| match instruction {
        Instruction::Access { action: Action::Park, .. } | Instruction::Claim { .. } => true,
        Instruction::Access { action: Action::Lock, place, .. } => place.mask() & long != 0,
        _ => false,
    };
    let held = code.iter().zip(future).filter(|(instruction, _)| stops(instruction));
    held.fold(0, |all, (_, future)| all | future.holds)
}
