//! `reveille stress GATE`.

use std::time::Duration;

use indicatif::HumanCount;
use reveille_checks::scenario::Consumer;
use reveille_checks::stress;
use reveille_checks::subject::{self, GateName, Needs, documented};

use super::{Format, Outcome, say, seconds};

/// The same code on real threads and a real io_uring: stalls per million completions.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The gate: has-sleeper, has-sleeper-no-barrier, posted, posted-fenced, armed-late, rearm, rearm-by-store, rearm-opt-in, per-entry
    gate: GateName,
    /// Stop after so many completions
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
    let report = subject::stress(args.gate, args.completions, args.budget)?;
    let may_stall = documented(args.gate, Consumer::EpollLevel) != Needs::Nothing;
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&report)?);
        return Ok(report.stalls == 0 || may_stall);
    }
    say(format_args!("{} on real threads and a real io_uring, one completion in flight\n", args.gate));
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

fn count(n: u64) -> String {
    HumanCount(n).to_string()
}
