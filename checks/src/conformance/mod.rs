//! The code against the model: what each thread does under loom is what its program in the model does.
//!
//! A search of the model says something of the code only as far as the model's programs are the code. So the code is run
//! under loom, and in every execution that loom explores each thread's operations are put to that thread's
//! [program](reveille_model::program), one by one: the same operation on the same object, with the same ordering and
//! the same values, in the same order, from the start of the thread to its end, or to where it sleeps for ever.
//! [`Error::Departs`] shows the first operation that the program does not accept, and what it would have accepted.
//!
//! **What is compared.** Loads, stores, read-modify-writes (which one, what it read, what it wrote, both orderings of a
//! compare-exchange), fences, locks, parks and unparks. A program that has come to its end accepts nothing more, and a
//! thread that ends must be one whose program may end. What `main` does before it starts the others is the
//! set-up: it must leave the values with which the program's objects start. A list that a lock guards holds what the programs
//! of the threads that had the lock before have left in it, in that order.
//!
//! **What is not.**
//!
//! - *Memory*: whatever was read is believed. Which values may be read is the memory model's affair, and that is
//!   calibrated elsewhere. So is who runs when: the programs have no joins.
//! - *Cells*: plain data, of which the record says who accesses it, not what is in it. Poll wake has one location for all its
//!   completions: writing the *n*th cell is writing *n* there, and reading some in a row is reading the last of
//!   their numbers. In the completion queue a cell holds what the program of whoever wrote it last has put there.
//! - *Early returns* of a park are a choice of the program that the record does not show.
//! - *Executions beyond the bound*: loom is asked for those with so many preemptions, and the [`Report`] says how many.
//!   It stops at the first that gets stuck, so of a gate that misses a wakeup not all are seen.
//! - *The way back*: that the code can do all that the program can. [`never_taken`] names the places in the programs that
//!   no execution came by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reveille::sync::Primitives;
use reveille_model::memory::{Location, Value};
use reveille_model::program::{Kind, Mismatch, Program, Recorded, Site};

use crate::engine::{Budget, Engine, Run, loom};
use crate::flavour::script::Script;
use crate::scenario::Scenario;
use crate::trace::{self, Modification, Op, Step, Trace};
use crate::verdict::End;

mod protocol;
pub use protocol::{CompletionProtocol, Object, Owner, PollWakeProtocol, Protocol};

/// Which executions are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// All with at most so many preemptions
    pub preemptions: usize,
    /// And then, with more and more of them, as many as fit into so much time
    pub extra: Duration,
}

/// The places in a protocol's programs that were come by, thread by thread.
pub type Taken = BTreeMap<usize, BTreeSet<Site>>;

/// What was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The executions whose threads all do what their programs do; one that is within several bounds counts for each
    pub executions: u64,
    /// The most preemptions whose executions were all looked at; `None` if one got stuck before the end of the first search
    pub preemptions: Option<usize>,
    /// Did an execution get stuck? It was looked at too, and it was the last.
    pub stuck: bool,
    /// The places that were come by
    pub taken: Taken,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} executions", self.executions)?;
        match self.preemptions {
            Some(preemptions) => write!(f, ", all with at most {preemptions} preemptions")?,
            None => write!(f, ", no bound of preemptions searched to the end")?,
        }
        if self.stuck { f.write_str(", up to one that gets stuck") } else { Ok(()) }
    }
}

/// Code and program are not held against each other, or do not agree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A thread does what its program does not
    #[error("{0}")]
    Departs(Box<Departure>),
    /// The code has an object or a thread that the model does not know
    #[error("the {what} `{name}` of the code has no counterpart in the model of {protocol}")]
    Unknown {
        /// An object, or a thread
        what: &'static str,
        /// What the code calls it
        name: String,
        /// The protocol
        protocol: String,
    },
    /// What `main` does before it starts the others is not where the program starts
    #[error("{object} is {code} when the threads start, and {model} in the model of {protocol}")]
    Start {
        /// The object
        object: String,
        /// Its value in the code
        code: Value,
        /// Its value in the program
        model: Value,
        /// The protocol
        protocol: String,
    },
    /// The scenario's own assertion fails
    #[error("an execution of {scenario} panics: {message}")]
    Panics {
        /// The scenario
        scenario: String,
        /// The panic
        message: String,
    },
    /// The engine gave up
    #[error("{0}")]
    GaveUp(String),
    /// The protocol cannot be built
    #[error("{0}")]
    Protocol(#[source] Unbuilt),
    /// Only executions under loom are looked at
    #[error("conformance is checked under loom, not under {}", .0.name())]
    Engine(Engine),
}

