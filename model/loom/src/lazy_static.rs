//! Statics that each execution makes anew: [`lazy_static!`](macro@crate::lazy_static).
//!
//! A word says whether the value is there; who finds it missing makes it under a lock. That is what the crate
//! of this name does. The values are dropped when the execution is over.

use std::any::Any;
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use reveille_model::code::{self, Kind, Late};

pub use std::thread::panicking;

pub use crate::thread::{AccessError, yield_now};

use crate::rt;

/// For [`lazy_static!`](macro@crate::lazy_static).
pub struct Lazy<T> {
    init: fn() -> T,
    done: Late,
    lock: Late,
}

impl<T: 'static> Lazy<T> {
    /// For [`lazy_static!`](macro@crate::lazy_static).
    #[doc(hidden)]
    #[track_caller]
    pub const fn new(init: fn() -> T) -> Self {
        Lazy { init, done: Late::new(), lock: Late::new() }
    }

    /// The value of this execution.
    pub fn get(&'static self) -> &'static T {
        let address = std::ptr::from_ref(self).addr();
        let source = self.done.source();
        let done = self.done.location("lazy_static", Kind::Word, |_| 0);
        if rt::load(done, Acquire, source) == 0 {
            let lock = self.lock.location("lazy_static's lock", Kind::Lock, |_| 0);
            rt::acquire(lock, Acquire, source);
            if rt::load(done, Relaxed, source) == 0 {
                let value: Box<dyn Any> = Box::new((self.init)());
                rt::with(|run| run.lazies.push((address, value)));
                rt::store(done, 1, Release, source);
            }
            rt::store(lock, 0, Release, source);
        }
        let find = || {
            rt::with(|run| {
                let value = run.lazies.iter().find(|(at, _)| *at == address)?.1.downcast_ref::<T>();
                value.map(std::ptr::from_ref)
            })
        };
        let value = find().or_else(|| {
            // A destructor asks for it, in a run that is taken down before the thread that has made it came to that.
            let value: Box<dyn Any> = code::is_taken_down().then(|| Box::new((self.init)()) as _)?;
            rt::with(|run| run.lazies.push((address, value)));
            find()
        });
        let value = value.expect("attempted to access lazy_static during shutdown");
        // SAFETY: it is in a box that stays until the execution is over. Nobody can keep the reference for longer in
        // what an execution may use.
        unsafe { &*value }
    }
}

impl<T: 'static> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lazy { .. }")
    }
}
