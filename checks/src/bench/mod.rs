//! Measurements beside peers.
//!
//! All contenders of a bench run interleaved: a round gives each of them a short run, and the next round begins with another one. So
//! what disturbs the machine for a while disturbs all, and the ratio of two contenders is taken within a round.
//!
//! # How a number comes about
//!
//! A [`Contender`] is made anew for each round, on a thread of its own, and thrown away after it. Its set-up, a warm-up of a tenth of
//! the time and its tear-down are not measured. What is reported is the median over the rounds, beside the least and the most.
//!
//! - *CPU time* is that of the whole process, with the kernel's io_uring workers. Only one contender runs at a time.
//! - *Wakes* and *system calls* are counted where this code sends or makes them; each bench says which those are.
//! - *Waits for a lock* of our own code, and the wakes in `wait_queue`, are counted by a second run in the same round, on
//!   [`Timed`](crate::flavour::Timed); the speed is that of `Native`.
//! - What nobody counts, as the locks inside of a peer, is null and not zero.
//! - *Nothing lost*: each run ends by waiting for everything it has submitted, and compares. A difference ends the bench with an error,
//!   as does a run that does not come back: its wake is lost.
//! - *Others*: the share of the CPUs that something else took meanwhile, [neighbours](Regime::NP) not counted. Above [`QUIET`] the numbers are not
//!   those of a quiet machine.

mod accounts;
mod bed;
pub mod exact;
mod gates;
mod hand_off;
mod machine;
mod neighbours;
mod nop;
mod ours;
mod peers;
pub mod svg;
mod wait_queue;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use reveille::uring;
use serde::Serialize;

use crate::flavour::timed::{self, Watched};
use machine::{Cpus, Spent};

pub use machine::Regime;

/// The share of its CPUs that a run may lose to others and still count as undisturbed.
pub const QUIET: f64 = 0.1;

