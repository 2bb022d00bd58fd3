//! Atomic numbers.

use std::sync::atomic::Ordering;

use reveille_model::code::Kind;
use reveille_model::graphs::{Modify, Op, Value};

use super::word::{Bits, Word};

macro_rules! atomic_int {
    ($($name:ident, $int:ident, $unsigned:ident, $max:ident, $min:ident;)*) => {$(
        impl Bits for $int {
            const LABEL: &'static str = stringify!($name);
            const KIND: Kind = Kind::Word;

            #[inline]
            fn value(self, _: fn(Op) -> Option<Value>) -> Value {
                self.initial(None)
            }

            #[inline]
            fn initial(self, _: Option<Value>) -> Value {
                (self as $unsigned as Value) << (u64::BITS - $int::BITS)
            }

            #[inline]
            fn of(value: Value) -> Self {
                (value >> (u64::BITS - $int::BITS)) as $int
            }
        }

        #[doc = concat!("An atomic `", stringify!($int), "`, with the methods of the standard library's.")]
        #[derive(Debug)]
        pub struct $name(Word<$int>);

        impl $name {
            /// A new one.
            #[track_caller]
            pub const fn new(value: $int) -> Self {
                Self(Word::new(value))
            }

            /// Gives `body` the value to change. A race with another thread's write is reported.
            #[track_caller]
            pub fn with_mut<R>(&mut self, body: impl FnOnce(&mut $int) -> R) -> R {
                self.0.with_mut(body)
            }

            /// Reads the value as if this were no atomic. A race with another thread's write is reported.
            ///
            /// # Safety
            /// No other thread may write meanwhile.
            #[track_caller]
            pub unsafe fn unsync_load(&self) -> $int {
                self.0.read_alone()
            }

            /// The value.
            #[track_caller]
            pub fn into_inner(self) -> $int {
                self.0.read_alone()
            }

            /// Reads the value.
            #[track_caller]
            #[inline]
            pub fn load(&self, order: Ordering) -> $int {
                self.0.load(order)
            }

            /// Writes the value.
            #[track_caller]
            #[inline]
            pub fn store(&self, value: $int, order: Ordering) {
                self.0.store(value, order);
            }

            /// Writes the value and returns the one before.
            #[track_caller]
            #[inline]
            pub fn swap(&self, value: $int, order: Ordering) -> $int {
                self.0.swap(value, order)
            }

            /// Writes `new` if the value is `current`. Returns the one before.
            #[track_caller]
            pub fn compare_and_swap(&self, current: $int, new: $int, order: Ordering) -> $int {
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
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                self.0.compare_exchange(current, new, success, failure)
            }

            /// As `compare_exchange`, but it may fail for no reason, as often as `LOOM_WEAK_FAILURES` allows.
            ///
            /// # Errors
            /// With the value, if it is another, or for no reason.
            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                self.0.compare_exchange_weak(current, new, success, failure)
            }

            /// Adds, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::Add(value.initial(None)), order)
            }

            /// Subtracts, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::Add(value.initial(None).wrapping_neg()), order)
            }

            /// Keeps the bits that are set in both, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_and(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::And(value.initial(None)), order)
            }

            /// Sets the bits that are not set in both, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_nand(&self, value: $int, order: Ordering) -> $int {
                let bits = (!(0 as $int)).initial(None);
                self.0.fetch(Modify::Nand { with: value.initial(None), bits }, order)
            }

            /// Sets bits, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_or(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::Or(value.initial(None)), order)
            }

            /// Changes bits, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_xor(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::Xor(value.initial(None)), order)
            }

            /// Writes the greater one, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_max(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::$max(value.initial(None)), order)
            }

            /// Writes the lesser one, and returns the value before.
            #[track_caller]
            #[inline]
            pub fn fetch_min(&self, value: $int, order: Ordering) -> $int {
                self.0.fetch(Modify::$min(value.initial(None)), order)
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
                update: impl FnMut($int) -> Option<$int>,
            ) -> Result<$int, $int> {
                self.0.try_update(set_order, fetch_order, update)
            }

            /// The other name of `try_update`.
            ///
            /// # Errors
            /// With the value, if `update` does not want it.
            #[track_caller]
            pub fn fetch_update<F: FnMut($int) -> Option<$int>>(
                &self,
                set_order: Ordering,
                fetch_order: Ordering,
                update: F,
            ) -> Result<$int, $int> {
                self.0.try_update(set_order, fetch_order, update)
            }

            /// Writes what `update` makes of the value, and returns the value before.
            #[track_caller]
            pub fn update<F: FnMut($int) -> $int>(
                &self,
                set_order: Ordering,
                fetch_order: Ordering,
                mut update: F,
            ) -> $int {
                let result = self.0.try_update(set_order, fetch_order, |value| Some(update(value)));
                result.unwrap_or_else(|read| read)
            }
        }

        impl Default for $name {
            #[track_caller]
            fn default() -> Self {
                Self::new(0)
            }
        }

        impl From<$int> for $name {
            #[track_caller]
            fn from(value: $int) -> Self {
                Self::new(value)
            }
        }
    )*};
}

atomic_int! {
    AtomicU8, u8, u8, Max, Min;
    AtomicU16, u16, u16, Max, Min;
    AtomicU32, u32, u32, Max, Min;
    AtomicU64, u64, u64, Max, Min;
    AtomicUsize, usize, usize, Max, Min;
    AtomicI8, i8, u8, MaxSigned, MinSigned;
    AtomicI16, i16, u16, MaxSigned, MinSigned;
    AtomicI32, i32, u32, MaxSigned, MinSigned;
    AtomicI64, i64, u64, MaxSigned, MinSigned;
    AtomicIsize, isize, usize, MaxSigned, MinSigned;
}
