//! [`Timed`]: [`Native`] that counts its wakes and what its locks cost.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use reveille::sync::{Mutex, Native, Note, Primitives, Word};

/// [`Native`], with the wakes and the waits for a lock counted, for the whole process: one measurement at a time. A lock is
/// [tried](std::sync::Mutex::try_lock) first, and only an acquisition that fails is timed.
#[derive(Debug, Clone, Copy)]
pub enum Timed {}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Sleepers woken, those that a wake was passed on to included.
    pub sent: u64,
    /// Wakes that a gate skipped.
    pub skipped: u64,
    /// Acquisitions that found the lock taken.
    pub lock_waits: u64,
    /// For how long they waited, summed over the threads.
    pub lock_wait: Duration,
}

// Relaxed throughout: they are sums, read when the threads that add to them are at rest.
static SENT: AtomicU64 = AtomicU64::new(0);
static SKIPPED: AtomicU64 = AtomicU64::new(0);
static LOCK_WAITS: AtomicU64 = AtomicU64::new(0);
static LOCK_WAIT_NS: AtomicU64 = AtomicU64::new(0);

/// What was counted since the last call.
pub fn take() -> Watched {
    let take = |sum: &AtomicU64| sum.swap(0, Ordering::Relaxed);
    Watched {
        sent: take(&SENT),
        skipped: take(&SKIPPED),
        lock_waits: take(&LOCK_WAITS),
        lock_wait: Duration::from_nanos(take(&LOCK_WAIT_NS)),
    }
}

impl Primitives for Timed {
    type Atomic = AtomicUsize;
    type AtomicOf<T: Word> = T::Native;
    type Mutex<T: Send + 'static> = TimedMutex<T>;
    type Parker = <Native as Primitives>::Parker;
    type Cell<T: Send + 'static> = <Native as Primitives>::Cell<T>;
    type JoinHandle = <Native as Primitives>::JoinHandle;

    fn fence(order: Ordering) {
        Native::fence(order);
    }
    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Self::JoinHandle {
        Native::spawn(name, body)
    }
    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<Self::JoinHandle> {
        Native::try_spawn(name, body)
    }
    fn thread() -> u64 {
        Native::thread()
    }
    fn yield_now() -> bool {
        Native::yield_now()
    }
    fn nap(parker: &Self::Parker, time: Duration) {
        Native::nap(parker, time);
    }
    fn is_within(start: Instant, time: Duration) -> bool {
        Native::is_within(start, time)
    }
    fn note(note: Note) {
        match note {
            Note::WakeSkipped => SKIPPED.fetch_add(1, Ordering::Relaxed),
            Note::WakeSent(woken) | Note::WakePassedOn(woken) => {
                SENT.fetch_add(woken as u64, Ordering::Relaxed)
            }
        };
    }
}

/// The lock of [`Timed`].
#[derive(Debug)]
pub struct TimedMutex<T>(std::sync::Mutex<T>);

impl<T: Send + 'static> Mutex<T> for TimedMutex<T> {
    type Held<'a> = MutexGuard<'a, T>;

    fn new(_: &'static str, value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    fn hold(&self) -> MutexGuard<'_, T> {
        self.try_hold().unwrap_or_else(|| {
            let start = Instant::now();
            let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = start.elapsed().as_nanos() as u64;
            LOCK_WAITS.fetch_add(1, Ordering::Relaxed);
            LOCK_WAIT_NS.fetch_add(waited, Ordering::Relaxed);
            held
        })
    }

    fn try_hold(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
