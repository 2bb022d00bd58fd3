//! What happened in one execution: a row for every operation on a shared object.
//!
//! [`Traced`](crate::flavour::Traced) writes it. There is one trace for each operating system's thread, since the engines run
//! all simulated threads of an execution on the one that started it. It holds the latest execution, so after a
//! failure it is the counterexample.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::Ordering;

use reveille::sync::Note;
use serde::{Deserialize, Serialize};

/// A name that is mostly a literal: a search records it millions of times.
pub type Name = Cow<'static, str>;

/// One execution, up to where it ended or got stuck.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The names of the threads.
    pub threads: Vec<Name>,
    /// The shared objects, in the order in which they were made.
    pub objects: Vec<Object>,
    /// What was done, in the order in which it took effect.
    pub steps: Vec<Step>,
}

/// A shared object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The label it was made with.
    pub label: Name,
    /// The newest value of an atomic; meaningless for others.
    pub newest: usize,
}

/// One operation of one thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// An index into [`Trace::threads`].
    pub thread: usize,
    /// What it did.
    pub op: Op,
    /// The source line, `file:line`, the file below its `src`; empty where there is none to tell.
    pub source: String,
}

/// An operation. An `object` is an index into [`Trace::objects`], an `order` has the name that it has in C.
#[allow(missing_docs)] // the names say it
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// `stale` is the newest value at that moment, where the load returned another.
    Load {
        object: usize,
        order: Name,
        read: usize,
        stale: Option<usize>,
    },
    Store {
        object: usize,
        order: Name,
        wrote: usize,
    },
    /// A read-modify-write; a failed compare_exchange wrote nothing.
    Rmw {
        object: usize,
        order: Name,
        read: usize,
        wrote: Option<usize>,
        stale: Option<usize>,
    },
    Fence {
        order: Name,
    },
    Lock {
        object: usize,
    },
    Unlock {
        object: usize,
    },
    /// A thread waits for a lock, and another one holds it for ever (the exact engine only).
    Await {
        object: usize,
    },
    /// A thread begins to wait for a token; without a `Woken` after it, it sleeps.
    Park {
        object: usize,
        /// Whether it would sleep no longer than for a given time. The engines let none pass unless the
        /// script says so
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        timed: bool,
    },
    Woken {
        object: usize,
        early: bool,
    },
    Unpark {
        object: usize,
    },
    Read {
        object: usize,
    },
    Write {
        object: usize,
    },
    Spawn {
        name: Name,
    },
    /// The thread has come to its end.
    End,
    /// The thread's oldest buffered store reaches memory (the model's x86-TSO only).
    Drain {
        object: usize,
        wrote: usize,
    },
    /// Either way is possible here (the model only).
    Choice {
        taken: bool,
    },
    WakeSkipped,
    WakeSent {
        entries: usize,
    },
    WakePassedOn {
        entries: usize,
    },
}

impl Op {
    /// The newest value at that moment, if the operation read an older one.
    pub fn stale(&self) -> Option<usize> {
        match *self {
            Op::Load { stale, .. } | Op::Rmw { stale, .. } => stale,
            _ => None,
        }
    }
}

impl Trace {
    /// The newest value of the first atomic with this label, if there is one.
    pub fn newest(&self, label: &str) -> Option<usize> {
        self.objects.iter().find(|object| object.label == label).map(|object| object.newest)
    }

    /// Whether every read returned the newest value, that is, whether the trace is one of sequential consistency.
    pub fn reads_newest(&self) -> bool {
        self.steps.iter().all(|step| step.op.stale().is_none())
    }

    /// The last thing that a thread did.
    pub fn last_step(&self, thread: usize) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.thread == thread)
    }

    /// The threads that sleep at the end.
    pub fn sleepers(&self) -> impl Iterator<Item = Sleeper<'_>> {
        (0..self.threads.len()).filter_map(|thread| match self.last_step(thread)?.op {
            Op::Park { object, timed } => {
                Some(Sleeper { thread: &self.threads[thread], parker: &self.objects[object].label, timed })
            }
            _ => None,
        })
    }
}

/// A thread that sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sleeper<'a> {
    /// Its name.
    pub thread: &'a str,
    /// The label of what it sleeps on.
    pub parker: &'a str,
    /// Whether it would wake when its time is over.
    pub timed: bool,
}

