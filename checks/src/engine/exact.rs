//! The exact engine: every execution of the code that SC, x86-TSO or RC11 allows, each once.

use std::time::Instant;

use reveille_model::code::Failure;
use reveille_model::explore::{self, Failed, Options};
use reveille_model::graphs::{EventId, Graph, Modify, Op as Asked, linearize};
use reveille_model::memory::Memory;

use super::Budget;
use crate::flavour::script::{self, Script};
use crate::flavour::weakened::Followed;
use crate::flavour::{Exact, Weakened, exact};
use crate::scenario::Scenario;
use crate::trace::{Object, Op, Step, Trace, order, stale};
use crate::verdict::{Counterexample, End, Verdict};

/// So many ways down the tree of choices are tried before the search goes depth first: they find most of what is
/// there to be found, and tell about how large the tree is.
const DESCENTS: u64 = 200;

/// So many executions are visited to find one that is easier to read than the first that goes wrong.
const EASIER: u64 = 2_000;

/// Depth first gets this share of the budget; if it does not end within it, the rest goes to random descents.
const DEPTH_FIRST: f64 = 0.7;

pub(super) fn search<S: Scenario>(memory: Memory, scenario: &S, script: &Script, budget: Budget) -> Verdict {
    let start = Instant::now();
    let program = {
        let (scenario, script, mistake) = (scenario.clone(), script.clone(), Followed::here());
        // Each run says anew what it follows: it may be on a thread of the search's own.
        move || {
            mistake.again();
            script::follow(&script);
            exact::begin();
            scenario.run::<Weakened<Exact>>();
        }
    };
    let miss = |failed: Option<Failed>, explored, how: &str| {
        failed.map(|failed| verdict(&failed, memory, scenario, script, explored, how))
    };
    let descend = |descents: u64, seed: u64, budget: Budget| {
        let options = Options { max_time: Some(budget.time), ..Options::default() };
        explore::sample(memory, &options, seed, descents.min(budget.executions), program.clone())
    };

    let first = descend(DESCENTS, budget.seed, budget.part(0.2));
    if let Some(at_random) = &first.failed {
        // Depth first may come by one that is easier to read. On one thread, it comes by the same one each time.
        let options = Options {
            workers: 1,
            max_time: Some(budget.less(first.descents, start).part(0.2).time),
            max_executions: Some(EASIER),
            more_after_failure: EASIER,
            ..Options::default()
        };
        let report = explore::explore(memory, options, program.clone());
        let easier = report.failed.filter(|failed| failed.graph.len < at_random.graph.len);
        let how = if easier.is_some() { "depth first" } else { "at random" };
        let found = miss(easier.or(first.failed), first.until_failure, how);
        return found.expect("there is one");
    }
    let left = budget.less(first.descents, start).part(DEPTH_FIRST);
    let options = Options {
        workers: budget.workers,
        max_time: Some(left.time),
        max_executions: Some(left.executions),
        more_after_failure: EASIER,
        ..Options::default()
    };
    let report = explore::explore(memory, options, program.clone());
    let explored = report.executions;
    if let Some(found) = miss(report.failed, report.until_failure, "depth first") {
        return found;
    }
    if report.complete {
        return Verdict::Complete { explored };
    }
    let left = budget.less(first.descents + explored, start);
    let rest = descend(u64::MAX, budget.seed + 1, left);
    let descents = first.descents + rest.descents;
    if let Some(found) = miss(rest.failed, explored + first.descents + rest.until_failure, "at random") {
        return found;
    }
    // The estimate from more descents is the better one.
    let estimate = if rest.descents > first.descents { rest.estimate } else { first.estimate };
    let by = format!("{explored} executions depth first and {descents} at random, of {estimate}");
    Verdict::Bounded { explored: explored + descents, by, preemptions: None }
}

/// An execution that went wrong, as a verdict.
fn verdict<S: Scenario>(
    failed: &Failed,
    memory: Memory,
    scenario: &S,
    script: &Script,
    explored: u64,
    how: &str,
) -> Verdict {
    if let Failure::Limit(limit) = &failed.failure {
        return Verdict::Inconclusive { why: limit.to_string() };
    }
    let trace = trace(failed, scenario.main_thread());
    let end = match &failed.failure {
        Failure::Stuck => End::Stuck(scenario.owed(&trace)),
        Failure::Panic { message, .. } => End::Violation(message.clone()),
        failure => End::Violation(failure.to_string()),
    };
    let counterexample = Counterexample {
        scenario: scenario.name(),
        legend: scenario.legend().into(),
        found_by: format!("the exact engine, memory {memory}, {how}, {script}"),
        end,
        trace,
    };
    Verdict::Misses { counterexample, explored }
}

