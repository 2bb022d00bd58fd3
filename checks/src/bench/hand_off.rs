//! Blocking work handed to workers, and its result handed back to a thread that sleeps in io_uring.
//!
//! The thread keeps `depth` jobs in flight. It takes all results there are, submits as many jobs, and sleeps in its `Bed` when there are
//! none. An operation is one job, there and back.
//!
//! Wakes are the rings of the bed's bell: eventfd writes. A result that came without one of its own counts as a wake skipped.
//! The system calls counted are those of the way back, the sleeper's and the bell's; how the workers sleep is not seen from here.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::task::Waker;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue};
use reveille::pool::{self, Outcome, Pool, Work};
use reveille::uring::{self, Poll, PollFlags, Reactor, Request, RingParker};

use super::bed::{self, Bed};
use super::load::Load;
use super::{Contender, Counts, Error};

/// How many workers there are, where that is not varied.
pub(super) const WORKERS: usize = 2;

/// Somebody with operations in flight.
pub(super) trait InFlight {
    /// Begins so many operations: these.
    fn begin(&mut self, n: u64) -> Range<u64>;

    /// Takes what has come back, or sleeps if nothing has. Returns the system calls of the sleep.
    ///
    /// # Errors
    /// What the system refused.
    fn take(&mut self, balance: &mut Balance) -> Result<u64, Error>;

    /// Waits until all that were begun have come back: these.
    ///
    /// # Errors
    /// What the system refused; and if others came back.
    fn end(&mut self, begun: Range<u64>) -> Result<(), Error> {
        let mut balance = Balance::default();
        while balance.completed < begun.end - begun.start {
            self.take(&mut balance)?;
        }
        balance.close(begun).map(drop)
    }

    /// Keeps so many in flight for some time, and waits for all of them. Besides the counts, the system calls of the sleeps.
    ///
    /// # Errors
    /// As of [`end`](InFlight::end).
    fn keep(&mut self, depth: u64, time: Duration) -> Result<(Counts, u64), Error> {
        let (mut clock, mut balance, mut syscalls) = (Clock::new(time), Balance::default(), 0);
        let mut begun = self.begin(depth);
        while balance.completed < begun.end - begun.start {
            let before = balance.completed;
            syscalls += self.take(&mut balance)?;
            let taken = balance.completed - before;
            if taken > 0 && !clock.is_over() {
                begun.end = self.begin(taken).end;
            }
        }
        Ok((balance.close(begun)?, syscalls))
    }
}

/// Somebody who runs jobs in other threads. A job returns its token, and that is its result.
pub(super) trait Workers {
    /// Hands over a job for each token.
    fn submit(&mut self, tokens: Range<u64>);

    /// Takes a result, if there is one.
    fn take(&mut self) -> Option<u64>;

    /// Announces that the thread is going to sleep. If false there is a result: do not.
    fn prepare_to_sleep(&mut self) -> bool {
        true
    }

    /// How many workers have been woken so far, if somebody counts.
    fn woken(&self) -> Option<u64> {
        None
    }
}

/// A contender of workers and a bed.
pub(super) struct HandOff<W, B = RingParker> {
    // Dropped first: its workers may still ring the bell.
    workers: W,
    bed: B,
    depth: u64,
    next: u64,
}

impl<W: Workers, B: Bed> HandOff<W, B> {
    /// `workers` get a waker for the thread that sleeps.
    pub(super) fn new(depth: usize, workers: impl FnOnce(Waker) -> Result<W, Error>) -> Result<Self, Error> {
        let bed = B::new()?;
        Ok(Self { workers: workers(bed.waker())?, bed, depth: depth as u64, next: 0 })
    }
}

impl<W: Workers> HandOff<W> {
    /// Somebody else's workers, in the bed that is our own.
    pub(super) fn peer(
        depth: usize,
        load: Load,
        workers: fn(Load, Waker) -> Result<W, Error>,
    ) -> Result<Self, Error> {
        Self::new(depth, |bell| workers(load, bell))
    }
}