/// Why a program of the model cannot be built.
pub type Unbuilt = Box<dyn std::error::Error + Send + Sync>;

/// The first operation of a thread that its program does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The protocol
    pub protocol: String,
    /// The thread, as the code calls it
    pub thread: String,
    /// What the thread did and the program accepted, with its source lines
    pub accepted: Vec<(Recorded, String)>,
    /// What the program says to the next; `None` if the thread did nothing more
    pub mismatch: Option<Mismatch>,
    /// The source line of the next operation
    pub source: String,
    /// What the program would have accepted
    pub expected: Vec<String>,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, thread, accepted, mismatch, source, expected } = self;
        writeln!(f, "{protocol}: the thread `{thread}` does not do what its program does")?;
        for (number, (operation, source)) in accepted.iter().enumerate() {
            writeln!(f, "{:>4}  {:<48}  {source}", number + 1, operation.to_string())?;
        }
        let seen = mismatch.as_ref().map_or("the end".into(), |mismatch| mismatch.seen.to_string());
        writeln!(f, "{:>4}  {seen:<48}  {source}", accepted.len() + 1)?;
        write!(f, "      the program expects {}", expected.join(" or "))
    }
}

/// Looks at the executions of a scenario under loom, memory `sc` or `c11`, within a bound: is every thread's every operation
/// one of its program's?
///
/// The scripts of the scenario are tried one after the other; where one has early returns, so may the program have one.
pub fn check<S: Scenario, P: Protocol>(
    engine: Engine,
    scenario: &S,
    protocol: &P,
    bound: Bound,
) -> Result<Report, Error> {
    if !matches!(engine, Engine::LoomSc | Engine::LoomC11) {
        return Err(Error::Engine(engine));
    }
    let mut report: Option<Report> = None;
    let scripts = scenario.scripts();
    for script in &scripts {
        let spurious = u8::from(*script != Script::none());
        let program = Arc::new(protocol.program(spurious).map_err(Error::Protocol)?);
        let judge = Judge { protocol: protocol.clone(), program };
        let watched = Watched { scenario: scenario.clone(), judge, seen: Arc::default() };
        let mut this = watched.search(engine, script, bound, bound.extra / scripts.len() as u32)?;
        if let Some(former) = report {
            this.executions += former.executions;
            this.preemptions = this.preemptions.min(former.preemptions);
            this.stuck |= former.stuck;
            for (thread, sites) in former.taken {
                this.taken.entry(thread).or_default().extend(sites);
            }
        }
        report = Some(this);
    }
    Ok(report.unwrap_or_default())
}

/// The places in the programs of a protocol, as thread and site, that are not among those come by.
pub fn never_taken(protocol: &impl Protocol, taken: &Taken) -> Result<Vec<(String, Site)>, Unbuilt> {
    let program = protocol.program(0)?;
    let mut never = Vec::new();
    for (number, thread) in program.threads().iter().enumerate() {
        let taken = taken.get(&number);
        let missing =
            thread.sites().into_iter().filter(|site| taken.is_none_or(|taken| !taken.contains(site)));
        never.extend(missing.map(|site| (thread.name().to_owned(), site)));
    }
    Ok(never)
}

/// A scenario, each of whose executions is judged at its end.
#[derive(Clone)]
struct Watched<S, M> {
    scenario: S,
    judge: Judge<M>,
    seen: Arc<Mutex<Seen>>,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    taken: Taken,
    /// A complete execution was not accepted
    departs: bool,
}

impl<S: Scenario, M: Protocol> Scenario for Watched<S, M> {
    fn name(&self) -> String {
        self.scenario.name()
    }

