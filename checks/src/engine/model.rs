//! The formal model: all states of the protocol's program, under SC, x86-TSO or RC11.

use std::sync::atomic::Ordering;
use std::time::Instant;

use reveille_model::memory::{Memory, Value};
use reveille_model::program::{Kind, Ordered, Weakening};
use reveille_model::protocol::completion::{self, CompletionQueue};
use reveille_model::protocol::poll_wake::necessity::CHEAPEST_FIRST;
use reveille_model::protocol::poll_wake::{Consumer, Gate, PollWake, Size};
use reveille_model::protocol::{poll_wake, pool};
use reveille_model::search::{self, Bound, Options, Step, Violation};

use super::Budget;
use crate::trace::{self, Object, Op, Trace};
use crate::verdict::{ALL_STATES, Counterexample, End, Verdict, Why};

/// How many states take about as long as an execution of the code: a budget of executions allows so many states for each.
pub(crate) const STATES: u64 = 20;

/// Searches the program of a gate with a consumer, which the model knows by the same names.
pub(crate) fn search(gate: &str, consumer: &str, legend: &str, memory: Memory, budget: Budget) -> Verdict {
    let (Ok(gate), Ok(consumer)) = (gate.parse::<Gate>(), consumer.parse::<Consumer>()) else {
        return Verdict::Skipped { why: "the model has no program for this".into() };
    };
    let options = within(budget, 0, Instant::now());
    let report = PollWake::new(gate, consumer, Size::of(consumer), None)
        .and_then(|protocol| protocol.check(memory, options));
    match report {
        Ok(report) => verdict(report, format!("{gate} × {consumer}"), legend, memory, 0),
        Err(error) => Verdict::Inconclusive { why: error.to_string() },
    }
}

/// The bounds of a search after so many states of others, begun at `start`.
fn within(budget: Budget, states: u64, start: Instant) -> Options {
    let max_states = budget.executions.saturating_mul(STATES).saturating_sub(states);
    Options {
        max_states: Some(usize::try_from(max_states).unwrap_or(usize::MAX)),
        max_time: Some(budget.less(0, start).time),
        ..Options::default()
    }
}

/// What a report of the model's search says, after so many states of other searches.
fn verdict(report: search::Report, scenario: String, legend: &str, memory: Memory, before: u64) -> Verdict {
    let explored = before + report.states as u64;
    match report.verdict {
        search::Verdict::Complete => Verdict::Complete { explored },
        search::Verdict::Bounded(bound) => {
            let by = match bound {
                Bound::States(most) => format!("{most} states"),
                Bound::Time(most) => format!("{:.1} s", most.as_secs_f64()),
            };
            Verdict::Bounded { explored, by, preemptions: None }
        }
        search::Verdict::Violated(found) => {
            let end = match found.violation {
                Violation::Owed(ref debts) => End::Stuck(Some(debts.join("; "))),
                Violation::OwedForEver { ref debts, .. } => End::Stuck(Some(debts.join("; "))),
                Violation::Deadlock => End::Stuck(None),
                Violation::Claim { ref thread, ref claim } => End::Violation(format!("{thread}: {claim}")),
            };
            let counterexample = Counterexample {
                scenario,
                legend: legend.into(),
                found_by: format!("the model, memory {memory}: one of the shortest executions that lose"),
                end,
                trace: as_trace(&found),
                why: Why::Unknown,
                record: None,
            };
            Verdict::Misses { counterexample, explored }
        }
    }
}

/// A program of the model that does what code of the library does.
pub(crate) enum Twin {
    PollWake(Consumer, PollWake),
    CompletionQueue(CompletionQueue),
}

impl Twin {
    /// Those of the gate of production, one for each consumer, those with few states first.
    pub(crate) fn of_the_gate() -> Vec<Self> {
        let program = |consumer| PollWake::new(Gate::PerEntry, consumer, Size::of(consumer), None);
        CHEAPEST_FIRST.into_iter().filter_map(|of| Some(Self::PollWake(of, program(of).ok()?))).collect()
    }

    /// Those of the completion queue, in several sizes.
    pub(crate) fn of_the_completion_queue() -> Vec<Self> {
        let queue = |&size| CompletionQueue::new(size, None).ok().map(Self::CompletionQueue);
        completion::Size::ALL.iter().filter_map(queue).collect()
    }

