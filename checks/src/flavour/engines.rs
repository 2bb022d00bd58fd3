//! [`Loom`] and [`Shuttle`]: the two engines' own types behind [`Primitives`].
//!
//! Both imitate std, so one macro writes both. The parker is made of the engine's Mutex and Condvar: the
//! engines' own `park` shares its token with other things (loom) or wakes spuriously without bound (shuttle).
//! What they do not have: a weak exchange that fails for no reason, and an end to a spin in vain, which is
//! too many steps to them.
//!
//! Both end an execution by a panic, and panic again if they are asked for anything while that unwinds a
//! stack: a destructor that touched an atomic would end the process. So each object has what it takes to go
//! on without its engine when the execution is [dead](is_dead): the last value, and memory of its own.

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, TryLockError};
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Modify, Packed, Primitives, Unparked, Word};

use super::script;
use crate::engine::panics::is_dead;

/// The payload of a panic that belongs to a scenario: a job that panics, say.
///
/// The engines end an execution by panicking too, and whoever [catches](Primitives::catch) the panics of the code under
/// test must let those pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptedPanic;

impl ScriptedPanic {
    /// Panics, without a message.
    pub fn panic() -> ! {
        panic::resume_unwind(Box::new(ScriptedPanic))
    }
}

/// Lets only a [`ScriptedPanic`] be caught.
pub(super) fn only_scripted<R>(payload: Box<dyn Any + Send>) -> std::thread::Result<R> {
    if payload.is::<ScriptedPanic>() { Err(payload) } else { panic::resume_unwind(payload) }
}

/// An object of an engine; `None` if it was made when the execution was dead.
#[derive(Debug)]
struct Live<T>(Option<T>);

impl<T> Live<T> {
    fn new(make: impl FnOnce() -> T) -> Self {
        Self((!is_dead()).then(make))
    }

    /// It, while the execution lives.
    fn get(&self) -> Option<&T> {
        if is_dead() { None } else { self.0.as_ref() }
    }
}

