//! A place for the waker of one task.

use std::sync::PoisonError;
use std::task::Waker;

use crate::sync::Mutex;

/// A place for a waker. It is a lock and what it protects.
#[derive(Debug)]
pub struct AtomicWaker {
    waker: Mutex<Option<Waker>>,
}

impl AtomicWaker {
    /// One without a waker.
    #[track_caller]
    pub fn new() -> AtomicWaker {
        AtomicWaker { waker: Mutex::new(None) }
    }

    /// Puts a waker in the place of the one that is there.
    #[track_caller]
    pub fn register(&self, waker: Waker) {
        let before = {
            let mut place = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            place.replace(waker)
        };
        drop(before);
    }

    /// The same, with a clone.
    #[track_caller]
    pub fn register_by_ref(&self, waker: &Waker) {
        self.register(waker.clone());
    }

    /// Takes the waker, if there is one, and wakes by it.
    #[track_caller]
    pub fn wake(&self) {
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    /// Takes the waker, if there is one.
    #[track_caller]
    pub fn take_waker(&self) -> Option<Waker> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Default for AtomicWaker {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}
