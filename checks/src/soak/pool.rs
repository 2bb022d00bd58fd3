//! The worker pool on the machine: real threads, random jobs, for as long as one likes.
//!
//! Two submitters keep some thousand jobs in flight, alone and in batches, hashed and not, in both accounts. Some panic, some have a
//! blocked region, some are cancelled, and the maxima change all the time. At the end everything must balance:
//!
//! - every job had **one** outcome: as many outcomes as jobs, and the sums of their numbers and of the squares of these
//!   agree, so that one lost and another told twice do not make up for each other;
//! - the pool's own counters say the same;
//! - no two jobs of a hash overlapped, and none overtook another;
//! - no thread is left after the shutdown, by the system's own list of them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use fastrand::Rng;
use reveille::gate::PerEntry;
use reveille::pool::{AccountName, Config, Layout, Outcome, Pool, Shutdown, Stats, Submitter, Token, Work};
use reveille::sync::{Native, Note, Primitives, Word};
use serde::{Deserialize, Serialize};

use super::{PATIENCE, Sums, one, plus, threads};

/// The most workers of each account.
pub const WORKERS: usize = 8;
const HASHES: usize = 32;
const IN_FLIGHT: u64 = 4096;
const SUBMITTERS: u64 = 2;

/// How a soak is made.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// Stop after so many jobs, …
    pub jobs: u64,
    /// … or after so much time.
    pub time: Duration,
    /// The seed of everything random but the schedule.
    pub seed: u64,
    /// Lists and locks of the pool.
    pub layout: Layout,
}

/// What a soak came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Jobs submitted.
    pub submitted: u64,
    /// Jobs that returned.
    pub done: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs cancelled before they ran.
    pub cancelled: u64,
    /// Jobs refused for want of a worker.
    pub refused: u64,
    /// Jobs that had to wait for another of their hash.
    pub stalled: u64,
    /// Workers started.
    pub workers_started: u64,
    /// Workers woken from their sleep.
    pub workers_woken: u64,
    /// Wake decisions that spared a wake.
    pub wakes_skipped: u64,
    /// Threads that the system lists after the shutdown and did not list before the start.
    pub threads_left: usize,
    /// How long the shutdown took, in seconds.
    pub shutdown_seconds: f64,
    /// Wall time.
    pub seconds: f64,
    /// What does not balance; empty if all does.
    pub faults: Vec<String>,
}

/// What the jobs leave behind.
#[derive(Default)]
struct Ledger {
    /// By ending: done, panicked, cancelled, refused
    outcomes: [CachePadded<AtomicU64>; 4],
    /// Of the numbers of the jobs that had an outcome
    sum: CachePadded<AtomicU64>,
    squares: CachePadded<AtomicU64>,
    /// For each hash twice the number of the last job that ran, and 1 more while it runs
    hashes: [CachePadded<AtomicU64>; HASHES],
    overlaps: AtomicU64,
    overtakings: AtomicU64,
}

impl Ledger {
    fn settle(&self, job: u64, outcome: &Outcome<()>) {
        let ending = match outcome {
            Outcome::Done(()) => 0,
            Outcome::Panicked(_) => 1,
            Outcome::Cancelled => 2,
            Outcome::Refused(_) => 3,
        };
        self.sum.fetch_add(job, Relaxed);
        self.squares.fetch_add(job.wrapping_mul(job), Relaxed);
        self.outcomes[ending].fetch_add(1, Relaxed);
    }

    fn settled(&self) -> u64 {
        self.outcomes.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Waits until all jobs are settled, or nothing has happened for a while.
    fn settles(&self, jobs: u64) -> bool {
        let (mut settled, mut since) = (self.settled(), Instant::now());
        while settled < jobs && since.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
            if settled != self.settled() {
                (settled, since) = (self.settled(), Instant::now());
            }
        }
        settled >= jobs
    }

    /// A job of a hash begins. SeqCst: the check must not hide an overlap behind a late store of its own.
    fn enter(&self, hash: u64, job: u64) {
        let before = self.hashes[hash as usize].swap(job << 1 | 1, SeqCst);
        self.overlaps.fetch_add(before & 1, Relaxed);
        self.overtakings.fetch_add(u64::from(before >> 1 > job), Relaxed);
    }

