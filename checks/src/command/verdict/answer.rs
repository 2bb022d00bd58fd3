//! The answer on one screen: may this wake be skipped? Every sentence is made from the cells.
//!
//! Which flaw a consumer shows is not written down but found out: by the smallest change to the gate that
//! makes the miss go away. Each gate of the question is the one before it with one change more.

use std::time::Instant;

use reveille_checks::engine::Engine;
use reveille_checks::page::wrap;
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{GateName, WakeCase};
use reveille_checks::verdict::Verdict;

use super::search::{Plan, search};
use super::{Found, cell_of, lacks_results, settle};
use crate::command::output::{page, program, say, tell};
use crate::command::{Format, Outcome};

/// The memories, the strongest first.
const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

/// The gate of the question on the machine.
const ON_HARDWARE: (WakeCase, Engine) =
    (WakeCase { gate: GateName::Posted, consumer: Consumer::EpollLevel }, Engine::Hardware);

/// What is wrong with the gate of the question, told by the change that mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Mended by counting the entries that never poll again.
    NeverRearmed,
    /// Mended by arming after the enqueue.
    ArmedTooEarly,
    /// The same, where the flag is taken by the activation and by no wake.
    ClearedByActivation,
    /// Mended by a barrier.
    NoBarrier,
    /// Mended by none of these: there is one flag for the queue.
    OneFlag,
    /// Not known: what might mend it was not searched to the end.
    Other,
}

impl Flaw {
    /// In the order of their names.
    const ALL: [Self; 6] = [
        Self::NeverRearmed,
        Self::ArmedTooEarly,
        Self::NoBarrier,
        Self::ClearedByActivation,
        Self::OneFlag,
        Self::Other,
    ];

    /// What a consumer shows that the gate of the question loses a wakeup with.
    fn of(found: &[Found<WakeCase>], consumer: Consumer) -> Self {
        let mended =
            if consumer == Consumer::Activation { Self::ClearedByActivation } else { Self::ArmedTooEarly };
        for (gate, flaw) in [
            (GateName::PostedFenced, Self::NoBarrier),
            (GateName::Rearm, mended),
            (GateName::RearmOptIn, Self::NeverRearmed),
        ] {
            if is_sound(found, gate, consumer) {
                return flaw;
            }
            // What comes after it would mend it too, and say nothing.
            if !loses(found, gate, consumer) {
                return Self::Other;
            }
        }
        Self::OneFlag
    }

    /// Whether a queue that wakes every entry has it, as that of the question does.
    fn is_of_wake_all(self) -> bool {
        self != Self::OneFlag
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NeverRearmed => "F1  A consumer that never polls again never arms again.",
            Self::ArmedTooEarly => {
                "F2  Armed before it is queued, a poller loses its flag to an earlier wake."
            }
            Self::NoBarrier => "F3  On a re-poll no barrier orders the arm before the look at the ring.",
            Self::ClearedByActivation => "F4  Activation clears the flag between arm and enqueue.",
            Self::OneFlag => "With wake-one, the first wake takes the only flag, the next is skipped.",
            Self::Other => "Lost too, and which flaw it is was not searched to the end:",
        }
    }
}

/// Runs the default verdict: the exact engine on every gate and consumer, and the gate of the question on
/// the machine.
pub(super) fn run(plan: Plan<'_>, start: Instant) -> Outcome {
    let gates = GateName::ALL.into_iter();
    let cases =
        gates.flat_map(|gate| Consumer::ALL.into_iter().map(move |consumer| WakeCase { gate, consumer }));
    let mut cells: Vec<_> = cases.flat_map(|case| EXACT.map(|engine| (case, engine))).collect();
    cells.push(ON_HARDWARE);
    let found = search(&cells, plan)?;
    let width = page().width.unwrap_or(SCREEN).min(SCREEN);
    say(wrap(&text(&found, start), width));
    if lacks_results(&found) {
        tell(super::cells::no_results(&found).trim_end());
    }
    Ok(settle(&found, Format::Text))
}

/// The columns of a screen, a pipe's too: this text is to be sent.
const SCREEN: usize = 80;

