//! Running one thread between two steps.

use std::sync::atomic::Ordering;

use smallvec::{SmallVec, smallvec};

use super::{Instruction, Kind, ListAction, Register, Thread};
use crate::memory::{Footprint, Future, Location, Operation, Value};

/// The content of a list: up to [`Sequence::CAPACITY`] numbers in `0..`[`Sequence::LIMIT`], four bits each, the first
/// one lowest. A number is stored as itself plus one, so that 0 is the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u32);

impl Sequence {
    /// The most entries.
    pub const CAPACITY: usize = 8;
    /// The least number that is no entry.
    pub const LIMIT: Value = 15;

    /// Puts an entry at the end, if it is one and there is room.
    pub(super) fn push(&mut self, entry: Value) -> bool {
        let length = self.length();
        let fits = length < Self::CAPACITY && (0..Self::LIMIT).contains(&entry);
        if fits {
            self.0 |= (entry as u32 + 1) << (4 * length);
        }
        fits
    }

    /// Puts an entry at the front, if it is one and there is room.
    fn push_front(&mut self, entry: Value) -> bool {
        let mut shifted = Sequence::default();
        let fits = shifted.push(entry) && self.length() < Self::CAPACITY;
        if fits {
            shifted.0 |= self.0 << 4;
            *self = shifted;
        }
        fits
    }

    /// How many entries there are.
    pub fn length(self) -> usize {
        (32 - self.0.leading_zeros() as usize).div_ceil(4)
    }

    /// The entry at an index.
    pub fn get(self, index: usize) -> Option<Value> {
        (index < self.length()).then(|| ((self.0 >> (4 * index)) & 15) as Value - 1)
    }

    /// The entries, the first first.
    pub fn iter(self) -> impl Iterator<Item = Value> {
        (0..self.length()).filter_map(move |index| self.get(index))
    }

    fn remove(&mut self, entry: Value) -> bool {
        let Some(index) = self.iter().position(|other| other == entry) else {
            return false;
        };
        let below = (1_u32 << (4 * index)) - 1;
        self.0 = (self.0 & below) | ((self.0 >> 4) & !below);
        true
    }
}

/// Where a thread is: its next instruction and its registers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Position {
    pub(super) at: u16,
    /// Has it had its turn? Only a search that takes turns into account says so.
    had_turn: bool,
    pub(super) registers: SmallVec<[Value; 8]>,
}

impl Clone for Position {
    /// As derived, but the registers are copied at once and not one by one: a search does little else.
    fn clone(&self) -> Self {
        Position { registers: SmallVec::from_slice(&self.registers), ..*self }
    }
}

/// Why a thread stopped running on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Before a shared operation or a choice
    Waiting,
    /// After its last instruction
    Finished,
    /// Before a claim that does not hold
    Violated,
    /// It would run for ever, or a list overflowed: a mistake in the program
    Broken,
}

/// So many local instructions in a row are a loop without end.
const PATIENCE: usize = 10_000;

impl Thread {
    pub(crate) fn start(&self) -> Position {
        Position { at: 0, had_turn: false, registers: smallvec![0; self.registers] }
    }

    /// Runs local instructions up to the next shared operation, then forgets the registers that are dead. Says also whether a list was
    /// looked at on the way.
    pub(crate) fn settle(&self, position: &mut Position, lists: &mut [Sequence]) -> (Settled, bool) {
        let mut touched = false;
        let settled = self.run(position, |list, action, registers| {
            touched = true;
            action.on(&mut lists[list], registers)
        });
        self.forget(position);
        (settled, touched)
    }

    pub(super) fn forget(&self, position: &mut Position) {
        let live = self.live[usize::from(position.at)];
        for (index, register) in position.registers.iter_mut().enumerate() {
            if live & (1 << index) == 0 {
                *register = 0;
            }
        }
    }

    /// Runs local instructions; `touch` executes a list operation, giving its result, or `None` to stop there.
    pub(super) fn run(
        &self,
        position: &mut Position,
        mut touch: impl FnMut(usize, &ListAction, &[Value]) -> Option<Value>,
    ) -> Settled {
        for _ in 0..PATIENCE {
            let Some(instruction) = self.code.get(usize::from(position.at)) else {
                return Settled::Finished;
            };
            let registers = &mut position.registers;
            let mut next = usize::from(position.at) + 1;
            match instruction {
                Instruction::Access { .. } | Instruction::Fence { .. } | Instruction::Choose { .. } => {
                    return Settled::Waiting;
                }
                Instruction::Set(register, value) => {
                    registers[usize::from(register.0)] = value.value(registers)
                }
                Instruction::Unless(condition, target) if condition.value(registers) == 0 => next = *target,
                Instruction::Unless(..) => (),
                Instruction::Jump(target) => next = *target,
                Instruction::List { list, action, into } => {
                    let Some(result) = touch(usize::from(list.0), action, registers) else {
                        return Settled::Broken;
                    };
                    if let Some(register) = into {
                        registers[usize::from(register.0)] = result;
                    }
                }
                Instruction::Claim { holds, .. } if holds.value(registers) == 0 => {
                    return Settled::Violated;
                }
                Instruction::Claim { .. } => (),
            }
            position.at = next as u16;
        }
        Settled::Broken
    }
}

