//! The exact engine: every execution of the code that SC, x86-TSO or RC11 allows, each once.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use reveille_model::code::{Failure, Kind, Limit, Limits};
use reveille_model::explore::{self, Difference, Failed, Options};
use reveille_model::graphs::cycle::{Relation, cycle};
use reveille_model::graphs::{EventId, Graph, Modify, Op as Asked, Record, linearize};
use reveille_model::memory::Memory;

use super::{Budget, Engine, ReplayError, Replayed};
use crate::flavour::current::{self, Runner};
use crate::flavour::script::{self, Script};
use crate::flavour::weakened::Followed;
use crate::flavour::{Checked, exact};
use crate::scenario::Scenario;
use crate::trace::{Form, Object, Op, Step, Trace, order, source, stale};
use crate::verdict::{Counterexample, End, Link, Then, Verdict, Why};

/// So many executions are visited depth first, on one thread, before anything else: many scenarios have no more, and what goes wrong
/// among them is the same each time.
const FIRST: u64 = 1_000;

/// So many ways down the tree of choices are tried before the search goes depth first to the end: they find most of what is
/// there to be found, and tell about how large the tree is.
const DESCENTS: u64 = 400;

/// Depth first gets this share of the budget; if it does not end within it, the rest goes to random descents.
const DEPTH_FIRST: f64 = 0.7;

pub(super) fn search<S: Scenario>(memory: Memory, scenario: &S, script: &Script, budget: Budget) -> Verdict {
    let start = Instant::now();
    let program = program(scenario, script);
    let miss = |failed: Option<Failed>, explored, how: &str| {
        failed.map(|failed| verdict(&failed, memory, scenario, script, explored, how))
    };
    let descend = |descents: u64, seed: u64, budget: Budget| {
        let options =
            Options { max_time: Some(budget.time), more_after_failure: budget.easier, ..Options::default() };
        explore::sample(memory, &options, seed, descents.min(budget.executions), program.clone())
    };

    let depth_first = |workers: usize, executions: u64, budget: Budget| {
        let options = Options {
            workers,
            max_time: Some(budget.time),
            max_executions: Some(executions.min(budget.executions)),
            more_after_failure: budget.easier,
            ..Options::default()
        };
        explore::explore(memory, options, program.clone())
    };

    let beginning = depth_first(1, FIRST, budget.part(0.2));
    if beginning.complete || beginning.failed.is_some() {
        let found = miss(beginning.failed, beginning.until_failure, "depth first");
        return found.unwrap_or(Verdict::Complete { explored: beginning.executions });
    }
    let mut explored = beginning.executions;
    let left = budget.less(explored, start);
    let first = descend(DESCENTS, budget.seed, left.part(0.2));
    if let Some(found) = miss(first.failed, explored + first.until_failure, "at random") {
        return found;
    }
    explored += first.descents;
    let left = budget.less(explored, start).part(DEPTH_FIRST);
    let report = depth_first(budget.workers, u64::MAX, left);
    if report.complete {
        return Verdict::Complete { explored: report.executions };
    }
    if let Some(found) = miss(report.failed, explored + report.until_failure, "depth first") {
        return found;
    }
    explored += report.executions;
    let rest = descend(u64::MAX, budget.seed + 1, budget.less(explored, start));
    if let Some(found) = miss(rest.failed, explored + rest.until_failure, "at random") {
        return found;
    }
    let depth_first = report.executions.max(beginning.executions);
    let descents = first.descents + rest.descents;
    // The estimate from more descents is the better one.
    let estimate = if rest.descents > first.descents { rest.estimate } else { first.estimate };
    let by = format!("{depth_first} executions depth first and {descents} at random, of {estimate}");
    Verdict::Bounded { explored: depth_first + descents, by, preemptions: None }
}

/// What is run for an execution.
fn program<S: Scenario>(scenario: &S, script: &Script) -> impl Fn() + Clone + Send + Sync + use<S> {
    let (scenario, script, mistake) = (scenario.clone(), script.clone(), Followed::here());
    // Each run says anew what it follows: it may be on a thread of the search's own.
    move || {
        mistake.again();
        script::follow(&script);
        exact::begin();
        current::run_on(Runner::Exact);
        scenario.run::<Checked>();
    }
}

/// The text of an execution: a sum over the name of its scenario, the number of its script, and the model's
/// own record.
fn record<S: Scenario>(failed: &Failed, scenario: &S, script: &Script) -> Option<String> {
    let script = scenario.scripts().iter().position(|known| known == script)?;
    Some(format!("{}.{script}.{}", sum(&scenario.name()), failed.record()))
}

/// FNV-1a, of 32 bits.
fn sum(name: &str) -> String {
    let add = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("{:08x}", name.bytes().fold(0x811c_9dc5, add))
}

