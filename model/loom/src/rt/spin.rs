//! Loops that wait: `while !ready.load(Acquire) { yield_now() }`, `while lock.swap(true, Acquire) { spin_loop() }`.
//!
//! To the engine each turn of such a loop would be new operations, without end. But a turn that has changed
//! nothing is not worth having in an execution: see [`code::go_in_circles`]. `yield_now` and `spin_loop` are
//! the hints by which such loops are known. A thread that comes to one after it has done nothing but read
//! is watched: does it do the same again?
//!
//! - If its next operations are the same, at the same places in the source, they are **answered from memory**, with
//!   what they have read before. That is no event: whatever a thread has read it may read again.
//! - If it does something else after some turns, the loop was bounded, or goes on in another way: to park, say. What
//!   it does then are operations as all others.
//! - If it does not in [`TURNS`] turns, it goes in circles, and stays there in this execution.
//!
//! What is lost by this: turns of a *bounded* loop of which the first is in vain and a later one is not, as far
//! as the program counts its turns; it finds the same at the first turn. And a loop that would end by itself
//! after more turns is taken for an endless one.
//!
//! "Nothing but read": loads, exchanges that fail, read-modify-writes that leave the value as it was, fences, reads of cells. Taking
//! a lock is more than that: a loop around a lock has its turns in the graph.

use reveille_model::code;
use reveille_model::graphs::{Op, Value};

use super::{At, own};

/// A loop that goes on for so many turns is taken for an endless one.
pub(crate) const TURNS: u32 = 128;

/// So many hints in a row without any operation are an endless loop too.
const IDLE: u32 = 100_000;

/// An operation that has changed nothing.
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
    watched: Option<Watched>,
    /// Hints since the last operation
    idle: u32,
}

/// The thread has come to a hint with what is in `turn`.
struct Watched {
    /// Where the turn begins, once that is known
    first: Option<usize>,
    /// The next one to come
    next: usize,
    turns: u32,
}

/// What the operation returns, if it is one of a turn that is done again.
#[inline]
pub(super) fn answer(op: Op, source: At) -> Option<Value> {
    own(|own| {
        let Spin { turn, watched, idle } = &mut own.spin;
        *idle = 0;
        let watch = watched.as_mut()?;
        let is_same = |seen: &Seen| seen.op == op && std::ptr::eq(seen.source, source);
        if watch.first.is_none() {
            watch.first = turn.iter().position(is_same);
            watch.next = watch.first.unwrap_or(turn.len());
        }
        match turn.get(watch.next).filter(|seen| is_same(seen)) {
            Some(seen) => {
                watch.next += 1;
                Some(seen.value)
            }
            None => {
                *watched = None;
                turn.clear();
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
        match has_changed_nothing {
            true => own.spin.turn.push(Seen { op, source, value, before }),
            false => own.spin.turn.clear(),
        }
    });
}

/// The thread does something that is none of its loop: it starts a thread, say. That is an operation too.
pub(crate) fn breaks() {
    own(|own| {
        own.operations += 1;
        own.spin.turn.clear();
        own.spin.watched = None;
    });
}

/// `yield_now` and `spin_loop`.
pub(crate) fn hint(source: At) {
    if !code::is_running() || code::is_taken_down() {
        return;
    }
    let _ = source;
    let turn = own(|own| {
        let Spin { turn, watched, idle } = &mut own.spin;
        *idle += 1;
        if *idle > IDLE {
            return Some(0);
        }
        if *idle > 1 {
            return None;
        }
        match watched {
            Some(watch) if watch.next == turn.len() => {
                watch.turns += 1;
                watch.next = watch.first.unwrap_or_default();
            }
            Some(_) => {
                // In the middle of what it did before: a turn of another kind.
                *watched = None;
                turn.clear();
            }
            None if turn.is_empty() => {}
            None => *watched = Some(Watched { first: None, next: 0, turns: 0 }),
        }
        let watch = watched.as_ref().filter(|watch| watch.turns >= TURNS)?;
        Some(own.operations - turn[watch.first.unwrap_or_default()].before)
    });
    if let Some(turn) = turn {
        code::go_in_circles(turn as usize);
    }
}
