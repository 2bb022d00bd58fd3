//! How a model is searched: complete if that ends within the time, else as much as the time allows.
//!
//! A search begins with some executions depth first: most models have no more. Then come some ways down the
//! tree of choices at random, which find most of what is there to be found and tell about how large the tree
//! is; then depth first to the end. If that does not end in time, the rest goes to ways at random.

use std::io::{IsTerminal, Write};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reveille_model::code::{Failure, Limits};
use reveille_model::explore::{self, Failed, Options, ReplayError, Search};
use reveille_model::memory::Memory;

use crate::report;
use crate::rt::learned::Learned;
use crate::rt::{self, Bounds, EndsLocals};

/// So many executions are visited before anything else: in less than half a second, mostly.
const FIRST: u64 = 10_000;

/// So many ways at random tell about how large the tree is.
const DESCENTS: u64 = 400;

/// How much of the time depth first may take.
const DEPTH_FIRST: f64 = 0.7;

/// What a search is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub memory: Memory,
    pub time: Duration,
    pub executions: u64,
    pub limits: Limits,
    pub bounds: Bounds,
    pub workers: usize,
    pub seed: u64,
    pub is_told: bool,
}

type Model = Arc<dyn Fn() + Send + Sync>;

/// What a search came to.
enum Outcome {
    Complete(u64),
    /// So many executions, and how they were chosen
    Bounded(u64, String),
    Failed(Box<Failed>, u64),
}

impl Outcome {
    /// Whether a thread that goes in circles is what is wrong.
    fn is_in_circles(&self) -> bool {
        match self {
            Outcome::Failed(failed, _) => failed.failure == Failure::Stuck && !failed.circles.is_empty(),
            _ => false,
        }
    }
}

