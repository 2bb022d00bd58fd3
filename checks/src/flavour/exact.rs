//! [`Exact`]: the operations of the exact engine behind [`Primitives`].
//!
//! | primitive | is |
//! |---|---|
//! | a lock | a word: taking it waits for 0 and writes 1 in one step (acquire), leaving it stores 0 (release), as a kernel's spinlock |
//! | a parker | a word, its token: a park waits for 1 and writes 0 (acquire), an unpark swaps in 1 (release) |
//! | a cell | memory whose accesses are announced; a race is reported |
//! | an early return, a refused thread | as the [script](super::script) says |

use std::cell::{Cell as StdCell, UnsafeCell};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Note, Primitives, Unparked};
use reveille_model::code::{self, Location};
use reveille_model::graphs::Modify;

use super::engines::only_scripted;
use super::script;
use crate::trace::Op;

/// The primitives of the exact engine.
#[derive(Debug, Clone, Copy)]
pub enum Exact {}

impl Primitives for Exact {
    type Atomic = Atomic;
    type Mutex<T: Send + 'static> = Mutex<T>;
    type Parker = Parker;
    type Cell<T: Send + 'static> = Cell<T>;
    type JoinHandle = JoinHandle;

    fn fence(order: Ordering) {
        code::fence(order);
    }

    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> JoinHandle {
        JoinHandle(code::spawn(name, body))
    }

    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
        // The count is a word of the program: which thread asks first is for the search to try.
        let refused = SPAWNS.get().is_some_and(|count| {
            let nth = count.modify(Modify::Add(1), Relaxed, Relaxed) as usize + 1;
            script::refuses(nth)
        });
        if refused { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(Self::spawn(name, body)) }
    }

    fn thread() -> u64 {
        code::thread() as u64
    }

    fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
        panic::catch_unwind(AssertUnwindSafe(body)).or_else(only_scripted)
    }

    fn note(note: Note) {
        code::note(match note {
            Note::WakeSkipped => 0,
            Note::WakeSent(entries) => 1 + 2 * entries as u64,
            Note::WakePassedOn(entries) => 2 + 2 * entries as u64,
        });
    }

    fn tearing_down() -> bool {
        code::is_taken_down()
    }
}

/// The remark of a park that returns early; the number of its token is in the low bits.
const EARLY: u64 = 1 << 63;

/// The remark of a park that has a timeout.
const TIMED: u64 = 1 << 62;

/// Whether this is the remark of a park that has a timeout: it is no row, but says something of the next one.
pub(crate) fn is_timed(remark: u64) -> bool {
    remark == TIMED
}

/// A remark as a row.
pub(crate) fn remarked(remark: u64) -> Op {
    match remark {
        early if early >= EARLY => Op::Woken { object: (early - EARLY) as usize, early: true },
        0 => Note::WakeSkipped.into(),
        odd if odd % 2 == 1 => Note::WakeSent((odd / 2) as usize).into(),
        even => Note::WakePassedOn((even / 2 - 1) as usize).into(),
    }
}

thread_local! {
    /// How many threads the execution was asked for, where its script refuses some.
    static SPAWNS: StdCell<Option<Location>> = const { StdCell::new(None) };
}

/// Another execution begins, on its first thread.
pub(crate) fn begin() {
    SPAWNS.set((script::refusals() > 0).then(|| Location::new("threads asked for", 0)));
}

/// See [`Exact`].
#[derive(Debug)]
pub struct Atomic(Location);

impl sync::Atomic for Atomic {
    fn new(label: &'static str, value: usize) -> Self {
        Self(Location::new(label, value as u64))
    }
    #[inline]
    fn load(&self, order: Ordering) -> usize {
        self.0.load(order) as usize
    }
    #[inline]
    fn store(&self, value: usize, order: Ordering) {
        self.0.store(value as u64, order);
    }
    #[inline]
    fn swap(&self, value: usize, order: Ordering) -> usize {
        self.0.modify(Modify::Swap(value as u64), order, Relaxed) as usize
    }
    #[inline]
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.0.modify(Modify::Add(value as u64), order, Relaxed) as usize
    }
    #[inline]
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.0.modify(Modify::Add((value as u64).wrapping_neg()), order, Relaxed) as usize
    }
    #[inline]
    fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        let modify = Modify::CompareExchange { expected: current as u64, new: new as u64 };
        let read = self.0.modify(modify, success, failure) as usize;
        if read == current { Ok(read) } else { Err(read) }
    }
}

/// See [`Exact`].
#[derive(Debug)]
pub struct Mutex<T> {
    held: code::Lock,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by whoever holds the lock, and the engine runs one thread at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: as for a std lock.
unsafe impl<T: Send> Send for Mutex<T> {}

impl<T: Send + 'static> sync::Mutex<T> for Mutex<T> {
    fn new(label: &'static str, value: T) -> Self {
        Self { held: code::Lock::new(label), value: UnsafeCell::new(value) }
    }

    #[inline]
    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        self.held.acquire();
        // SAFETY: the lock is held, and while an execution is taken down nobody else runs.
        let value = unsafe { &mut *self.value.get() };
        let result = panic::catch_unwind(AssertUnwindSafe(|| body(value)));
        self.held.release();
        result.unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

/// See [`Exact`].
#[derive(Debug)]
pub struct Parker {
    label: &'static str,
    token: code::Token,
    parks: StdCell<usize>,
}

// SAFETY: `parks` is used by the one thread that may park here.
unsafe impl Sync for Parker {}

impl sync::Parker for Parker {
    fn new(label: &'static str) -> Self {
        Self { label, token: code::Token::new(label), parks: StdCell::new(0) }
    }

    fn park(&self) {
        self.park_timeout(Duration::MAX);
    }

    fn park_timeout(&self, timeout: Duration) -> Unparked {
        self.parks.set(self.parks.get() + 1);
        if script::returns_early(self.label, self.parks.get()) {
            code::note(EARLY | u64::from(self.token.number()));
            return Unparked::Early;
        }
        if timeout < Duration::MAX {
            code::note(TIMED);
        }
        self.token.take();
        Unparked::Token
    }

    fn unpark(&self) {
        self.token.put();
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        sync::Parker::unpark(&*self);
    }
}

/// See [`Exact`].
#[derive(Debug)]
pub struct Cell<T> {
    watched: code::Cell,
    value: UnsafeCell<T>,
}

// SAFETY: as for the native cell: it hands out raw pointers only, and the engine reports the races.
unsafe impl<T: Send> Sync for Cell<T> {}

impl<T: Send + 'static> sync::Cell<T> for Cell<T> {
    fn new(label: &'static str, value: T) -> Self {
        Self { watched: code::Cell::new(label), value: UnsafeCell::new(value) }
    }
    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
        self.watched.read();
        body(self.value.get())
    }
    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
        self.watched.write();
        body(self.value.get())
    }
}

/// A thread of the exact engine.
#[derive(Debug)]
pub struct JoinHandle(code::Thread);

impl sync::JoinHandle for JoinHandle {
    /// A thread that panics ends the execution, so whoever joins it never learns of it.
    fn join(self) -> std::thread::Result<()> {
        self.0.join();
        Ok(())
    }
}