/// The script and the model's record in the text of an execution of this scenario.
fn parsed<S: Scenario>(scenario: &S, text: &str) -> Result<(Script, Record), ReplayError> {
    let malformed = || ReplayError::Malformed(text.to_owned());
    // A terminal may have broken it into lines, and none of its own parts is a space.
    let text: String = text.split_whitespace().collect();
    let [whose, script, record] =
        text.splitn(3, '.').collect::<Vec<_>>().try_into().map_err(|_| malformed())?;
    let script: usize = script.parse().map_err(|_| malformed())?;
    let record: Record = record.parse().map_err(|_| malformed())?;
    let name = scenario.name();
    let script = scenario.scripts().get(script).filter(|_| whose == sum(&name)).cloned();
    Ok((script.ok_or(ReplayError::Elsewhere(name))?, record))
}

/// See [`super::replay`].
pub(super) fn replay<S: Scenario>(scenario: &S, text: &str) -> Result<(Engine, Counterexample), ReplayError> {
    let (script, record) = parsed(scenario, text)?;
    let memory = record.memory;
    let failed = explore::replay(Limits::default(), &record.to_string(), program(scenario, &script))
        .map_err(|error| ReplayError::Refused(scenario.name(), error))?;
    let engine = Engine::ALL.into_iter().find(|engine| engine.of_the_exact_engine() == Some(memory));
    Ok((
        engine.expect("there is one for each"),
        counterexample(&failed, memory, scenario, &script, "made again"),
    ))
}

/// See [`super::follow`].
pub(super) fn follow<S: Scenario>(scenario: &S, text: &str) -> Result<Replayed, ReplayError> {
    let (script, record) = parsed(scenario, text)?;
    let memory = record.memory;
    let followed = explore::follow(Limits::default(), &record.to_string(), program(scenario, &script))
        .map_err(|error| ReplayError::Refused(scenario.name(), error))?;
    Ok(match (followed.failed, followed.difference) {
        (Some(failed), _) => {
            Replayed::Loses(Box::new(counterexample(&failed, memory, scenario, &script, "made again")))
        }
        (None, None | Some(Difference::Others | Difference::GoesOn)) => Replayed::Passes,
        (None, Some(difference)) => Replayed::Diverged { at: difference.to_string() },
    })
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
    match &failed.failure {
        Failure::Limit(limit @ Limit::Events { .. }) => {
            let why = format!("{limit}; if that loop waits, write it as a `spin_until`, which is one");
            return Verdict::Inconclusive { why };
        }
        Failure::Limit(limit) => return Verdict::Inconclusive { why: limit.to_string() },
        _ => {}
    }
    let counterexample = counterexample(failed, memory, scenario, script, how);
    Verdict::Misses { counterexample, explored }
}

fn counterexample<S: Scenario>(
    failed: &Failed,
    memory: Memory,
    scenario: &S,
    script: &Script,
    how: &str,
) -> Counterexample {
    let forms = forms(failed);
    let (mut trace, rows) = trace(failed, scenario.main_thread(), &forms);
    trace.name_values(&forms, |label, value| scenario.value_name(label, value));
    let end = match &failed.failure {
        Failure::Stuck => End::Stuck(scenario.owed(&trace)),
        Failure::Panic { message, .. } => End::Violation(message.clone()),
        failure => End::Violation(failure.to_string()),
    };
    Counterexample {
        scenario: scenario.name(),
        legend: scenario.legend().into(),
        found_by: format!("the exact engine, memory {memory}, {how}, {script}"),
        end,
        trace,
        why: why(cycle(&failed.graph), &rows),
        record: record(failed, scenario, script),
    }
}

/// What made an execution possible, in rows.
fn why(cycle: Option<Vec<(EventId, Relation)>>, rows: &HashMap<EventId, usize>) -> Why {
    let Some(cycle) = cycle else { return Why::Interleaving };
    let link = |(id, relation): (EventId, Relation)| Link {
        row: rows[&id],
        then: match relation {
            Relation::ProgramOrder => Then::ProgramOrder,
            Relation::StartOrJoin => Then::StartOrJoin,
            Relation::ReadsFrom => Then::ReadsFrom,
            Relation::Coherence => Then::Coherence,
            Relation::FromRead => Then::FromRead,
        },
    };
    Why::Cycle(cycle.into_iter().map(link).collect())
}

/// The labels of the objects, by number. Of several with the same label the second to be used is called
/// `label#2`, and so on: an order that the execution has, whatever was searched before.
fn labels(failed: &Failed, order: &[EventId]) -> Vec<String> {
    let used = order.iter().filter_map(|&id| failed.graph.event(id).op.location());
    let mut labels: Vec<Option<String>> = vec![None; failed.names.len()];
    let mut times: HashMap<&str, usize> = HashMap::new();
    for number in used.map(|number| number as usize).chain(0..failed.names.len()) {
        if labels[number].is_none() {
            let label = failed.names[number].label;
            let nth = times.entry(label).and_modify(|nth| *nth += 1).or_insert(1);
            labels[number] = Some(if *nth == 1 { label.to_owned() } else { format!("{label}#{nth}") });
        }
    }
    labels.into_iter().flatten().collect()
}

