//! What a read that acquires a write gets to know: release sequences.

use super::event::releases;
use super::rules::{Rule, without};
use super::{Clock, Event, EventId, Graph, Op};

impl Graph {
    /// The happens-before prefixes of all releases whose release sequence the write is in, which has no place in the coherence
    /// order yet.
    pub(super) fn message(&self, id: EventId) -> Clock {
        let event = self.event(id);
        if releases(self.order_in_force(event.order())) {
            let mut message = event.happens_before.clone();
            if matches!(event.op, Op::Rmw { .. }) && !event.reads_from.is_initial() {
                message.join(&self.event(event.reads_from).message);
            }
            return message;
        }
        let mut message = Clock::default();
        // A release fence before it, and an earlier release write of the same thread to the same location. Of each the
        // last one knows most.
        let releases = [self.last_release_fence(id), self.last_release_write(id)];
        for release in releases.into_iter().flatten() {
            message.join(&release.happens_before);
        }
        // A read-modify-write goes on with the release sequences that it reads from.
        let goes_on = matches!(event.op, Op::Rmw { .. }) && !without(Rule::ReleaseSequences);
        if goes_on && !event.reads_from.is_initial() {
            message.join(&self.event(event.reads_from).message);
        }
        message
    }

    fn last_release_fence(&self, id: EventId) -> Option<&Event> {
        let thread = &self.threads[id.thread()];
        if !thread.release_fences {
            return None;
        }
        let is_fence = |event: &&Event| matches!(event.op, Op::Fence { order } if releases(order));
        thread.events[..id.index()].iter().rev().find(is_fence)
    }

    /// The writes of a thread to a location come in its order in coherence order, too.
    fn last_release_write(&self, id: EventId) -> Option<&Event> {
        let location = self.event(id).op.location()?;
        let writes = self.location(location).writes.iter().skip(1).rev();
        let own = writes.filter(|write| write.thread() == id.thread() && write.index() < id.index());
        own.map(|&write| self.event(write)).find(|event| releases(event.order()))
    }
}
