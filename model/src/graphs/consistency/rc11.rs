//! RC11 (Lahav, Vafeiadis, Kang, Hur and Dreyer, *Repairing sequential consistency in C/C++11*, PLDI 2017), in the form of herd's
//! `rc11.cat`:
//!
//! - coherence: happens-before followed by extended coherence order (reads-from, coherence, from-read) is irreflexive;
//! - the partial order of `seq_cst`, *psc*, has no cycle.
//!
//! Coherence is a floor by clocks: a write that happens before the event, or is read by what happens before it, is before it.
//!
//! So is psc. The event e can add edges only out of itself (if it is `seq_cst`) and out of `seq_cst` fences that happen before
//! it: from-read and coherence lead from e to a write later than what it reads, and on to `seq_cst` events that know that write. A
//! cycle closes if one of these reaches e or the fence again. So: all `seq_cst` events from which the sources are
//! reached, and the newest write of the location that each of them is, or knows.
//!
//! Edges *into* e by coherence or from-read close no new cycle: whatever e leads to, their source leads to already.

use std::sync::atomic::Ordering;

use super::super::rules::{Rule, without};
use super::super::{Clock, EventId, Graph, Op};

/// See [`super::floor`].
pub fn floor(graph: &Graph, id: EventId, op: &Op) -> usize {
    let location = op.atomic().expect("an access");
    let (_, happens_before) = graph.before(id);
    let coherence = known(graph, location, happens_before);
    if graph.fences.is_empty() && graph.seq_cst.is_empty() || without(Rule::Psc) {
        return coherence;
    }
    coherence.max(Psc { graph }.floor(id, op, location, happens_before))
}

/// The newest write of the location that happens before what has this clock, or is read by what does.
fn known(graph: &Graph, number: u32, clock: &Clock) -> usize {
    let location = graph.location(number);
    let mut newest =
        location.writes.iter().rposition(|&write| clock.contains(write)).unwrap_or(0);
    for &read in &location.reads {
        if clock.contains(read) && !without(Rule::CoherenceOfReads) {
            newest = newest.max(graph.position(graph.event(read).reads_from));
        }
    }
    newest
}

/// As [`known`], but writes only count that happen before.
fn known_write(graph: &Graph, number: u32, clock: &Clock) -> usize {
    graph.location(number).writes.iter().rposition(|&write| clock.contains(write)).unwrap_or(0)
}

/// The partial order of `seq_cst` events.
struct Psc<'a> {
    graph: &'a Graph,
}

