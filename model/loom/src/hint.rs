//! Hints.

use crate::rt::spin;

/// Says that the thread is in a loop that waits. See the README: *spin loops*.
#[track_caller]
pub fn spin_loop() {
    spin::hint();
}

/// Says that this place is never reached.
///
/// # Safety
/// It must not be reached.
///
/// # Panics
/// If it is: here that is no undefined behaviour.
#[track_caller]
pub unsafe fn unreachable_unchecked() -> ! {
    unreachable!("unreachable_unchecked was reached!");
}

pub use std::hint::black_box;
