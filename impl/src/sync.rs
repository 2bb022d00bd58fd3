//! The primitives that all code of this crate is written against, and their std implementation.
//!
//! A checker sees a program only through its primitives. So the queue, the gates and the rings name no atomic, no lock
//! and no thread of their own: they are generic over [`Primitives`], and whoever instantiates them decides whether an
//! access is a machine instruction ([`Native`]) or a branching point of a search.
//!
//! Three habits make the searches readable:
//!
//! - every shared object is made with a **label** (`"waiting"`, `"tail"`), by which a counterexample calls it;
//! - every operation is `#[track_caller]`, so that it has a source line;
//! - a lock is used through a closure, so that the unlock has a source line too.
//!
//! There is one width of atomic, the machine word: flags, counters and ring indices fit in it.

use std::cell::UnsafeCell;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::PoisonError;
use std::sync::atomic::{self, AtomicU64, AtomicUsize, Ordering};
use std::task::Wake;
use std::time::{Duration, Instant};

use crate::parker::FutexParker;

/// A family of sync primitives: [`Native`], or that of a checker.
pub trait Primitives: Sized + Send + Sync + 'static {
    /// An atomic machine word.
    type Atomic: Atomic;
    /// A mutual exclusion lock.
    type Mutex<T: Send + 'static>: Mutex<T>;
    /// What one thread sleeps on: a single token.
    type Parker: Parker;
    /// Memory that is not atomic, and that a checker watches for races.
    type Cell<T: Send + 'static>: Cell<T>;
    /// A thread that was spawned and can be waited for.
    type JoinHandle: JoinHandle;

    /// [`std::sync::atomic::fence`].
    #[track_caller]
    fn fence(order: Ordering);

    /// Starts a thread. The name is the one that counterexamples use.
    ///
    /// # Panics
    /// If the system refuses; [`try_spawn`](Primitives::try_spawn) says so instead.
    #[track_caller]
    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Self::JoinHandle;

    /// Starts a thread, if the system lets us.
    ///
    /// # Errors
    /// The system's.
    #[track_caller]
    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<Self::JoinHandle>;

    /// A number that tells the running thread from all others that run.
    fn thread() -> u64;

    /// Runs `body`; a panic in it is an `Err` with its payload. A checker's own panics, by which it ends an execution, pass.
    #[track_caller]
    fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
        panic::catch_unwind(AssertUnwindSafe(body))
    }

    /// Lets other threads run that wait for this CPU. False if that makes no sense: a checker tries all interleavings anyway.
    #[inline(always)]
    fn yield_now() -> bool {
        false
    }

    /// [`park_timeout`](Parker::park_timeout) whose time is sure to be over. For a checker it is at once: whatever others may do
    /// meanwhile, it lets them do before the next step.
    #[track_caller]
    fn nap(_: &Self::Parker, _: Duration) {}

    /// Whether less than `time` has passed since `start`. For a checker no time passes.
    #[inline(always)]
    fn is_within(_start: Instant, _time: Duration) -> bool {
        true
    }

    /// Tells whoever listens what was just decided. Nobody listens under [`Native`].
    #[track_caller]
    #[inline(always)]
    fn note(_: Note) {}

    /// Whether the execution around us is dead and only being taken down. A checker that has found a deadlock unwinds
    /// the stacks of all threads, and a destructor on one of them must not touch a shared object any more.
    /// Always false in a real program: there, a panicking thread still has to leave the queues it is in.
    #[inline(always)]
    fn tearing_down() -> bool {
        false
    }
}

/// A decision worth a line in a counterexample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    /// The gate said that this wake is not needed.
    WakeSkipped,
    /// The wake was delivered to this many entries.
    WakeSent(usize),
    /// A wake that was spent on an entry that left was handed to this many others.
    WakePassedOn(usize),
}

