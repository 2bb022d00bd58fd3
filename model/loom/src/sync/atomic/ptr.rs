//! An atomic pointer. In the graph are names of pointers: see [`pointers`](crate::rt::pointers).

use std::fmt;
use std::sync::atomic::Ordering;

use reveille_model::code::Kind;
use reveille_model::graphs::{Op, Value};

use super::word::{Bits, Word};
use crate::rt::pointers;

impl<T> Bits for *mut T {
    const LABEL: &'static str = "AtomicPtr";
    const KIND: Kind = Kind::Name;

    fn value(self, which: fn(Op) -> Option<Value>) -> Value {
        pointers::name(self.expose_provenance(), which)
    }

    fn initial(self, recorded: Option<Value>) -> Value {
        pointers::initial(self.expose_provenance(), recorded)
    }

    fn of(value: Value) -> Self {
        std::ptr::with_exposed_provenance_mut(pointers::address(value))
    }
}

/// An atomic pointer, with the methods of the standard library's.
pub struct AtomicPtr<T>(Word<*mut T>);

// SAFETY: as for the standard library's: it hands out raw pointers only.
unsafe impl<T> Send for AtomicPtr<T> {}
// SAFETY: the same.
unsafe impl<T> Sync for AtomicPtr<T> {}

impl<T> AtomicPtr<T> {
    /// A new one.
    #[track_caller]
    pub const fn new(value: *mut T) -> Self {
        Self(Word::new(value))
    }

    /// Reads the value as if this were no atomic. A race with another thread's write is reported.
    ///
    /// # Safety
    /// No other thread may write meanwhile.
    #[track_caller]
    pub unsafe fn unsync_load(&self) -> *mut T {
        self.0.read_alone()
    }

    /// Gives `body` the value to change. A race with another thread's write is reported.
    #[track_caller]
    pub fn with_mut<R>(&mut self, body: impl FnOnce(&mut *mut T) -> R) -> R {
        self.0.with_mut(body)
    }

    /// The value.
    #[track_caller]
    pub fn into_inner(self) -> *mut T {
        self.0.read_alone()
    }

    /// Reads the value.
    #[track_caller]
    #[inline]
    pub fn load(&self, order: Ordering) -> *mut T {
        self.0.load(order)
    }

    /// Writes the value.
    #[track_caller]
    #[inline]
    pub fn store(&self, value: *mut T, order: Ordering) {
        self.0.store(value, order);
    }

    /// Writes the value and returns the one before.
    #[track_caller]
    #[inline]
    pub fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        self.0.swap(value, order)
    }

    /// Writes `new` if the value is `current`. Returns the one before.
    #[track_caller]
    pub fn compare_and_swap(&self, current: *mut T, new: *mut T, order: Ordering) -> *mut T {
        self.0.compare_and_swap(current, new, order)
    }

    /// Writes `new` if the value is `current`. Returns the one before.
    ///
    /// # Errors
    /// With the value, if it is another.
    #[track_caller]
    #[inline]
    pub fn compare_exchange(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange(current, new, success, failure)
    }

    /// As `compare_exchange`, but it may fail for no reason, as often as `LOOM_WEAK_FAILURES` allows.
    ///
    /// # Errors
    /// With the value, if it is another, or for no reason.
    #[track_caller]
    pub fn compare_exchange_weak(
        &self,
        current: *mut T,
        new: *mut T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<*mut T, *mut T> {
        self.0.compare_exchange_weak(current, new, success, failure)
    }

    /// Writes what `update` makes of the value, and returns the value before.
    ///
    /// # Errors
    /// With the value, if `update` does not want it.
    #[track_caller]
    pub fn try_update(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        update: impl FnMut(*mut T) -> Option<*mut T>,
    ) -> Result<*mut T, *mut T> {
        self.0.try_update(set_order, fetch_order, update)
    }

    /// The other name of `try_update`.
    ///
    /// # Errors
    /// With the value, if `update` does not want it.
    #[track_caller]
    pub fn fetch_update<F: FnMut(*mut T) -> Option<*mut T>>(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        update: F,
    ) -> Result<*mut T, *mut T> {
        self.0.try_update(set_order, fetch_order, update)
    }

    /// Writes what `update` makes of the value, and returns the value before.
    #[track_caller]
    pub fn update<F: FnMut(*mut T) -> *mut T>(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        mut update: F,
    ) -> *mut T {
        let result = self.0.try_update(set_order, fetch_order, |value| Some(update(value)));
        result.unwrap_or_else(|read| read)
    }
}

impl<T> fmt::Debug for AtomicPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Default for AtomicPtr<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(std::ptr::null_mut())
    }
}

impl<T> From<*mut T> for AtomicPtr<T> {
    #[track_caller]
    fn from(value: *mut T) -> Self {
        Self::new(value)
    }
}
