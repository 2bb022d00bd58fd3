//! Atomic numbers.

use std::sync::atomic::Ordering;

use reveille_model::code::Kind;
use reveille_model::graphs::{Modify, Op, Value};

use super::methods::methods;
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
            methods!($int);

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
