//! The commands of the binary. Each says how what came out agrees with this project's documentation.

pub mod bench;
pub mod cell;
mod checkpoint;
pub mod explain;
pub mod http;
pub mod interrupt;
pub mod litmus;
pub mod mutants;
pub mod orderings;
pub mod output;
mod progress;
pub mod stress;
mod values;
pub mod verdict;
pub mod zoo;

use std::time::Duration;

use clap::ValueEnum;
use reveille_checks::engine::Engine;
use reveille_checks::names::{Named, unknown};
use strum::VariantArray;

use self::output::{complain, print_json, program, say, tell, verbatim};
use self::values::{named, names};

/// How a run ends, if not with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing contradicts the documentation.
    Agrees,
    /// Something does.
    Contradicts,
    /// Nothing does, and of something there is no result: time was up too early, say.
    NoResult,
}

impl Ending {
    /// What a run comes to in which this was found.
    fn of(contradicts: bool, lacks_results: bool) -> Self {
        match (contradicts, lacks_results) {
            (true, _) => Self::Contradicts,
            (false, true) => Self::NoResult,
            (false, false) => Self::Agrees,
        }
    }

    /// Both.
    fn and(self, other: Self) -> Self {
        let any = |ending| self == ending || other == ending;
        Self::of(any(Self::Contradicts), any(Self::NoResult))
    }
}

/// How a command ends. An error is one line for the user.
pub type Outcome = Result<Ending, Box<dyn std::error::Error>>;

/// An engine as the command line names it: `loom` stands for both of its rows.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown::<Self>)]
pub enum EngineName {
    Exact,
    Model,
    Loom,
    Shuttle,
    Hardware,
}

impl Named for EngineName {
    const WHAT: &'static str = "engine";
}

impl EngineName {
    /// Whether `engine` is one of those meant.
    pub fn means(self, engine: Engine) -> bool {
        engine.name() == <&str>::from(self)
    }
}

/// Not all could be done, and a line on standard error has said of each thing why.
#[derive(Debug, thiserror::Error)]
#[error("not all could be done")]
pub struct Unfinished;

/// This machine refuses what the command needs, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

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

/// A time in seconds from the command line.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(time) if !time.is_zero() && time.as_secs() < 1_000_000 => Ok(time),
        _ => Err(format!("`{text}` is no number of seconds above 0 and below a million")),
    }
}
