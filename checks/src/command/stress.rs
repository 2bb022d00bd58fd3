//! `reveille stress GATE`, `reveille stress pool`, `reveille stress reactor`, `reveille stress faults`.

use std::str::FromStr;
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use reveille::pool::Layout;
use reveille_checks::report;
use reveille_checks::scenario::Consumer;
use reveille_checks::soak::{faults, pool, reactor};
use reveille_checks::stress;
use reveille_checks::subject::{self, GateName, Needs, documented};

use super::{Format, Outcome, say, seconds};

/// What is stressed.
#[derive(Debug, Clone, Copy)]
enum Target {
    Gate(GateName),
    Pool,
    Reactor,
    Faults,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "pool" => Ok(Self::Pool),
            "reactor" => Ok(Self::Reactor),
            "faults" => Ok(Self::Faults),
            gate => gate
                .parse()
                .map(Self::Gate)
                .map_err(|error| format!("{error}; or `pool`, `reactor`, `faults`")),
        }
    }
}

/// The same code on real threads: a gate with a real io_uring, stalls per million completions; or the worker pool or the reactor,
/// every job accounted for; or all of them with user code that panics at random.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A gate: has-sleeper, has-sleeper-no-barrier, posted, posted-fenced, armed-late, rearm, rearm-by-store, rearm-opt-in, per-entry;
    /// or: pool, reactor, faults
    #[arg(value_name = "GATE|pool|reactor|faults")]
    target: Target,
    /// Stop after so many completions, jobs, or operations
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    completions: u64,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    budget: Duration,
    /// What to print: text or json
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Runs `reveille stress`.
pub fn run(args: &Args) -> Outcome {
    match args.target {
        Target::Gate(gate) => stress_gate(gate, args),
        Target::Pool => stress_pool(args),
        Target::Reactor => stress_reactor(args),
        Target::Faults => stress_faults(args),
    }
}

fn stress_gate(gate: GateName, args: &Args) -> Outcome {
    let report = subject::stress(gate, args.completions, args.budget)?;
    let may_stall = documented(gate, Consumer::EpollLevel) != Needs::Nothing;
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&report)?);
        return Ok(report.stalls == 0 || may_stall);
    }
    say(format_args!("{gate} on real threads and a real io_uring, one completion in flight\n"));
    say(format_args!("  completions   {:>14}   in {:.1} s", count(report.completions), report.seconds));
    say(format_args!("  wakes sent    {:>14}", count(report.sent)));
    say(format_args!("  wakes skipped {:>14}", count(report.skipped)));
    say(format_args!("  sleeps        {:>14}", count(report.sleeps)));
    say(format_args!(
        "  stalls        {:>14}   {:.1} per million",
        count(report.stalls),
        report.per_million()
    ));
    if let Some(first) = report.first_stall {
        say(format_args!("  first stall   {:>14}", count(first)));
    }
    say("");
    match (report.stalls, may_stall) {
        (0, _) if report.cpu_share < stress::ALONE => say(format_args!(
            "No stall, which says nothing: the machine is busy, the producer had {:.0} % of a CPU.",
            report.cpu_share * 100.0
        )),
        (0, true) => say(format_args!(
            "No stall in this sample, although this gate can miss a wakeup: see `reveille verdict`."
        )),
        (0, false) => say("No stall in this sample, and none is expected."),
        (_, true) => say(format_args!(
            "At each stall the consumer would sleep for ever; it was rescued, and the run went on."
        )),
        (_, false) => say("A STALL, where this project's documentation says that there is none."),
    }
    Ok(report.stalls == 0 || may_stall)
}

/// A soak for each layout of the pool's lists and locks; two of the four shutdowns cancel what waits.
fn stress_pool(args: &Args) -> Outcome {
    let layouts = [Layout::Sharded(2), Layout::Sharded(4), Layout::LockPerAccount, Layout::OneLock];
    let (start, share) = (Instant::now(), layouts.len() as u64);
    let mut reports = Vec::new();
    for (seed, layout) in (0..).zip(layouts) {
        let time = args.budget.saturating_sub(start.elapsed()) / (share - seed) as u32;
        reports.push(pool::soak(pool::Soak { jobs: args.completions.div_ceil(share), time, seed, layout })?);
    }
    let balanced = reports.iter().all(|report| report.faults.is_empty());
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&reports)?);
        return Ok(balanced);
    }
    let workers = pool::WORKERS;
    say(format_args!("the worker pool on real threads, up to {workers} workers an account\n"));
    let figures: [(&str, Figure<pool::Report>); 12] = [
        ("jobs submitted", |report| count(report.submitted)),
        ("done", |report| count(report.done)),
        ("panicked", |report| count(report.panicked)),
        ("cancelled", |report| count(report.cancelled)),
        ("refused", |report| count(report.refused)),
        ("stalled by a hash", |report| count(report.stalled)),
        ("workers started", |report| count(report.workers_started)),
        ("workers woken", |report| count(report.workers_woken)),
        ("wakes skipped", |report| count(report.wakes_skipped)),
        ("threads left", |report| report.threads_left.to_string()),
        ("shutdown, ms", |report| format!("{:.1}", report.shutdown_seconds * 1e3)),
        ("seconds", |report| format!("{:.1}", report.seconds)),
    ];
    print_soaks(&layouts.map(|layout| format!("{layout:?}")), &reports, &figures, |report| &report.faults);
    if balanced {
        say(
            "\nEvery job had one outcome, those of a hash ran in order and one at a time, and no thread is left.",
        );
    }
    Ok(balanced)
}

