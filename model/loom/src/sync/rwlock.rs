//! A lock for readers and writers: a word, the number of readers or [`WRITER`].
//!
//! Each write of the word is a read-modify-write, or the store of the writer that gives the lock back: it knows the
//! one before, so waits for the lock are those of a lock.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location as Source;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{LockResult, TryLockError, TryLockResult};

use reveille_model::code::{self, Kind, Late, Location};
use reveille_model::graphs::{Modify, Op, Until, Value};

use crate::rt::rules::{Rule, without};
use crate::rt::{self, At};

const WRITER: Value = Value::MAX;

/// A lock that many readers or one writer can have.
pub struct RwLock<T: ?Sized> {
    late: Late,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by readers, or by one writer, and the engine runs one thread at a time.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: as for a std lock.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

/// The lock, held by a reader.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    source: At,
    _not_send: PhantomData<*const ()>,
}

/// The lock, held by a writer.
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    source: At,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives access to a shared value only.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: the same.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// A new one, which is free.
    #[track_caller]
    pub fn new(value: T) -> Self {
        RwLock { late: Late::new(), value: UnsafeCell::new(value) }
    }

    /// The value.
    ///
    /// # Errors
    /// None: it is never poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        Ok(self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    fn location(&self) -> Location {
        self.late.location("RwLock", Kind::Lock, |_| 0)
    }

    /// Waits until no writer has it, and takes it as a reader.
    ///
    /// # Errors
    /// None: it is never poisoned.
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        let source = Source::caller();
        rt::modify(self.location(), Modify::Add(1), Acquire, Some(Until::Differs(WRITER)), source);
        Ok(RwLockReadGuard { lock: self, source, _not_send: PhantomData })
    }

    /// Takes it as a reader, if no writer has it.
    ///
    /// # Errors
    /// If a writer has it, or had a while ago: the answer may be an old one.
    #[track_caller]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let source = Source::caller();
        let location = self.location();
        let mut read = rt::load(location, Relaxed, source);
        while read != WRITER {
            let before = self.exchange(read, read + 1, source);
            if before == read {
                return Ok(RwLockReadGuard { lock: self, source, _not_send: PhantomData });
            }
            read = before;
        }
        Err(TryLockError::WouldBlock)
    }

    /// Waits until nobody has it, and takes it as a writer.
    ///
    /// # Errors
    /// None: it is never poisoned.
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        let source = Source::caller();
        let until = if without(Rule::WritersWait) { Until::Differs(WRITER) } else { Until::Is(0) };
        rt::modify(self.location(), Modify::Swap(WRITER), Acquire, Some(until), source);
        Ok(RwLockWriteGuard { lock: self, source, _not_send: PhantomData })
    }

    /// Takes it as a writer, if nobody has it.
    ///
    /// # Errors
    /// If somebody has it, or had a while ago: the answer may be an old one.
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let source = Source::caller();
        match self.exchange(0, WRITER, source) {
            0 => Ok(RwLockWriteGuard { lock: self, source, _not_send: PhantomData }),
            _ => Err(TryLockError::WouldBlock),
        }
    }

    fn exchange(&self, expected: Value, new: Value, source: At) -> Value {
        let location = self.location().number();
        let modify = Modify::CompareExchange { expected, new };
        rt::perform(Op::Rmw { location, order: Acquire, failure: Relaxed, modify, until: None }, source)
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
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: no writer has the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: nobody else has the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: nobody else has the lock.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        if code::is_running() {
            let minus = (1 as Value).wrapping_neg();
            rt::modify(self.lock.location(), Modify::Add(minus), Release, None, self.source);
        }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        if code::is_running() {
            rt::store(self.lock.location(), 0, Release, self.source);
        }
    }
}

impl<T: ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RwLock ({})", self.late.source())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
