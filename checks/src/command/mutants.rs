//! `reveille mutants`: every mistake against every engine.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::sheet::{Cell, Column, Sheet};
use reveille_checks::subject::{Case, MutantCase};
use reveille_checks::verdict::Verdict;
use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::output::page;
use super::verdict::Found;
use super::verdict::search::{Plan, search};
use super::{Ending, EngineName, Format, Outcome, named, print_json, program, say, seconds, tell, verbatim};

/// Every mistake against every engine: caught after how many executions, or blind and why.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Those whose names contain this only
    #[arg(long, default_value = "")]
    name: String,
    /// These engines only
    #[arg(long, value_delimiter = ',', value_parser = named::<EngineName>())]
    engine: Vec<EngineName>,
    /// Wall time for the whole run
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "240")]
    budget: Duration,
    /// Seed of shuttle's random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// Go on where this file says that an earlier run was; it is made if there is none
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Print the table of the README of this crate instead, which says only who catches what
    #[arg(long, conflicts_with = "format")]
    readme: bool,
}

/// A mistake and an engine in JSON.
#[derive(Serialize)]
struct Json<'a> {
    mutant: &'a str,
    engine: String,
    caught: bool,
    after: u64,
    why_blind: Option<String>,
}

/// Runs `reveille mutants`.
pub fn run(args: &Args) -> Outcome {
    let start = Instant::now();
    let mut mutants = MutantCase::all();
    mutants.retain(|mutant| mutant.name().contains(&args.name));
    if mutants.is_empty() {
        return Err(format!(
            "no mutant's name contains `{}`; `{} mutants` lists them all",
            args.name,
            program()
        )
        .into());
    }
    let is_asked =
        |engine: &Engine| args.engine.is_empty() || args.engine.iter().any(|name| name.means(*engine));
    let engines: Vec<Engine> = Engine::ALL.into_iter().filter(is_asked).collect();
    let cells: Vec<_> =
        mutants.iter().flat_map(|&mutant| engines.iter().map(move |&engine| (mutant, engine))).collect();
    let checkpoint =
        args.resume.as_deref().map(|file| Checkpoint::open(file, "mutants", args.seed)).transpose()?;
    let plan = Plan { budget: args.budget, seed: args.seed, checkpoint: checkpoint.as_ref() };
    let found = search(&cells, plan)?;
    let rows: Vec<_> = found.chunks(engines.len()).collect();
    let is_skipped = |cell: &Found<MutantCase>| matches!(cell.finding.verdict, Verdict::Skipped { .. });
    let (asked, unasked): (Vec<&[_]>, Vec<_>) = rows.iter().partition(|row| !row.iter().all(is_skipped));
    let missed = || asked.iter().filter(|row| !row.iter().any(Found::misses));
    // Who was not asked in full, because time was up, has not survived.
    let is_asked =
        |row: &&&[Found<MutantCase>]| !row.iter().any(|cell| cell.finding.verdict.is_inconclusive());
    let survivors: Vec<_> = missed().filter(is_asked).map(|row| row[0].case.name()).collect();
    let unknown = missed().count() - survivors.len();
    if args.readme {
        verbatim(readme(&engines, &rows).trim_end());
    } else if args.format == Format::Json {
        let json = rows.iter().flat_map(|row| row.iter().map(|cell| json(cell, row)));
        print_json(Some(args.seed), &json.collect::<Vec<_>>())?;
    } else {
        say(format_args!("{}\n", table(&engines, &rows)));
        tell(reasons(&rows));
        for survivor in &survivors {
            tell(format_args!("SURVIVES: {survivor}: no engine catches it within the budget"));
        }
        if !unasked.is_empty() {
            say(format_args!("{} mutants are none of these engines'.", unasked.len()));
        }
        let unknown = match unknown {
            0 => String::new(),
            unknown => format!(", {unknown} without a result"),
        };
        say(format_args!(
            "{} mutants, {} of them caught by an engine at least{unknown}. {:.0} s.",
            asked.len(),
            asked.len() - missed().count(),
            start.elapsed().as_secs_f64()
        ));
    }
    Ok(Ending::of(!survivors.is_empty(), unknown > 0))
}

fn json<'a>(cell: &Found<MutantCase>, row: &'a [Found<MutantCase>]) -> Json<'a> {
    Json {
        mutant: row[0].case.name(),
        engine: name(cell.engine),
        caught: cell.misses(),
        after: cell.finding.verdict.explored(),
        why_blind: why_blind(cell, row),
    }
}

