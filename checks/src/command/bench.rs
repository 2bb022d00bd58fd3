//! `reveille bench NAME`.

mod exact;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reveille_checks::bench::{self, Line, Name, Plan, QUIET, Regime, Row};
use reveille_checks::names::Named;
use reveille_checks::sheet::{Column, Sheet};

use super::output::page;
use super::{Ending, Format, Outcome, complain, named, names, print_json, progress, say, seconds, tell};

/// Measurements beside peers, in one interleaved run; and `exact`: the checkers beside each other.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_parser = names::<Bench>(benches()))]
    name: Bench,
    /// So many rounds, in each of which every contender runs once [default: 5; exact: 3]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// For how long a contender runs in a round; by default, so that the whole takes most of a minute. exact:
    /// the limit of a search, by default 2
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// These numbers of operations in flight, or of waiting threads, only
    #[arg(long, value_delimiter = ',')]
    depth: Vec<usize>,
    /// These regimes only: P (everything on one CPU), Q (all CPUs are free), NP and NQ (the same, and a
    /// program that keeps it on each CPU)
    #[arg(long, value_delimiter = ',', value_parser = named::<Regime>())]
    regime: Vec<Regime>,
    /// These contenders only
    #[arg(long, value_delimiter = ',')]
    contender: Vec<String>,
    /// These scenarios only (exact)
    #[arg(long, value_delimiter = ',')]
    case: Vec<String>,
    /// Draw a page of the results, as SVG, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A bench: of the library, or of the checkers.
#[derive(Debug, Clone, Copy)]
enum Bench {
    Library(Name),
    Exact,
}

impl FromStr for Bench {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            bench::exact::NAME => Ok(Self::Exact),
            name => name.parse().map(Self::Library),
        }
    }
}

/// What can be measured.
fn benches() -> impl Iterator<Item = &'static str> {
    Name::names().into_iter().chain([bench::exact::NAME])
}

/// The rounds of a run without `--rounds`.
const ROUNDS: u16 = 5;

/// How long a run without `--seconds` takes.
const DEFAULT_TIME: Duration = Duration::from_secs(45);

/// Runs `reveille bench`.
pub fn run(args: &Args) -> Outcome {
    let name = match args.name {
        Bench::Library(name) => name,
        Bench::Exact => return exact::run(args),
    };
    if !args.case.is_empty() {
        return Err(format!("bench {name} has no --case").into());
    }
    // SAFETY: a command has started no thread when it begins.
    unsafe { bench::limit_peers() };
    let lines = bench::choose(name, &args.contender, &args.depth)?;
    let regimes = if args.regime.is_empty() { Regime::ALL.to_vec() } else { args.regime.clone() };
    let rounds = usize::from(args.rounds.unwrap_or(ROUNDS));
    let runs = lines.iter().map(Line::runs).sum::<usize>() * rounds * regimes.len();
    let time = args.seconds.unwrap_or((DEFAULT_TIME / runs.max(1) as u32).min(Duration::from_secs(1)));
    let plan = Plan { regimes, rounds, time };

    let progress = progress::bar(lines.len() * rounds * plan.regimes.len());
    let result = bench::run(name, &lines, &plan, || progress.inc(1));
    progress.finish_and_clear();
    let rows = match result {
        Err(error) if error.loses() => {
            complain(format_args!("reveille: {error}"));
            return Ok(Ending::Contradicts);
        }
        rows => rows?,
    };
    if let Some(file) = &args.svg {
        std::fs::write(file, bench::svg::page(&rows))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    match args.format {
        Format::Json => print_json(None, &rows)?,
        Format::Text => text(name, &rows, &plan),
    }
    Ok(Ending::Agrees)
}

fn text(name: Name, rows: &[Row], plan: &Plan) {
    say(format_args!("{}\n", table(rows)));
    let conclusions = bench::conclusions(name, rows);
    if !conclusions.is_empty() {
        tell(format_args!("{}\n", conclusions.join("\n")));
    }
    tell(
        "P: everything on one CPU; Q: all CPUs are free; NP, NQ: the same, and on each CPU another program runs a busy loop. \
         Never compare one of them with another.",
    );
    tell(format_args!(
        "Medians of {} rounds of {:.0} ms, with the slowest and the fastest; per operation but for the share: of the time that \
         threads ran or waited for a lock, the part that they waited. -: it is not counted.",
        plan.rounds,
        plan.time.as_secs_f64() * 1e3
    ));
    say("Everything that was submitted came back.");
    let others = rows.iter().map(|row| row.others).fold(0.0, f64::max);
    if others > QUIET {
        tell(format_args!(
            "THE MACHINE WAS BUSY: others took up to {:.0} % of the CPUs (rows with ~). These are not the numbers of a quiet machine; \
             ratios within a regime still say something.",
            others * 100.0
        ));
    }
}

/// A column of what not every bench counts.
type Rate = (&'static str, fn(&Row) -> Option<f64>);

const RATES: [Rate; 11] = [
    ("p50 us", |row| row.p50_us),
    ("p99 us", |row| row.p99_us),
    ("p99.9 us", |row| row.p999_us),
    ("bytes", |row| row.memory_per_op),
    ("wakes", |row| row.wakes_per_op),
    ("skipped", |row| row.skipped_per_op),
    ("of workers", |row| row.worker_wakes_per_op),
    ("system calls", |row| row.syscalls_per_op),
    ("lock waits", |row| row.lock_waits_per_op),
    ("share", |row| row.lock_wait_share),
    ("ratio", |row| row.ratio),
];

fn table(rows: &[Row]) -> String {
    let rates: Vec<Rate> =
        RATES.into_iter().filter(|(_, rate)| rows.iter().any(|row| rate(row).is_some())).collect();
    let keys = [
        ("", Column::Name),
        ("depth", Column::Name),
        ("workers", Column::Name),
        ("regime", Column::Name),
        ("contender", Column::Name),
    ];
    let counts = ["op/s", "least", "most", "CPU ns"].into_iter();
    let numbers = counts.chain(rates.iter().map(|&(name, _)| name)).chain([""]);
    let mut sheet = Sheet::new(keys.into_iter().chain(numbers.map(|name| (name, Column::Right))));
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (row.case, row.regime.name(), row.depth, row.workers));
    let mut group = None;
    for row in rows {
        let this = (row.case, row.depth, row.regime, row.workers);
        let first = group.replace(this) != Some(this);
        let of_group = |text: String| if first { text } else { String::new() };
        let mut cells = vec![
            of_group(row.case.unwrap_or_default().into()),
            of_group(row.depth.to_string()),
            of_group(row.workers.map_or("-".into(), |workers| workers.to_string())),
            of_group(row.regime.name().into()),
            row.contender.into(),
            three_digits(row.ops_per_s),
            three_digits(row.ops_per_s_min),
            three_digits(row.ops_per_s_max),
            three_digits(row.cpu_ns_per_op),
        ];
        cells.extend(rates.iter().map(|(_, rate)| rate(row).map_or("-".into(), three_digits)));
        cells.push(if row.others > QUIET { "~".into() } else { String::new() });
        sheet.row(cells);
    }
    sheet.on(page())
}

/// A number to three digits: `12.3M`, `456`, `0.00789`.
fn three_digits(n: f64) -> String {
    let (n, unit) = match n {
        1e6.. => (n / 1e6, "M"),
        1e4.. => (n / 1e3, "k"),
        _ => (n, ""),
    };
    let digits = match n {
        0.0 => 0,
        _ => (2 - n.log10().floor() as i32).clamp(0, 4) as usize,
    };
    format!("{n:.digits$}{unit}")
}
