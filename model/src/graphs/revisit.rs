//! How a graph is extended by one event, in all ways, so that each execution comes up exactly once.
//!
//! This is TruSt (Kokologiannakis, Marmanis, Gladstein and Vafeiadis, *Truly stateless, optimal dynamic partial order
//! reduction*, POPL 2022). The search keeps one graph and adds the next event of a thread that is a function of the graph:
//!
//! - a **read** may read from any write that is there and that consistency allows ([`floor`]): one graph each;
//! - a **write** may take any place in coherence order that consistency allows: one graph each;
//! - a read that was added *before* the write that it should read from is mended afterwards: the new write **revisits** it.
//!   What was added after the read, and is not in the prefix of the write under program order and reads-from (*porf*), is deleted: it
//!   may depend on what was read. The search adds it again.
//!
//! Why *every* execution comes up: take its events in an order that respects porf. If a read comes before its
//! write in the order of the search, the search first lets it read the newest write that is there, goes on to the write, and
//! revisits.
//!
//! Why it comes up *once*: a revisit deletes events, and other graphs differ from this one in what is deleted only. All of
//! them would come to the same. So only one of them may make the revisit: the one in which everything that is deleted, and the read
//! itself, had been added maximally (`is_maximal`): reads read the newest write, writes are the newest, choices have
//! their first outcome, as seen when they were added. There is exactly one such way to add a set of events, and there always
//! is one: the newest write is always allowed.

use std::panic::Location as Source;

use super::consistency::floor;
use super::rules::{Rule, without};
use super::wait::{self, Look};
use super::{Clock, EventId, Graph, Op, Value};

/// What became of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The event is in the graph, which has its newest form; this is what it has read or been given
    Value(Value),
    /// It is in the graph and waits for another value than the newest
    Blocked,
    /// It is not in the graph: a store to a location whose writes are [ordered](super::wait), and it is not ordered after the newest
    Unordered,
}

/// Adds an event to the graph. Of all the ways to do it, the graph takes the newest: a read reads from the newest write, a write becomes
/// the newest, a choice has its first outcome. All others go to `others`, revisits included.
pub fn extend(
    graph: &mut Graph,
    thread: usize,
    op: Op,
    source: &'static Source<'static>,
    others: &mut Vec<Graph>,
) -> Added {
    match op {
        Op::Load { .. } | Op::Rmw { .. } => extend_read(graph, thread, op, source, others),
        Op::Store { .. } => extend_store(graph, thread, op, source, others),
        Op::Spawn => Added::Value(graph.start(thread, source) as Value),
        Op::Choose { outcomes } => {
            for outcome in 1..outcomes as Value {
                let mut other = graph.clone();
                other.push(thread, op, source, EventId::INITIAL, outcome, None);
                others.push(other);
            }
            graph.push(thread, op, source, EventId::INITIAL, 0, None);
            Added::Value(0)
        }
        Op::Fence { .. } | Op::Join { .. } | Op::CellRead { .. } | Op::CellWrite { .. } | Op::End => {
            graph.push(thread, op, source, EventId::INITIAL, 0, None);
            Added::Value(0)
        }
    }
}

fn extend_store(
    graph: &mut Graph,
    thread: usize,
    op: Op,
    source: &'static Source<'static>,
    others: &mut Vec<Graph>,
) -> Added {
    let number = op.location().expect("a store has a location");
    let (before, _) = graph.before(EventId::new(thread, graph.threads[thread].events.len()));
    if graph.location(number).ordered && !before.contains(graph.newest(number)) {
        return Added::Unordered;
    }
    let id = graph.push(thread, op, source, EventId::INITIAL, 0, None);
    revisits(graph, id, others);
    let lowest = floor(graph, id, &op) + 1;
    let stamp = graph.event(id).stamp;
    let newest = graph.location(number).writes.len();
    let is_older = |&position: &usize| position < newest && !without(Rule::OlderPlaces);
    for position in places(graph, &op, lowest).filter(is_older) {
        let mut other = graph.clone();
        other.place(id, position, stamp);
        others.push(other);
    }
    graph.place(id, newest, stamp);
    Added::Value(0)
}

