//! Atomics: one trait for all widths, and the widths.
//!
//! A flavour brings an atomic machine word with six operations. All others are made of these here, and so are
//! the other types: [`Packed`] keeps a `u32` or a `bool` in the **high** bits of a word, where a sum wraps as
//! it does in the narrow type, the greater is the greater, and an exchange compares nothing else.
//! [`Native`](super::Native) has the machine's own atomic of each type instead.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::Primitives;

/// What an atomic can hold: `bool`, `u32`, `u64`, `usize`.
///
/// A pointer cannot: its value differs from one execution to the next, and a checker compares executions. Use
/// an index.
pub trait Word: Copy + Eq + Debug + Send + Sync + 'static {
    /// How many bits it has.
    const BITS: u32;

    /// The machine's atomic of this type.
    type Native: Atomic<Self>;

    /// Its bits, the lowest first.
    fn to_bits(self) -> usize;

    /// The value with these bits; those that it has not are 0.
    fn from_bits(bits: usize) -> Self;
}

/// A [`Word`] to reckon with: all but `bool`.
pub trait Number: Word {}

/// How a read-modify-write changes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Modify<T> {
    /// Another value.
    Swap(T),
    /// The sum; it wraps.
    Add(T),
    /// The difference; it wraps.
    Sub(T),
    /// The bits that are set in both.
    And(T),
    /// The bits that are set in either.
    Or(T),
    /// The bits that are set in one only.
    Xor(T),
    /// The greater one.
    Max(T),
    /// The lesser one.
    Min(T),
}

impl<T> Modify<T> {
    /// The same, of other values.
    #[inline(always)]
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Modify<U> {
        match self {
            Self::Swap(value) => Modify::Swap(to(value)),
            Self::Add(value) => Modify::Add(to(value)),
            Self::Sub(value) => Modify::Sub(to(value)),
            Self::And(value) => Modify::And(to(value)),
            Self::Or(value) => Modify::Or(to(value)),
            Self::Xor(value) => Modify::Xor(to(value)),
            Self::Max(value) => Modify::Max(to(value)),
            Self::Min(value) => Modify::Min(to(value)),
        }
    }
}

impl Modify<usize> {
    /// What it makes of a value.
    pub fn apply(self, old: usize) -> usize {
        match self {
            Self::Swap(new) => new,
            Self::Add(by) => old.wrapping_add(by),
            Self::Sub(by) => old.wrapping_sub(by),
            Self::And(mask) => old & mask,
            Self::Or(mask) => old | mask,
            Self::Xor(mask) => old ^ mask,
            Self::Max(other) => old.max(other),
            Self::Min(other) => old.min(other),
        }
    }
}

