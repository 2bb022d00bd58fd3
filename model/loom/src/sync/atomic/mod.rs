//! Atomics, each operation of which is one of the memory model: of RC11, if `LOOM_MEMORY` names no other.
//!
//! All constructors are `const`: an atomic in a `static` begins anew in each execution.

mod bool;
mod int;
mod methods;
mod ptr;
mod word;

pub use std::sync::atomic::Ordering;

use std::panic::Location;

use reveille_model::graphs::Op;

pub use self::bool::AtomicBool;
pub use self::int::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    AtomicUsize,
};
pub use self::ptr::AtomicPtr;
pub(crate) use self::word::shown;

use crate::rt;
use crate::rt::rules::{Rule, without};

/// A fence.
///
/// # Panics
/// With `Relaxed`, as that of the standard library.
#[track_caller]
pub fn fence(order: Ordering) {
    assert!(order != Ordering::Relaxed, "there is no such thing as a relaxed fence");
    if !without(Rule::Fences) {
        rt::perform(Op::Fence { order }, Location::caller());
    }
}

/// A fence of the compiler. The memory models know nothing of signal handlers, so this does nothing: what it
/// orders in a thread is in order here.
pub fn compiler_fence(order: Ordering) {
    let _ = order;
}

/// The old name of [`spin_loop`](crate::hint::spin_loop).
#[track_caller]
pub fn spin_loop_hint() {
    crate::hint::spin_loop();
}
