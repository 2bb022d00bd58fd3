//! An atomic truth value.

use std::sync::atomic::Ordering;

use reveille_model::code::Kind;
use reveille_model::graphs::{Modify, Op, Value};

use super::methods::methods;
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
    methods!(bool);

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