/// How long a run may take beyond its time before it counts as one that does not come back.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a bench came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no io_uring to be had.
    #[error(transparent)]
    Uring(#[from] uring::Error),
    /// The system refused something.
    #[error("the system refused it: {0}")]
    System(#[from] io::Error),
    /// A regime of several CPUs on one.
    #[error("this process may use one CPU only, and the regimes Q and NQ need two")]
    OneCpu,
    /// Nothing of that name.
    #[error("no contender of {bench} is called `{name}`; there are {}", known.join(", "))]
    Unknown {
        /// The bench.
        bench: Name,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// Nothing is measured at that depth.
    #[error("{bench} measures nothing at depth {depth}; it does at {known:?}")]
    NoSuchDepth {
        /// The bench.
        bench: Name,
        /// What was asked for.
        depth: usize,
        /// What there is.
        known: Vec<usize>,
    },
    /// A contender's thread panicked.
    #[error("{0} panicked")]
    Panicked(String),
    /// Something was submitted and never completed, or the other way round.
    #[error("{who} LOST something: {submitted} submitted, {completed} completed")]
    Lost {
        /// The contender.
        who: String,
        /// What went in.
        submitted: u64,
        /// What came out.
        completed: u64,
    },
    /// As much came back as was submitted, but not the same.
    #[error("what came back is not what was submitted: something was LOST, and something came twice")]
    Mixed,
    /// A contender did not come back.
    #[error("{0} did not come back: a wakeup was LOST, or the machine stands still")]
    Stuck(String),
}

impl Error {
    /// Whether it is a fault of what was measured, and not one of the machine's or of the caller's.
    pub fn loses(&self) -> bool {
        matches!(self, Self::Panicked(_) | Self::Lost { .. } | Self::Mixed | Self::Stuck(_))
    }
}

/// The benches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The wait queue alone: a wake that nobody needs, ping-pong, and waking many.
    WaitQueue,
    /// The letter's micro-benchmark: what does nothing, and goes through a worker.
    Nop,
    /// The sound gates: what skipping a wake saves.
    Gates,
    /// The pool's locks: one, one an account, one a work list.
    Accounts,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nop, Self::Gates, Self::Accounts, Self::WaitQueue];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::WaitQueue => "wait_queue",
            Self::Nop => "nop",
            Self::Gates => "gates",
            Self::Accounts => "accounts",
        }
    }

    /// Everything that this bench measures.
    pub fn lines(self) -> Vec<Line> {
        match self {
            Self::WaitQueue => wait_queue::lines(),
            Self::Nop => nop::lines(),
            Self::Gates => gates::lines(),
            Self::Accounts => accounts::lines(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|bench| bench.name() == name).ok_or_else(|| {
            format!("no bench is called `{name}`; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// The lines of a bench that are asked for; nothing said is no restriction.
///
/// # Errors
/// If there is no such contender, or no such depth.
pub fn choose(bench: Name, contenders: &[String], depths: &[usize]) -> Result<Vec<Line>, Error> {
    let mut lines = bench.lines();
    let mut known: Vec<_> = lines.iter().map(|line| line.contender).collect();
    known.sort_unstable();
    known.dedup();
    if let Some(name) = contenders.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::Unknown { bench, name: name.clone(), known });
    }
    lines.retain(|line| contenders.is_empty() || contenders.iter().any(|name| name == line.contender));
    let mut known: Vec<_> = lines.iter().map(|line| line.depth).collect();
    known.sort_unstable();
    known.dedup();
    if let Some(&depth) = depths.iter().find(|depth| !known.contains(depth)) {
        return Err(Error::NoSuchDepth { bench, depth, known });
    }
    lines.retain(|line| depths.is_empty() || depths.contains(&line.depth));
    Ok(lines)
}

/// Somebody who does one kind of operation over and over.
pub trait Contender {
    /// Does it for about `time`, and waits for everything that it has begun.
    ///
    /// # Errors
    /// What the system refused.
    fn run(&mut self, time: Duration) -> Result<Counts, Error>;
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations begun.
    pub submitted: u64,
    /// Operations ended; the same number, unless something is lost.
    pub completed: u64,
    /// Wakes of the thread that measures, if they are counted; else they come from the watched run.
    pub wakes: Option<u64>,
    /// Operations without a wake of their own, likewise.
    pub skipped: Option<u64>,
    /// Wakes of workers.
    pub worker_wakes: Option<u64>,
    /// System calls; which, the bench says.
    pub syscalls: Option<u64>,
}

type Make = Arc<dyn Fn() -> Result<Box<dyn Contender>, Error> + Send + Sync>;

/// One line of a bench: a contender with its parameters.
pub struct Line {
    /// Which part of the bench, if it has parts.
    pub case: Option<&'static str>,
    /// Who.
    pub contender: &'static str,
    /// How many operations are in flight, or threads wait.
    pub depth: usize,
    /// How many workers there are, where that is varied.
    pub workers: Option<usize>,
    make: Make,
    /// The same on `Timed`.
    watched: Option<Make>,
}

impl Line {
    fn new<C: Contender + 'static>(
        contender: &'static str,
        depth: usize,
        make: impl Fn() -> Result<C, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { case: None, contender, depth, workers: None, make: boxed(make), watched: None }
    }

    fn in_case(self, case: &'static str) -> Self {
        Self { case: Some(case), ..self }
    }

    fn watched<C: Contender + 'static>(
        self,
        make: impl Fn() -> Result<C, Error> + Send + Sync + 'static,
    ) -> Self {
        Self { watched: Some(boxed(make)), ..self }
    }

    fn of_workers(self, workers: usize) -> Self {
        Self { workers: Some(workers), ..self }
    }

    /// How often it runs in a round.
    pub fn runs(&self) -> usize {
        1 + usize::from(self.watched.is_some())
    }

    /// Whether the two are measured for comparison with each other.
    fn comparable(&self, other: &Self) -> bool {
        (self.case, self.depth, self.workers) == (other.case, other.depth, other.workers)
    }
}

fn boxed<C: Contender + 'static>(make: impl Fn() -> Result<C, Error> + Send + Sync + 'static) -> Make {
    Arc::new(move || Ok(Box::new(make()?)))
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.map_or(Ok(()), |case| write!(f, "{case}, "))?;
        write!(f, "{} at {}", self.contender, self.depth)
    }
}

/// The contender that others are compared to, where it takes part: the kernel's own worker pool.
pub const BASELINE: &str = "kernel";

/// Tells a peer that learns it from the environment how many threads it may have.
///
/// # Safety
/// No other thread of this process may run, as [`std::env::set_var`] demands.
pub unsafe fn limit_peers() {
    // SAFETY: passed on to the caller.
    unsafe { std::env::set_var(peers::Blocking::MAX_THREADS, hand_off::WORKERS.to_string()) };
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Under which regimes, one after the other.
    pub regimes: Vec<Regime>,
    /// How many rounds.
    pub rounds: usize,
    /// For how long each contender runs in each round.
    pub time: Duration,
}