/// The screen.
fn text(found: &[Found<WakeCase>], start: Instant) -> String {
    let mut lines = vec![
        "May a poll wakeup be skipped if no poller has armed since the last one?".to_owned(),
        String::new(),
    ];
    let flaws = flaws(found);
    let is_counted = |flaw: &Flaw| flaw.is_of_wake_all() && *flaw != Flaw::Other;
    let count = flaws.iter().filter(|(flaw, _)| is_counted(flaw)).count();
    let is_open = flaws.iter().any(|(flaw, _)| *flaw == Flaw::Other);
    let loses = "No: the patch (the gate `posted`) loses wakeups";
    lines.push(match (count, is_open) {
        (0, true) => format!("{loses}."),
        (1, true) => format!("{loses} in one way at least."),
        (count, true) => format!("{loses} in {} ways at least.", number(count)),
        (0, false) if !flaws.is_empty() => format!("{loses}, but not where each wake is to all."),
        (0, false) if is_searched(found, GateName::Posted) => {
            "Yes: the patch (the gate `posted`) loses no wakeup in any execution.".into()
        }
        (0, false) => "Not known: nothing was lost in what was searched, and that was not all.".into(),
        (1, false) => format!("{loses} in one way."),
        (count, false) => format!("{loses} in {} ways.", number(count)),
    });
    for (flaw, consumers) in &flaws {
        lines.push(format!("  {}", flaw.sentence()));
        lines.push(format!("    {}", evidence(found, consumers)));
    }
    lines.extend(on_hardware(found));
    lines.push(String::new());
    lines.extend(sound(found));
    lines.push(String::new());
    lines.push(searched(found, start));
    lines.push(String::new());
    let shown = flaws.iter().find(|(flaw, _)| *flaw == Flaw::NoBarrier).or(flaws.first());
    let consumer = shown.map_or(Consumer::EpollLevel, |(_, consumers)| consumers[0]);
    let program = program();
    lines.extend([
        format!("{program} explain posted {consumer}    how it is lost"),
        format!("{program} verdict --all    the whole table, and the pool"),
    ]);
    lines.join("\n")
}

/// The flaws that show, each with the consumers that show it.
fn flaws(found: &[Found<WakeCase>]) -> Vec<(Flaw, Vec<Consumer>)> {
    let losing = |&consumer: &Consumer| shortest(found, consumer).is_some();
    let losing: Vec<Consumer> = Consumer::ALL.into_iter().filter(losing).collect();
    let showing = |flaw: Flaw| {
        losing.iter().copied().filter(|&consumer| Flaw::of(found, consumer) == flaw).collect::<Vec<_>>()
    };
    let flaws = Flaw::ALL.map(|flaw| (flaw, showing(flaw)));
    flaws.into_iter().filter(|(_, consumers)| !consumers.is_empty()).collect()
}

/// The shortest counterexample of the gate of the question with a consumer under the strongest memory
/// that has one: that memory, and its steps.
fn shortest(found: &[Found<WakeCase>], consumer: Consumer) -> Option<(Engine, usize)> {
    EXACT.into_iter().find_map(|engine| {
        let cell = cell_of(found, WakeCase { gate: GateName::Posted, consumer }, engine)?;
        let miss = cell.finding.verdict.counterexample().filter(|_| cell.misses())?;
        Some((engine, miss.trace.steps.len()))
    })
}

/// With whom a flaw shows, on which machines, in how many steps.
fn evidence(found: &[Found<WakeCase>], consumers: &[Consumer]) -> String {
    let names: Vec<_> = consumers.iter().map(|consumer| consumer.name()).collect();
    let shown = consumers.iter().filter_map(|&consumer| shortest(found, consumer));
    let (engine, steps) = shown.min_by_key(|&(_, steps)| steps).expect("each of them loses");
    let machine = match engine {
        Engine::ExactSc => "any machine",
        Engine::ExactTso => "x86 and weaker",
        _ => "weaker than x86",
    };
    format!("{}: {machine}, {steps} steps", names.join(", "))
}

/// What the machine says, if it says anything.
fn on_hardware(found: &[Found<WakeCase>]) -> Option<String> {
    let (case, engine) = ON_HARDWARE;
    let verdict = &cell_of(found, case, engine)?.finding.verdict;
    Some(match verdict {
        Verdict::Misses { explored, .. } => {
            format!("  This machine's io_uring stalled too, within {explored} completions.")
        }
        Verdict::Bounded { explored, .. } => {
            format!("  This machine's io_uring did not stall in {explored} completions, a sample.")
        }
        Verdict::Skipped { why } => {
            format!("  Not tried on this machine: io_uring is {}.", why.split(':').next().unwrap_or(why))
        }
        _ => "  Whether this machine's io_uring stalls is not known: the machine is busy.".into(),
    })
}

