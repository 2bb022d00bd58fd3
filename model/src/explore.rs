//! The search: every execution of a program, depth first on several CPUs; or some of them, at random.
//!
//! The graphs that are still to be visited are independent of one another, so workers share them without talking. Depth first keeps few:
//! those that branch off from the one that is being visited.

mod replay;

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::code::{self, Descent, Execution, Failure, Limit, Limits, Named, Numbers, Pulse, RunEnd, Way};
use crate::graphs::wait::Waits;
use crate::graphs::{EventId, Graph, Value, linearize};
use crate::memory::Memory;
use crate::watch::{self, Work};

#[cfg(test)]
pub(crate) use replay::again;
pub use replay::{Difference, Followed, ReplayError, follow, replay};

/// How a search goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// On so many threads of the machine
    pub workers: usize,
    /// No more executions than these
    pub max_executions: Option<u64>,
    /// No longer than this
    pub max_time: Option<Duration>,
    /// When one has gone wrong, so many more are visited to find one that is easier to read
    pub more_after_failure: u64,
    /// What bounds an execution
    pub limits: Limits,
    /// How reads wait
    pub waits: Waits,
    /// Is told after each execution how many there have been
    pub progress: Option<fn(u64)>,
}

impl Default for Options {
    /// As many workers as there are CPUs, and no bound.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            workers,
            max_executions: None,
            max_time: None,
            more_after_failure: 2_000,
            limits: Limits::default(),
            waits: Waits::default(),
            progress: None,
        }
    }
}

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Executions that came to their end, all of them different. Those that got stuck count too
    pub executions: u64,
    /// Ends that are no executions: a thread waits there for a value that another graph gives it
    pub stale: u64,
    /// Whether there are no others
    pub complete: bool,
    /// How many executions had been visited when the first one went wrong
    pub until_failure: u64,
    /// The one that is easiest to read of those that went wrong
    pub failed: Option<Failed>,
}

/// An execution that went wrong.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What is wrong with it
    pub failure: Failure,
    /// The execution
    pub graph: Graph,
    /// What the program calls its objects
    pub names: Vec<Named>,
    /// What it calls its threads
    pub threads: Vec<&'static str>,
    /// Its remarks: each was made before this event
    pub notes: Vec<(EventId, Value)>,
    /// The threads that [go in circles](crate::code::go_in_circles) at its end, each with the first event of its last turn
    pub circles: Vec<(usize, usize)>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A failure knows objects and threads by their numbers only.
        match &self.failure {
            Failure::Race { cell, first: (first, a), second: (second, b) } => {
                let label = self.names[*cell as usize].label;
                let thread = |id: &EventId| self.threads[id.thread()];
                write!(f, "a race on `{label}`: {a} in `{}` and ", thread(first))?;
                write!(f, "{b} in `{}`, with nothing between that orders them", thread(second))
            }
            failure => failure.fmt(f),
        }
    }
}

/// What the workers of a search share.
struct Shared {
    options: Options,
    numbers: Arc<Mutex<Numbers>>,
    deadline: Option<Instant>,
    /// Graphs for whoever has none
    queue: Mutex<Queue>,
    change: Condvar,
    /// How many workers wait for one
    hungry: AtomicUsize,
    over: AtomicBool,
    executions: AtomicU64,
    stale: AtomicU64,
    /// The executions at the first failure; 0 as long as there is none
    until_failure: AtomicU64,
    failed: Mutex<Option<(Effort, Failed)>>,
    visit: Box<Visit>,
}

/// What is done at the end of each graph, and whether the search goes on.
type Visit = dyn Fn(&Graph, &RunEnd) -> ControlFlow<()> + Send + Sync;

struct Queue {
    graphs: VecDeque<Graph>,
    waiting: usize,
}

/// Visits every execution of the program, each once, until one goes wrong or a bound is reached.
///
/// `program` is run once an execution, and more often: to repeat the beginning of an execution when it is to go on in
/// another way.
///
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
/// use reveille_model::code::{Location, spawn};
/// use reveille_model::explore::{Options, explore};
/// use reveille_model::memory::Memory;
///
/// let report = explore(Memory::Rc11, Options::default(), || {
///     let (x, y) = (Location::new("x", 0), Location::new("y", 0));
///     let other = spawn("other", move || {
///         y.store(1, Relaxed);
///         x.load(Relaxed);
///     });
///     x.store(1, Relaxed);
///     y.load(Relaxed);
///     other.join();
/// });
/// assert!(report.complete);
/// assert_eq!(report.executions, 4);
/// ```
pub fn explore(memory: Memory, options: Options, program: impl Fn() + Send + Sync + 'static) -> Report {
    explore_with(memory, options, program, |_, _| ControlFlow::Continue(()))
}

