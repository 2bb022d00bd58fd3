//! `reveille orderings`: every ordering of the library, and what breaks without it; of the model's
//! programs too.

mod model;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use reveille_checks::engine::{Budget, ENOUGH};
use reveille_checks::flavour::weakened::Mutation;
use reveille_checks::orderings::{self, ENGINE, Probe, Row};
use reveille_checks::report;
use reveille_checks::sheet::{Cell, Column, Sheet};
use reveille_checks::source::{self, Use};
use serde::Serialize;

use super::cell::{NoAnswer, ask_child, end_with_the_parent};
use super::checkpoint::Checkpoint;
use super::output::{page, say_command};
use super::{
    Ending, Format, Outcome, interrupt, print_json, program, progress, say, seconds, tell, verbatim,
};

/// Every atomic ordering and fence in the library: what is lost when it is one step weaker.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show the execution that loses something when the ordering at this place is weaker, `gate.rs:174` say
    #[arg(long, value_name = "SITE")]
    explain: Option<String>,
    /// The orders and fences of the model's programs of the sound gates, instead of the library's
    #[arg(long, conflicts_with = "explain")]
    model: bool,
    /// Wall time for the whole run
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "240")]
    budget: Duration,
    /// Seed of the random descents
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// Go on where this file says that an earlier run was; it is made if there is none
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    resume: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One mistake in a process of its own.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// The mistake, as JSON
    #[arg(long)]
    mutation: String,
    /// The scenarios to make it in
    #[arg(long)]
    scenario: Vec<String>,
    #[arg(long)]
    milliseconds: u64,
    #[arg(long)]
    seed: u64,
}

/// The child's side: searches, and prints a [`Probe`].
pub fn probe(args: &ProbeArgs) -> Outcome {
    end_with_the_parent();
    let mutation: Mutation = serde_json::from_str(&args.mutation)?;
    let time = Duration::from_millis(args.milliseconds);
    let budget = Budget { seed: args.seed, ..Budget::of_time(time) };
    let scenarios = orderings::scenarios();
    let scenarios: Vec<_> =
        scenarios.iter().filter(|scenario| args.scenario.contains(&scenario.name)).collect();
    let found = orderings::probe(&mutation, &scenarios, budget);
    verbatim(serde_json::to_string(&found)?);
    Ok(Ending::Agrees)
}

/// A row with what was found about it.
struct Found {
    row: Row,
    /// Of each change what came of it, or why nothing did
    probes: Vec<Result<Probe, String>>,
    price: Option<f64>,
}

impl Found {
    /// The first change that loses something, if every one does.
    fn needed(&self) -> Option<&Probe> {
        let needed = |probe: &Result<Probe, String>| matches!(probe, Ok(Probe::Needed { .. }));
        let all = self.probes.iter().all(needed);
        self.probes.first().filter(|_| all).and_then(|probe| probe.as_ref().ok())
    }

    /// Why there is no result, if there is none: a search died, or its time was up too early, counted in
    /// executions, for what is needed to show. What is needed is known once one of the changes loses.
    fn no_result(&self) -> Option<String> {
        if let Some(why) = self.probes.iter().find_map(|probe| probe.as_ref().err()) {
            return Some(why.clone());
        }
        let early = |probe: &Result<Probe, String>| match probe {
            Ok(probe @ Probe::NotNeeded { explored, .. }) => !probe.is_complete() && *explored < ENOUGH,
            _ => false,
        };
        let is_early = self.row.used.why_kept().is_none() && self.probes.iter().any(early);
        is_early.then(|| "time was up too early, try a longer --budget".into())
    }

    /// Whether the source explains what was found.
    fn is_explained(&self) -> bool {
        self.no_result().is_some() || self.row.is_explained(self.needed().is_some())
    }
}

/// What these rows come to.
fn ending(found: &[Found]) -> Ending {
    let unexplained = found.iter().any(|found| !found.is_explained());
    Ending::of(unexplained, found.iter().any(|found| found.no_result().is_some()))
}

/// An ordering in JSON.
#[derive(Serialize)]
struct Json<'a> {
    site: String,
    function: &'a str,
    operation: &'a str,
    ordering: String,
    needed_by: Option<NeededBy<'a>>,
    /// Whether every execution of the scenarios was visited, where nothing needs it
    complete: Option<bool>,
    explored: u64,
    why_kept: Option<&'a str>,
    price_ns: Option<f64>,
}

#[derive(Serialize)]
struct NeededBy<'a> {
    scenario: &'a str,
    engine: &'a str,
    memory: &'a str,
    steps: usize,
}

impl<'a> NeededBy<'a> {
    fn of(probe: &'a Probe) -> Option<Self> {
        let Probe::Needed { scenario, counterexample, .. } = probe else { return None };
        let steps = counterexample.trace.steps.len();
        Some(Self { scenario, engine: ENGINE.name(), memory: ENGINE.memory(), steps })
    }
}

