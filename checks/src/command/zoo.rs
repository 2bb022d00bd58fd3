//! `reveille zoo [EXHIBIT]`: the gallery of missed wakeups that really happened, or the story of one of them.

use std::time::{Duration, Instant};

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::report;
use reveille_checks::sheet::{Cell, Column, Sheet};
use reveille_checks::subject::{Case, Needs, Replay};
use reveille_checks::verdict::{Counterexample, Verdict};
use reveille_checks::zoo::{self, Exhibit, Form, Shown};
use serde::Serialize;

use super::output::{page, say_command};
use super::verdict::search::{Plan, search};
use super::verdict::{Found, lacks_results, no_results};
use super::{
    Ending, EngineName, Format, Outcome, named, names, print_json, program, say, seconds, tell, verbatim,
};

/// Missed wakeups that really happened, each as it lost and mended, on every engine; or the story of one
/// of them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// This one only, with its story and its shortest counterexample
    #[arg(value_name = "EXHIBIT", value_parser = names::<Exhibit>(Exhibit::all().map(Exhibit::name)))]
    exhibit: Option<Exhibit>,
    /// These engines only: exact, loom, shuttle
    #[arg(long, value_delimiter = ',', value_parser = named::<EngineName>())]
    engine: Vec<EngineName>,
    /// Wall time for the whole gallery
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    budget: Duration,
    /// Seed of shuttle's random schedules
    #[arg(long, default_value_t = Budget::default().seed)]
    seed: u64,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
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
        verbatim(zoo::tables().trim_end());
        return Ok(Ending::Agrees);
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
    let mut found = search(&cells, Plan { budget: args.budget, seed: args.seed, checkpoint: None })?;
    adjudicate(&mut found);
    if args.format == Format::Json {
        print_json(Some(args.seed), &found.iter().map(json).collect::<Vec<_>>())?;
    } else {
        if let Some(exhibit) = args.exhibit {
            tell_of(exhibit, &found);
        }
        say(format_args!("{}\n", table(&engines, &found)));
        tell(legend(&found));
        say(format_args!("{} searches in {:.0} s.", found.len(), start.elapsed().as_secs_f64()));
    }
    Ok(Ending::of(found.iter().any(contradicts), lacks_results(&found)))
}

fn replay(exhibit: Exhibit, record: &str) -> Outcome {
    let [losing, mended] = Form::ALL.map(|form| Shown { exhibit, form });
    let (shown, (engine, counterexample)) = match losing.replay(record) {
        Ok(again) => (losing, again),
        // The text may be one of the mended form. If not, what is wrong with it for the losing one is
        // what to say.
        Err(error) => (mended, mended.replay(record).map_err(|_| error)?),
    };
    show(exhibit, &counterexample);
    let verdict = Verdict::Misses { counterexample, explored: 1 };
    Ok(Ending::of(shown.contradicts(engine, &verdict) == Some(true), false))
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

/// What is known of an exhibit, and the first counterexample: the engines come in the order of their
/// memories, the strongest first.
fn tell_of(exhibit: Exhibit, found: &[Found<Shown>]) {
    let card = exhibit.card();
    let machine = match card.needs {
        Needs::Interleaving => "lost on any machine",
        Needs::StoreBuffer => "lost on x86 and weaker machines",
        Needs::WeakerThanX86 => "lost on machines weaker than x86",
        Needs::Nothing => "not lost on any machine",
    };
    tell(format_args!("{exhibit}: {} ({}); {machine}\n\n{}\n", card.source, card.year, card.story));
    for rule in card.broke {
        tell(format_args!("Broke: {}. {}", rule.name, rule.ask));
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
    say(report::render_on(counterexample, page()));
    if let Some(record) = &counterexample.record {
        say_command("See it again: ", &format!("{} zoo {exhibit} --replay '{record}'", program()));
        say("");
    }
}

fn table(engines: &[Engine], found: &[Found<Shown>]) -> String {
    let keys = ["exhibit", "form"].map(|key| (key.to_owned(), Column::Name));
    let columns =
        engines.iter().map(|engine| (format!("{}\n{}", engine.name(), engine.memory()), Column::Right));
    let mut sheet = Sheet::new(keys.into_iter().chain(columns));
    for row in found.chunks(engines.len()) {
        let Shown { exhibit, form } = row[0].case;
        let name = if form == Form::Losing { exhibit.name() } else { "" };
        sheet.row([Cell::from(name), Cell::from(form.name())].into_iter().chain(row.iter().map(brief)));
    }
    sheet.on(page())
}

/// A cell in a few letters; the legend says what they mean.
fn brief(cell: &Found<Shown>) -> Cell {
    let mark = if contradicts(cell) { "!" } else { "" };
    let (verdict, time) = (&cell.finding.verdict, cell.finding.seconds);
    let explored = verdict.explored();
    match verdict {
        Verdict::Misses { .. } => Cell::bad(format!("{mark}MISS {explored} {time:.1}s")),
        Verdict::Complete { .. } => Cell::good(format!("{mark}ok {explored} {time:.1}s")),
        Verdict::Bounded { .. } => format!("{mark}{explored} {time:.1}s").into(),
        Verdict::Alarm { .. } => Cell::odd(format!("ALARM {explored} {time:.1}s")),
        Verdict::Skipped { .. } => "-".into(),
        Verdict::Inconclusive { .. } => Cell::odd(format!("? {time:.1}s")),
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
    text += &no_results(found);
    for cell in found {
        let (case, engine, memory) = (cell.case, cell.engine.name(), cell.engine.memory());
        if let (Verdict::Bounded { by, .. }, Some(_)) =
            (&cell.finding.verdict, cell.engine.of_the_exact_engine())
        {
            text += &format!("not to its end: {case}: {engine} {memory}: {by}\n");
        }
    }
    text.trim_end().into()
}