    /// The places at which something is ordered or done in one step.
    pub(crate) fn ordered(&self) -> Vec<Ordered> {
        match self {
            Self::PollWake(_, program) => program.program().ordered(),
            Self::CompletionQueue(program) => program.program().ordered(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::PollWake(consumer, _) => format!("{} × {consumer}", Gate::PerEntry),
            Self::CompletionQueue(program) => format!("completion queue, {}", program.size()),
        }
    }

    fn check(&self, memory: Memory, options: Options) -> Result<search::Report, String> {
        match self {
            Self::PollWake(_, program) => program.check(memory, options).map_err(|error| error.to_string()),
            Self::CompletionQueue(program) => {
                program.check(memory, options).map_err(|error| error.to_string())
            }
        }
    }

    fn weakened(&self, site: &str, weakening: Weakening) -> Self {
        match self {
            Self::PollWake(consumer, program) => Self::PollWake(*consumer, program.weakened(site, weakening)),
            Self::CompletionQueue(program) => Self::CompletionQueue(program.weakened(site, weakening)),
        }
    }
}

/// Searches programs with one mistake at one place, one after the other.
pub(crate) fn weakened(
    twins: &[Twin],
    site: &str,
    weakening: Weakening,
    memory: Memory,
    budget: Budget,
) -> Verdict {
    let start = Instant::now();
    let mut before = 0;
    for twin in twins {
        let report = twin.weakened(site, weakening).check(memory, within(budget, before, start));
        let name = format!("{} in the model, {site}", twin.name());
        match report.map(|report| verdict(report, name, "", memory, before)) {
            Ok(Verdict::Complete { explored }) => before = explored,
            Ok(verdict) => return verdict,
            Err(why) => return Verdict::Inconclusive { why },
        }
    }
    Verdict::Complete { explored: before }
}

/// Searches the program of the gate of production with a consumer and a mistake: a mutant, or a place that is weakened.
pub(crate) fn poll_wake_mutant(
    consumer: &str,
    mutant: Option<poll_wake::Mutant>,
    place: Option<(&str, Weakening)>,
    memory: Memory,
    budget: Budget,
) -> Verdict {
    let Ok(consumer) = consumer.parse::<Consumer>() else {
        return Verdict::Skipped { why: "the model has no program for this".into() };
    };
    let options = within(budget, 0, Instant::now());
    let program = PollWake::new(Gate::PerEntry, consumer, Size::of(consumer), mutant);
    let program = program.map(|program| match place {
        Some((site, weakening)) => program.weakened(site, weakening),
        None => program,
    });
    match program.and_then(|program| program.check(memory, options)) {
        Ok(report) => verdict(report, format!("{} × {consumer}", Gate::PerEntry), "", memory, 0),
        Err(error) => Verdict::Inconclusive { why: error.to_string() },
    }
}

/// Searches the completion queue with a mistake, in several sizes.
pub(crate) fn completion_mutant(mutant: completion::Mutant, memory: Memory, budget: Budget) -> Verdict {
    let start = Instant::now();
    let mut before = 0;
    for &size in completion::Size::ALL {
        let options = within(budget, before, start);
        let report = CompletionQueue::new(size, Some(mutant)).and_then(|queue| queue.check(memory, options));
        let name = format!("completion queue, {mutant} ({size})");
        match report.map(|report| verdict(report, name, "", memory, before)) {
            Ok(Verdict::Complete { explored }) => before = explored,
            Ok(verdict) => return verdict,
            Err(error) => return Verdict::Inconclusive { why: error.to_string() },
        }
    }
    Verdict::Complete { explored: before }
}

/// The pool's protocols that the model has programs of.
pub(crate) fn pool_protocols() -> Vec<&'static str> {
    pool::Protocol::ALL.iter().map(|protocol| protocol.name()).collect()
}

/// The mutants that the model has of one of them.
pub(crate) fn pool_mutants(protocol: &str) -> Vec<&'static str> {
    let mutants = protocol.parse().map_or(&[][..], pool::Protocol::mutants);
    mutants.iter().map(|mutant| mutant.name()).collect()
}

/// Whether the model documents that a mutant's mistake shows under this memory. A test of the model has the same table.
pub(crate) fn pool_mutant_misses(protocol: &str, mutant: &str, memory: Memory) -> bool {
    let weakest = match (protocol, mutant) {
        (_, "waker-without-barrier" | "search-without-barrier" | "lend-without-barrier")
        | ("timeout", "leave-without-barrier") => Memory::Tso,
        // What stands before these barriers is a locked instruction on x86, and a barrier itself.
        (_, "sleeper-without-barrier" | "broadcast-without-barrier" | "leave-without-barrier") => {
            Memory::Rc11
        }
        _ => Memory::Sc,
    };
    memory >= weakest
}

