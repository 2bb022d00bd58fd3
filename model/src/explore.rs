//! The search: every execution of a program, depth first on several CPUs; or some of them, at random.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::code::{self, Execution, Failure, Limits, Named, RunEnd};
use crate::graphs::{EventId, Graph, Value};
use crate::memory::Memory;

/// How a search goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// On so many threads of the machine
    pub workers: usize,
    /// No more executions than these
    pub max_executions: Option<u64>,
    /// No longer than this
    pub max_time: Option<Duration>,
    /// What bounds an execution
    pub limits: Limits,
}

impl Default for Options {
    /// As many workers as there are CPUs, and no bound.
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Options { workers, max_executions: None, max_time: None, limits: Limits::default() }
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
    /// An execution that went wrong
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
}

/// What the workers of a search share.
struct Shared {
    memory: Memory,
    options: Options,
    deadline: Option<Instant>,
    /// Graphs for whoever has none
    queue: Mutex<Queue>,
    change: Condvar,
    /// How many workers wait for one
    hungry: AtomicUsize,
    over: AtomicBool,
    executions: AtomicU64,
    stale: AtomicU64,
    failed: Mutex<Option<Failed>>,
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
pub fn explore(memory: Memory, options: Options, program: impl Fn() + Send + Sync + 'static) -> Report {
    explore_with(memory, options, program, |_, end| match end {
        RunEnd::Complete | RunEnd::Stale => ControlFlow::Continue(()),
        RunEnd::Stuck | RunEnd::Failed(_) => ControlFlow::Break(()),
    })
}

/// As [`explore`], but shows each graph at its end to `visit`, which says whether the search goes on. Those that are
/// [stale](RunEnd::Stale) are no executions. The report has the first execution that went wrong.
pub(crate) fn explore_with(
    memory: Memory,
    options: Options,
    program: impl Fn() + Send + Sync + 'static,
    visit: impl Fn(&Graph, &RunEnd) -> ControlFlow<()> + Send + Sync + 'static,
) -> Report {
    let program: Arc<dyn Fn() + Send + Sync> = Arc::new(program);
    let deadline = options.max_time.map(|time| Instant::now() + time);
    let workers = options.workers.max(1);
    let shared = Arc::new(Shared {
        memory,
        deadline,
        queue: Mutex::new(Queue { graphs: VecDeque::from([Graph::new(memory)]), waiting: 0 }),
        change: Condvar::new(),
        hungry: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        executions: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        failed: Mutex::new(None),
        visit: Box::new(visit),
        options,
    });
    let work = || {
        let (shared, program) = (shared.clone(), program.clone());
        move || worker(&shared, workers, &program)
    };
    let ended: Vec<bool> = if workers == 1 {
        vec![work()()]
    } else {
        let threads: Vec<_> = (0..workers).map(|_| std::thread::spawn(work())).collect();
        threads.into_iter().map(|thread| thread.join().expect("a worker of the search does not panic")).collect()
    };
    let failed = shared.failed.lock().expect("no worker panics").take();
    Report {
        executions: shared.executions.load(Relaxed),
        stale: shared.stale.load(Relaxed),
        complete: failed.is_none() && ended.into_iter().all(|ended| ended),
        failed,
    }
}

/// Takes graphs until there are none. False if it stopped before.
fn worker(shared: &Shared, workers: usize, program: &Arc<dyn Fn() + Send + Sync>) -> bool {
    let mut execution = Execution::new(shared.options.limits);
    // Graphs to be visited, those with most events last: depth first, so that few are kept.
    let mut stack: Vec<Graph> = Vec::new();
    loop {
        let Some(graph) = stack.pop().or_else(|| shared.take(workers)) else {
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
            RunEnd::Complete => {
                if shared.executions.fetch_add(1, Relaxed) + 1 == shared.options.max_executions.unwrap_or(u64::MAX) {
                    shared.stop();
                }
            }
            RunEnd::Stale => {
                shared.stale.fetch_add(1, Relaxed);
            }
            RunEnd::Stuck => {
                shared.executions.fetch_add(1, Relaxed);
                shared.fail(&mut execution, Failure::Stuck, program);
            }
            RunEnd::Failed(failure) => {
                shared.executions.fetch_add(1, Relaxed);
                shared.fail(&mut execution, *failure, program);
            }
        }
        if shared.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            shared.stop();
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

fn body(program: &Arc<dyn Fn() + Send + Sync>) -> Box<dyn FnOnce()> {
    let program = program.clone();
    code::first(move || program())
}

impl Shared {
    /// A graph of another worker. `None` when all of them are without one, or the search is over.
    fn take(&self, workers: usize) -> Option<Graph> {
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

    /// Keeps the first execution that went wrong.
    fn fail(&self, execution: &mut Execution, failure: Failure, program: &Arc<dyn Fn() + Send + Sync>) {
        let mut failed = self.failed.lock().expect("no worker panics");
        if failed.is_some() {
            return;
        }
        let graph = execution.graph.clone();
        // Once more, for the remarks.
        execution.notes = Some(Vec::new());
        execution.run(graph.clone(), body(program));
        execution.others.clear();
        let notes = execution.notes.take().unwrap_or_default();
        let names = execution.objects.names.clone();
        let threads = execution.thread_names.clone();
        *failed = Some(Failed { failure, graph, names, threads, notes });
    }
}
