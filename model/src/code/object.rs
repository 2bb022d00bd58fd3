//! The objects that operations name, and their numbers.

use std::panic::Location as Source;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An atomic word
    Word,
    /// An atomic word whose values are names: which ones they are may change from run to run, and whether two
    /// are the same may not
    Name,
    /// A lock
    Lock,
    /// A token that is put and taken
    Token,
    /// Memory that is not atomic
    Cell,
}

impl Kind {
    /// Whether each write is in the porf prefix of the next one, whatever the program does.
    pub(super) fn is_ordered(self) -> bool {
        matches!(self, Kind::Lock | Kind::Token)
    }
}

/// An object of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// What the program calls it
    pub label: &'static str,
    /// What it is
    pub kind: Kind,
    /// Where it was made, if that is known
    pub source: Option<&'static Source<'static>>,
}

/// The numbers of the objects, the same ones in all executions and for all workers of a search: the n-th object that a thread makes
/// is the same one. Of [late](super::late) objects the numbers are kept in the place of a thread that there is not.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    of_threads: Vec<Vec<u32>>,
    count: u32,
}

impl Numbers {
    /// The number of the n-th object of this thread. Those before it have theirs.
    pub fn of(&mut self, thread: usize, nth: usize) -> u32 {
        if self.of_threads.len() <= thread {
            self.of_threads.resize_with(thread + 1, Vec::new);
        }
        let own = &mut self.of_threads[thread];
        if nth == own.len() {
            own.push(self.count);
            self.count += 1;
        }
        own[nth]
    }

    /// Those of this thread.
    pub fn all_of(&self, thread: usize) -> &[u32] {
        self.of_threads.get(thread).map_or(&[], Vec::as_slice)
    }
}
