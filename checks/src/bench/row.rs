//! What comes of measuring: the rows of the table.

use std::time::Duration;

use serde::Serialize;

use super::machine::Spent;
use super::measure::Sample;
use super::{BASELINE, Counts, Latency, Line, Name, Regime};

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
    /// CPU time of the contender's process in nanoseconds: the median of the rounds.
    pub cpu_ns_per_op: f64,
    /// The same of what works behind a server.
    pub cpu_behind_ns_per_op: Option<f64>,
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
    /// Of the CPU time, the part in which the kernel spun for a lock.
    pub spinning: Option<f64>,
    /// The part in which it told an epoll that something is ready.
    pub polling: Option<f64>,
    /// The part in which it woke threads.
    pub waking: Option<f64>,
    /// How long an operation takes, in microseconds: half of them no longer than this. The median of the rounds.
    pub p50_us: Option<f64>,
    /// 99 of a hundred.
    pub p99_us: Option<f64>,
    /// 999 of a thousand.
    pub p999_us: Option<f64>,
    /// Memory of the process in bytes.
    pub memory_per_op: Option<f64>,
    /// Speed over the [`BASELINE`]'s: the median of the ratios within each round.
    pub ratio: Option<f64>,
    /// How many rounds.
    pub rounds: usize,
    /// The share of the CPUs that something else took meanwhile.
    pub others: f64,
}

pub(super) fn row(
    bench: Name,
    lines: &[Line],
    i: usize,
    samples: &[Vec<(Sample, Option<Sample>)>],
    regime: Regime,
) -> Row {
    let line = &lines[i];
    let ops = || samples[i].iter().map(|(sample, _)| sample.ops_per_s());
    let watched = |rate: &dyn Fn(&Sample) -> Option<f64>| {
        median(samples[i].iter().filter_map(|(_, sample)| rate(sample.as_ref()?)))
    };
    // Nobody counts what happens inside of another process.
    let timed = |rate: &dyn Fn(&Sample) -> f64| {
        watched(&|sample| sample.counts.apart.is_none().then(|| rate(sample)))
    };
    let counted = |count: fn(&Counts) -> Option<u64>| {
        median(samples[i].iter().filter_map(|(sample, _)| Some(sample.per_op(count(&sample.counts)?))))
    };
    let latency = |of: fn(&Latency) -> Duration| {
        let latencies = samples[i].iter().filter_map(|(sample, _)| sample.counts.latency);
        median(latencies.map(|latency| of(&latency).as_secs_f64() * 1e6))
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
        cpu_behind_ns_per_op: counted(|counts| Some(counts.apart?.cpu_behind?.as_nanos() as u64)),
        wakes_per_op: counted(|counts| counts.wakes)
            .or_else(|| timed(&|sample| sample.per_op(sample.watched.sent))),
        skipped_per_op: counted(|counts| counts.skipped)
            .or_else(|| timed(&|sample| sample.per_op(sample.watched.skipped))),
        worker_wakes_per_op: counted(|counts| counts.worker_wakes),
        syscalls_per_op: counted(|counts| counts.syscalls)
            .or_else(|| watched(&|sample| Some(sample.per_op(sample.counts.syscalls?)))),
        spinning: watched(&|sample| Some(sample.counts.profile?.spinning)),
        polling: watched(&|sample| Some(sample.counts.profile?.polling)),
        waking: watched(&|sample| Some(sample.counts.profile?.waking)),
        lock_waits_per_op: timed(&|sample| sample.per_op(sample.watched.lock_waits)),
        lock_wait_share: timed(&|sample| {
            let waited = sample.watched.lock_wait;
            waited.div_duration_f64(waited + sample.spent.cpu)
        }),
        p50_us: latency(|latency| latency.p50),
        p99_us: latency(|latency| latency.p99),
        p999_us: latency(|latency| latency.p999),
        memory_per_op: counted(|counts| counts.memory),
        ratio,
        rounds: samples[i].len(),
        others: sum(|spent| spent.others).div_duration_f64(sum(|spent| spent.capacity)),
    }
}

/// Of an even number the mean of the middle two; `None` of none.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// What the rows say to a user, a line for each case and regime: how our own contender compares to the best of the others.
pub fn conclusions(bench: Name, rows: &[Row]) -> Vec<String> {
    let mut groups: Vec<(Option<&str>, Regime)> = rows.iter().map(|row| (row.case, row.regime)).collect();
    groups.sort_by_key(|&(case, regime)| (case, regime.name()));
    groups.dedup();
    let conclusion = |(case, regime): (Option<&str>, Regime)| {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.case == case && row.regime == regime).collect();
        let mut compared: Vec<_> = rows
            .iter()
            .filter(|row| row.contender == bench.ours())
            .filter_map(|ours| {
                let others = rows.iter().filter(|row| {
                    (row.depth, row.workers) == (ours.depth, ours.workers)
                        && !row.contender.starts_with(bench.ours())
                });
                let best = others.max_by(|a, b| a.merit().total_cmp(&b.merit()))?;
                Some((ours.merit() / best.merit(), best.contender, ours))
            })
            .collect();
        compared.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (least, most) = (compared.first()?, compared.last()?);
        let at = |row: &Row| match row.workers {
            Some(workers) if rows.iter().any(|other| other.workers != row.workers) => {
                format!("{workers} workers")
            }
            _ => format!("depth {}", row.depth),
        };
        let case = case.map_or(String::new(), |case| format!("{case}, "));
        let what = if least.2.memory_per_op.is_some() {
            "memory: the best other's over ours"
        } else if least.2.is_of_latency() {
            "p99: the best other's over ours"
        } else {
            "speed: ours over the best other's"
        };
        let mut line =
            format!("{case}{}: {what} is {:.2} ({} at {})", regime.name(), least.0, least.1, at(least.2));
        if compared.len() > 1 {
            line += &format!(" to {:.2} ({} at {})", most.0, most.1, at(most.2));
        }
        let behind = compared.iter().filter(|(ratio, ..)| *ratio < 0.95).count();
        line += &match behind {
            0 if least.0 > 1.05 => format!("; {} is ahead throughout", bench.ours()),
            0 => format!("; {} is nowhere behind by more than 5 %", bench.ours()),
            _ => format!("; {} is BEHIND in {behind} of {}", bench.ours(), compared.len()),
        };
        Some(line)
    };
    groups.into_iter().filter_map(conclusion).collect()
}

impl Row {
    /// The more the better: what this bench is about.
    fn merit(&self) -> f64 {
        match (self.memory_per_op, self.p99_us) {
            (Some(bytes), _) => 1.0 / bytes.max(1.0),
            (_, Some(p99)) if self.is_of_latency() => 1.0 / p99,
            _ => self.ops_per_s,
        }
    }

    fn is_of_latency(&self) -> bool {
        self.bench == Name::Latency.name()
    }
}