/// As [`explore`], but shows each graph at its end to `visit`, which says whether the search may go on. Those that are
/// [stale](RunEnd::Stale) are no executions.
pub(crate) fn explore_with(
    memory: Memory,
    options: Options,
    program: impl Fn() + Send + Sync + 'static,
    visit: impl Fn(&Graph, &RunEnd) -> ControlFlow<()> + Send + Sync + 'static,
) -> Report {
    let program: Program = Arc::new(program);
    let deadline = options.max_time.map(|time| Instant::now() + time);
    let workers = options.workers.max(1);
    let shared = Arc::new(Shared {
        deadline,
        numbers: Arc::default(),
        queue: Mutex::new(Queue { graphs: VecDeque::from([Graph::new(memory)]), waiting: 0 }),
        change: Condvar::new(),
        hungry: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        executions: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        until_failure: AtomicU64::new(0),
        failed: Mutex::new(None),
        visit: Box::new(visit),
        options,
    });
    let works = (0..workers).map(|_| {
        let (shared, program, pulse) = (shared.clone(), program.clone(), Arc::<Pulse>::default());
        Work { pulse: pulse.clone(), body: Box::new(move || worker(&shared, workers, &program, pulse)) }
    });
    let (ended, silent) = watch::over(shared.options.limits.silence, works.collect(), || shared.stop());
    let silent = silent.map(|limit| Failed::without_execution(limit, memory));
    let failed = shared.failed.lock().expect("no worker panics").take().map(|(_, failed)| failed);
    let failed = silent.or(failed);
    Report {
        executions: shared.executions.load(Relaxed),
        stale: shared.stale.load(Relaxed),
        complete: failed.is_none() && ended.into_iter().all(|ended| ended),
        until_failure: shared.until_failure.load(Relaxed),
        failed,
    }
}

/// Takes graphs until there are none. False if it stopped before.
fn worker(shared: &Shared, workers: usize, program: &Program, pulse: Arc<Pulse>) -> bool {
    let mut execution = Execution::new(shared.options.limits, shared.options.waits, shared.numbers.clone());
    execution.pulse = pulse;
    // Graphs to be visited, those with most events last: depth first, so that few are kept.
    let mut stack: Vec<Graph> = Vec::new();
    loop {
        let Some(graph) = stack.pop().or_else(|| shared.take(workers, &execution.pulse)) else {
            return !shared.over.load(Relaxed);
        };
        if shared.over.load(Relaxed) {
            return false;
        }
        let end = execution.run(graph, body(program));
        stack.append(&mut execution.others);
        if (shared.visit)(&execution.graph, &end).is_break() {
            shared.stop();
        }
        match end {
            RunEnd::Stale => {
                shared.stale.fetch_add(1, Relaxed);
            }
            end => {
                let executions = shared.executions.fetch_add(1, Relaxed) + 1;
                match end {
                    RunEnd::Stuck => shared.fail(&mut execution, Failure::Stuck, executions, program),
                    RunEnd::Failed(failure) => shared.fail(&mut execution, *failure, executions, program),
                    _ => {}
                }
                let enough = match shared.until_failure.load(Relaxed) {
                    0 => shared.options.max_executions.unwrap_or(u64::MAX),
                    first => first.saturating_add(shared.options.more_after_failure),
                };
                if executions >= enough {
                    shared.stop();
                }
            }
        }
        if shared.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            shared.stop();
        }
        if let Some(progress) = shared.options.progress {
            progress(shared.executions.load(Relaxed));
        }
        if stack.len() > 1 && shared.hungry.load(Relaxed) > 0 {
            // The oldest ones have the most before them.
            let give = stack.len() / 2;
            let mut queue = shared.queue.lock().expect("no worker panics");
            queue.graphs.extend(stack.drain(..give));
            shared.change.notify_all();
        }
    }
}

fn body(program: &Program) -> Box<dyn FnOnce()> {
    let program = program.clone();
    code::first(move || program())
}

