//! `reveille`: can this optimisation miss a wakeup?

mod command;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::{Unfinished, bench, cell, explain, http, litmus, mutants, orderings, stress, verdict, zoo};

/// Can this optimisation miss a wakeup, under which memory model, and how?
///
/// Without a command it prints the verdict on the gates of the question.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    verdict: verdict::Args,
}

#[derive(Subcommand)]
enum Command {
    /// The table gate × consumer × engine, and what it means (the default).
    Verdict(verdict::Args),
    /// The counterexample of a gate with a consumer, or what was searched if there is none.
    Explain(explain::Args),
    /// The executions and final states of litmus tests under SC, x86-TSO and RC11.
    Litmus(litmus::Args),
    /// The same code on real threads: a gate on a real io_uring, or the worker pool.
    Stress(stress::Args),
    /// Measurements beside peers, in one interleaved run.
    Bench(bench::Args),
    /// Every ordering of the library, and what is lost when it is one step weaker.
    Orderings(orderings::Args),
    /// Every mistake against every engine: caught after how many executions, or blind and why.
    Mutants(mutants::Args),
    /// Missed wakeups that really happened, each as it lost and mended, on every engine; or the story of one of them.
    Zoo(zoo::Args),
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

/// Exit status for a verdict that contradicts the documentation, a stall where none may be, a litmus test that has not the states
/// it should have.
const CONTRADICTED: u8 = 1;
/// Exit status for wrong use, and for input that cannot be read.
const MISUSED: u8 = 2;

/// An argument that is none of ours gets the one line that its parser wrote; everything else, help too, is clap's.
fn misuse(error: &clap::Error) -> ExitCode {
    match (error.kind(), error.source()) {
        (clap::error::ErrorKind::ValueValidation, Some(reason)) => {
            eprintln!("reveille: {reason}");
            ExitCode::from(MISUSED)
        }
        _ => error.exit(),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misuse(&error),
    };
    let result = match cli.command {
        None => verdict::run(&cli.verdict),
        Some(Command::Verdict(args)) => verdict::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Litmus(args)) => litmus::run(&args),
        Some(Command::Stress(args)) => stress::run(&args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Orderings(args)) => orderings::run(&args),
        Some(Command::Mutants(args)) => mutants::run(&args),
        Some(Command::Zoo(args)) => zoo::run(&args),
        Some(Command::Probe(args)) => orderings::probe(&args),
        Some(Command::Cell(args)) => cell::run(&args),
        Some(Command::Http(args)) => http::run(args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(CONTRADICTED),
        Err(error) => {
            if !error.is::<Unfinished>() {
                eprintln!("reveille: {error}");
            }
            ExitCode::from(MISUSED)
        }
    }
}