    fn main_thread(&self) -> &'static str {
        self.scenario.main_thread()
    }

    /// # Panics
    /// If an operation is not accepted: it ends the search, as every violation does. The search then judges the execution
    /// again, for the error.
    fn run<P: Primitives>(&self) {
        self.scenario.run::<P>();
        // All threads are joined, so the execution is complete.
        let mut seen = self.seen();
        let judge = |trace: &Trace, modifications: &[Modification]| {
            self.judge.judge(trace, modifications, true, &mut seen.taken)
        };
        if let Err(error) = trace::look(judge) {
            seen.departs = true;
            drop(seen);
            panic!("{error}");
        }
    }
}

impl<S, M> Watched<S, M> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Scenario, M: Protocol> Watched<S, M> {
    fn search(
        &self,
        engine: Engine,
        script: &Script,
        bound: Bound,
        extra: Duration,
    ) -> Result<Report, Error> {
        let executions = Arc::new(AtomicU64::new(0));
        let mut report = Report::default();
        let run = |preemptions, budget, report: &mut Report| {
            let outcome = loom::bounded(engine, self, script, Some(preemptions), budget, &executions);
            report.executions = executions.load(Ordering::Relaxed);
            match outcome {
                Run::Ended => report.preemptions = Some(preemptions),
                Run::GaveUp(why) => return Err(Error::GaveUp(why)),
                Run::Failed(found) => {
                    report.stuck = matches!(found.end, End::Stuck(_));
                    let modifications = trace::look(|_, modifications| modifications.to_vec());
                    let Seen { taken, departs } = &mut *self.seen();
                    self.judge.judge(&found.trace, &modifications, *departs, taken)?;
                    if let End::Violation(message) = found.end {
                        return Err(Error::Panics { scenario: found.scenario, message });
                    }
                }
            }
            Ok(())
        };
        run(bound.preemptions, Budget::of_executions(u64::MAX), &mut report)?;
        let deadline = Instant::now() + extra;
        let (mut preemptions, mut ended) = (bound.preemptions, report.executions);
        while !report.stuck && Instant::now() < deadline {
            preemptions += 1;
            let former = report.clone();
            let left = deadline.saturating_duration_since(Instant::now());
            run(preemptions, Budget::of_time(left), &mut report)?;
            if Instant::now() >= deadline {
                report.preemptions = former.preemptions;
            }
            let added = report.executions - former.executions;
            if added == std::mem::replace(&mut ended, added) {
                break; // no execution has more preemptions
            }
        }
        report.taken = std::mem::take(&mut self.seen().taken);
        Ok(report)
    }
}

/// One program, and how its names and the code's belong together.
#[derive(Clone)]
struct Judge<M> {
    protocol: M,
    program: Arc<Program>,
}

/// What a thread did, in the model's words, with its source line.
struct Row {
    /// The index of the thread in the trace
    thread: usize,
    operation: Recorded,
    source: String,
    /// Is it an access to a cell?
    cell: bool,
}

impl<M: Protocol> Judge<M> {
    /// Puts an execution to the programs. A thread of one that is `complete` has come to its end.
    fn judge(
        &self,
        trace: &Trace,
        modifications: &[Modification],
        complete: bool,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        let threads = trace
            .threads
            .iter()
            .map(|name| self.protocol.thread(name).ok_or_else(|| self.unknown("thread", name)));
        let threads = threads.collect::<Result<Vec<usize>, Error>>()?;
        let rows = self.rows(trace, modifications)?;
        let mut replay = self.program.replay_all();
        let departs = |row: usize, thread: usize, mismatch, expected| {
            let of_thread = rows[..row].iter().filter(|other| other.thread == thread);
            let accepted = of_thread.map(|row| (row.operation.clone(), row.source.clone())).collect();
            let source = rows.get(row).map_or(String::new(), |row| row.source.clone());
            let (protocol, thread) = (self.protocol.to_string(), trace.threads[thread].to_string());
            Error::Departs(Box::new(Departure { protocol, thread, accepted, mismatch, source, expected }))
        };
        for (number, row) in rows.iter().enumerate() {
            let thread = threads[row.thread];
            let accepted = replay.accept(thread, &row.operation);
            let sites = accepted.ok_or_else(|| self.unknown("thread", &trace.threads[row.thread]))?;
            let sites = sites.map_err(|mismatch| {
                let expected = mismatch.expected.clone();
                departs(number, row.thread, Some(mismatch), expected)
            })?;
            // A place counts only where the record leaves no doubt about it.
            if let (1, Some(site)) = (sites.len(), sites.into_iter().next()) {
                taken.entry(thread).or_default().insert(site);
            }
        }
        if complete {
            for (thread, number) in threads.iter().enumerate() {
                if let Some(replay) = replay.thread(*number).filter(|replay| !replay.may_end()) {
                    return Err(departs(rows.len(), thread, None, replay.expected()));
                }
            }
        }
        Ok(())
    }

