//! The commands of the binary. Each returns whether what came out agrees with this project's documentation.

pub mod bench;
pub mod cell;
pub mod explain;
pub mod http;
pub mod litmus;
pub mod mutants;
pub mod orderings;
pub mod stress;
pub mod verdict;
pub mod zoo;

use std::fmt::Display;
use std::io::Write;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use reveille_checks::engine::Engine;

/// What a command comes to: does it agree with the documentation? An error is one line for the user.
pub type Outcome = Result<bool, Box<dyn std::error::Error>>;

/// An engine as the command line names it: `loom` stands for both of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineName(&'static str);

impl EngineName {
    const ALL: [&'static str; 5] = ["exact", "model", "loom", "shuttle", "hardware"];

    /// Whether `engine` is one of those meant.
    pub fn means(self, engine: Engine) -> bool {
        engine.name() == self.0
    }
}

impl FromStr for EngineName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match Self::ALL.into_iter().find(|&known| known == name) {
            Some(known) => Ok(Self(known)),
            None => Err(format!("no engine is called `{name}`; there are {}", Self::ALL.join(", "))),
        }
    }
}

/// Not all could be done, and a line on standard error has said of each thing why.
#[derive(Debug, thiserror::Error)]
#[error("not all could be done")]
pub struct Unfinished;

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// The gates of the question with their consumers.
    Wakeup,
    /// The worker pool.
    Pool,
}

/// For whom to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Prints a line. A reader that has gone away, as `head` does, is no error.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line to standard error, in the same way.
pub fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A time in seconds from the command line.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(time) if !time.is_zero() && time.as_secs() < 1_000_000 => Ok(time),
        _ => Err(format!("`{text}` is no number of seconds above 0 and below a million")),
    }
}