/// A line of the table. Rates are per operation; null is what nobody can count.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The bench.
    pub bench: &'static str,
    /// Which part of it.
    pub case: Option<&'static str>,
    /// Who.
    pub contender: &'static str,
    /// How many operations are in flight, or threads wait.
    pub depth: usize,
    /// How many workers there are, where that is varied.
    pub workers: Option<usize>,
    /// Under which regime.
    pub regime: Regime,
    /// Operations a second: the median of the rounds.
    pub ops_per_s: f64,
    /// The slowest round.
    pub ops_per_s_min: f64,
    /// The fastest round.
    pub ops_per_s_max: f64,
    /// CPU time of the process in nanoseconds: the median of the rounds.
    pub cpu_ns_per_op: f64,
    /// Wakes sent.
    pub wakes_per_op: Option<f64>,
    /// Wakes skipped.
    pub skipped_per_op: Option<f64>,
    /// Wakes of the pool's workers, which are not among the others.
    pub worker_wakes_per_op: Option<f64>,
    /// System calls.
    pub syscalls_per_op: Option<f64>,
    /// Acquisitions of a lock that had to wait.
    pub lock_waits_per_op: Option<f64>,
    /// Of the time that threads ran or waited for a lock, the part that they waited.
    pub lock_wait_share: Option<f64>,
    /// Speed over the [`BASELINE`]'s: the median of the ratios within each round.
    pub ratio: Option<f64>,
    /// How many rounds.
    pub rounds: usize,
    /// The share of the CPUs that something else took meanwhile.
    pub others: f64,
}

/// One run of one contender.
struct Sample {
    counts: Counts,
    spent: Spent,
    watched: Watched,
}

impl Sample {
    fn ops_per_s(&self) -> f64 {
        self.counts.completed as f64 / self.spent.wall.as_secs_f64()
    }

    fn per_op(&self, n: u64) -> f64 {
        n as f64 / self.counts.completed.max(1) as f64
    }
}

/// Measures all lines by the plan, and calls `tick` after each run.
///
/// # Errors
/// If the system refuses what a contender needs, or one [loses](Error::loses) something.
pub fn run(bench: Name, lines: &[Line], plan: &Plan, mut tick: impl FnMut()) -> Result<Vec<Row>, Error> {
    let cpus = Arc::new(Cpus::given()?);
    let mut rows = Vec::new();
    for &regime in &plan.regimes {
        if !cpus.enough_for(regime) {
            return Err(Error::OneCpu);
        }
        cpus.enter(regime)?;
        // samples[i]: line i, round by round; the run for the speed and the one that was watched
        let mut samples: Vec<Vec<(Sample, Option<Sample>)>> = lines.iter().map(|_| Vec::new()).collect();
        for round in 0..plan.rounds {
            for i in (0..lines.len()).map(|i| (i + round) % lines.len()) {
                let line = &lines[i];
                let sample = measure(line, &line.make, plan.time, &cpus, regime)?;
                let watched = line.watched.as_ref();
                let watched =
                    watched.map(|make| measure(line, make, plan.time, &cpus, regime)).transpose()?;
                samples[i].push((sample, watched));
                tick();
            }
        }
        rows.extend((0..lines.len()).map(|i| row(bench, lines, i, &samples, regime)));
    }
    Ok(rows)
}

/// Runs a contender once, on a thread of its own.
fn measure(
    line: &Line,
    make: &Make,
    time: Duration,
    cpus: &Arc<Cpus>,
    regime: Regime,
) -> Result<Sample, Error> {
    let (result, done) = mpsc::channel::<Result<Sample, Error>>();
    let thread = std::thread::Builder::new().name("bench".into()).spawn({
        let (make, cpus) = (make.clone(), cpus.clone());
        move || {
            let sample = || {
                let mut contender = make()?;
                contender.run(time / 10)?;
                timed::take();
                let stopwatch = cpus.stopwatch(regime)?;
                let counts = contender.run(time)?;
                Ok(Sample { counts, spent: stopwatch.stop()?, watched: timed::take() })
            };
            let _ = result.send(sample());
        }
    })?;
    let sample = match done.recv_timeout(2 * time + PATIENCE) {
        Ok(sample) => sample?,
        Err(mpsc::RecvTimeoutError::Timeout) => return Err(Error::Stuck(line.to_string())),
        Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::Panicked(line.to_string())),
    };
    let _ = thread.join();
    let Counts { submitted, completed, .. } = sample.counts;
    if submitted == completed {
        Ok(sample)
    } else {
        Err(Error::Lost { who: line.to_string(), submitted, completed })
    }
}

