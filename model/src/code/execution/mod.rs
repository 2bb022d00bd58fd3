//! One run of the program: the replay of a graph, then its extension to the end.
//!
//! The operations of a thread are answered on its own stack, without a switch, as long as it can go on. It is suspended where it
//! has to wait: in the replay for the write that it reads; after it for its turn.
//!
//! While a panic unwinds a thread's stack, [`std::thread::panicking`] is true on the whole thread of the
//! machine, and so for each of the program's. So no other one runs then, until the panic is caught: such a
//! thread goes first, after the replay and in it. Where it has to wait all the same, that is a
//! [limit](Limit::Unwinding).

mod descent;
mod ending;
mod late;
mod perform;
mod repeat;
mod schedule;

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::Location as Source;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;

use super::aftermath::Aftermath;
use super::failure::{Diverged, Failure, Instead, Last, Limit, Limits, Performed};
use super::fiber::{self, Body, Ended, Fiber, STACK, TakeDown};
use super::object::{Named, Numbers};
use super::pulse::Pulse;
use crate::graphs::wait::Waits;
use crate::graphs::{EventId, Graph, Op, Value};

pub(crate) use descent::{Descent, Way};
pub(super) use ending::{go_in_circles, in_vain, operations};
pub(super) use perform::{give_way, perform};
pub(crate) use repeat::Recorded;

/// How a run ended.
#[derive(Debug)]
pub(crate) enum RunEnd {
    /// All threads have ended
    Complete,
    /// No thread can go on, and every wait has seen the newest write
    Stuck,
    /// No thread can go on, but a wait has not seen the newest write: another graph has it
    Stale,
    /// Something is wrong
    Failed(Box<Failure>),
}

struct ThreadState {
    fiber: Box<Fiber>,
    /// How many of its events have taken place in this run
    done: usize,
    /// How many locations it has made
    locations: u32,
    state: State,
    /// Whether a panic was unwinding its stack when it was suspended: the execution has failed then
    unwinding: bool,
    /// Whether it has been told that it is taken down
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It can be resumed
    Ready,
    /// It waits for this event of the replay
    Replay(EventId),
    /// It waits for the end of a thread
    Join(usize),
    /// It waits for a value, and its wait is no event yet: the [retry](crate::graphs::wait) form
    Waiting(Op, &'static Source<'static>),
    /// It waits for a value: the plain form
    Blocked,
    /// It goes in circles, see [`ending`]: so many of its last events are one turn
    Circles(usize),
    Ended,
    /// There is none with this number
    Free,
}

/// A run of the program.
pub(crate) struct Execution {
    pub graph: Graph,
    waits: Waits,
    /// The objects that are numbered at their first use
    late: late::Late,
    /// The threads that go in circles at the end of the run, each with the first event of its last turn
    pub circles: Vec<(usize, usize)>,
    /// What is done at the end of the run
    at_end: Vec<ending::AtEnd>,
    /// The numbers of all objects that some worker has met
    shared: Arc<Mutex<Numbers>>,
    /// Those that this worker has met, by thread
    numbers: Vec<Vec<u32>>,
    /// What the objects are, by number
    pub names: Vec<Named>,
    /// Graphs to be visited, apart from the one that this run goes on with
    pub others: Vec<Graph>,
    /// Tells the objects of this run from those of others
    pub generation: u64,
    /// The number of this run among those of all searches
    pub serial: u64,
    /// The late objects by their addresses
    pub places: HashMap<usize, u32, FixedState>,
    limits: Limits,
    threads: Vec<ThreadState>,
    running: usize,
    /// Events of the graph that have not taken place yet
    to_replay: usize,
    failure: Option<Box<Failure>>,
    taken_down: bool,
    /// What the operations of destructors do while it is taken down
    aftermath: Aftermath,
    /// The stacks cannot be unwound: they are left where they are
    abandoned: bool,
    /// The payload of a panic of the engine itself
    engine_panic: Option<Box<dyn std::any::Any + Send>>,
    pub pulse: Arc<Pulse>,
    /// The names of threads that the watcher knows
    named: Vec<&'static str>,
    /// No operation may be asked for when the stack has come below this address
    floor: usize,
    /// Another thread goes before the running one, which has just done its operation
    yields: bool,
    /// Goes down the tree of choices at random, instead of leaving the other ways to the caller
    pub descent: Option<Descent>,
    /// Makes a recorded execution again, instead of all
    pub recorded: Option<Recorded>,
    stopped: bool,
    /// Remarks of the program, each with the number of its thread and of the event before which it was made; if they are wanted
    pub notes: Option<Vec<(EventId, Value)>>,
    pub thread_names: Vec<&'static str>,
}

