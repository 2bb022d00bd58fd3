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
    /// These gates only: has-sleeper, has-sleeper-no-barrier, posted, posted-fenced, armed-late, rearm, rearm-opt-in,
    /// per-entry
    #[arg(long, value_delimiter = ',')]
    gate: Vec<GateName>,
    /// These consumers only: epoll-level, epoll-edge, poll-once, two-pollers, persistent, activation, epoll-level-2p, passer-by,
    /// exclusive-pair
    #[arg(long, value_delimiter = ',')]
    consumer: Vec<Consumer>,
    /// These engines only: loom, shuttle, hardware
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
    let found = search(&cells, args);
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
    // Where a miss is documented the search ends with it. Such cells come first and may take long; what they leave of the
    // time is shared by those that have no end.
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

/// Whether a search of this cell is expected to end with a miss.
fn ends_early((gate, consumer, engine): (GateName, Consumer, Engine)) -> bool {
    engine != Engine::Hardware && subject::documented_miss(gate, consumer, engine)
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
    let consumers: Vec<_> = Consumer::ALL
        .into_iter()
        .filter(|&consumer| found.iter().any(|found| found.consumer == consumer))
        .collect();
    let mut table = report::plain_table();
    table.set_header(["gate", "engine"].into_iter().chain(consumers.iter().map(|consumer| consumer.name())));
    for gate in GateName::ALL {
        let mut name = gate.name();
        for engine in Engine::ALL {
            let row: Vec<_> =
                found.iter().filter(|found| found.gate == gate && found.engine == engine).collect();
            if row.is_empty() {
                continue;
            }
            let mut line = vec![Cell::new(name), Cell::new(format!("{} {}", engine.name(), engine.memory()))];
            line.extend(row.into_iter().map(brief));
            table.add_row(line);
            name = "";
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A cell in a few letters; the legend says what they mean.
fn brief(found: &Found) -> Cell {
    let mark = if found.contradicts() { "!" } else { "" };
    match &found.finding.verdict {
        Verdict::Misses { explored, .. } if found.engine == Engine::Hardware => {
            Cell::new(format!("{mark}STALL of {}", short(*explored))).fg(Color::Red)
        }
        Verdict::Misses { counterexample, .. } => {
            Cell::new(format!("{mark}MISS in {}", counterexample.trace.steps.len())).fg(Color::Red)
        }
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
    let mut text = String::from(
        "MISS in n   a wakeup is lost; the counterexample has n steps (`reveille explain GATE CONSUMER`)\n\
         all n       nothing missed; the engine's search ended, after n executions\n\
         ≤b          nothing missed in any execution that loom tried with at most b preemptions; time was up then\n\
         n           nothing missed in n schedules (shuttle) or completions (hardware), a sample\n",
    );
    if found.iter().any(|found| found.engine == Engine::Hardware) {
        text += "STALL of n  the real program would have slept for ever, at least once in n completions\n\
                 -           the hardware's consumer is that of epoll-level\n";
    }
    let inconclusive = found.iter().filter_map(|found| match &found.finding.verdict {
        Verdict::Inconclusive { why } => Some((found, why)),
        Verdict::Skipped { why }
            if found.engine == Engine::Hardware && found.consumer == Consumer::EpollLevel =>
        {
            Some((found, why))
        }
        _ => None,
    });
    for (Found { gate, consumer, engine, .. }, why) in inconclusive {
        let _ =
            writeln!(text, "?           {gate} × {consumer}, {} {}: {why}", engine.name(), engine.memory());
    }
    let _ = writeln!(
        text,
        "2 completions, spurious wakes: none, and the first park; budget {:.0} s, seed {}; loom 0.7.3, shuttle 0.9.9.\n\
         Loom's c11 misses are not adjudicated: it is wrong now and then. Shuttle and loom sc see no late stores.",
        args.budget.as_secs_f64(),
        args.seed
    );
    text
}

/// The table in words. Every sentence is made from the cells.
fn answer(found: &[Found]) -> String {
    let mut text = String::new();
    let mut unhurt = Vec::new();
    for gate in GateName::ALL {
        let cells: Vec<_> = found.iter().filter(|found| found.gate == gate).collect();
        if cells.is_empty() {
            continue;
        }
        let lost = |engines: &[Engine]| -> Vec<Consumer> {
            let by = |consumer| {
                cells
                    .iter()
                    .any(|cell| cell.consumer == consumer && engines.contains(&cell.engine) && cell.misses())
            };
            Consumer::ALL.into_iter().filter(|&consumer| by(consumer)).collect()
        };
        let anywhere = lost(&[Engine::LoomSc, Engine::Shuttle]);
        let late: Vec<_> =
            lost(&[Engine::LoomC11]).into_iter().filter(|miss| !anywhere.contains(miss)).collect();
        let stalled = lost(&[Engine::Hardware]);
        let mut clauses = Vec::new();
        if !anywhere.is_empty() {
            clauses.push(format!("loses wakeups on any machine with {}", names(&anywhere)));
        }
        if !late.is_empty() {
            clauses.push(format!("loses them where stores are seen late with {}", names(&late)));
        }
        if !stalled.is_empty() {
            clauses.push("did stall on this machine's io_uring".into());
        }
        let consumers: Vec<_> =
            Consumer::ALL.into_iter().filter(|c| cells.iter().any(|x| x.consumer == *c)).collect();
        if clauses.is_empty() {
            unhurt.push(gate.name());
            clauses.push(format!("nothing missed with {}, within the bounds above", names(&consumers)));
        }
        let name = format!("`{gate}`");
        let _ = writeln!(text, "{name:24} {}.", clauses.join("; "));
    }
    if let Some(posted) = text.lines().find(|line| line.starts_with("`posted`")) {
        let valid = if posted.contains("lose") || posted.contains("stall") {
            "Is the optimisation valid? No: as posted it can miss a wakeup, and then its consumer stalls."
        } else {
            "Is the optimisation valid? No miss of `posted` was found here, which is no proof."
        };
        text = format!("{valid}\n\n{text}");
    }
    if !unhurt.is_empty() {
        let _ = writeln!(text, "\nNothing was missed with {}.", unhurt.join(", "));
    }
    text
}

fn names(consumers: &[Consumer]) -> String {
    match consumers {
        all if all.len() == Consumer::ALL.len() => "every consumer".into(),
        some => some.iter().map(|consumer| consumer.name()).collect::<Vec<_>>().join(", "),
    }
}

/// How to see a cell again.
fn reproduce(found: &[Found]) -> String {
    let Some(miss) = found.iter().find(|found| found.misses() && found.gate == GateName::Posted) else {
        let Some(first) = found.first() else { return String::new() };
        return format!(
            "What was searched:  cargo run --release -- explain {} {}\n",
            first.gate, first.consumer
        );
    };
    format!(
        "See one happen:  cargo run --release -- explain {0} {1}\nOn this machine: cargo run --release -- stress {0}\n",
        miss.gate, miss.consumer
    )
}
