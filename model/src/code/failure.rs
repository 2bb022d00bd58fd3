//! What can be wrong with an execution: with the program, or with what this engine can do.

use std::fmt;
use std::panic::Location as Source;

use crate::graphs::{EventId, Op};

/// An operation and its place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performed {
    /// The operation
    pub op: Op,
    /// Who asked for it
    pub source: &'static Source<'static>,
}

/// Why an execution did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No thread can go on, and no wake is on its way
    Stuck,
    /// A thread panicked
    Panic {
        /// Its number
        thread: usize,
        /// What it said
        message: String,
    },
    /// Two threads access a cell, one of them writes, and neither access happens before the other
    Race {
        /// The cell's number
        cell: u32,
        /// The access that was there
        first: (EventId, Performed),
        /// The other
        second: (EventId, Performed),
    },
    /// The engine cannot go on. This says nothing about the program's protocol.
    Limit(Limit),
}

/// Why the engine cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The execution has too many events: an endless loop?
    Events {
        /// The limit
        most: usize,
        /// The thread that wanted one more
        thread: usize,
        /// And that
        last: Performed,
    },
    /// Too many threads
    Threads {
        /// The limit
        most: usize,
    },
    /// A thread gives back a lock that it has not taken
    Unordered(Performed),
    /// The program did something else than before, though every read returned what it had returned before: it has state that it shares behind the
    /// primitives' back
    Diverged(Box<Diverged>),
}

/// See [`Limit::Diverged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverged {
    /// The thread's number
    pub thread: usize,
    /// What it did
    pub before: Performed,
    /// And does now
    pub now: Performed,
}

impl fmt::Display for Performed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.op, self.source.file(), self.source.line())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Stuck => f.write_str("every thread is blocked"),
            Failure::Panic { message, .. } => write!(f, "a thread panics: {message}"),
            Failure::Race { first: (_, first), second: (_, second), .. } => {
                write!(f, "a race: {first} and {second}, with nothing between that orders them")
            }
            Failure::Limit(limit) => limit.fmt(f),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Events { most, last, .. } => {
                write!(
                    f,
                    "an execution has more than {most} operations (an endless loop?): the last is {last}"
                )
            }
            Limit::Threads { most } => write!(f, "an execution has more than {most} threads at a time"),
            Limit::Unordered(performed) => {
                write!(f, "a lock is given back by a thread that does not hold it: {performed}")
            }
            Limit::Diverged(diverged) => {
                let Diverged { before, now, .. } = &**diverged;
                write!(
                    f,
                    "the code is not deterministic: after the same reads it did {before}, and now {now}; \
                     it shares state that is none of its primitives'"
                )
            }
        }
    }
}
