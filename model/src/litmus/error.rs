//! What can be wrong with a litmus test, and where.

use std::fmt;

use crate::memory::Memory;
use crate::search;

/// A place in a litmus file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line
    pub line: usize,
    /// Column, in characters
    pub column: usize,
}

impl Place {
    pub(crate) fn of(text: &str, offset: usize) -> Place {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// An access of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose
    pub thread: usize,
    /// Whether it writes
    pub writes: bool,
    /// Where
    pub place: Place,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { thread, writes, place } = self;
        write!(f, "a {} in line {} (P{thread})", if *writes { "write" } else { "read" }, place.line)
    }
}

/// Two accesses of a location by two threads, at least one of them plain and at least one a write, and nothing orders
/// them. What a test with a race does is undefined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Race {
    /// The location
    pub location: String,
    /// The access that comes first in the text
    pub first: Access,
    /// The other
    pub second: Access,
}

impl Race {
    pub(crate) fn new(location: String, mut accesses: [Access; 2]) -> Self {
        // Which of them came first in an execution says nothing.
        accesses.sort_by_key(|access| access.place);
        let [first, second] = accesses;
        Race { location, first, second }
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Race { location, first, second } = self;
        let place = first.place;
        write!(
            f,
            "{place}: a race on `{location}`: {first} and {second}, with nothing between that orders them"
        )
    }
}

/// A litmus test that cannot be read or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in the grammar
    #[error("{place}: expected {expected}, found {found}")]
    Syntax {
        /// Where
        place: Place,
        /// What would have been right
        expected: String,
        /// What is there
        found: String,
    },
    /// In the grammar, but without a meaning
    #[error("{place}: {what}")]
    Meaning {
        /// Where
        place: Place,
        /// What is wrong
        what: String,
    },
    /// Known, and not modelled
    #[error("{place}: {what} {} not read: `{name}`, line {}", is_or_are(what), place.line)]
    NotRead {
        /// Where
        place: Place,
        /// What it belongs to
        what: &'static str,
        /// What it is called
        name: String,
    },
    /// The test has no meaning under this memory model
    #[error("{0}")]
    OtherModel(&'static str),
    /// There are more candidate executions than are tried
    #[error("more than {0} candidate executions")]
    TooMany(u64),
    /// The exact engine cannot go on
    #[error("{0}")]
    Execution(String),
    /// The machine has none under this memory model
    #[error("{place}: the machine of {memory} has no seq_cst accesses, only seq_cst fences")]
    SeqCstAccess {
        /// Where
        place: Place,
        /// The memory model
        memory: Memory,
    },
    /// The search failed
    #[error(transparent)]
    Search(#[from] search::Error),
    /// The test's program cannot be built
    #[error(transparent)]
    Build(#[from] crate::program::BuildError),
}

fn is_or_are(what: &str) -> &'static str {
    if what.ends_with('s') { "are" } else { "is" }
}

impl Error {
    /// Something else would have been right at this place.
    pub(super) fn expected(text: &str, offset: usize, expected: &str) -> Self {
        let found = text.get(offset..).and_then(|rest| rest.split_whitespace().next());
        Error::Syntax {
            place: Place::of(text, offset),
            expected: expected.to_owned(),
            found: found.map_or_else(|| "the end of the file".to_owned(), |word| format!("`{word}`")),
        }
    }
}
