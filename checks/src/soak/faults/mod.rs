//! Random faults: work for the pool, the wait queue, the executor and the reactor in which the user's code panics all the time.
//!
//! Any callback panics once in [`CALLBACK`] calls, before or after what it is there for, and any destructor once in
//! [`DESTRUCTOR`]: of what closures, tasks and wakers hold, of outcomes and events, of what was panicked with. A destructor that
//! unwinds while its thread unwinds already would end the process, by the rules of the language, so it does not.
//!
//! Everything that is handed over is an `Item`. In the end each was dropped once, every job and task has had its outcome, every
//! token and completion has come to somebody, and no thread and no descriptor is left. What is counted is the user's: memory is
//! left if an item is.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{RawWaker, RawWakerVTable, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use reveille::uring::{Error, IoBufMut};
use serde::{Deserialize, Serialize};

use super::{PATIENCE, Sums, one, plus, reactor::files, threads};

mod completion;
mod executor;
mod pool;
mod reactor;
mod wait_queue;

/// A callback panics once in so many calls.
pub const CALLBACK: u64 = 50;
/// A destructor panics once in so many.
pub const DESTRUCTOR: u64 = 200;

/// What a soak is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The worker pool: jobs, receivers, handles, predicates.
    Pool,
    /// The wait queue: looks, and wakers that are cloned, called and dropped.
    WaitQueue,
    /// The completion queue: iterators of batches, and the consumer's waker.
    Completion,
    /// The executor: tasks, and the future of `block_on`.
    Executor,
    /// The reactor: events in the making, buffers, closures.
    Reactor,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pool, Self::WaitQueue, Self::Completion, Self::Executor, Self::Reactor];
}

/// How a soak is made.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// What it is of.
    pub subject: Subject,
    /// Stop after so many operations, …
    pub operations: u64,
    /// … or after so much time.
    pub time: Duration,
    /// The seed of everything random but the schedule.
    pub seed: u64,
}

/// What a soak came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it was of.
    pub subject: Subject,
    /// Jobs, tokens, completions, tasks, requests.
    pub operations: u64,
    /// How often a callback panicked.
    pub callbacks: u64,
    /// How often a destructor did.
    pub destructors: u64,
    /// Things made that have a destructor.
    pub items: u64,
    /// Wall time.
    pub seconds: f64,
    /// What does not balance; empty if all does.
    pub faults: Vec<String>,
}

/// Runs a soak.
///
/// # Errors
/// If there is no io_uring for those that need one, or the system does not list our threads.
pub fn soak(soak: Soak) -> Result<Report, Error> {
    let (start, before) = (Instant::now(), [files()?, threads()?]);
    let dice = Dice::new(soak.seed);
    let deadline = start + soak.time;
    let mut tally = match soak.subject {
        Subject::Pool => pool::run(&dice, soak.operations, deadline),
        Subject::WaitQueue => wait_queue::run(&dice, soak.operations, deadline),
        Subject::Completion => completion::run(&dice, soak.operations, deadline),
        Subject::Executor => executor::run(&dice, soak.operations, deadline)?,
        Subject::Reactor => reactor::run(&dice, soak.operations, deadline)?,
    };
    let left = left(before)?;
    tally.check(left == [0; 2], || format!("{left:?} files and threads are left"));
    let (made, dropped) = dice.balance();
    tally.check(made == dropped, || {
        format!("items, their sum and that of their squares: {made:?} made, {dropped:?} dropped")
    });
    let [callbacks, destructors] = dice.panics();
    Ok(Report {
        subject: soak.subject,
        operations: tally.operations,
        callbacks,
        destructors,
        items: made[0],
        seconds: start.elapsed().as_secs_f64(),
        faults: tally.faults,
    })
}

/// How many files and threads there are more than before, when the kernel's workers have had their time to end.
fn left(before: [usize; 2]) -> io::Result<[usize; 2]> {
    let start = Instant::now();
    loop {
        let now = [files()?, threads()?];
        let left = std::array::from_fn(|i| now[i].saturating_sub(before[i]));
        if left == [0; 2] || start.elapsed() > PATIENCE {
            return Ok(left);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What the work came to.
#[derive(Default)]
struct Tally {
    operations: u64,
    faults: Vec<String>,
}

impl Tally {
    fn check(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        self.faults.extend((!holds).then(fault));
    }
}

/// Waits until `progress` has come to `goal`. False if nothing happened for a while.
fn reaches(goal: u64, progress: impl Fn() -> u64) -> bool {
    let (mut last, mut since) = (progress(), Instant::now());
    while last < goal && since.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(200));
        let now = progress();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last >= goal
}

/// Calls what may panic, and drops what it panicked with, which may panic as well.
#[doc(hidden)]
pub fn caught<R>(body: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(body)).map_err(discard).ok()
}

fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        drop(another); // of a destructor, which panics with nothing that has one
    }
}

