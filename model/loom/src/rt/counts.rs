//! What is counted: handles of `Arc`s, blocks of [`alloc`](crate::alloc), [`Track`](crate::alloc::Track)ed values.
//!
//! # Leaks
//!
//! What is counted is registered. What is still there when a complete execution is over has been leaked.
//!
//! # Uneventful counts
//!
//! The count of an `Arc` is an atomic, and each clone and drop of a handle an operation on it. Their order matters to
//! hardly any program, and there are very many of them: of n threads that drop a handle at their end, n
//! factorial. So a search begins without them: counts are plain memory. That is right as long as nothing of the
//! program depends on which handle is the last one: that no destructor of what is shared performs an
//! operation, and nobody asks for a count (`try_unwrap`, `get_mut`, `strong_count`, `Weak`). When a run comes
//! to one of these, the search is given up and another one begins, in which counts are operations.

use std::panic::Location;
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use reveille_model::code::{self, Late};

use super::rules::{Rule, without};
use super::{At, Map, own, with};

/// Whether counts are operations. It changes from false to true while a search runs.
pub(crate) type Mode = StdArc<AtomicBool>;

/// One `Arc`'s handles.
#[derive(Debug)]
pub(crate) struct Count {
    pub late: Late,
    /// How many there are; where counts are operations, that is in the graph
    handles: AtomicUsize,
    /// Whether the value has been dropped, or is being dropped
    is_gone: AtomicBool,
    made: At,
}

/// What is counted in a run.
#[derive(Default)]
pub(crate) struct Counts {
    mode: Mode,
    /// `Arc`s by the addresses of their values
    arcs: Map<usize, StdArc<Count>>,
    /// Other things, by address
    things: Map<usize, (&'static str, At)>,
}

impl Count {
    #[track_caller]
    pub fn new() -> StdArc<Count> {
        StdArc::new(Count {
            late: Late::new(),
            handles: AtomicUsize::new(1),
            is_gone: AtomicBool::new(false),
            made: Location::caller(),
        })
    }

    /// Where it was made.
    pub fn made(&self) -> At {
        self.made
    }

    /// One handle more.
    pub fn add(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    /// One handle less. True for the last one.
    pub fn remove(&self) -> bool {
        self.handles.fetch_sub(1, Relaxed) == 1
    }

    /// How many there are in this run.
    pub fn handles(&self) -> usize {
        self.handles.load(Relaxed)
    }

    /// Whether there is one only.
    pub fn is_last(&self) -> bool {
        self.handles() == 1
    }

    /// The value is dropped now. False if it was before.
    pub fn set_gone(&self) -> bool {
        !self.is_gone.swap(true, Relaxed)
    }
}

impl Counts {
    pub fn begin(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// What is still there, the first in the order of their places.
    pub fn leaked(&self) -> Option<String> {
        if without(Rule::LeaksAreTold) {
            return None;
        }
        let arcs = self.arcs.values().map(|count| ("Arc", count.made));
        let place = |at: At| (at.file(), at.line(), at.column());
        let things = self.things.values().copied();
        let (what, at) = arcs.chain(things).min_by_key(|(_, at)| place(at))?;
        let count = self.arcs.len() + self.things.len();
        let others = match count - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        Some(format!("{what} leaked: it was made at {}:{}{others}", at.file(), at.line()))
    }
}

/// Registers the `Arc` whose value is at this address.
pub(crate) fn register(address: usize, count: &StdArc<Count>) {
    with(|run| run.counts.arcs.insert(address, count.clone()));
}

/// Its last handle is gone.
pub(crate) fn unregister(address: usize) {
    with(|run| run.counts.arcs.remove(&address));
}

/// The `Arc` whose value is at this address.
pub(crate) fn find(address: usize) -> Option<StdArc<Count>> {
    with(|run| run.counts.arcs.get(&address).cloned())
}

/// Registers another thing.
pub(crate) fn register_thing(address: usize, what: &'static str, made: At) {
    with(|run| run.counts.things.insert(address, (what, made)));
}

/// It is gone. False if it was not registered.
pub(crate) fn unregister_thing(address: usize) -> bool {
    with(|run| run.counts.things.remove(&address).is_some())
}

/// Whether counts are operations.
pub(crate) fn are_eventful() -> bool {
    with(|run| run.counts.mode.load(Relaxed))
}

/// Somebody asks for a count: they have to be operations.
pub(crate) fn demand() {
    let is_needed = !are_eventful() && !without(Rule::CountsAreOperations);
    if is_needed && code::is_running() && !code::is_taken_down() {
        with(|run| run.counts.mode.store(true, Relaxed));
        give_up();
    }
}

/// An operation in a destructor of what an uneventful `Arc` shared.
#[inline]
pub(super) fn check_is_eventful() {
    if own(|own| own.uneventful) > 0 {
        demand();
    }
}

/// Ends the run, if that can be done here. It is no more of use in any case.
fn give_up() {
    if !std::thread::panicking() {
        std::panic::panic_any(GivenUp);
    }
}

/// The payload by which a run is given up.
pub(crate) struct GivenUp;