/// What the objects hold, by number.
fn forms(failed: &Failed) -> Vec<Form> {
    let mut forms = vec![Form::default(); failed.names.len()];
    for &(_, remark) in &failed.notes {
        if let Some((number, bits)) = exact::packed(remark) {
            forms[number].bits = bits;
        }
    }
    for event in failed.graph.threads.iter().flat_map(|thread| &thread.events) {
        if let Asked::Rmw { location, modify: Modify::And(_) | Modify::Or(_) | Modify::Xor(_), .. } = event.op
        {
            forms[location as usize].is_mask = true;
        }
    }
    forms
}

/// The rows of an execution graph, and which of them each event is.
fn trace(failed: &Failed, main: &'static str, forms: &[Form]) -> (Trace, HashMap<EventId, usize>) {
    let graph = &failed.graph;
    let order = linearize(graph);
    let labels = labels(failed, &order);
    let objects = labels.into_iter().enumerate().map(|(number, label)| {
        let newest = match graph.locations.get(number) {
            Some(_) => graph.value(number as u32, graph.newest(number as u32)) as usize,
            None => 0,
        };
        Object { label: label.into(), newest: forms[number].unpacked(newest), names: BTreeMap::new() }
    });
    let objects = objects.collect();
    let threads = failed.threads.iter().enumerate().map(|(number, &name)| match number {
        0 => main.into(),
        _ => name.into(),
    });
    let threads = threads.collect();
    let mut newest: Vec<u64> = graph.locations.iter().map(|location| location.initial).collect();
    let kinds: Vec<Kind> = failed.names.iter().map(|name| name.kind).collect();
    let mut steps = Vec::new();
    let mut rows = HashMap::new();
    for id in order {
        let (timed, remarks): (Vec<_>, Vec<_>) = failed
            .notes
            .iter()
            .filter(|(before, _)| *before == id)
            .map(|&(_, remark)| remark)
            .filter(|&remark| exact::packed(remark).is_none())
            .partition(|&remark| exact::is_timed(remark));
        for remark in remarks {
            steps.push(Step { thread: id.thread(), op: exact::remarked(remark), source: String::new() });
        }
        if let Some(mut op) = row(graph, id, &mut newest, &kinds, &failed.threads) {
            if let Op::Park { timed: is_timed, .. } = &mut op {
                *is_timed = !timed.is_empty();
            }
            if let Some((object, values)) = op.values() {
                values.into_iter().flatten().for_each(|value| *value = forms[object].unpacked(*value));
            }
            rows.insert(id, steps.len());
            steps.push(Step { thread: id.thread(), op, source: source(graph.event(id).source) });
        }
    }
    for &(thread, first) in &failed.circles {
        let source = source(graph.event(EventId::new(thread, first)).source);
        steps.push(Step { thread, op: Op::Spin, source });
    }
    (Trace { threads, objects, steps }, rows)
}

fn row(
    graph: &Graph,
    id: EventId,
    newest: &mut [u64],
    kinds: &[Kind],
    threads: &[&'static str],
) -> Option<Op> {
    let event = graph.event(id);
    let object = event.op.location().unwrap_or(0) as usize;
    Some(match event.op {
        Asked::Load { order: by, .. } => {
            let (read, now) = (event.read as usize, newest[object] as usize);
            Op::Load { object, order: order(by), read, stale: stale(now, read) }
        }
        Asked::Store { .. } if kinds[object] == Kind::Lock => Op::Unlock { object },
        Asked::Store { order: by, value, .. } => {
            newest[object] = value;
            Op::Store { object, order: order(by), wrote: value as usize }
        }
        Asked::Rmw { until: Some(_), .. } => {
            if event.writes {
                newest[object] = event.wrote;
            }
            match (kinds[object], event.blocked) {
                (Kind::Lock, false) => Op::Lock { object },
                (Kind::Lock, true) => Op::Await { object },
                (_, true) => Op::Park { object, timed: false },
                (_, false) => Op::Woken { object, early: false },
            }
        }
        Asked::Rmw { .. } if kinds[object] == Kind::Token => Op::Unpark { object },
        Asked::Rmw { .. } if kinds[object] == Kind::Lock && event.writes => Op::Lock { object },
        Asked::Rmw { .. } if kinds[object] == Kind::Lock => Op::NotLocked { object },
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
        // Only a weak exchange has a choice.
        Asked::Choose { .. } if event.read == 0 => return None,
        Asked::Choose { .. } => Op::WeakFailure,
        Asked::End => Op::End,
        Asked::Join { .. } => return None,
    })
}
