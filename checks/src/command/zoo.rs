//! `reveille zoo [EXHIBIT]`: the gallery of missed wakeups that really happened, or the story of one of them.

use std::time::{Duration, Instant};

use comfy_table::{Cell, CellAlignment, Color};
use reveille_checks::engine::{Budget, Engine};
use reveille_checks::report;
use reveille_checks::subject::{Case, Needs, Replay};
use reveille_checks::verdict::{Counterexample, Verdict};
use reveille_checks::zoo::{self, Exhibit, Form, Shown};
use serde::Serialize;

use super::verdict::{Found, search::search};
use super::{EngineName, Format, Outcome, say, seconds};

/// Missed wakeups that really happened, each as it lost and mended, on every engine; or the story of one of them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// This one only, with its story and its shortest counterexample
    #[arg(value_name = "EXHIBIT")]
    exhibit: Option<Exhibit>,
    /// These engines only: exact, loom, shuttle
    #[arg(long, value_delimiter = ',')]
    engine: Vec<EngineName>,
    /// Wall time for the whole gallery
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    budget: Duration,
    /// Seed of shuttle's random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// What to print: text or json
    #[arg(long, default_value = "text")]
    format: Format,
    /// Print the tables of the page on the disciplines instead; nothing is searched
    #[arg(long, conflicts_with_all = ["exhibit", "format", "engine"])]
    readme: bool,
    /// Show this execution of the exhibit again: the text that a counterexample ends with
    #[arg(long, value_name = "TEXT", requires = "exhibit", conflicts_with = "engine")]
    replay: Option<String>,
}

/// Those that run the exhibits.
const ENGINES: [Engine; 6] =
    [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11, Engine::LoomSc, Engine::LoomC11, Engine::Shuttle];

/// A cell in JSON.
#[derive(Serialize)]
struct Json<'a> {
    exhibit: &'a str,
    form: &'a str,
    engine: &'a str,
    memory: &'a str,
    outcome: &'a str,
    explored: u64,
    bound: Option<&'a str>,
    seconds: f64,
}

/// Runs `reveille zoo`.
pub fn run(args: &Args) -> Outcome {
    if args.readme {
        say(zoo::tables().trim_end());
        return Ok(true);
    }
    if let (Some(exhibit), Some(record)) = (args.exhibit, &args.replay) {
        return replay(exhibit, record);
    }
    let is_asked =
        |engine: &Engine| args.engine.is_empty() || args.engine.iter().any(|name| name.means(*engine));
    let engines: Vec<_> = ENGINES.into_iter().filter(is_asked).collect();
    if engines.is_empty() {
        return Err("exhibits run on the engines exact, loom, shuttle".into());
    }
    let start = Instant::now();
    let shown = Shown::all().filter(|shown| args.exhibit.is_none_or(|exhibit| exhibit == shown.exhibit));
    let cells: Vec<_> = shown.flat_map(|shown| engines.iter().map(move |&engine| (shown, engine))).collect();
    let mut found = search(&cells, args.budget, args.seed);
    adjudicate(&mut found);
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&found.iter().map(json).collect::<Vec<_>>())?);
    } else {
        if let Some(exhibit) = args.exhibit {
            tell(exhibit, &found);
        }
        say(format_args!("{}\n", table(&engines, &found).trim_fmt()));
        say(legend(&found));
        say(format_args!("{} searches in {:.0} s.", found.len(), start.elapsed().as_secs_f64()));
    }
    Ok(!found.iter().any(contradicts))
}

fn replay(exhibit: Exhibit, record: &str) -> Outcome {
    let [losing, mended] = Form::ALL.map(|form| Shown { exhibit, form });
    let (shown, (engine, counterexample)) = match losing.replay(record) {
        Ok(again) => (losing, again),
        // The text may be one of the mended form. If not, what is wrong with it for the losing one is what to say.
        Err(error) => (mended, mended.replay(record).map_err(|_| error)?),
    };
    show(exhibit, &counterexample);
    let verdict = Verdict::Misses { counterexample, explored: 1 };
    Ok(shown.contradicts(engine, &verdict) != Some(true))
}

/// Loom can be wrong under c11. If the exact engine came to the end of the same code and has no miss, it is.
fn adjudicate(found: &mut [Found<Shown>]) {
    let judges: Vec<_> = found
        .iter()
        .filter(|cell| cell.engine == Engine::ExactRc11)
        .map(|cell| (cell.case, cell.finding.verdict.clone()))
        .collect();
    for cell in found.iter_mut().filter(|cell| cell.engine == Engine::LoomC11) {
        if let Some((_, judge)) = judges.iter().find(|(case, _)| *case == cell.case) {
            let finding = &mut cell.finding;
            finding.verdict = finding.verdict.clone().adjudicated(Engine::ExactRc11, judge);
        }
    }
}

