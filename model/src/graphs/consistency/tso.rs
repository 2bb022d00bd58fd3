//! x86-TSO: as sequential consistency, but a thread's load may pass its own earlier stores, and may read one of them before
//! others see it (Owens, Sarkar and Sewell, *A better x86 memory model: x86-TSO*, TPHOLs 2009; in the axiomatic form of
//! Alglave, Maranget and Tautschnig, *Herding cats*, TOPLAS 2014).
//!
//! A `seq_cst` fence is an `mfence`, and other fences are nothing. Every read-modify-write is locked, one that fails too. A
//! `seq_cst` store is a store and an `mfence`. The start and the end of a thread, and waiting for it, drain its stores.
//!
//! As under SC, what is before an event is kept in it as long as only the newest is added to a graph.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::super::rules::{Rule, without};
use super::super::{Clock, Event, EventId, Graph, Op};

/// See [`super::floor`].
pub fn floor(graph: &Graph, id: EventId, op: &Op) -> usize {
    let number = op.atomic().expect("an access");
    // Coherence holds within the thread too, where a load passes its stores to other locations only.
    let own = graph.threads[id.thread()].events[..id.index()]
        .iter()
        .filter(|event| event.op.atomic() == Some(number));
    let own = own.map(|event| match event.writes {
        true => event.position as usize,
        false => graph.position(event.reads_from),
    });
    let own = own.max().unwrap_or(0);
    if !graph.is_closed
        || [Rule::LoadsPassStores, Rule::OwnStoresFirst, Rule::SeqCstStores].into_iter().any(without)
    {
        return own.max(found(graph, id, op));
    }
    let direct = directly_before(graph, id, op).into_iter().flatten();
    let before: SmallVec<[&Clock; 2]> = direct.map(|id| &graph.event(id).before).collect();
    let writes = &graph.location(number).writes;
    let passes_own = matches!(op, Op::Load { .. });
    let kept = writes.iter().rposition(|&write| {
        !passes_own && write.thread() == id.thread() || before.iter().any(|before| before.contains(write))
    });
    let kept = kept.unwrap_or(0);
    if cfg!(test) {
        assert_eq!(kept, found(graph, id, op), "what is before an event is kept as it is found");
    }
    own.max(kept)
}

/// The events of its thread from which, and from no others of it, follows what is before an event: of a load they are the last
/// load and the last barrier, of any other the last load and the last that is none.
pub fn directly_before(graph: &Graph, id: EventId, op: &Op) -> [Option<EventId>; 2] {
    let own = &graph.threads[id.thread()].events[..id.index()];
    let is_load = |event: &Event| matches!(event.op, Op::Load { .. });
    let other = match matches!(op, Op::Load { .. }) {
        true => own.iter().rposition(is_barrier),
        false => own.iter().rposition(|event| !is_load(event)),
    };
    match [own.iter().rposition(is_load), other] {
        [None, None] => [graph.threads[id.thread()].started_by, None],
        both => both.map(|index| Some(EventId::new(id.thread(), index?))),
    }
}

/// The newest write that is before an event by all but coherence within its thread, found from nothing.
fn found(graph: &Graph, id: EventId, op: &Op) -> usize {
    let nothing = Known { all: 0, loads: 0 };
    let mut before = Before { graph, known: vec![nothing; graph.threads.len()], new: Vec::new() };
    match op {
        Op::Load { .. } if !without(Rule::LoadsPassStores) => before.include_loads(id.thread(), id.index()),
        _ => before.include_all(id.thread(), id.index()),
    }
    before.close();
    let writes = &graph.location(op.atomic().expect("an access")).writes;
    let newest = writes
        .iter()
        .rposition(|write| write.is_initial() || before.known[write.thread()].all > write.index());
    newest.unwrap_or(0)
}

/// What of a thread is before an event.
#[derive(Clone, Copy)]
struct Known {
    /// So many events: all of these
    all: usize,
    /// So many events, but of those after `all` only the loads
    loads: usize,
}

struct Before<'a> {
    graph: &'a Graph,
    known: Vec<Known>,
    /// Events that were included and not followed yet
    new: Vec<EventId>,
}

/// Whether nothing passes it: stores before it have reached memory when the next load looks.
fn is_barrier(event: &Event) -> bool {
    match event.op {
        Op::Fence { order } => order == Ordering::SeqCst,
        Op::Store { order, .. } => order == Ordering::SeqCst && !without(Rule::SeqCstStores),
        Op::Rmw { .. } | Op::Spawn | Op::Join { .. } | Op::End => true,
        Op::Load { .. } | Op::Choose { .. } | Op::CellRead { .. } | Op::CellWrite { .. } => false,
    }
}

impl Before<'_> {
    /// The first so many events of the thread.
    fn include_all(&mut self, thread: usize, events: usize) {
        let known = self.known[thread];
        for index in known.all..events {
            let is_new = index >= known.loads
                || !matches!(self.graph.threads[thread].events[index].op, Op::Load { .. });
            if is_new {
                self.new.push(EventId::new(thread, index));
            }
        }
        let known = &mut self.known[thread];
        known.all = known.all.max(events);
        known.loads = known.loads.max(known.all);
        self.include_start(thread);
    }

    /// The loads among the first so many events of the thread, and all that is before a barrier among them.
    fn include_loads(&mut self, thread: usize, events: usize) {
        let own = &self.graph.threads[thread].events;
        let known = self.known[thread].loads;
        if known < events {
            if let Some(barrier) = own[known..events].iter().rposition(is_barrier) {
                self.include_all(thread, known + barrier + 1);
            }
            for (index, event) in own.iter().enumerate().take(events).skip(self.known[thread].loads) {
                if matches!(event.op, Op::Load { .. }) {
                    self.new.push(EventId::new(thread, index));
                }
            }
            self.known[thread].loads = self.known[thread].loads.max(events);
        }
        self.include_start(thread);
    }

    fn include_start(&mut self, thread: usize) {
        if let Some(start) = self.graph.threads[thread].started_by
            && self.known[start.thread()].all <= start.index()
        {
            self.include_all(start.thread(), start.index() + 1);
        }
    }

    fn include_event(&mut self, id: EventId) {
        if id.is_initial() {
            return;
        }
        match self.graph.event(id).op {
            Op::Load { .. } => self.include_loads(id.thread(), id.index() + 1),
            _ => self.include_all(id.thread(), id.index() + 1),
        }
    }

    fn close(&mut self) {
        let graph = self.graph;
        while let Some(id) = self.new.pop() {
            let event = graph.event(id);
            if let Op::Join { thread } = event.op {
                self.include_all(thread as usize, graph.threads[thread as usize].events.len());
            }
            let is_own = event.reads_from.thread() == id.thread() && !without(Rule::OwnStoresFirst);
            if event.op.reads() && !is_own {
                self.include_event(event.reads_from);
            }
            if event.writes {
                let (previous, reads) = graph.overwritten(id);
                self.include_event(previous);
                for read in reads {
                    self.include_event(read);
                }
            }
        }
    }
}
