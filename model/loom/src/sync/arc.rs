//! Shared ownership. Handles are counted, and what is still there at the end has been leaked.
//!
//! All handles together hold one count of a standard `Arc`. Which handle is the last one is decided by the graph, where
//! [counts](crate::rt::counts) are operations: the thread whose decrement reads 1, wherever the others are
//! with theirs in this run.

use std::borrow::Borrow;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location as Source;
use std::pin::Pin;
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use std::sync::{Arc as StdArc, Weak as StdWeak};
use std::{fmt, mem};

use reveille_model::code::{self, Kind, Location};
use reveille_model::graphs::{Modify, Op, Value};

use crate::rt::counts::{self, Count};
use crate::rt::rules::{Rule, without};
use crate::rt::{self, At};

/// A handle of a shared value.
pub struct Arc<T: ?Sized> {
    /// From a standard `Arc`
    value: *const T,
    count: StdArc<Count>,
}

// SAFETY: as for the standard `Arc`.
unsafe impl<T: ?Sized + Sync + Send> Send for Arc<T> {}
// SAFETY: as for the standard `Arc`.
unsafe impl<T: ?Sized + Sync + Send> Sync for Arc<T> {}

/// A handle that does not keep the value. loom has none.
pub struct Weak<T: ?Sized> {
    value: StdWeak<T>,
    /// `None` if there never was a value
    count: Option<StdArc<Count>>,
}

fn location(count: &Count) -> Location {
    count.late.location("Arc", Kind::Word, |_| 1)
}

/// One handle more.
fn add(count: &Count, source: At) {
    if count.is_eventful() {
        rt::modify(location(count), Modify::Add(1), Relaxed, None, source);
    }
    count.add();
}

fn compare_exchange(count: &Count, expected: Value, new: Value, order: Ordering, source: At) -> Value {
    let location = location(count).number();
    let modify = Modify::CompareExchange { expected, new };
    rt::perform(Op::Rmw { location, order, failure: Relaxed, modify, until: None }, source)
}

impl<T> Arc<T> {
    /// A new value with one handle.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self::from_unique(StdArc::new(value))
    }

    /// The same, pinned.
    #[track_caller]
    pub fn pin(value: T) -> Pin<Self> {
        // SAFETY: what an `Arc` owns does not move, and there is no other handle yet.
        unsafe { Pin::new_unchecked(Self::new(value)) }
    }

    /// The value, if this is the only handle.
    ///
    /// # Errors
    /// With the handle, if it is not.
    #[track_caller]
    pub fn try_unwrap(this: Self) -> Result<T, Self> {
        this.count.demand();
        let source = Source::caller();
        if this.count.is_eventful() {
            if compare_exchange(&this.count, 1, 0, Relaxed, source) != 1 {
                return Err(this);
            }
            rt::perform(Op::Fence { order: Acquire }, source);
        } else if !this.count.is_last() {
            return Err(this);
        }
        let this = ManuallyDrop::new(this);
        // SAFETY: each field is taken out once, and `this` is not dropped.
        let (value, count) = unsafe { (StdArc::from_raw(this.value), std::ptr::read(&raw const this.count)) };
        count.set_gone();
        counts::unregister(this.value.addr());
        match StdArc::try_unwrap(value) {
            Ok(value) => Ok(value),
            Err(_) => unreachable!("all handles together have one count"),
        }
    }

    /// The value, if this is the last handle.
    #[track_caller]
    pub fn into_inner(this: Self) -> Option<T> {
        Self::try_unwrap(this).ok()
    }

    /// A value that is given a handle of its own, which has no value yet.
    #[track_caller]
    pub fn new_cyclic<F: FnOnce(&Weak<T>) -> T>(make: F) -> Self {
        let count = Count::new();
        count.demand();
        let source = Source::caller();
        if count.is_eventful() {
            // While there is no value, there is no handle.
            rt::store(location(&count), 0, Relaxed, source);
        }
        let value =
            StdArc::new_cyclic(|weak| make(&Weak { value: weak.clone(), count: Some(count.clone()) }));
        if count.is_eventful() {
            rt::store(location(&count), 1, Release, source);
        }
        let value = StdArc::into_raw(value);
        counts::register(value.addr(), &count);
        Arc { value, count }
    }
}

impl<T: ?Sized> Arc<T> {
    #[track_caller]
    fn from_unique(value: StdArc<T>) -> Self {
        let value = StdArc::into_raw(value);
        let count = Count::new();
        if code::is_running() {
            counts::register(value.cast::<()>().addr(), &count);
        }
        Arc { value, count }
    }

