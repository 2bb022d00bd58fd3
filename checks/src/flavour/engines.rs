//! [`Loom`] and [`Shuttle`]: the two engines' own types behind [`Primitives`].
//!
//! Both imitate std, so one macro writes both. The parker is made of the engine's Mutex and Condvar: the engines' own
//! `park` shares its token with other things (loom) or wakes spuriously without bound (shuttle).

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Primitives, Unparked};

use super::script;

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

/// What a parker's lock guards.
#[derive(Debug, Default)]
struct Token {
    present: bool,
    parks: usize,
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

            const POISONED: &str = "a panic ends the execution, so nobody sees the lock after it";

            impl Primitives for $Flavour {
                type Atomic = Atomic;
                type Mutex<T: Send + 'static> = Mutex<T>;
                type Parker = Parker;
                type Cell<T: Send + 'static> = $Cell<T>;
                type JoinHandle = JoinHandle;

                fn fence(order: Ordering) {
                    engine::sync::atomic::fence(order);
                }

                fn spawn(_: &'static str, body: impl FnOnce() + Send + 'static) -> JoinHandle {
                    // Without its name: the engines copy that each time they are asked who is running.
                    JoinHandle(engine::thread::spawn(body))
                }

                fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
                    if script::refuses_thread() {
                        return Err(io::Error::new(io::ErrorKind::WouldBlock, "the script refuses this thread"));
                    }
                    Ok(Self::spawn(name, body))
                }

                fn thread() -> u64 {
                    let mut hasher = DefaultHasher::new();
                    engine::thread::current().id().hash(&mut hasher);
                    hasher.finish()
                }

                fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
                    panic::catch_unwind(AssertUnwindSafe(body)).or_else(only_scripted)
                }

                fn tearing_down() -> bool {
                    std::thread::panicking()
                }
            }

            /// The engine's atomic.
            #[derive(Debug)]
            pub struct Atomic(engine::sync::atomic::AtomicUsize);

            impl sync::Atomic for Atomic {
                fn new(_: &'static str, value: usize) -> Self {
                    Self(engine::sync::atomic::AtomicUsize::new(value))
                }
                fn load(&self, order: Ordering) -> usize {
                    self.0.load(order)
                }
                fn store(&self, value: usize, order: Ordering) {
                    self.0.store(value, order)
                }
                fn swap(&self, value: usize, order: Ordering) -> usize {
                    self.0.swap(value, order)
                }
                fn fetch_add(&self, value: usize, order: Ordering) -> usize {
                    self.0.fetch_add(value, order)
                }
                fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
                    self.0.fetch_sub(value, order)
                }
                fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, err: Ordering) -> Result<usize, usize> {
                    self.0.compare_exchange(old, new, ok, err)
                }
            }

            /// The engine's lock.
            #[derive(Debug)]
            pub struct Mutex<T>(engine::sync::Mutex<T>);

            impl<T: Send + 'static> sync::Mutex<T> for Mutex<T> {
                fn new(_: &'static str, value: T) -> Self {
                    Self(engine::sync::Mutex::new(value))
                }

                fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
                    body(&mut self.0.lock().expect(POISONED))
                }
            }

            /// One token, under the engine's Mutex and Condvar.
            #[derive(Debug)]
            pub struct Parker {
                label: &'static str,
                state: engine::sync::Mutex<Token>,
                change: engine::sync::Condvar,
            }

            impl sync::Parker for Parker {
                fn new(label: &'static str) -> Self {
                    Self { label, state: engine::sync::Mutex::new(Token::default()), change: engine::sync::Condvar::new() }
                }

                fn park(&self) {
                    self.park_timeout(Duration::MAX);
                }

                fn park_timeout(&self, _: Duration) -> Unparked {
                    let mut state = self.state.lock().expect(POISONED);
                    state.parks += 1;
                    if script::returns_early(self.label, state.parks) {
                        return Unparked::Early;
                    }
                    while !state.present {
                        state = self.change.wait(state).expect(POISONED);
                    }
                    state.present = false;
                    Unparked::Token
                }

                fn unpark(&self) {
                    self.state.lock().expect(POISONED).present = true;
                    self.change.notify_one();
                }
            }

            impl Wake for Parker {
                fn wake(self: Arc<Self>) {
                    sync::Parker::unpark(&*self);
                }
            }

            /// A simulated thread.
            pub struct JoinHandle(engine::thread::JoinHandle<()>);

            impl sync::JoinHandle for JoinHandle {
                fn join(self) -> std::thread::Result<()> {
                    self.0.join()
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

/// Loom's cell, which reports races.
#[derive(Debug)]
pub struct LoomCell<T>(::loom::cell::UnsafeCell<T>);

// SAFETY: as for the native cell: it hands out raw pointers only, and loom reports the races.
unsafe impl<T: Send> Sync for LoomCell<T> {}

impl<T: Send + 'static> sync::Cell<T> for LoomCell<T> {
    fn new(_: &'static str, value: T) -> Self {
        Self(::loom::cell::UnsafeCell::new(value))
    }
    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
        self.0.with(body)
    }
    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(body)
    }
}

/// Shuttle has no cell of its own; races are loom's to find.
type ShuttleCell<T> = sync::NativeCell<T>;