impl<W: Workers, B: Bed> InFlight for HandOff<W, B> {
    fn begin(&mut self, n: u64) -> Range<u64> {
        let begun = self.next..self.next + n;
        self.next = begun.end;
        self.workers.submit(begun.clone());
        begun
    }

    fn take(&mut self, balance: &mut Balance) -> Result<u64, Error> {
        let before = balance.completed;
        while let Some(token) = self.workers.take() {
            balance.add(token);
        }
        let sleeps = balance.completed == before && self.workers.prepare_to_sleep();
        Ok(if sleeps { self.bed.sleep()? } else { 0 })
    }
}

impl<W: Workers, B: Bed> Contender for HandOff<W, B> {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let (heard, woken) = (self.bed.heard(), self.workers.woken());
        let (counts, syscalls) = self.keep(self.depth, time)?;
        let wakes = self.bed.heard() - heard;
        Ok(Counts {
            wakes: Some(wakes),
            skipped: Some(counts.completed.saturating_sub(wakes)),
            worker_wakes: woken.and_then(|before| Some(self.workers.woken()? - before)),
            syscalls: Some(syscalls + wakes),
            ..counts
        })
    }
}

/// The same by the kernel: `IORING_OP_NOP` with `IOSQE_ASYNC`, which io-wq's workers run. The completions come by the ring itself,
/// and nobody counts its wakes. All its system calls are the sleeper's.
pub(super) struct Kernel {
    ring: IoUring,
    epoll: Option<OwnedFd>,
    depth: u64,
    next: u64,
}

impl Kernel {
    pub(super) fn new(depth: usize) -> Result<Self, Error> {
        let ring = IoUring::new(depth.next_power_of_two() as u32).map_err(uring::Error::Other)?;
        Ok(Self { ring, epoll: None, depth: depth as u64, next: 0 })
    }

    /// Sleeps in epoll on the ring.
    pub(super) fn in_epoll(depth: usize) -> Result<Self, Error> {
        let kernel = Self::new(depth)?;
        Ok(Self { epoll: Some(bed::epoll_on(&kernel.ring)?), ..kernel })
    }

    /// With so many workers at most. There is one account only: a NOP is bounded.
    pub(super) fn with_workers(depth: usize, workers: usize) -> Result<Self, Error> {
        let kernel = Self::new(depth)?;
        kernel.ring.submitter().register_iowq_max_workers(&mut [workers as u32; 2])?;
        Ok(kernel)
    }

    fn sleep(&mut self) -> Result<u64, Error> {
        let Some(epoll) = &self.epoll else {
            self.ring.submit_and_wait(1)?;
            return Ok(1);
        };
        self.ring.submit()?;
        if !self.ring.completion().is_empty() {
            return Ok(1);
        }
        bed::sleep_in(epoll)?;
        Ok(2)
    }
}

impl InFlight for Kernel {
    fn begin(&mut self, n: u64) -> Range<u64> {
        let begun = self.next..self.next + n;
        let mut queue = self.ring.submission();
        for token in begun.clone() {
            let nop = opcode::Nop::new().build().flags(squeue::Flags::ASYNC).user_data(token);
            // SAFETY: a NOP has no buffer, nor anything else that would have to outlive it.
            unsafe { queue.push(&nop) }.expect("the queue has room for all that may be in flight");
        }
        self.next = begun.end;
        begun
    }

    fn take(&mut self, balance: &mut Balance) -> Result<u64, Error> {
        let syscalls = self.sleep()?;
        self.ring.completion().for_each(|completion| balance.add(completion.user_data()));
        Ok(syscalls)
    }
}

impl Contender for Kernel {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let (counts, syscalls) = self.keep(self.depth, time)?;
        Ok(Counts { syscalls: Some(syscalls), ..counts })
    }
}

