//! `reveille stress GATE`, `reveille stress pool`, `reveille stress reactor`, `reveille stress faults`.

use std::iter;
use std::str::FromStr;
use std::time::{Duration, Instant};

use indicatif::HumanCount;
use reveille::pool::Layout;
use reveille_checks::names::Named;
use reveille_checks::scenario::Consumer;
use reveille_checks::sheet::{Column, Sheet};
use reveille_checks::soak::{faults, pool, reactor};
use reveille_checks::stress;
use reveille_checks::subject::{self, GateName, Needs, documented};

use super::output::{page, program};
use super::{Ending, Format, Outcome, Refused, names, print_json, progress, say, seconds, tell};

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
            gate => gate.parse().map(Self::Gate),
        }
    }
}

/// What can be stressed.
fn targets() -> impl Iterator<Item = &'static str> {
    GateName::names().into_iter().chain(["pool", "reactor", "faults"])
}

/// The same code on real threads: a gate with a real io_uring, stalls per million completions; or the
/// worker pool or the reactor, every job accounted for; or all of them with user code that panics at
/// random.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A gate; or the worker pool, the reactor, or all of it with user code that panics
    #[arg(value_name = "GATE|pool|reactor|faults", value_parser = names::<Target>(targets()))]
    target: Target,
    /// Stop after so many completions, jobs, or operations
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    completions: u64,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    budget: Duration,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
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

/// Runs something on this machine, which may refuse it.
fn on_this_machine<R, E: std::fmt::Display>(
    args: &Args,
    run: impl FnOnce() -> Result<R, E>,
) -> Result<R, Refused> {
    let seconds = args.budget.as_secs_f64();
    let progress = progress::sign_of_life(format!("real threads, for {seconds} s at most"));
    let result = run();
    progress.finish_and_clear();
    result.map_err(|error| Refused(error.to_string()))
}

fn stress_gate(gate: GateName, args: &Args) -> Outcome {
    let report = on_this_machine(args, || subject::stress(gate, args.completions, args.budget))?;
    let may_stall = documented(gate, Consumer::EpollLevel) != Needs::Nothing;
    // On a busy machine the race was never run: no stall says nothing then.
    let is_silent = report.stalls == 0 && report.cpu_share < stress::ALONE;
    let ending = Ending::of(report.stalls > 0 && !may_stall, is_silent);
    if args.format == Format::Json {
        print_json(None, &[report])?;
        return Ok(ending);
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
        (0, _) if is_silent => tell(format_args!(
            "No stall, which says nothing: the machine is busy, the producer had {:.0} % of a CPU.",
            report.cpu_share * 100.0
        )),
        (0, true) => tell(format_args!(
            "No stall in this sample, although this gate can miss a wakeup: see `{} explain {gate} epoll-level`.",
            program()
        )),
        (0, false) => say("No stall in this sample, and none is expected."),
        (_, true) => tell(format_args!(
            "At each stall the consumer would sleep for ever; it was rescued, and the run went on."
        )),
        (_, false) => say("A STALL, where this project's documentation says that there is none."),
    }
    Ok(ending)
}

/// A soak for each layout of the pool's lists and locks; two of the four shutdowns cancel what waits.
fn stress_pool(args: &Args) -> Outcome {
    let layouts = [Layout::Sharded(2), Layout::Sharded(4), Layout::LockPerAccount, Layout::OneLock];
    let (start, share) = (Instant::now(), layouts.len() as u64);
    let soaks = (0..).zip(layouts).map(|(seed, layout)| {
        let time = args.budget.saturating_sub(start.elapsed()) / (share - seed) as u32;
        pool::soak(pool::Soak { jobs: args.completions.div_ceil(share), time, seed, layout })
    });
    let reports: Vec<pool::Report> = on_this_machine(args, || soaks.collect::<Result<_, _>>())?;
    let balanced = reports.iter().all(|report| report.faults.is_empty());
    if args.format == Format::Json {
        print_json(None, &reports)?;
        return Ok(Ending::of(!balanced, false));
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
        tell(
            "\nEvery job had one outcome, those of a hash ran in order and one at a time, and no thread is left.",
        );
    }
    Ok(Ending::of(!balanced, false))
}

/// A soak of the reactor for each of its ends.
fn stress_reactor(args: &Args) -> Outcome {
    let (start, share) = (Instant::now(), reactor::End::ALL.len() as u64);
    let soaks = (0..).zip(reactor::End::ALL).map(|(seed, end)| {
        let time = args.budget.saturating_sub(start.elapsed()) / (share - seed) as u32;
        let operations = args.completions.div_ceil(share);
        reactor::soak(reactor::Soak { operations, time, seed, end })
    });
    let reports: Vec<reactor::Report> = on_this_machine(args, || soaks.collect::<Result<_, _>>())?;
    let balanced = reports.iter().all(|report| report.faults.is_empty());
    if args.format == Format::Json {
        print_json(None, &reports)?;
        return Ok(Ending::of(!balanced, false));
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
        tell("\nEvery operation ended once, with its event where it had a receiver, and nothing is left.");
    }
    Ok(Ending::of(!balanced, false))
}

/// A soak of each subject with random faults.
fn stress_faults(args: &Args) -> Outcome {
    let (start, share) = (Instant::now(), faults::Subject::ALL.len() as u64);
    let soaks = (0..).zip(faults::Subject::ALL).map(|(seed, subject)| {
        let time = args.budget.saturating_sub(start.elapsed()) / (share - seed) as u32;
        let operations = args.completions.div_ceil(share);
        faults::soak(faults::Soak { subject, operations, time, seed })
    });
    let reports: Vec<faults::Report> = on_this_machine(args, || soaks.collect::<Result<_, _>>())?;
    let balanced = reports.iter().all(|report| report.faults.is_empty());
    if args.format == Format::Json {
        print_json(None, &reports)?;
        return Ok(Ending::of(!balanced, false));
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
        tell(
            "\nEverything had its end once, every item was dropped once, and no thread and no descriptor is left.",
        );
    }
    Ok(Ending::of(!balanced, false))
}

type Figure<R> = fn(&R) -> String;

/// A column for each soak, and what does not balance.
fn print_soaks<R>(
    names: &[String],
    reports: &[R],
    figures: &[(&str, Figure<R>)],
    faults: fn(&R) -> &[String],
) {
    let soaks = names.iter().map(|name| (&**name, Column::Right));
    let mut sheet = Sheet::new(iter::once(("", Column::Name)).chain(soaks));
    for (name, figure) in figures {
        sheet.row(iter::once((*name).to_owned()).chain(reports.iter().map(figure)));
    }
    say(sheet.on(page()));
    for fault in reports.iter().flat_map(faults) {
        say(format_args!("\nFAULT: {fault}"));
    }
}

fn count(n: u64) -> String {
    HumanCount(n).to_string()
}
