//! Whether a task is in a run queue: for executors, who must not put it there twice and must not forget it. And [`Ready`], for the
//! tasks that have been taken from there.
//!
//! ```text
//! waker                                        executor
//!   1. make true what the task waits for         1. take the task from the run queue
//!   2. woken(): put it there, if it says so      2. running()
//!                                                3. poll: is it true?
//! ```
//!
//! The race to be won: *a waker finds the task in the run queue still, and leaves it at that; the executor is just taking it from there,
//! and its poll misses the news.* Both sides exchange one word. If the waker's exchange comes first, the executor's reads it,
//! or one after it, and the poll sees what the waker did. If the executor's comes first, the waker finds the task gone, and
//! puts it into the queue.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::burst::give_back;
use crate::sync::{Atomic, Native, Primitives};

/// See the [module](self).
pub struct Queued<P: Primitives = Native>(P::Atomic);

const AWAY: usize = 0;
const QUEUED: usize = 1;

impl<P: Primitives> Default for Queued<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Primitives> Queued<P> {
    /// Of a task that is not in the run queue.
    pub fn new() -> Self {
        Self(P::Atomic::new("queued", AWAY))
    }

    /// The task is woken. If this returns true, it is for the caller to put it into the run queue.
    pub fn woken(&self) -> bool {
        // Release: pairs with the acquire swap in `running`; without it the poll might not see what it was woken for. A
        // swap and not a load before a store: a wake that finds it queued has to be read by the executor all the same.
        self.0.swap(QUEUED, Release) == AWAY
    }

    /// The executor has taken the task from the run queue, and polls it after this.
    pub fn running(&self) {
        // Acquire: pairs with the release swap in `woken`. A swap and not a store: it has to read the wakes before it.
        self.0.swap(AWAY, Acquire);
    }
}

/// The tasks that an executor has taken from its run queue, and owes a poll.
///
/// They belong to the executor, not to the stack of the loop that polls them. A poll may unwind out of that loop; the others
/// of the batch still count as queued, so that no wake puts them into the run queue again, and they are to be polled by
/// whoever runs the loop next.
///
/// ```
/// # use reveille::run_queue::Ready;
/// let mut ready = Ready::default();
/// ready.extend(["first", "second"]);
/// assert_eq!(ready.next(), Some("first"));
/// ```
#[derive(Debug)]
pub struct Ready<T>(VecDeque<T>);

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Ready<T> {
    /// Takes a batch over.
    pub fn extend(&mut self, batch: impl IntoIterator<Item = T>) {
        self.0.extend(batch);
    }

    /// Whether no task is owed a poll.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one to be polled.
    #[allow(clippy::should_implement_trait)] // more may come after the last one
    pub fn next(&mut self) -> Option<T> {
        let next = self.0.pop_front();
        give_back(&mut self.0);
        next
    }
}
