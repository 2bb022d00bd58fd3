//! Reads that wait: for a lock to be free, for a token, for a value.
//!
//! In the **plain** form a wait that finds another value is an event like others: its thread is blocked, and a later write may
//! revisit it. Nothing can go wrong with that, but the graph that is revisited goes on too, with a thread that waits for a value
//! which is there. In the end four of ten graphs are no executions.
//!
//! In the **retry** form a wait that finds another value is no event at all. It is added when the newest write ends it. Four
//! rules make up for what is not in the graph:
//!
//! 1. *The newest write does not end the wait*: the thread cannot move. When no thread can, the waits look, in the order of
//!    their threads: older writes that end the wait are tried, and a [`Look`] says which write was the newest ([`give_up`]).
//! 2. *A write revisits a wait and does not end it*: the wait is taken out of the graph, and a look says that it saw this write,
//!    at the time when the wait had been added. (The plain form would leave it blocked, reading the write.)
//! 3. *A wait that has looked* reads newer writes only. The older ones are the business of the graph that it was taken from. This
//!    saves work only: what came of them would be refused by rule 4.
//! 4. *A revisit that deletes a look* needs it to be maximal, as it needs of events, and one that keeps a look keeps the
//!    write that was seen (`are_maximal`).
//!
//! Why no execution is lost: where the plain form has two graphs, one in which a write ends the wait and one in which the wait goes
//! on, this form has the first only. The second is good for one thing, in the plain form: a later write w revisits a read that was
//! added before the wait, and deletes the wait and the write. It may do so from the first graph as well, where the wait comes after
//! the write. That the wait is ended by *another* write instead comes up when that one is the newest, or when nothing else can
//! move. Both count on one thing: a write of the location cannot be placed before one that it does not know. So the writes have to be
//! **ordered** by porf. Those of locks and tokens are: an exchange reads what it overwrites, and only who has taken a lock
//! gives it back. For other locations the plain form stays.
//!
//! There is no proof. Both forms are compared with brute force on random programs, and each of the other rules is needed there.

use std::panic::Location as Source;

use super::revisit::older_reads;
use super::rules::{Rule, without};
use super::{Clock, EventId, Graph, Op};

/// How reads wait. See [the module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waits {
    /// Blocked events, which later writes revisit
    Plain,
    /// No events until they end, where the writes of the location are ordered
    #[default]
    Retry,
}

/// A wait that has found nothing.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The wait
    pub op: Op,
    /// Where it stands in the source
    pub source: &'static Source<'static>,
    /// Its number in the thread. There may be an event with this number by now: it has found something since
    pub index: u16,
    /// The write that it has seen
    pub seen: EventId,
    /// When
    pub stamp: u32,
}

impl Look {
    /// Whether it stays in a graph that is restricted to these events, and to looks before this stamp at what would be next.
    pub(super) fn is_kept(&self, keep: &Clock, thread: usize, stamp: u32) -> bool {
        let index = self.index as usize;
        index < keep.of(thread) || index == keep.of(thread) && self.stamp < stamp
    }
}

impl Graph {
    /// Whether a wait of this location is in the retry form.
    pub fn retries(&self, op: &Op) -> bool {
        op.until().is_some() && op.location().is_some_and(|location| self.location(location).ordered)
    }

    /// Whether the newest write ends this wait.
    pub fn ends_wait(&self, op: &Op) -> bool {
        let location = op.location().expect("a wait has a location");
        op.until().is_none_or(|until| until.satisfied(self.value(location, self.newest(location))))
    }

    /// The last look of the wait that would be the next event of its thread, if it has looked.
    pub fn last_look(&self, thread: usize) -> Option<&Look> {
        let thread = &self.threads[thread];
        thread.looks.last().filter(|look| look.index as usize == thread.events.len())
    }

    /// Adds the waits that have looked as blocked events, now that nothing else can happen.
    pub fn show_waits(&mut self) {
        for thread in 0..self.threads.len() {
            if let Some(&Look { op, source, .. }) = self.last_look(thread) {
                let location = op.location().expect("a wait has a location");
                let newest = self.newest(location);
                self.push(thread, op, source, newest, self.value(location, newest), None);
            }
        }
    }
}

/// No thread can move, and this one waits for what is not there: all graphs in which it reads an older write go to `others`.
pub fn give_up(
    graph: &mut Graph,
    thread: usize,
    op: Op,
    source: &'static Source<'static>,
    others: &mut Vec<Graph>,
) {
    if !without(Rule::OlderReadsOfWaits) {
        older_reads(graph, thread, op, source, others);
    }
    let index = graph.threads[thread].events.len() as u16;
    let seen = graph.newest(op.location().expect("a wait has a location"));
    let stamp = graph.next_stamp;
    graph.next_stamp += 1;
    graph.threads[thread].looks.push(Look { op, source, index, seen, stamp });
}

/// Whether the looks allow a write with this porf prefix to revisit the read that was added at `stamp`. `keep` is what stays of the
/// graph.
///
/// A look that stays must have seen a write that stays. One that is deleted is maximal if the wait would have looked in vain
/// without what is deleted too: what it saw stays, or the newest of the writes that were there or that stay does not end it.
pub(super) fn are_maximal(graph: &Graph, keep: &Clock, stamp: u32, porf: &Clock) -> bool {
    graph.threads.iter().enumerate().all(|(number, thread)| {
        thread.looks.iter().all(|look| {
            if look.is_kept(keep, number, stamp) {
                return keep.contains(look.seen) || without(Rule::LooksStay);
            }
            let until = look.op.until().expect("it waits");
            let location = look.op.location().expect("a wait has a location");
            porf.contains(look.seen)
                || !until.satisfied(graph.value(location, newest_then(graph, look, porf)))
                || without(Rule::MaximalLooks)
        })
    })
}

/// The newest of the writes that were there when the wait looked, or that stay.
fn newest_then(graph: &Graph, look: &Look, porf: &Clock) -> EventId {
    let location = graph.location(look.op.location().expect("a wait has a location"));
    let was_there = |write: &EventId| {
        write.is_initial() || porf.contains(*write) || graph.event(*write).write_stamp <= look.stamp
    };
    location.writes.iter().rev().copied().find(was_there).unwrap_or(EventId::INITIAL)
}

/// The first place in the coherence order that the next event of the thread may read for its looks. Without this it would read older
/// ones as well and come to nothing: its write would revisit what the look has seen.
pub(super) fn first_after_look(graph: &Graph, thread: usize) -> usize {
    graph.last_look(thread).map_or(0, |look| graph.position(look.seen) + 1)
}