/// How many runs there have been in this process.
static RUNS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static CURRENT: Cell<*mut Execution> = const { Cell::new(std::ptr::null_mut()) };
}

/// The run that this thread of the machine is in.
///
/// The reference must not be kept over a suspension: other fibers use the execution meanwhile.
#[inline]
pub(super) fn current<'a>() -> Option<&'a mut Execution> {
    // SAFETY: `run` sets the pointer for its own length, and its `&mut self` is not used while a fiber runs. Each caller
    // is done with the reference before it suspends.
    unsafe { CURRENT.get().as_mut() }
}

impl Execution {
    pub fn new(limits: Limits, waits: Waits, shared: Arc<Mutex<Numbers>>) -> Self {
        super::prepare();
        let (events, threads) =
            (limits.events.min(u16::MAX as usize), limits.threads.min(u8::MAX as usize - 1));
        let limits = Limits { events, threads, ..limits };
        Execution {
            graph: Graph::new(crate::memory::Memory::Sc),
            waits,
            late: late::Late::default(),
            circles: Vec::new(),
            at_end: Vec::new(),
            shared,
            numbers: Vec::new(),
            names: Vec::new(),
            others: Vec::new(),
            generation: 0,
            serial: 0,
            places: HashMap::default(),
            limits,
            threads: Vec::new(),
            running: 0,
            to_replay: 0,
            failure: None,
            taken_down: false,
            aftermath: Aftermath::default(),
            abandoned: false,
            engine_panic: None,
            pulse: Arc::default(),
            named: Vec::new(),
            floor: 0,
            yields: false,
            descent: None,
            recorded: None,
            stopped: false,
            notes: None,
            thread_names: Vec::new(),
        }
    }

    /// Runs the program: first what the graph has, then on to the end. Afterwards `graph` is complete, and `others` has the
    /// graphs that are to be visited besides.
    pub fn run(&mut self, graph: Graph, program: Body) -> RunEnd {
        self.to_replay = graph.len;
        self.graph = graph;
        self.graph.close_all();
        self.generation += 1;
        self.serial = RUNS.fetch_add(1, Relaxed) + 1;
        self.places.clear();
        self.failure = None;
        self.taken_down = false;
        self.stopped = false;
        self.thread_names.clear();
        self.aftermath.clear();
        self.late.begin();
        fiber::last_message();
        if let Some(notes) = &mut self.notes {
            notes.clear();
        }
        self.begin_thread(0, "main", program);
        let this: *mut Execution = self;
        let before = CURRENT.replace(this);
        // SAFETY: `self` is borrowed for the length of this call, and used through this pointer only.
        unsafe {
            while Self::step(this) {}
            (*this).keep_circles();
            let is_complete = (*this).is_complete();
            Self::take_down(this);
            Self::finish(this, is_complete);
        }
        CURRENT.set(before);
        if let Some(payload) = self.engine_panic.take() {
            std::panic::resume_unwind(payload);
        }
        self.end()
    }

