//! `reveille verdict`: the answer on one screen; with `--all`, or narrowed, the table gate × consumer ×
//! engine, the table protocol × engine of the pool, and what they mean.

mod answer;
mod cells;
mod pool;
mod report;
pub(super) mod search;
mod text;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{Case, GateName, PoolCase, WakeCase};
use reveille_checks::verdict::Verdict;
use serde::Serialize;

pub(super) use self::cells::no_results;
use super::cell::{Finding, NoAnswer};
use super::checkpoint::Checkpoint;
use super::{Ending, EngineName, Format, Outcome, Subject, named, names, print_json, say, seconds, tell};

/// What `reveille verdict` takes; an option that is not given narrows nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The whole table: every gate, consumer and engine, and the worker pool
    #[arg(long)]
    all: bool,
    /// The table of these gates only
    #[arg(long, value_delimiter = ',', value_parser = named::<GateName>())]
    gate: Vec<GateName>,
    /// The table of these consumers only
    #[arg(long, value_delimiter = ',', value_parser = named::<Consumer>())]
    consumer: Vec<Consumer>,
    /// The table of these protocols of the pool only
    #[arg(long, value_delimiter = ',', value_parser = names::<Protocol>(PoolCase::protocols()))]
    protocol: Vec<Protocol>,
    /// The table of these engines only
    #[arg(long, value_delimiter = ',', value_parser = named::<EngineName>())]
    engine: Vec<EngineName>,
    /// What the verdict is on: the wakeup of the question, or the pool. Without it, both, the pool in a
    /// summary; as JSON, the wakeup
    #[arg(long, value_enum)]
    subject: Option<Subject>,
    /// Wall time for the whole run
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "50")]
    budget: Duration,
    /// Seed of shuttle's random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// Go on where this file says that an earlier run was; it is made if there is none
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Write the table of the wakeup as a page for a browser, in one file; its cells open their counterexamples
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Args {
    /// Whether the question is asked as it stands.
    fn asks_for_the_answer(&self) -> bool {
        let narrowed = !(self.gate.is_empty()
            && self.consumer.is_empty()
            && self.protocol.is_empty()
            && self.engine.is_empty())
            || self.subject.is_some();
        !self.all && !narrowed && self.html.is_none() && self.format == Format::Text
    }
}

/// A protocol of the pool by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Protocol(&'static str);

impl std::str::FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        PoolCase::new(name, None).map(|case| Self(case.protocol()))
    }
}

/// A cell of a table with what was found in it.
pub(super) struct Found<C> {
    pub case: C,
    pub engine: Engine,
    pub finding: Finding,
}

impl<C: Case> Found<C> {
    pub fn misses(&self) -> bool {
        self.finding.verdict.misses() == Some(true)
    }

    fn was_skipped(&self) -> bool {
        matches!(self.finding.verdict, Verdict::Skipped { .. })
    }

    fn contradicts(&self) -> bool {
        self.case.contradicts(self.engine, &self.finding.verdict) == Some(true)
    }
}

/// A cell in JSON.
#[derive(Serialize)]
struct Row<'a, K> {
    #[serde(flatten)]
    case: K,
    engine: &'a str,
    memory: &'a str,
    outcome: &'a str,
    explored: u64,
    bound: Option<&'a str>,
    seconds: f64,
    steps: Option<usize>,
}

/// The fields that name a gate with a consumer.
#[derive(Serialize)]
struct WakeKey {
    gate: &'static str,
    consumer: &'static str,
}

/// The fields that name a protocol of the pool, as it is or with a mistake.
#[derive(Serialize)]
struct PoolKey {
    protocol: &'static str,
    mutant: Option<&'static str>,
}

fn say_json<C: Copy, K: Serialize>(
    found: &[Found<C>],
    seed: u64,
    key: impl Fn(C) -> K,
) -> Result<(), serde_json::Error> {
    let rows = found.iter().map(|Found { case, engine, finding: Finding { verdict, seconds } }| {
        // The hardware's counterexample has no steps: nobody watched.
        let steps = verdict.counterexample().map(|counterexample| counterexample.trace.steps.len());
        Row {
            case: key(*case),
            engine: engine.name(),
            memory: engine.memory(),
            outcome: verdict.outcome(),
            explored: verdict.explored(),
            bound: verdict.bound(),
            seconds: *seconds,
            steps: steps.filter(|&steps| steps > 0),
        }
    });
    print_json(Some(seed), &rows.collect::<Vec<_>>())
}

/// The part of the budget that the pool gets where both subjects are asked for.
const POOL_SHARE: f64 = 0.35;