/// The places for a write in the coherence order, from the lowest: not between a read-modify-write and what it has read.
fn places(graph: &Graph, op: &Op, lowest: usize) -> impl DoubleEndedIterator<Item = usize> {
    let writes = &graph.location(op.location().expect("a write has a location")).writes;
    let is_free = |place: usize| writes.get(place).is_none_or(|&write| !graph.is_rmw(write));
    (lowest..=writes.len()).filter(move |&place| is_free(place) || without(Rule::Atomicity))
}

fn extend_read(
    graph: &mut Graph,
    thread: usize,
    op: Op,
    source: &'static Source<'static>,
    others: &mut Vec<Graph>,
) -> Added {
    older_reads(graph, thread, op, source, others);
    let number = op.location().expect("a read has a location");
    let write = graph.newest(number);
    let value = graph.value(number, write);
    let id = graph.push(thread, op, source, write, value, None);
    if graph.event(id).blocked {
        return Added::Blocked;
    }
    if graph.event(id).will_write().is_some() {
        revisits(graph, id, others);
        let newest = graph.location(number).writes.len();
        graph.place(id, newest, graph.event(id).stamp);
    }
    Added::Value(value)
}

/// All graphs in which the read, the next event of its thread, reads another write than the newest.
pub(super) fn older_reads(
    graph: &mut Graph,
    thread: usize,
    op: Op,
    source: &'static Source<'static>,
    others: &mut Vec<Graph>,
) {
    let number = op.location().expect("a read has a location");
    if graph.location(number).writes.len() == 1 {
        return;
    }
    let id = EventId::new(thread, graph.threads[thread].events.len());
    let lowest = floor(graph, id, &op);
    // An exchange that fails has another order, which may allow older writes.
    let lowest_failed = op.failed().map_or(lowest, |failed| floor(graph, id, &failed));
    let after_look = wait::first_after_look(graph, thread);
    let writes = graph.location(number).writes.clone();
    let older = writes.iter().enumerate().take(writes.len() - 1);
    let is_closed = graph.is_closed;
    for (position, &write) in older.skip(lowest_failed.min(lowest).max(after_look)) {
        let value = graph.value(number, write);
        if position < if op.writes_after(value) { lowest } else { lowest_failed } {
            continue;
        }
        // A read that waits is given the newest write only, unless another one ends its wait.
        if op.until().is_some_and(|until| !until.satisfied(value)) {
            continue;
        }
        graph.push(thread, op, source, write, value, None);
        if make_revisits(graph, id, others) {
            let mut other = graph.clone();
            place_after_read(&mut other, id);
            others.push(other);
        }
        graph.pop(id);
        graph.is_closed = is_closed;
    }
}

/// What the write part of the event `id` revisits, if that is a read-modify-write that writes. False if the graph dies
/// with it: another one stands where the write part has to be, right after what it has read. What it revisits stands all
/// the same.
fn make_revisits(graph: &Graph, id: EventId, others: &mut Vec<Graph>) -> bool {
    let event = graph.event(id);
    if event.will_write().is_none() {
        return true;
    }
    let location = event.op.location().expect("an access");
    let next = graph.location(location).writes.get(graph.position(event.reads_from) + 1);
    let is_free = next.is_none_or(|&next| !graph.is_rmw(next));
    if !without(Rule::RevisitsOfOlder) && (is_free || !without(Rule::RevisitsOfHomeless)) {
        revisits(graph, id, others);
    }
    is_free
}

/// Gives the write part of a read-modify-write its place, if it writes.
fn place_after_read(graph: &mut Graph, id: EventId) {
    let event = graph.event(id);
    if event.will_write().is_some() {
        let place = graph.position(event.reads_from) + 1;
        let stamp = graph.next_stamp;
        graph.next_stamp += 1;
        graph.place(id, place, stamp);
    }
}

/// All graphs in which an earlier read reads from the write `id` instead, which has no place in the coherence order yet.
fn revisits(graph: &Graph, id: EventId, others: &mut Vec<Graph>) {
    let write = graph.event(id);
    let location = write.op.location().expect("a write has a location");
    for &read in &graph.location(location).reads {
        if !write.porf.contains(read) {
            revisit(graph, read, id, others);
        }
    }
}