impl Shared {
    /// A graph of another worker. `None` when all of them are without one, or the search is over.
    fn take(&self, workers: usize, pulse: &Pulse) -> Option<Graph> {
        pulse.set_idle(true);
        let graph = self.wait_for_graph(workers);
        pulse.set_idle(false);
        graph
    }

    fn wait_for_graph(&self, workers: usize) -> Option<Graph> {
        let mut queue = self.queue.lock().expect("no worker panics");
        queue.waiting += 1;
        self.hungry.store(queue.waiting, Relaxed);
        loop {
            if let Some(graph) = queue.graphs.pop_front() {
                queue.waiting -= 1;
                self.hungry.store(queue.waiting, Relaxed);
                return Some(graph);
            }
            if queue.waiting == workers || self.over.load(Relaxed) {
                self.change.notify_all();
                return None;
            }
            queue = self.change.wait(queue).expect("no worker panics");
        }
    }

    fn stop(&self) {
        self.over.store(true, Relaxed);
        let _queue = self.queue.lock().expect("no worker panics");
        self.change.notify_all();
    }

    /// Keeps an execution that went wrong, if it is the one that is easiest to read.
    fn fail(&self, execution: &mut Execution, failure: Failure, executions: u64, program: &Program) {
        let _ = self.until_failure.compare_exchange(0, executions, Relaxed, Relaxed);
        if matches!(failure, Failure::Limit(_)) {
            self.stop();
        }
        let effort = Effort::of(&failure, &execution.graph);
        let mut failed = self.failed.lock().expect("no worker panics");
        if failed.as_ref().is_none_or(|(least, _)| effort < *least) {
            *failed = Some((effort, Failed::new(execution, failure, program)));
        }
    }
}

pub(crate) type Program = Arc<dyn Fn() + Send + Sync>;

/// How hard an execution is to read. What the engine cannot do comes first: it says that the rest means little.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Effort {
    is_of_the_program: bool,
    stale_reads: usize,
    steps: usize,
    switches: usize,
}

impl Effort {
    fn of(failure: &Failure, graph: &Graph) -> Self {
        let order = linearize(graph);
        let mut newest: Vec<EventId> = vec![EventId::INITIAL; graph.locations.len()];
        let mut stale_reads = 0;
        for &id in &order {
            let event = graph.event(id);
            if let Some(location) = event.op.atomic() {
                let newest = &mut newest[location as usize];
                stale_reads += usize::from(event.op.reads() && event.reads_from != *newest);
                if event.writes {
                    *newest = id;
                }
            }
        }
        Effort {
            is_of_the_program: !matches!(failure, Failure::Limit(_)),
            stale_reads,
            steps: graph.len,
            switches: order.windows(2).filter(|pair| pair[0].thread() != pair[1].thread()).count(),
        }
    }
}

impl Failed {
    /// Runs the execution once more, for its remarks.
    fn new(execution: &mut Execution, failure: Failure, program: &Program) -> Self {
        let graph = execution.graph.clone();
        if matches!(failure, Failure::Limit(_)) {
            // It is not to be read, and may not be repeatable.
            let (names, threads) = (execution.names.clone(), execution.thread_names.clone());
            let (notes, circles) = (Vec::new(), Vec::new());
            return Failed { failure, graph, names, threads, notes, circles };
        }
        let (descent, others) = (execution.descent.take(), std::mem::take(&mut execution.others));
        execution.notes = Some(Vec::new());
        execution.run(graph.clone(), body(program));
        execution.descent = descent;
        execution.others = others;
        let notes = execution.notes.take().unwrap_or_default();
        let names = execution.names.clone();
        let (threads, circles) = (execution.thread_names.clone(), execution.circles.clone());
        Failed { failure, graph, names, threads, notes, circles }
    }

    /// What ended a search from outside of it.
    fn without_execution(limit: Limit, memory: Memory) -> Self {
        Failed {
            failure: Failure::Limit(limit),
            graph: Graph::new(memory),
            names: Vec::new(),
            threads: Vec::new(),
            notes: Vec::new(),
            circles: Vec::new(),
        }
    }
}

/// How the ways down choose, in turn.
///
/// What goes wrong under a weak memory model mostly needs few choices that are not the newest, and a way that takes others
/// everywhere seldom comes near. What goes wrong in an interleaving mostly needs few changes between threads, which are
/// many choices here. The estimate is from the uniform ways.
const WAYS: [Way; 4] = [Way::Uniform, Way::Priorities(1.0), Way::Newest(0.9), Way::Priorities(0.9)];

