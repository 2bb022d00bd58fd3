//! An `UnsafeCell` that is reached through pointers which know when they are used.
//!
//! An access lasts from when the pointer is asked for until it is gone. It is one event, at its beginning;
//! and another one at its end, if the thread has done other operations in between: what another thread did
//! after the beginning may be before the end, or not.
//!
//! In the graph only threads race. That one thread reads what it is writing, by a pointer within a
//! pointer's life, is seen by who has borrowed the cell.

use std::fmt;
use std::panic::Location as Source;

use reveille_model::code::{self, Kind, Late, Location};
use reveille_model::graphs::Op;

use crate::rt::rules::{Rule, without};
use crate::rt::{self, At};

/// A cell.
pub struct UnsafeCell<T: ?Sized> {
    late: Late,
    value: std::cell::UnsafeCell<T>,
}

/// A pointer to what is in a cell, which is read as long as this is there.
pub struct ConstPtr<T: ?Sized> {
    pointer: *const T,
    access: Access,
}

/// A pointer to what is in a cell, which is written as long as this is there.
pub struct MutPtr<T: ?Sized> {
    pointer: *mut T,
    access: Access,
}

/// An access that lasts. It does not look at the cell when it ends: that may be gone by then.
struct Access {
    /// `None` outside of executions
    location: Option<Location>,
    run: u64,
    thread: usize,
    writes: bool,
    source: At,
    /// How many operations the thread had done when it began
    before: u64,
}

impl Access {
    #[track_caller]
    fn begin(late: &Late, writes: bool) -> Access {
        let source = Source::caller();
        let (run, thread) = (code::run(), code::thread());
        let location = code::is_running().then(|| late.location("UnsafeCell", Kind::Cell, |_| 0));
        if let Some(location) = location {
            announce(location, writes, source);
            let number = location.number();
            let has_conflict = rt::with(|run| {
                let own = |(cell, by, _): &&(u32, usize, bool)| (*cell, *by) == (number, thread);
                let has_conflict = run.borrowed.iter().filter(own).any(|(.., other)| writes || *other);
                run.borrowed.push((number, thread, writes));
                has_conflict
            });
            if has_conflict && !code::is_taken_down() && !std::thread::panicking() {
                let (now, before) = if writes { ("written", "accesses") } else { ("read", "writes") };
                panic!(
                    "Causality violation: the cell made at {} is {now} at {source} while the same thread {before} it",
                    late.source()
                );
            }
        }
        Access { location, run, thread, writes, source, before: rt::own(|own| own.operations) }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let Some(location) = self.location.filter(|_| code::run() == self.run) else { return };
        let is_later = rt::own(|own| own.operations) != self.before;
        let entry = (location.number(), self.thread, self.writes);
        rt::with(|run| {
            if let Some(place) = run.borrowed.iter().rposition(|other| *other == entry) {
                run.borrowed.swap_remove(place);
            }
        });
        if is_later && !code::is_taken_down() && !without(Rule::AccessesLast) {
            announce(location, self.writes, self.source);
        }
    }
}

fn announce(location: Location, writes: bool, source: At) {
    let location = location.number();
    rt::perform(if writes { Op::CellWrite { location } } else { Op::CellRead { location } }, source);
}

impl<T> UnsafeCell<T> {
    /// A new one.
    #[track_caller]
    pub const fn new(value: T) -> Self {
        UnsafeCell { late: Late::new(), value: std::cell::UnsafeCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Reads the value through a pointer.
    #[track_caller]
    pub fn with<F, R>(&self, body: F) -> R
    where
        F: FnOnce(*const T) -> R,
    {
        let _access = Access::begin(&self.late, false);
        body(self.value.get())
    }

    /// Writes the value through a pointer.
    #[track_caller]
    pub fn with_mut<F, R>(&self, body: F) -> R
    where
        F: FnOnce(*mut T) -> R,
    {
        let _access = Access::begin(&self.late, true);
        body(self.value.get())
    }

    /// A pointer through which the value is read, as long as it is there.
    #[track_caller]
    pub fn get(&self) -> ConstPtr<T> {
        let access = Access::begin(&self.late, false);
        ConstPtr { pointer: self.value.get(), access }
    }

    /// A pointer through which the value is written, as long as it is there.
    #[track_caller]
    pub fn get_mut(&self) -> MutPtr<T> {
        let access = Access::begin(&self.late, true);
        MutPtr { pointer: self.value.get(), access }
    }
}

impl<T: ?Sized> ConstPtr<T> {
    /// The value.
    ///
    /// # Safety
    /// As for a raw pointer; races are found.
    pub unsafe fn deref(&self) -> &T {
        // SAFETY: the caller's promise.
        unsafe { &*self.pointer }
    }

    /// Gives the pointer to `body`.
    pub fn with<F, R>(&self, body: F) -> R
    where
        F: FnOnce(*const T) -> R,
    {
        body(self.pointer)
    }
}

impl<T: ?Sized> MutPtr<T> {
    /// The value.
    ///
    /// # Safety
    /// As for a raw pointer; races are found.
    #[allow(clippy::mut_from_ref)] // as loom has it
    pub unsafe fn deref(&self) -> &mut T {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.pointer }
    }

    /// Gives the pointer to `body`.
    pub fn with<F, R>(&self, body: F) -> R
    where
        F: FnOnce(*mut T) -> R,
    {
        body(self.pointer)
    }
}

impl<T: ?Sized> fmt::Debug for ConstPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConstPtr ({})", self.access.source)
    }
}

impl<T: ?Sized> fmt::Debug for MutPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MutPtr ({})", self.access.source)
    }
}

impl<T: ?Sized> fmt::Debug for UnsafeCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnsafeCell ({})", self.late.source())
    }
}

impl<T: Default> Default for UnsafeCell<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for UnsafeCell<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
