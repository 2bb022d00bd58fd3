//! `reveille explain GATE CONSUMER` and `reveille explain PROTOCOL [MUTANT]`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use reveille_checks::engine::{Budget, Engine};
use reveille_checks::names::Named;
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{GateName, PoolCase, Replay, WakeCase};
use reveille_checks::verdict::{Counterexample, Verdict};
use reveille_checks::{kernel, picture, report};
use reveille_model::litmus::{Model, Test};

use super::output::{page, program, say_command, verbatim};
use super::{Ending, EngineName, Outcome, Subject, named, print_json, progress, say, seconds};

/// The counterexample of a gate with a consumer, or of a protocol of the pool with a mistake; or what was
/// searched if there is none.
///
/// First one of the code itself, from the exact engine, under the strongest memory that has one; then the
/// formal model's shortest one. Loom and shuttle are asked if the exact engine comes to no end, or by
/// name.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A gate, or a protocol of the worker pool
    #[arg(value_name = "GATE|PROTOCOL", value_parser = PossibleValuesParser::new(subjects()))]
    name: String,
    /// The consumer of the gate; or the mistake in the protocol, and without one, the protocol as it is
    #[arg(value_name = "CONSUMER|MUTANT", value_parser = PossibleValuesParser::new(companions()))]
    with: Option<String>,
    /// What the names belong to; they tell by themselves
    #[arg(long, value_enum)]
    subject: Option<Subject>,
    /// Ask this engine only
    #[arg(long, value_parser = named::<EngineName>())]
    engine: Option<EngineName>,
    /// Time for each engine
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    budget: Duration,
    /// Seed of the random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// Write the counterexample of the code as a page for a browser, in one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write it as a drawing
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print the counterexamples as JSON, and nothing else
    #[arg(long, conflicts_with = "kernel")]
    json: bool,
    /// Print the same in kernel C: a litmus test, its verdict under the kernel's memory model, and the command that
    /// confirms it
    #[arg(long, conflicts_with_all = ["engine", "replay", "html", "svg"])]
    kernel: bool,
    /// Show this execution again: the text that a counterexample of the exact engine ends with
    #[arg(long, value_name = "TEXT", conflicts_with = "engine")]
    replay: Option<String>,
}

/// What can be explained.
fn subjects() -> Vec<&'static str> {
    let mut names = GateName::names();
    names.extend(PoolCase::protocols());
    names
}

/// With what it can be explained.
fn companions() -> Vec<&'static str> {
    let mut names = Consumer::names();
    for mutant in PoolCase::protocols().into_iter().flat_map(PoolCase::mutants) {
        if !names.contains(&mutant) {
            names.push(mutant);
        }
    }
    names
}

/// Runs `reveille explain`.
pub fn run(args: &Args) -> Outcome {
    let with = args.with.as_deref();
    let subject = args.subject.unwrap_or_else(|| match PoolCase::new(&args.name, None) {
        Ok(_) => Subject::Pool,
        Err(_) => Subject::Wakeup,
    });
    match subject {
        Subject::Pool if args.kernel => {
            Err("kernel C is there for a gate with a consumer, not for the worker pool".into())
        }
        Subject::Pool => explain(PoolCase::new(&args.name, with)?, args),
        Subject::Wakeup => {
            let gate: GateName = args.name.parse()?;
            let Some(consumer) = with else {
                let consumers = Consumer::names().join(", ");
                return Err(format!("`{gate}` with which consumer? There are {consumers}").into());
            };
            let consumer = consumer.parse()?;
            if args.kernel { in_kernel_c(gate, consumer) } else { explain(WakeCase { gate, consumer }, args) }
        }
    }
}

/// Prints a litmus test and what comes of it.
fn in_kernel_c(gate: GateName, consumer: Consumer) -> Outcome {
    let Some(example) = kernel::test(gate, consumer) else {
        let why = "that takes more than a litmus test of two threads can say";
        return Err(format!("{gate} with {consumer} has no test in kernel C: {why}").into());
    };
    verbatim(example.text.trim_end());
    say("");
    let test = Test::parse(example.text)?;
    for model in Model::ALL {
        let outcomes = test.run(model)?;
        say(format_args!(
            "{model:5} {}: {} of {} final states lose a wakeup",
            outcomes.observation,
            outcomes.witnesses,
            outcomes.states().len()
        ));
    }
    say_command("Confirm it: ", &format!("herd7 -conf linux-kernel.cfg {}.litmus", example.name));
    Ok(Ending::Agrees)
}