/// Decides who panics, and keeps account of the items. The same for all threads.
#[derive(Clone)]
#[doc(hidden)]
pub struct Dice(Arc<Account>);

#[derive(Default)]
struct Account {
    seed: u64,
    rolls: AtomicU64,
    callbacks: AtomicU64,
    destructors: AtomicU64,
    made: AtomicU64,
    dropped: [AtomicU64; 3],
}

impl Dice {
    /// How often a callback and a destructor panicked.
    pub fn panics(&self) -> [u64; 2] {
        [&self.0.callbacks, &self.0.destructors].map(|n| n.load(Relaxed))
    }

    /// The same rolls for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Account { seed, ..Account::default() }))
    }

    /// Below `n`. The rolls are a sequence that the seed decides; which thread gets which is for the schedule to say.
    fn roll(&self, n: u64) -> u64 {
        let number = self.0.rolls.fetch_add(1, Relaxed);
        fastrand::Rng::with_seed(self.0.seed << 40 ^ number).u64(..n)
    }

    fn one_in(&self, n: u64) -> bool {
        self.roll(n) == 0
    }

    /// A place in a callback where it may panic: without a word on the terminal, and with an item.
    pub fn callback(&self) {
        if self.one_in(CALLBACK) {
            self.0.callbacks.fetch_add(1, Relaxed);
            resume_unwind(Box::new(self.item()));
        }
    }

    pub fn item(&self) -> Item {
        let number = self.0.made.fetch_add(1, Relaxed);
        Item { number, unwinds: self.one_in(DESTRUCTOR), dice: self.clone() }
    }

    /// The items that were made, and those that were dropped.
    pub fn balance(&self) -> (Sums, Sums) {
        let made = (0..self.0.made.load(Relaxed)).map(one).fold([0; 3], plus);
        (made, self.0.dropped.each_ref().map(|sum| sum.load(Relaxed)))
    }
}

/// Something of the user's, with a destructor that may panic.
#[doc(hidden)]
pub struct Item {
    number: u64,
    unwinds: bool,
    dice: Dice,
}

impl Drop for Item {
    fn drop(&mut self) {
        let Account { dropped, destructors, .. } = &*self.dice.0;
        std::iter::zip(dropped, one(self.number)).for_each(|(sum, more)| _ = sum.fetch_add(more, Relaxed));
        if self.unwinds && !std::thread::panicking() {
            destructors.fetch_add(1, Relaxed);
            resume_unwind(Box::new(()));
        }
    }
}

impl AsMut<[u8]> for Item {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}

// SAFETY: no memory at all.
unsafe impl IoBufMut for Item {}

/// Unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that may panic when it is cloned, when it is dropped, and when it is called; but then it has called `inner` first: one that
/// does not wake is no waker.
#[doc(hidden)]
pub fn rude(dice: &Dice, inner: Waker) -> Waker {
    Rude { inner, item: dice.item() }.into_waker()
}

/// [`rude`], of the running thread.
fn rude_thread(dice: &Dice) -> Waker {
    rude(dice, Arc::new(Unpark(std::thread::current())).into())
}

struct Rude {
    inner: Waker,
    item: Item,
}

static RUDE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: `data` is of a waker that exists, so of a box that has not been taken back.
        let this = unsafe { &*data.cast::<Rude>() };
        this.item.dice.callback();
        Rude { inner: this.inner.clone(), item: this.item.dice.item() }.into_raw()
    },
    // SAFETY: the waker is consumed, so this is the one time that its box is taken back.
    |data| unsafe { Box::from_raw(data.cast::<Rude>().cast_mut()) }.call(),
    // SAFETY: as for the clone.
    |data| unsafe { &*data.cast::<Rude>() }.call(),
    // SAFETY: as for the consuming wake.
    |data| drop(unsafe { Box::from_raw(data.cast::<Rude>().cast_mut()) }),
);

impl Rude {
    fn into_waker(self) -> Waker {
        // SAFETY: the functions of the table own, borrow and free the box as a waker's have to, and a `Rude` may be used by several
        // threads and sent to others.
        unsafe { Waker::from_raw(self.into_raw()) }
    }

    fn into_raw(self) -> RawWaker {
        RawWaker::new(Box::into_raw(Box::new(self)).cast_const().cast(), &RUDE)
    }

    fn call(&self) {
        self.inner.wake_by_ref();
        self.item.dice.callback();
    }
}
