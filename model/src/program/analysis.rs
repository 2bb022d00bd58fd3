//! What a thread may still read, and what it may still touch: two backward data-flow analyses.

use super::{Action, Instruction};
use crate::memory::Barrier;

/// Everything that a thread may still do to shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Locations read, as a set of bits
    pub reads: u32,
    /// Locations written
    pub writes: u32,
    /// Is there a `seq_cst` fence?
    pub full_barrier: bool,
}

impl Footprint {
    pub(super) fn of(instruction: &Instruction) -> Footprint {
        match instruction {
            Instruction::Access { place, action, .. } => {
                let mask = place.object.mask();
                let reads = if matches!(action, Action::Store(..) | Action::Unlock) {
                    0
                } else {
                    mask
                };
                let writes = if action.writes() { mask } else { 0 };
                Footprint {
                    reads,
                    writes,
                    full_barrier: false,
                }
            }
            Instruction::Fence { barrier, .. } => Footprint {
                full_barrier: *barrier == Barrier::SeqCst,
                ..Footprint::default()
            },
            _ => Footprint::default(),
        }
    }

    fn union(self, other: Footprint) -> Footprint {
        Footprint {
            reads: self.reads | other.reads,
            writes: self.writes | other.writes,
            full_barrier: self.full_barrier || other.full_barrier,
        }
    }

    /// Can something in the one matter to something in the other?
    pub fn conflicts(self, other: Footprint) -> bool {
        self.writes & (other.reads | other.writes) != 0
            || self.reads & other.writes != 0
            || self.full_barrier && other.full_barrier
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
    transfer: impl Fn(&Instruction, T) -> T,
) -> Vec<T> {
    let mut before = vec![bottom; code.len()];
    before.push(at_end);
    loop {
        let mut changed = false;
        for at in (0..code.len()).rev() {
            let after = successors(code, at)
                .map(|next| before[next])
                .fold(bottom, &union);
            let new = transfer(&code[at], after);
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
    use super::ListAction;
    backward(
        code,
        observed,
        0,
        |a, b| a | b,
        |instruction, after| {
            let (sets, uses) = match instruction {
                Instruction::Access {
                    place,
                    action,
                    into,
                    ..
                } => {
                    let operands = match action {
                        Action::Store(_, value)
                        | Action::Swap(_, value)
                        | Action::Add(_, value) => value.uses(),
                        Action::CompareExchange { expected, new, .. } => {
                            expected.uses() | new.uses()
                        }
                        _ => 0,
                    };
                    (*into, place.index.uses() | operands)
                }
                Instruction::Set(register, value) => (Some(*register), value.uses()),
                Instruction::Unless(condition, _)
                | Instruction::Claim {
                    holds: condition, ..
                } => (None, condition.uses()),
                Instruction::List { action, into, .. } => match action {
                    ListAction::Push(entry)
                    | ListAction::Remove(entry)
                    | ListAction::Contains(entry)
                    | ListAction::Get(entry) => (*into, entry.uses()),
                    ListAction::Length => (*into, 0),
                },
                Instruction::Jump(_) | Instruction::Choose { .. } | Instruction::Fence { .. } => {
                    (None, 0)
                }
            };
            let after = sets.map_or(after, |register| after & !(1 << register.0));
            // An observed register keeps its value to the end, whatever branch is taken.
            after | uses | observed
        },
    )
}

/// Before each instruction: everything that may still be done to memory.
pub(super) fn future(code: &[Instruction]) -> Vec<Footprint> {
    let bottom = Footprint::default();
    backward(
        code,
        bottom,
        bottom,
        Footprint::union,
        |instruction, after| after.union(Footprint::of(instruction)),
    )
}
