//! The checkers beside each other: the exact engine, loom and shuttle on the same scenarios.
//!
//! Each runs the scenario as in a check, but without a trace and without mistakes. Loom has no bound of
//! preemptions, shuttle goes depth first. So each of them would come to its end, and what that end means
//! differs: the exact engine has visited every execution once; loom leaves executions out and visits others
//! many times; shuttle knows interleavings only.
//!
//! A run is one search, up to a limit. Where that comes to its end early it is made again, so that no clock
//! is read too finely.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use reveille::gate::PerEntry;
use reveille_model::explore::{Options, explore};
use reveille_model::memory::Memory;
use serde::Serialize;
use shuttle::scheduler::DfsScheduler;

use super::Error;
use super::machine::{Cpus, Regime, Spent};
use super::row::median;
use crate::engine::panics;
use crate::flavour::current::{self, Runner};
use crate::flavour::script::{self, Script};
use crate::flavour::{Checked, exact};
use crate::gates::HasSleeper;
use crate::scenario::{Consumer, PollWake, PoolScenario, Protocol, Scenario};
use crate::trace;

/// The name of the bench.
pub const NAME: &str = "exact";

/// A short search is repeated until this share of its limit is over.
const REPEATED: u32 = 10;

/// The most steps of a thread in one execution, for loom and shuttle.
const MAX_STEPS: usize = 10_000;

/// Who searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checker {
    engine: Engine,
    /// On so many threads of the machine
    workers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Exact(Memory),
    Loom,
    Shuttle,
}

impl Checker {
    /// All of them: the exact engine under RC11 on one CPU and on all, under the other memories on all, and
    /// the peers, which know how to use one.
    pub fn all() -> Vec<Self> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let exact = |memory, workers| Self { engine: Engine::Exact(memory), workers };
        let mut all = vec![exact(Memory::Rc11, 1)];
        if cpus > 1 {
            all.push(exact(Memory::Rc11, cpus));
        }
        all.extend([exact(Memory::Tso, cpus), exact(Memory::Sc, cpus)]);
        all.extend([Engine::Loom, Engine::Shuttle].map(|engine| Self { engine, workers: 1 }));
        all
    }

    /// Its name, with its memory.
    pub fn name(self) -> &'static str {
        match self.engine {
            Engine::Exact(Memory::Sc) => "exact sc",
            Engine::Exact(Memory::Tso) => "exact tso",
            Engine::Exact(Memory::Rc11) => "exact rc11",
            Engine::Loom => BASELINE,
            Engine::Shuttle => "shuttle sc",
        }
    }
}

/// The contender that others are compared to.
pub const BASELINE: &str = "loom c11";

/// A scenario whose type does not matter any more.
pub struct Case {
    /// Its name.
    pub name: String,
    search: Arc<dyn Fn(Checker, Duration) -> Searched + Send + Sync>,
}

impl Case {
    fn new(name: String, scenario: impl Scenario) -> Self {
        Self { name, search: Arc::new(move |checker, limit| search(&scenario, checker, limit)) }
    }
}

/// What is searched: cells of poll wake that nothing is lost in, a small one, a middle one and the largest of
/// all; and protocols of the pool.
pub fn cases() -> Vec<Case> {
    fn cell<G: reveille::gate::WakeOne>(consumer: Consumer) -> Case {
        let name = format!("{} × {consumer}", G::NAME);
        Case::new(name, PollWake::<G>::new(consumer))
    }
    let mut cases = vec![
        cell::<HasSleeper>(Consumer::EpollLevel),
        cell::<PerEntry>(Consumer::EpollLevel2p),
        cell::<PerEntry>(Consumer::ExclusivePair),
    ];
    use Protocol::{Cancel, EnqueueIdle, Exit, Hash, Maximum};
    let pool = |protocol: Protocol| Case::new(protocol.name().into(), <PoolScenario>::new(protocol));
    cases.extend([EnqueueIdle, Maximum, Exit, Cancel, Hash].map(pool));
    cases
}

/// One search with all scripts of its scenario.
struct Searched {
    executions: u64,
    /// Whether it came to its end
    ended: bool,
}