/// Runs `reveille verdict`.
pub fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    let checkpoint =
        args.resume.as_deref().map(|file| Checkpoint::open(file, "verdict", args.seed)).transpose()?;
    let plan = search::Plan { budget: args.budget, seed: args.seed, checkpoint: checkpoint.as_ref() };
    if args.asks_for_the_answer() {
        return answer::run(plan, start);
    }
    let subject = subject(args)?;
    let share = match subject {
        None => POOL_SHARE,
        Some(Subject::Wakeup) => 0.0,
        Some(Subject::Pool) => 1.0,
    };
    let mut searches = 0;
    let mut ending = Ending::Agrees;
    if subject != Some(Subject::Pool) {
        let found = find(wake_cells(args), plan.part(1.0 - share))?;
        searches += number_of_searches(&found);
        if let Some(file) = &args.html {
            std::fs::write(file, report::page(&found, args))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
        match args.format {
            Format::Json => say_json(&found, args.seed, |WakeCase { gate, consumer }| WakeKey {
                gate: gate.name(),
                consumer: consumer.name(),
            })?,
            Format::Text => {
                say(format_args!("{}\n", text::table(&found)));
                tell(text::legend(&found, args));
                tell(text::answer(&found));
                text::reproduce(&found);
                say("");
            }
        }
        ending = ending.and(settle(&found, args.format));
    }
    if subject != Some(Subject::Wakeup) && !super::interrupt::requested() {
        let cells = if subject.is_some() { pool_cells(args) } else { summary_cells(args) };
        let found = find(cells, plan.part(share))?;
        searches += number_of_searches(&found);
        match (args.format, subject) {
            (Format::Json, _) => say_json(&found, args.seed, |case| PoolKey {
                protocol: case.protocol(),
                mutant: case.mutant(),
            })?,
            (Format::Text, Some(_)) => pool::report(&found, args),
            (Format::Text, None) => tell(pool::summary(&found)),
        }
        ending = ending.and(settle(&found, args.format));
    }
    if args.format == Format::Text {
        say(format_args!("{searches} searches in {:.0} s.", start.elapsed().as_secs_f64()));
    }
    Ok(ending)
}

/// What the verdict is on; `None` for both subjects.
fn subject(args: &Args) -> Result<Option<Subject>, String> {
    let wakeup_only = !(args.gate.is_empty() && args.consumer.is_empty());
    match (args.subject, wakeup_only, args.protocol.is_empty()) {
        (Some(Subject::Pool) | None, true, false) | (Some(Subject::Pool), true, _) => {
            Err("the pool has no --gate and no --consumer; it has --protocol".into())
        }
        (Some(Subject::Pool), ..) if args.html.is_some() => {
            Err("the page is of the wakeup; the pool has none".into())
        }
        (Some(Subject::Wakeup), _, false) => {
            Err("the wakeup has no --protocol; it has --gate and --consumer".into())
        }
        (None, true, true) => Ok(Some(Subject::Wakeup)),
        (None, false, false) => Ok(Some(Subject::Pool)),
        (None, false, true) if args.format == Format::Json => Ok(Some(Subject::Wakeup)),
        (asked, _, _) => Ok(asked),
    }
}

/// How many cells an engine was asked about.
fn number_of_searches<C: Case>(found: &[Found<C>]) -> usize {
    found.iter().filter(|cell| cell.case.pointless(cell.engine).is_none()).count()
}

/// Searches, and adjudicates.
fn find<C: Case>(cells: Vec<(C, Engine)>, plan: search::Plan<'_>) -> Result<Vec<Found<C>>, NoAnswer> {
    let mut found = search::search(&cells, plan)?;
    adjudicate(&mut found, plan);
    Ok(found)
}

/// Whether all cells agree with the documentation; says so of those that do not.
fn settle<C: Case>(found: &[Found<C>], format: Format) -> Ending {
    let mut contradicts = false;
    let mut contradiction = |text: String| {
        contradicts = true;
        if format == Format::Text {
            tell(format_args!("CONTRADICTION: {text}"));
        }
    };
    for Found { case, engine, finding } in found.iter().filter(|found| found.contradicts()) {
        let what = match finding.verdict.misses() {
            Some(true) => "a miss, and this project documents that there is none",
            _ => "no miss, and this project documents one",
        };
        contradiction(format!("{case}, {} {}: {what}", engine.name(), engine.memory()));
    }
    // The code and the program beside it, both searched to the end.
    let pairs = [
        (Engine::ExactSc, Engine::ModelSc),
        (Engine::ExactTso, Engine::ModelTso),
        (Engine::ExactRc11, Engine::ModelRc11),
    ];
    for exact in found {
        for (_, model) in pairs.into_iter().filter(|(engine, _)| *engine == exact.engine) {
            let Some(model) = cell_of(found, exact.case, model) else { continue };
            let ended = |cell: &Found<C>| {
                matches!(cell.finding.verdict, Verdict::Complete { .. } | Verdict::Misses { .. })
            };
            if ended(exact) && ended(model) && exact.misses() != model.misses() {
                let (case, memory) = (exact.case, exact.engine.memory());
                contradiction(format!("{case}: exact {memory} and model {memory} differ"));
            }
        }
    }
    Ending::of(contradicts, lacks_results(found))
}

