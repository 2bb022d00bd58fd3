//! A model is a closure that is run in every execution that the memory model allows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{env, str::FromStr};

use reveille_model::code::Limits;
use reveille_model::memory::Memory;

use crate::rt::Bounds;
use crate::search::{self, Config};

/// The number that loom allows. Here it is the value of [`Builder::max_threads`] that means: no bound but the
/// engine's, 200.
pub const MAX_THREADS: usize = 5;

/// No model is searched longer than this, if nothing else is said.
const TIME: Duration = Duration::from_secs(60);

/// How a model is searched.
///
/// The fields are loom's, but for the last three. They begin with what the environment says, which the table of the
/// README explains.
#[derive(Debug)]
#[non_exhaustive]
pub struct Builder {
    /// The most threads of an execution. 5, loom's own bound, means none here
    pub max_threads: usize,
    /// The most operations of an execution: no less than 10,000, whatever is asked for
    pub max_branches: usize,
    /// The most executions
    pub max_permutations: Option<usize>,
    /// The longest time. `None` is a minute
    pub max_duration: Option<Duration>,
    /// Without effect: no execution is left out for its number of preemptions
    pub preemption_bound: Option<usize>,
    /// Without effect: a failure is replayed from the text that is printed with it
    pub checkpoint_file: Option<PathBuf>,
    /// Without effect
    pub checkpoint_interval: usize,
    /// Without effect: everything is explored
    pub expect_explicit_explore: bool,
    /// Without effect: places in the source are always shown
    pub location: bool,
    /// Whether each search says what it came to. Those that are not complete always do
    pub log: bool,
    /// How often a weak exchange fails for no reason, in each thread
    pub weak_failures: u32,
    /// How often a park or a wait of a `Condvar` returns for no reason, in each thread
    pub spurious_wakes: u32,
    /// How often a wait with a time limit returns because its time is over, in each thread
    pub timeouts: u32,
}

/// A variable of the environment.
///
/// # Panics
/// If it is set to something else than such a value.
fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, which makes no sense")))
}

impl Builder {
    /// As the environment says.
    pub fn new() -> Builder {
        Builder {
            max_threads: MAX_THREADS,
            max_branches: variable("LOOM_MAX_BRANCHES").unwrap_or(1_000),
            max_permutations: variable("LOOM_MAX_PERMUTATIONS"),
            max_duration: variable("LOOM_MAX_DURATION").map(Duration::from_secs),
            preemption_bound: variable("LOOM_MAX_PREEMPTIONS"),
            checkpoint_file: env::var_os("LOOM_CHECKPOINT_FILE").map(PathBuf::from),
            checkpoint_interval: variable("LOOM_CHECKPOINT_INTERVAL").unwrap_or(20_000),
            expect_explicit_explore: false,
            location: env::var_os("LOOM_LOCATION").is_some(),
            log: env::var_os("LOOM_LOG").is_some(),
            weak_failures: variable("LOOM_WEAK_FAILURES").unwrap_or(1),
            spurious_wakes: variable("LOOM_SPURIOUS_WAKES").unwrap_or(0),
            timeouts: variable("LOOM_TIMEOUTS").unwrap_or(0),
        }
    }

    /// Without effect, but that it says so: a failure is replayed from the text that is printed with it.
    pub fn checkpoint_file(&mut self, file: &str) -> &mut Self {
        self.checkpoint_file = Some(file.into());
        self
    }

    /// Searches the model.
    ///
    /// # Panics
    /// If an execution goes wrong: with what is wrong, after the execution has been printed.
    #[track_caller]
    pub fn check<F>(&self, model: F)
    where
        F: Fn() + Sync + Send + 'static,
    {
        if self.checkpoint_file.is_some() {
            eprintln!("loom: checkpoints have no effect here: LOOM_REPLAY makes an execution again");
        }
        let threads = if self.max_threads == MAX_THREADS { 200 } else { self.max_threads };
        let config = Config {
            memory: memory(),
            time: self.max_duration.unwrap_or(TIME),
            executions: self.max_permutations.map_or(u64::MAX, |most| most as u64),
            limits: Limits {
                events: self.max_branches.max(10_000),
                threads,
                silence: Some(Duration::from_secs(30)),
            },
            bounds: Bounds {
                weak_failures: self.weak_failures,
                spurious_wakes: self.spurious_wakes,
                timeouts: self.timeouts,
            },
            workers: variable("LOOM_WORKERS").unwrap_or(1),
            seed: variable("LOOM_SEED").unwrap_or(1),
            is_told: self.log,
        };
        search::check(&config, Arc::new(model), env::var("LOOM_REPLAY").ok().as_deref());
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

fn memory() -> Memory {
    let Ok(name) = env::var("LOOM_MEMORY") else { return Memory::Rc11 };
    let memory = Memory::ALL.into_iter().find(|memory| memory.name() == name);
    memory.unwrap_or_else(|| panic!("LOOM_MEMORY is `{name}`: it may be sc, tso or rc11"))
}

/// Searches a model, as the environment says.
///
/// # Panics
/// If an execution goes wrong: with what is wrong, after the execution has been printed.
#[track_caller]
pub fn model<F>(model: F)
where
    F: Fn() + Sync + Send + 'static,
{
    Builder::new().check(model);
}

/// Without effect: everything is explored.
pub fn explore() {}

/// Without effect: everything is explored.
pub fn stop_exploring() {}

/// Without effect: everything is explored.
pub fn skip_branch() {}
