//! A value that is written once. loom has none.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::Location as Source;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use reveille_model::code::{Kind, Late, Location};

use crate::rt::{self, At};

/// A value that is written once.
pub struct OnceLock<T> {
    /// 1 when the value is there
    done: Late,
    lock: Late,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written under the lock, and read by those that know of it; the engine runs one thread at a time.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}
// SAFETY: as for the standard library's.
unsafe impl<T: Send> Send for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// One without a value.
    #[track_caller]
    pub fn new() -> Self {
        OnceLock { done: Late::new(), lock: Late::new(), value: UnsafeCell::new(None) }
    }

    fn done(&self) -> Location {
        self.done.location("OnceLock", Kind::Word, |_| 0)
    }

    /// The value, if it is known to be there.
    #[track_caller]
    pub fn get(&self) -> Option<&T> {
        let is_done = rt::load(self.done(), Acquire, Source::caller()) == 1;
        // SAFETY: it was written before that was said, and is written no more.
        is_done.then(|| unsafe { (*self.value.get()).as_ref() }).flatten()
    }

    /// The value; nobody else can write it.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut().as_mut()
    }

    /// Writes the value.
    ///
    /// # Errors
    /// With the value, if there is one.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.write(|| value.take(), Source::caller());
        value.map_or(Ok(()), Err)
    }

    /// The value. If it is not there, it is made; others wait meanwhile.
    #[track_caller]
    pub fn get_or_init<F: FnOnce() -> T>(&self, make: F) -> &T {
        let source = Source::caller();
        let mut make = Some(make);
        self.write(|| make.take().map(|make| make()), source);
        // SAFETY: it has been written, and is written no more.
        unsafe { (*self.value.get()).as_ref() }.expect("it has been written")
    }

    fn write(&self, make: impl FnOnce() -> Option<T>, source: At) {
        if rt::load(self.done(), Acquire, source) == 1 {
            return;
        }
        let lock = self.lock.location("OnceLock's lock", Kind::Lock, |_| 0);
        rt::acquire(lock, Acquire, source);
        if rt::load(self.done(), Relaxed, source) == 0 {
            let value = make();
            // SAFETY: the lock is held, and nobody has been told that there is a value.
            unsafe { *self.value.get() = value };
            rt::store(self.done(), 1, Release, source);
        }
        rt::store(lock, 0, Release, source);
    }

    /// The value.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceLock").finish_non_exhaustive()
    }
}