    /// What the threads did, in the order in which it took effect; the set-up is compared and left out.
    fn rows(&self, trace: &Trace, modifications: &[Modification]) -> Result<Vec<Row>, Error> {
        let mut rows: Vec<Row> = Vec::new();
        let owners = owners(trace, modifications);
        let mut modifications = modifications.iter();
        let mut started = false;
        let mut start: BTreeMap<String, Value> = BTreeMap::new();
        for step in &trace.steps {
            if matches!(step.op, Op::Spawn { .. }) && !std::mem::replace(&mut started, true) {
                self.compare_start(&start)?;
            }
            let by = matches!(step.op, Op::Rmw { .. }).then(|| modifications.next()).flatten();
            let operations = self.recorded(trace, &step.op, by.copied(), &owners)?;
            let cell = matches!(step.op, Op::Read { .. } | Op::Write { .. });
            for operation in operations {
                if !started {
                    if let (Some(object), Some(value)) = (operation.object, operation.written) {
                        start.insert(object, value);
                    }
                    continue;
                }
                let row = Row { thread: step.thread, operation, source: step.source.clone(), cell };
                // Reading cells in a row that are one location in the program is reading the last of them.
                match rows.iter_mut().rev().find(|last| last.thread == row.thread) {
                    Some(last) if last.reads_cell_as(&row) => *last = row,
                    _ => rows.push(row),
                }
            }
        }
        // Whoever sleeps for ever would take the token next: its program must be there too.
        for thread in 0..trace.threads.len() {
            if let Some(Step { op: Op::Park { object, .. }, source, .. }) = trace.last_step(thread) {
                let woken = Op::Woken { object: *object, early: false };
                for operation in self.recorded(trace, &woken, None, &owners)? {
                    rows.push(Row { thread, operation, source: source.clone(), cell: false });
                }
            }
        }
        Ok(rows)
    }

