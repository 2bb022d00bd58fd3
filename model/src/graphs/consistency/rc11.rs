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

use std::cell::OnceCell;
use std::iter;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::super::rules::{Rule, without};
use super::super::{Clock, EventId, Graph, Location, Op};

/// See [`super::floor`].
pub fn floor(graph: &Graph, id: EventId, op: &Op) -> usize {
    let location = op.atomic().expect("an access");
    let (_, happens_before) = graph.before(id);
    let coherence = known(graph, location, happens_before);
    // Nothing can be higher than the newest write.
    let is_highest = coherence + 1 == graph.location(location).writes.len();
    if is_highest || graph.fences.is_empty() && graph.seq_cst.is_empty() || without(Rule::Psc) {
        return coherence;
    }
    Psc::new(graph).floor(id, op, location, happens_before, coherence)
}

/// The newest write of the location that happens before what has this clock, or is read by what does.
fn known(graph: &Graph, location: u32, clock: &Clock) -> usize {
    seen(graph, graph.location(location), clock)
}

/// See [`known`].
fn seen(graph: &Graph, location: &Location, clock: &Clock) -> usize {
    let mut newest = location.writes.iter().rposition(|&write| clock.contains(write)).unwrap_or(0);
    if newest + 1 < location.writes.len() {
        for &read in &location.reads {
            if clock.contains(read) && !without(Rule::CoherenceOfReads) {
                newest = newest.max(graph.position(graph.event(read).reads_from));
            }
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
    /// What there is to know of each fence, once it is asked for
    spans: Vec<(EventId, OnceCell<Span>)>,
}

/// What a fence lies between: for each location, a place in coherence order.
struct Span {
    /// The newest write that is before the fence, or is read before it
    before: SmallVec<[u16; 16]>,
    /// The oldest write that is after the fence, or comes after one that is read after it
    after: SmallVec<[u16; 16]>,
}

impl Span {
    fn new(graph: &Graph, fence: EventId) -> Self {
        let clock = &graph.event(fence).happens_before;
        let before = graph.locations.iter().map(|location| seen(graph, location, clock) as u16).collect();
        let mut after = SmallVec::from_elem(u16::MAX, graph.locations.len());
        for thread in &graph.threads {
            let first = thread.events.partition_point(|event| !event.happens_before.contains(fence));
            for event in &thread.events[first..] {
                let Some(location) = event.op.atomic() else { continue };
                let place = if event.writes {
                    event.position
                } else if event.op.reads() {
                    graph.position(event.reads_from) as u16 + 1
                } else {
                    continue; // a store that has no place yet
                };
                let oldest: &mut u16 = &mut after[location as usize];
                *oldest = place.min(*oldest);
            }
        }
        Span { before, after }
    }
}

impl<'a> Psc<'a> {
    fn new(graph: &'a Graph) -> Self {
        Psc { graph, spans: graph.fences.iter().map(|&fence| (fence, OnceCell::new())).collect() }
    }

    fn span(&self, fence: EventId) -> &Span {
        let (_, span) = self.spans.iter().find(|(id, _)| *id == fence).expect("it is a fence");
        span.get_or_init(|| Span::new(self.graph, fence))
    }

    /// At least `lowest`.
    fn floor(&self, id: EventId, op: &Op, location: u32, happens_before: &Clock, lowest: usize) -> usize {
        let graph = self.graph;
        let mut floor = lowest;
        // Out of fences that happen before the event. They know nothing that the event does not; what matters is other
        // `seq_cst` events that know more, and from which one of these fences is reached.
        let knows = |event: EventId| {
            let sequential = graph.event(event);
            match sequential.op {
                Op::Fence { .. } => known(graph, location, &sequential.happens_before),
                _ if sequential.writes && sequential.op.location() == Some(location) => {
                    sequential.position as usize
                }
                _ => 0,
            }
        };
        let (sources, others): (Vec<EventId>, Vec<EventId>) =
            graph.fences.iter().partition(|&&fence| happens_before.contains(fence));
        let others = others.into_iter().chain(graph.seq_cst.iter().copied());
        if !sources.is_empty() && others.filter(|&other| other != id).any(|other| knows(other) > floor) {
            floor = self.before(&sources).into_iter().map(knows).fold(floor, usize::max);
        }
        // Out of the event itself.
        let (Op::Load { order, .. } | Op::Store { order, .. } | Op::Rmw { order, .. }) = *op else {
            return floor;
        };
        if order == Ordering::SeqCst && !without(Rule::PscOfAccesses) {
            let all = graph.fences.iter().chain(&graph.seq_cst).copied();
            let sources: Vec<EventId> = all
                .filter(|&source| source != id && self.precedes_new(source, id, location, happens_before))
                .collect();
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
                    || iter::zip(&self.span(from).after, &self.span(to).before)
                        .any(|(after, before)| after <= before)
            }
            (true, false) => {
                let location = target.op.location().expect("an access");
                let (_, before) = graph.before(to);
                before.contains(from)
                    || self.after(from, location).any(|event| {
                        target.happens_before.contains(event) && event != to
                            || self.is_before_write(event, to)
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
                    || target.happens_before.contains(from)
                        && self.knows_access_after(from, location, &target.happens_before)
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
        let first =
            (from.index() + 1..own.len()).find(|&index| own[index].op.location() != source.op.location());
        let other = &graph.threads[to.thread()].events;
        let last = (0..to.index()).rev().find(|&index| other[index].op.location() != Some(location));
        // The start of a thread is before its first access, as an event of its own.
        let last =
            last.map(|index| EventId::new(to.thread(), index)).or(graph.threads[to.thread()].started_by);
        match (first, last) {
            (Some(first), Some(last)) => {
                graph.event(last).happens_before.contains(EventId::new(from.thread(), first))
            }
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

    /// The accesses of a location that happen after this event. Those of a cell order nothing.
    fn after(&self, event: EventId, location: u32) -> impl Iterator<Item = EventId> {
        let graph = self.graph;
        let location = graph.location(location);
        let accesses = location.writes.iter().copied().skip(1).chain(location.reads.iter().copied());
        accesses.filter(move |&access| {
            let accessed = graph.event(access);
            access != event && accessed.op.atomic().is_some() && accessed.happens_before.contains(event)
        })
    }

    /// Whether an access of the location happens after this one and is in the clock.
    fn knows_access_after(&self, access: EventId, location: u32, clock: &Clock) -> bool {
        self.after(access, location).any(|event| clock.contains(event))
    }
}
