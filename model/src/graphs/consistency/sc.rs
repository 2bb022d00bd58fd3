//! Sequential consistency: program order, reads-from, coherence order and from-read have no cycle together
//! (Shasha and Snir, *Efficient and correct execution of parallel programs that share memory*, TOPLAS 1988).
//!
//! What is before an event is kept in it as long as only the newest is added to a graph, and found from nothing otherwise. Tests
//! do both and compare.

use super::super::rules::{Rule, without};
use super::super::{EventId, Graph, Op};

/// See [`super::floor`].
pub fn floor(graph: &Graph, id: EventId, op: &Op) -> usize {
    let location = graph.location(op.atomic().expect("an access"));
    if graph.is_closed && !without(Rule::FromRead) {
        let Some(previous) = graph.previous(id) else { return 0 };
        let before = &graph.event(previous).before;
        let floor = location.writes.iter().rposition(|&write| before.contains(write)).unwrap_or(0);
        agree(floor, || found(graph, id, op));
        return floor;
    }
    found(graph, id, op)
}

/// In tests what is kept is what is found.
#[inline(always)]
fn agree(kept: usize, found: impl FnOnce() -> usize) {
    if cfg!(test) {
        assert_eq!(kept, found(), "what is before an event is kept as it is found");
    }
}

/// The floor, from nothing.
fn found(graph: &Graph, id: EventId, op: &Op) -> usize {
    let location = graph.location(op.atomic().expect("an access"));
    let mut before = Before { graph, known: vec![0; graph.threads.len()], new: Vec::new() };
    before.include(id.thread(), id.index());
    if let (0, Some(start)) = (id.index(), graph.threads[id.thread()].started_by) {
        before.include_event(start);
    }
    before.close();
    let newest_known = location
        .writes
        .iter()
        .rposition(|write| write.is_initial() || before.known[write.thread()] > write.index());
    newest_known.unwrap_or(0)
}

/// What is before an event: a prefix of every thread.
struct Before<'a> {
    graph: &'a Graph,
    known: Vec<usize>,
    /// Ranges of events that were included and not followed yet: thread, from, to
    new: Vec<(usize, usize, usize)>,
}

impl Before<'_> {
    fn include(&mut self, thread: usize, events: usize) {
        let known = self.known[thread];
        if known < events {
            self.new.push((thread, known, events));
            self.known[thread] = events;
        }
    }

    fn include_event(&mut self, id: EventId) {
        if !id.is_initial() {
            self.include(id.thread(), id.index() + 1);
        }
    }

    fn close(&mut self) {
        let graph = self.graph;
        while let Some((thread, from, to)) = self.new.pop() {
            if from == 0
                && let Some(start) = graph.threads[thread].started_by
            {
                self.include_event(start);
            }
            for index in from..to {
                let id = EventId::new(thread, index);
                let event = graph.event(id);
                if let Op::Join { thread } = event.op {
                    self.include(thread as usize, graph.threads[thread as usize].events.len());
                }
                if event.op.reads() {
                    self.include_event(event.reads_from);
                }
                if event.writes {
                    let (previous, reads) = graph.overwritten(id);
                    self.include_event(previous);
                    for read in reads.filter(|_| !without(Rule::FromRead)) {
                        self.include_event(read);
                    }
                }
            }
        }
    }
}
