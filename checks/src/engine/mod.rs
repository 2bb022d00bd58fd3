//! Searches: a scenario and a budget go in, a [`Verdict`] comes out.

mod any;
mod exact;
pub(crate) mod loom;
pub(crate) mod model;
#[doc(hidden)]
pub mod panics;
mod shuttle;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use reveille_model::explore;
use reveille_model::memory::Memory;
use serde::{Deserialize, Serialize};

use self::panics::{Panic, Raised};
use crate::flavour::Checked;
use crate::flavour::current::{self, Runner};
use crate::flavour::script::{self, Script};
use crate::scenario::Scenario;
use crate::trace;
use crate::verdict::{Counterexample, End, Verdict, Why};

pub use any::AnyScenario;

/// The engines whose version matters for what a search means. A test compares this with the lock file.
pub const VERSIONS: [(&str, &str); 2] = [("loom", "0.7.3"), ("shuttle", "0.9.9")];

/// An engine together with the memory that it shows to the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// The exact engine under sequential consistency.
    ExactSc,
    /// The exact engine under x86-TSO.
    ExactTso,
    /// The exact engine under RC11.
    ExactRc11,
    /// The formal model under sequential consistency.
    ModelSc,
    /// The formal model under x86-TSO.
    ModelTso,
    /// The formal model under RC11.
    ModelRc11,
    /// Loom, through [`Sequential`](crate::flavour::Sequential): interleavings only.
    LoomSc,
    /// Loom: interleavings and stale reads.
    LoomC11,
    /// Shuttle: interleavings only.
    Shuttle,
    /// The machine: real threads and a real io_uring.
    Hardware,
}

impl Engine {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::ExactSc,
        Self::ExactTso,
        Self::ExactRc11,
        Self::ModelSc,
        Self::ModelTso,
        Self::ModelRc11,
        Self::LoomSc,
        Self::LoomC11,
        Self::Shuttle,
        Self::Hardware,
    ];

    /// Its name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactSc | Self::ExactTso | Self::ExactRc11 => "exact",
            Self::ModelSc | Self::ModelTso | Self::ModelRc11 => "model",
            Self::LoomSc | Self::LoomC11 => "loom",
            Self::Shuttle => "shuttle",
            Self::Hardware => "hardware",
        }
    }

    /// Those that judge a miss which loom reports under c11, the best first.
    pub const JUDGES: [Self; 2] = [Self::ExactRc11, Self::ModelRc11];

    /// The memory that the model searches a program of its own under, if this is the model.
    pub fn of_the_model(self) -> Option<Memory> {
        match self {
            Self::ModelSc => Some(Memory::Sc),
            Self::ModelTso => Some(Memory::Tso),
            Self::ModelRc11 => Some(Memory::Rc11),
            _ => None,
        }
    }

    /// The memory that the exact engine runs the code under, if this is that engine.
    pub fn of_the_exact_engine(self) -> Option<Memory> {
        match self {
            Self::ExactSc => Some(Memory::Sc),
            Self::ExactTso => Some(Memory::Tso),
            Self::ExactRc11 => Some(Memory::Rc11),
            _ => None,
        }
    }

    /// How much it has to look at for its silence to contradict a documented miss: executions, or states. Not a time, which would say
    /// something about the machine.
    pub fn enough(self) -> u64 {
        match self {
            Self::ModelSc | Self::ModelTso | Self::ModelRc11 => ENOUGH * model::STATES,
            Self::ExactSc
            | Self::ExactTso
            | Self::ExactRc11
            | Self::LoomSc
            | Self::LoomC11
            | Self::Shuttle
            | Self::Hardware => ENOUGH,
        }
    }

    /// What it does not look at, whose silence is therefore no proof. The exact engine looks at everything.
    pub fn blind_to(self) -> Option<&'static str> {
        match self {
            Self::LoomSc => Some("interleavings only: blind to what a late store does"),
            Self::LoomC11 => Some("loom leaves executions out, late stores among them: no proof"),
            Self::Shuttle => Some("interleavings only: blind to what a late store does"),
            Self::Hardware => Some("a sample of one machine"),
            Self::ExactSc | Self::ExactTso | Self::ExactRc11 => None,
            Self::ModelSc | Self::ModelTso | Self::ModelRc11 => None,
        }
    }

    /// The name of its memory in JSON.
    pub fn memory(self) -> &'static str {
        match self {
            Self::ExactSc | Self::ModelSc | Self::LoomSc | Self::Shuttle => "sc",
            Self::ExactTso | Self::ModelTso => "tso",
            Self::ExactRc11 | Self::ModelRc11 => "rc11",
            Self::LoomC11 => "c11",
            Self::Hardware => "x86",
        }
    }
}

