//! The worker pool: the library's own code, whose jobs are counted, and whose submitter waits for them.
//!
//! A wake that is lost shows as an execution that gets stuck. The submitter sleeps until a job is over, or until the last
//! worker has ended; if the job stays in a list while the worker that may run it sleeps, nobody moves. So no idle timeout ever
//! comes, except where a [script](crate::flavour::script) says so: a worker that wakes by itself would hide what is lost.
//!
//! Everything else is held against the pool's promises when it has shut down: each job has one outcome, and has run once or
//! not at all as that says; never more of an account run than may; and no worker is left.

mod desk;
mod protocols;

use std::marker::PhantomData;

use reveille::gate::{PerEntry, WakeOne};
use reveille::pool::Layout;
use reveille::sync::Primitives;
use strum::VariantArray;

use self::desk::SUBMITTER;
use super::Scenario;
use crate::flavour::script::Script;
use crate::names::{Named, unknown};
use crate::trace::{Sleeper, Trace};

/// What several threads of a pool have to get right together. The first nine have programs of the same names in the model.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown::<Self>)]
pub enum Protocol {
    /// A job comes as the only worker goes idle.
    EnqueueIdle,
    /// The same with two work lists: the job comes into the one that the worker does not begin with.
    ShardScan,
    /// Two workers go idle as a batch of two jobs comes, for which one of them is woken, which wakes the other; the first job waits for
    /// the second.
    Searching,
    /// The same with a submitter that spares wakes: the one that is woken wakes no other, and the submitter looks later. Then another
    /// submitter beside it.
    Sparing,
    /// The same with a worker that naps, and looks after that: one that is woken for the second batch wakes no other meanwhile.
    Napping,
    /// A worker's idle time is over as a job enqueues another one, which it waits for.
    Timeout,
    /// Three jobs of one hash, the second of the other account.
    Hash,
    /// Shutdown, as the worker of either account goes idle.
    Exit,
    /// A job is cancelled by its token and another of its hash by predicate, as they come up.
    Cancel,
    /// Two workers go idle as two jobs come, the first of which waits for the second.
    TwoIdle,
    /// More jobs than the account may have workers.
    Maximum,
    /// The only worker enters a blocked region, which lasts until another job has run.
    Blocking,
    /// A job panics, and another comes after it.
    Panic,
    /// Two threads submit, and the system refuses to start a worker.
    NoThread,
    /// A job enqueues another while two threads shut the pool down, each in its own way.
    Nested,
    /// The maximum is raised as the only worker's job enqueues another one, which it waits for.
    Resize,
    /// Many jobs of all kinds from three threads, and a maximum that goes up and down. Too large for loom.
    Mixture,
}

impl Protocol {
    /// All of them, in the order of the table.
    pub const ALL: [Self; Self::VARIANTS.len()] =
        *Self::VARIANTS.first_chunk().expect("the length is that of the list");

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it has few enough threads for loom.
    pub fn fits_loom(self) -> bool {
        self != Self::Mixture
    }
}

impl Named for Protocol {
    const WHAT: &'static str = "protocol";
}

/// A mistake made in how the pool is used, which comes to the same as one made inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// The pool is told of one worker more than the account may have: it reserves a place that is not there.
    OneTooMany,
    /// The jobs come without their hash: it is ignored.
    HashIgnored,
    /// The job waits outside of a blocked region: its slot is not lent.
    SlotKept,
    /// The wakes that were spared at first are never made up for.
    SparedForGood,
    /// The job's panic is one that the worker does not catch.
    NotCaught,
}

/// What the labels in a counterexample mean.
pub const POOL_LEGEND: &str = "\
work          how long a work list is: those of the bounded account, then those of the unbounded
vacant        how many workers more an account may have, the bounded first
searching     whether a worker that was woken or started looks for work, the bounded account's first
sparing       whether a submitter, or a worker that naps, is going to look
short         how many workers in a row had little to do
armed, mark   what a gate remembers: of the free workers, bounded first, then of who waits for the end
exit          whether the pool shuts down: 0, 1, or 3 if it cancels
job           the state of a job: 0 pending, 1 running, 2 running and told, 3 over";

/// A protocol of the pool, its wait queues behind the gate `G`.
pub struct PoolScenario<G = PerEntry> {
    protocol: Protocol,
    misuse: Option<Misuse>,
    layout: Option<Layout>,
    gate: PhantomData<fn(G)>,
}

impl<G> Clone for PoolScenario<G> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<G> PoolScenario<G> {
    /// The scenario of this protocol.
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, misuse: None, layout: None, gate: PhantomData }
    }

    /// The same, with a mistake.
    pub fn misused(self, misuse: Misuse) -> Self {
        Self { misuse: Some(misuse), ..self }
    }

    /// The same, with other locks than the protocol would have by itself.
    pub fn with_layout(self, layout: Layout) -> Self {
        Self { layout: Some(layout), ..self }
    }
}

impl<G: WakeOne> Scenario for PoolScenario<G> {
    fn name(&self) -> String {
        format!("pool: {}", self.protocol)
    }

    fn main_thread(&self) -> &'static str {
        SUBMITTER
    }

    fn legend(&self) -> &'static str {
        POOL_LEGEND
    }

    fn run<P: Primitives>(&self) {
        protocols::run::<P, G>(self);
    }

    fn owed(&self, trace: &Trace) -> Option<String> {
        let lists = trace.objects.iter().filter(|object| object.label.split('#').next() == Some("work"));
        let waiting: usize = lists.map(|list| list.newest).sum();
        let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        if waiting > 0 {
            return Some(format!(
                "{} in the work lists, which nobody awake will take",
                plural(waiting, "job")
            ));
        }
        let is_worker = |sleeper: &Sleeper<'_>| {
            ["bounded", "unbounded"].iter().any(|kind| sleeper.thread.starts_with(kind))
        };
        let workers = trace.sleepers().filter(is_worker).count();
        let debt = if trace.newest("exit")? != 0 && workers > 0 {
            format!("the end of {}, for which the shutdown waits", plural(workers, "worker"))
        } else {
            "what the submitter waits for".into()
        };
        Some(debt)
    }

    fn scripts(&self) -> Vec<Script> {
        let none = Script::none;
        match self.protocol {
            // One may leave; if both times are over, the last one stays.
            Protocol::Timeout => {
                vec![none().early("bounded 0", 1), none().early("bounded 0", 1).early("bounded 1", 1)]
            }
            Protocol::NoThread => {
                let refuse = |n: usize| (1..=n).fold(none(), Script::refuse_thread);
                vec![refuse(3), refuse(1), refuse(6)]
            }
            _ => vec![none()],
        }
    }
}