    fn leave(&self, hash: u64, job: u64) {
        self.hashes[hash as usize].store(job << 1, SeqCst);
    }
}

/// Runs a soak on real threads.
///
/// # Errors
/// The system's, if it does not list our threads.
pub fn soak(soak: Soak) -> io::Result<Report> {
    run::<Native>(soak)
}

/// The same where every other attempt to start a worker fails.
///
/// # Errors
/// As [`soak`].
pub fn soak_without_threads(soak: Soak) -> io::Result<Report> {
    run::<Refusing>(soak)
}

fn run<P: Primitives>(soak: Soak) -> io::Result<Report> {
    let (start, threads) = (Instant::now(), threads()?);
    let ledger = Arc::new(Ledger::default());
    let config = Config {
        bounded: WORKERS,
        unbounded: WORKERS,
        idle_timeout: Duration::from_millis(1),
        layout: soak.layout,
        ..Config::default()
    };
    let pool = Pool::<P, PerEntry>::new(config);
    let submitted = std::thread::scope(|scope| {
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|number| {
                let (ledger, submitter) = (ledger.clone(), pool.submitter());
                scope.spawn(move || submit(soak, number, &submitter, &ledger, start + soak.time))
            })
            .collect();
        submitters.into_iter().filter_map(|submitter| submitter.join().ok()).fold([0; 3], plus)
    });
    let end = Instant::now();
    if soak.seed.is_multiple_of(2) && !ledger.settles(submitted[0]) {
        // Its workers sleep or are lost, and a shutdown would wait for them: they are left as they are.
        let mut report = report(&pool.stats());
        report.faults.push(format!("stalled: {} of {} jobs are settled", ledger.settled(), submitted[0]));
        std::mem::forget(pool);
        return Ok(report);
    }
    // Half of the shutdowns find thousands of jobs that wait, and cancel them.
    let how = if soak.seed.is_multiple_of(2) { Shutdown::Drain } else { Shutdown::Cancel };
    let inside = pool.shutdown(how).is_err();
    let shutdown_seconds = end.elapsed().as_secs_f64();
    let stats = pool.stats();
    let mut report = report(&stats);
    // The system lists a thread for a moment longer than somebody waits who joins it.
    while super::threads()? > threads && end.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    report.threads_left = super::threads()?.saturating_sub(threads);
    report.shutdown_seconds = shutdown_seconds;
    report.seconds = start.elapsed().as_secs_f64();
    report.faults = faults(&ledger, submitted, &stats, report.threads_left);
    report.faults.extend(inside.then(|| "a shutdown from outside was taken for one from inside".into()));
    Ok(report)
}

/// One submitter's jobs: those whose numbers are `number` modulo the number of submitters. It has hashes of its own, so
/// that the order in which it enqueues is known.
fn submit<P: Primitives>(
    soak: Soak,
    number: u64,
    pool: &Submitter<P, PerEntry>,
    ledger: &Arc<Ledger>,
    deadline: Instant,
) -> Sums {
    let mut rng = Rng::with_seed(soak.seed ^ number);
    let mut tokens = VecDeque::new();
    let mut job = number;
    let mut sums = [0; 3];
    while job < soak.jobs && Instant::now() < deadline {
        if job.saturating_sub(ledger.settled()) > IN_FLIGHT && !ledger.settles(job - IN_FLIGHT) {
            break; // stalled, as will be found at the end
        }
        let mut batch = pool.batch();
        for _ in 0..rng.u64(1..=32) {
            if job < soak.jobs {
                tokens.push_back(enqueue(&mut batch, &mut rng, ledger, number, job));
                sums = plus(sums, one(job));
                job += SUBMITTERS;
            }
        }
        batch.submit();
        tokens.drain(..tokens.len().saturating_sub(256));
        if rng.u8(..) < 64 {
            let _ = tokens[rng.usize(..tokens.len())].cancel();
        }
        if rng.u16(..) < 256 {
            pool.resize(AccountName::ALL[rng.usize(..2)], rng.usize(1..=WORKERS));
        }
    }
    sums
}

