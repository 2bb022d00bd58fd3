//! `reveille verdict`: the table gate × consumer × engine, and what it means.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Color};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reveille_checks::engine::{Budget, Engine};
use reveille_checks::report;
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{self, GateName};
use reveille_checks::verdict::Verdict;
use serde::Serialize;

use super::cell::{self, Finding};
use super::{EngineName, Outcome, seconds};

/// What `reveille verdict` takes; an option that is not given narrows nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// These gates only: has-sleeper, has-sleeper-no-barrier, posted, posted-fenced, armed-late, rearm, rearm-by-store, rearm-opt-in,
    /// per-entry
    #[arg(long, value_delimiter = ',')]
    gate: Vec<GateName>,
    /// These consumers only: epoll-level, epoll-edge, poll-once, two-pollers, persistent, activation, epoll-level-2p, passer-by,
    /// exclusive-pair
    #[arg(long, value_delimiter = ',')]
    consumer: Vec<Consumer>,
    /// These engines only: model, loom, shuttle, hardware
    #[arg(long, value_delimiter = ',')]
    engine: Vec<EngineName>,
    /// Wall time for the whole run
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "45")]
    budget: Duration,
    /// Seed of shuttle's random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// What to print: text or json
    #[arg(long, default_value = "text")]
    format: Format,
}

/// For whom to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// A cell of the table with what was found in it.
struct Found {
    gate: GateName,
    consumer: Consumer,
    engine: Engine,
    finding: Finding,
}

impl Found {
    fn misses(&self) -> bool {
        self.finding.verdict.misses() == Some(true)
    }

    fn contradicts(&self) -> bool {
        subject::contradicts(self.gate, self.consumer, self.engine, &self.finding.verdict) == Some(true)
    }
}

/// A cell in JSON.
#[derive(Serialize)]
struct Row<'a> {
    gate: &'a str,
    consumer: &'a str,
    engine: &'a str,
    memory: &'a str,
    outcome: &'a str,
    explored: u64,
    bound: Option<&'a str>,
    seconds: f64,
    steps: Option<usize>,
}

impl<'a> From<&'a Found> for Row<'a> {
    fn from(Found { gate, consumer, engine, finding: Finding { verdict, seconds } }: &'a Found) -> Self {
        // The hardware's counterexample has no steps: nobody watched.
        let steps = verdict.counterexample().map(|counterexample| counterexample.trace.steps.len());
        Row {
            gate: gate.name(),
            consumer: consumer.name(),
            engine: engine.name(),
            memory: engine.memory(),
            outcome: verdict.outcome(),
            explored: verdict.explored(),
            bound: verdict.bound(),
            seconds: *seconds,
            steps: steps.filter(|&steps| steps > 0),
        }
    }
}

/// Runs `reveille verdict`.
pub fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    let cells = cells(args);
    let mut found = search(&cells, args);
    adjudicate(&mut found, args);
    let contradictions: Vec<_> = found.iter().filter(|found| found.contradicts()).collect();
    match args.format {
        Format::Json => {
            println!("{}", serde_json::to_string_pretty(&found.iter().map(Row::from).collect::<Vec<_>>())?)
        }
        Format::Text => {
            println!("{}\n", table(&found).trim_fmt());
            print!("{}", legend(&found, args));
            print!("\n{}", answer(&found));
            print!("\n{}", reproduce(&found));
            println!("\n{} cells in {:.0} s.", found.len(), start.elapsed().as_secs_f64());
            for Found { gate, consumer, engine, finding } in &contradictions {
                println!(
                    "CONTRADICTION: {gate} × {consumer}, {} {}: {}, which is not what this project documents.",
                    engine.name(),
                    engine.memory(),
                    finding.verdict.outcome()
                );
            }
        }
    }
    Ok(contradictions.is_empty())
}

