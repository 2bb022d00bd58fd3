//! Loom, with a rising preemption bound: what is found first has the fewest preemptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use loom::model::Builder;

use super::{Budget, Engine, Meaning, Run, run};
use crate::flavour::current::Runner;
use crate::flavour::script::Script;
use crate::scenario::Scenario;
use crate::verdict::Verdict;

/// The most thread switches that one execution may have.
const MAX_BRANCHES: usize = 10_000;

pub(super) fn search<S: Scenario>(engine: Engine, scenario: &S, script: &Script, budget: Budget) -> Verdict {
    let start = Instant::now();
    let executions = Arc::new(AtomicU64::new(0));
    let explored = || executions.load(Relaxed);
    let mut ended: Option<(usize, u64)> = None; // the last bound whose search ended, and its executions
    // Bounds 0, 1, 2, … and, once a higher bound has found no execution more, none at all.
    let mut next = Some(0);
    loop {
        let before = explored();
        match bounded(engine, scenario, script, next, budget.less(before, start), &executions) {
            Run::Failed(counterexample) => return Verdict::Misses { counterexample, explored: explored() },
            Run::GaveUp(why) => return Verdict::Inconclusive { why },
            Run::Ended if budget.less(explored(), start).is_spent() => {
                let by = match ended {
                    Some((bound, _)) => format!("at most {bound} preemptions"),
                    None => "not even 0 preemptions searched to the end".into(),
                };
                let preemptions = ended.map(|(bound, _)| bound);
                return Verdict::Bounded { explored: explored(), by, preemptions };
            }
            Run::Ended => {}
        }
        let Some(bound) = next else { return Verdict::Complete { explored: explored() } };
        let count = explored() - before;
        // A bound that adds no execution says that no execution has more preemptions. The search without bound then
        // makes sure.
        next = match ended {
            Some((_, previous)) if previous == count => None,
            _ => Some(bound + 1),
        };
        ended = Some((bound, count));
    }
}

/// Every execution that has at most so many preemptions, if they are bounded, until the budget is spent.
pub(crate) fn bounded<S: Scenario>(
    engine: Engine,
    scenario: &S,
    script: &Script,
    preemptions: Option<usize>,
    budget: Budget,
    executions: &Arc<AtomicU64>,
) -> Run {
    let bound = preemptions.map_or("no preemption bound".into(), |bound| format!("preemption bound {bound}"));
    let found_by = format!("loom, memory {}, {bound}", engine.memory());
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = MAX_BRANCHES;
    // Loom looks at these before each execution, its number among them, and ends without a word. Who calls this counts.
    builder.max_duration = Some(budget.time);
    builder.max_permutations = usize::try_from(budget.executions).ok().and_then(|most| most.checked_add(1));
    builder.checkpoint_interval = 1;
    builder.checkpoint_file = None;
    let check = |execution: Box<dyn Fn() + Send + Sync>| builder.check(execution);
    let runner = if engine == Engine::LoomSc { Runner::SequentialLoom } else { Runner::Loom };
    run(runner, scenario, script, &found_by, executions, check)
}

/// What loom means by a panic in this file of its own.
pub(super) fn meaning(file: &str, message: String) -> Meaning {
    match file {
        "rt/execution.rs" if message.starts_with("deadlock") => Meaning::Stuck,
        "rt/path.rs" if message.contains("exceeded maximum number of branches") => {
            Meaning::Limit(format!("an execution has more than {MAX_BRANCHES} branches (a spin loop?)"))
        }
        "rt/thread.rs" | "rt/scheduler.rs" if message.contains("threads.len()") => {
            Meaning::Limit(format!("loom has at most {} threads, main among them", loom::MAX_THREADS))
        }
        "rt/path.rs" if message.contains("fully deterministic") => Meaning::Limit(
            "the code is not deterministic: a repeated execution asks loom for other things than before"
                .into(),
        ),
        // The path and the table of objects hold what loom knows of an execution, and nothing of the
        // program's.
        "rt/path.rs" | "rt/object.rs" => Meaning::Limit(format!("loom fails, in its {file}: {message}")),
        // A race, a leak, a cell that is used while it is in use.
        _ => Meaning::Violation(message),
    }
}