/// An atomic machine word; the methods are those of [`AtomicUsize`].
#[allow(missing_docs)] // the std documentation of the same names holds
pub trait Atomic: Send + Sync + 'static {
    fn new(label: &'static str, value: usize) -> Self;
    #[track_caller]
    fn load(&self, order: Ordering) -> usize;
    #[track_caller]
    fn store(&self, value: usize, order: Ordering);
    #[track_caller]
    fn swap(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize;
    #[track_caller]
    fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize>;
}

/// A lock that is held for the length of a closure.
pub trait Mutex<T>: Send + Sync + 'static {
    /// An unlocked lock around `value`.
    fn new(label: &'static str, value: T) -> Self;

    /// Locks, runs `body`, unlocks. `body` must not lock the same lock.
    ///
    /// A panic in `body` leaves the lock usable, with whatever `body` had done by then.
    #[track_caller]
    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R;
}

/// What one thread sleeps on: one token, present or not.
///
/// [`unpark`](Parker::unpark) puts the token there; [`park`](Parker::park) takes it, sleeping until there is one. Everything the unparking
/// thread did before is visible to the parked one after. It is a [`Wake`], so `Waker::from(Arc<Parker>)` unparks it.
pub trait Parker: Wake + Send + Sync + 'static {
    /// A parker without a token.
    fn new(label: &'static str) -> Self;

    /// Sleeps until there is a token and takes it. May return early, without one: callers look again in a loop.
    /// Only one thread at a time may park here.
    #[track_caller]
    fn park(&self);

    /// [`park`](Parker::park) that sleeps no longer than `timeout`. `Unparked::Early` says that it took no token.
    #[track_caller]
    fn park_timeout(&self, timeout: Duration) -> Unparked;

    /// Puts the token there and wakes the sleeper. Any thread may call it, any number of times.
    #[track_caller]
    fn unpark(&self);
}

/// Why a timed [`Parker::park_timeout`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unparked {
    /// It took the token.
    Token,
    /// The time was over, or it woke for no reason.
    Early,
}

/// Memory that is not atomic, reached by raw pointer.
pub trait Cell<T>: Send + Sync + 'static {
    /// A cell that holds `value`.
    fn new(label: &'static str, value: T) -> Self;

    /// Hands `body` a pointer to the value.
    ///
    /// The pointer is valid for the length of the call. That nobody writes meanwhile is for the caller to ensure when
    /// it dereferences the pointer.
    #[track_caller]
    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R;

    /// Hands `body` a pointer through which it may write, provided that nobody else reads or writes meanwhile.
    #[track_caller]
    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R;
}

/// A thread that can be waited for.
pub trait JoinHandle: Send + 'static {
    /// Waits until the thread has ended. `Err` carries its panic.
    #[track_caller]
    fn join(self) -> std::thread::Result<()>;
}

/// The primitives of the machine: std's atomics, lock and threads, and a parker on a futex.
#[derive(Debug, Clone, Copy)]
pub enum Native {}

impl Primitives for Native {
    type Atomic = AtomicUsize;
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
            // Relaxed: the numbers have to differ, and order nothing. Unreached: checkers number their threads themselves.
            THREADS.fetch_add(1, Ordering::Relaxed)
        }
        thread_local! {
            static THREAD: u64 = another();
        }
        THREAD.with(|&thread| thread)
    }
}

impl Atomic for AtomicUsize {
    #[inline(always)]
    fn new(_: &'static str, value: usize) -> Self {
        AtomicUsize::new(value)
    }
    #[inline(always)]
    fn load(&self, order: Ordering) -> usize {
        self.load(order)
    }
    #[inline(always)]
    fn store(&self, value: usize, order: Ordering) {
        self.store(value, order)
    }
    #[inline(always)]
    fn swap(&self, value: usize, order: Ordering) -> usize {
        self.swap(value, order)
    }
    #[inline(always)]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.fetch_add(value, order)
    }
    #[inline(always)]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.fetch_sub(value, order)
    }
    #[inline(always)]
    fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.compare_exchange(current, new, success, failure)
    }
}

impl<T: Send + 'static> Mutex<T> for std::sync::Mutex<T> {
    fn new(_: &'static str, value: T) -> Self {
        std::sync::Mutex::new(value)
    }

    #[inline]
    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        body(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The cell of [`Native`]: an [`UnsafeCell`] that may be shared.
#[derive(Debug)]
pub struct NativeCell<T>(UnsafeCell<T>);

// SAFETY: the cell hands out raw pointers only; whoever dereferences one argues that there is no race. `T: Send`
// because that argument may move the value to the thread that reads it.
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