/// What a row does not say of a read-modify-write: which of them it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modification {
    Swap,
    /// Or a subtraction.
    Add,
    /// With both orderings that it was given; the row has the one that took effect.
    CompareExchange {
        success: Ordering,
        failure: Ordering,
    },
}

#[derive(Default)]
struct Recorder {
    /// The execution, its steps without their sources.
    trace: Trace,
    /// The source of each step.
    sources: Vec<&'static Location<'static>>,
    /// For each read-modify-write in it, which one it was.
    modifications: Vec<Modification>,
    /// The engine's name for a thread, and its index.
    threads: HashMap<u64, usize>,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// Forgets the previous execution and starts the next, whose first thread is called `main`.
pub(crate) fn begin(main: &'static str) {
    RECORDER.with_borrow_mut(|recorder| {
        recorder.threads.clear();
        recorder.trace.objects.clear();
        recorder.trace.steps.clear();
        recorder.sources.clear();
        recorder.modifications.clear();
        recorder.trace.threads.clear();
        recorder.trace.threads.push(main.into());
    });
}

/// The latest execution. Only its [`Modification`]s can be looked at afterwards.
pub(crate) fn take() -> Trace {
    let (mut trace, sources) = RECORDER.with_borrow_mut(|recorder| {
        (std::mem::take(&mut recorder.trace), std::mem::take(&mut recorder.sources))
    });
    for (step, at) in trace.steps.iter_mut().zip(sources) {
        step.source = source(at);
    }
    trace
}

/// A source line as counterexamples have it: the file below its `src`, since many are called `mod.rs`. Empty
/// for this project's own machinery: a waker is called through a table of functions, where the caller's line
/// is lost.
pub(crate) fn source(at: &Location<'_>) -> String {
    let path = at.file();
    if ["checks/src/flavour/", "model/src/code"].iter().any(|own| path.contains(own)) {
        return String::new();
    }
    let file = path.rsplit_once("/src/").map_or(path, |(_, below)| below);
    format!("{file}:{}", at.line())
}

/// Gives the thread that the engine calls `id` its name.
pub(crate) fn name_thread(id: u64, name: &'static str) {
    RECORDER.with_borrow_mut(|recorder| {
        recorder.threads.insert(id, recorder.trace.threads.len());
        recorder.trace.threads.push(name.into());
    });
}

/// A new shared object. Of several with the same label the second is called `label#2`, and so on.
pub(crate) fn object(label: &'static str, value: usize) -> usize {
    RECORDER.with_borrow_mut(|Recorder { trace, .. }| {
        let same = |object: &&Object| object.label.split('#').next() == Some(label);
        let label = match trace.objects.iter().filter(same).count() {
            0 => label.into(),
            n => format!("{label}#{}", n + 1).into(),
        };
        trace.objects.push(Object { label, newest: value });
        trace.objects.len() - 1
    })
}

/// Records an operation. `op` is given the newest value of each object, and says the new one with the operation.
pub(crate) fn record(thread: u64, at: &'static Location<'static>, op: impl FnOnce(&mut [Object]) -> Op) {
    RECORDER.with_borrow_mut(|Recorder { trace, sources, threads, .. }| {
        let thread = threads.get(&thread).copied().unwrap_or(0);
        let op = op(&mut trace.objects);
        trace.steps.push(Step { thread, op, source: String::new() });
        sources.push(at);
    });
}

/// Says of the row just recorded, a read-modify-write, which one it was.
pub(crate) fn modified(by: Modification) {
    RECORDER.with_borrow_mut(|recorder| recorder.modifications.push(by));
}

/// `read`'s counterpart in [`Op::Load`] and [`Op::Rmw`]: the newest value, if it is another.
pub(crate) fn stale(newest: usize, read: usize) -> Option<usize> {
    (newest != read).then_some(newest)
}

/// An ordering by the name that it has in C.
pub(crate) fn order(order: Ordering) -> Name {
    match order {
        Ordering::Relaxed => "relaxed",
        Ordering::Acquire => "acquire",
        Ordering::Release => "release",
        Ordering::AcqRel => "acq_rel",
        _ => "seq_cst",
    }
    .into()
}

impl From<Note> for Op {
    fn from(note: Note) -> Self {
        match note {
            Note::WakeSkipped => Op::WakeSkipped,
            Note::WakeSent(entries) => Op::WakeSent { entries },
            Note::WakePassedOn(entries) => Op::WakePassedOn { entries },
        }
    }
}
