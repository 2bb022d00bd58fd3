//! An atomic truth value.

use std::sync::atomic::Ordering;

use reveille_model::code::Kind;
use reveille_model::graphs::{Modify, Op, Value};

use super::word::{Bits, Word};

/// `true`.
const BIT: Value = 1 << 63;

impl Bits for bool {
    const LABEL: &'static str = "AtomicBool";
    const KIND: Kind = Kind::Word;

    #[inline]
    fn value(self, _: fn(Op) -> Option<Value>) -> Value {
        BIT * Value::from(self)
    }

    #[inline]
    fn initial(self, _: Option<Value>) -> Value {
        BIT * Value::from(self)
    }

    #[inline]
    fn of(value: Value) -> Self {
        value != 0
    }
}

/// An atomic `bool`, with the methods of the standard library's.
#[derive(Debug)]
pub struct AtomicBool(Word<bool>);

impl AtomicBool {
    /// A new one.
    #[track_caller]
    pub const fn new(value: bool) -> Self {
        Self(Word::new(value))
    }

    /// Reads the value as if this were no atomic. A race with another thread's write is reported.
    ///
    /// # Safety
    /// No other thread may write meanwhile.
    #[track_caller]
    pub unsafe fn unsync_load(&self) -> bool {
        self.0.read_alone()
    }

    /// Gives `body` the value to change. A race with another thread's write is reported.
    #[track_caller]
    pub fn with_mut<R>(&mut self, body: impl FnOnce(&mut bool) -> R) -> R {
        self.0.with_mut(body)
    }

    /// The value.
    #[track_caller]
    pub fn into_inner(self) -> bool {
        self.0.read_alone()
    }

    /// Reads the value.
    #[track_caller]
    #[inline]
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    /// Writes the value.
    #[track_caller]
    #[inline]
    pub fn store(&self, value: bool, order: Ordering) {
        self.0.store(value, order);
    }

    /// Writes the value and returns the one before.
    #[track_caller]
    #[inline]
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }

    /// Writes `new` if the value is `current`. Returns the one before.
    #[track_caller]
    pub fn compare_and_swap(&self, current: bool, new: bool, order: Ordering) -> bool {
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
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        self.0.compare_exchange(current, new, success, failure)
    }

    /// As `compare_exchange`, but it may fail for no reason, as often as `LOOM_WEAK_FAILURES` allows.
    ///
    /// # Errors
    /// With the value, if it is another, or for no reason.
    #[track_caller]
    pub fn compare_exchange_weak(
        &self,
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
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
        update: impl FnMut(bool) -> Option<bool>,
    ) -> Result<bool, bool> {
        self.0.try_update(set_order, fetch_order, update)
    }

    /// The other name of `try_update`.
    ///
    /// # Errors
    /// With the value, if `update` does not want it.
    #[track_caller]
    pub fn fetch_update<F: FnMut(bool) -> Option<bool>>(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        update: F,
    ) -> Result<bool, bool> {
        self.0.try_update(set_order, fetch_order, update)
    }

    /// Writes what `update` makes of the value, and returns the value before.
    #[track_caller]
    pub fn update<F: FnMut(bool) -> bool>(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        mut update: F,
    ) -> bool {
        let result = self.0.try_update(set_order, fetch_order, |value| Some(update(value)));
        result.unwrap_or_else(|read| read)
    }

    /// Keeps it true if both are, and returns the value before.
    #[track_caller]
    #[inline]
    pub fn fetch_and(&self, value: bool, order: Ordering) -> bool {
        self.0.fetch(Modify::And(BIT * Value::from(value)), order)
    }

    /// Makes it true if not both are, and returns the value before.
    #[track_caller]
    #[inline]
    pub fn fetch_nand(&self, value: bool, order: Ordering) -> bool {
        self.0.fetch(Modify::Nand { with: BIT * Value::from(value), bits: BIT }, order)
    }

    /// Makes it true if one of both is, and returns the value before.
    #[track_caller]
    #[inline]
    pub fn fetch_or(&self, value: bool, order: Ordering) -> bool {
        self.0.fetch(Modify::Or(BIT * Value::from(value)), order)
    }

    /// Makes it true if only one of both is, and returns the value before.
    #[track_caller]
    #[inline]
    pub fn fetch_xor(&self, value: bool, order: Ordering) -> bool {
        self.0.fetch(Modify::Xor(BIT * Value::from(value)), order)
    }

    /// Changes it, and returns the value before.
    #[track_caller]
    #[inline]
    pub fn fetch_not(&self, order: Ordering) -> bool {
        self.fetch_xor(true, order)
    }
}

impl Default for AtomicBool {
    #[track_caller]
    fn default() -> Self {
        Self::new(false)
    }
}

impl From<bool> for AtomicBool {
    #[track_caller]
    fn from(value: bool) -> Self {
        Self::new(value)
    }
}