macro_rules! flavour {
    ($(#[$doc:meta])* $Flavour:ident, $engine:ident, $Cell:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $Flavour {}

        /// The types behind the flavour.
        pub mod $engine {
            use std::collections::hash_map::DefaultHasher;
            use std::hash::{Hash, Hasher};
            use ::$engine as engine;
            use super::*;

            impl Primitives for $Flavour {
                type Atomic = Atomic;
                type AtomicOf<T: Word> = Packed<Self, T>;
                type Mutex<T: Send + 'static> = Mutex<T>;
                type Parker = Parker;
                type Cell<T: Send + 'static> = $Cell<T>;
                type JoinHandle = JoinHandle;

                fn fence(order: Ordering) {
                    if !is_dead() {
                        engine::sync::atomic::fence(order);
                    }
                }

                fn spawn(_: &'static str, body: impl FnOnce() + Send + 'static) -> JoinHandle {
                    // Without its name: the engines copy that each time they are asked who is running.
                    JoinHandle(Live::new(|| engine::thread::spawn(body)))
                }

                fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
                    if is_dead() || script::refuses_thread() {
                        return Err(io::Error::new(io::ErrorKind::WouldBlock, "the script refuses this thread"));
                    }
                    Ok(Self::spawn(name, body))
                }

                fn thread() -> u64 {
                    if is_dead() {
                        return 0;
                    }
                    let mut hasher = DefaultHasher::new();
                    engine::thread::current().id().hash(&mut hasher);
                    hasher.finish()
                }

                fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
                    panic::catch_unwind(AssertUnwindSafe(body)).or_else(only_scripted)
                }

                fn spin_until(mut condition: impl FnMut() -> bool) {
                    while !condition() && !is_dead() {
                        engine::thread::yield_now();
                    }
                }

                fn tearing_down() -> bool {
                    std::thread::panicking()
                }
            }

            /// The engine's atomic, and the last value written.
            #[derive(Debug)]
            pub struct Atomic(Live<engine::sync::atomic::AtomicUsize>, AtomicUsize);

            impl Atomic {
                fn exchange(
                    &self,
                    [old, new]: [usize; 2],
                    live: impl FnOnce(&engine::sync::atomic::AtomicUsize) -> Result<usize, usize>,
                ) -> Result<usize, usize> {
                    let last = || {
                        let last = self.1.load(Ordering::Relaxed);
                        if last == old { Ok(last) } else { Err(last) }
                    };
                    let result = self.0.get().map_or_else(last, live);
                    if result.is_ok() {
                        self.1.store(new, Ordering::Relaxed);
                    }
                    result
                }
            }

            impl sync::Atomic for Atomic {
                fn new(_: &'static str, value: usize) -> Self {
                    Self(Live::new(|| engine::sync::atomic::AtomicUsize::new(value)), AtomicUsize::new(value))
                }
                fn load(&self, order: Ordering) -> usize {
                    self.0.get().map_or_else(|| self.1.load(Ordering::Relaxed), |word| word.load(order))
                }
                fn store(&self, value: usize, order: Ordering) {
                    if let Some(word) = self.0.get() {
                        word.store(value, order);
                    }
                    self.1.store(value, Ordering::Relaxed);
                }
                fn modify(&self, by: Modify<usize>, order: Ordering) -> usize {
                    let live = |word: &engine::sync::atomic::AtomicUsize| match by {
                        Modify::Swap(value) => word.swap(value, order),
                        Modify::Add(value) => word.fetch_add(value, order),
                        Modify::Sub(value) => word.fetch_sub(value, order),
                        Modify::And(mask) => word.fetch_and(mask, order),
                        Modify::Or(mask) => word.fetch_or(mask, order),
                        Modify::Xor(mask) => word.fetch_xor(mask, order),
                        Modify::Max(other) => word.fetch_max(other, order),
                        Modify::Min(other) => word.fetch_min(other, order),
                    };
                    let read = self.0.get().map_or_else(|| self.1.load(Ordering::Relaxed), live);
                    self.1.store(by.apply(read), Ordering::Relaxed);
                    read
                }
                fn compare_exchange(
                    &self,
                    old: usize,
                    new: usize,
                    ok: Ordering,
                    err: Ordering,
                ) -> Result<usize, usize> {
                    self.exchange([old, new], |word| word.compare_exchange(old, new, ok, err))
                }
                fn compare_exchange_weak(
                    &self,
                    old: usize,
                    new: usize,
                    ok: Ordering,
                    err: Ordering,
                ) -> Result<usize, usize> {
                    self.exchange([old, new], |word| word.compare_exchange_weak(old, new, ok, err))
                }
            }

            /// The engine's lock, around nothing, and beside it the value.
            #[derive(Debug)]
            pub struct Mutex<T>(Live<engine::sync::Mutex<()>>, UnsafeCell<T>);

            // SAFETY: the value is reached by who holds the lock. When the execution is dead no other thread
            // of it goes on.
            unsafe impl<T: Send> Sync for Mutex<T> {}

            /// The lock, held; a panic does not poison it.
            #[derive(Debug)]
            pub struct Held<'a, T>(Option<engine::sync::MutexGuard<'a, ()>>, &'a UnsafeCell<T>);

            impl<T> Deref for Held<'_, T> {
                type Target = T;

                fn deref(&self) -> &T {
                    // SAFETY: see `Mutex`.
                    unsafe { &*self.1.get() }
                }
            }

            impl<T> DerefMut for Held<'_, T> {
                fn deref_mut(&mut self) -> &mut T {
                    // SAFETY: see `Mutex`.
                    unsafe { &mut *self.1.get() }
                }
            }

            impl<T> Drop for Held<'_, T> {
                fn drop(&mut self) {
                    if is_dead() {
                        mem::forget(self.0.take());
                    }
                }
            }

            impl<T: Send + 'static> sync::Mutex<T> for Mutex<T> {
                type Held<'a> = Held<'a, T>;

                fn new(_: &'static str, value: T) -> Self {
                    Self(Live::new(|| engine::sync::Mutex::new(())), UnsafeCell::new(value))
                }

                fn hold(&self) -> Held<'_, T> {
                    let held = self.0.get().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
                    Held(held, &self.1)
                }

                fn try_hold(&self) -> Option<Held<'_, T>> {
                    let held = match self.0.get().map(|lock| lock.try_lock()) {
                        None => None,
                        Some(Ok(held)) => Some(held),
                        Some(Err(TryLockError::Poisoned(poisoned))) => Some(poisoned.into_inner()),
                        Some(Err(TryLockError::WouldBlock)) => return None,
                    };
                    Some(Held(held, &self.1))
                }
            }

            /// One token, under the engine's Mutex and Condvar.
            #[derive(Debug)]
            pub struct Parker {
                label: &'static str,
                state: Live<(engine::sync::Mutex<bool>, engine::sync::Condvar)>,
            }

            impl sync::Parker for Parker {
                fn new(label: &'static str) -> Self {
                    let state = || (engine::sync::Mutex::new(false), engine::sync::Condvar::new());
                    Self { label, state: Live::new(state) }
                }

                fn park(&self) {
                    self.park_timeout(Duration::MAX);
                }

                fn park_timeout(&self, _: Duration) -> Unparked {
                    let Some((state, change)) = self.state.get() else { return Unparked::Early };
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    if script::returns_early(self.label, $Flavour::thread) {
                        return Unparked::Early;
                    }
                    while !*state {
                        state = change.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    *state = false;
                    Unparked::Token
                }

                fn unpark(&self) {
                    if let Some((state, change)) = self.state.get() {
                        *state.lock().unwrap_or_else(PoisonError::into_inner) = true;
                        change.notify_one();
                    }
                }
            }

            impl Wake for Parker {
                fn wake(self: Arc<Self>) {
                    sync::Parker::unpark(&*self);
                }
            }

            /// A simulated thread.
            pub struct JoinHandle(Live<engine::thread::JoinHandle<()>>);

            impl sync::JoinHandle for JoinHandle {
                fn join(self) -> std::thread::Result<()> {
                    if is_dead() { Ok(()) } else { self.0.0.map_or(Ok(()), |thread| thread.join()) }
                }
            }
        }
    };
}

flavour!(
    /// The primitives of loom.
    Loom, loom, LoomCell
);

flavour!(
    /// The primitives of shuttle. Every atomic is sequentially consistent there, and fences do nothing.
    Shuttle, shuttle, ShuttleCell
);

/// Loom's cell, which reports races, around nothing, and beside it the value.
#[derive(Debug)]
pub struct LoomCell<T>(Live<::loom::cell::UnsafeCell<()>>, UnsafeCell<T>);

// SAFETY: as for the native cell: it hands out raw pointers only, and loom reports the races.
unsafe impl<T: Send> Sync for LoomCell<T> {}

impl<T: Send + 'static> sync::Cell<T> for LoomCell<T> {
    fn new(_: &'static str, value: T) -> Self {
        Self(Live::new(|| ::loom::cell::UnsafeCell::new(())), UnsafeCell::new(value))
    }
    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
        match self.0.get() {
            Some(watched) => watched.with(|_| body(self.1.get())),
            None => body(self.1.get()),
        }
    }
    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
        match self.0.get() {
            Some(watched) => watched.with_mut(|_| body(self.1.get())),
            None => body(self.1.get()),
        }
    }
}

/// Shuttle has no cell of its own; races are loom's to find.
type ShuttleCell<T> = sync::NativeCell<T>;