/// Runs `reveille orderings`.
pub fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    if args.model {
        return model::run(args.format);
    }
    let is_asked = |used: &Use| args.explain.as_ref().is_none_or(|site| used.place.to_string() == *site);
    if !source::uses().iter().any(is_asked) {
        let site = args.explain.as_deref().unwrap_or_default();
        return Err(format!("no ordering is at `{site}`; `{} orderings` lists them all", program()).into());
    }
    let checkpoint =
        args.resume.as_deref().map(|file| Checkpoint::open(file, "orderings", args.seed)).transpose()?;
    let rows = orderings::rows().iter().filter(|row| is_asked(&row.used)).cloned().collect();
    let found = search(rows, args, checkpoint.as_ref(), start)?;
    match (&args.explain, args.format) {
        (_, Format::Json) => print_json(Some(args.seed), &found.iter().map(json).collect::<Vec<_>>())?,
        (Some(_), Format::Text) => found.iter().for_each(explain),
        (None, Format::Text) => text(&found, start),
    }
    Ok(ending(&found))
}

/// Makes the mistakes, as many at a time as there are CPUs, within the budget.
///
/// # Errors
/// If this machine runs no search, or if there was a Ctrl-C before the first was over.
fn search(
    rows: Vec<Row>,
    args: &Args,
    checkpoint: Option<&Checkpoint>,
    start: Instant,
) -> Result<Vec<Found>, NoAnswer> {
    interrupt::listen();
    let mut found: Vec<_> = rows
        .into_iter()
        .map(|row| Found { price: orderings::price(&row), row, probes: Vec::new() })
        .collect();
    let tasks: Vec<(usize, Mutation)> = (0..found.len())
        .filter(|&i| found[i].row.is_reached())
        .flat_map(|i| found[i].row.mutations().map(move |mutation| (i, mutation)).collect::<Vec<_>>())
        .collect();
    // What the source says is not needed is searched last: those searches have no end, and take what time
    // is left.
    let is_patient = |task: usize| found[tasks[task].0].row.used.why_kept().is_none();
    let (short, long): (Vec<usize>, Vec<usize>) = (0..tasks.len()).partition(|&task| is_patient(task));
    let progress = progress::bar(tasks.len());
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let deadline = start + args.budget;
    let left = Mutex::new((short.iter().chain(&long), tasks.len()));
    let so_far = Mutex::new((Vec::new(), None));
    let work = || {
        loop {
            let next = {
                let mut left = left.lock().expect("no panic inside");
                let time = deadline.saturating_duration_since(Instant::now());
                // A search that is to find something may take long if it must; few do.
                let share = time * cpus as u32 / left.1.max(1) as u32;
                left.1 = left.1.saturating_sub(1);
                left.0.next().map(|&task| (task, if is_patient(task) { time / 4 } else { share.min(time) }))
            };
            let Some((task, time)) = next else { break };
            let (i, mutation) = &tasks[task];
            progress.set_message(mutation.to_string());
            let probe = look_into(mutation, &found[*i].row.scenarios, time, args.seed, checkpoint);
            progress.inc(1);
            let mut so_far = so_far.lock().expect("no panic inside");
            match probe {
                Ok(probe) => so_far.0.push((task, Ok(probe))),
                Err(NoAnswer::Died(why)) => so_far.0.push((task, Err(why))),
                Err(why) => so_far.1 = so_far.1.take().or(Some(why)),
            }
            if so_far.1.is_some() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..cpus {
            // This thread works too: without another one it takes longer, and no more.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    progress.finish_and_clear();
    let (mut probes, stopped): (Vec<Numbered>, Option<NoAnswer>) =
        so_far.into_inner().expect("no panic inside");
    if let Some(stopped) = stopped {
        if probes.is_empty() {
            return Err(stopped);
        }
        let missing = (0..tasks.len()).filter(|task| !probes.iter().any(|(known, _)| known == task));
        let missing: Vec<_> = missing.map(|task| (task, Err(stopped.to_string()))).collect();
        probes.extend(missing);
    }
    for (task, probe) in probes {
        found[tasks[task].0].probes.push(probe);
    }
    Ok(found)
}

/// A probe with the number of its task; in words, why it has not come to a result.
type Numbered = (usize, Result<Probe, String>);

fn look_into(
    mutation: &Mutation,
    scenarios: &[String],
    time: Duration,
    seed: u64,
    checkpoint: Option<&Checkpoint>,
) -> Result<Probe, NoAnswer> {
    let mutation = serde_json::to_string(mutation).map_err(|error| NoAnswer::Died(error.to_string()))?;
    if let Some(probe) = checkpoint.and_then(|known| known.get(&mutation)) {
        return Ok(probe);
    }
    if interrupt::requested() {
        return Err(NoAnswer::Interrupted);
    }
    let (milliseconds, seed) = (time.as_millis().to_string(), seed.to_string());
    let mut args = vec!["probe", "--mutation", &mutation, "--milliseconds", &milliseconds, "--seed", &seed];
    args.extend(scenarios.iter().flat_map(|scenario| ["--scenario", scenario]));
    let probe: Probe = ask_child(&args, time)?;
    if let Some(checkpoint) = checkpoint.filter(|_| probe.says_something()) {
        checkpoint.put(&mutation, &probe)?;
    }
    Ok(probe)
}

fn json(found: &Found) -> Json<'_> {
    let Found { row, price, probes } = found;
    let searched = || probes.iter().flatten();
    let not_needed = |probe: &&Probe| matches!(probe, Probe::NotNeeded { .. });
    let was_searched = found.needed().is_none() && !probes.is_empty();
    Json {
        site: row.used.place.to_string(),
        function: &row.used.function,
        operation: row.used.operation.name(),
        ordering: row.used.order.to_string(),
        needed_by: found.needed().and_then(NeededBy::of),
        complete: was_searched.then(|| {
            probes.iter().all(Result::is_ok) && searched().filter(not_needed).all(Probe::is_complete)
        }),
        explored: searched().map(Probe::explored).sum(),
        why_kept: row.why_kept(),
        price_ns: *price,
    }
}

fn explain(found: &Found) {
    let used = &found.row.used;
    say(format_args!("{}: {} {} in `{}`\n", used.place, used.operation.name(), used.order, used.function));
    for probe in &found.probes {
        match probe {
            Ok(Probe::Needed { counterexample, .. }) => say(report::render_on(counterexample, page())),
            Ok(probe @ Probe::NotNeeded { .. }) => tell(format_args!("It was {}.", not_needed(probe))),
            Err(why) => tell(format_args!("No result: {why}.")),
        }
    }
    if let Some(why) = found.row.why_kept() {
        tell(format_args!("It stays: {why}"));
    }
}

fn text(found: &[Found], start: Instant) {
    let mut sheet = Sheet::new([
        ("site", Column::Name),
        ("function", Column::Text),
        ("operation", Column::Text),
        ("ordering", Column::Left),
        ("ns", Column::Right),
        ("one step weaker", Column::Text),
    ]);
    for found in found {
        let used = &found.row.used;
        let operation = match (used.operation.name(), used.object.as_str()) {
            (name, "") => name.to_owned(),
            (name, object) => format!("{name} {object}"),
        };
        sheet.row([
            Cell::from(&used.place),
            Cell::from(&used.function),
            operation.into(),
            used.order.into(),
            found.price.map_or(String::new(), |price| format!("{price:.1}")).into(),
            consequence(found),
        ]);
    }
    say(format_args!("{}\n", sheet.on(page())));
    let needed = found.iter().filter(|found| found.needed().is_some()).count();
    let explored: u64 = found.iter().flat_map(|found| &found.probes).flatten().map(Probe::explored).sum();
    let unexplained = found.iter().filter(|found| !found.is_explained()).count();
    let unknown = found.iter().filter(|found| found.no_result().is_some()).count();
    tell(format_args!(
        "ns: what it costs here, beside the same one step weaker.\n\
         {} orderings; {needed} are needed, {unexplained} unexplained, {unknown} without a result (?); the others say \
         why they stay. {explored} executions in {:.0} s.",
        found.len(),
        start.elapsed().as_secs_f64()
    ));
    say_command("A counterexample: ", &format!("{} orderings --explain SITE", program()));
}

/// What becomes of the library with this ordering one step weaker.
fn consequence(found: &Found) -> Cell {
    if let Some(NeededBy { scenario, engine, memory, steps }) = found.needed().and_then(NeededBy::of) {
        let text = format!("{scenario}: loses, {engine} {memory}, {steps} steps");
        return if found.is_explained() { text.into() } else { Cell::bad(format!("UNEXPLAINED {text}")) };
    }
    let why = found.row.why_kept().map(str::to_owned);
    if let Some(no_result) = found.no_result() {
        let text = [format!("? no result: {no_result}")].into_iter().chain(why).collect::<Vec<_>>();
        return Cell::odd(text.join("; "));
    }
    let said = found.probes.iter().flatten().map(not_needed).filter(|said| !said.is_empty());
    let text = said.chain(why).collect::<Vec<_>>().join("; ");
    if found.is_explained() { text.into() } else { Cell::bad(format!("UNEXPLAINED {text}")) }
}

fn not_needed(probe: &Probe) -> String {
    match probe {
        Probe::NotNeeded { scenarios, explored, .. } if probe.is_complete() => {
            format!("not needed by any scenario (every execution of {scenarios}, {explored})")
        }
        Probe::NotNeeded { scenarios, ended, explored } => {
            format!(
                "not found to be needed ({explored} executions of {scenarios} scenarios, {ended} of them to their end)"
            )
        }
        Probe::Needed { .. } => String::new(),
    }
}