impl ListAction {
    /// The result of the operation; `None` if the list overflows.
    pub(super) fn on(&self, list: &mut Sequence, registers: &[Value]) -> Option<Value> {
        match self {
            ListAction::Push(entry) => list.push(entry.value(registers)).then_some(0),
            ListAction::PushFront(entry) => list.push_front(entry.value(registers)).then_some(0),
            ListAction::Remove(entry) => Some(Value::from(list.remove(entry.value(registers)))),
            ListAction::Contains(entry) => {
                let entry = entry.value(registers);
                Some(Value::from(list.iter().any(|other| other == entry)))
            }
            ListAction::Get(index) => {
                let index = usize::try_from(index.value(registers)).ok();
                Some(index.and_then(|index| list.get(index)).unwrap_or(-1))
            }
            ListAction::Length => Some(list.length() as Value),
        }
    }
}

/// The next step of a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'a> {
    instruction: &'a Instruction,
    footprint: Footprint,
}

impl Thread {
    /// The next step; `None` if the thread has finished or violated a claim.
    pub(crate) fn next(&self, position: &Position) -> Option<Next<'_>> {
        self.next_at(position.at)
    }

    /// The next step from a place in the code.
    pub(crate) fn next_at(&self, place: u16) -> Option<Next<'_>> {
        let instruction = self.code.get(usize::from(place))?;
        let footprint = self.footprints[usize::from(place)];
        (!matches!(instruction, Instruction::Claim { .. })).then_some(Next { instruction, footprint })
    }

    /// Is the next step the one that it does in its turn?
    pub(crate) fn is_turn(&self, position: &Position) -> bool {
        self.turn == Some(usize::from(position.at))
    }

    /// The claim that the thread is about to violate, if it is.
    pub(crate) fn violated(&self, position: &Position) -> Option<&str> {
        match self.code.get(usize::from(position.at))? {
            Instruction::Claim { claim, .. } => Some(claim),
            _ => None,
        }
    }

    /// Everything that the thread may still do, and what it must do first.
    pub(crate) fn future(&self, position: &Position) -> &Future {
        &self.future[usize::from(position.at)]
    }

    /// Where it waits, be it now or at another time, and for which value.
    pub(crate) fn waits(&self) -> &[(Location, Value)] {
        self.until.waits()
    }

    /// Which of these make a difference from this place in its code on.
    pub(crate) fn waits_that_matter(&self, place: u16) -> u8 {
        self.until.matter(place)
    }

    /// Everything that the thread may still do from this place in its code if it goes no further than where it waits for a value that is not
    /// there; `there` are those of [`waits`](Thread::waits) that are, as a set of bits.
    pub(crate) fn future_if(&self, place: u16, there: u8) -> Footprint {
        self.until.before(place, there)
    }
}

impl Position {
    /// The place in the code.
    pub(crate) fn place(&self) -> u16 {
        self.at
    }

    /// The same in code of which the part that follows begins elsewhere; nothing if it has not come so far.
    pub(crate) fn moved(&self, from: u16, to: &Thread, at: u16) -> Option<Position> {
        let mut moved = Position { at: self.at.checked_sub(from)? + at, ..self.clone() };
        // Registers that only one of them has are dead here.
        moved.registers.resize(to.registers, 0);
        Some(moved)
    }

    /// Has the thread had its turn?
    pub(crate) fn had_turn(&self) -> bool {
        self.had_turn
    }

    /// The thread has had its turn.
    pub(crate) fn have_turn(&mut self) {
        self.had_turn = true;
    }

    /// The value of a register.
    pub fn register(&self, register: Register) -> Value {
        self.registers[usize::from(register.0)]
    }
}

impl<'a> Next<'a> {
    pub(crate) fn is_choice(self) -> bool {
        matches!(self.instruction, Instruction::Choose { .. })
    }

    /// Is it something for which a thread may have to wait?
    pub(crate) fn may_wait(self) -> bool {
        matches!(self.kind(), Kind::Lock | Kind::Park)
    }

    pub(crate) fn site(self) -> &'a str {
        self.instruction.site().map_or("", |site| site)
    }

    pub(crate) fn kind(self) -> Kind {
        match self.instruction {
            Instruction::Access { action, .. } => action.kind(),
            Instruction::Fence { .. } => Kind::Fence,
            _ => Kind::Choice,
        }
    }

    pub(crate) fn order(self) -> Option<Ordering> {
        match self.instruction {
            Instruction::Access { action, .. } => Some(action.order().into()),
            Instruction::Fence { barrier, .. } => Some((*barrier).into()),
            _ => None,
        }
    }

    /// What it may do to memory.
    pub(crate) fn footprint(self, position: &Position) -> Footprint {
        let mut footprint = self.footprint;
        if (footprint.reads | footprint.writes).count_ones() > 1
            && let Some((Some(location), _)) = self.operation(position)
        {
            footprint.reads &= location.bit();
            footprint.writes &= location.bit();
        }
        footprint
    }

    /// What memory is asked to do, and where; `None` for a choice, and for an index outside its array.
    pub(crate) fn operation(self, position: &Position) -> Option<(Option<Location>, Operation)> {
        let registers = &position.registers;
        match self.instruction {
            Instruction::Access { place, action, .. } => {
                let location = place.object.location(place.index.value(registers))?;
                Some((Some(location), action.operation(location, registers)))
            }
            Instruction::Fence { barrier, .. } => Some((None, Operation::Fence(*barrier))),
            _ => None,
        }
    }

    /// Goes to where the thread is after the operation, having read this value; or after the choice, if this is 1.
    pub(crate) fn done(self, position: &mut Position, read: Option<Value>) {
        position.at += 1;
        match (self.instruction, read) {
            (Instruction::Access { into: Some(register), .. }, Some(read)) => {
                position.registers[usize::from(register.0)] = read;
            }
            (Instruction::Choose { other, .. }, Some(0)) => position.at = *other as u16,
            _ => (),
        }
    }
}
