//! The same code on the machine: two real threads, and a consumer that sleeps in a real io_uring.
//!
//! The producer keeps one completion in flight: it waits until the consumer has taken it, and commits the next at once. The
//! consumer is then just arming and looking, which is the moment at which a gate can lose.
//!
//! # What counts as a stall
//!
//! Not a time, but a state from which nothing leads on. The consumer writes down that it is going to sleep after its last look, with
//! the number of wakes it has heard. The producer, its only waker, finds that
//!
//! 1. its wake decision on the last completion is made, and was to skip;
//! 2. the consumer is in bed, and has heard every wake that was ever sent, so none is on its way;
//! 3. the completion is still in the ring, in which the consumer's last look saw nothing.
//!
//! So the consumer sleeps until somebody rings who has no reason to. The producer counts a stall, rings, and goes on. How busy the
//! machine is does not come into it; a busy machine can only keep the race from happening. Therefore the producer, who
//! spins throughout, also compares its CPU time with the clock: with less than [`ALONE`] of it the absence of stalls
//! says nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use reveille::gate::Gate;
use reveille::sync::Native;
use reveille::uring::{self, RingParker};
use reveille::wait_queue::{Kind, WaitQueue, Wakeup};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::scenario::Ring;

/// The share of a CPU that the producer must have had for an absence of stalls to mean something.
pub const ALONE: f64 = 0.9;

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no io_uring to be had.
    #[error(transparent)]
    Uring(#[from] uring::Error),
    /// The race needs two CPUs at once.
    #[error("this process may use one CPU only, and the race takes two")]
    OneCpu,
    /// The system refused a thread, or a CPU for it.
    #[error("no thread to be had: {0}")]
    Thread(#[from] io::Error),
    /// The consumer's thread panicked.
    #[error("the consumer panicked")]
    Panicked,
}

impl Error {
    /// The cause in a word or two.
    pub fn in_short(&self) -> &'static str {
        match self {
            Self::Uring(uring::Error::Forbidden) => "forbidden",
            Self::Uring(uring::Error::Missing | uring::Error::TooOld(_)) => "not there",
            Self::Uring(uring::Error::LockedMemory) => "no memory",
            Self::OneCpu => "one CPU",
            Self::Uring(_) | Self::Thread(_) | Self::Panicked => "failed",
        }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Completions committed; every one of them was taken.
    pub completions: u64,
    /// How many of them the consumer would have slept on for ever.
    pub stalls: u64,
    /// The number of the first of those, counted from 1.
    pub first_stall: Option<u64>,
    /// Wakes that the gate skipped.
    pub skipped: u64,
    /// Wakes that were sent, the rescues not counted.
    pub sent: u64,
    /// How often the consumer went to sleep.
    pub sleeps: u64,
    /// Wall time.
    pub seconds: f64,
    /// The CPU time of the spinning producer over the wall time.
    pub cpu_share: f64,
}

impl Report {
    /// Stalls in a million completions.
    pub fn per_million(&self) -> f64 {
        self.stalls as f64 * 1e6 / self.completions.max(1) as f64
    }
}

/// Where the consumer writes down that it goes to sleep: 0 while it is awake, else one more than the wakes it has heard.
type Bed = CachePadded<AtomicU64>;

/// The consumer's bell, which counts how often it was rung. Only the producer's thread rings it.
struct Bell {
    rung: CachePadded<AtomicU64>,
    ring: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Relaxed);
        self.ring.wake_by_ref();
    }
}

/// How long the consumer waits for the bell with its eyes open before it lets the kernel take its CPU away. On the way to sleep
/// it has a completion's time to be woken cheaply; without this a run takes twenty times as long for the same number of races.
const DOZE: u32 = 2_000;

/// What the consumer does with a completion: nothing, for a time that varies from one to the next. So its next arming meets all
/// stages of the producer's next decision.
struct Jitter(u64);

impl Jitter {
    /// Up to this many turns, of less than a nanosecond each.
    const TURNS: u64 = 128;

    fn spend(&mut self) {
        // Knuth's linear congruential generator; its upper bits are random enough for this.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for turn in 0..(self.0 >> 33) % Self::TURNS {
            std::hint::black_box(turn);
        }
    }
}

/// How many cache lines the consumer writes its results to.
const RESULTS: usize = 4;

