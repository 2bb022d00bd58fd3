//! Loops that wait: `while !ready.load(Acquire) { yield_now() }`, `while lock.swap(true, Acquire) { spin_loop() }`.
//!
//! To the engine each turn of such a loop would be new operations, without end. But a turn that has changed
//! nothing is not worth having in an execution: see [`code::go_in_circles`]. `yield_now` and `spin_loop` are
//! the hints by which such loops are known. What a thread does up to one of them is a turn; or up to the second, third or
//! fourth, if it waits in turns of several kinds.
//!
//! Of a turn that does nothing but read:
//!
//! - The first two are operations as all others.
//! - If they were the same, and so are the next operations, at the same places in the source, these are **answered
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
//! A turn that **leaves what it writes as it was** changes nothing, either: one that takes a lock, looks at what is
//! in it and gives it back, be it a `Mutex` or a word of the program's own. But others see what it writes
//! meanwhile, and what it looks at is memory of the program, which another thread may have changed by the time it
//! does the same again. So such turns are operations, and when [`SECTIONS`] of them have been the same, the thread
//! goes in circles. What is found to be stuck in this way is searched again, with [`MORE`] turns: the loop may be a
//! bounded one, which goes on after its last turn.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use reveille_model::code;
use reveille_model::graphs::{Op, Value};

use super::rules::{Rule, without};
use super::{At, own, with};

/// A loop that goes on for so many turns is taken for an endless one.
pub(crate) const TURNS: u32 = 128;

/// So many turns are operations before they are answered from memory.
const OPERATIONS: u32 = 2;

/// A loop that writes, and leaves it as it was, goes on for so many turns; or for [`MORE`], see [`Turns`].
const SECTIONS: u32 = 3;
const MORE: u32 = 64;

/// So much of what a thread has done is looked at.
const LONGEST: usize = 4_000;

/// A turn has no more hints than these.
const HINTS: usize = 4;

/// So many hints in a row without any operation are an endless loop too.
const IDLE: u32 = 100_000;

/// How many turns of a loop that writes there are in the runs of a search.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// [`MORE`], and not [`SECTIONS`]
    are_more: AtomicBool,
    /// Whether a thread has gone in circles after as many
    are_reached: AtomicBool,
}

impl Turns {
    fn most(&self) -> u32 {
        if self.are_more.load(Relaxed) { MORE } else { SECTIONS }
    }

    /// Whether it makes a difference to search again, with more turns.
    pub fn extend(&self) -> bool {
        self.are_reached.swap(false, Relaxed) && !self.are_more.swap(true, Relaxed)
    }

    /// See [`Learned`](super::learned::Learned).
    pub fn parse(text: &str) -> Option<(Turns, &str)> {
        let rest = text.strip_prefix(PREFIX);
        let are_more = AtomicBool::new(rest.is_some());
        Some((Turns { are_more, ..Turns::default() }, rest.unwrap_or(text)))
    }
}

const PREFIX: &str = "turns+";

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.are_more.load(Relaxed) { PREFIX } else { "" })
    }
}

/// An operation of a turn.
#[derive(Clone, Copy)]
struct Seen {
    op: Op,
    source: At,
    value: Value,
    /// Whether it has changed nothing
    only_reads: bool,
    /// How many operations the thread had done before
    before: u64,
}

/// What is known of a thread's loop.
#[derive(Default)]
pub(crate) struct Spin {
    /// What the thread has done since something changed that is not seen here
    done: Vec<Seen>,
    /// How much of this there was at each hint
    hints: Vec<usize>,
    /// The thread does again what it has done at last
    again: Option<Again>,
    /// Hints since the last operation
    idle: u32,
}

/// How far a thread has come that does the same again.
#[derive(Clone, Copy)]
struct Again {
    /// Where the turn begins
    start: usize,
    /// The next operation
    next: usize,
    turns: u32,
}

impl Seen {
    /// What it has written.
    fn wrote(&self) -> Option<Value> {
        match self.op {
            Op::Store { value, .. } => Some(value),
            Op::Rmw { modify, until, .. } if until.is_none_or(|until| until.satisfied(self.value)) => {
                modify.apply(self.value)
            }
            _ => None,
        }
    }