/// An atomic; the methods are those of std's.
#[allow(missing_docs)] // the std documentation of the same names holds
pub trait Atomic<T: Word = usize>: Send + Sync + Sized + 'static {
    fn new(label: &'static str, value: T) -> Self;

    /// An atomic word that holds a type of so many bits in its high bits: a checker shows the value, and not
    /// the word.
    fn packed(label: &'static str, value: T, bits: u32) -> Self {
        let _ = bits;
        Self::new(label, value)
    }

    #[track_caller]
    fn load(&self, order: Ordering) -> T;
    #[track_caller]
    fn store(&self, value: T, order: Ordering);

    /// Reads and writes in one step; returns what it has read. The operations below are this one.
    #[track_caller]
    fn modify(&self, by: Modify<T>, order: Ordering) -> T;

    #[track_caller]
    fn compare_exchange(&self, current: T, new: T, success: Ordering, failure: Ordering) -> Result<T, T>;

    /// It may fail though the value is `current`. The exact engine tries both; it does not let a thread fail
    /// so twice in a row, which would come to the same as once.
    #[track_caller]
    fn compare_exchange_weak(&self, current: T, new: T, success: Ordering, failure: Ordering)
    -> Result<T, T>;

    #[track_caller]
    #[inline(always)]
    fn swap(&self, value: T, order: Ordering) -> T {
        self.modify(Modify::Swap(value), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_and(&self, mask: T, order: Ordering) -> T {
        self.modify(Modify::And(mask), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_or(&self, mask: T, order: Ordering) -> T {
        self.modify(Modify::Or(mask), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_xor(&self, mask: T, order: Ordering) -> T {
        self.modify(Modify::Xor(mask), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_add(&self, value: T, order: Ordering) -> T
    where
        T: Number,
    {
        self.modify(Modify::Add(value), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_sub(&self, value: T, order: Ordering) -> T
    where
        T: Number,
    {
        self.modify(Modify::Sub(value), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_max(&self, value: T, order: Ordering) -> T
    where
        T: Number,
    {
        self.modify(Modify::Max(value), order)
    }
    #[track_caller]
    #[inline(always)]
    fn fetch_min(&self, value: T, order: Ordering) -> T
    where
        T: Number,
    {
        self.modify(Modify::Min(value), order)
    }

    /// A load and exchanges until one succeeds or `update` wants none. They are strong ones: one that fails
    /// for no reason would only be done again.
    #[track_caller]
    fn fetch_update(
        &self,
        set_order: Ordering,
        fetch_order: Ordering,
        mut update: impl FnMut(T) -> Option<T>,
    ) -> Result<T, T> {
        let mut read = self.load(fetch_order);
        while let Some(new) = update(read) {
            match self.compare_exchange(read, new, set_order, fetch_order) {
                Ok(read) => return Ok(read),
                Err(other) => read = other,
            }
        }
        Err(read)
    }
}

/// An atomic of a narrow type, in the high bits of a flavour's atomic word.
pub struct Packed<P: Primitives, T>(P::Atomic, PhantomData<T>);

/// How far up a type is kept.
#[inline(always)]
fn shift<T: Word>() -> u32 {
    usize::BITS - T::BITS
}

#[inline(always)]
fn pack<T: Word>(value: T) -> usize {
    value.to_bits() << shift::<T>()
}

#[inline(always)]
fn unpack<T: Word>(word: usize) -> T {
    T::from_bits(word >> shift::<T>())
}

impl<P: Primitives, T: Word> Atomic<T> for Packed<P, T> {
    fn new(label: &'static str, value: T) -> Self {
        Self(P::Atomic::packed(label, pack(value), T::BITS), PhantomData)
    }
    #[inline]
    fn load(&self, order: Ordering) -> T {
        unpack(self.0.load(order))
    }
    #[inline]
    fn store(&self, value: T, order: Ordering) {
        self.0.store(pack(value), order);
    }
    #[inline]
    fn modify(&self, by: Modify<T>, order: Ordering) -> T {
        unpack(self.0.modify(by.map(pack), order))
    }
    #[inline]
    fn compare_exchange(&self, current: T, new: T, success: Ordering, failure: Ordering) -> Result<T, T> {
        self.0.compare_exchange(pack(current), pack(new), success, failure).map(unpack).map_err(unpack)
    }
    #[inline]
    fn compare_exchange_weak(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        self.0.compare_exchange_weak(pack(current), pack(new), success, failure).map(unpack).map_err(unpack)
    }
}

/// The machine's atomic of a type, whose own methods have the names of the trait's.
macro_rules! native {
    ($(
        $word:ident, $Atomic:ident, $bits:expr, $to:expr, $from:expr,
        |$self:ident, $by:ident, $order:ident| $reckon:expr;
    )*) => {$(
        impl Word for $word {
            const BITS: u32 = $bits;
            type Native = $Atomic;

            #[inline(always)]
            fn to_bits(self) -> usize {
                let to: fn($word) -> usize = $to;
                to(self)
            }
            #[inline(always)]
            fn from_bits(bits: usize) -> Self {
                let from: fn(usize) -> $word = $from;
                from(bits)
            }
        }

        impl Atomic<$word> for $Atomic {
            #[inline(always)]
            fn new(_: &'static str, value: $word) -> Self {
                $Atomic::new(value)
            }
            #[inline(always)]
            fn load(&self, order: Ordering) -> $word {
                self.load(order)
            }
            #[inline(always)]
            fn store(&self, value: $word, order: Ordering) {
                self.store(value, order)
            }
            #[inline(always)]
            fn modify(&$self, $by: Modify<$word>, $order: Ordering) -> $word {
                match $by {
                    Modify::Swap(value) => $self.swap(value, $order),
                    Modify::And(mask) => $self.fetch_and(mask, $order),
                    Modify::Or(mask) => $self.fetch_or(mask, $order),
                    Modify::Xor(mask) => $self.fetch_xor(mask, $order),
                    _ => $reckon,
                }
            }
            #[inline(always)]
            fn compare_exchange(
                &self,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                self.compare_exchange(current, new, success, failure)
            }
            #[inline(always)]
            fn compare_exchange_weak(
                &self,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                self.compare_exchange_weak(current, new, success, failure)
            }
        }
    )*};
}

/// What a number has and a truth value has not.
macro_rules! reckon {
    ($atomic:ident, $by:ident, $order:ident) => {
        match $by {
            Modify::Add(value) => $atomic.fetch_add(value, $order),
            Modify::Sub(value) => $atomic.fetch_sub(value, $order),
            Modify::Max(value) => $atomic.fetch_max(value, $order),
            Modify::Min(value) => $atomic.fetch_min(value, $order),
            _ => unreachable!("the others are the caller's"),
        }
    };
}

native! {
    bool, AtomicBool, 1, |value| value.into(), |bits| bits != 0,
    |self, by, order| unreachable!("{by:?} of a truth value is no operation of the trait");

    u32, AtomicU32, u32::BITS, |value| value as usize, |bits| bits as u32,
    |self, by, order| reckon!(self, by, order);

    u64, AtomicU64, u64::BITS, |value| value as usize, |bits| bits as u64,
    |self, by, order| reckon!(self, by, order);

    usize, AtomicUsize, usize::BITS, |value| value, |bits| bits,
    |self, by, order| reckon!(self, by, order);
}

const _: () = assert!(usize::BITS == 64, "a checker keeps every type in a machine word");

impl Number for u32 {}
impl Number for u64 {}
impl Number for usize {}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;
    use crate::sync::Native;

    /// One that keeps every type in a word, on the machine.
    type InWord<T> = Packed<Native, T>;

    /// What a row of operations reads.
    fn numbers<T: Number, A: Atomic<T>>(of: impl Fn(usize) -> T) -> Vec<usize> {
        let all_bits = of(usize::MAX);
        let word = A::new("word", of(5));
        let read = [
            word.fetch_sub(of(7), SeqCst), // below zero
            word.fetch_add(of(3), SeqCst), // and back
            word.fetch_max(of(3), SeqCst),
            word.fetch_min(all_bits, SeqCst),
            word.fetch_or(of(0xf0), SeqCst),
            word.fetch_and(all_bits, SeqCst),
            word.fetch_xor(all_bits, SeqCst),
            word.swap(of(2), SeqCst),
            word.compare_exchange(of(2), of(9), SeqCst, SeqCst).unwrap(),
            word.compare_exchange(of(2), of(9), SeqCst, SeqCst).unwrap_err(),
            word.fetch_update(SeqCst, SeqCst, |read| (read == of(9)).then_some(all_bits)).unwrap(),
            word.fetch_update(SeqCst, SeqCst, |read| (read == of(9)).then_some(all_bits)).unwrap_err(),
            word.load(SeqCst),
        ];
        read.map(T::to_bits).to_vec()
    }

    #[test]
    fn a_narrow_number_in_a_word_wraps_and_compares_as_the_machines_own_does() {
        let of = |bits: usize| bits as u32;
        assert_eq!(numbers::<u32, InWord<u32>>(of), numbers::<u32, AtomicU32>(of));
        let of = |bits: usize| bits as u64;
        assert_eq!(numbers::<u64, InWord<u64>>(of), numbers::<u64, AtomicU64>(of));
        assert_eq!(numbers::<usize, InWord<usize>>(|bits| bits), numbers::<usize, AtomicUsize>(|bits| bits));
    }

    #[test]
    fn a_truth_value_in_a_word_is_one() {
        fn run<A: Atomic<bool>>() -> Vec<bool> {
            let flag = A::new("flag", false);
            vec![
                flag.fetch_or(true, SeqCst),
                flag.fetch_xor(true, SeqCst),
                flag.swap(true, SeqCst),
                flag.fetch_and(false, SeqCst),
                flag.compare_exchange(false, true, SeqCst, SeqCst).unwrap(),
                flag.load(SeqCst),
            ]
        }
        assert_eq!(run::<InWord<bool>>(), run::<AtomicBool>());
        assert_eq!(run::<AtomicBool>(), [false, true, false, true, false, true]);
    }

    #[test]
    fn what_a_checker_does_in_two_steps_comes_to_what_the_machine_does_in_one() {
        let changes = [
            Modify::Swap(6),
            Modify::Add(usize::MAX),
            Modify::Sub(9),
            Modify::And(6),
            Modify::Or(6),
            Modify::Xor(6),
            Modify::Max(6),
            Modify::Min(4),
        ];
        for by in changes {
            let word = <AtomicUsize as Atomic>::new("word", 5);
            assert_eq!((word.modify(by, SeqCst), word.load(SeqCst)), (5, by.apply(5)), "{by:?}");
        }
    }
}