/// The gates that lose nothing.
fn sound(found: &[Found<WakeCase>]) -> Vec<String> {
    let with = |wake_one: bool| -> Vec<&str> {
        let consumers = || {
            let all = Consumer::ALL.into_iter();
            all.filter(|&consumer| wake_one || consumer != Consumer::ExclusivePair)
        };
        let gates = GateName::ALL.into_iter();
        let gates = gates.filter(|&gate| consumers().all(|consumer| is_sound(found, gate, consumer)));
        gates.map(GateName::name).collect()
    };
    let everywhere = with(true);
    let wake_all: Vec<_> = with(false).into_iter().filter(|gate| !everywhere.contains(gate)).collect();
    let open = GateName::ALL.into_iter().filter(|&gate| {
        let loses = Consumer::ALL.into_iter().any(|consumer| loses(found, gate, consumer));
        !loses && !is_searched(found, gate)
    });
    let open: Vec<_> = open.map(GateName::name).collect();
    let line = |what: &str, gates: &[&str]| match gates {
        [] => None,
        gates => Some(format!("{what} {}", gates.join(", "))),
    };
    let lines = [
        line("Sound, with every consumer:          ", &everywhere),
        line("Sound, where each wake is to all:    ", &wake_all),
        line("Nothing lost, not searched to the end:", &open),
    ];
    lines.into_iter().flatten().collect()
}

/// What was searched, and with which bounds.
fn searched(found: &[Found<WakeCase>], start: Instant) -> String {
    let exact = || found.iter().filter(|cell| cell.engine.of_the_exact_engine().is_some());
    let ended = |cell: &&Found<WakeCase>| {
        matches!(cell.finding.verdict, Verdict::Complete { .. } | Verdict::Misses { .. })
    };
    let (all, ended) = (exact().count(), exact().filter(ended).count());
    let executions: u64 = exact().map(|cell| cell.finding.verdict.explored()).sum();
    let extent = match all - ended {
        0 => "each to a miss or to its last execution".into(),
        left => format!("{left} of them not to the end"),
    };
    let seconds = start.elapsed().as_secs_f64();
    format!(
        "Searched: the code itself, under SC, x86-TSO and RC11; {all} searches, {extent}; {executions} executions in \
         {seconds:.0} s. Bounds: 2 completions, at most 2 pollers."
    )
}

/// Whether every execution was visited, under each memory, and nothing is missed.
fn is_sound(found: &[Found<WakeCase>], gate: GateName, consumer: Consumer) -> bool {
    EXACT.into_iter().all(|engine| {
        let cell = cell_of(found, WakeCase { gate, consumer }, engine);
        cell.is_some_and(|cell| matches!(cell.finding.verdict, Verdict::Complete { .. }))
    })
}

/// Whether a wakeup is missed under some memory.
fn loses(found: &[Found<WakeCase>], gate: GateName, consumer: Consumer) -> bool {
    let case = WakeCase { gate, consumer };
    EXACT.into_iter().any(|engine| cell_of(found, case, engine).is_some_and(Found::misses))
}

/// Whether each of its searches came to its end.
fn is_searched(found: &[Found<WakeCase>], gate: GateName) -> bool {
    let mut cells = found.iter().filter(|cell| cell.case.gate == gate && cell.engine != Engine::Hardware);
    cells.all(|cell| matches!(cell.finding.verdict, Verdict::Complete { .. } | Verdict::Misses { .. }))
}

