//! [`Exact`]: the operations of the exact engine behind [`Primitives`].
//!
//! | primitive | is |
//! |---|---|
//! | a lock | a word: taking it waits for 0 and writes 1 in one step (acquire), leaving it stores 0 (release), as a kernel's spinlock; a `try_lock` is an exchange, which may fail by an old value |
//! | a parker | a word, its token: a park waits for 1 and writes 0 (acquire), an unpark swaps in 1 (release) |
//! | a cell | memory whose accesses are announced; a race is reported |
//! | a weak exchange | a choice: it fails for no reason, or is a strong one. A thread has it fail so once, and again when it has done another |
//! | a spin | a wait: a look in vain is the thread's last, but in the executions in which it sees more |
//! | an early return, a refused thread | as the [script](super::script) says |

use std::cell::{Cell as StdCell, RefCell, UnsafeCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe, Location as Source};
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Modify, Note, Packed, Primitives, Unparked, Word};
use reveille_model::code::{self, Location};
use reveille_model::graphs;

use super::engines::only_scripted;
use super::script;
use crate::trace::Op;

/// The primitives of the exact engine.
#[derive(Debug, Clone, Copy)]
pub enum Exact {}

impl Primitives for Exact {
    type Atomic = Atomic;
    type AtomicOf<T: Word> = Packed<Self, T>;
    type Mutex<T: Send + 'static> = Mutex<T>;
    type Parker = Parker;
    type Cell<T: Send + 'static> = Cell<T>;
    type JoinHandle = JoinHandle;

    fn fence(order: Ordering) {
        code::fence(order);
    }

    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> JoinHandle {
        let body = move || {
            // The number may have been that of a thread which has ended.
            set_failed_weakly(false);
            script::begin_thread(Self::thread());
            body();
        };
        JoinHandle(code::spawn(name, body))
    }

    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
        // The count is a word of the program: which thread asks first is for the search to try.
        let refused = SPAWNS.get().is_some_and(|count| {
            let nth = count.modify(graphs::Modify::Add(1), Relaxed, Relaxed) as usize + 1;
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

    fn spin_until(condition: impl FnMut() -> bool) {
        code::spin_until(condition);
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

/// The remark of an atomic that is made for a narrow type: how many bits that has, and in the low half the
/// atomic's number.
const PACKED: u64 = 1 << 61;

/// The number of a packed atomic and how many bits it holds, if that is what the remark says: it is no row.
pub(crate) fn packed(remark: u64) -> Option<(usize, u32)> {
    let is_packed = (PACKED..TIMED).contains(&remark);
    is_packed.then_some((remark as u32 as usize, ((remark - PACKED) >> 32) as u32))
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

    /// The threads whose last weak exchange has failed for no reason, by number.
    static FAILED_WEAKLY: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
}

/// Says whether the last weak exchange of the running thread has failed for no reason, and returns what was
/// said before.
fn set_failed_weakly(failed: bool) -> bool {
    let thread = code::thread();
    FAILED_WEAKLY.with_borrow_mut(|threads| {
        if threads.len() <= thread {
            threads.resize(thread + 1, false);
        }
        std::mem::replace(&mut threads[thread], failed)
    })
}

/// Another execution begins, on its first thread.
pub(crate) fn begin() {
    FAILED_WEAKLY.with_borrow_mut(Vec::clear);
    SPAWNS.set((script::refusals() > 0).then(|| Location::new("threads asked for", 0)));
}

/// See [`Exact`].
#[derive(Debug)]
pub struct Atomic(Location);

impl sync::Atomic for Atomic {
    fn new(label: &'static str, value: usize) -> Self {
        Self(Location::new(label, value as u64))
    }
    fn packed(label: &'static str, value: usize, bits: u32) -> Self {
        let location = Location::new(label, value as u64);
        code::note(PACKED | u64::from(bits) << 32 | u64::from(location.number()));
        Self(location)
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
    fn modify(&self, by: Modify<usize>, order: Ordering) -> usize {
        let by = match by {
            Modify::Swap(value) => graphs::Modify::Swap(value as u64),
            Modify::Add(value) => graphs::Modify::Add(value as u64),
            Modify::Sub(value) => graphs::Modify::Add((value as u64).wrapping_neg()),
            Modify::And(mask) => graphs::Modify::And(mask as u64),
            Modify::Or(mask) => graphs::Modify::Or(mask as u64),
            Modify::Xor(mask) => graphs::Modify::Xor(mask as u64),
            Modify::Max(other) => graphs::Modify::Max(other as u64),
            Modify::Min(other) => graphs::Modify::Min(other as u64),
        };
        self.0.modify(by, order, Relaxed) as usize
    }
    #[inline]
    fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        let modify = graphs::Modify::CompareExchange { expected: current as u64, new: new as u64 };
        let read = self.0.modify(modify, success, failure) as usize;
        if read == current { Ok(read) } else { Err(read) }
    }
    fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        let may_fail = !set_failed_weakly(false) && !code::is_taken_down();
        if may_fail && code::choose(2) == 1 {
            set_failed_weakly(true);
            return Err(self.load(failure));
        }
        self.compare_exchange(current, new, success, failure)
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
    type Held<'a> = Held<'a, T>;

    fn new(label: &'static str, value: T) -> Self {
        Self { held: code::Lock::new(label), value: UnsafeCell::new(value) }
    }

    fn hold(&self) -> Held<'_, T> {
        self.held.acquire();
        Held { mutex: self, source: Source::caller() }
    }

    fn try_hold(&self) -> Option<Held<'_, T>> {
        let source = Source::caller();
        self.held.try_acquire().then_some(source).map(|source| Held { mutex: self, source })
    }

    /// Not by a guard: what a panic leaves is given back when it has been caught, while no panic is under
    /// way.
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

/// A lock of [`Exact`], held. It is given back where it was taken, as far as a counterexample shows: a
/// destructor has no line.
#[derive(Debug)]
pub struct Held<'a, T> {
    mutex: &'a Mutex<T>,
    source: &'static Source<'static>,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, and while an execution is taken down nobody else runs.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and it is the only one.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.mutex.held.release_at(self.source);
    }
}

/// See [`Exact`].
#[derive(Debug)]
pub struct Parker {
    label: &'static str,
    token: code::Token,
}

impl sync::Parker for Parker {
    fn new(label: &'static str) -> Self {
        Self { label, token: code::Token::new(label) }
    }

    fn park(&self) {
        self.park_timeout(Duration::MAX);
    }

    fn park_timeout(&self, timeout: Duration) -> Unparked {
        if script::returns_early(self.label, Exact::thread) {
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