/// Searches the programs of a protocol of the pool, in all sizes.
pub(crate) fn pool(protocol: &str, mutant: Option<&str>, memory: Memory, budget: Budget) -> Verdict {
    let names = (protocol.parse::<pool::Protocol>(), mutant.map(str::parse).transpose());
    let (Ok(protocol), Ok(mutant)) = names else {
        return Verdict::Skipped { why: "the model has no program for this".into() };
    };
    let start = Instant::now();
    let mut before = 0;
    let mut done: Vec<String> = Vec::new();
    for size in protocol.sizes() {
        let options = within(budget, before, start);
        let report = pool::Pool::new(protocol, mutant, *size).and_then(|pool| pool.check(memory, options));
        let name = match mutant {
            None => format!("{protocol} ({size})"),
            Some(mutant) => format!("{protocol}, {mutant} ({size})"),
        };
        match report.map(|report| verdict(report, name, "", memory, before)) {
            Ok(Verdict::Complete { explored }) => {
                before = explored;
                done.push(size.to_string());
            }
            Ok(Verdict::Bounded { explored, by, .. }) if !done.is_empty() => {
                let by = format!("{ALL_STATES}{}; then {by} were over", done.join(" and with "));
                return Verdict::Bounded { explored, by, preemptions: None };
            }
            Ok(verdict) => return verdict,
            Err(error) => return Verdict::Inconclusive { why: error.to_string() },
        }
    }
    Verdict::Complete { explored: before }
}

/// The places in a program where a gate asks; a 0 read there means that the wake is skipped.
const QUESTIONS: [&str; 3] = ["queue non-empty", "take flag", "anybody armed"];

/// The model's counterexample as a trace, its places in the program for source lines.
fn as_trace(found: &search::Counterexample) -> Trace {
    let mut trace = Trace::default();
    for step in &found.steps {
        let thread = thread(&mut trace, &step.thread);
        let op = op(&mut trace, step);
        trace.steps.push(trace::Step { thread, op, source: step.site.clone() });
        if QUESTIONS.contains(&step.site.as_str()) && step.read == Some(0) {
            trace.steps.push(trace::Step { thread, op: Op::WakeSkipped, source: String::new() });
        }
    }
    for sleeper in &found.sleepers {
        let (thread, object) = (thread(&mut trace, &sleeper.thread), object(&mut trace, &sleeper.object));
        trace.steps.push(trace::Step {
            thread,
            op: Op::Park { object, timed: false },
            source: sleeper.site.clone(),
        });
    }
    trace
}

fn thread(trace: &mut Trace, name: &str) -> usize {
    trace.threads.iter().position(|known| known == name).unwrap_or_else(|| {
        trace.threads.push(name.to_owned().into());
        trace.threads.len() - 1
    })
}

fn object(trace: &mut Trace, label: &str) -> usize {
    trace.objects.iter().position(|known| known.label == label).unwrap_or_else(|| {
        trace.objects.push(Object { label: label.to_owned().into(), newest: 0, names: Default::default() });
        trace.objects.len() - 1
    })
}

fn op(trace: &mut Trace, step: &Step) -> Op {
    let object = step.object.as_deref().map_or(0, |label| object(trace, label));
    let order = trace::order(step.order.unwrap_or(Ordering::Relaxed));
    let value = |value: Option<Value>| value.unwrap_or_default() as usize;
    let (read, wrote) = (value(step.read), value(step.written));
    let newest = trace.objects.get(object).map_or(0, |object| object.newest);
    let stale = step.stale.then_some(newest);
    if step.written.is_some() && step.kind != Kind::Drain {
        trace.objects[object].newest = wrote;
    }
    match step.kind {
        Kind::Load => Op::Load { object, order, read, stale },
        Kind::Store => Op::Store { object, order, wrote },
        Kind::Swap | Kind::Add | Kind::CompareExchange => {
            Op::Rmw { object, order, read, wrote: step.written.map(|value| value as usize), stale }
        }
        Kind::Fence => Op::Fence { order },
        Kind::Lock => Op::Lock { object },
        Kind::Unlock => Op::Unlock { object },
        Kind::Park => Op::Woken { object, early: false },
        Kind::Unpark => Op::Unpark { object },
        Kind::Choice => Op::Choice { taken: read == 1 },
        Kind::Drain => Op::Drain { object, wrote },
    }
}
