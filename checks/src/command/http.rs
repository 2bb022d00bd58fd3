//! `reveille http`, hidden: one side of `reveille bench http`, in a process of its own.

use reveille_checks::bench::http::Side;

use super::{Ending, Outcome};

/// What to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// In JSON
    side: String,
}

/// Does it.
pub fn run(args: Args) -> Outcome {
    serde_json::from_str::<Side>(&args.side)?.run()?;
    Ok(Ending::Agrees)
}
