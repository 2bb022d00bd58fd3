//! One run of the program: the replay of a graph, then its extension to the end.
//!
//! The operations of a thread are answered on its own stack, without a switch, as long as it can go on. It is suspended where it
//! has to wait: in the replay for the write that it reads; after it for its turn.
//!
//! While a panic unwinds a thread's stack, [`std::thread::panicking`] is true on the whole thread of the
//! machine, and so for each of the program's. So no other one runs then, until the panic is caught: such a
//! thread goes first, after the replay and in it. Where it has to wait all the same, that is a
//! [limit](Limit::Unwinding).

mod repeat;

use std::cell::Cell;
use std::panic::Location as Source;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::aftermath::Aftermath;
use super::failure::{Diverged, Failure, Instead, Last, Limit, Performed};
use super::fiber::{self, Body, Ended, Fiber, STACK, TakeDown};
use super::object::{Kind, Named, Numbers};
use super::pulse::Pulse;
use crate::graphs::revisit::{Added, extend};
use crate::graphs::rules::{Rule, without};
use crate::graphs::wait::{self, Look, Waits};
use crate::graphs::{EventId, Graph, Op, Value};

pub(crate) use repeat::Recorded;

/// What bounds a single execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most events, no more than 65,535
    pub events: usize,
    /// The most threads at a time, no more than 254
    pub threads: usize,
    /// A worker of the search that does no operation for so long is [caught](Limit::Silent): it can be
    /// neither stopped nor freed, so its thread of the machine and all its memory stay there until the
    /// process ends.
    ///
    /// `None` does without a watcher, and a search with one worker then runs on the calling thread.
    pub silence: Option<Duration>,
}

impl Default for Limits {
    /// Ten thousand events, 200 threads, ten seconds of silence.
    fn default() -> Self {
        Limits { events: 10_000, threads: 200, silence: Some(Duration::from_secs(10)) }
    }
}

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
    /// It waits for a value, and its wait is no event yet: the [retry](wait) form
    Waiting(Op, &'static Source<'static>),
    /// It waits for a value: the plain form
    Blocked,
    Ended,
    /// There is none with this number
    Free,
}

/// A way down the tree of choices, each of which is taken with the same chance.
pub(crate) struct Descent {
    pub random: fastrand::Rng,
    /// How many leaves there were if every choice came with the same number of ways everywhere (Knuth, *Estimating the
    /// efficiency of backtrack programs*, 1975): its mean over many ways down is the number of leaves
    pub weight: f64,
    /// The graph to go on with, if it is not the one of this run
    pub next: Option<Graph>,
}

impl Descent {
    /// Chooses between the graph of the run and the others. True if it is one of the others.
    fn choose(&mut self, others: &mut Vec<Graph>) -> bool {
        if others.is_empty() {
            return false;
        }
        self.weight *= (others.len() + 1) as f64;
        let choice = self.random.usize(..=others.len());
        self.next = (choice < others.len()).then(|| others.swap_remove(choice));
        others.clear();
        self.next.is_some()
    }
}

/// A run of the program.
pub(crate) struct Execution {
    pub graph: Graph,
    waits: Waits,
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
    limits: Limits,
    threads: Vec<ThreadState>,
    /// Fibers without a thread. Boxed: a fiber must not move while it runs, and it goes from here to a thread and back
    #[expect(clippy::vec_box)]
    spare: Vec<Box<Fiber>>,
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
            shared,
            numbers: Vec::new(),
            names: Vec::new(),
            others: Vec::new(),
            generation: 0,
            limits,
            threads: Vec::new(),
            spare: Vec::new(),
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
        self.generation += 1;
        self.failure = None;
        self.taken_down = false;
        self.stopped = false;
        self.thread_names.clear();
        self.aftermath.clear();
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
            Self::take_down(this);
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

    fn next_in_replay(&self) -> Option<usize> {
        let ready = || (0..self.threads.len()).filter(|&number| self.is_ready_in_replay(number));
        // Who unwinds next comes last, so that what its destructors read is there.
        ready().find(|&number| !self.unwinds_next(number)).or_else(|| ready().next())
    }

    /// Whether a thread goes on in its code after it has repeated an event. It stops where its events end,
    /// before it panics, say; unless it is unwound there.
    fn goes_on_after_repeating(&self, number: usize) -> bool {
        if self.to_replay == 0 {
            return self.next() == Some(number);
        }
        let is_last = self.threads[number].done == self.graph.threads[number].events.len();
        if is_last { self.graph.unwinds(number) } else { !self.unwinds_next(number) }
    }