/// How far and with what chance a search goes on: until its executions or its time are spent, whichever is first.
///
/// A test counts executions. They are the same on every machine, and what a second is worth is not.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// The executions of the search, in all its scripts and bounds together. For each of them the model may search some
    /// states.
    pub executions: u64,
    /// The time for the search, in all its scripts and bounds together.
    pub time: Duration,
    /// The seed of everything random.
    pub seed: u64,
    /// The threads of the machine that the search may use, if its engine knows what to do with several: the
    /// exact one does.
    pub workers: usize,
    /// How many executions more to look at, once one has gone wrong, for one that is easier to read. Only the exact engine does that.
    pub easier: u64,
}

/// More time than a search takes, and little enough to be reckoned with.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// So many executions more are mostly enough for an easier one.
const EASIER: u64 = 2_000;

/// So many executions show every miss that is documented, as the tests of this crate make sure.
pub const ENOUGH: u64 = 50_000;

impl Budget {
    /// So many executions, however long they take.
    pub const fn of_executions(executions: u64) -> Self {
        Self { executions, time: FOR_EVER, seed: 0x5eed, workers: 1, easier: EASIER }
    }

    /// So much time, however many executions that is.
    pub const fn of_time(time: Duration) -> Self {
        Self { executions: u64::MAX, time, seed: 0x5eed, workers: 1, easier: EASIER }
    }

    /// The same, for whoever does not read what is found: the first will do.
    #[must_use]
    pub const fn only_to_find(self) -> Self {
        Self { easier: 0, ..self }
    }

    /// The same, on all CPUs that this process may use.
    #[must_use]
    pub fn on_all_cpus(self) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self { workers, ..self }
    }

    /// For a test whose search is to find nothing: so many executions; or as many seconds as `REVEILLE_BUDGET` names, for
    /// who wants to search longer.
    pub fn to_pass(executions: u64) -> Self {
        let asked: Option<f64> = std::env::var("REVEILLE_BUDGET").ok().and_then(|text| text.parse().ok());
        let time = asked.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        time.map_or(Self::of_executions(executions), Self::of_time)
    }

    /// This share of it.
    #[must_use]
    pub fn part(self, share: f64) -> Self {
        let executions = (self.executions as f64 * share).ceil() as u64;
        Self { executions, time: self.time.mul_f64(share), ..self }
    }

    /// What is left of it after so many executions, begun at `start`.
    fn less(self, executions: u64, start: Instant) -> Self {
        let executions = self.executions.saturating_sub(executions);
        Self { executions, time: self.time.saturating_sub(start.elapsed()), ..self }
    }

    fn is_spent(self) -> bool {
        self.executions == 0 || self.time.is_zero()
    }
}

impl Default for Budget {
    /// Two seconds.
    fn default() -> Self {
        Self::of_time(Duration::from_secs(2))
    }
}

/// Searches `scenario` with `engine` for an execution that gets stuck or panics.
///
/// The scripts of the scenario are tried one after the other, each with its share of the budget that is left.
/// The model and the hardware do not run scenarios: the model has [programs](crate::subject::search), and the hardware is
/// [`stress`](crate::stress).
pub fn search<S: Scenario>(engine: Engine, scenario: &S, budget: Budget) -> Verdict {
    let start = Instant::now();
    let scripts = scenario.scripts();
    let mut explored = 0;
    let mut bounds = Vec::new();
    let mut fewest = Vec::new();
    for (i, script) in scripts.iter().enumerate() {
        let share = budget.less(explored, start).part(1.0 / (scripts.len() - i) as f64);
        let verdict = match engine {
            Engine::ExactSc | Engine::ExactTso | Engine::ExactRc11 => {
                let memory = engine.of_the_exact_engine().expect("it is one of its engines");
                exact::search(memory, scenario, script, share)
            }
            Engine::LoomSc | Engine::LoomC11 => loom::search(engine, scenario, script, share),
            Engine::Shuttle => shuttle::search(scenario, script, share),
            Engine::ModelSc | Engine::ModelTso | Engine::ModelRc11 | Engine::Hardware => {
                Verdict::Skipped { why: format!("{} does not run scenarios", engine.name()) }
            }
        };
        match verdict {
            Verdict::Complete { explored: n } => explored += n,
            Verdict::Bounded { explored: n, by, preemptions } => {
                explored += n;
                fewest.push(preemptions);
                bounds.push(if scripts.len() > 1 { format!("{script}: {by}") } else { by });
            }
            Verdict::Misses { counterexample, explored: n } => {
                return Verdict::Misses { counterexample, explored: explored + n };
            }
            verdict => return verdict,
        }
    }
    match bounds.is_empty() {
        true => Verdict::Complete { explored },
        // `None` is less than any number: one search without a bound of preemptions leaves the whole without one.
        false => Verdict::Bounded {
            explored,
            by: bounds.join("; "),
            preemptions: fewest.into_iter().min().flatten(),
        },
    }
}

