//! The search: every execution of a program, depth first on several CPUs; or some of them, at random.
//!
//! The graphs that are still to be visited are independent of one another, so workers share them without talking. Depth first keeps few:
//! those that branch off from the one that is being visited.

mod replay;
mod sample;

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::code::{self, Execution, Failure, Limit, Limits, Named, Numbers, Pulse, RunEnd};
use crate::graphs::wait::Waits;
use crate::graphs::{EventId, Graph, Value, linearize};
use crate::memory::Memory;
use crate::watch::{self, Work};

#[cfg(test)]
pub(crate) use replay::again;
pub use replay::{Difference, Followed, ReplayError, follow, replay};
pub use sample::{Estimate, Sample, sample};

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
    /// Graphs that workers had when the search was stopped
    rest: Mutex<Vec<Graph>>,
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
    Search::new(memory, program).go_on_with(options, Box::new(visit))
}

/// A search that goes on where it was stopped.
///
/// ```
/// use reveille_model::code::choose;
/// use reveille_model::explore::{Options, Search};
/// use reveille_model::memory::Memory;
///
/// let mut search = Search::new(Memory::Rc11, || drop((choose(3), choose(3))));
/// let first = search.go_on(Options { max_executions: Some(4), workers: 1, ..Options::default() });
/// let rest = search.go_on(Options::default());
/// assert_eq!((first.executions, first.complete), (4, false));
/// assert_eq!((rest.executions, rest.complete), (5, true));
/// ```
pub struct Search {
    memory: Memory,
    program: Program,
    numbers: Arc<Mutex<Numbers>>,
    /// What is still to be visited. The later ones have more events
    graphs: VecDeque<Graph>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("graphs", &self.graphs.len()).finish_non_exhaustive()
    }
}

impl Search {
    /// One that has visited nothing yet.
    pub fn new(memory: Memory, program: impl Fn() + Send + Sync + 'static) -> Self {
        let graphs = VecDeque::from([Graph::new(memory)]);
        Search { memory, program: Arc::new(program), numbers: Arc::default(), graphs }
    }

    /// Visits the executions that have not been visited. What it reports is about these alone.
    pub fn go_on(&mut self, options: Options) -> Report {
        self.go_on_with(options, Box::new(|_, _| ControlFlow::Continue(())))
    }

    fn go_on_with(&mut self, options: Options, visit: Box<Visit>) -> Report {
        let deadline = options.max_time.map(|time| Instant::now() + time);
        let workers = options.workers.max(1);
        let graphs = std::mem::take(&mut self.graphs);
        let shared = Arc::new(Shared {
            deadline,
            numbers: self.numbers.clone(),
            queue: Mutex::new(Queue { graphs, waiting: 0 }),
            rest: Mutex::default(),
            change: Condvar::new(),
            hungry: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            executions: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            until_failure: AtomicU64::new(0),
            failed: Mutex::new(None),
            visit,
            options,
        });
        let works = (0..workers).map(|_| {
            let (shared, program, pulse) = (shared.clone(), self.program.clone(), Arc::<Pulse>::default());
            Work { pulse: pulse.clone(), body: Box::new(move || worker(&shared, workers, &program, pulse)) }
        });
        let (_, silent) = watch::over(shared.options.limits.silence, works.collect(), || shared.stop());
        let is_silent = silent.is_some();
        let silent = silent.map(|limit| Failed::without_execution(limit, self.memory));
        let failed = shared.failed.lock().expect("no worker panics").take().map(|(_, failed)| failed);
        self.graphs.append(&mut shared.queue.lock().expect("no worker panics").graphs);
        self.graphs.extend(shared.rest.lock().expect("no worker panics").drain(..));
        Report {
            executions: shared.executions.load(Relaxed),
            stale: shared.stale.load(Relaxed),
            complete: failed.is_none() && !is_silent && self.graphs.is_empty(),
            until_failure: shared.until_failure.load(Relaxed),
            failed: silent.or(failed),
        }
    }
}

/// Takes graphs until there are none, or the search is over.
fn worker(shared: &Shared, workers: usize, program: &Program, pulse: Arc<Pulse>) {
    let mut execution = Execution::new(shared.options.limits, shared.options.waits, shared.numbers.clone());
    execution.pulse = pulse;
    // Graphs to be visited, those with most events last: depth first, so that few are kept.
    let mut stack: Vec<Graph> = Vec::new();
    while !shared.over.load(Relaxed) {
        let Some(graph) = stack.pop().or_else(|| shared.take(workers, &execution.pulse)) else { break };
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
    shared.rest.lock().expect("no worker panics").append(&mut stack);
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
