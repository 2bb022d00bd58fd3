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
mod crowd;
pub mod exact;
mod gates;
#[doc(hidden)]
pub mod hand_off;
pub mod http;
mod jobs;
mod latency;
mod load;
mod machine;
mod measure;
mod memory;
#[doc(hidden)]
pub mod neighbours;
mod nop;
mod ours;
mod peers;
mod row;
pub mod svg;
mod wait_queue;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reveille::uring;
use strum::VariantArray;

use crate::names::{Named, unknown};

pub use machine::Regime;
pub use measure::{Plan, run};
#[doc(hidden)]
pub use row::median;
pub use row::{Row, conclusions};

/// The share of its CPUs that a run may lose to others and still count as undisturbed.
pub const QUIET: f64 = 0.1;

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
    /// A contender did something wrong.
    #[error("{who}: {what}")]
    Faulty {
        /// The contender.
        who: String,
        /// What it did.
        what: String,
    },
    /// A program that is measured is not on this machine.
    #[error("SKIPPED: {what} is not on this machine (Debian: {install})")]
    Absent {
        /// The program.
        what: &'static str,
        /// The command that installs it.
        install: &'static str,
    },
    /// A contender did not come back.
    #[error("{0} did not come back: a wakeup was LOST, or the machine stands still")]
    Stuck(String),
}

impl Error {
    /// Whether it is a fault of what was measured, and not one of the machine's or of the caller's.
    pub fn loses(&self) -> bool {
        matches!(
            self,
            Self::Panicked(_) | Self::Lost { .. } | Self::Mixed | Self::Faulty { .. } | Self::Stuck(_)
        )
    }
}

/// The benches.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case", parse_err_ty = String, parse_err_fn = unknown::<Self>)]
pub enum Name {
    /// The letter's micro-benchmark: what does nothing, and goes through a worker.
    Nop,
    /// Jobs that compute or sleep for some time.
    Jobs,
    /// How long one job takes, there and back.
    Latency,
    /// The memory that a waiting job takes.
    Memory,
    /// The sound gates: what skipping a wake saves.
    Gates,
    /// The pool's locks: one, one an account, one a work list.
    Accounts,
    /// The wait queue alone: a wake that nobody needs, ping-pong, and waking many.
    WaitQueue,
    /// A server of static files.
    Http,
    /// The same server, running PHP.
    Php,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; Self::VARIANTS.len()] =
        *Self::VARIANTS.first_chunk().expect("the length is that of the list");

    /// What it is called.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Everything that this bench measures.
    pub fn lines(self) -> Vec<Line> {
        match self {
            Self::WaitQueue => wait_queue::lines(),
            Self::Nop => nop::lines(),
            Self::Gates => gates::lines(),
            Self::Accounts => accounts::lines(),
            Self::Jobs => jobs::lines(),
            Self::Latency => latency::lines(),
            Self::Memory => memory::lines(),
            Self::Http => http::lines(),
            Self::Php => http::php_lines(),
        }
    }

    /// Whether it is about a server, and its contenders are processes.
    pub fn is_of_servers(self) -> bool {
        matches!(self, Self::Http | Self::Php)
    }

    /// The contender that is ours, or the one of ours that is meant for use.
    pub fn ours(self) -> &'static str {
        match self {
            Self::Gates => "per-entry",
            Self::Accounts => "sharded",
            _ => "reveille",
        }
    }
}

impl Named for Name {
    const WHAT: &'static str = "bench";
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
#[derive(Debug, Clone, Copy, Default, PartialEq)]
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
    /// Where the CPU time went.
    pub profile: Option<Profile>,
    /// How long single operations took.
    pub latency: Option<Latency>,
    /// The memory of the process that they took together, in bytes.
    pub memory: Option<u64>,
    /// What other processes took, if those are measured.
    pub apart: Option<Apart>,
}

/// Shares of the CPU time that were spent in three places of the kernel: those that the letter lists.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// Spinning for a lock.
    pub spinning: f64,
    /// Telling an epoll that something is ready: `ep_poll_callback`.
    pub polling: f64,
    /// Waking threads: `try_to_wake_up`.
    pub waking: f64,
}

/// What is measured where the contender is another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// For how long it was loaded.
    pub wall: Duration,
    /// Its CPU time.
    pub cpu: Duration,
    /// The CPU time of what works behind it, if something does.
    pub cpu_behind: Option<Duration>,
    /// The CPU time of those that load it.
    pub cpu_of_clients: Duration,
}

/// How long an operation takes: half of them no longer than this, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Half of them.
    pub p50: Duration,
    /// 99 of a hundred.
    pub p99: Duration,
    /// 999 of a thousand.
    pub p999: Duration,
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
    /// How long a run may take beyond its time before it counts as one that does not come back.
    patience: Duration,
    make: Make,
    /// The same on `Timed`.
    watched: Option<Make>,
}

impl Line {
    /// A contender that is made anew for each run.
    pub fn new<C: Contender + 'static>(
        contender: &'static str,
        depth: usize,
        make: impl Fn() -> Result<C, Error> + Send + Sync + 'static,
    ) -> Self {
        let patience = Duration::from_secs(10);
        Self { case: None, contender, depth, workers: None, patience, make: boxed(make), watched: None }
    }

    fn in_case(self, case: &'static str) -> Self {
        Self { case: Some(case), ..self }
    }

    /// Its runs start and end processes.
    fn of_processes(self) -> Self {
        Self { patience: Duration::from_secs(120), ..self }
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