/// See [`Builder::check`](crate::model::Builder::check).
#[track_caller]
pub(crate) fn check(config: &Config, model: Model, replayed: Option<&str>) {
    if let Some(record) = replayed {
        replay(config, model, record);
        return;
    }
    let start = Instant::now();
    let learned = Arc::new(Learned::default());
    let outcome = loop {
        let places = learned.eventful.len();
        let outcome = search(config, program(config, model.clone(), &learned), start);
        let is_given_up = places < learned.eventful.len();
        if !(is_given_up || outcome.is_in_circles() && learned.turns.extend()) {
            break outcome;
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Outcome::Complete(executions) => {
            if config.is_told {
                eprintln!("loom: complete: {executions} executions in {seconds:.1} s");
            }
        }
        Outcome::Bounded(executions, how) => {
            // Not by `eprintln!`, which a test runner keeps to itself: nobody should take this for complete.
            let name = std::thread::current().name().unwrap_or("a model").to_owned();
            let text = format!(
                "loom: {name}: NOT complete: nothing wrong in {executions} executions in {seconds:.1} s: {how}\n"
            );
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        Outcome::Failed(failed, executions) => {
            let found = format!("found after {executions} executions, in {seconds:.1} s");
            fail(&failed, &found, &learned);
        }
    }
}

/// Prints an execution that went wrong, and panics with what is wrong.
#[track_caller]
fn fail(failed: &Failed, found: &str, learned: &Learned) -> ! {
    let headline = report::headline(failed);
    eprintln!("\n{headline}\n{found}\n\n{}", report::render(failed));
    if !matches!(failed.failure, Failure::Limit(_)) {
        let thread = std::thread::current();
        let test = thread.name().filter(|name| *name != "main").unwrap_or("<this test>");
        eprintln!(
            "To run this execution again, alone:\nLOOM_REPLAY={learned}{} cargo test {test}\n",
            failed.record()
        );
    }
    panic!("{headline}");
}

#[track_caller]
fn replay(config: &Config, model: Model, record: &str) {
    let Some((learned, record)) = Learned::parse(record) else {
        panic!("LOOM_REPLAY is `{record}`, which makes no sense")
    };
    let learned = Arc::new(learned);
    let program = program(config, model, &learned);
    match explore::replay(config.limits, record, program) {
        Ok(failed) => fail(&failed, "made again from LOOM_REPLAY", &learned),
        Err(ReplayError::Malformed(text, why)) => panic!("LOOM_REPLAY is `{text}`: {why}"),
        Err(error) => eprintln!("loom: LOOM_REPLAY is not for this model: {error}"),
    }
}

/// What is run for an execution.
fn program(
    config: &Config,
    model: Model,
    learned: &Arc<Learned>,
) -> impl Fn() + Send + Sync + Clone + 'static {
    let (bounds, learned) = (config.bounds, learned.clone());
    let places = learned.eventful.len();
    move || {
        if places < learned.eventful.len() {
            // The search is given up: see `counts`.
            std::panic::panic_any(rt::counts::GivenUp);
        }
        rt::begin(bounds, learned.clone());
        let _locals = EndsLocals;
        model();
    }
}

fn search(config: &Config, program: impl Fn() + Send + Sync + Clone + 'static, start: Instant) -> Outcome {
    let left = |part: f64| config.time.saturating_sub(start.elapsed()).mul_f64(part);
    let options = |time: Duration| Options {
        workers: config.workers,
        max_time: Some(time),
        limits: config.limits,
        progress: Some(progress),
        ..Options::default()
    };
    let failed = |failed: Failed, executions: u64| Outcome::Failed(Box::new(failed), executions);

    // What the process allocates once comes in this run: see `memory`.
    let alone = Options { workers: 1, max_executions: Some(1), ..options(left(1.0)) };
    explore::explore(config.memory, alone, program.clone());

    let mut depth_first = Search::new(config.memory, program.clone());
    let first = depth_first.go_on(Options {
        workers: 1,
        max_executions: Some(FIRST.min(config.executions)),
        ..options(left(1.0))
    });
    if let Some(wrong) = first.failed {
        return failed(wrong, first.until_failure);
    }
    let mut explored = first.executions;
    if first.complete {
        return Outcome::Complete(explored);
    }
    let most = config.executions.saturating_sub(explored);
    if most == 0 || left(1.0).is_zero() {
        return Outcome::Bounded(explored, "depth first".to_owned());
    }

    let descend = |descents: u64, seed: u64, time: Duration| {
        explore::sample(config.memory, &options(time), seed, descents, program.clone())
    };
    let beginning = descend(DESCENTS.min(most), config.seed, left(0.2));
    let mut descents = beginning.descents;
    if let Some(wrong) = beginning.failed {
        return failed(wrong, explored + beginning.until_failure);
    }

    let most = most.saturating_sub(descents);
    let whole =
        depth_first.go_on(Options { max_executions: Some(most.max(1)), ..options(left(DEPTH_FIRST)) });
    if let Some(wrong) = whole.failed {
        return failed(wrong, explored + descents + whole.until_failure);
    }
    explored += whole.executions;
    if whole.complete {
        return Outcome::Complete(explored);
    }

    let rest = descend(most.saturating_sub(whole.executions), config.seed + 1, left(1.0));
    if let Some(wrong) = rest.failed {
        return failed(wrong, explored + descents + rest.until_failure);
    }
    // The estimate from more ways is the better one.
    let estimate = if rest.descents > descents { rest.estimate } else { beginning.estimate };
    descents += rest.descents;
    let how = format!("{explored} depth first and {descents} at random, of {estimate}");
    Outcome::Bounded(explored + descents, how)
}

/// Shows on a terminal how a long search goes.
fn progress(executions: u64) {
    static START: OnceLock<Option<Instant>> = OnceLock::new();
    static SHOWN: AtomicU64 = AtomicU64::new(0);
    const EVERY: u64 = 5;
    let start = START.get_or_init(|| std::io::stderr().is_terminal().then(Instant::now));
    let Some(start) = start else { return };
    let now = start.elapsed().as_secs() / EVERY;
    if SHOWN.fetch_max(now, Relaxed) < now {
        let name = std::thread::current().name().unwrap_or("a model").to_owned();
        let _ = writeln!(std::io::stderr(), "loom: {name}: {executions} executions so far");
    }
}