    /// The operation in the model's words; nothing for what is no operation there.
    fn recorded(
        &self,
        trace: &Trace,
        op: &Op,
        by: Option<Modification>,
        owners: &[Owner<'_>],
    ) -> Result<Vec<Recorded>, Error> {
        let object = |index: usize| named(trace, index, owners);
        let label = |index: usize| {
            let label = &trace.objects[index].label;
            self.protocol.object(&object(index)).ok_or_else(|| self.unknown("object", label))
        };
        let word = |kind, object: usize| {
            let object = Some(label(object)?);
            Ok::<_, Error>(Recorded { kind, object, order: None, failure: None, read: None, written: None })
        };
        let recorded = match *op {
            Op::Load { object, ref order, read, .. } => {
                let (order, read) = (Some(ordering(order)), Some(value(read)));
                Recorded { order, read, ..word(Kind::Load, object)? }
            }
            Op::Store { object, ref order, wrote } => {
                let (order, written) = (Some(ordering(order)), Some(value(wrote)));
                Recorded { order, written, ..word(Kind::Store, object)? }
            }
            Op::Rmw { object, ref order, read, wrote, .. } => {
                let (kind, order, failure) = match by {
                    Some(Modification::CompareExchange { success, failure }) => {
                        (Kind::CompareExchange, success, Some(failure))
                    }
                    Some(Modification::Add) => (Kind::Add, ordering(order), None),
                    Some(Modification::Swap) | None => (Kind::Swap, ordering(order), None),
                };
                let (read, written) = (Some(value(read)), wrote.map(value));
                Recorded { order: Some(order), failure, read, written, ..word(kind, object)? }
            }
            Op::Fence { ref order } => Recorded {
                kind: Kind::Fence,
                object: None,
                order: Some(ordering(order)),
                failure: None,
                read: None,
                written: None,
            },
            Op::Lock { object } => word(Kind::Lock, object)?,
            Op::Unlock { object } => word(Kind::Unlock, object)?,
            Op::Woken { object, early: false } => word(Kind::Park, object)?,
            Op::Unpark { object } => word(Kind::Unpark, object)?,
            Op::Read { object: cell } => {
                return Ok(self.protocol.read_cell(&object(cell), word(Kind::Load, cell)?));
            }
            Op::Write { object: cell } => {
                return Ok(self.protocol.write_cell(&object(cell), word(Kind::Store, cell)?));
            }
            Op::Park { .. }
            | Op::Await { .. }
            | Op::Woken { early: true, .. }
            | Op::Spawn { .. }
            | Op::End
            | Op::Drain { .. }
            | Op::Choice { .. }
            | Op::WakeSkipped
            | Op::WakeSent { .. }
            | Op::WakePassedOn { .. } => return Ok(Vec::new()),
        };
        Ok(vec![recorded])
    }

    /// Do the objects start with the values that the set-up leaves in them?
    fn compare_start(&self, start: &BTreeMap<String, Value>) -> Result<(), Error> {
        let program = &self.program;
        let objects =
            || (0..).zip(program.initial()).map(|(number, model)| (program.label(Location(number)), model));
        if let Some(stranger) = start.keys().find(|name| objects().all(|(object, _)| object != name.as_str()))
        {
            return Err(self.unknown("object", stranger));
        }
        for (object, model) in objects() {
            let code = start.get(object).copied().unwrap_or(0);
            if code != *model {
                let (object, protocol) = (object.to_owned(), self.protocol.to_string());
                return Err(Error::Start { object, code, model: *model, protocol });
            }
        }
        Ok(())
    }

    fn unknown(&self, what: &'static str, name: &str) -> Error {
        Error::Unknown { what, name: name.to_owned(), protocol: self.protocol.to_string() }
    }
}

impl Row {
    /// Do both read cells that are one location in the program?
    fn reads_cell_as(&self, other: &Row) -> bool {
        let read = |row: &Row| row.cell && row.operation.kind == Kind::Load;
        read(self) && read(other) && self.operation.object == other.operation.object
    }
}

/// An object as the code names it.
fn named<'a>(trace: &'a Trace, index: usize, owners: &[Owner<'a>]) -> Object<'a> {
    let label = &trace.objects[index].label;
    let (label, number) = label.split_once('#').unwrap_or((label, "1"));
    Object { label, number: number.parse().unwrap_or(1), owner: owners[index] }
}

/// Who owns each object: the first that stores to it or swaps it. Others only compare, add and load.
fn owners<'a>(trace: &'a Trace, modifications: &[Modification]) -> Vec<Owner<'a>> {
    let mut owners = vec![Owner::Nobody; trace.objects.len()];
    let mut modifications = modifications.iter();
    let mut started = false;
    for step in &trace.steps {
        let object = match step.op {
            Op::Spawn { .. } => {
                started = true;
                continue;
            }
            Op::Rmw { object, .. } if modifications.next() == Some(&Modification::Swap) => object,
            Op::Store { object, .. } => object,
            _ => continue,
        };
        if owners[object] == Owner::Nobody {
            owners[object] = if started { Owner::Thread(&trace.threads[step.thread]) } else { Owner::SetUp };
        }
    }
    owners
}

fn value(value: usize) -> Value {
    value as Value
}

/// An ordering by its name in a trace.
fn ordering(name: &str) -> Ordering {
    [Ordering::Relaxed, Ordering::Acquire, Ordering::Release, Ordering::AcqRel]
        .into_iter()
        .find(|&ordering| trace::order(ordering) == name)
        .unwrap_or(Ordering::SeqCst)
}
