//! A barrier: who comes last wakes the others. loom has the name only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::{mem, panic};

use reveille_model::code::{Kind, Late};

use super::Mutex;
use crate::rt;

/// A place where so many threads wait for one another.
pub struct Barrier {
    count: usize,
    waiting: Mutex<Vec<Arc<Late>>>,
}

/// Whether a thread is the one of those that have met that is told apart.
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether it is.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult").field("is_leader", &self.0).finish()
    }
}

impl Barrier {
    /// One for so many threads.
    #[track_caller]
    pub fn new(count: usize) -> Self {
        Barrier { count, waiting: Mutex::new(Vec::new()) }
    }

    /// Waits until all are there.
    #[track_caller]
    pub fn wait(&self) -> BarrierWaitResult {
        let source = panic::Location::caller();
        let location = |token: &Late| token.location("Barrier's wait", Kind::Token, |_| 0);
        let mut waiting = self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if waiting.len() + 1 < self.count {
            let token = Arc::new(Late::made_at(source));
            waiting.push(token.clone());
            drop(waiting);
            rt::take(location(&token), Acquire, source);
            return BarrierWaitResult(false);
        }
        let others = mem::take(&mut *waiting);
        drop(waiting);
        for token in others {
            rt::put(location(&token), Release, source);
        }
        BarrierWaitResult(true)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("count", &self.count).finish_non_exhaustive()
    }
}
