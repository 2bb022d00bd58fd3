//! The reactor on the machine: requests, closures and other threads, all at once and at random, on a ring that is far too small.
//!
//! Its thread keeps some hundred operations in flight: closures (some panic, some are cancelled), NOPs in place and in the
//! kernel's workers, timeouts that end and others that are cancelled, reads of pipes that a closure writes to. Another thread posts
//! events and submits and cancels requests of its own. The submission queue is always full, and the completion queue overflows.
//!
//! Every operation carries a receipt, which comes back in its event. In the end, whichever [end](End) that is,
//!
//! - every receipt was dropped **once**: as many as operations, and the sums of their numbers and of the squares of these agree;
//! - none went without its event, but for requests of the other thread that a cancelling end found on their way, and for an end
//!   without a shutdown, whose events nobody gets;
//! - no file descriptor and no thread is left, by the system's own lists of them.

use std::fs;
use std::io::{self, Write as _, pipe};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fastrand::Rng;
use reveille::pool::{self, Shutdown, Work};
use reveille::uring::{Config, Error, Handle, Nop, Reactor, Read, Request, Timeout};
use serde::{Deserialize, Serialize};

use super::{PATIENCE, Sums, one, plus, threads};

const IN_FLIGHT: u64 = 256;
/// Operations with even numbers are the reactor's own, the others those of the other thread.
const THREADS: u64 = 2;
const WORKERS: usize = 4;
/// For a timeout that never comes.
const NEVER: Duration = Duration::from_secs(3600);

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// A shutdown that lets everything come to its end.
    Drain,
    /// A shutdown that cancels.
    Cancel,
    /// The reactor is dropped in the middle.
    Drop,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Cancel, Self::Drop];
}

/// How a soak is made.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// Stop after so many operations, …
    pub operations: u64,
    /// … or after so much time.
    pub time: Duration,
    /// The seed of everything random but the schedule.
    pub seed: u64,
    /// How it ends.
    pub end: End,
}

/// What a soak came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Operations begun, posts of the other thread included.
    pub submitted: u64,
    /// Events received.
    pub delivered: u64,
    /// Operations that ended without an event, with the reactor.
    pub dropped: u64,
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// How many of them were to sleep.
    pub sleeps: u64,
    /// Wakes from other threads.
    pub wakes: u64,
    /// How often the completion queue was found to have overflowed.
    pub overflows: u64,
    /// File descriptors that the system lists in the end and did not list before the start.
    pub files_left: usize,
    /// Threads, likewise; the kernel's workers too.
    pub threads_left: usize,
    /// Wall time.
    pub seconds: f64,
    /// What does not balance; empty if all does.
    pub faults: Vec<String>,
}

/// What became of the receipts, by who submitted them.
#[derive(Default)]
struct Ledger([Account; THREADS as usize]);

#[derive(Default)]
struct Account {
    sums: [AtomicU64; 3],
    /// Those dropped without having been delivered.
    undelivered: AtomicU64,
}

impl Ledger {
    fn settled(&self) -> Sums {
        self.0.each_ref().map(Account::settled).into_iter().fold([0; 3], plus)
    }

    fn in_flight(&self, thread: u64, submitted: Sums) -> u64 {
        submitted[0].saturating_sub(self.0[thread as usize].settled()[0])
    }
}

impl Account {
    fn settled(&self) -> Sums {
        self.sums.each_ref().map(|sum| sum.load(Relaxed))
    }
}

/// Goes with an operation wherever it goes, and is its event.
struct Receipt {
    number: u64,
    delivered: bool,
    ledger: Arc<Ledger>,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let Account { sums, undelivered } = &self.ledger.0[(self.number % THREADS) as usize];
        undelivered.fetch_add(u64::from(!self.delivered), Relaxed);
        std::iter::zip(sums, one(self.number)).for_each(|(sum, more)| _ = sum.fetch_add(more, Relaxed));
    }
}

