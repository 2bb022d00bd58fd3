//! One cell in a process of its own, so that whatever happens in it (an abort too) stays in it.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::subject;
use reveille_checks::verdict::Verdict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Ending, Outcome, Refused, interrupt, verbatim};

/// A cell of the table, and what to spend on it.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The path of its case.
    #[arg(long)]
    pub case: String,
    /// An index into [`Engine::ALL`].
    #[arg(long)]
    pub engine: usize,
    #[arg(long)]
    pub milliseconds: u64,
    #[arg(long)]
    pub seed: u64,
}

/// A cell and what was found in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Finding {
    pub verdict: Verdict,
    pub seconds: f64,
}

/// Tells a child which process is its parent.
const PARENT: &str = "REVEILLE_PARENT";

/// For a child of this program: it ends when the thread that started it does, so that nothing goes on
/// searching when this program is killed. What a Ctrl-C means is for the parent to say.
pub fn end_with_the_parent() {
    interrupt::ignore();
    // Without it the child ends when its time is over.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // A parent that was killed before this has left us to somebody else.
    let now = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().to_string());
    if std::env::var(PARENT).ok().is_some_and(|parent| now != Some(parent)) {
        std::process::exit(1);
    }
}

/// The child's side: searches, and prints a [`Finding`].
pub fn run(args: &Args) -> Outcome {
    end_with_the_parent();
    let start = Instant::now();
    let engine = *Engine::ALL.get(args.engine).ok_or("there is no such engine")?;
    let time = Duration::from_millis(args.milliseconds);
    let budget = Budget { seed: args.seed, ..Budget::of_time(time) };
    let verdict = subject::search_path(&args.case, engine, budget)?;
    let finding = Finding { verdict, seconds: start.elapsed().as_secs_f64() };
    verbatim(serde_json::to_string(&finding)?);
    Ok(Ending::Agrees)
}

/// Why a child has no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It came to nothing; the next one may do better.
    #[error("{0}")]
    Died(String),
    /// This machine has nothing to run it on; the next one will not do better.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There was a Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// The parent's side: a child that searches, with more time than it should need.
///
/// # Errors
/// If there is no sense in going on with the next cell.
pub fn spawn(args: &Args) -> Result<Finding, NoAnswer> {
    let start = Instant::now();
    let Args { case, engine, milliseconds, seed } = args;
    let (engine, time, seed) = (engine.to_string(), milliseconds.to_string(), seed.to_string());
    let args = ["cell", "--case", case, "--engine", &engine, "--seed", &seed, "--milliseconds", &time];
    match ask_child(&args, Duration::from_millis(*milliseconds)) {
        Err(NoAnswer::Died(why)) => {
            let verdict = Verdict::Inconclusive { why };
            Ok(Finding { verdict, seconds: start.elapsed().as_secs_f64() })
        }
        answer => answer,
    }
}

/// Ends a child that is not wanted any more.
fn give_up<T>(child: &mut Child, why: NoAnswer) -> Result<T, NoAnswer> {
    // It may have ended by itself meanwhile.
    let _ = child.kill();
    let _ = child.wait();
    Err(why)
}

/// What this program prints, run with these arguments in a process of its own, which is stopped when it
/// takes far longer than
/// `time`.
///
/// # Errors
/// Why there is no answer.
pub fn ask_child<T: DeserializeOwned>(args: &[&str], time: Duration) -> Result<T, NoAnswer> {
    let refused = |what: &str, error: std::io::Error| Refused(format!("{what}: {error}"));
    let program =
        std::env::current_exe().map_err(|error| refused("this program does not find itself", error))?;
    let mut child = Command::new(program)
        .args(args)
        .env(PARENT, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| refused("no process to be had for a search", error))?;
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let reader = std::thread::Builder::new().spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) => return give_up(&mut child, refused("no thread to be had", error).into()),
    };
    let deadline = Instant::now() + 2 * time + Duration::from_secs(5);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if interrupt::requested() => return give_up(&mut child, NoAnswer::Interrupted),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                return give_up(
                    &mut child,
                    NoAnswer::Died("the search ran far over its time and was stopped".into()),
                );
            }
            Err(error) => return Err(NoAnswer::Died(format!("lost the child: {error}"))),
        }
    };
    let text = reader.join().ok().and_then(Result::ok).unwrap_or_default();
    serde_json::from_str(&text).map_err(|_| NoAnswer::Died(format!("the search died: {status}")))
}