/// The cells that are asked for, in the order of the table.
fn cells(args: &Args) -> Vec<(GateName, Consumer, Engine)> {
    let wanted = |engine: Engine| args.engine.is_empty() || args.engine.iter().any(|name| name.means(engine));
    let mut cells = Vec::new();
    for gate in GateName::ALL.into_iter().filter(|gate| args.gate.is_empty() || args.gate.contains(gate)) {
        for engine in Engine::ALL.into_iter().filter(|&engine| wanted(engine)) {
            let consumers = Consumer::ALL.into_iter();
            let consumers =
                consumers.filter(|consumer| args.consumer.is_empty() || args.consumer.contains(consumer));
            cells.extend(consumers.map(|consumer| (gate, consumer, engine)));
        }
    }
    cells
}

/// Turns loom's misses under c11 that the model refutes into alarms. Where the model was not asked for, it is asked now.
fn adjudicate(found: &mut [Found], args: &Args) {
    for i in 0..found.len() {
        let (gate, consumer) = (found[i].gate, found[i].consumer);
        if found[i].engine != Engine::LoomC11 || !found[i].misses() {
            continue;
        }
        let verdict = match rc11(found, gate, consumer) {
            Some(cell) => cell.finding.verdict.clone(),
            None => {
                let budget = Budget { time: args.budget / 10, seed: args.seed };
                subject::search(gate, consumer, Engine::ModelRc11, budget)
            }
        };
        let finding = &mut found[i].finding;
        finding.verdict = finding.verdict.clone().adjudicated(&verdict);
    }
}

/// The model's cell under RC11.
fn rc11(found: &[Found], gate: GateName, consumer: Consumer) -> Option<&Found> {
    found.iter().find(|cell| (cell.gate, cell.consumer, cell.engine) == (gate, consumer, Engine::ModelRc11))
}

/// The part of the budget that the hardware gets, which needs both CPUs for itself.
const HARDWARE_SHARE: f64 = 0.15;

/// Searches the cells, as many at a time as there are CPUs; the hardware's after all others, one at a time.
fn search(cells: &[(GateName, Consumer, Engine)], args: &Args) -> Vec<Found> {
    let progress = ProgressBar::with_draw_target(Some(cells.len() as u64), ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is valid"),
    );

    let is_hardware = |&index: &usize| cells[index].2 == Engine::Hardware;
    let (hardware, mut searches): (Vec<usize>, Vec<usize>) = (0..cells.len()).partition(is_hardware);
    // The model's searches end, and where a miss is documented a search ends with it. Such cells come first and may take
    // long; what they leave of the time is shared by those that have no end.
    searches.sort_by_key(|&index| !ends_early(cells[index]));
    let share = match (searches.is_empty(), hardware.is_empty()) {
        (false, false) => HARDWARE_SHARE,
        (true, _) => 1.0,
        (_, true) => 0.0,
    };
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let mut found = Vec::new();
    found.extend(search_all(cells, &searches, cpus, args.budget.mul_f64(1.0 - share), args.seed, &progress));
    found.extend(search_all(cells, &hardware, 1, args.budget.mul_f64(share), args.seed, &progress));
    progress.finish_and_clear();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Whether a search of this cell is expected to come to an end.
fn ends_early((gate, consumer, engine): (GateName, Consumer, Engine)) -> bool {
    engine.name() == "model" || engine != Engine::Hardware && subject::documented_miss(gate, consumer, engine)
}

/// Searches the cells of these indices within `budget`, `at_once` at a time. Time that a cell leaves over is for those after it.
fn search_all(
    cells: &[(GateName, Consumer, Engine)],
    indices: &[usize],
    at_once: usize,
    budget: Duration,
    seed: u64,
    progress: &ProgressBar,
) -> Vec<(usize, Found)> {
    let deadline = Instant::now() + budget;
    // A stress run is for one consumer; the other hardware cells cost nothing.
    let free = |index: usize| cells[index].2 == Engine::Hardware && cells[index].1 != Consumer::EpollLevel;
    let costly = indices.iter().filter(|&&index| !free(index)).count().max(1) as u32;
    let queue = Mutex::new((indices.iter(), costly));
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = {
                        let mut queue = queue.lock().expect("no panic inside");
                        let left = deadline.saturating_duration_since(Instant::now());
                        queue.0.next().map(|&index| {
                            let share = left * at_once as u32 / queue.1.max(1);
                            queue.1 -= u32::from(!free(index));
                            (index, if ends_early(cells[index]) { left / 2 } else { share })
                        })
                    };
                    let Some((index, time)) = next else { break };
                    let (gate, consumer, engine) = cells[index];
                    progress.set_message(format!(
                        "{gate} × {consumer}, {} {}",
                        engine.name(),
                        engine.memory()
                    ));
                    let engine_index =
                        Engine::ALL.iter().position(|&known| known == engine).expect("it is listed");
                    let milliseconds = time.as_millis() as u64;
                    let finding =
                        cell::spawn(&cell::Args { gate, consumer, engine: engine_index, milliseconds, seed });
                    progress.inc(1);
                    found
                        .lock()
                        .expect("no panic inside")
                        .push((index, Found { gate, consumer, engine, finding }));
                }
            });
        }
    });
    found.into_inner().expect("no panic inside")
}