/// What a search at random came to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How many ways it went down. Executions may have come up more than once
    pub descents: u64,
    /// How many of these had been gone when one went wrong
    pub until_failure: u64,
    /// About how many executions there are
    pub estimate: Estimate,
    /// One that went wrong: the search ends with it
    pub failed: Option<Failed>,
}

/// About how many executions there are. Such estimates have heavy tails: the mean of some ways down is mostly too small, and now and
/// then much too large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The median of the means of ten groups
    pub median: f64,
    /// The least of these
    pub least: f64,
    /// The greatest of these
    pub greatest: f64,
}

impl Estimate {
    fn of(weights: &[f64]) -> Self {
        let mut means: Vec<f64> = weights
            .chunks(weights.len().div_ceil(10).max(1))
            .map(|group| group.iter().sum::<f64>() / group.len() as f64)
            .collect();
        means.sort_by(f64::total_cmp);
        match means.len() {
            0 => Estimate::default(),
            groups => Estimate { median: means[groups / 2], least: means[0], greatest: means[groups - 1] },
        }
    }
}

impl fmt::Display for Estimate {
    /// `about 3.1e9 (2.0e7 to 8.8e10)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: f64| if n < 1e4 { format!("{n:.0}") } else { format!("{n:.1e}") };
        let [median, least, greatest] = [self.median, self.least, self.greatest].map(number);
        write!(f, "about {median} ({least} to {greatest})")
    }
}

/// Goes down the tree of choices at random, so many times, until an execution goes wrong or the time is over.
///
/// This finds what depth first does not come by in a long time: it is not bound to the corner where it began.
/// Some ways give each choice the same chance, some mostly take the newest, some are interleavings by random priorities. It has one
/// worker.
pub fn sample(
    memory: Memory,
    options: &Options,
    seed: u64,
    descents: u64,
    program: impl Fn() + Send + Sync + 'static,
) -> Sample {
    let program: Program = Arc::new(program);
    let (options, pulse) = (options.clone(), Arc::<Pulse>::default());
    let silence = options.limits.silence;
    let work = {
        let pulse = pulse.clone();
        move || descend(memory, &options, seed, descents, &program, pulse)
    };
    let (mut samples, silent) = watch::over(silence, vec![Work { pulse, body: Box::new(work) }], || ());
    samples.pop().unwrap_or_else(|| Sample {
        descents: 0,
        until_failure: 0,
        estimate: Estimate::default(),
        failed: silent.map(|limit| Failed::without_execution(limit, memory)),
    })
}

/// The worker of a [`sample`].
fn descend(
    memory: Memory,
    options: &Options,
    seed: u64,
    descents: u64,
    program: &Program,
    pulse: Arc<Pulse>,
) -> Sample {
    let deadline = options.max_time.map(|time| Instant::now() + time);
    let mut execution = Execution::new(options.limits, options.waits, Arc::default());
    execution.pulse = pulse;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut weights = Vec::new();
    let mut failed = None;
    let mut gone = 0;
    let mut events = 0;
    while gone < descents && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let way = WAYS[gone as usize % WAYS.len()];
        gone += 1;
        execution.descent = Some(Descent::new(random.fork(), way, events));
        let mut graph = Graph::new(memory);
        let end = loop {
            let end = execution.run(graph, body(program));
            let descent = execution.descent.as_mut().expect("it was given");
            match descent.next.take() {
                Some(next) => graph = next,
                None => break end,
            }
        };
        let weight = execution.descent.as_ref().map_or(1.0, |descent| descent.weight);
        events = events.max(execution.graph.len);
        if way == Way::Uniform {
            weights.push(if matches!(end, RunEnd::Stale) { 0.0 } else { weight });
        }
        let failure = match end {
            RunEnd::Complete | RunEnd::Stale => continue,
            RunEnd::Stuck => Failure::Stuck,
            RunEnd::Failed(failure) => *failure,
        };
        failed = Some(Failed::new(&mut execution, failure, program));
        break;
    }
    let until_failure = if failed.is_some() { gone } else { 0 };
    Sample { descents: gone, until_failure, estimate: Estimate::of(&weights), failed }
}
