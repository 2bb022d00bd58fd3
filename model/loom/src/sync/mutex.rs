//! A lock: a word, 0 while it is free. Taking it waits for 0 and writes 1 in one step (acquire), giving it
//! back stores 0 (release). It is never poisoned: a panic of a thread ends the execution.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location as Source;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{LockResult, TryLockError, TryLockResult};

use reveille_model::code::{self, Kind, Late, Location};
use reveille_model::graphs::{Modify, Op};

use crate::rt::rules::{Rule, without};
use crate::rt::{self, At, spin};

/// A lock around a value.
pub struct Mutex<T: ?Sized> {
    late: Late,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by the thread that holds the lock, and the engine runs one at a time.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: as for a std lock.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

/// The lock, held.
pub struct MutexGuard<'a, T: ?Sized> {
    pub(super) mutex: &'a Mutex<T>,
    /// Where it was taken
    pub(super) source: At,
    /// It is given back by the thread that has taken it
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives access to a shared value only.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// A new one, which is free.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Mutex { late: Late::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    ///
    /// # Errors
    /// None: it is never poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        Ok(self.value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    fn location(&self) -> Location {
        self.late.location("Mutex", Kind::Lock, |_| 0)
    }

    /// Waits until it is free, and takes it.
    ///
    /// # Errors
    /// None: it is never poisoned.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let source = Source::caller();
        self.acquire(source);
        Ok(self.guard(source))
    }

    /// Takes it, if it is free.
    ///
    /// # Errors
    /// If it is not, or was not a while ago: the answer may be an old one.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let source = Source::caller();
        let modify = Modify::CompareExchange { expected: 0, new: 1 };
        let location = self.location().number();
        let op = Op::Rmw { location, order: Acquire, failure: Relaxed, modify, until: None };
        match rt::perform(op, source) {
            0 => Ok(self.guard(source)),
            _ => Err(TryLockError::WouldBlock),
        }
    }

    /// The value: nobody else can have the lock.
    ///
    /// # Errors
    /// None: it is never poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        Ok(self.value.get_mut())
    }

    /// Whether a thread has panicked with the lock in its hands, which is not seen here.
    pub fn is_poisoned(&self) -> bool {
        false
    }

    /// For a lock that is never poisoned.
    pub fn clear_poison(&self) {}

    fn guard(&self, source: At) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, source, _not_send: PhantomData }
    }

    pub(super) fn acquire(&self, source: At) {
        let order = if without(Rule::LocksAcquire) { Relaxed } else { Acquire };
        rt::acquire(self.location(), order, source);
    }

    pub(super) fn release(&self, source: At) {
        if code::is_running() {
            let order = if without(Rule::UnlocksRelease) { Relaxed } else { Release };
            rt::store(self.location(), 0, order, source);
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        spin::changes();
        // SAFETY: the lock is held.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.release(self.source);
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    /// Its place, and not its value: to look at that would be an operation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutex ({})", self.late.source())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