/// A soak of the reactor for each of its ends.
fn stress_reactor(args: &Args) -> Outcome {
    let (start, share) = (Instant::now(), reactor::End::ALL.len() as u64);
    let mut reports = Vec::new();
    for (seed, end) in (0..).zip(reactor::End::ALL) {
        let time = args.budget.saturating_sub(start.elapsed()) / (share - seed) as u32;
        let operations = args.completions.div_ceil(share);
        reports.push(reactor::soak(reactor::Soak { operations, time, seed, end })?);
    }
    let balanced = reports.iter().all(|report| report.faults.is_empty());
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&reports)?);
        return Ok(balanced);
    }
    say("the reactor on a real io_uring that is too small, with a pool and another thread\n");
    let figures: [(&str, Figure<reactor::Report>); 10] = [
        ("operations", |report| count(report.submitted)),
        ("events", |report| count(report.delivered)),
        ("ended without", |report| count(report.dropped)),
        ("calls of io_uring_enter", |report| count(report.enters)),
        ("to sleep", |report| count(report.sleeps)),
        ("wakes", |report| count(report.wakes)),
        ("overflows", |report| count(report.overflows)),
        ("descriptors left", |report| report.files_left.to_string()),
        ("threads left", |report| report.threads_left.to_string()),
        ("seconds", |report| format!("{:.1}", report.seconds)),
    ];
    print_soaks(&reactor::End::ALL.map(|end| format!("{end:?}")), &reports, &figures, |report| {
        &report.faults
    });
    if balanced {
        say(
            "\nEvery operation ended once, with its event where there was somebody to have it, and nothing is left.",
        );
    }
    Ok(balanced)
}

/// A soak of each subject with random faults.
fn stress_faults(args: &Args) -> Outcome {
    let (start, share) = (Instant::now(), faults::Subject::ALL.len() as u64);
    let mut reports = Vec::new();
    for (seed, subject) in (0..).zip(faults::Subject::ALL) {
        let time = args.budget.saturating_sub(start.elapsed()) / (share - seed) as u32;
        let operations = args.completions.div_ceil(share);
        reports.push(faults::soak(faults::Soak { subject, operations, time, seed })?);
    }
    let balanced = reports.iter().all(|report| report.faults.is_empty());
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&reports)?);
        return Ok(balanced);
    }
    let (callback, destructor) = (faults::CALLBACK, faults::DESTRUCTOR);
    say(format_args!("a callback panics once in {callback} calls, a destructor once in {destructor}\n"));
    let figures: [(&str, Figure<faults::Report>); 5] = [
        ("operations", |report| count(report.operations)),
        ("callbacks that panicked", |report| count(report.callbacks)),
        ("destructors that did", |report| count(report.destructors)),
        ("items", |report| count(report.items)),
        ("seconds", |report| format!("{:.1}", report.seconds)),
    ];
    let names = faults::Subject::ALL.map(|subject| format!("{subject:?}"));
    print_soaks(&names, &reports, &figures, |report| &report.faults);
    if balanced {
        say(
            "\nEverything had its end once, every item was dropped once, and no thread and no descriptor is left.",
        );
    }
    Ok(balanced)
}

type Figure<R> = fn(&R) -> String;

/// A column for each soak, and what does not balance.
fn print_soaks<R>(
    names: &[String],
    reports: &[R],
    figures: &[(&str, Figure<R>)],
    faults: fn(&R) -> &[String],
) {
    let mut table = report::plain_table();
    table.set_header(std::iter::once(String::new()).chain(names.iter().cloned()));
    for (name, figure) in figures {
        table.add_row(std::iter::once((*name).to_owned()).chain(reports.iter().map(figure)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    say(table.trim_fmt());
    for fault in reports.iter().flat_map(faults) {
        say(format_args!("\nFAULT: {fault}"));
    }
}

fn count(n: u64) -> String {
    HumanCount(n).to_string()
}