fn search<S: Scenario>(scenario: &S, checker: Checker, limit: Duration) -> Searched {
    let start = Instant::now();
    let mut all = Searched { executions: 0, ended: true };
    for script in scenario.scripts() {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            all.ended = false;
            break;
        }
        let searched = match checker.engine {
            Engine::Exact(memory) => on_exact(scenario, script, memory, checker.workers, left),
            Engine::Loom => on_loom(scenario, &script, left),
            Engine::Shuttle => on_shuttle(scenario, &script, left),
        };
        all.executions += searched.executions;
        all.ended &= searched.ended;
    }
    all
}

fn on_exact<S: Scenario>(
    scenario: &S,
    script: Script,
    memory: Memory,
    workers: usize,
    limit: Duration,
) -> Searched {
    let scenario = scenario.clone();
    let program = move || {
        script::follow(&script);
        exact::begin();
        current::run_on(Runner::Exact);
        scenario.run::<Checked>();
    };
    let options = Options { workers, max_time: Some(limit), ..Options::default() };
    let report = explore(memory, options, program);
    assert!(report.failed.is_none(), "nothing goes wrong in what is measured: {:?}", report.failed);
    Searched { executions: report.executions, ended: report.complete }
}

fn on_loom<S: Scenario>(scenario: &S, script: &Script, limit: Duration) -> Searched {
    let start = Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = None;
    builder.max_branches = MAX_STEPS;
    builder.max_duration = Some(limit);
    // The clock is looked at before each execution.
    builder.checkpoint_interval = 1;
    builder.checkpoint_file = None;
    let executions = counting(Runner::Loom, scenario, script, |execution| builder.check(execution));
    Searched { executions, ended: start.elapsed() < limit }
}

fn on_shuttle<S: Scenario>(scenario: &S, script: &Script, limit: Duration) -> Searched {
    let start = Instant::now();
    let mut config = shuttle::Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    config.max_steps = shuttle::MaxSteps::FailAfter(MAX_STEPS);
    config.max_time = Some(limit);
    config.silence_warnings = true;
    let runner = shuttle::Runner::new(DfsScheduler::new(None, false), config);
    let executions = counting(Runner::Shuttle, scenario, script, |execution| {
        runner.run(execution);
    });
    Searched { executions, ended: start.elapsed() < limit }
}

/// The executions that an engine makes of the scenario.
fn counting<S: Scenario>(
    runner: Runner,
    scenario: &S,
    script: &Script,
    run: impl FnOnce(Box<dyn Fn() + Send + Sync>),
) -> u64 {
    script::follow(script);
    let executions = Arc::new(AtomicU64::new(0));
    let execution = Box::new({
        let (scenario, executions) = (scenario.clone(), executions.clone());
        move || {
            executions.fetch_add(1, Relaxed);
            script::begin();
            current::run_on(runner);
            scenario.run::<Checked>();
        }
    });
    // With shuttle's hook in place, each execution of loom would print.
    let result = trace::without(|| panics::quietly(AssertUnwindSafe(|| run(execution))));
    assert!(result.is_ok(), "nothing goes wrong in what is measured: {result:?}");
    executions.load(Relaxed)
}

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many rounds.
    pub rounds: usize,
    /// The limit of a search.
    pub limit: Duration,
}

/// A line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The bench.
    pub bench: &'static str,
    /// The scenario.
    pub case: String,
    /// Who searches, under which memory.
    pub contender: &'static str,
    /// On how many threads of the machine.
    pub workers: usize,
    /// Executions a second: the median of the rounds.
    pub ops_per_s: f64,
    /// The slowest round.
    pub ops_per_s_min: f64,
    /// The fastest round.
    pub ops_per_s_max: f64,
    /// Speed over the [`BASELINE`]'s: the median of the ratios within each round.
    pub ratio: Option<f64>,
    /// The time of a search that came to its end: the median of the rounds, if every one did.
    pub complete_s: Option<f64>,
    /// The executions of one search: all of them, or the most that the limit left time for.
    pub executions: u64,
    /// The limit.
    pub limit_s: f64,
    /// The most memory that the process had while this one searched, in MB, if the system tells.
    pub peak_mb: Option<f64>,
    /// How many rounds.
    pub rounds: usize,
    /// The share of the CPUs that something else took meanwhile.
    pub others: f64,
}