fn row(
    bench: Name,
    lines: &[Line],
    i: usize,
    samples: &[Vec<(Sample, Option<Sample>)>],
    regime: Regime,
) -> Row {
    let line = &lines[i];
    let ops = || samples[i].iter().map(|(sample, _)| sample.ops_per_s());
    let watched = |rate: &dyn Fn(&Sample) -> f64| {
        median(samples[i].iter().filter_map(|(_, sample)| Some(rate(sample.as_ref()?))))
    };
    let counted = |count: fn(&Counts) -> Option<u64>| {
        median(samples[i].iter().filter_map(|(sample, _)| Some(sample.per_op(count(&sample.counts)?))))
    };
    let baseline = lines.iter().position(|other| other.contender == BASELINE && other.comparable(line));
    let ratio = baseline.and_then(|base| {
        let base = samples[base].iter().map(|(sample, _)| sample.ops_per_s());
        median(ops().zip(base).map(|(ours, base)| ours / base))
    });
    let sum = |part: fn(&Spent) -> Duration| {
        samples[i].iter().map(|(sample, _)| part(&sample.spent)).sum::<Duration>()
    };
    Row {
        bench: bench.name(),
        case: line.case,
        contender: line.contender,
        depth: line.depth,
        workers: line.workers,
        regime,
        ops_per_s: median(ops()).unwrap_or(0.0),
        ops_per_s_min: ops().fold(f64::INFINITY, f64::min),
        ops_per_s_max: ops().fold(0.0, f64::max),
        cpu_ns_per_op: median(
            samples[i].iter().map(|(sample, _)| sample.per_op(sample.spent.cpu.as_nanos() as u64)),
        )
        .unwrap_or(0.0),
        wakes_per_op: counted(|counts| counts.wakes)
            .or_else(|| watched(&|sample| sample.per_op(sample.watched.sent))),
        skipped_per_op: counted(|counts| counts.skipped)
            .or_else(|| watched(&|sample| sample.per_op(sample.watched.skipped))),
        worker_wakes_per_op: counted(|counts| counts.worker_wakes),
        syscalls_per_op: counted(|counts| counts.syscalls),
        lock_waits_per_op: watched(&|sample| sample.per_op(sample.watched.lock_waits)),
        lock_wait_share: watched(&|sample| {
            let waited = sample.watched.lock_wait;
            waited.div_duration_f64(waited + sample.spent.cpu)
        }),
        ratio,
        rounds: samples[i].len(),
        others: sum(|spent| spent.others).div_duration_f64(sum(|spent| spent.capacity)),
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loses one operation in each run, or its own wakeup.
    enum Faulty {
        LosesOne,
        Sleeps,
        Panics,
    }

    impl Contender for Faulty {
        fn run(&mut self, _: Duration) -> Result<Counts, Error> {
            match self {
                Self::LosesOne => Ok(Counts { submitted: 8, completed: 7, ..Counts::default() }),
                Self::Sleeps => loop {
                    std::thread::park();
                },
                Self::Panics => panic!("as it was told to"),
            }
        }
    }

    fn measured(make: fn() -> Result<Faulty, Error>) -> Error {
        let line = Line::new("faulty", 8, make);
        let cpus = Arc::new(Cpus::given().expect("Linux tells"));
        match measure(&line, &line.make, Duration::from_millis(1), &cpus, Regime::Q) {
            Err(error) => error,
            Ok(_) => panic!("it was let pass"),
        }
    }

    #[test]
    fn a_contender_that_loses_one_never_comes_back_or_panics_is_named_and_ends_the_bench() {
        let lost = measured(|| Ok(Faulty::LosesOne));
        assert_eq!(lost.to_string(), "faulty at 8 LOST something: 8 submitted, 7 completed");
        let stuck = measured(|| Ok(Faulty::Sleeps));
        assert!(stuck.to_string().contains("faulty at 8 did not come back"), "{stuck}");
        let panicked = measured(|| Ok(Faulty::Panics));
        assert_eq!(panicked.to_string(), "faulty at 8 panicked");
        assert!([lost, stuck, panicked].iter().all(Error::loses));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two_and_of_none_is_nothing() {
        assert_eq!(median([4.0, 1.0, 3.0].into_iter()), Some(3.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