impl Psc<'_> {
    fn floor(&self, id: EventId, op: &Op, location: u32, happens_before: &Clock) -> usize {
        let graph = self.graph;
        let mut floor = 0;
        // Out of fences that happen before the event.
        let fences = graph.fences.iter().copied().filter(|&fence| happens_before.contains(fence));
        let sources: Vec<EventId> = fences.collect();
        if !sources.is_empty() {
            for reached in self.before(&sources) {
                let event = graph.event(reached);
                floor = floor.max(match event.op {
                    Op::Fence { .. } => known(graph, location, &event.happens_before),
                    _ if event.writes && event.op.location() == Some(location) => event.position as usize,
                    _ => 0,
                });
            }
        }
        // Out of the event itself.
        let (Op::Load { order, .. } | Op::Store { order, .. } | Op::Rmw { order, .. }) = *op else { return floor };
        if order == Ordering::SeqCst && !without(Rule::PscOfAccesses) {
            let all = graph.fences.iter().chain(&graph.seq_cst).copied();
            let sources: Vec<EventId> =
                all.filter(|&source| source != id && self.precedes_new(source, id, location, happens_before)).collect();
            for reached in self.before(&sources) {
                let event = graph.event(reached);
                floor = floor.max(match event.op {
                    Op::Fence { .. } => known_write(graph, location, &event.happens_before),
                    _ if event.writes && event.op.location() == Some(location) => event.position as usize,
                    _ => 0,
                });
            }
        }
        floor
    }

    /// The events from which one of these is reached, themselves included.
    fn before(&self, targets: &[EventId]) -> Vec<EventId> {
        let graph = self.graph;
        let mut reached = targets.to_vec();
        let mut next = 0;
        while next < reached.len() {
            let target = reached[next];
            next += 1;
            for &source in graph.fences.iter().chain(&graph.seq_cst) {
                if !reached.contains(&source) && self.precedes(source, target) {
                    reached.push(source);
                }
            }
        }
        reached
    }

    /// Whether psc leads from one `seq_cst` event to another, in one step.
    fn precedes(&self, from: EventId, to: EventId) -> bool {
        let graph = self.graph;
        let (source, target) = (graph.event(from), graph.event(to));
        let is_fence = |op: &Op| matches!(op, Op::Fence { .. });
        match (is_fence(&source.op), is_fence(&target.op)) {
            // Happens-before, or extended coherence order between what comes after the one and before the other.
            (true, true) => {
                target.happens_before.contains(from)
                    || (0..graph.locations.len() as u32).any(|location| {
                        let seen = known(graph, location, &target.happens_before);
                        self.after(from, location).any(|event| {
                            let event = graph.event(event);
                            match event.writes {
                                true => event.position as usize <= seen,
                                false => graph.position(event.reads_from) < seen,
                            }
                        })
                    })
            }
            (true, false) => {
                let location = target.op.location().expect("an access");
                let (_, before) = graph.before(to);
                before.contains(from)
                    || self.after(from, location).any(|event| {
                        target.happens_before.contains(event) && event != to || self.is_before_write(event, to)
                    })
            }
            (false, true) => {
                let location = source.op.location().expect("an access");
                let next = EventId::new(from.thread(), from.index() + 1);
                let seen = known_write(graph, location, &target.happens_before);
                let after_mine = match source.writes {
                    true => (source.position as usize) < seen,
                    false => graph.position(source.reads_from) < seen,
                };
                target.happens_before.contains(next)
                    || target.happens_before.contains(from) && self.knows_access_after(from, location, &target.happens_before)
                    || after_mine
            }
            (false, false) => {
                let location = target.op.location().expect("an access");
                let (_, before) = graph.before(to);
                self.precedes_new(from, to, location, before)
                    || source.op.location() == Some(location) && target.happens_before.contains(from)
                    || source.op.location() == Some(location) && self.is_before_write(from, to)
            }
        }
    }

    /// Whether psc leads to an access for what it finds when it begins: program order, happens-before.
    fn precedes_new(&self, from: EventId, to: EventId, location: u32, before: &Clock) -> bool {
        let graph = self.graph;
        let source = graph.event(from);
        if matches!(source.op, Op::Fence { .. }) {
            return before.contains(from);
        }
        if from.thread() == to.thread() {
            return from.index() < to.index();
        }
        if source.op.location() == Some(location) {
            return before.contains(from);
        }
        // To other locations in both threads, with happens-before between.
        let own = &graph.threads[from.thread()].events;
        let first = (from.index() + 1..own.len()).find(|&index| own[index].op.location() != source.op.location());
        let other = &graph.threads[to.thread()].events;
        let last = (0..to.index()).rev().find(|&index| other[index].op.location() != Some(location));
        // The start of a thread is before its first access, as an event of its own.
        let last = last.map(|index| EventId::new(to.thread(), index)).or(graph.threads[to.thread()].started_by);
        match (first, last) {
            (Some(first), Some(last)) => graph.event(last).happens_before.contains(EventId::new(from.thread(), first)),
            _ => false,
        }
    }

    /// Whether coherence order or from-read leads from an access to a write of the same location.
    fn is_before_write(&self, from: EventId, to: EventId) -> bool {
        let graph = self.graph;
        let (source, target) = (graph.event(from), graph.event(to));
        let at = if source.writes { source.position as usize } else { graph.position(source.reads_from) };
        from != to && target.writes && at < target.position as usize
    }

    /// The accesses of a location that happen after this event.
    fn after(&self, event: EventId, location: u32) -> impl Iterator<Item = EventId> {
        let graph = self.graph;
        let location = graph.location(location);
        let accesses = location.writes.iter().copied().skip(1).chain(location.reads.iter().copied());
        accesses.filter(move |&access| access != event && graph.event(access).happens_before.contains(event))
    }

    /// Whether an access of the location happens after this one and is in the clock.
    fn knows_access_after(&self, access: EventId, location: u32, clock: &Clock) -> bool {
        self.after(access, location).any(|event| clock.contains(event))
    }
}
