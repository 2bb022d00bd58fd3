//! Shuttle: all schedules in depth-first order if they end within a third of the time, else PCT and random ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::{Budget, Run, run};
use crate::flavour::Shuttle;
use crate::flavour::script::Script;
use crate::scenario::Scenario;
use crate::verdict::Verdict;

/// The most scheduling steps that one execution may have.
const MAX_STEPS: usize = 10_000;

/// The number of preemptions that PCT aims at.
const PCT_DEPTH: usize = 3;

pub(super) fn search<S: Scenario>(scenario: &S, script: &Script, budget: Budget) -> Verdict {
    let executions = Arc::new(AtomicU64::new(0));
    let explored = || executions.load(Relaxed);
    let share = budget.time / 3;
    let seed = budget.seed;

    let start = Instant::now();
    let dfs = DfsScheduler::new(None, false);
    let found_by = "shuttle, memory sc, depth first";
    match run::<Shuttle, S>(scenario, script, found_by, &executions, runner(dfs, share)) {
        Run::Failed(counterexample) => return Verdict::Misses { counterexample, explored: explored() },
        Run::GaveUp(why) => return Verdict::Inconclusive { why },
        Run::Ended if start.elapsed() < share => return Verdict::Complete { explored: explored() },
        Run::Ended => {}
    }
    let depth_first = explored();

    let found_by = format!("shuttle, memory sc, PCT of depth {PCT_DEPTH}, seed {seed}");
    let pct = PctScheduler::new_from_seed(seed, PCT_DEPTH, usize::MAX);
    match run::<Shuttle, S>(scenario, script, &found_by, &executions, runner(pct, share)) {
        Run::Failed(counterexample) => return Verdict::Misses { counterexample, explored: explored() },
        Run::GaveUp(why) => return Verdict::Inconclusive { why },
        Run::Ended => {}
    }
    let pct = explored() - depth_first;

    let found_by = format!("shuttle, memory sc, random, seed {seed}");
    let random = RandomScheduler::new_from_seed(seed, usize::MAX);
    match run::<Shuttle, S>(scenario, script, &found_by, &executions, runner(random, share)) {
        Run::Failed(counterexample) => return Verdict::Misses { counterexample, explored: explored() },
        Run::GaveUp(why) => return Verdict::Inconclusive { why },
        Run::Ended => {}
    }
    let random = explored() - depth_first - pct;
    Verdict::Bounded {
        explored: explored(),
        by: format!(
            "{depth_first} schedules depth first, {pct} by PCT of depth {PCT_DEPTH}, {random} random, seed {seed}"
        ),
    }
}

fn runner(scheduler: impl Scheduler + 'static, time: Duration) -> impl FnOnce(Box<dyn Fn() + Send + Sync>) {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.max_time = Some(time);
    config.silence_warnings = true;
    move |execution| {
        Runner::new(scheduler, config).run(execution);
    }
}