/// Whether a search came to no result. The hardware samples, and its silence says little in any case; but
/// where it is asked alone and was not there, nothing was found out.
pub(super) fn lacks_results<C: Case>(found: &[Found<C>]) -> bool {
    let asked = || found.iter().filter(|cell| cell.case.pointless(cell.engine).is_none());
    let has_none = |cell: &Found<C>| cell.finding.verdict.is_inconclusive() || cell.was_skipped();
    asked().any(|cell| has_none(cell) && cell.engine != Engine::Hardware) || asked().all(has_none)
}

/// The engines that are asked for, in the order of the table.
fn engines(args: &Args) -> impl Iterator<Item = Engine> {
    Engine::ALL
        .into_iter()
        .filter(|&engine| args.engine.is_empty() || args.engine.iter().any(|name| name.means(engine)))
}

/// The cells of the wakeup that are asked for, in the order of the table.
fn wake_cells(args: &Args) -> Vec<(WakeCase, Engine)> {
    let mut cells = Vec::new();
    for gate in GateName::ALL.into_iter().filter(|gate| args.gate.is_empty() || args.gate.contains(gate)) {
        for engine in engines(args) {
            let consumers = Consumer::ALL.into_iter();
            let consumers =
                consumers.filter(|consumer| args.consumer.is_empty() || args.consumer.contains(consumer));
            cells.extend(consumers.map(|consumer| (WakeCase { gate, consumer }, engine)));
        }
    }
    cells
}

/// The cells of the pool that are asked for, in the order of the tables.
fn pool_cells(args: &Args) -> Vec<(PoolCase, Engine)> {
    let asked =
        |name: &&str| args.protocol.is_empty() || args.protocol.iter().any(|Protocol(asked)| asked == name);
    let protocols: Vec<_> = PoolCase::protocols().into_iter().filter(asked).collect();
    let cases = PoolCase::all(&protocols).into_iter();
    cases.flat_map(|case| engines(args).map(move |engine| (case, engine))).collect()
}

/// The cells of the pool's summary: the protocols under every engine, and each mutant under the first
/// that can see it.
fn summary_cells(args: &Args) -> Vec<(PoolCase, Engine)> {
    let mut cells = pool_cells(args);
    cells.sort_by_key(|(_, engine)| engine.name() == "model"); // the code's own before the model's
    let mut seen = Vec::new();
    cells.retain(|&(case, engine)| {
        let first = case.documented_miss(engine) && case.pointless(engine).is_none() && !seen.contains(&case);
        seen.extend(first.then_some(case));
        case.mutant().is_none() || first
    });
    cells
}

/// Turns loom's misses under c11 that a complete search under RC11 refutes into alarms: that of the exact
/// engine, which runs the same code, or else the model's. Where neither was asked for, they are asked
/// now.
fn adjudicate<C: Case>(found: &mut [Found<C>], plan: search::Plan<'_>) {
    for i in 0..found.len() {
        let case = found[i].case;
        if found[i].engine != Engine::LoomC11 || !found[i].misses() {
            continue;
        }
        for engine in Engine::JUDGES {
            let verdict = match cell_of(found, case, engine) {
                Some(cell) => cell.finding.verdict.clone(),
                None => case.search(engine, Budget { seed: plan.seed, ..Budget::of_time(plan.budget / 10) }),
            };
            let finding = &mut found[i].finding;
            finding.verdict = finding.verdict.clone().adjudicated(engine, &verdict);
            if verdict.misses() == Some(true) {
                break;
            }
        }
    }
}

/// The cell of a case and an engine.
fn cell_of<C: Case>(found: &[Found<C>], case: C, engine: Engine) -> Option<&Found<C>> {
    found.iter().find(|cell| (cell.case, cell.engine) == (case, engine))
}