/// The library's own reactor, which sleeps in its own ring, and the pool that it offloads to.
pub(super) struct Offloading {
    // Dropped first: its closures come from the pool.
    reactor: Reactor<u64>,
    pool: Pool,
    events: Vec<u64>,
    /// The other end of what is polled
    silent: Option<OwnedFd>,
    depth: u64,
    next: u64,
    load: Load,
}

impl Offloading {
    pub(super) fn new(depth: usize, load: Load) -> Result<Self, Error> {
        let pool = Pool::new(pool::Config { bounded: load.workers, ..pool::Config::default() });
        let reactor = Reactor::with_pool(uring::Config::default(), pool.submitter())?;
        Ok(Self { reactor, pool, events: Vec::new(), silent: None, depth: depth as u64, next: 0, load })
    }

    /// The same, with a request in the kernel that never ends: a poll of a pipe into which nobody writes.
    pub(super) fn polling(mut self) -> Result<Self, Error> {
        let (reader, writer) = std::io::pipe()?;
        let poll = Poll::new(OwnedFd::from(reader), PollFlags::IN);
        self.reactor.submit(Request::new(poll, |_| u64::MAX))?;
        self.silent = Some(OwnedFd::from(writer));
        Ok(self)
    }

    fn woken(&self) -> u64 {
        self.pool.stats().accounts.iter().map(|account| account.workers_woken).sum()
    }
}

impl InFlight for Offloading {
    fn begin(&mut self, n: u64) -> Range<u64> {
        let (body, begun) = (self.load.body, self.next..self.next + n);
        for token in begun.clone() {
            // A job that did not run gives a token that nobody submitted.
            let event = |outcome: Outcome<u64>| outcome.done().unwrap_or(u64::MAX);
            self.reactor.offload(Work::BOUNDED, move |_| body.run(token), event);
        }
        self.next = begun.end;
        begun
    }

    /// Its system calls are counted by the reactor.
    fn take(&mut self, balance: &mut Balance) -> Result<u64, Error> {
        self.reactor.turn(&mut self.events, None)?;
        self.events.drain(..).for_each(|token| balance.add(token));
        Ok(0)
    }
}

impl Contender for Offloading {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let (before, woken) = (self.reactor.counts(), self.woken());
        let (counts, _) = self.keep(self.depth, time)?;
        let now = self.reactor.counts();
        let wakes = now.wakes - before.wakes;
        Ok(Counts {
            wakes: Some(wakes),
            skipped: Some(counts.completed.saturating_sub(wakes)),
            worker_wakes: Some(self.woken() - woken),
            syscalls: Some(now.enters - before.enters + now.yields - before.yields + wakes),
            ..counts
        })
    }
}

/// Looks at the time now and then.
struct Clock {
    start: Instant,
    time: Duration,
    asked: u32,
    over: bool,
}

impl Clock {
    fn new(time: Duration) -> Self {
        Self { start: Instant::now(), time, asked: 0, over: false }
    }

    fn is_over(&mut self) -> bool {
        self.asked = self.asked.wrapping_add(1);
        if self.asked.is_multiple_of(16) {
            self.over = self.start.elapsed() >= self.time;
        }
        self.over
    }
}

/// What came back.
#[derive(Default)]
pub struct Balance {
    completed: u64,
    tokens: u64,
}

impl Balance {
    /// One came back.
    pub fn add(&mut self, token: u64) {
        self.completed += 1;
        self.tokens = self.tokens.wrapping_add(token);
    }

    /// Compares it with what was submitted. The same number of others would not do.
    pub fn close(self, submitted: Range<u64>) -> Result<Counts, Error> {
        let tokens = submitted.clone().fold(0, u64::wrapping_add);
        if self.tokens != tokens {
            return Err(Error::Mixed);
        }
        Ok(Counts {
            submitted: submitted.end - submitted.start,
            completed: self.completed,
            ..Counts::default()
        })
    }
}
