//! The primitives of the machine.

use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{self, AtomicU64, AtomicUsize, Ordering};
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::{Cell, JoinHandle, Mutex, Parker, Primitives, Word};
use crate::parker::FutexParker;

/// The primitives of the machine: std's atomics, lock and threads, and a parker on a futex.
#[derive(Debug, Clone, Copy)]
pub enum Native {}

impl Primitives for Native {
    type Atomic = AtomicUsize;
    type AtomicOf<T: Word> = T::Native;
    type Mutex<T: Send + 'static> = std::sync::Mutex<T>;
    type Parker = FutexParker;
    type Cell<T: Send + 'static> = NativeCell<T>;
    type JoinHandle = std::thread::JoinHandle<()>;

    #[inline(always)]
    fn fence(order: Ordering) {
        atomic::fence(order);
    }

    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Self::JoinHandle {
        Self::try_spawn(name, body).expect("the system refused to start a thread")
    }

    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<Self::JoinHandle> {
        std::thread::Builder::new().name(name.into()).spawn(body)
    }

    fn yield_now() -> bool {
        std::thread::yield_now();
        true
    }

    fn nap(parker: &FutexParker, time: Duration) {
        parker.park_timeout(time);
    }

    fn is_within(start: Instant, time: Duration) -> bool {
        start.elapsed() < time
    }

    fn thread() -> u64 {
        fn another() -> u64 {
            static THREADS: AtomicU64 = AtomicU64::new(0);
            // Relaxed: the numbers have to differ, and order nothing. Unreached: checkers number their
            // threads themselves.
            THREADS.fetch_add(1, Ordering::Relaxed)
        }
        thread_local! {
            static THREAD: u64 = another();
        }
        THREAD.with(|&thread| thread)
    }
}

impl<T: Send + 'static> Mutex<T> for std::sync::Mutex<T> {
    type Held<'a> = MutexGuard<'a, T>;

    fn new(_: &'static str, value: T) -> Self {
        std::sync::Mutex::new(value)
    }

    #[inline]
    fn hold(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn try_hold(&self) -> Option<MutexGuard<'_, T>> {
        match self.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The cell of [`Native`]: an [`UnsafeCell`] that may be shared.
#[derive(Debug)]
pub struct NativeCell<T>(UnsafeCell<T>);

// SAFETY: the cell hands out raw pointers only; whoever dereferences one argues that there is no race. `T:
// Send` because that argument may move the value to the thread that reads it.
unsafe impl<T: Send> Sync for NativeCell<T> {}

impl<T: Send + 'static> Cell<T> for NativeCell<T> {
    fn new(_: &'static str, value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
        body(self.0.get())
    }

    #[inline(always)]
    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
        body(self.0.get())
    }
}

impl JoinHandle for std::thread::JoinHandle<()> {
    fn join(self) -> std::thread::Result<()> {
        self.join()
    }
}
