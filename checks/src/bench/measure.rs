//! Measuring: round after round, each contender once in each.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::machine::{Cpus, Spent};
use super::row::{Row, row};
use super::{Counts, Error, Line, Make, Name, Regime};
use crate::flavour::timed::{self, Watched};

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

/// One run of one contender.
pub(super) struct Sample {
    pub counts: Counts,
    pub spent: Spent,
    pub watched: Watched,
}

impl Sample {
    pub fn ops_per_s(&self) -> f64 {
        self.counts.completed as f64 / self.spent.wall.as_secs_f64()
    }

    pub fn per_op(&self, n: u64) -> f64 {
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
                let spent = stopwatch.stop()?;
                let spent = counts.apart.map_or(spent, |apart| spent.of(apart));
                Ok(Sample { counts, spent, watched: timed::take() })
            };
            let _ = result.send(sample());
        }
    })?;
    let sample = match done.recv_timeout(2 * time + line.patience) {
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