fn explain<C: Replay>(case: C, args: &Args) -> Outcome {
    if let Some(record) = &args.replay {
        let (engine, counterexample) = case.replay(record)?;
        draw(&counterexample, args)?;
        match args.json {
            true => print_json(None, &[&counterexample])?,
            false => show(&counterexample, args),
        }
        let verdict = Verdict::Misses { counterexample, explored: 1 };
        return Ok(Ending::of(case.contradicts(engine, &verdict) == Some(true), false));
    }
    let asked = |engine: &Engine| args.engine.is_none_or(|name| name.means(*engine));
    let engines: Vec<_> = ENGINES.into_iter().filter(asked).collect();
    if engines.is_empty() {
        return Err(
            "the hardware explains nothing; try `reveille stress`, or the engines exact, model, loom, shuttle"
                .into(),
        );
    }
    let mut searched = String::new();
    let mut shown = Vec::new();
    let mut as_json = Vec::new();
    let (mut contradicted, mut has_a_result) = (false, false);
    // Whether the exact engine visited every execution under RC11.
    let mut ended = false;
    for engine in engines {
        // One counterexample of the code, and one of the program beside it. The other engines are second
        // opinions: they are asked if the exact one came to no end, or by name.
        let kind = engine.name() == "model";
        let is_second = !kind && engine.of_the_exact_engine().is_none() && args.engine.is_none();
        if shown.contains(&kind) || is_second && ended {
            continue;
        }
        let budget = Budget { seed: args.seed, ..Budget::of_time(args.budget) }.on_all_cpus();
        if case.pointless(engine).is_some() {
            continue;
        }
        let progress = progress::sign_of_life(format!("{case}: {} {}", engine.name(), engine.memory()));
        let mut verdict = case.search(engine, budget);
        if engine == Engine::LoomC11 && verdict.misses() == Some(true) {
            for judge in Engine::JUDGES {
                verdict = verdict.adjudicated(judge, &case.search(judge, budget));
            }
        }
        progress.finish_and_clear();
        verdict = case.weighed(engine, verdict);
        has_a_result |= !matches!(verdict, Verdict::Inconclusive { .. } | Verdict::Skipped { .. });
        contradicted |= case.contradicts(engine, &verdict).unwrap_or(false);
        let what = if kind { "states" } else { "executions" };
        searched += &format!("{} {}: {} {what}", engine.name(), engine.memory(), verdict.explored());
        searched += &match &verdict {
            Verdict::Misses { .. } => ": a miss\n".into(),
            Verdict::Alarm { refuted_by, .. } => {
                format!(": an ALARM: {refuted_by} has no miss\n")
            }
            Verdict::Inconclusive { why } => format!(", no result ({why})\n"),
            verdict => match verdict.bound() {
                None => ", the search ended: no miss\n".into(),
                Some(bound) => format!(", no miss within the bound ({bound})\n"),
            },
        };
        if let Some(counterexample) = verdict.counterexample() {
            if shown.is_empty() {
                draw(counterexample, args)?;
            }
            shown.push(kind);
            match args.json {
                true => as_json.push(counterexample.clone()),
                false => show(counterexample, args),
            }
        }
        if engine == Engine::ExactRc11 {
            ended = matches!(verdict, Verdict::Complete { .. });
        }
    }
    if args.json {
        print_json(Some(args.seed), &as_json)?;
    } else {
        if shown.is_empty() {
            say(format_args!("{case}: no counterexample\n"));
        }
        say(searched.trim_end());
    }
    Ok(Ending::of(contradicted, !has_a_result))
}

/// Writes the pictures that are asked for.
fn draw(counterexample: &Counterexample, args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let files = [(&args.html, picture::html as fn(&Counterexample) -> String), (&args.svg, picture::svg)];
    for (file, picture) in files {
        if let Some(file) = file {
            std::fs::write(file, picture(counterexample))
                .map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(())
}

/// Prints a counterexample, and how to see it again.
fn show(counterexample: &Counterexample, args: &Args) {
    say(report::render_on(counterexample, page()));
    if let Some(record) = &counterexample.record {
        let names = [Some(&*args.name), args.with.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        let command = format!("{} explain {} --replay '{record}'", program(), names.join(" "));
        say_command("See it again: ", &command);
        say("");
    }
}

/// Those that explain something: the strongest memory first.
const ENGINES: [Engine; 9] = [
    Engine::ExactSc,
    Engine::ExactTso,
    Engine::ExactRc11,
    Engine::ModelSc,
    Engine::ModelTso,
    Engine::ModelRc11,
    Engine::LoomSc,
    Engine::LoomC11,
    Engine::Shuttle,
];
