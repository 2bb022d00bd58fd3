//! The primitives that all code of this crate is written against, and their std implementation.
//!
//! A checker sees a program only through its primitives. So the queue, the gates and the rings name no
//! atomic, no lock and no thread of their own: they are generic over [`Primitives`], and whoever instantiates
//! them decides whether an access is a machine instruction ([`Native`]) or a branching point of a search.
//!
//! Three habits make the searches readable:
//!
//! - every shared object is made with a **label** (`"waiting"`, `"tail"`), by which a counterexample calls it;
//! - every operation is `#[track_caller]`, so that it has a source line;
//! - a lock is mostly used through a closure, so that the unlock has a source line too.
//!
//! | file | what it holds |
//! |---|---|
//! | this one | the trait [`Primitives`], and what it is made of |
//! | `word` | [`Atomic`]s: a machine word in every flavour, and the narrower types |
//! | `lock` | [`Mutex`] and its [`Guard`] |
//! | `sleep` | [`Condvar`] and [`Futex`], made of a lock and parkers |
//! | `native` | [`Native`] |

mod lock;
mod native;
mod sleep;
mod word;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::{Duration, Instant};

pub use lock::{Guard, Mutex};
pub use native::{Native, NativeCell};
pub use sleep::{Condvar, Futex};
pub use word::{Atomic, Modify, Number, Packed, Word};

/// An atomic truth value of a flavour.
pub type AtomicBool<P> = <P as Primitives>::AtomicOf<bool>;
/// An atomic `u32` of a flavour.
pub type AtomicU32<P> = <P as Primitives>::AtomicOf<u32>;
/// An atomic `u64` of a flavour.
pub type AtomicU64<P> = <P as Primitives>::AtomicOf<u64>;

/// A family of sync primitives: [`Native`], or that of a checker.
pub trait Primitives: Sized + Send + Sync + 'static {
    /// An atomic machine word.
    type Atomic: Atomic;
    /// An atomic of a narrower type, or of the same: [`Packed`], or the machine's own.
    type AtomicOf<T: Word>: Atomic<T>;
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

    /// Runs `body`; a panic in it is an `Err` with its payload. A checker's own panics, by which it ends an
    /// execution, pass.
    #[track_caller]
    fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
        panic::catch_unwind(AssertUnwindSafe(body))
    }

    /// Lets other threads run that wait for this CPU. False if that makes no sense: a checker tries all
    /// interleavings anyway.
    #[inline(always)]
    fn yield_now() -> bool {
        false
    }

    /// Looks again and again until `condition` is true: a wait that does not sleep.
    ///
    /// A look that says no must have changed nothing that others see, and the next one must depend on nothing
    /// but what it reads. For the exact engine such a look in vain is a wait: if what the thread reads
    /// changes no more, the thread is stuck, and the counterexample says so. A loop without this is
    /// operations without end, which is a limit of the engine and no answer.
    #[track_caller]
    fn spin_until(condition: impl FnMut() -> bool) {
        spin(condition);
    }

    /// [`park_timeout`](Parker::park_timeout) whose time is sure to be over. For a checker it is at once:
    /// whatever others may do meanwhile, it lets them do before the next step.
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

    /// Whether the execution around us is dead and only being taken down. A checker that has found a deadlock
    /// unwinds the stacks of all threads, and a destructor on one of them must not touch a shared object any
    /// more. Always false in a real program: there, a panicking thread still has to leave the queues it is
    /// in.
    #[inline(always)]
    fn tearing_down() -> bool {
        false
    }
}

/// Spins on the machine: a while with the hint for the processor, and then by giving the CPU away.
fn spin(mut condition: impl FnMut() -> bool) {
    const HINTS: u32 = 64;
    let mut hints = 0;
    while !condition() {
        if hints < HINTS {
            hints += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
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

/// What one thread sleeps on: one token, present or not.
///
/// [`unpark`](Parker::unpark) puts the token there; [`park`](Parker::park) takes it, sleeping until there is
/// one. Everything the unparking thread did before is visible to the parked one after. It is a [`Wake`], so
/// `Waker::from(Arc<Parker>)` unparks it.
pub trait Parker: Wake + Send + Sync + 'static {
    /// A parker without a token.
    fn new(label: &'static str) -> Self;

    /// Sleeps until there is a token and takes it. May return early, without one: callers look again in a
    /// loop. Only one thread at a time may park here.
    #[track_caller]
    fn park(&self);

    /// [`park`](Parker::park) that sleeps no longer than `timeout`. `Unparked::Early` says that it took no
    /// token.
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
    /// The pointer is valid for the length of the call. That nobody writes meanwhile is for the caller to
    /// ensure when it dereferences the pointer.
    #[track_caller]
    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R;

    /// Hands `body` a pointer through which it may write, provided that nobody else reads or writes
    /// meanwhile.
    #[track_caller]
    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R;
}

/// A thread that can be waited for.
pub trait JoinHandle: Send + 'static {
    /// Waits until the thread has ended. `Err` carries its panic.
    #[track_caller]
    fn join(self) -> std::thread::Result<()>;
}