/// The rows of an execution graph.
fn trace(failed: &Failed, main: &'static str) -> Trace {
    let graph = &failed.graph;
    let mut labels: Vec<String> = Vec::new();
    for name in &failed.names {
        let same = labels.iter().filter(|label| label.split('#').next() == Some(name.label)).count();
        labels.push(if same == 0 { name.label.to_owned() } else { format!("{}#{}", name.label, same + 1) });
    }
    let objects = labels.into_iter().enumerate().map(|(number, label)| {
        let newest = match graph.locations.get(number) {
            Some(_) => graph.value(number as u32, graph.newest(number as u32)) as usize,
            None => 0,
        };
        Object { label: label.into(), newest }
    });
    let objects = objects.collect();
    let threads = failed.threads.iter().enumerate().map(|(number, &name)| match number {
        0 => main.into(),
        _ => name.into(),
    });
    let threads = threads.collect();
    let mut newest: Vec<u64> = graph.locations.iter().map(|location| location.initial).collect();
    // A lock is a word that is waited for to be set, a parker's token one that is waited for to be taken.
    let waited_for_by = |modify: Modify| {
        let waits = move |id: &EventId| matches!(graph.event(*id).op, Asked::Rmw { until: Some(_), modify: by, .. } if by == modify);
        graph.locations.iter().map(|location| location.reads.iter().any(waits)).collect::<Vec<bool>>()
    };
    let roles = Roles { locks: waited_for_by(Modify::Swap(1)), tokens: waited_for_by(Modify::Swap(0)) };
    let mut steps = Vec::new();
    for id in linearize(graph) {
        for &(_, remark) in failed.notes.iter().filter(|(before, _)| *before == id) {
            steps.push(Step { thread: id.thread(), op: exact::remarked(remark), source: String::new() });
        }
        if let Some(op) = row(graph, id, &mut newest, &roles, &failed.threads) {
            let source = graph.event(id).source;
            let file = source.file().rsplit('/').next().unwrap_or_default();
            let source = match file {
                "exact.rs" | "weakened.rs" | "code.rs" => String::new(),
                file => format!("{file}:{}", source.line()),
            };
            steps.push(Step { thread: id.thread(), op, source });
        }
    }
    Trace { threads, objects, steps }
}

/// Which locations are more than words.
struct Roles {
    locks: Vec<bool>,
    tokens: Vec<bool>,
}

fn row(
    graph: &Graph,
    id: EventId,
    newest: &mut [u64],
    roles: &Roles,
    threads: &[&'static str],
) -> Option<Op> {
    let event = graph.event(id);
    let object = event.op.location().unwrap_or(0) as usize;
    Some(match event.op {
        Asked::Load { order: by, .. } => {
            let (read, now) = (event.read as usize, newest[object] as usize);
            Op::Load { object, order: order(by), read, stale: stale(now, read) }
        }
        Asked::Store { .. } if roles.locks[object] => Op::Unlock { object },
        Asked::Store { order: by, value, .. } => {
            newest[object] = value;
            Op::Store { object, order: order(by), wrote: value as usize }
        }
        Asked::Rmw { until: Some(_), modify, .. } => {
            if event.writes {
                newest[object] = event.wrote;
            }
            match (modify, event.blocked) {
                (Modify::Swap(1), false) => Op::Lock { object },
                (Modify::Swap(1), true) => Op::Await { object },
                (_, true) => Op::Park { object },
                (_, false) => Op::Woken { object, early: false },
            }
        }
        Asked::Rmw { .. } if roles.tokens[object] => Op::Unpark { object },
        Asked::Rmw { .. } => {
            let (read, now) = (event.read as usize, newest[object] as usize);
            let wrote = event.writes.then_some(event.wrote as usize);
            if event.writes {
                newest[object] = event.wrote;
            }
            Op::Rmw { object, order: order(event.order()), read, wrote, stale: stale(now, read) }
        }
        Asked::Fence { order: by } => Op::Fence { order: order(by) },
        Asked::Spawn => {
            Op::Spawn { name: threads.get(event.read as usize).copied().unwrap_or_default().into() }
        }
        Asked::CellRead { .. } => Op::Read { object },
        Asked::CellWrite { .. } => Op::Write { object },
        Asked::Choose { .. } => Op::Choice { taken: event.read != 0 },
        Asked::End => Op::End,
        Asked::Join { .. } => return None,
    })
}