fn enqueue<P: Primitives>(
    batch: &mut reveille::pool::Batch<'_, P, PerEntry>,
    rng: &mut Rng,
    ledger: &Arc<Ledger>,
    submitter: u64,
    job: u64,
) -> Token<P, PerEntry> {
    let (panics, blocks) = (rng.u8(..) < 4, rng.u8(..) < 4);
    let hash = (rng.u8(..) < 64).then(|| rng.u64(..HASHES as u64 / SUBMITTERS) * SUBMITTERS + submitter);
    let account = if rng.u8(..) < 64 { AccountName::Unbounded } else { AccountName::Bounded };
    let (running, settling) = (ledger.clone(), ledger.clone());
    batch.enqueue(
        Work { account, hash, tag: None },
        move |context| {
            if let Some(hash) = hash {
                running.enter(hash, job);
            }
            if blocks {
                context.blocking(std::thread::yield_now);
            }
            if let Some(hash) = hash {
                running.leave(hash, job);
            }
            if panics {
                std::panic::resume_unwind(Box::new(job)); // without a word on the terminal
            }
        },
        move |outcome| settling.settle(job, &outcome),
    )
}

fn report(stats: &Stats) -> Report {
    let sum = |of: fn(&reveille::pool::AccountStats) -> u64| stats.accounts.iter().map(of).sum();
    Report {
        submitted: stats.submitted,
        done: stats.done,
        panicked: stats.panicked,
        cancelled: stats.cancelled,
        refused: stats.refused,
        stalled: stats.stalled,
        workers_started: stats.started,
        workers_woken: sum(|account| account.workers_woken),
        wakes_skipped: sum(|account| account.wakes_skipped),
        ..Report::default()
    }
}

/// What does not balance.
fn faults(ledger: &Ledger, submitted: Sums, stats: &Stats, threads_left: usize) -> Vec<String> {
    let mut faults = Vec::new();
    let mut check = |holds: bool, fault: String| faults.extend((!holds).then_some(fault));
    let settled = [ledger.settled(), ledger.sum.load(Relaxed), ledger.squares.load(Relaxed)];
    check(
        settled == submitted,
        format!("jobs, their sum and that of their squares: {submitted:?} submitted, {settled:?} settled"),
    );
    let n = submitted[0];
    check(stats.submitted == n, format!("{n} jobs were submitted, and the pool counts {}", stats.submitted));
    let counted = [stats.done, stats.panicked, stats.cancelled, stats.refused];
    let seen = ledger.outcomes.each_ref().map(|count| count.load(Relaxed));
    check(counted == seen, format!("the pool counts {counted:?}, and its users {seen:?}"));
    check(threads_left == 0, format!("{threads_left} threads are left"));
    let (overlaps, overtakings) = (ledger.overlaps.load(Relaxed), ledger.overtakings.load(Relaxed));
    check(overlaps == 0, format!("{overlaps} jobs ran beside another of their hash"));
    check(overtakings == 0, format!("{overtakings} jobs overtook another of their hash"));
    let idle = stats.accounts.iter().all(|account| account.workers == 0 && account.waiting == 0);
    check(idle && stats.busy_hashes == 0, format!("something is left: {stats:?}"));
    faults
}

/// [`Native`], with every other thread refused.
enum Refusing {}

impl Primitives for Refusing {
    type Atomic = <Native as Primitives>::Atomic;
    type AtomicOf<T: Word> = T::Native;
    type Mutex<T: Send + 'static> = <Native as Primitives>::Mutex<T>;
    type Parker = <Native as Primitives>::Parker;
    type Cell<T: Send + 'static> = <Native as Primitives>::Cell<T>;
    type JoinHandle = <Native as Primitives>::JoinHandle;

    fn fence(order: std::sync::atomic::Ordering) {
        Native::fence(order);
    }

    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Self::JoinHandle {
        Native::spawn(name, body)
    }

    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<Self::JoinHandle> {
        static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
        match ATTEMPTS.fetch_add(1, Relaxed) / 8 % 2 {
            0 => Err(io::Error::other("refused on purpose")),
            _ => Native::try_spawn(name, body),
        }
    }

    fn thread() -> u64 {
        Native::thread()
    }

    fn note(note: Note) {
        Native::note(note);
    }
}