    /// Resumes the next thread. False if there is none.
    ///
    /// # Safety
    /// The execution is borrowed mutably by the caller, who uses it through this pointer only. Fibers reach it by a copy of the
    /// pointer, so no reference to it may be held while one of them runs.
    unsafe fn step(this: *mut Execution) -> bool {
        let fiber: *mut Fiber = {
            // SAFETY: see above; it ends with this block.
            let execution = unsafe { &mut *this };
            // Of a recorded execution the others are to be seen too, whose thread has not come to its failure
            // yet.
            if execution.failure.is_some() && execution.recorded.is_none() || execution.stopped {
                return false;
            }
            let next = if execution.to_replay > 0 { execution.next_in_replay() } else { execution.next() };
            let Some(next) = next else { return execution.give_up() };
            execution.running = next;
            execution.pulse.goes_on(next);
            let thread = &mut execution.threads[next];
            thread.state = State::Ready;
            execution.floor = thread.fiber.floor();
            &mut *thread.fiber
        };
        // SAFETY: the fiber is in a box of its own, which is neither dropped nor used by others while it runs.
        let ended = unsafe { (*fiber).resume() };
        // SAFETY: no fiber runs any more.
        let execution = unsafe { &mut *this };
        let running = execution.running;
        if fiber::has_engine_panicked() {
            fiber::forget_engine_panic();
            execution.abandoned = true;
            execution.engine_panic = Some(match ended {
                Some(Ended::Panicked(payload)) => payload,
                _ => Box::new("the engine panicked, and the program caught the panic"),
            });
            return false;
        }
        match ended {
            None => {}
            Some(Ended::Returned | Ended::TakenDown) => execution.threads[running].state = State::Ended,
            Some(Ended::Panicked(payload)) => {
                execution.threads[running].state = State::Ended;
                let message = message(&*payload);
                match execution.next_recorded(running) {
                    Some(before) => execution.diverged(before, Instead::Panics(message)),
                    None => execution.fail(Failure::Panic { thread: running, message }),
                }
            }
            Some(Ended::Overflowed) => execution.overflowed(),
        }
        true
    }

    /// The stack of the running thread has overflowed.
    fn overflowed(&mut self) {
        self.abandoned = true;
        let last = self.last(self.running);
        self.fail(Failure::Limit(Limit::Stack { size: STACK, last }));
    }

    /// What the graph says that a thread does next.
    fn next_recorded(&self, thread: usize) -> Option<Performed> {
        let event =
            self.graph.threads[thread].events.get(self.threads.get(thread).map_or(0, |own| own.done))?;
        Some(Performed { op: event.op, source: event.source })
    }

    /// What a thread has done last.
    fn last(&self, thread: usize) -> Last {
        let done = self.threads[thread].done;
        let source = done.checked_sub(1).map(|last| self.graph.threads[thread].events[last].source);
        Last { thread, name: self.thread_names[thread], source }
    }

    fn end(&mut self) -> RunEnd {
        if let Some(failure) = self.failure.take() {
            return RunEnd::Failed(failure);
        }
        if !self.stopped {
            self.graph.show_waits();
        }
        if self.has_ended() {
            RunEnd::Complete
        } else if self.is_stale() {
            RunEnd::Stale
        } else {
            RunEnd::Stuck
        }
    }

    fn begin_thread(&mut self, number: usize, name: &'static str, body: Body) {
        let mut fiber = fiber::take();
        fiber.start(body);
        let thread =
            ThreadState { fiber, done: 0, locations: 0, state: State::Ready, unwinding: false, told: false };
        while self.thread_names.len() <= number {
            self.thread_names.push("");
        }
        self.thread_names[number] = name;
        self.pulse.name(number, name, &mut self.named);
        if let Some(descent) = &mut self.descent {
            descent.begin(number);
        }
        while self.threads.len() < number {
            let fiber = fiber::take();
            self.threads.push(ThreadState {
                fiber,
                done: 0,
                locations: 0,
                state: State::Free,
                unwinding: false,
                told: false,
            });
        }
        if number < self.threads.len() {
            let free = std::mem::replace(&mut self.threads[number], thread);
            fiber::keep(free.fiber);
        } else {
            self.threads.push(thread);
        }
    }