    /// Whether the next event that a thread is to repeat is the first one of those that it did while a panic
    /// unwound its stack.
    #[inline]
    fn unwinds_next(&self, number: usize) -> bool {
        let done = self.threads[number].done;
        self.graph.is_unwinding(number, done)
            && done < self.graph.threads[number].events.len()
            && !done.checked_sub(1).is_some_and(|last| self.graph.is_unwinding(number, last))
    }

    fn is_ready_in_replay(&self, number: usize) -> bool {
        let thread = &self.threads[number];
        let has_events = thread.done < self.graph.threads[number].events.len();
        has_events
            && match thread.state {
                State::Ready => true,
                State::Replay(event) => self.has_taken_place(event),
                State::Join(joined) => self.threads[joined].done == self.graph.threads[joined].events.len(),
                State::Waiting(..) | State::Blocked | State::Ended | State::Free => false,
            }
    }

    /// Whether the replay has come to this event. Its thread may not even have been started.
    fn has_taken_place(&self, event: EventId) -> bool {
        self.threads.get(event.thread()).is_some_and(|thread| thread.done > event.index())
    }

    /// The first thread that can go on, in the order of their [paths](crate::graphs::Thread::path), one whose
    /// stack is unwound before all others: a function of the graph alone.
    fn next(&self) -> Option<usize> {
        if let Some(turn) = self.turn() {
            return self.can_take(turn).then_some(turn);
        }
        let graph = &self.graph;
        let can_go_on = |&number: &usize| match (self.threads[number].state, graph.last_look(number)) {
            (State::Blocked | State::Ended | State::Free, _) => false,
            (_, Some(&Look { op, .. })) | (State::Waiting(op, _), None) => graph.ends_wait(&op),
            (State::Join(joined), None) => graph.has_ended(joined),
            (State::Ready | State::Replay(_), None) => true,
        };
        (0..self.threads.len()).filter(can_go_on).min_by(|&a, &b| {
            let unwound_first = graph.unwinds(b).cmp(&graph.unwinds(a));
            unwound_first.then_with(|| graph.threads[a].path.cmp(&graph.threads[b].path))
        })
    }

    /// When no thread can move, one that waits looks at older writes. False if all have.
    fn give_up(&mut self) -> bool {
        if self.to_replay > 0 {
            // A thread stays away from what it did: it was not started, say.
            let stopped = (0..self.graph.threads.len()).find_map(|thread| self.next_recorded(thread));
            self.diverged(stopped.expect("an event is left"), Instead::Nothing);
            return false;
        }
        let graph = &self.graph;
        let may_look = |number: usize| {
            if let Some(look) = graph.last_look(number) {
                let location = look.op.location().expect("a wait has a location");
                let sees_more = graph.newest(location) != look.seen && !without(Rule::LooksAgain);
                return sees_more.then_some((number, look.op, look.source));
            }
            match self.threads[number].state {
                State::Waiting(op, source) => Some((number, op, source)),
                _ => None,
            }
        };
        let looks = (0..self.threads.len()).filter_map(may_look);
        let first = looks.min_by(|(a, ..), (b, ..)| graph.threads[*a].path.cmp(&graph.threads[*b].path));
        let Some((number, op, source)) = first else { return false };
        self.graph.set_unwinding(number, false);
        wait::give_up(&mut self.graph, number, op, source, &mut self.others);
        self.choose();
        true
    }

    /// Leaves the other ways to the caller, or chooses one at random.
    fn choose(&mut self) {
        if let Some(descent) = &mut self.descent {
            self.stopped = descent.choose(&mut self.others);
        }
    }

    fn end(&mut self) -> RunEnd {
        if let Some(failure) = self.failure.take() {
            return RunEnd::Failed(failure);
        }
        if !self.stopped {
            self.graph.show_waits();
        }
        let graph = &self.graph;
        let alive = (0..graph.threads.len()).filter(|&thread| graph.is_alive(thread));
        if alive.clone().all(|thread| graph.has_ended(thread)) {
            return RunEnd::Complete;
        }
        let is_stale = |thread: usize| {
            graph.threads[thread].events.last().is_some_and(|event| {
                event.blocked
                    && event.op.location().is_some_and(|location| graph.newest(location) != event.reads_from)
            })
        };
        if alive.clone().any(is_stale) { RunEnd::Stale } else { RunEnd::Stuck }
    }

    fn begin_thread(&mut self, number: usize, name: &'static str, body: Body) {
        let mut fiber = self.spare.pop().unwrap_or_else(|| Box::new(Fiber::new()));
        fiber.start(body);
        let thread =
            ThreadState { fiber, done: 0, locations: 0, state: State::Ready, unwinding: false, told: false };
        while self.thread_names.len() <= number {
            self.thread_names.push("");
        }
        self.thread_names[number] = name;
        self.pulse.name(number, name, &mut self.named);
        while self.threads.len() < number {
            let fiber = self.spare.pop().unwrap_or_else(|| Box::new(Fiber::new()));
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
            self.spare.push(free.fiber);
        } else {
            self.threads.push(thread);
        }
    }

