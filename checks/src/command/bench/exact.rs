//! `reveille bench exact`: the checkers beside each other.

use std::time::Duration;

use reveille_checks::bench::QUIET;
use reveille_checks::bench::exact::{self, Checker, Plan, Row};
use reveille_checks::sheet::{Column, Sheet};

use super::{Args, Format, page, print_json, progress, say, tell, three_digits};
use crate::command::{Ending, Outcome};

/// The rounds of a run without `--rounds`, and the limit of a search without `--seconds`: some two minutes in
/// all.
const ROUNDS: u16 = 3;
const LIMIT: Duration = Duration::from_secs(2);

/// Runs `reveille bench exact`.
pub(super) fn run(args: &Args) -> Outcome {
    if !args.depth.is_empty() || !args.regime.is_empty() || args.svg.is_some() {
        return Err("bench exact has no --depth, --regime and --svg".into());
    }
    let mut checkers = Checker::all();
    choose("contender", &mut checkers, &args.contender, |checker| checker.name().to_owned())?;
    let mut cases = exact::cases();
    choose("case", &mut cases, &args.case, |case| case.name.clone())?;
    let plan =
        Plan { rounds: usize::from(args.rounds.unwrap_or(ROUNDS)), limit: args.seconds.unwrap_or(LIMIT) };
    let progress = progress::bar(cases.len() * checkers.len() * plan.rounds);
    let rows = exact::run(&cases, &checkers, plan, || progress.inc(1));
    progress.finish_and_clear();
    let rows = rows?;
    match args.format {
        Format::Json => print_json(None, &rows)?,
        Format::Text => text(&rows, plan),
    }
    Ok(Ending::Agrees)
}

/// Keeps what is asked for; nothing said is no restriction.
fn choose<T>(
    what: &str,
    all: &mut Vec<T>,
    asked: &[String],
    name: impl Fn(&T) -> String,
) -> Result<(), String> {
    let mut known: Vec<String> = all.iter().map(&name).collect();
    known.dedup();
    if let Some(unknown) = asked.iter().find(|asked| !known.contains(asked)) {
        return Err(format!("no {what} of exact is called `{unknown}`; there are {}", known.join(", ")));
    }
    all.retain(|one| asked.is_empty() || asked.contains(&name(one)));
    Ok(())
}

fn text(rows: &[Row], plan: Plan) {
    say(format_args!("{}\n", table(rows)));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = rows.iter().map(|row| row.workers).max().unwrap_or(1);
    tell(format_args!(
        "{cpus} CPUs, of which a search used as many as it has workers, {workers} at most. Medians of {} rounds, with the slowest and the \
         fastest; ratio: speed over {}'s, within a round. MB: the most that the process had meanwhile.\n\
         An execution is not the same thing to all: the exact engine visits each once and all of them; loom leaves executions out and \
         visits others many times; shuttle knows interleavings only. So its end is what a search is for, and not its speed.",
        plan.rounds,
        exact::BASELINE,
    ));
    let others = rows.iter().map(|row| row.others).fold(0.0, f64::max);
    if others > QUIET {
        tell(format_args!(
            "THE MACHINE WAS BUSY: others took up to {:.0} % of the CPUs (rows with ~). These are not the numbers of a quiet machine; \
             ratios still say something.",
            others * 100.0
        ));
    }
}

fn table(rows: &[Row]) -> String {
    let mut sheet = Sheet::new([
        ("", Column::Name),
        ("checker", Column::Name),
        ("workers", Column::Right),
        ("executions/s", Column::Right),
        ("least", Column::Right),
        ("most", Column::Right),
        ("ratio", Column::Right),
        ("its search ended", Column::Text),
        ("MB", Column::Right),
        ("", Column::Right),
    ]);
    let mut above = "";
    for row in rows {
        let case = if row.case == above { "" } else { &row.case };
        above = &row.case;
        let optional = |number: Option<f64>| number.map_or("-".into(), three_digits);
        let end = match row.complete_s {
            Some(seconds) => format!("in {} s, {} executions", three_digits(seconds), row.executions),
            None => format!("not in {} s, {} executions", row.limit_s, row.executions),
        };
        sheet.row([
            case.to_owned(),
            row.contender.into(),
            row.workers.to_string(),
            three_digits(row.ops_per_s),
            three_digits(row.ops_per_s_min),
            three_digits(row.ops_per_s_max),
            optional(row.ratio),
            end,
            optional(row.peak_mb),
            if row.others > QUIET { "~".into() } else { String::new() },
        ]);
    }
    sheet.on(page())
}