/// Why an execution cannot be made again.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The text is none that a counterexample ends with.
    #[error("`{0}` is no execution of the exact engine: take the text as a counterexample has it")]
    Malformed(String),
    /// It is an execution of something else.
    #[error("this is no execution of {0}, but of something else")]
    Elsewhere(String),
    /// The code does not do that.
    #[error("{0}: {1}")]
    Refused(String, explore::ReplayError),
}

/// Makes an execution again that the exact engine has found to go wrong, from the
/// [text](Counterexample::record) of its counterexample. Says which engine had found it.
///
/// # Errors
/// If the text is malformed, belongs to another scenario, or if the code has no such execution (any more).
pub fn replay<S: Scenario>(scenario: &S, record: &str) -> Result<(Engine, Counterexample), ReplayError> {
    exact::replay(scenario, record)
}

/// What has become of an execution that once lost something, now that the code may be another.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// It still does: here it is, with the values of today.
    Loses(Box<Counterexample>),
    /// The same turns and choices lead to where something was lost, and nothing is: the code goes on there, or
    /// has come to its end. Of other executions this says nothing.
    Passes,
    /// The code has no such execution any more: not these turns, or not these choices.
    Diverged {
        /// Up to where it could be followed, in words.
        at: String,
    },
}

/// Makes an execution again as [`replay`] does, with code that may have been changed since: the same turns of
/// the threads and the same choices. Orderings and values may be others than they were.
///
/// # Errors
/// If the text is malformed or belongs to another scenario, or if the engine cannot run the code.
pub fn follow<S: Scenario>(scenario: &S, record: &str) -> Result<Replayed, ReplayError> {
    exact::follow(scenario, record)
}

/// What became of a run over many executions.
pub(crate) enum Run {
    /// It came to the end of its schedules, or of its budget.
    Ended,
    /// An execution got stuck or panicked.
    Failed(Counterexample),
    /// The engine gave up on an execution.
    GaveUp(String),
}

/// What an engine means by the panic that it ends a search with.
enum Meaning {
    /// No thread can move
    Stuck,
    /// An assertion fails: the program's own, or one that the engine makes about it
    Violation(String),
    /// The engine cannot go on, in words. This says nothing about the program.
    Limit(String),
}

impl Meaning {
    /// Words count only if the engine itself says them: a program's assertion may say "deadlock" too.
    fn of(panic: Panic) -> Self {
        match panic.raised {
            Raised::Program => Self::Violation(panic.message),
            Raised::Loom(file) => loom::meaning(&file, panic.message),
            Raised::Shuttle(file) => shuttle::meaning(&file, panic.message),
            Raised::Overflow => Self::Limit(
                "the stack of a coroutine of loom's overflows (an endless recursion? a build without optimization?)"
                    .into(),
            ),
        }
    }
}

/// Runs `scenario` on `runner` under `run`, the engine's way to execute a closure again and again. Counts the executions.
fn run<S: Scenario>(
    runner: Runner,
    scenario: &S,
    script: &Script,
    found_by: &str,
    executions: &Arc<AtomicU64>,
    run: impl FnOnce(Box<dyn Fn() + Send + Sync>),
) -> Run {
    script::follow(script);
    let execution = Box::new({
        let (scenario, executions) = (scenario.clone(), executions.clone());
        move || {
            executions.fetch_add(1, Relaxed);
            panics::begin();
            script::begin();
            trace::begin(scenario.main_thread());
            current::run_on(runner);
            scenario.run::<Checked>();
        }
    });
    let result = panics::quietly(AssertUnwindSafe(|| run(execution)));
    let trace = trace::take(|label, value| scenario.value_name(label, value));
    let Err(panic) = result else { return Run::Ended };
    let end = match Meaning::of(panic) {
        Meaning::Stuck => End::Stuck(scenario.owed(&trace)),
        Meaning::Violation(message) => End::Violation(message),
        Meaning::Limit(why) => return Run::GaveUp(why),
    };
    Run::Failed(Counterexample {
        scenario: scenario.name(),
        legend: scenario.legend().into(),
        found_by: format!("{found_by}, {script}"),
        end,
        trace,
        why: Why::Unknown,
        record: None,
    })
}