/// Runs the gate `G` until so many completions or so much time have passed, whichever is first.
///
/// # Errors
/// If there is no io_uring to be had, or no second CPU.
pub fn stress<G: Gate>(completions: u64, time: Duration) -> Result<Report, Error> {
    let mut parker = RingParker::new()?;
    let bell = Arc::new(Bell { rung: AtomicU64::new(0).into(), ring: parker.waker() });
    let ring = Arc::new(Ring::<Native>::new(1));
    let queue = Arc::new(WaitQueue::<Native, G>::new());
    let bed = Arc::new(Bed::default());
    let stop = Arc::new(AtomicBool::new(false));
    // Where the consumer leaves its results. The producer looks at them, so the consumer's stores wait for their cache lines,
    // and the gate's store behind them waits in the store buffer: the window of the race.
    let handled = Arc::new([const { CachePadded::new(AtomicU64::new(0)) }; RESULTS]);
    let mut entry = queue.register(Kind::Shared, Waker::from(bell.clone()));

    let cpus = two_cpus()?;
    let consumer = {
        let (ring, bell, bed, stop) = (ring.clone(), bell.clone(), bed.clone(), stop.clone());
        let handled = handled.clone();
        move || -> Result<u64, Error> {
            pin(cpus[1])?;
            let mut sleeps = 0;
            let mut handling = Jitter(0x5eed);
            loop {
                let taken = ring.drain();
                if taken > 0 {
                    handling.spend();
                    for line in handled.iter() {
                        line.store(line.load(Relaxed) + taken as u64, Relaxed);
                    }
                }
                entry.arm();
                if ring.readable() {
                    continue;
                }
                if stop.load(Acquire) {
                    return Ok(sleeps);
                }
                // Release: whoever reads this knows that the look above is over.
                bed.store(parker.heard() + 1, Release);
                sleeps += 1;
                for _ in 0..DOZE {
                    if bell.rung.load(Relaxed) != parker.heard() {
                        break;
                    }
                    std::hint::spin_loop();
                }
                parker.park()?;
                bed.store(0, Relaxed);
            }
        }
    };
    let consumer = std::thread::Builder::new().name("consumer".into()).spawn(consumer)?;

    let before = sched_getaffinity(None).map_err(io::Error::from)?;
    pin(cpus[0])?;
    let mut report = Report::default();
    let (wall, cpu) = (Instant::now(), thread_cpu_time());
    'run: while report.completions < completions && wall.elapsed() < time {
        // The clock is looked at now and then only: looking would space out the race.
        for _ in 0..(completions - report.completions).min(256) {
            for line in handled.iter() {
                std::hint::black_box(line.load(Relaxed));
            }
            ring.commit();
            report.completions += 1;
            let wakeup = queue.notify_all();
            match wakeup {
                Wakeup::Skipped => report.skipped += 1,
                Wakeup::Sent(_) => report.sent += 1,
            }
            let mut spins = 0_u32;
            while ring.readable() {
                // Acquire: pairs with the consumer's release, which follows its last look.
                let in_bed = bed.load(Acquire);
                let all_heard = in_bed == bell.rung.load(Relaxed) + 1;
                if wakeup == Wakeup::Skipped && all_heard && ring.readable() {
                    report.stalls += 1;
                    report.first_stall.get_or_insert(report.completions);
                    bell.clone().wake();
                    while bed.load(Acquire) == in_bed && !consumer.is_finished() {
                        std::hint::spin_loop();
                    }
                }
                spins = spins.wrapping_add(1);
                if spins.is_multiple_of(1 << 16) && consumer.is_finished() {
                    break 'run;
                }
                std::hint::spin_loop();
            }
        }
    }
    report.seconds = wall.elapsed().as_secs_f64();
    report.cpu_share = (thread_cpu_time() - cpu).as_secs_f64() / report.seconds;
    sched_setaffinity(None, &before).map_err(io::Error::from)?;
    stop.store(true, Release);
    bell.wake();
    report.sleeps = consumer.join().map_err(|_| Error::Panicked)??;
    Ok(report)
}

/// Two CPUs that this process may run on: the race needs both at once.
fn two_cpus() -> Result<[usize; 2], Error> {
    let allowed = sched_getaffinity(None).map_err(io::Error::from)?;
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
    match (cpus.next(), cpus.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(Error::OneCpu),
    }
}

/// Keeps the calling thread on `cpu`.
fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// The CPU time of the thread that calls this.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