    fn is_like(&self, other: &Seen) -> bool {
        (self.op, self.value) == (other.op, other.value) && std::ptr::eq(self.source, other.source)
    }
}

/// What a hint is to a thread.
#[derive(PartialEq, Eq)]
enum Hint {
    GoesOn,
    /// The thread goes in circles: its last turn begins here, and it has written something in it, or not
    Circles(usize, bool),
}

impl Spin {
    /// Something has changed that is not seen here.
    fn changes(&mut self) {
        self.done.clear();
        self.hints.clear();
        self.again = None;
    }

    /// A turn may have come to its end.
    fn ends_turn(&mut self, sections: u32) -> Hint {
        let end = self.done.len();
        if let Some(again) = &mut self.again {
            if again.next == end {
                *again = Again { next: again.start, turns: again.turns + 1, ..*again };
                return if again.turns >= TURNS { Hint::Circles(again.start, false) } else { Hint::GoesOn };
            }
            if !self.hints.contains(&again.next) {
                // In the middle of what it did before: a turn of another kind.
                self.changes();
            }
            return Hint::GoesOn;
        }
        for nth in 1..=HINTS.min(self.hints.len() + 1) {
            let start = self.hints.len().checked_sub(nth).map_or(0, |hint| self.hints[hint]);
            let turn = &self.done[start..];
            let writes = turn.iter().any(|seen| !seen.only_reads);
            let times = if writes { sections } else { OPERATIONS };
            if turn.is_empty() || !self.repeats(turn.len(), times as usize) {
                continue;
            }
            if writes && is_restored(turn) {
                return Hint::Circles(start, true);
            }
            if !writes {
                self.hints.push(end);
                self.again = Some(Again { start, next: start, turns: 0 });
                return Hint::GoesOn;
            }
        }
        self.hints.push(end);
        Hint::GoesOn
    }

    /// Whether the last so many operations have been done so many times.
    fn repeats(&self, length: usize, times: usize) -> bool {
        let Some(from) = self.done.len().checked_sub(length * times) else { return false };
        self.done[from..].iter().zip(&self.done[from + length..]).all(|(a, b)| a.is_like(b))
    }
}

/// Whether each location that was written in this turn had the value before that it was left with. Of what is in
/// a cell nothing is known.
fn is_restored(turn: &[Seen]) -> bool {
    turn.iter().enumerate().all(|(nth, seen)| {
        let (Some(location), Some(_)) = (seen.op.location(), seen.wrote()) else { return true };
        let is_of = |other: &&Seen| other.op.location() == Some(location);
        let first = turn[..=nth].iter().find(is_of).filter(|first| first.op.reads());
        let last = turn.iter().rev().filter(is_of).find_map(Seen::wrote);
        first.is_some_and(|first| Some(first.value) == last)
    })
}

/// What the operation returns, if it is one of a turn that is done again.
#[inline]
pub(super) fn answer(op: Op, source: At) -> Option<Value> {
    own(|own| {
        let Spin { done, again, idle, .. } = &mut own.spin;
        *idle = 0;
        let at = again.as_mut()?;
        match done.get(at.next).filter(|seen| seen.op == op && std::ptr::eq(seen.source, source)) {
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
    let only_reads = match op {
        Op::Load { until: None, .. } | Op::Fence { .. } | Op::CellRead { .. } | Op::Choose { .. } => true,
        Op::Rmw { until: None, modify, .. } => modify.apply(value).is_none_or(|new| new == value),
        _ => false,
    };
    own(|own| {
        let before = own.operations;
        own.operations += 1;
        if own.spin.done.len() == LONGEST {
            own.spin.changes();
        }
        own.spin.done.push(Seen { op, source, value, only_reads, before });
    });
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
    let learned = with(|run| run.learned.clone());
    let turn = own(|own| {
        own.spin.idle += 1;
        match own.spin.idle {
            1 => match own.spin.ends_turn(learned.turns.most()) {
                Hint::GoesOn => None,
                Hint::Circles(start, writes) => {
                    learned.turns.are_reached.fetch_or(writes, Relaxed);
                    Some(own.operations - own.spin.done[start].before)
                }
            },
            idle => (idle > IDLE).then_some(0),
        }
    });
    if let Some(turn) = turn {
        code::go_in_circles(turn as usize);
    }
}