fn name(engine: Engine) -> String {
    format!("{} {}", engine.name(), engine.memory())
}

/// Why an engine does not catch a mistake; `None` where it does.
fn why_blind(cell: &Found<MutantCase>, row: &[Found<MutantCase>]) -> Option<String> {
    let found_by = |engine: Engine| row.iter().any(|cell| cell.engine == engine && cell.misses());
    // What only those find that have weak memory is an ordering's.
    let is_ordering = !row.iter().any(|cell| cell.engine.memory() == "sc" && cell.misses());
    let explored = cell.finding.verdict.explored();
    let why = match (&cell.finding.verdict, cell.engine) {
        (Verdict::Misses { .. }, _) => return None,
        (Verdict::Skipped { why } | Verdict::Inconclusive { why }, _) => why.clone(),
        (Verdict::Alarm { .. }, _) => "what it reports is an alarm, which a complete search refutes".into(),
        (_, Engine::ExactSc | Engine::ModelSc) if is_ordering => "under sc no store is late".into(),
        (_, Engine::ExactTso | Engine::ModelTso)
            if is_ordering && (found_by(Engine::ExactRc11) || found_by(Engine::ModelRc11)) =>
        {
            "x86 orders this without being told".into()
        }
        (_, Engine::LoomSc) if is_ordering => "every access is a read-modify-write: no store is late".into(),
        (_, Engine::Shuttle) if is_ordering => "orderings and fences do nothing there".into(),
        (Verdict::Complete { .. }, _) => format!("not in any of its {explored} executions or states"),
        (Verdict::Bounded { by, .. }, _) => format!("not within {explored} executions or states ({by})"),
    };
    Some(why)
}

fn table(engines: &[Engine], rows: &[&[Found<MutantCase>]]) -> String {
    let engines =
        engines.iter().map(|engine| (format!("{}\n{}", engine.name(), engine.memory()), Column::Right));
    let mut sheet = Sheet::new(std::iter::once(("mutant".into(), Column::Name)).chain(engines));
    for row in rows {
        let cells = row.iter().map(|cell| match &cell.finding.verdict {
            Verdict::Misses { explored, .. } => Cell::good(explored),
            Verdict::Skipped { .. } => "".into(),
            Verdict::Inconclusive { .. } => Cell::odd("?"),
            _ => Cell::bad("blind"),
        });
        sheet.row(std::iter::once(Cell::from(row[0].case)).chain(cells));
    }
    sheet.on(page())
}

/// The reasons for blindness, each with the engines and mistakes that have it.
fn reasons(rows: &[&[Found<MutantCase>]]) -> String {
    let mut text = String::from(
        "n: caught after n executions or states; blind: see below; empty: not asked; ?: no result\n",
    );
    let mut reasons: Vec<(String, String, usize)> = Vec::new();
    for row in rows {
        for cell in row.iter().filter(|cell| !matches!(cell.finding.verdict, Verdict::Skipped { .. })) {
            let Some(why) = why_blind(cell, row) else { continue };
            // The number of executions is each one's own.
            let engine = name(cell.engine);
            let why = if why.starts_with("not ") { format!("{}: {why}", row[0].case) } else { why };
            match reasons.iter_mut().find(|known| (&known.0, &known.1) == (&engine, &why)) {
                Some(known) => known.2 += 1,
                None => reasons.push((engine, why, 1)),
            }
        }
    }
    reasons.sort();
    for (engine, why, count) in reasons {
        let times = if count > 1 { format!(" ({count} mutants)") } else { String::new() };
        let _ = writeln!(text, "{engine}: {why}{times}");
    }
    text
}

/// The table of the README: a mark for caught, a dash for blind, nothing where the engine is not asked.
fn readme(engines: &[Engine], rows: &[&[Found<MutantCase>]]) -> String {
    let mut text = String::from("| mutant |");
    engines.iter().for_each(|&engine| {
        let _ = write!(text, " {} |", name(engine));
    });
    text += "\n|---|";
    text += &"---|".repeat(engines.len());
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {} |", row[0].case);
        for cell in *row {
            let mark = match &cell.finding.verdict {
                Verdict::Misses { .. } => " ✓ |",
                _ if cell.case.pointless(cell.engine).is_some() => " |",
                _ => " – |",
            };
            text += mark;
        }
        text.push('\n');
    }
    text
}
