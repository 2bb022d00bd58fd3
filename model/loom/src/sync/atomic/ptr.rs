//! An atomic pointer. In the graph are names of pointers: see [`pointers`](crate::rt::pointers).

use std::fmt;
use std::sync::atomic::Ordering;

use reveille_model::code::Kind;
use reveille_model::graphs::{Op, Value};

use super::methods::methods;
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
    methods!(*mut T);
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
