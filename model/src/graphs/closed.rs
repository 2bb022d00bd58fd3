//! What is before each event under SC and x86-TSO, kept while a graph grows.
//!
//! An event whose read is of the newest write, and whose write is the newest, adds nothing before the events that are
//! there. So what is before it follows from what is before the few events that come directly before it. A graph in which
//! only such events were added is *closed*. Any other event ends that, until everything is found anew
//! ([`Graph::close_all`]).

use super::consistency::tso;
use super::{EventId, Graph, Op};
use crate::memory::Memory;

impl Graph {
    /// Brings [`Event::before`](super::Event::before) of all events up to date.
    pub fn close_all(&mut self) {
        if self.memory == Memory::Rc11 || self.is_closed {
            return;
        }
        self.is_closed = true;
        let ids: Vec<EventId> = (0..self.threads.len())
            .flat_map(|thread| {
                (0..self.threads[thread].events.len()).map(move |index| EventId::new(thread, index))
            })
            .collect();
        for &id in &ids {
            let event = self.event_mut(id);
            (event.before, event.loads_before) = Default::default();
        }
        // Until nothing is new: the relations have no cycle.
        while ids.iter().filter(|&&id| self.close(id)).count() > 0 {}
    }

    /// Takes in what is before the events that come directly before this one. Whether there was anything new.
    pub(super) fn close(&mut self, id: EventId) -> bool {
        let event = self.event(id);
        let mut before = event.before.clone();
        let mut loads = event.loads_before.clone();
        let mut include = |id: EventId| {
            if !id.is_initial() {
                let event = self.event(id);
                before.join(&event.before);
                loads.join(&event.loads_before);
            }
        };
        match self.memory {
            Memory::Tso => {
                tso::directly_before(self, id, &event.op).into_iter().flatten().for_each(&mut include)
            }
            _ => self.previous(id).into_iter().for_each(&mut include),
        }
        if event.op.reads() && !(self.memory == Memory::Tso && event.reads_from.thread() == id.thread()) {
            include(event.reads_from);
        }
        if let Op::Join { thread } = event.op {
            let last = self.threads[thread as usize].events.len() - 1;
            include(EventId::new(thread as usize, last));
        }
        if event.writes {
            let (previous, reads) = self.overwritten(id);
            include(previous);
            reads.for_each(&mut include);
        }
        let of = if self.memory == Memory::Tso && matches!(event.op, Op::Load { .. }) {
            &mut loads
        } else {
            &mut before
        };
        of.include(id.thread(), id.index() + 1);
        let is_new = before != event.before || loads != event.loads_before;
        let event = self.event_mut(id);
        (event.before, event.loads_before) = (before, loads);
        is_new
    }

    /// The event of its thread before this one; before the first, the one that started the thread.
    pub(super) fn previous(&self, id: EventId) -> Option<EventId> {
        match id.index().checked_sub(1) {
            Some(previous) => Some(EventId::new(id.thread(), previous)),
            None => self.threads[id.thread()].started_by,
        }
    }
}
