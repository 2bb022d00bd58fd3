//! Whether a task is in a run queue: for executors, who must not put it there twice and must not forget it.
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

use std::sync::atomic::Ordering::{Acquire, Release};

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