    /// From a standard `Arc` that is the only handle.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn from_std(mut std: StdArc<T>) -> Self {
        assert!(StdArc::get_mut(&mut std).is_some(), "Arc provided to `from_std` is not unique");
        Self::from_unique(std)
    }

    /// How many handles there are, or have been.
    #[track_caller]
    pub fn strong_count(this: &Self) -> usize {
        this.count.demand();
        if this.count.is_eventful() {
            rt::load(location(&this.count), Relaxed, Source::caller()) as usize
        } else {
            this.count.handles()
        }
    }

    /// One handle more.
    ///
    /// # Safety
    /// The pointer is from [`into_raw`](Self::into_raw), and there is a handle.
    #[track_caller]
    pub unsafe fn increment_strong_count(pointer: *const T) {
        // SAFETY: the caller's promise; this handle is not dropped.
        let this = ManuallyDrop::new(unsafe { Self::from_raw(pointer) });
        add(&this.count, Source::caller());
    }

    /// One handle less.
    ///
    /// # Safety
    /// The pointer is from [`into_raw`](Self::into_raw), and that handle is given up.
    #[track_caller]
    pub unsafe fn decrement_strong_count(pointer: *const T) {
        // SAFETY: the caller's promise.
        drop(unsafe { Self::from_raw(pointer) });
    }

    /// The value, if this is the only handle.
    #[track_caller]
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        this.count.demand();
        let is_only = match this.count.is_eventful() {
            true => rt::load(location(&this.count), Acquire, Source::caller()) == 1,
            false => this.count.is_last(),
        };
        // SAFETY: it is the only handle, and so is the reference that is returned.
        is_only.then(|| unsafe { &mut *this.value.cast_mut() })
    }

    /// Whether both are handles of the same value.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        std::ptr::addr_eq(this.value, other.value)
    }

    /// The value's address. The handle is not given up.
    pub fn as_ptr(this: &Self) -> *const T {
        this.value
    }

    /// The handle as an address, for [`from_raw`](Self::from_raw).
    pub fn into_raw(this: Self) -> *const T {
        let this = ManuallyDrop::new(this);
        // SAFETY: it is read once, and `this` is not dropped. The registry keeps another handle of it.
        drop(unsafe { std::ptr::read(&raw const this.count) });
        this.value
    }

    /// The handle that was made an address.
    ///
    /// # Safety
    /// The pointer is from [`into_raw`](Self::into_raw), in the same execution, and used once.
    ///
    /// # Panics
    /// If there is no such value.
    #[track_caller]
    pub unsafe fn from_raw(pointer: *const T) -> Self {
        let count = counts::find(pointer.cast::<()>().addr());
        Arc {
            value: pointer,
            count: count.expect("`from_raw` of what is no Arc of this execution, or was freed"),
        }
    }

    /// A handle that does not keep the value.
    #[track_caller]
    pub fn downgrade(this: &Self) -> Weak<T> {
        this.count.demand();
        // SAFETY: it is the pointer of a standard `Arc`, whose count is not touched.
        let value = ManuallyDrop::new(unsafe { StdArc::from_raw(this.value) });
        Weak { value: StdArc::downgrade(&value), count: Some(this.count.clone()) }
    }
}

impl<T: ?Sized> Drop for Arc<T> {
    fn drop(&mut self) {
        let source = self.count.made();
        let mut is_last = None;
        let is_eventful = self.count.is_eventful();
        if is_eventful {
            let minus = (1 as Value).wrapping_neg();
            let order = if without(Rule::DropsRelease) { Relaxed } else { Release };
            let read = rt::modify(location(&self.count), Modify::Add(minus), order, None, source);
            if !code::is_taken_down() {
                is_last = Some(read == 1);
            }
            if read == 1 && !without(Rule::LastDropAcquires) {
                rt::perform(Op::Fence { order: Acquire }, source);
            }
        }
        let was_last = self.count.remove();
        if !is_last.unwrap_or(was_last) || !self.count.set_gone() {
            return;
        }
        counts::unregister(self.value.cast::<()>().addr());
        // SAFETY: the count of the standard `Arc` is that of all handles, and this is the last one.
        let dropped = || drop(unsafe { StdArc::from_raw(self.value) });
        if code::is_running() && !is_eventful && mem::needs_drop::<T>() {
            self.count.uneventful(dropped);
        } else {
            dropped();
        }
    }
}

impl<T: ?Sized> Clone for Arc<T> {
    #[track_caller]
    fn clone(&self) -> Self {
        add(&self.count, Source::caller());
        Arc { value: self.value, count: self.count.clone() }
    }
}

impl<T: ?Sized> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: there is a handle, this one.
        unsafe { &*self.value }
    }
}

impl<T> Weak<T> {
    /// One of no value.
    pub fn new() -> Self {
        Weak { value: StdWeak::new(), count: None }
    }
}

impl<T: ?Sized> Weak<T> {
    /// A handle that keeps the value, if it is there.
    #[track_caller]
    pub fn upgrade(&self) -> Option<Arc<T>> {
        let count = self.count.as_ref()?;
        count.demand();
        if !count.is_eventful() || code::is_taken_down() {
            return None;
        }
        let source = Source::caller();
        let mut handles = rt::load(location(count), Relaxed, source);
        loop {
            if handles == 0 {
                return None;
            }
            let before = compare_exchange(count, handles, handles + 1, Acquire, source);
            if before == handles {
                break;
            }
            handles = before;
        }
        count.add();
        // The count says that the value is there, and in this run too: who made it has gone before.
        let value = self.value.as_ptr();
        Some(Arc { value, count: count.clone() })
    }

    /// Whether both are handles of the same value.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.value.ptr_eq(&other.value)
    }
}

impl<T: ?Sized> Clone for Weak<T> {
    fn clone(&self) -> Self {
        Weak { value: self.value.clone(), count: self.count.clone() }
    }
}

impl<T> Default for Weak<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> fmt::Debug for Weak<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}

impl<T: Default> Default for Arc<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Arc<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized> AsRef<T> for Arc<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized> Borrow<T> for Arc<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Arc<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: ?Sized + Eq> Eq for Arc<T> {}

impl<T: ?Sized + std::hash::Hash> std::hash::Hash for Arc<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}