    /// Ends all threads where they stand. Destructors on their stacks run; their operations do nothing.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    unsafe fn take_down(this: *mut Execution) {
        let (threads, unwinding) = {
            // SAFETY: no fiber runs; the reference ends with this block.
            let execution = unsafe { &mut *this };
            execution.taken_down = true;
            let threads = if execution.abandoned { 0 } else { execution.threads.len() };
            let is_unwinding = |number: &usize| execution.threads[*number].unwinding;
            (threads, Some(execution.running).filter(|running| *running < threads).filter(is_unwinding))
        };
        // If a panic unwinds a stack, it is that of the thread that ran last. It comes to its end before
        // others are unwound. Of these the ones that were started last go first: they may have borrowed from
        // the stacks of those that started them.
        let others = (0..threads).rev().filter(|&number| Some(number) != unwinding);
        for number in unwinding.into_iter().chain(others) {
            let (fiber, body) = {
                // SAFETY: as above.
                let execution = unsafe { &mut *this };
                execution.running = number;
                execution.pulse.goes_on(number);
                let thread = &mut execution.threads[number];
                if matches!(thread.state, State::Ended | State::Free) {
                    continue;
                }
                let fiber: *mut Fiber = &mut *thread.fiber;
                (fiber, thread.fiber.take())
            };
            match body {
                Some(never_started) => drop(never_started),
                None => {
                    // SAFETY: as in `step`.
                    let ended = unsafe { (*fiber).resume() };
                    if matches!(ended, Some(Ended::Overflowed)) {
                        // SAFETY: as above.
                        unsafe { (*this).overflowed() };
                        break;
                    }
                }
            }
        }
        // SAFETY: no fiber runs any more.
        let execution = unsafe { &mut *this };
        if std::mem::take(&mut execution.abandoned) {
            // Nobody may run a destructor of theirs any more, so they are not even dropped.
            std::mem::forget(std::mem::take(&mut execution.threads));
        }
        while let Some(thread) = execution.threads.pop() {
            fiber::keep(thread.fiber);
        }
    }

    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert_with(|| Box::new(failure));
    }

    /// The running thread is going to be suspended, in this operation.
    fn pause(&mut self, source: &'static Source<'static>) {
        let running = self.running;
        let is_unwinding = std::thread::panicking();
        self.threads[running].unwinding = is_unwinding;
        if is_unwinding && !self.stopped {
            // Another thread that ran now would be told that it panics.
            let last = Last { source: Some(source), ..self.last(running) };
            self.fail(Failure::Limit(Limit::Unwinding { last, message: fiber::last_message() }));
        }
    }

    /// Unwinds the running thread, which is taken down, if it is not unwound already.
    fn tell_taken_down(&mut self) {
        if fiber::is_running() {
            let thread = &mut self.threads[self.running];
            let is_unwinding = if thread.told { std::thread::panicking() } else { thread.unwinding };
            thread.told = true;
            if !is_unwinding {
                std::panic::resume_unwind(Box::new(TakeDown));
            }
        }
    }

    /// Starts a thread with the number that its [`Op::Spawn`] has returned.
    pub fn spawn(&mut self, number: Value, name: &'static str, body: Body) {
        if self.taken_down {
            drop(body);
        } else {
            self.begin_thread(number as usize, name, body);
        }
    }

    pub fn running(&self) -> usize {
        self.running
    }

    pub fn is_taken_down(&self) -> bool {
        self.taken_down
    }

    pub fn note(&mut self, note: Value) {
        let at = EventId::new(self.running, self.threads[self.running].done);
        if let Some(notes) = &mut self.notes
            && !self.taken_down
        {
            notes.push((at, note));
        }
    }

    fn diverged(&mut self, before: Performed, now: Instead) {
        let diverged = Diverged { thread: self.running, before, now };
        self.fail(Failure::Limit(Limit::Diverged(Box::new(diverged))));
    }
}

/// The text of a panic.
fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