/// A small number as a word.
fn number(n: usize) -> String {
    match ["no", "one", "two", "three", "four", "five", "six"].get(n) {
        Some(word) => (*word).into(),
        None => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reveille_checks::subject::{Needs, documented};
    use reveille_checks::trace::{Op, Step, Trace};
    use reveille_checks::verdict::{Counterexample, End, Why};

    use super::*;
    use crate::command::cell::Finding;

    /// What was found in a cell, as if it had been searched.
    fn cell(gate: GateName, consumer: Consumer, engine: Engine, verdict: Verdict) -> Found<WakeCase> {
        Found { case: WakeCase { gate, consumer }, engine, finding: Finding { verdict, seconds: 1.0 } }
    }

    fn miss() -> Verdict {
        let step = Step { thread: 0, op: Op::End, source: String::new() };
        let counterexample = Counterexample {
            scenario: String::new(),
            legend: String::new(),
            found_by: String::new(),
            end: End::Stuck(None),
            trace: Trace { threads: vec!["poller".into()], objects: vec![], steps: vec![step; 50] },
            why: Why::Unknown,
            record: None,
        };
        Verdict::Misses { counterexample, explored: 1_000 }
    }

    /// All cells as this says, `None` for one that was not searched to its end.
    fn all(needs: impl Fn(GateName, Consumer) -> Option<Needs>) -> Vec<Found<WakeCase>> {
        let verdict = |gate, consumer, engine| match needs(gate, consumer) {
            Some(needs) if needs.shows_under(engine) => miss(),
            Some(_) => Verdict::Complete { explored: 100_000 },
            None => Verdict::Bounded { explored: 9, by: "time".into(), preemptions: None },
        };
        let mut found = Vec::new();
        for gate in GateName::ALL {
            for consumer in Consumer::ALL {
                found.extend(
                    EXACT.map(|engine| cell(gate, consumer, engine, verdict(gate, consumer, engine))),
                );
            }
        }
        let (WakeCase { gate, consumer }, engine) = ON_HARDWARE;
        found.push(cell(gate, consumer, engine, miss()));
        found
    }

    /// The screen, a minute after the start.
    fn screen(found: &[Found<WakeCase>]) -> String {
        wrap(&text(found, Instant::now() - Duration::from_secs(60)), SCREEN)
    }

    #[test]
    fn the_answer_is_one_screen_and_names_four_ways_with_their_consumers() {
        let screen = screen(&all(|gate, consumer| Some(documented(gate, consumer))));
        assert!(screen.lines().count() <= 24, "{} lines:\n{screen}", screen.lines().count());
        assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
        let mut rest = screen.as_str();
        for part in [
            "May a poll wakeup be skipped",
            "No: the patch (the gate `posted`) loses wakeups in four ways.",
            "F1  ",
            "persistent: any machine, 50 steps",
            "F2  ",
            "poll-once, two-pollers: any machine, 50 steps",
            "F3  ",
            "epoll-level, epoll-edge, epoll-level-2p, passer-by: x86 and weaker, 50 steps",
            "F4  ",
            "activation: any machine, 50 steps",
            "With wake-one",
            "exclusive-pair: any machine, 50 steps",
            "stalled too",
            "has-sleeper, per-entry",
            "rearm-opt-in",
            "SC, x86-TSO and RC11",
            "explain posted epoll-level",
            "verdict --all",
        ] {
            let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in\n{screen}"));
            rest = after;
        }
    }

    #[test]
    fn the_answer_is_that_of_the_cells_and_of_nothing_else() {
        let as_documented = |gate, consumer| Some(documented(gate, consumer));
        let says = |found: &[Found<WakeCase>], part: &str| {
            let screen = screen(found);
            assert!(screen.contains(part), "no {part:?} in\n{screen}");
        };
        says(&all(|_, _| Some(Needs::Nothing)), "Yes: ");
        says(&all(|_, _| None), "Not known: ");
        // Without a miss on a re-poll there are three ways.
        let fenced = |gate, consumer| match gate {
            GateName::Posted => as_documented(GateName::PostedFenced, consumer),
            gate => as_documented(gate, consumer),
        };
        says(&all(fenced), "in three ways.");
        // What mends a flaw was not searched to the end: which one it is, is open.
        let open = |gate, consumer| match gate {
            GateName::PostedFenced if consumer == Consumer::EpollEdge => None,
            gate => as_documented(gate, consumer),
        };
        says(&all(open), "in four ways at least.");
        says(&all(open), "Lost too");
        let unsound = |gate, consumer| match gate {
            GateName::PerEntry => None,
            gate => as_documented(gate, consumer),
        };
        says(&all(unsound), "Nothing lost, not searched to the end: per-entry");
    }
}
