//! What all atomics have in common.
//!
//! The engine's values have 64 bits. A narrower type is kept in the **high** ones: then a sum wraps where the type
//! does, and signed numbers compare as such, without any operation knowing how wide it is.

use std::fmt;
use std::panic::Location as Source;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use reveille_model::code::{self, Kind, Late, Location};
use reveille_model::graphs::{Modify, Op, Value};

use crate::rt::{self, At, Freak};

/// A type of atomics.
pub(crate) trait Bits: Copy + PartialEq {
    /// The name of the atomic type
    const LABEL: &'static str;
    const KIND: Kind;

    /// The value that an operation writes or compares with. `which` finds it in the operation of the graph that
    /// is repeated.
    fn value(self, which: fn(Op) -> Option<Value>) -> Value;

    /// The value that a location begins with, where it has this one in the graph.
    fn initial(self, recorded: Option<Value>) -> Value;

    fn of(value: Value) -> Self;
}

/// An atomic.
pub(crate) struct Word<T> {
    late: Late,
    initial: T,
}

impl<T> Word<T> {
    #[track_caller]
    pub const fn new(initial: T) -> Self {
        Word { late: Late::new(), initial }
    }
}

impl<T: Bits> Word<T> {
    #[inline]
    fn location(&self) -> Location {
        self.late.location(T::LABEL, T::KIND, |recorded| self.initial.initial(recorded))
    }

    #[inline]
    fn modify(&self, modify: Modify, order: Ordering, failure: Ordering, source: At) -> Value {
        let location = self.location().number();
        rt::perform(Op::Rmw { location, order, failure, modify, until: None }, source)
    }

    #[track_caller]
    #[inline]
    pub fn load(&self, order: Ordering) -> T {
        assert!(!matches!(order, Release | AcqRel), "there is no such thing as a load that releases");
        T::of(rt::load(self.location(), order, Source::caller()))
    }

    #[track_caller]
    #[inline]
    pub fn store(&self, value: T, order: Ordering) {
        assert!(!matches!(order, Acquire | AcqRel), "there is no such thing as a store that acquires");
        let location = self.location();
        rt::store(location, value.value(rt::pointers::written), order, Source::caller());
    }

    #[track_caller]
    #[inline]
    pub fn swap(&self, value: T, order: Ordering) -> T {
        self.location();
        let modify = Modify::Swap(value.value(rt::pointers::written));
        T::of(self.modify(modify, order, Relaxed, Source::caller()))
    }

    /// A read-modify-write of a number.
    #[track_caller]
    #[inline]
    pub fn fetch(&self, modify: Modify, order: Ordering) -> T {
        T::of(self.modify(modify, order, Relaxed, Source::caller()))
    }

    #[track_caller]
    #[inline]
    pub fn compare_exchange(&self, current: T, new: T, success: Ordering, failure: Ordering) -> Result<T, T> {
        self.exchange(current, new, success, failure, Source::caller())
    }

    fn exchange(&self, current: T, new: T, success: Ordering, failure: Ordering, source: At) -> Result<T, T> {
        assert!(!matches!(failure, Release | AcqRel), "a failed exchange does not release");
        self.location();
        let expected = current.value(rt::pointers::compared);
        let new = new.value(rt::pointers::written);
        let read = self.modify(Modify::CompareExchange { expected, new }, success, failure, source);
        if read == expected { Ok(T::of(read)) } else { Err(T::of(read)) }
    }

    #[track_caller]
    pub fn compare_exchange_weak(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        let source = Source::caller();
        if rt::happens(Freak::WeakFailure, source) {
            return Err(T::of(rt::load(self.location(), failure, source)));
        }
        self.exchange(current, new, success, failure, source)
    }

    #[track_caller]
    pub fn compare_and_swap(&self, current: T, new: T, order: Ordering) -> T {
        let failure = match order {
            Relaxed | Release => Relaxed,
            Acquire | AcqRel => Acquire,
            _ => SeqCst,
        };
        self.exchange(current, new, order, failure, Source::caller()).unwrap_or_else(|read| read)
    }

    /// With exchanges that do not fail for no reason: it would only come round again.
    #[track_caller]
    pub fn try_update(
        &self,
        success: Ordering,
        failure: Ordering,
        mut update: impl FnMut(T) -> Option<T>,
    ) -> Result<T, T> {
        let source = Source::caller();
        let mut read = T::of(rt::load(self.location(), failure, source));
        loop {
            let Some(new) = update(read) else { return Err(read) };
            match self.exchange(read, new, success, failure, source) {
                Ok(read) => return Ok(read),
                Err(newer) => read = newer,
            }
        }
    }

    /// Reads the value as if it were no atomic. The program promises that no other thread writes it now.
    #[track_caller]
    pub fn read_alone(&self) -> T {
        let source = Source::caller();
        if !code::is_running() {
            return self.initial;
        }
        let location = self.location();
        let value = T::of(rt::load(location, Relaxed, source));
        // A write that is not ordered before this read is there already, or revisits it: then this is repeated,
        // and the last that the thread repeats.
        if !code::is_repeating() && !code::is_settled(location) {
            panic!(
                "Causality violation: a race on `{}` (made at {}): it is accessed alone at {source}, and a write of \
                 another thread is not ordered before that",
                T::LABEL,
                self.late.source()
            );
        }
        value
    }

    #[track_caller]
    pub fn with_mut<R>(&mut self, body: impl FnOnce(&mut T) -> R) -> R {
        let before = self.read_alone();
        let mut value = before;
        let result = body(&mut value);
        if value != before {
            if code::is_running() {
                let location = self.location();
                rt::store(location, value.value(rt::pointers::written), Relaxed, Source::caller());
            } else {
                self.initial = value;
            }
        }
        result
    }
}

impl<T: Bits> fmt::Debug for Word<T> {
    /// Its place, and not its value: to read that would be an operation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", T::LABEL, self.late.source())
    }
}

/// A value of a location with this label, for people.
pub(crate) fn shown(label: &str, value: Value) -> String {
    match label {
        "AtomicBool" => (value != 0).to_string(),
        "AtomicPtr" if value == 0 => "null".to_owned(),
        "AtomicPtr" => format!("p{value}"),
        "AtomicU8" => (value >> 56).to_string(),
        "AtomicU16" => (value >> 48).to_string(),
        "AtomicU32" => (value >> 32).to_string(),
        "AtomicI8" => (value as i64 >> 56).to_string(),
        "AtomicI16" => (value as i64 >> 48).to_string(),
        "AtomicI32" => (value as i64 >> 32).to_string(),
        "AtomicI64" | "AtomicIsize" => (value as i64).to_string(),
        _ if value > 0xffff => format!("{value:#x}"),
        _ => value.to_string(),
    }
}