    /// Ends all threads where they stand. Destructors on their stacks run; their operations do nothing.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    unsafe fn take_down(this: *mut Execution) {
        let (threads, first) = {
            // SAFETY: no fiber runs; the reference ends with this block.
            let execution = unsafe { &mut *this };
            execution.taken_down = true;
            (if execution.abandoned { 0 } else { execution.threads.len() }, execution.running)
        };
        // If a panic unwinds a stack, it is that of the thread that ran last. It comes to its end before
        // others are unwound.
        for number in (first..threads).chain(0..first.min(threads)) {
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
            execution.spare.push(thread.fiber);
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

    /// A new object of the running thread.
    pub fn object(&mut self, label: &'static str, kind: Kind, initial: Value) -> u32 {
        if self.taken_down {
            return self.aftermath.object(initial);
        }
        let running = self.running;
        let nth = self.threads[running].locations as usize;
        self.threads[running].locations += 1;
        if self.numbers.len() <= running {
            self.numbers.resize_with(running + 1, Vec::new);
        }
        let known = self.numbers[running].get(nth).copied();
        let number = known.unwrap_or_else(|| {
            let number = self.shared.lock().expect("no worker panics").of(running, nth);
            self.numbers[running].push(number);
            number
        });
        if self.names.len() <= number as usize {
            self.names.resize(number as usize + 1, Named { label: "", kind: Kind::Word });
        }
        self.names[number as usize] = Named { label, kind };
        if let Some(known) = self.graph.locations.get(number as usize)
            && (known.writes.len() > 1 || !known.reads.is_empty())
            && known.initial != initial
            && let Some(before) = self.next_recorded(running)
        {
            self.diverged(before, Instead::Makes(label));
        }
        self.graph.declare(number, initial, kind.is_ordered() && self.waits == Waits::Retry);
        number
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

    /// Performs an operation of the running thread, if it can be done now.
    #[inline]
    fn perform(&mut self, op: Op, source: &'static Source<'static>) -> Option<Value> {
        let number = self.running;
        let thread = &mut self.threads[number];
        let own = &self.graph.threads[number].events;
        if let Some(event) = own.get(thread.done) {
            // Replay.
            if event.op != op || !std::ptr::eq(event.source, source) && event.source != source {
                let before = Performed { op: event.op, source: event.source };
                self.diverged(before, Instead::Performed(Performed { op, source }));
                return None;
            }
            if event.op.reads() && !event.reads_from.is_initial() {
                let write = event.reads_from;
                if !self.has_taken_place(write) {
                    self.threads[number].state = State::Replay(write);
                    return None;
                }
            }
            if let Op::Join { thread: joined } = op {
                let joined = joined as usize;
                if self.threads[joined].done < self.graph.threads[joined].events.len() {
                    self.threads[number].state = State::Join(joined);
                    return None;
                }
            }
            let thread = &mut self.threads[number];
            thread.done += 1;
            self.to_replay -= 1;
            if event.blocked {
                thread.state = State::Blocked;
                return None;
            }
            let read = event.read;
            self.yields = op != Op::End && !self.goes_on_after_repeating(number);
            return Some(read);
        }
        let unwinds = std::thread::panicking();
        let goes_ahead = self.to_replay > 0 && unwinds && self.may_go_ahead(number, &op);
        if self.to_replay > 0 && !goes_ahead {
            return None;
        }
        if self.recorded.is_some() {
            return self.repeat(op, source);
        }
        if let Some(look) = self.graph.last_look(number)
            && look.op != op
        {
            let before = Performed { op: look.op, source: look.source };
            self.diverged(before, Instead::Performed(Performed { op, source }));
            return None;
        }
        if self.graph.retries(&op) && !self.graph.ends_wait(&op) {
            self.threads[number].state = State::Waiting(op, source);
            return None;
        }
        let thread = &mut self.threads[number];
        if let Op::Join { thread: joined } = op
            && !self.graph.has_ended(joined as usize)
        {
            thread.state = State::Join(joined as usize);
            return None;
        }
        if self.graph.len >= self.limits.events {
            let limit =
                Limit::Events { most: self.limits.events, thread: number, last: Performed { op, source } };
            self.fail(Failure::Limit(limit));
            return None;
        }
        if op == Op::Spawn && self.graph.threads.len() >= self.limits.threads {
            self.fail(Failure::Limit(Limit::Threads { most: self.limits.threads }));
            return None;
        }
        if self.stopped {
            return None;
        }
        let was_unwound = self.graph.unwinds(number);
        self.graph.set_unwinding(number, unwinds);
        let added = extend(&mut self.graph, number, op, source, &mut self.others);
        if added == Added::Unordered {
            self.fail(Failure::Limit(Limit::Unordered(Performed { op, source })));
            return None;
        }
        self.threads[number].done += 1;
        self.choose();
        if let Op::CellRead { location } | Op::CellWrite { location } = op {
            self.find_race(EventId::new(number, self.threads[number].done - 1), location);
        }
        match added {
            Added::Value(value) => {
                // A wait that ends now may go before this thread; and anyone, when it has gone first for a
                // while.
                let may_end_wait = op.location().is_some_and(|number| self.graph.location(number).ordered);
                self.yields = (may_end_wait || was_unwound) && self.next() != Some(number);
                Some(value)
            }
            Added::Blocked | Added::Unordered => {
                self.threads[number].state = State::Blocked;
                None
            }
        }
    }

    /// Whether a thread whose stack is unwound may do what is no event yet, though others have not repeated
    /// all of theirs. It would be the next to go on after the replay, since only one is unwound at a time, so
    /// for the graph it makes no difference. What it reads has to be there.
    #[cold]
    fn may_go_ahead(&self, number: usize, op: &Op) -> bool {
        let others = (0..self.graph.threads.len()).filter(|&other| other != number);
        let is_only_one = !others.into_iter().any(|other| self.graph.unwinds(other));
        let newest = op.atomic().filter(|_| op.reads()).map(|location| self.graph.newest(location));
        let is_there = newest.is_none_or(|write| write.is_initial() || self.has_taken_place(write));
        self.graph.unwinds(number) && is_only_one && is_there && !matches!(op, Op::Join { .. })
    }

    /// The thread has used up its stack, but for what the engine needs.
    #[cold]
    fn has_no_stack(&mut self, source: &'static Source<'static>) -> Option<Value> {
        let last = Last { source: Some(source), ..self.last(self.running) };
        self.fail(Failure::Limit(Limit::Stack { size: STACK, last }));
        None
    }

    fn diverged(&mut self, before: Performed, now: Instead) {
        let diverged = Diverged { thread: self.running, before, now };
        self.fail(Failure::Limit(Limit::Diverged(Box::new(diverged))));
    }

    /// Whether the access of a cell races with one that is there.
    fn find_race(&mut self, id: EventId, cell: u32) {
        let graph = &self.graph;
        let (event, location) = (graph.event(id), graph.location(cell));
        let is_write = matches!(event.op, Op::CellWrite { .. });
        let others = location.writes.iter().skip(1).chain(location.reads.iter().filter(|_| is_write));
        let race = others.copied().find(|&other| other != id && !event.happens_before.contains(other));
        if let Some(other) = race {
            let performed = |id: EventId| {
                let event = graph.event(id);
                (id, Performed { op: event.op, source: event.source })
            };
            let failure = Failure::Race { cell, first: performed(other), second: performed(id) };
            self.fail(failure);
        }
    }
}

/// Performs an operation of the thread that runs, when its turn has come. `None` if the run is being taken
/// down and there is nothing to return.
pub(super) fn perform(op: Op, source: &'static Source<'static>) -> Option<Value> {
    let mut done = None;
    loop {
        let execution = current().expect("an operation of the program outside of an execution");
        if execution.taken_down {
            execution.tell_taken_down();
            return execution.aftermath.perform(&execution.graph, op);
        }
        if done.is_some() {
            return done;
        }
        if fiber::has_engine_panicked() {
            // Its panic unwinds this stack, and this is a destructor's operation.
            return None;
        }
        execution.pulse.asks(source);
        if execution.failure.is_none() || execution.recorded.is_some() {
            done = match fiber::stack_pointer() < execution.floor {
                true => fiber::in_engine(|| execution.has_no_stack(source)),
                false => fiber::in_engine(|| execution.perform(op, source)),
            };
        }
        // If it went wrong, the thread goes no further.
        // Who has started a thread gives way when that is there.
        let goes_on = execution.failure.is_none() || execution.recorded.is_some();
        if done.is_some() && goes_on && (op == Op::Spawn || !std::mem::take(&mut execution.yields)) {
            return done;
        }
        execution.pause(source);
        fiber::suspend();
    }
}

/// Lets another thread go before the running one, which has just started one, if it is not the next.
pub(super) fn give_way(source: &'static Source<'static>) {
    let execution = current().expect("an execution runs");
    if std::mem::take(&mut execution.yields) && !execution.taken_down {
        execution.pause(source);
        fiber::suspend();
        let execution = current().expect("an execution runs");
        if execution.taken_down {
            execution.tell_taken_down();
        }
    }
}

/// The text of a panic.
fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
