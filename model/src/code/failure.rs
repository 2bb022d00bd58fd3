//! What can be wrong with an execution: with the program, or with what this engine can do.

use std::fmt;
use std::panic::Location as Source;
use std::time::Duration;

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

/// What bounds a single execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most events, no more than 65,535
    pub events: usize,
    /// The most threads at a time, no more than 254
    pub threads: usize,
    /// A worker of the search that does no operation for so long is [caught](Limit::Silent): it can be
    /// neither stopped nor freed, so its thread of the machine and all its memory stay there until the
    /// process ends.
    ///
    /// `None` does without a watcher, and a search with one worker then runs on the calling thread.
    pub silence: Option<Duration>,
}

impl Default for Limits {
    /// Ten thousand events, 200 threads, ten seconds of silence.
    fn default() -> Self {
        Limits { events: 10_000, threads: 200, silence: Some(Duration::from_secs(10)) }
    }
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
    /// An object is used in another execution than the one that it was made in: it is kept where executions
    /// share it
    Outlived {
        /// Who uses it
        source: &'static Source<'static>,
    },
    /// A worker has given no sign of life for a time: its thread of the machine is caught, and left where it
    /// is
    Silent {
        /// For so long
        time: Duration,
        /// What it did last
        last: Last,
    },
    /// The stack of a thread overflowed. It was left as it was, and so were those of the other threads
    Stack {
        /// Its size
        size: usize,
        /// What it did last
        last: Last,
    },
    /// A thread waits in a destructor while a panic unwinds its stack. The others cannot run meanwhile:
    /// [`std::thread::panicking`] would be true for them too
    Unwinding {
        /// What the thread did last
        last: Last,
        /// The text of the last panic, if it had one: it may be what is wrong with the program
        message: Option<String>,
    },
}

/// What a thread did last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its number
    pub thread: usize,
    /// What the program calls it
    pub name: &'static str,
    /// Where its last operation stands; `None` before the first
    pub source: Option<&'static Source<'static>>,
}

/// See [`Limit::Diverged`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverged {
    /// The thread's number
    pub thread: usize,
    /// What it did
    pub before: Performed,
    /// And does now
    pub now: Instead,
}

/// What a thread does instead of what it did before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Another operation
    Performed(Performed),
    /// It makes an object with this label that has another kind or value in the beginning
    Makes(&'static str),
    /// It panics
    Panics(String),
    /// It is not started, or it waits
    Nothing,
}

impl Diverged {
    /// The same operation at the same place, with other arguments.
    fn differs_in_arguments(&self) -> bool {
        matches!(self.now, Instead::Performed(now) if now.to_string() == self.before.to_string())
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Instead::Performed(performed) => performed.fmt(f),
            Instead::Makes(label) => write!(f, "it makes another `{label}`"),
            Instead::Panics(message) => write!(f, "it panics: {message}"),
            Instead::Nothing => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {} (`{}`)", self.thread, self.name)?;
        match self.source {
            Some(source) => write!(f, ", whose last operation is at {}:{}", source.file(), source.line()),
            None => f.write_str(", before its first operation"),
        }
    }
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
                    "the code is not deterministic: after the same reads it did {before}, and now {now}"
                )?;
                if diverged.differs_in_arguments() {
                    f.write_str(" with another object or value")?;
                }
                f.write_str(
                    "; it shares state behind its primitives' back (a static, a std atomic or lock, a std thread_local!), or \
                     depends on time, chance or addresses",
                )
            }
            Limit::Outlived { source } => write!(
                f,
                "an object is kept from one execution to another (in a static, a thread_local!): it is used at {}:{}",
                source.file(),
                source.line()
            ),
            Limit::Silent { time, last } => write!(
                f,
                "no operation for {time:?}: an endless loop without operations, or a lock that is none of the \
                 primitives' (a std Mutex?) held across an operation; it is in {last}"
            ),
            Limit::Stack { size, last } => {
                write!(
                    f,
                    "a stack of {} KiB overflows (an endless recursion?): it is that of {last}",
                    size / 1024
                )
            }
            Limit::Unwinding { last, message } => {
                write!(
                    f,
                    "a destructor has to wait for another thread while a panic unwinds the stack: it is that of {last}"
                )?;
                message.iter().try_for_each(|message| write!(f, "; the panic says: {message}"))
            }
        }
    }
}
