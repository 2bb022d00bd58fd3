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

#[cfg(test)]
mod tests {
    use super::*;
    use reveille::wait_queue::{Kind, WaitQueue};
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Barrier};
    use std::task::Waker;

    /// Whether a thread of this process sleeps, as Linux says.
    fn sleeps(thread: rustix::process::Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/stat", thread.as_raw_nonzero()));
        // The name in parentheses may hold anything; then comes the state.
        stat.unwrap().rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
    }

    /// One test: the counts are the process's.
    #[test]
    fn a_lock_that_is_taken_is_waited_for_and_counted_and_so_are_wakes_and_skips() {
        take();
        let lock = Arc::new(TimedMutex::new("lock", 0));
        lock.with(|n| *n += 1);
        assert_eq!(take(), Watched::default(), "nobody had to wait");
        let (held, hold) = (Arc::new(Barrier::new(2)), Duration::from_millis(20));
        let wanted = Arc::new(AtomicBool::new(false));
        let waiter = rustix::thread::gettid();
        let holder = std::thread::spawn({
            let (lock, held, wanted) = (lock.clone(), held.clone(), wanted.clone());
            move || {
                lock.with(|_| {
                    held.wait();
                    while !(wanted.load(Ordering::Relaxed) && sleeps(waiter)) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    std::thread::sleep(hold);
                })
            }
        });
        held.wait();
        wanted.store(true, Ordering::Relaxed);
        lock.with(|n| assert_eq!(*n, 1));
        holder.join().unwrap();
        let watched = take();
        assert_eq!(watched.lock_waits, 1);
        assert!(watched.lock_wait >= hold, "{watched:?}");

        let queue = Arc::new(WaitQueue::<Timed>::new());
        queue.notify_all();
        let mut waiter = queue.register(Kind::Shared, Waker::noop().clone());
        waiter.arm();
        queue.notify_all();
        assert_eq!(take(), Watched { sent: 1, skipped: 1, ..Watched::default() });
    }
}
