//! What happened in one execution: a row for every operation on a shared object.
//!
//! [`Traced`](crate::flavour::Traced) writes it. There is one trace for each operating system's thread, since the engines run
//! all simulated threads of an execution on the one that started it. It holds the latest execution, so after a
//! failure it is the counterexample.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::atomic::Ordering;

use reveille::sync::Note;
use serde::{Deserialize, Serialize};

use crate::engine::panics::is_dead;

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
    /// Those of its values that are not shown as decimal numbers, and how they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<usize, String>,
}

impl Object {
    /// A value of it, as it is shown.
    pub fn shown(&self, value: usize) -> String {
        self.names.get(&value).cloned().unwrap_or_else(|| value.to_string())
    }
}

/// What kind of values an atomic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// How many bits they have. They are kept in the high ones of a word
    pub bits: u32,
    /// Whether bits of it were set or cleared on their own
    pub is_mask: bool,
}

impl Default for Form {
    /// A machine word.
    fn default() -> Self {
        Self { bits: usize::BITS, is_mask: false }
    }
}

impl Form {
    /// Numbers that are so little less than 0 are taken for such.
    const NEGATIVE: usize = 1 << 16;

    /// The value that is kept in this word.
    pub fn unpacked(self, word: usize) -> usize {
        word >> (usize::BITS - self.bits)
    }

    /// How a value is shown, if not as a decimal number.
    fn name(self, value: usize) -> Option<String> {
        let below_zero = self.unpacked(usize::MAX) - value;
        match self.bits {
            1 => Some((value == 1).to_string()),
            _ if self.is_mask => (value > 9).then(|| format!("{value:#x}")),
            _ => (below_zero < Self::NEGATIVE).then(|| format!("-{}", below_zero + 1)),
        }
    }
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
    /// A thread waits for a lock, and another one holds it for ever.
    Await {
        object: usize,
    },
    /// A lock was tried, and not free.
    NotLocked {
        object: usize,
    },
    /// A weak exchange fails for no reason; the row after it says what it has read (the exact engine only).
    WeakFailure,
    /// A thread spins: what it has just read changes no more (the exact engine only).
    Spin,
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
    /// The atomic that a row is about, and the values in it.
    pub(crate) fn values(&mut self) -> Option<(usize, [Option<&mut usize>; 3])> {
        match self {
            Op::Load { object, read, stale, .. } => Some((*object, [Some(read), stale.as_mut(), None])),
            Op::Store { object, wrote, .. } => Some((*object, [Some(wrote), None, None])),
            Op::Rmw { object, read, wrote, stale, .. } => {
                Some((*object, [Some(read), wrote.as_mut(), stale.as_mut()]))
            }
            _ => None,
        }
    }

    /// The newest value at that moment, if the operation read an older one.
    pub fn stale(&self) -> Option<usize> {
        match *self {
            Op::Load { stale, .. } | Op::Rmw { stale, .. } => stale,
            _ => None,
        }
    }
}

