//! Shuttle: all schedules in depth-first order if they end within their share of the budget, else PCT and random ones.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::{Budget, Meaning, Run, run};
use crate::flavour::current;
use crate::flavour::script::Script;
use crate::scenario::Scenario;
use crate::verdict::Verdict;

/// The most scheduling steps that one execution may have.
const MAX_STEPS: usize = 10_000;

/// The depths of PCT: one more than the preemptions that it places in an execution. The deepest miss of this project needs
/// four preemptions.
const PCT_DEPTHS: [usize; 3] = [6, 5, 3];

/// One way to pick schedules, and for how long.
struct Strategy {
    name: String,
    scheduler: Box<dyn Scheduler>,
    budget: Budget,
}

pub(super) fn search<S: Scenario>(scenario: &S, script: &Script, budget: Budget) -> Verdict {
    let seed = budget.seed;
    let share = |share, scheduler, name| Strategy { name, scheduler, budget: budget.part(share) };
    let depth_first = Box::new(DfsScheduler::new(None, false)) as Box<dyn Scheduler>;
    let mut strategies = vec![share(1.0 / 8.0, depth_first, "depth first".into())];
    strategies.extend(PCT_DEPTHS.map(|depth| {
        let pct = PctScheduler::new_from_seed(seed, depth, usize::MAX);
        share(1.0 / 4.0, Box::new(pct), format!("PCT of depth {depth}"))
    }));
    let random = RandomScheduler::new_from_seed(seed, usize::MAX);
    strategies.push(share(1.0 / 8.0, Box::new(random), "random".into()));

    let executions = Arc::new(AtomicU64::new(0));
    let explored = || executions.load(Relaxed);
    let mut bound = Vec::new();
    for (i, Strategy { name, scheduler, budget }) in strategies.into_iter().enumerate() {
        let (before, stopped) = (explored(), Arc::new(AtomicBool::new(false)));
        let found_by = format!("shuttle, memory sc, {name}, seed {seed}");
        let scheduler = Until {
            scheduler: ManuallyDrop::new(scheduler),
            budget,
            start: Instant::now(),
            begun: 0,
            stopped: stopped.clone(),
        };
        match run(current::Runner::Shuttle, scenario, script, &found_by, &executions, |execution| {
            Runner::new(scheduler, config()).run(execution);
        }) {
            Run::Failed(counterexample) => return Verdict::Misses { counterexample, explored: explored() },
            Run::GaveUp(why) => return Verdict::Inconclusive { why },
            Run::Ended if i == 0 && !stopped.load(Relaxed) => {
                return Verdict::Complete { explored: explored() };
            }
            Run::Ended => bound.push(format!("{} {name}", explored() - before)),
        }
    }
    let by = format!("schedules: {}; seed {seed}", bound.join(", "));
    Verdict::Bounded { explored: explored(), by, preemptions: None }
}

/// What shuttle means by a panic in this file of its own.
pub(super) fn meaning(file: &str, message: String) -> Meaning {
    let step_bounds = ["exceeded max_steps bound", "exceeded the step bound"];
    match file {
        "runtime/execution.rs" | "sync/mutex.rs" if message.starts_with("deadlock") => Meaning::Stuck,
        "runtime/execution.rs" if step_bounds.iter().any(|text| message.contains(text)) => {
            Meaning::Limit(format!("an execution has more than {MAX_STEPS} steps (a spin loop?)"))
        }
        // What remains of its runtime's are assertions about itself.
        file if file.starts_with("runtime/") => {
            Meaning::Limit(format!("shuttle fails, in its {file}: {message}"))
        }
        _ => Meaning::Violation(message),
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    config.silence_warnings = true;
    config
}

/// A scheduler that ends with its budget. It is never dropped, because some of them print on that occasion.
struct Until {
    scheduler: ManuallyDrop<Box<dyn Scheduler>>,
    budget: Budget,
    start: Instant,
    begun: u64,
    /// Set if the budget was spent before the schedules were
    stopped: Arc<AtomicBool>,
}

impl Scheduler for Until {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.budget.less(self.begun, self.start).is_spent() {
            self.stopped.store(true, Relaxed);
            return None;
        }
        self.begun += 1;
        self.scheduler.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yielding: bool) -> Option<TaskId> {
        self.scheduler.next_task(runnable, current, yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}
