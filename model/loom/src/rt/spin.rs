//! Loops that wait: `while !ready.load(Acquire) { yield_now() }`, `while lock.swap(true, Acquire) { spin_loop() }`.
//!
//! To the engine each turn of such a loop would be new operations, without end. But a turn that has changed
//! nothing is not worth having in an execution: see [`code::go_in_circles`]. `yield_now` and `spin_loop` are
//! the hints by which such loops are known. A thread that comes to one after it has done nothing but read
//! is watched: does it do the same again?
//!
//! - Its first two turns are operations as all others.
//! - If they were the same, and so are its next operations, at the same places in the source, these are **answered
//!   from memory**, with what the thread has read before. That is no event: whatever it has read it may read again.
//! - If it does something else after some turns, the loop was bounded, or goes on in another way: to park, say. What
//!   it does then are operations as all others.
//! - If it does not in [`TURNS`] turns, it goes in circles, and stays there in this execution.
//!
//! What is lost by this: turns of a *bounded* loop of which two are in vain and a later one is not, as far
//! as the program counts its turns; it finds the same at the first. And a loop that would end by itself
//! after more turns is taken for an endless one.
//!
//! "Nothing but read": loads, exchanges that fail, read-modify-writes that leave the value as it was, fences,
//! reads of cells.
//!
//! A loop that takes a `Mutex`, looks at what is in it and gives it back is another case: what it reads is memory
//! of the program, which another thread may have changed by the time the thread does the same again. Its turns
//! are operations, and when [`SECTIONS`] of them have been the same, the thread goes in circles.

use reveille_model::code;
use reveille_model::graphs::{Op, Value};

use super::rules::{Rule, without};
use super::{At, own};

/// A loop that goes on for so many turns is taken for an endless one.
pub(crate) const TURNS: u32 = 128;

/// So many turns are operations before they are answered from memory.
const OPERATIONS: u32 = 2;

/// A loop around a lock goes on for so many turns.
const SECTIONS: u32 = 3;

/// So many hints in a row without any operation are an endless loop too.
const IDLE: u32 = 100_000;

/// An operation that has changed nothing.
#[derive(Clone, Copy)]
struct Seen {
    op: Op,
    source: At,
    value: Value,
    /// How many operations the thread had done before
    before: u64,
}

/// What is known of a thread's loop.
#[derive(Default)]
pub(crate) struct Spin {
    /// What the thread has done since the last hint, or since it changed something
    turn: Vec<Seen>,
    /// The turn before
    before: Vec<Seen>,
    /// How many turns have been the same
    same: u32,
    /// The thread does what is in `turn` again
    again: Option<Again>,
    /// Whether a lock was taken in this turn, and given back
    has_sections: bool,
    /// Whether the next operation takes or gives back a lock
    is_section: bool,
    /// Hints since the last operation
    idle: u32,
}

/// How far a thread has come that does the same again.
#[derive(Clone, Copy, Default)]
struct Again {
    /// The next operation of the turn
    next: usize,
    turns: u32,
}

impl Seen {
    fn is_like(&self, other: &Seen) -> bool {
        (self.op, self.value) == (other.op, other.value) && std::ptr::eq(self.source, other.source)
    }
}

impl Spin {
    /// The thread changes something.
    fn changes(&mut self) {
        self.turn.clear();
        self.before.clear();
        self.has_sections = false;
        self.again = None;
    }

    /// A turn has come to a hint. True if the thread is to go in circles.
    fn ends_turn(&mut self) -> bool {
        if let Some(again) = &mut self.again {
            if again.next == self.turn.len() {
                *again = Again { next: 0, turns: again.turns + 1 };
                return again.turns >= TURNS;
            }
            // In the middle of what it did before: a turn of another kind.
            self.changes();
            return false;
        }
        if self.turn.is_empty() {
            return false;
        }
        // What came before the loop is in its first turn.
        let last = &self.before[self.before.len().saturating_sub(self.turn.len())..];
        let is_same = last.len() == self.turn.len() && last.iter().zip(&self.turn).all(|(a, b)| a.is_like(b));
        self.same = if is_same { self.same + 1 } else { 1 };
        if self.has_sections && self.same >= SECTIONS {
            return true;
        }
        if !self.has_sections && self.same >= OPERATIONS {
            self.again = Some(Again::default());
            return false;
        }
        std::mem::swap(&mut self.before, &mut self.turn);
        self.turn.clear();
        self.has_sections = false;
        false
    }
}

/// What the operation returns, if it is one of a turn that is done again.
#[inline]
pub(super) fn answer(op: Op, source: At) -> Option<Value> {
    own(|own| {
        let Spin { turn, again, idle, .. } = &mut own.spin;
        *idle = 0;
        let at = again.as_mut()?;
        match turn.get(at.next).filter(|seen| seen.op == op && std::ptr::eq(seen.source, source)) {
            Some(seen) => {
                at.next += 1;
                Some(seen.value)
            }
            None => {
                own.spin.changes();
                None
            }
        }
    })
}

/// The operation has taken place.
#[inline]
pub(super) fn keep(op: Op, source: At, value: Value) {
    if code::is_taken_down() {
        return;
    }
    let has_changed_nothing = match op {
        Op::Load { until: None, .. } | Op::Fence { .. } | Op::CellRead { .. } | Op::Choose { .. } => true,
        Op::Rmw { until: None, modify, .. } => modify.apply(value).is_none_or(|new| new == value),
        _ => false,
    };
    own(|own| {
        let before = own.operations;
        own.operations += 1;
        let is_section = std::mem::take(&mut own.spin.is_section);
        own.spin.has_sections |= is_section;
        match has_changed_nothing || is_section {
            true => own.spin.turn.push(Seen { op, source, value, before }),
            false => own.spin.changes(),
        }
    });
}

/// Takes a lock, or gives it back: that alone changes nothing.
pub(crate) fn section(body: impl FnOnce()) {
    own(|own| own.spin.is_section = true);
    body();
    own(|own| own.spin.is_section = false);
}

/// What is in a lock may be changed.
pub(crate) fn changes() {
    own(|own| own.spin.changes());
}

/// The thread does something that is none of its loop: it starts a thread, say. That is an operation too.
pub(crate) fn breaks() {
    own(|own| {
        own.operations += 1;
        own.spin.changes();
    });
}

/// `yield_now` and `spin_loop`.
pub(crate) fn hint() {
    if !code::is_running() || code::is_taken_down() || without(Rule::LoopsAreWaits) {
        return;
    }
    let turn = own(|own| {
        own.spin.idle += 1;
        match own.spin.idle {
            1 => {
                let goes_in_circles = own.spin.ends_turn();
                let first = own.spin.turn.first().filter(|_| goes_in_circles);
                first.map(|first| own.operations - first.before)
            }
            idle => (idle > IDLE).then_some(0),
        }
    });
    if let Some(turn) = turn {
        code::go_in_circles(turn as usize);
    }
}
