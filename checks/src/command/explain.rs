//! `reveille explain GATE CONSUMER`.

use std::time::Duration;

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::report;
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{self, GateName};
use reveille_checks::verdict::Verdict;

use super::{EngineName, Outcome, say, seconds};

/// The counterexample of a gate with a consumer, or what was searched if there is none.
///
/// First the formal model's shortest counterexample, under the strongest memory that has one; then one of the code itself,
/// from loom, with the fewest preemptions, or else from shuttle.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gate: has-sleeper, has-sleeper-no-barrier, posted, posted-fenced, armed-late, rearm, rearm-by-store, rearm-opt-in, per-entry
    gate: GateName,
    /// The consumer: epoll-level, epoll-edge, poll-once, two-pollers, persistent, activation, epoll-level-2p, passer-by,
    /// exclusive-pair
    consumer: Consumer,
    /// Ask this engine only: model, loom, shuttle
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
    let asked = |engine: &Engine| args.engine.is_none_or(|name| name.means(*engine));
    let engines: Vec<_> = ENGINES.into_iter().filter(asked).collect();
    if engines.is_empty() {
        return Err(
            "the hardware explains nothing; try `reveille stress`, or the engines model, loom, shuttle"
                .into(),
        );
    }
    let mut searched = String::new();
    let mut shown = Vec::new();
    let mut contradicted = false;
    let mut rc11 = None;
    for engine in engines {
        // The model shows what is possible, loom or shuttle that the code does it: one counterexample of each.
        let kind = engine.name() == "model";
        if shown.contains(&kind) {
            continue;
        }
        let budget = Budget { time: args.budget, seed: args.seed };
        let mut verdict = subject::search(args.gate, args.consumer, engine, budget);
        if engine == Engine::LoomC11 {
            let ask = || subject::search(args.gate, args.consumer, Engine::ModelRc11, budget);
            verdict = verdict.adjudicated(rc11.get_or_insert_with(ask));
        }
        contradicted |= subject::contradicts(args.gate, args.consumer, engine, &verdict).unwrap_or(false);
        let what = if kind { "states" } else { "executions" };
        searched += &format!("{} {}: {} {what}", engine.name(), engine.memory(), verdict.explored());
        searched += &match &verdict {
            Verdict::Misses { .. } => ": a miss\n".into(),
            Verdict::Alarm { refuted_by, .. } => {
                format!(
                    ": an ALARM, refuted by the model's complete search under RC11 ({refuted_by} states)\n"
                )
            }
            verdict => match verdict.bound() {
                None => ", the search ended: no miss\n".into(),
                Some(bound) => format!(", no miss within the bound ({bound})\n"),
            },
        };
        if let Some(counterexample) = verdict.counterexample() {
            shown.push(kind);
            say(report::render(counterexample));
        }
        if engine == Engine::ModelRc11 {
            rc11 = Some(verdict);
        }
    }
    if shown.is_empty() {
        say(format_args!("{} × {}: no counterexample\n", args.gate, args.consumer));
    }
    say(searched.trim_end());
    Ok(!contradicted)
}

/// Those that explain something, the strongest memory first.
const ENGINES: [Engine; 6] =
    [Engine::ModelSc, Engine::ModelTso, Engine::ModelRc11, Engine::LoomSc, Engine::LoomC11, Engine::Shuttle];
