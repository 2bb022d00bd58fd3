//! Memory and values of which it is seen whether they are leaked, or used after they are gone.

pub use std::alloc::Layout;

use std::panic::Location;

use reveille_model::code::{self, Kind, Late};
use reveille_model::graphs::Op;

use crate::rt::counts;
use crate::rt::{self, At};

/// Allocates memory. A block that is still there at the end of an execution has been leaked.
///
/// # Safety
/// As for [`std::alloc::alloc`].
#[track_caller]
pub unsafe fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's promise.
    let block = unsafe { std::alloc::alloc(layout) };
    allocated(block, Location::caller());
    block
}

/// The same, with zeros in it.
///
/// # Safety
/// As for [`std::alloc::alloc_zeroed`].
#[track_caller]
pub unsafe fn alloc_zeroed(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's promise.
    let block = unsafe { std::alloc::alloc_zeroed(layout) };
    allocated(block, Location::caller());
    block
}

/// Frees a block of [`alloc`].
///
/// # Safety
/// As for [`std::alloc::dealloc`].
///
/// # Panics
/// If there is no such block.
#[track_caller]
pub unsafe fn dealloc(block: *mut u8, layout: Layout) {
    if code::is_running() && !code::is_taken_down() {
        let was_there = counts::unregister_thing(block.addr());
        assert!(was_there, "`dealloc` of what is not allocated, or was freed before");
    }
    // SAFETY: the caller's promise.
    unsafe { std::alloc::dealloc(block, layout) };
}

fn allocated(block: *mut u8, made: At) {
    if code::is_running() && !code::is_taken_down() {
        counts::register_thing(block.addr(), "a block of `alloc`", made);
    }
}

/// A value of which it is seen whether it is leaked, and whether all accesses of it are ordered.
#[derive(Debug)]
pub struct Track<T> {
    value: T,
    tracked: Tracked,
}

/// What is known of a tracked value. Its place does not change when the value moves.
#[derive(Debug)]
struct Tracked(Box<Late>);

impl Tracked {
    #[track_caller]
    fn new() -> Self {
        let late = Box::new(Late::new());
        if code::is_running() && !code::is_taken_down() {
            counts::register_thing(std::ptr::from_ref(&*late).addr(), "Track", Location::caller());
        }
        Tracked(late)
    }

    fn announce(&self, writes: bool, source: At) {
        if code::is_running() {
            let location = self.0.location("Track", Kind::Cell, |_| 0).number();
            rt::perform(if writes { Op::CellWrite { location } } else { Op::CellRead { location } }, source);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.announce(true, self.0.source());
        counts::unregister_thing(std::ptr::from_ref(&*self.0).addr());
    }
}

impl<T> Track<T> {
    /// Tracks a value.
    #[track_caller]
    pub fn new(value: T) -> Track<T> {
        Track { value, tracked: Tracked::new() }
    }

    /// The value, to be read.
    #[track_caller]
    pub fn get_ref(&self) -> &T {
        self.tracked.announce(false, Location::caller());
        &self.value
    }

    /// The value, to be written.
    #[track_caller]
    pub fn get_mut(&mut self) -> &mut T {
        self.tracked.announce(true, Location::caller());
        &mut self.value
    }

    /// The value, which is tracked no more.
    #[track_caller]
    pub fn into_inner(self) -> T {
        self.value
    }
}
