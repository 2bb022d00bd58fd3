//! `reveille explain GATE CONSUMER`.

use std::time::Duration;

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::report;
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{self, GateName};
use reveille_checks::verdict::Verdict;

use super::{EngineName, Outcome, seconds};

/// The counterexample of a gate with a consumer, or what was searched if there is none.
///
/// Engines are asked one after the other, those first that show the algorithm rather than the orderings; the first
/// counterexample is printed. From loom it has the fewest preemptions.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gate: has-sleeper, has-sleeper-no-barrier, posted, posted-fenced, armed-late, rearm, rearm-opt-in, per-entry
    gate: GateName,
    /// The consumer: epoll-level, epoll-edge, poll-once, two-pollers, persistent, activation, epoll-level-2p, passer-by,
    /// exclusive-pair
    consumer: Consumer,
    /// Ask this engine only: loom, shuttle
    #[arg(long)]
    engine: Option<EngineName>,
    /// Time for each engine
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    budget: Duration,
    /// Seed of shuttle's random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
}

/// Runs `reveille explain`.
pub fn run(args: &Args) -> Outcome {
    let engines = [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle];
    let asked: Vec<_> =
        engines.into_iter().filter(|&engine| args.engine.is_none_or(|name| name.means(engine))).collect();
    if asked.is_empty() {
        return Err(
            "the hardware explains nothing; try `reveille stress`, or the engines loom and shuttle".into()
        );
    }
    let mut searched = Vec::new();
    let mut contradicted = false;
    for engine in asked {
        let budget = Budget { time: args.budget, seed: args.seed };
        let verdict = subject::search(args.gate, args.consumer, engine, budget);
        contradicted |= subject::contradicts(args.gate, args.consumer, engine, &verdict).unwrap_or(false);
        let line = format!("{} {}: {} executions", engine.name(), engine.memory(), verdict.explored());
        match verdict {
            Verdict::Misses { counterexample, .. } => {
                for line in searched {
                    println!("{line}");
                }
                println!("{line} until this one\n\n{}", report::render(&counterexample));
                if engine == Engine::LoomC11 {
                    println!("Loom can be wrong here (see the README): this miss is not adjudicated.");
                }
                return Ok(!contradicted);
            }
            verdict => searched.push(match verdict.bound() {
                None => format!("{line}, the search ended: no miss"),
                Some(bound) => format!("{line}, no miss within the bound ({bound})"),
            }),
        }
    }
    println!("{} × {}: no counterexample\n\n{}", args.gate, args.consumer, searched.join("\n"));
    Ok(!contradicted)
}