/// Runs a soak on real threads and a real io_uring.
///
/// # Errors
/// If there is no io_uring, or the system refuses something else.
pub fn soak(soak: Soak) -> Result<Report, Error> {
    let (start, before) = (Instant::now(), [files()?, threads()?]);
    let ledger = Arc::new(Ledger::default());
    let pool =
        pool::Config { bounded: WORKERS, idle_timeout: Duration::from_millis(1), ..Default::default() };
    let mut reactor = Reactor::new(Config::default().submissions(8).completions(16).pool(pool))?;
    let other = std::thread::spawn({
        let (handle, ledger) = (reactor.handle(), ledger.clone());
        move || other(soak, &handle, &ledger, start + soak.time)
    });
    let mut own = Own { soak, rng: Rng::with_seed(soak.seed), submitted: [0; 3], ledger: ledger.clone() };
    let mut faults = Vec::new();
    let mut delivered = 0;
    let stalled = !own.run(&mut reactor, &mut delivered, start + soak.time, || other.is_finished())?;
    if stalled {
        faults.push(format!("stalled: of {:?} {:?} came back", own.submitted, ledger.settled()));
    }
    let counts = reactor.counts();
    if stalled {
        std::mem::forget(reactor); // its end would wait for what does not come
    } else {
        let mut events = Vec::new();
        match soak.end {
            End::Drain => reactor.shutdown(Shutdown::Drain, &mut events)?,
            End::Cancel => reactor.shutdown(Shutdown::Cancel, &mut events)?,
            End::Drop => drop(reactor),
        }
        delivered += deliver(&mut events);
    }
    let Ok(theirs) = other.join() else {
        faults.push("the other thread panicked".into());
        return Ok(report(soak, own.submitted, delivered, counts, [0; 2], start, faults));
    };
    let submitted = plus(own.submitted, theirs);
    // The kernel's workers end on their own time, after the ring.
    let mut left = [0; 2];
    while start.elapsed() < soak.time + PATIENCE {
        let now = [files()?, threads()?];
        left = std::array::from_fn(|i| now[i].saturating_sub(before[i]));
        if left == [0; 2] {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let undelivered = ledger.0.each_ref().map(|account| account.undelivered.load(Relaxed));
    faults.extend(self::faults(soak.end, submitted, ledger.settled(), delivered, undelivered));
    if left != [0; 2] {
        faults.push(format!("{left:?} files and threads are left"));
    }
    Ok(report(soak, submitted, delivered, counts, left, start, faults))
}

/// What does not balance. `undelivered` are the receipts that came back without an event, of the reactor and of the other thread.
#[doc(hidden)]
pub fn faults(
    end: End,
    submitted: Sums,
    settled: Sums,
    delivered: u64,
    undelivered: [u64; THREADS as usize],
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |holds: bool, fault: String| faults.extend((!holds).then_some(fault));
    check(
        settled == submitted,
        format!(
            "operations, their sum and that of their squares: {submitted:?} submitted, {settled:?} came back"
        ),
    );
    let excused = match end {
        End::Drain => undelivered == [0; 2],
        End::Cancel => undelivered[0] == 0,
        End::Drop => true,
    };
    check(excused, format!("without their events: {undelivered:?}, of the reactor and of the other thread"));
    let without: u64 = undelivered.iter().sum();
    check(
        delivered + without == submitted[0],
        format!("{delivered} events and {without} without make no {}", submitted[0]),
    );
    faults
}

fn report(
    soak: Soak,
    submitted: Sums,
    delivered: u64,
    counts: reveille::uring::Counts,
    [files_left, threads_left]: [usize; 2],
    start: Instant,
    faults: Vec<String>,
) -> Report {
    Report {
        end: soak.end,
        submitted: submitted[0],
        delivered,
        dropped: submitted[0].saturating_sub(delivered),
        enters: counts.enters,
        sleeps: counts.sleeps,
        wakes: counts.wakes,
        overflows: counts.overflows,
        files_left,
        threads_left,
        seconds: start.elapsed().as_secs_f64(),
        faults,
    }
}

/// What the reactor's own thread does.
struct Own {
    soak: Soak,
    rng: Rng,
    submitted: Sums,
    ledger: Arc<Ledger>,
}

impl Own {
    /// Until it was enough, and `other_ended`. False if something was in flight, and nothing came back for a while.
    fn run(
        &mut self,
        reactor: &mut Reactor<Receipt>,
        delivered: &mut u64,
        deadline: Instant,
        other_ended: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let mut events = Vec::new();
        let (mut number, mut last) = (0, Instant::now());
        loop {
            let over = number >= self.soak.operations || Instant::now() >= deadline;
            if over && other_ended() {
                return Ok(true); // with whatever is in flight
            }
            for _ in 0..if over { 0 } else { 32 } {
                if self.ledger.in_flight(0, self.submitted) < IN_FLIGHT {
                    self.submit(reactor, number)?;
                    number += THREADS;
                }
            }
            // No short time-out while there is work: it would heal the loss of a wake.
            reactor.turn(&mut events, Some(if over { Duration::from_millis(10) } else { PATIENCE }))?;
            if !events.is_empty() || over {
                last = Instant::now();
            } else if last.elapsed() >= PATIENCE {
                return Ok(false);
            }
            *delivered += deliver(&mut events);
        }
    }

    fn submit(&mut self, reactor: &mut Reactor<Receipt>, number: u64) -> Result<(), Error> {
        self.submitted = plus(self.submitted, one(number));
        let receipt = Receipt { number, delivered: false, ledger: self.ledger.clone() };
        match self.rng.u8(..32) {
            0..12 => reactor.offload(Work::BOUNDED, |_| (), move |_| receipt),
            12 => reactor.offload(
                Work::BOUNDED,
                |_| std::panic::resume_unwind(Box::new(())), // without a word on the terminal
                move |_| receipt,
            ),
            13..16 => {
                let token = reactor.offload_cancellable(Work::BOUNDED, |_| (), move |_| receipt);
                token.cancel();
            }
            16..20 => drop(reactor.submit(Request::new(Nop, move |_| receipt))?),
            20..22 => drop(reactor.submit(Request::new(Nop, move |_| receipt).in_worker())?),
            22..26 => {
                let soon = Timeout::after(Duration::from_micros(self.rng.u64(..200)));
                reactor.submit(Request::new(soon, move |_| receipt))?;
            }
            26..29 => {
                let token = reactor.submit(Request::new(Timeout::after(NEVER), move |_| receipt))?;
                reactor.cancel(token)?;
            }
            _ => {
                let (reader, mut writer) = pipe()?;
                reactor.submit(Request::new(Read::new(reader, vec![0; 8]), move |_| receipt))?;
                let number = number + THREADS * self.soak.operations; // one of its own
                self.submitted = plus(self.submitted, one(number));
                let receipt = Receipt { number, delivered: false, ledger: self.ledger.clone() };
                reactor.offload(Work::UNBOUNDED, move |_| writer.write_all(&[1]).is_ok(), move |_| receipt);
            }
        }
        Ok(())
    }
}

/// What the other thread does: how many it began.
fn other(soak: Soak, handle: &Handle<Receipt>, ledger: &Arc<Ledger>, deadline: Instant) -> Sums {
    let mut rng = Rng::with_seed(!soak.seed);
    let mut submitted = [0; 3];
    let mut number = 1;
    while number < soak.operations && Instant::now() < deadline {
        for _ in 0..rng.u64(1..=8) {
            submitted = plus(submitted, one(number));
            let receipt = Receipt { number, delivered: false, ledger: ledger.clone() };
            number += THREADS;
            match rng.u8(..4) {
                0 => drop(handle.submit(Request::new(Nop, move |_| receipt))),
                1 => {
                    if let Ok(ticket) = handle.submit(Request::new(Timeout::after(NEVER), move |_| receipt)) {
                        handle.cancel(&ticket);
                    }
                }
                _ => drop(handle.post(receipt)),
            }
        }
        while ledger.in_flight(1, submitted) > IN_FLIGHT && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(50));
        }
        if rng.u8(..) < 8 {
            std::thread::sleep(Duration::from_micros(rng.u64(..500))); // so that the reactor falls asleep
        }
    }
    submitted
}

fn deliver(events: &mut Vec<Receipt>) -> u64 {
    events.iter_mut().for_each(|receipt| receipt.delivered = true);
    events.drain(..).count() as u64
}

/// How many file descriptors the system lists for this process.
pub(super) fn files() -> io::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}