/// See [`revisits`]: those of one read.
fn revisit(graph: &Graph, read: EventId, id: EventId, others: &mut Vec<Graph>) {
    let (old, write) = (graph.event(read), graph.event(id));
    let value = write.will_write().expect("it is a write");
    // A wait that the write does not end sees it only as the newest.
    let is_in_vain = old.op.until().is_some_and(|until| !until.satisfied(value));
    // What is kept of each thread: what was added before the read, and the prefix of the write.
    let mut keep = write.porf.clone();
    for (thread, own) in graph.threads.iter().enumerate() {
        keep.include(thread, own.events.partition_point(|event| event.stamp < old.stamp));
    }
    for (thread, own) in graph.threads.iter().enumerate() {
        for index in keep.of(thread)..own.events.len() {
            if !without(Rule::Maximal) && !is_maximal(graph, EventId::new(thread, index), &write.porf) {
                return;
            }
        }
    }
    if !wait::are_maximal(graph, &keep, old.stamp, &write.porf) {
        return;
    }
    let rest = graph.restrict(&keep, old.stamp);
    let read_op = old.op.failed().filter(|_| !old.op.writes_after(value)).unwrap_or(old.op);
    let floor = floor(&rest, id, &write.op).max(floor(&rest, read, &read_op));
    let location = write.op.location().expect("a write has a location");
    let newest = rest.location(location).writes.len();
    let places: Vec<usize> = match write.op {
        Op::Rmw { .. } => {
            let place = rest.position(write.reads_from) + 1;
            let is_free = rest.location(location).writes.get(place).is_none_or(|&next| !rest.is_rmw(next));
            (is_free && place > floor).then_some(place).into_iter().collect()
        }
        _ => places(&rest, &write.op, floor + 1).collect(),
    };
    for place in places {
        if (is_in_vain || without(Rule::OlderPlacesOfRevisits)) && place < newest {
            continue;
        }
        let mut other = rest.clone();
        let stamp = other.next_stamp;
        other.next_stamp += 1;
        other.place(id, place, stamp);
        if is_in_vain && other.retries(&old.op) {
            let look = Look {
                op: old.op,
                source: old.source,
                index: read.index() as u16,
                seen: id,
                stamp: old.stamp,
            };
            if !without(Rule::LooksAreKept) {
                other.threads[read.thread()].looks.push(look);
            }
            others.push(other);
            continue;
        }
        let stamp = (!without(Rule::ReadStamp)).then_some(old.stamp);
        let moved = other.push(read.thread(), old.op, old.source, id, value, stamp);
        debug_assert_eq!(moved, read);
        if make_revisits(&other, read, others) {
            place_after_read(&mut other, read);
            others.push(other);
        }
    }
}

/// Whether an event was added maximally, as seen from a write with this prefix that wants to delete it: a read reads the newest
/// write, a write is the newest, of those that were there when it was added or that stay.
fn is_maximal(graph: &Graph, id: EventId, porf: &Clock) -> bool {
    let event = graph.event(id);
    let written_before = |write: EventId, stamp: u32| {
        let is_kept = porf.contains(write) && !without(Rule::MaximalPrefix);
        is_kept || write.is_initial() || graph.event(write).write_stamp <= stamp
    };
    match event.op {
        Op::Choose { .. } => return event.read == 0 || without(Rule::MaximalChoices),
        Op::Load { .. } | Op::Store { .. } | Op::Rmw { .. } => {}
        _ => return true,
    }
    let location = graph.location(event.op.location().expect("an access"));
    if event.op.reads() && !without(Rule::MaximalReads) {
        let later = &location.writes[graph.position(event.reads_from) + 1..];
        if later.iter().any(|&write| write != id && written_before(write, event.stamp)) {
            return false;
        }
    }
    if event.writes {
        let later = &location.writes[event.position as usize + 1..];
        if !without(Rule::MaximalWrites)
            && later.iter().any(|&write| written_before(write, event.write_stamp))
        {
            return false;
        }
        // No read that was there before it reads from it.
        let is_earlier_reader = |read: EventId| {
            graph.event(read).reads_from == id && graph.event(read).stamp <= event.write_stamp
        };
        if !without(Rule::MaximalUnread) && location.reads.iter().any(|&read| is_earlier_reader(read)) {
            return false;
        }
    }
    true
}
