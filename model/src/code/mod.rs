//! Real code as a program: closures whose operations on shared memory go through this module, run again and again.
//!
//! The operations may be used in a closure that [`explore`](crate::explore::explore) runs, and in threads that it
//! [`spawn`]s. Everything else about the code is ordinary Rust. It has to be deterministic: between two operations it depends on
//! nothing but what its operations have returned. [`Limit::Diverged`] says so if it is not.

mod execution;
mod failure;
mod fiber;

use std::panic::Location as Source;
use std::sync::atomic::Ordering;

pub(crate) use execution::{Descent, Execution, RunEnd};
pub use execution::{Limits, Named};
pub use failure::{Diverged, Failure, Limit, Performed};
pub use fiber::quiet_panics;

use crate::graphs::{Modify, Op, Until, Value};

/// An atomic location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    number: u32,
    generation: u64,
}

fn object(label: &'static str, initial: Value) -> Location {
    match execution::current() {
        Some(execution) => {
            Location { number: execution.object(label, initial), generation: execution.generation }
        }
        None => panic!("`{label}` is made outside of an execution"),
    }
}

impl Location {
    /// A new location.
    ///
    /// # Panics
    /// Outside of an execution, as all operations of this module.
    pub fn new(label: &'static str, initial: Value) -> Self {
        object(label, initial)
    }

    /// Its number in [`Graph::locations`](crate::graphs::Graph::locations).
    #[inline]
    pub fn number(self) -> u32 {
        debug_assert!(
            execution::current().is_none_or(|now| now.is_taken_down() || now.generation == self.generation),
            "a location of an earlier execution is used: it is kept where executions share it"
        );
        self.number
    }

    /// Reads the value.
    #[track_caller]
    #[inline]
    pub fn load(self, order: Ordering) -> Value {
        perform(Op::Load { location: self.number(), order, until: None }, Source::caller())
    }

    /// Waits until a load reads such a value, and returns it.
    #[track_caller]
    #[inline]
    pub fn wait(self, until: Until, order: Ordering) -> Value {
        perform(Op::Load { location: self.number(), order, until: Some(until) }, Source::caller())
    }

    /// Writes a value.
    #[track_caller]
    #[inline]
    pub fn store(self, value: Value, order: Ordering) {
        perform(Op::Store { location: self.number(), order, value }, Source::caller());
    }

    /// Reads and writes in one step. Returns what it has read.
    #[track_caller]
    #[inline]
    pub fn modify(self, modify: Modify, order: Ordering, failure: Ordering) -> Value {
        let op = Op::Rmw { location: self.number(), order, failure, modify, until: None };
        perform(op, Source::caller())
    }

    /// Waits until there is such a value, and modifies it in the same step. Returns what it has read.
    ///
    /// No time goes by between the two, so a lock is `wait_modify(Until::Is(0), Modify::Swap(1), Acquire)`.
    #[track_caller]
    #[inline]
    pub fn wait_modify(self, until: Until, modify: Modify, order: Ordering) -> Value {
        let failure = Ordering::Relaxed;
        let op = Op::Rmw { location: self.number(), order, failure, modify, until: Some(until) };
        perform(op, Source::caller())
    }
}

/// Memory that is not atomic. It holds nothing: accesses are announced, and races found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell(Location);

impl Cell {
    /// A new cell.
    pub fn new(label: &'static str) -> Self {
        Cell(object(label, 0))
    }

    /// Says that it is read.
    #[track_caller]
    pub fn read(self) {
        perform(Op::CellRead { location: self.0.number() }, Source::caller());
    }

    /// Says that it is written.
    #[track_caller]
    pub fn write(self) {
        perform(Op::CellWrite { location: self.0.number() }, Source::caller());
    }
}

/// A fence.
#[track_caller]
#[inline]
pub fn fence(order: Ordering) {
    perform(Op::Fence { order }, Source::caller());
}

/// One of so many outcomes, each of which is explored. At most 255.
#[track_caller]
pub fn choose(outcomes: u8) -> u8 {
    perform(Op::Choose { outcomes }, Source::caller()) as u8
}

/// A thread of the program that can be waited for.
#[derive(Debug)]
pub struct Thread(u8);

/// Starts a thread.
#[track_caller]
pub fn spawn(name: &'static str, body: impl FnOnce() + 'static) -> Thread {
    let source = Source::caller();
    let Some(number) = execution::perform(Op::Spawn, source) else { return Thread(0) };
    let body = Box::new(move || {
        body();
        perform(Op::End, source);
    });
    execution::current().expect("an execution runs").spawn(number, name, body);
    Thread(number as u8)
}

impl Thread {
    /// Waits for its end.
    #[track_caller]
    pub fn join(self) {
        perform(Op::Join { thread: self.0 }, Source::caller());
    }
}

/// The number of the running thread.
pub fn thread() -> usize {
    execution::current().map_or(0, |execution| execution.running())
}

/// Whether the execution is over and only being taken down: destructors run whose operations do nothing.
pub fn is_taken_down() -> bool {
    execution::current().is_some_and(|execution| execution.is_taken_down())
}

/// A remark for whoever reads the execution.
pub fn note(note: Value) {
    if let Some(execution) = execution::current() {
        execution.note(note);
    }
}

/// What an operation returns while the execution is taken down is nobody's business.
#[inline]
fn perform(op: Op, source: &'static Source<'static>) -> Value {
    execution::perform(op, source).unwrap_or(0)
}

/// The first thread's code.
pub(crate) fn first(program: impl FnOnce() + 'static) -> Box<dyn FnOnce()> {
    let source = Source::caller();
    Box::new(move || {
        program();
        perform(Op::End, source);
    })
}