fn table(found: &[Found]) -> comfy_table::Table {
    let consumers = consumers(found);
    let mut table = report::plain_table();
    // Narrow columns: a name may break after its hyphens.
    let names = consumers.iter().map(|consumer| consumer.name().replace('-', "-\n"));
    table.set_header(["gate", "engine"].map(String::from).into_iter().chain(names));
    for gate in GateName::ALL {
        let mut name = gate.name();
        let mut add_row = |engine: String, cells: Vec<Cell>| {
            if !cells.is_empty() {
                table.add_row([Cell::new(name), Cell::new(engine)].into_iter().chain(cells));
                name = "";
            }
        };
        let cells =
            |engine: Engine| found.iter().filter(move |cell| cell.gate == gate && cell.engine == engine);
        // The model's three memories share a row: it is the weakest thing needed for a miss that matters.
        let by_memory: Vec<Vec<_>> = MODEL.map(|engine| cells(engine).collect()).into();
        add_row("model".into(), (0..by_memory[0].len()).map(|i| brief_model(&by_memory, i)).collect());
        for engine in Engine::ALL.into_iter().filter(|engine| !MODEL.contains(engine)) {
            add_row(format!("{} {}", engine.name(), engine.memory()), cells(engine).map(brief).collect());
        }
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i >= 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The model's memories, the strongest first.
const MODEL: [Engine; 3] = [Engine::ModelSc, Engine::ModelTso, Engine::ModelRc11];

/// The consumers that there are cells for.
fn consumers(found: &[Found]) -> Vec<Consumer> {
    Consumer::ALL
        .into_iter()
        .filter(|&consumer| found.iter().any(|found| found.consumer == consumer))
        .collect()
}

/// The model's cells of one gate and consumer: the strongest memory under which something is missed.
fn brief_model(by_memory: &[Vec<&Found>], i: usize) -> Cell {
    let cells: Vec<_> = by_memory.iter().map(|cells| cells[i]).collect();
    let mark = if cells.iter().any(|cell| cell.contradicts()) { "!" } else { "" };
    if let Some(miss) = cells.iter().find(|cell| cell.misses()) {
        return Cell::new(format!("{mark}MISS {}", miss.engine.memory())).fg(Color::Red);
    }
    match cells.iter().find(|cell| !matches!(cell.finding.verdict, Verdict::Complete { .. })) {
        None => Cell::new(format!("{mark}ok")).fg(Color::Green),
        Some(Found { finding: Finding { verdict: Verdict::Skipped { .. }, .. }, .. }) => Cell::new("-"),
        Some(_) => Cell::new("?").fg(Color::Yellow),
    }
}

/// A cell in a few letters; the legend says what they mean.
fn brief(found: &Found) -> Cell {
    let mark = if found.contradicts() { "!" } else { "" };
    match &found.finding.verdict {
        Verdict::Misses { .. } if found.engine == Engine::Hardware => {
            Cell::new(format!("{mark}STALL")).fg(Color::Red)
        }
        Verdict::Misses { counterexample, .. } => {
            Cell::new(format!("{mark}MISS {}", counterexample.trace.steps.len())).fg(Color::Red)
        }
        Verdict::Alarm { .. } => Cell::new("ALARM").fg(Color::Yellow),
        Verdict::Complete { explored } => {
            Cell::new(format!("{mark}all {}", short(*explored))).fg(Color::Green)
        }
        Verdict::Bounded { preemptions: Some(bound), .. } => {
            Cell::new(format!("{mark}≤{bound}")).fg(Color::Green)
        }
        Verdict::Bounded { explored, .. } => {
            Cell::new(format!("{mark}{}", short(*explored))).fg(Color::Green)
        }
        Verdict::Skipped { .. } => Cell::new("-"),
        Verdict::Inconclusive { .. } => Cell::new("?").fg(Color::Yellow),
    }
}

/// A count in at most four characters.
fn short(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

fn legend(found: &[Found], args: &Args) -> String {
    let any = |engine: &str| found.iter().any(|cell| cell.engine.name() == engine);
    let mut text = String::new();
    if any("model") {
        text += "model     ok: all states searched under sc, tso (x86) and rc11, nothing missed; MISS m: under m and all weaker\n";
    }
    if any("loom") {
        text += "loom      MISS n: a counterexample of n steps; ≤b: nothing missed with at most b preemptions, then time was up;\n          \
                 all n: the search ended after n executions. sc: interleavings only; c11: stale reads too\n";
    }
    if any("shuttle") {
        text += "shuttle   MISS n: a counterexample of n steps; n: nothing missed in n schedules, a sample of interleavings. It\n          \
                 sees no late stores, so it cannot see the misses that need them\n";
    }
    if any("hardware") {
        text += "hardware  STALL: the program would have slept for ever; n: no stall in n completions, a sample\n";
    }
    let _ = writeln!(
        text,
        "2 completions; loom and shuttle also with a spurious first wake. Budget {:.0} s, seed {}, loom 0.7.3, shuttle 0.9.9.",
        args.budget.as_secs_f64(),
        args.seed
    );
    for Found { gate, consumer, engine, finding } in found {
        let why = match &finding.verdict {
            Verdict::Inconclusive { why } => why,
            Verdict::Skipped { why } if *engine != Engine::Hardware || *consumer == Consumer::EpollLevel => {
                why
            }
            _ => continue,
        };
        let _ =
            writeln!(text, "no result: {gate} × {consumer}, {} {}: {why}", engine.name(), engine.memory());
    }
    text + &disagreements(found)
}

/// Where loom under c11 and the model under RC11 say different things.
fn disagreements(found: &[Found]) -> String {
    let mut text = String::new();
    for loom in found.iter().filter(|cell| cell.engine == Engine::LoomC11) {
        let Found { gate, consumer, finding, .. } = loom;
        let rc11 =
            |cell: &&Found| (cell.gate, cell.consumer, cell.engine) == (*gate, *consumer, Engine::ModelRc11);
        let rc11 = found.iter().find(rc11);
        let _ = match &finding.verdict {
            Verdict::Alarm { explored, refuted_by, .. } => writeln!(
                text,
                "ALARM: {gate} × {consumer}: loom c11 reports a miss after {explored} executions. It is a false one: the \
                 model's complete search under RC11, {refuted_by} states, has none."
            ),
            verdict if verdict.misses() == Some(false) && rc11.is_some_and(|rc11| rc11.misses()) => {
                writeln!(
                    text,
                    "missed by loom: {gate} × {consumer}: the model has a miss under RC11, loom c11 found none."
                )
            }
            _ => Ok(()),
        };
    }
    text
}

/// What it takes for a miss, according to the cells of one gate and consumer: the model's if there are any.
fn needed(cells: &[&Found]) -> Option<&'static str> {
    let missed_by = |engine: Engine| cells.iter().any(|cell| cell.engine == engine && cell.misses());
    if missed_by(Engine::ModelSc) {
        Some(ANY_MACHINE)
    } else if missed_by(Engine::ModelTso) {
        Some("on x86 and weaker machines")
    } else if missed_by(Engine::ModelRc11) {
        Some("on machines weaker than x86")
    } else if missed_by(Engine::LoomSc) || missed_by(Engine::Shuttle) {
        Some(ANY_MACHINE)
    } else if missed_by(Engine::LoomC11) {
        Some("where stores are seen late")
    } else {
        None
    }
}

const ANY_MACHINE: &str = "on any machine";

/// The table in words. Every sentence is made from the cells.
fn answer(found: &[Found]) -> String {
    let mut text = String::new();
    for gate in GateName::ALL {
        let cells: Vec<_> = found.iter().filter(|cell| cell.gate == gate).collect();
        if cells.is_empty() {
            continue;
        }
        let mut by_need: Vec<(Option<&str>, Vec<Consumer>)> = Vec::new();
        for consumer in consumers(found) {
            let here: Vec<_> = cells.iter().copied().filter(|cell| cell.consumer == consumer).collect();
            let need = needed(&here);
            match by_need.iter_mut().find(|(known, _)| *known == need) {
                Some((_, consumers)) => consumers.push(consumer),
                None => by_need.push((need, vec![consumer])),
            }
        }
        by_need.sort_by_key(|(need, _)| need.map_or(2, |need| usize::from(need != ANY_MACHINE)));
        let mut clauses: Vec<_> = by_need
            .iter()
            .map(|(need, consumers)| match need {
                Some(machine) => format!("loses wakeups {machine} with {}", names(consumers)),
                None => format!("nothing missed with {}", names(consumers)),
            })
            .collect();
        if cells.iter().any(|cell| cell.engine == Engine::Hardware && cell.misses()) {
            clauses.push("stalled on this machine's io_uring".into());
        }
        let _ = writeln!(text, "{:24} {}", format!("`{gate}`"), clauses.join(";\n                         "));
    }
    let posted = found.iter().filter(|cell| cell.gate == GateName::Posted);
    let valid = match posted.clone().any(Found::misses) {
        true => {
            "Is the optimisation valid? No: as posted it can miss a wakeup, and then its consumer sleeps for ever.\n\n"
        }
        false if posted.count() > 0 => "Is the optimisation valid? No miss of `posted` was found here.\n\n",
        false => "",
    };
    let sound = |gate: &GateName| {
        let cells = || found.iter().filter(|cell| cell.gate == *gate);
        cells().count() > 0 && !cells().any(Found::misses)
    };
    let sound: Vec<_> = GateName::ALL.into_iter().filter(sound).map(GateName::name).collect();
    if !sound.is_empty() {
        let _ = writeln!(text, "\nNothing was missed with {}, as far as was searched.", sound.join(" and "));
    }
    valid.to_owned() + &text
}

fn names(consumers: &[Consumer]) -> String {
    match consumers {
        all if all.len() == Consumer::ALL.len() => "every consumer".into(),
        some => some.iter().map(|consumer| consumer.name()).collect::<Vec<_>>().join(", "),
    }
}

/// How to see a cell again.
fn reproduce(found: &[Found]) -> String {
    let miss = found.iter().find(|found| found.misses() && found.gate == GateName::Posted);
    let Some(cell) = miss.or(found.first()) else { return String::new() };
    format!(
        "See how:          cargo run --release -- explain {0} {1}\nOn real hardware: cargo run --release -- stress {0}\n",
        cell.gate, cell.consumer
    )
}
