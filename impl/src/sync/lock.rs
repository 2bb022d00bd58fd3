//! Locks: for the length of a closure, or of a guard.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A mutual exclusion lock.
///
/// [`with`](Mutex::with) is the better one of the two ways to take it: the unlock has a source line there. A
/// panic inside leaves the lock usable, with whatever had been done by then.
pub trait Mutex<T: 'static>: Send + Sync + Sized + 'static {
    /// The lock, held: what a [`Guard`] has inside.
    type Held<'a>: DerefMut<Target = T>;

    /// An unlocked lock around `value`.
    fn new(label: &'static str, value: T) -> Self;

    /// Waits until it is free, and takes it.
    #[track_caller]
    fn hold(&self) -> Self::Held<'_>;

    /// Takes it, if it is free.
    #[track_caller]
    fn try_hold(&self) -> Option<Self::Held<'_>>;

    /// Locks, runs `body`, unlocks. `body` must not lock the same lock.
    #[track_caller]
    #[inline]
    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.hold())
    }

    /// Waits until it is free, and takes it, until the guard is dropped. A thread that has it must not lock
    /// it again.
    #[track_caller]
    #[inline]
    fn lock(&self) -> Guard<'_, T, Self> {
        Guard { held: self.hold(), mutex: self }
    }

    /// Takes it, if it is free. That it is not may be old news by then, as with every failing exchange.
    #[track_caller]
    #[inline]
    fn try_lock(&self) -> Option<Guard<'_, T, Self>> {
        let held = self.try_hold()?;
        Some(Guard { held, mutex: self })
    }
}

/// A lock that is held, until this is dropped.
pub struct Guard<'a, T: 'static, M: Mutex<T>> {
    held: M::Held<'a>,
    mutex: &'a M,
}

impl<'a, T, M: Mutex<T>> Guard<'a, T, M> {
    /// The lock that this one holds.
    pub fn mutex(&self) -> &'a M {
        self.mutex
    }
}

impl<T, M: Mutex<T>> Deref for Guard<'_, T, M> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T, M: Mutex<T>> DerefMut for Guard<'_, T, M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

impl<T: fmt::Debug, M: Mutex<T>> fmt::Debug for Guard<'_, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
