//! The machine under a measurement: the CPUs it may use, the time it got, and how much others took.

use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use strum::VariantArray;

use super::Apart;
use super::neighbours::Neighbours;
use crate::names::{Named, unknown};

/// Which CPUs a run may use. Crossing from one to another costs more than everything measured here, so numbers of the two
/// regimes are never compared with each other.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(parse_err_ty = String, parse_err_fn = unknown::<Self>)]
pub enum Regime {
    /// Everything is pinned to one CPU.
    P,
    /// All CPUs that this process was given are free to use.
    Q,
    /// As P, and on each CPU another program runs a busy loop.
    NP,
    /// As Q, and on each CPU another program runs a busy loop.
    NQ,
}

impl Regime {
    /// All of them.
    pub const ALL: [Self; Self::VARIANTS.len()] =
        *Self::VARIANTS.first_chunk().expect("the length is that of the list");

    /// Its name.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether other programs want the CPUs too.
    fn has_neighbours(self) -> bool {
        matches!(self, Self::NP | Self::NQ)
    }
}

impl Named for Regime {
    const WHAT: &'static str = "regime";
}

/// The CPUs that this process was given when the measuring began. Dropping it gives them back.
pub(super) struct Cpus {
    given: Vec<usize>,
    neighbours: Mutex<Neighbours>,
}

impl Cpus {
    pub(super) fn given() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        let given = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
        Ok(Self { given, neighbours: Mutex::default() })
    }

    pub(super) fn enough_for(&self, regime: Regime) -> bool {
        self.of(regime).len() > 1 || matches!(regime, Regime::P | Regime::NP)
    }

    /// Puts all threads of this process under `regime`; those that are started later inherit it. All and not only our own: a
    /// peer may keep idle threads of an earlier round.
    pub(super) fn enter(&self, regime: Regime) -> io::Result<()> {
        let mut set = CpuSet::new();
        self.of(regime).iter().for_each(|&cpu| set.set(cpu));
        for entry in fs::read_dir("/proc/self/task")? {
            let thread =
                entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            match sched_setaffinity(thread, &set) {
                Err(rustix::io::Errno::SRCH) => {} // it has ended meanwhile
                result => result?,
            }
        }
        let neighbours = Neighbours::on(if regime.has_neighbours() { &self.given } else { &[] })?;
        *self.neighbours() = neighbours;
        Ok(())
    }

    fn neighbours(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time for which these CPUs have been busy, but not with neighbours.
    fn busy(&self, regime: Regime) -> io::Result<Duration> {
        let cpus = self.of(regime);
        Ok(busy(cpus)?.saturating_sub(self.neighbours().cpu_time(cpus)?))
    }

    fn of(&self, regime: Regime) -> &[usize] {
        match regime {
            Regime::P | Regime::NP => &self.given[..1],
            Regime::Q | Regime::NQ => &self.given,
        }
    }

    pub(super) fn stopwatch(&self, regime: Regime) -> io::Result<Stopwatch<'_>> {
        Ok(Stopwatch {
            cpus: self,
            regime,
            busy: self.busy(regime)?,
            cpu: process_cpu_time(),
            wall: Instant::now(),
        })
    }
}

impl Drop for Cpus {
    fn drop(&mut self) {
        let _ = self.enter(Regime::Q);
    }
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub wall: Duration,
    /// The CPU time of this process, io_uring's kernel workers included: they are threads of it.
    pub cpu: Duration,
    /// The CPU time that these CPUs spent on something else: other programs, or another guest of the host; but not on neighbours.
    pub others: Duration,
    /// Wall time × CPUs.
    pub capacity: Duration,
}

impl Spent {
    /// The same, of a contender that is another process.
    pub(super) fn of(self, apart: Apart) -> Self {
        let Apart { wall, cpu, cpu_behind, cpu_of_clients } = apart;
        let theirs = cpu + cpu_behind.unwrap_or_default() + cpu_of_clients;
        Self { wall, cpu, others: self.others.saturating_sub(theirs), ..self }
    }
}

pub(super) struct Stopwatch<'a> {
    cpus: &'a Cpus,
    regime: Regime,
    busy: Duration,
    cpu: Duration,
    wall: Instant,
}

impl Stopwatch<'_> {
    pub(super) fn stop(self) -> io::Result<Spent> {
        let wall = self.wall.elapsed();
        let cpu = process_cpu_time() - self.cpu;
        let busy = self.cpus.busy(self.regime)?.saturating_sub(self.busy);
        let capacity = wall * self.cpus.of(self.regime).len() as u32;
        Ok(Spent { wall, cpu, others: busy.saturating_sub(cpu), capacity })
    }
}

fn process_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The time for which `cpus` were not idle since the machine was started, time that the host stole included. In ticks of 10 ms:
/// sums over many rounds mean something, a single round means little.
fn busy(cpus: &[usize]) -> io::Result<Duration> {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks = stat.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let cpu = fields.next()?.parse().ok()?;
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in user and nice already.
        let busy = |(i, ticks): (usize, &str)| if i == 3 || i == 4 { Some(0) } else { ticks.parse().ok() };
        cpus.contains(&cpu).then(|| fields.take(8).enumerate().filter_map(busy).sum::<u32>())
    });
    Ok(TICK * ticks.sum::<u32>())
}