/// One run of one contender: some searches.
struct Sample {
    executions: u64,
    searches: u32,
    ended: bool,
    /// The executions of the last search
    of_one: u64,
    spent: Spent,
    peak: Option<u64>,
}

impl Sample {
    fn ops_per_s(&self) -> f64 {
        self.executions as f64 / self.spent.wall.as_secs_f64()
    }
}

/// Measures all contenders on all cases by the plan, interleaved, and calls `tick` after each run.
///
/// # Errors
/// If the system refuses something, or a contender panics.
pub fn run(
    cases: &[Case],
    checkers: &[Checker],
    plan: Plan,
    mut tick: impl FnMut(),
) -> Result<Vec<Row>, Error> {
    let cpus = Arc::new(Cpus::given()?);
    let mut rows = Vec::new();
    // samples[case][checker][round]
    let mut samples: Vec<Vec<Vec<Sample>>> =
        cases.iter().map(|_| checkers.iter().map(|_| Vec::new()).collect()).collect();
    for round in 0..plan.rounds {
        for (case, samples) in cases.iter().zip(&mut samples) {
            for i in (0..checkers.len()).map(|i| (i + round) % checkers.len()) {
                samples[i].push(measure(case, checkers[i], plan.limit, &cpus)?);
                tick();
            }
        }
    }
    for (case, samples) in cases.iter().zip(&samples) {
        rows.extend((0..checkers.len()).map(|i| row(case, checkers, i, samples, plan)));
    }
    Ok(rows)
}

/// On a thread of its own, so that nobody finds what another one has left behind.
fn measure(case: &Case, checker: Checker, limit: Duration, cpus: &Arc<Cpus>) -> Result<Sample, Error> {
    let (search, cpus) = (case.search.clone(), cpus.clone());
    let thread = std::thread::Builder::new().name("bench".into()).spawn(move || {
        let watched = forget_peak();
        let stopwatch = cpus.stopwatch(Regime::Q)?;
        let (start, mut executions, mut searches) = (Instant::now(), 0, 0);
        let last = loop {
            let searched = search(checker, limit);
            executions += searched.executions;
            searches += 1;
            if !searched.ended || start.elapsed() > limit / REPEATED {
                break searched;
            }
        };
        let spent = stopwatch.stop()?;
        let peak = if watched { peak() } else { None };
        let Searched { ended, executions: of_one } = last;
        Ok(Sample { executions, searches, ended, of_one, spent, peak })
    })?;
    let who = || format!("{} on {}", checker.name(), case.name);
    thread.join().map_err(|_| Error::Panicked(who()))?
}

/// Has the system forget the most memory that this process had. False if it does not.
fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most memory that this process had, in KiB.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn row(case: &Case, checkers: &[Checker], i: usize, samples: &[Vec<Sample>], plan: Plan) -> Row {
    let own = &samples[i];
    let ops = || own.iter().map(Sample::ops_per_s);
    let baseline = checkers.iter().position(|checker| checker.name() == BASELINE);
    let ratio = baseline.and_then(|base| {
        let base = samples[base].iter().map(Sample::ops_per_s);
        median(ops().zip(base).map(|(ours, base)| ours / base))
    });
    let complete_s = || {
        let seconds = own.iter().map(|sample| sample.spent.wall.as_secs_f64() / f64::from(sample.searches));
        median(seconds)
    };
    let sum = |part: fn(&Spent) -> Duration| own.iter().map(|sample| part(&sample.spent)).sum::<Duration>();
    Row {
        bench: NAME,
        case: case.name.clone(),
        contender: checkers[i].name(),
        workers: checkers[i].workers,
        ops_per_s: median(ops()).unwrap_or(0.0),
        ops_per_s_min: ops().fold(f64::INFINITY, f64::min),
        ops_per_s_max: ops().fold(0.0, f64::max),
        ratio,
        complete_s: if own.iter().all(|sample| sample.ended) { complete_s() } else { None },
        executions: own.iter().map(|sample| sample.of_one).max().unwrap_or(0),
        limit_s: plan.limit.as_secs_f64(),
        peak_mb: own.iter().filter_map(|sample| sample.peak).max().map(|kib| kib as f64 * 1024.0 / 1e6),
        rounds: own.len(),
        others: sum(|spent| spent.others).div_duration_f64(sum(|spent| spent.capacity)),
    }
}
