//! `reveille orderings`: every ordering of the library, and what breaks without it; of the model's programs too.

mod model;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use comfy_table::{Cell, CellAlignment, Color};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reveille_checks::engine::{Budget, ENOUGH};
use reveille_checks::flavour::weakened::Mutation;
use reveille_checks::orderings::{self, ENGINE, Probe, Row};
use reveille_checks::report;
use reveille_checks::source::{self, Use};
use serde::Serialize;

use super::cell::{ask_child, end_with_the_parent};
use super::{Format, Outcome, say, seconds};

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
    /// What to print: text or json
    #[arg(long, default_value = "text")]
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
    say(serde_json::to_string(&found)?);
    Ok(true)
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

    /// Whether time was up too early, counted in executions, for what is needed to show.
    fn is_unfinished(&self) -> bool {
        let early = |probe: &Result<Probe, String>| match probe {
            Ok(probe @ Probe::NotNeeded { explored, .. }) => !probe.is_complete() && *explored < ENOUGH,
            _ => false,
        };
        self.row.used.why_kept().is_none() && self.probes.iter().any(early)
    }

    /// Whether the source explains what was found. Without a result there is nothing to explain, and a search that had to end too early
    /// contradicts nothing.
    fn is_explained(&self) -> bool {
        self.is_unfinished()
            || self.probes.iter().all(Result::is_ok) && self.row.is_explained(self.needed().is_some())
    }
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
        return Err(format!("no ordering is at `{site}`; `reveille orderings` lists them all").into());
    }
    let rows = orderings::rows().iter().filter(|row| is_asked(&row.used)).cloned().collect();
    let found = search(rows, args, start);
    let explained = found.iter().all(Found::is_explained);
    if args.explain.is_some() {
        found.iter().for_each(explain);
        return Ok(explained);
    }
    match args.format {
        Format::Json => say(serde_json::to_string_pretty(&found.iter().map(json).collect::<Vec<_>>())?),
        Format::Text => text(&found, start),
    }
    Ok(explained)
}

/// Makes the mistakes, as many at a time as there are CPUs, within the budget.
fn search(rows: Vec<Row>, args: &Args, start: Instant) -> Vec<Found> {
    let mut found: Vec<_> = rows
        .into_iter()
        .map(|row| Found { price: orderings::price(&row), row, probes: Vec::new() })
        .collect();
    let tasks: Vec<(usize, Mutation)> = (0..found.len())
        .filter(|&i| found[i].row.is_reached())
        .flat_map(|i| found[i].row.mutations().map(move |mutation| (i, mutation)).collect::<Vec<_>>())
        .collect();
    // What the source says is not needed is searched last: those searches have no end, and take what time is left.
    let (mut short, mut long) = (Vec::new(), Vec::new());
    for task in &tasks {
        if found[task.0].row.used.why_kept().is_none() { short.push(task) } else { long.push(task) }
    }
    let progress = ProgressBar::with_draw_target(Some(tasks.len() as u64), ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is valid"),
    );
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let deadline = start + args.budget;
    let left = Mutex::new((short.iter().chain(&long), tasks.len()));
    let probes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(|| {
                loop {
                    let next = {
                        let mut left = left.lock().expect("no panic inside");
                        let time = deadline.saturating_duration_since(Instant::now());
                        // A search that is to find something may take long if it must; few do.
                        let share = time * cpus as u32 / left.1.max(1) as u32;
                        left.1 = left.1.saturating_sub(1);
                        left.0.next().map(|&(i, mutation)| {
                            let patient = found[*i].row.used.why_kept().is_none();
                            (*i, mutation, if patient { time / 4 } else { share.min(time) })
                        })
                    };
                    let Some((i, mutation, time)) = next else { break };
                    progress.set_message(mutation.to_string());
                    let probe = probe_in_child(mutation, &found[i].row.scenarios, time, args.seed);
                    probes.lock().expect("no panic inside").push((i, probe));
                    progress.inc(1);
                }
            });
        }
    });
    progress.finish_and_clear();
    for (i, probe) in probes.into_inner().expect("no panic inside") {
        found[i].probes.push(probe);
    }
    found
}

fn probe_in_child(
    mutation: &Mutation,
    scenarios: &[String],
    time: Duration,
    seed: u64,
) -> Result<Probe, String> {
    let mutation = serde_json::to_string(mutation).map_err(|error| error.to_string())?;
    let (milliseconds, seed) = (time.as_millis().to_string(), seed.to_string());
    let mut args = vec!["probe", "--mutation", &mutation, "--milliseconds", &milliseconds, "--seed", &seed];
    args.extend(scenarios.iter().flat_map(|scenario| ["--scenario", scenario]));
    ask_child(&args, time)
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
            Ok(Probe::Needed { counterexample, .. }) => say(report::render(counterexample)),
            Ok(probe @ Probe::NotNeeded { .. }) => say(format_args!("It was {}.", not_needed(probe))),
            Err(why) => say(format_args!("No result: {why}.")),
        }
    }
    if let Some(why) = found.row.why_kept() {
        say(format_args!("It stays: {why}"));
    }
}

fn text(found: &[Found], start: Instant) {
    let mut table = report::plain_table();
    table.set_header(["site", "function", "operation", "ordering", "ns", "one step weaker"]);
    for found in found {
        let used = &found.row.used;
        let operation = match (used.operation.name(), used.object.as_str()) {
            (name, "") => name.to_owned(),
            (name, object) => format!("{name} {object}"),
        };
        let price = found.price.map_or(String::new(), |price| format!("{price:.1}"));
        table.add_row([
            Cell::new(&used.place),
            Cell::new(&used.function),
            Cell::new(operation),
            Cell::new(used.order),
            Cell::new(price).set_alignment(CellAlignment::Right),
            consequence(found),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    say(format_args!("{}\n", table.trim_fmt()));
    let needed = found.iter().filter(|found| found.needed().is_some()).count();
    let explored: u64 = found.iter().flat_map(|found| &found.probes).flatten().map(Probe::explored).sum();
    let unexplained = found.iter().filter(|found| !found.is_explained()).count();
    say(format_args!(
        "ns: what it costs here, beside the same one step weaker.\n\
         {} orderings; {needed} are needed, {unexplained} unexplained; the others say why they stay. {explored} executions in {:.0} s.\n\
         A counterexample: cargo run --release -- orderings --explain SITE",
        found.len(),
        start.elapsed().as_secs_f64()
    ));
}

/// What becomes of the library with this ordering one step weaker.
fn consequence(found: &Found) -> Cell {
    if let Some(NeededBy { scenario, engine, memory, steps }) = found.needed().and_then(NeededBy::of) {
        return Cell::new(format!("{scenario}: loses, {engine} {memory}, {steps} steps"));
    }
    let probes = found.probes.iter().map(|probe| probe.as_ref().map_or_else(Clone::clone, not_needed));
    let said: Vec<_> = probes.filter(|said| !said.is_empty()).collect();
    let why = found.row.why_kept().map(str::to_owned);
    let unfinished =
        found.is_unfinished().then(|| "no result: time was up too early, try a longer --budget".into());
    let text = unfinished.into_iter().chain(said).chain(why).collect::<Vec<_>>().join("; ");
    if found.is_explained() {
        Cell::new(text)
    } else {
        Cell::new(format!("UNEXPLAINED {text}")).fg(Color::Red)
    }
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
