//! `reveille`: can this optimisation miss a wakeup?

mod command;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use command::cell::NoAnswer;
use command::{
    Ending, Refused, Unfinished, bench, cell, explain, http, interrupt, litmus, mutants, orderings, output,
    stress, verdict, zoo,
};

/// Can this optimisation miss a wakeup, under which memory model, and how?
///
/// Without a command it prints the answer to the question that it began with.
#[derive(Parser)]
#[command(name = "reveille", version, max_term_width = 100, args_conflicts_with_subcommands = true, after_help = STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    verdict: verdict::Args,
}

#[derive(Subcommand)]
enum Command {
    /// The answer; with --all the table gate × consumer × engine, and what it means (the default).
    Verdict(verdict::Args),
    /// The counterexample of a gate with a consumer, or what was searched if there is none.
    Explain(explain::Args),
    /// The executions and final states of litmus tests under SC, x86-TSO, RC11 and the Linux kernel
    /// memory model.
    Litmus(litmus::Args),
    /// The same code on real threads: a gate on a real io_uring, or the worker pool.
    Stress(stress::Args),
    /// Measurements beside peers, in one interleaved run.
    Bench(bench::Args),
    /// Every ordering of the library, and what is lost when it is one step weaker.
    Orderings(orderings::Args),
    /// Every mistake against every engine: caught after how many executions, or blind and why.
    Mutants(mutants::Args),
    /// Missed wakeups that really happened, each as it lost and mended, on every engine; or the story of
    /// one of them.
    Zoo(zoo::Args),
    /// A script with which a shell completes the names of commands, gates, consumers and the others.
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// One mistake in an ordering, as JSON.
    #[command(hide = true)]
    Probe(orderings::ProbeArgs),
    /// One cell of the table, as JSON.
    #[command(hide = true)]
    Cell(cell::Args),
    /// A server of `bench http`, or its client.
    #[command(hide = true)]
    Http(http::Args),
}

const STATUSES: &str = "\
Exit status:
  0    nothing contradicts what this project documents
  1    something does: a miss where none may be, or none where one is documented;
       a stall, a loss, a litmus test that differs from what is expected
  2    wrong use, or input that cannot be read
  3    there is no result (?): time was up too early, or the machine refuses
       what is needed
  4    the output could not be written
  130  Ctrl-C; what was finished is printed";

const CONTRADICTED: u8 = 1;
const MISUSED: u8 = 2;
const NO_RESULT: u8 = 3;
const UNWRITTEN: u8 = 4;
/// As shells have it for a program that a signal ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// An argument that is none of ours gets one line, with what there is and what may have been meant.
/// Everything else, help too, is clap's.
fn misuse(error: &clap::Error) -> ExitCode {
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        _ => None,
    };
    match (error.kind(), std::error::Error::source(error)) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _) => {
            output::verbatim(error.render().to_string().trim_end());
            return ended(0);
        }
        (ErrorKind::ValueValidation, Some(reason)) => output::complain(format_args!("reveille: {reason}")),
        (ErrorKind::InvalidValue, _) if text(ContextKind::ValidValue).is_some() => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            let argument = text(ContextKind::InvalidArg).unwrap_or_default();
            let meant = text(ContextKind::SuggestedValue);
            let meant = meant.map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
            let known = text(ContextKind::ValidValue).unwrap_or_default();
            output::complain(format_args!("reveille: {argument}: no `{value}`{meant}; there are {known}"));
        }
        _ => error.exit(),
    }
    ExitCode::from(MISUSED)
}

/// The exit status of a run that came to this one, if all of it could be written.
fn ended(status: u8) -> ExitCode {
    match output::written() {
        Ok(()) => ExitCode::from(status),
        Err(error) => {
            output::complain(format_args!("reveille: the output could not be written: {error}"));
            ExitCode::from(UNWRITTEN)
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misuse(&error),
    };
    let result = have_threads().and_then(|()| match cli.command {
        None => verdict::run(&cli.verdict),
        Some(Command::Verdict(args)) => verdict::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Litmus(args)) => litmus::run(&args),
        Some(Command::Stress(args)) => stress::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Orderings(args)) => orderings::run(&args),
        Some(Command::Mutants(args)) => mutants::run(&args),
        Some(Command::Zoo(args)) => zoo::run(&args),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Probe(args)) => orderings::probe(&args),
        Some(Command::Cell(args)) => cell::run(&args),
        Some(Command::Http(args)) => http::run(args),
    });
    let status = match result {
        Ok(Ending::Agrees) => 0,
        Ok(Ending::Contradicts) => CONTRADICTED,
        Ok(Ending::NoResult) => NO_RESULT,
        Err(error) => {
            if !error.is::<Unfinished>() {
                output::complain(format_args!("reveille: {error}"));
            }
            let refused = error.is::<Refused>() || error.is::<NoAnswer>();
            if refused { NO_RESULT } else { MISUSED }
        }
    };
    ended(if interrupt::requested() { INTERRUPTED } else { status })
}

/// Whether this machine lets us start threads. Every command does, and would otherwise find out in the
/// middle of its work.
fn have_threads() -> Result<(), Box<dyn std::error::Error>> {
    let thread = std::thread::Builder::new().spawn(|| ());
    let thread = thread.map_err(|error| Refused(format!("no thread to be had: {error}")))?;
    thread.join().expect("it does nothing");
    Ok(())
}

fn completions(shell: Shell) -> command::Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "reveille", &mut script);
    output::verbatim(String::from_utf8_lossy(&script).trim_end());
    Ok(Ending::Agrees)
}