impl Trace {
    /// Gives the values their names: those that `own` has for them, by the label of the atomic, or those of
    /// their forms.
    pub(crate) fn name_values(&mut self, forms: &[Form], own: impl Fn(&str, usize) -> Option<String>) {
        for (object, values) in self.steps.iter_mut().filter_map(|step| step.op.values()) {
            let Object { label, names, .. } = &mut self.objects[object];
            let label = label.split('#').next().unwrap_or_default();
            for &mut value in values.into_iter().flatten() {
                if let Some(name) = own(label, value).or_else(|| forms[object].name(value)) {
                    names.insert(value, name);
                }
            }
        }
    }

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

#[derive(Default)]
struct Recorder {
    /// The execution, its steps without their sources.
    trace: Trace,
    /// The source of each step.
    sources: Vec<&'static Location<'static>>,
    /// The form of each object.
    forms: Vec<Form>,
    /// The engine's name for a thread, and its index.
    threads: HashMap<u64, usize>,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::default();
    static IS_OFF: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` without a trace: for measurements of what an engine costs by itself.
pub(crate) fn without<R>(body: impl FnOnce() -> R) -> R {
    IS_OFF.set(true);
    let result = body();
    IS_OFF.set(false);
    result
}

/// Whether there is a trace.
pub(crate) fn is_on() -> bool {
    !IS_OFF.get()
}

/// Forgets the previous execution and starts the next, whose first thread is called `main`.
pub(crate) fn begin(main: &'static str) {
    RECORDER.with_borrow_mut(|recorder| {
        recorder.threads.clear();
        recorder.trace.objects.clear();
        recorder.trace.steps.clear();
        recorder.sources.clear();
        recorder.forms.clear();
        recorder.trace.threads.clear();
        recorder.trace.threads.push(main.into());
    });
}

/// The latest execution. `own` has names for values, by the label of their atomic.
pub(crate) fn take(own: impl Fn(&str, usize) -> Option<String>) -> Trace {
    let Recorder { mut trace, sources, forms, .. } = RECORDER.take();
    for (step, at) in trace.steps.iter_mut().zip(sources) {
        step.source = source(at);
    }
    let last: Vec<_> = (0..trace.threads.len())
        .map(|thread| trace.steps.iter().rposition(|step| step.thread == thread))
        .collect();
    let mut row = 0..;
    trace.steps.retain(|step| {
        let row = row.next();
        !matches!(step.op, Op::Await { .. }) || last[step.thread] == row
    });
    trace.name_values(&forms, own);
    trace
}

/// A source line as counterexamples have it: the file below its `src`, since many are called `mod.rs`; of a test
/// its name. Empty
/// for this project's own machinery: a waker is called through a table of functions, where the caller's line
/// is lost.
pub(crate) fn source(at: &Location<'_>) -> String {
    let path = at.file();
    if ["checks/src/flavour/", "model/src/code"].iter().any(|own| path.contains(own)) {
        return String::new();
    }
    let name = || path.rsplit('/').next().unwrap_or(path);
    let file = path.rsplit_once("/src/").map_or_else(name, |(_, below)| below);
    format!("{file}:{}", at.line())
}

/// Gives the thread that the engine calls `id` its name.
pub(crate) fn name_thread(id: u64, name: &'static str) {
    if !is_on() {
        return;
    }
    RECORDER.with_borrow_mut(|recorder| {
        recorder.threads.insert(id, recorder.trace.threads.len());
        recorder.trace.threads.push(name.into());
    });
}

/// A new shared object. Of several with the same label the second is called `label#2`, and so on.
pub(crate) fn object(label: &'static str, value: usize, form: Form) -> usize {
    if !is_on() {
        return 0;
    }
    RECORDER.with_borrow_mut(|Recorder { trace, forms, .. }| {
        let same = |object: &&Object| object.label.split('#').next() == Some(label);
        let label = match trace.objects.iter().filter(same).count() {
            0 => label.into(),
            n => format!("{label}#{}", n + 1).into(),
        };
        trace.objects.push(Object { label, newest: value, names: BTreeMap::new() });
        forms.push(form);
        trace.objects.len() - 1
    })
}

/// Bits of this atomic are set or cleared on their own.
pub(crate) fn is_mask(object: usize) {
    if !is_on() {
        return;
    }
    RECORDER.with_borrow_mut(|recorder| recorder.forms[object].is_mask = true);
}

/// Records an operation, if the execution lives. `op` is given the newest value of each object, and says the
/// new one with the operation.
pub(crate) fn record(thread: u64, at: &'static Location<'static>, op: impl FnOnce(&mut [Object]) -> Op) {
    if is_dead() {
        return;
    }
    RECORDER.with_borrow_mut(|Recorder { trace, sources, threads, .. }| {
        let thread = threads.get(&thread).copied().unwrap_or(0);
        let op = op(&mut trace.objects);
        trace.steps.push(Step { thread, op, source: String::new() });
        sources.push(at);
    });
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