fn contradicts(cell: &Found<Shown>) -> bool {
    cell.case.contradicts(cell.engine, &cell.finding.verdict) == Some(true)
}

fn json(cell: &Found<Shown>) -> Json<'_> {
    let verdict = &cell.finding.verdict;
    Json {
        exhibit: cell.case.exhibit.name(),
        form: cell.case.form.name(),
        engine: cell.engine.name(),
        memory: cell.engine.memory(),
        outcome: verdict.outcome(),
        explored: verdict.explored(),
        bound: verdict.bound(),
        seconds: cell.finding.seconds,
    }
}

/// What is known of an exhibit, and the first counterexample: the engines come in the order of their memories,
/// the strongest first.
fn tell(exhibit: Exhibit, found: &[Found<Shown>]) {
    let card = exhibit.card();
    let machine = match card.needs {
        Needs::Interleaving => "lost on any machine",
        Needs::StoreBuffer => "lost on x86 and weaker machines",
        Needs::WeakerThanX86 => "lost on machines weaker than x86",
        Needs::Nothing => "not lost on any machine",
    };
    say(format_args!("{exhibit}: {} ({}); {machine}\n\n{}\n", card.source, card.year, card.story));
    for rule in card.broke {
        say(format_args!("Broke: {}. {}", rule.name, rule.ask));
    }
    if let Some(unseen) = card.unseen {
        say(format_args!("Unseen for: {unseen}."));
    }
    say("");
    if let Some(counterexample) = found.iter().find_map(|cell| cell.finding.verdict.counterexample()) {
        show(exhibit, counterexample);
    }
}

fn show(exhibit: Exhibit, counterexample: &Counterexample) {
    say(report::render(counterexample));
    if let Some(record) = &counterexample.record {
        say(format_args!("See it again: reveille zoo {exhibit} --replay '{record}'\n"));
    }
}

fn table(engines: &[Engine], found: &[Found<Shown>]) -> comfy_table::Table {
    let mut table = report::plain_table();
    let engines_named = engines.iter().map(|engine| format!("{}\n{}", engine.name(), engine.memory()));
    table.set_header(["exhibit".into(), "form".into()].into_iter().chain(engines_named));
    for row in found.chunks(engines.len()) {
        let Shown { exhibit, form } = row[0].case;
        let name = if form == Form::Losing { exhibit.name() } else { "" };
        table.add_row([Cell::new(name), Cell::new(form.name())].into_iter().chain(row.iter().map(brief)));
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i > 1 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A cell in a few letters; the legend says what they mean.
fn brief(cell: &Found<Shown>) -> Cell {
    let mark = if contradicts(cell) { "!" } else { "" };
    let (verdict, time) = (&cell.finding.verdict, cell.finding.seconds);
    let explored = verdict.explored();
    match verdict {
        Verdict::Misses { .. } => Cell::new(format!("{mark}MISS {explored} {time:.1}s")).fg(Color::Red),
        Verdict::Complete { .. } => Cell::new(format!("{mark}ok {explored} {time:.1}s")).fg(Color::Green),
        Verdict::Bounded { .. } => Cell::new(format!("{mark}{explored} {time:.1}s")),
        Verdict::Alarm { .. } => Cell::new(format!("ALARM {explored} {time:.1}s")).fg(Color::Yellow),
        Verdict::Skipped { .. } => Cell::new("-"),
        Verdict::Inconclusive { .. } => Cell::new(format!("? {time:.1}s")).fg(Color::Yellow),
    }
}

fn legend(found: &[Found<Shown>]) -> String {
    let mut text = String::from(
        "MISS n t: a wakeup is missed, found after n executions, in t seconds\n\
         ok n t: the search ended after n executions and found nothing; n t: it found nothing and did not end\n\
         ALARM: loom reports a miss that the exact engine's complete search refutes\n\
         ?: no result, for the reason given below; !: not what this project documents\n\
         Only the exact engine has to find what its memory allows: loom leaves executions out, shuttle has no late stores\n",
    );
    for cell in found {
        let (case, engine, memory) = (cell.case, cell.engine.name(), cell.engine.memory());
        match &cell.finding.verdict {
            Verdict::Inconclusive { why } => {
                text += &format!("no result: {case}: {engine} {memory}: {why}\n");
            }
            Verdict::Bounded { by, .. } if cell.engine.of_the_exact_engine().is_some() => {
                text += &format!("not to its end: {case}: {engine} {memory}: {by}\n");
            }
            _ => {}
        }
    }
    text.trim_end().into()
}
