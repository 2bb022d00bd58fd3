//! `reveille verdict`: the table gate × consumer × engine, and what it means.

mod search;
mod text;

use std::time::{Duration, Instant};

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{self, GateName};
use serde::Serialize;

use super::cell::Finding;
use super::{EngineName, Format, Outcome, say, seconds};

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
    let cells = search::cells(args);
    let mut found = search::search(&cells, args);
    adjudicate(&mut found, args);
    let contradictions: Vec<_> = found.iter().filter(|found| found.contradicts()).collect();
    match args.format {
        Format::Json => say(format_args!(
            "{}",
            serde_json::to_string_pretty(&found.iter().map(Row::from).collect::<Vec<_>>())?
        )),
        Format::Text => {
            say(format_args!("{}\n", text::table(&found).trim_fmt()));
            say(text::legend(&found, args));
            say(text::answer(&found));
            say(text::reproduce(&found));
            say(format_args!("{} searches in {:.0} s.", found.len(), start.elapsed().as_secs_f64()));
            for Found { gate, consumer, engine, finding } in &contradictions {
                say(format_args!(
                    "CONTRADICTION: {gate} × {consumer}, {} {}: {}",
                    engine.name(),
                    engine.memory(),
                    match finding.verdict.misses() {
                        Some(true) => "a miss, and this project documents that there is none",
                        _ =>
                            "no miss within the budget, and this project documents one; try a longer --budget",
                    }
                ));
            }
        }
    }
    Ok(contradictions.is_empty())
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
