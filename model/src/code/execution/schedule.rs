//! Who goes on: the order of the threads, in the replay and after it.

use super::{Execution, State};
use crate::code::failure::Instead;
use crate::graphs::rules::{Rule, without};
use crate::graphs::wait::{self, Look};
use crate::graphs::{EventId, Op};

impl Execution {
    pub(super) fn next_in_replay(&self) -> Option<usize> {
        let ready = || (0..self.threads.len()).filter(|&number| self.is_ready_in_replay(number));
        // Who unwinds next comes last, so that what its destructors read is there.
        ready().find(|&number| !self.unwinds_next(number)).or_else(|| ready().next())
    }

    /// Whether a thread goes on in its code after it has repeated an event. It stops where its events end,
    /// before it panics, say; unless it is unwound there.
    pub(super) fn goes_on_after_repeating(&self, number: usize) -> bool {
        if self.to_replay == 0 {
            return self.next() == Some(number);
        }
        let is_last = self.threads[number].done == self.graph.threads[number].events.len();
        if is_last { self.graph.unwinds(number) } else { !self.unwinds_next(number) }
    }

    /// Whether the next event that a thread is to repeat is the first one of those that it did while a panic
    /// unwound its stack.
    #[inline]
    pub(super) fn unwinds_next(&self, number: usize) -> bool {
        let done = self.threads[number].done;
        self.graph.is_unwinding(number, done)
            && done < self.graph.threads[number].events.len()
            && !done.checked_sub(1).is_some_and(|last| self.graph.is_unwinding(number, last))
    }

    pub(super) fn is_ready_in_replay(&self, number: usize) -> bool {
        let thread = &self.threads[number];
        let has_events = thread.done < self.graph.threads[number].events.len();
        has_events
            && match thread.state {
                State::Ready => true,
                State::Replay(event) => self.has_taken_place(event),
                State::Join(joined) => self.threads[joined].done == self.graph.threads[joined].events.len(),
                State::Waiting(..) | State::Blocked | State::Circles(_) | State::Ended | State::Free => false,
            }
    }

    /// Whether the replay has come to this event. Its thread may not even have been started.
    pub(super) fn has_taken_place(&self, event: EventId) -> bool {
        self.threads.get(event.thread()).is_some_and(|thread| thread.done > event.index())
    }

    /// The first thread that can go on, in the order of their [paths](crate::graphs::Thread::path), one whose
    /// stack is unwound before all others: a function of the graph alone. A way down at random may have
    /// [priorities](super::descent::Way) instead.
    pub(super) fn next(&self) -> Option<usize> {
        if let Some(turn) = self.turn() {
            return self.can_take(turn).then_some(turn);
        }
        let graph = &self.graph;
        let can_go_on = |&number: &usize| match (self.threads[number].state, graph.last_look(number)) {
            (State::Blocked | State::Circles(_) | State::Ended | State::Free, _) => false,
            (_, Some(&Look { op, .. })) | (State::Waiting(op, _), None) => graph.ends_wait(&op),
            (State::Join(joined), None) => graph.has_ended(joined),
            (State::Ready | State::Replay(_), None) => true,
        };
        (0..self.threads.len()).filter(can_go_on).min_by(|&a, &b| {
            let unwound_first = graph.unwinds(b).cmp(&graph.unwinds(a));
            let priority = |number: usize| self.descent.as_ref().map_or(0, |way| way.priority(number));
            let by_priority = unwound_first.then_with(|| priority(b).cmp(&priority(a)));
            by_priority.then_with(|| graph.threads[a].path.cmp(&graph.threads[b].path))
        })
    }

    /// Whether a thread whose stack is unwound may do what is no event yet, though others have not repeated
    /// all of theirs. It would be the next to go on after the replay, since only one is unwound at a time, so
    /// for the graph it makes no difference. What it reads has to be there.
    #[cold]
    pub(super) fn may_go_ahead(&self, number: usize, op: &Op) -> bool {
        let others = (0..self.graph.threads.len()).filter(|&other| other != number);
        let is_only_one = !others.into_iter().any(|other| self.graph.unwinds(other));
        let newest = op.atomic().filter(|_| op.reads()).map(|location| self.graph.newest(location));
        let is_there = newest.is_none_or(|write| write.is_initial() || self.has_taken_place(write));
        self.graph.unwinds(number) && is_only_one && is_there && !matches!(op, Op::Join { .. })
    }

    /// When no thread can move, one that waits looks at older writes. False if all have.
    pub(super) fn give_up(&mut self) -> bool {
        if self.to_replay > 0 {
            // A thread stays away from what it did: it was not started, say.
            let stopped = (0..self.graph.threads.len()).find_map(|thread| self.next_recorded(thread));
            self.diverged(stopped.expect("an event is left"), Instead::Nothing);
            return false;
        }
        let graph = &self.graph;
        let may_look = |number: usize| {
            if let Some(look) = graph.last_look(number) {
                let location = look.op.location().expect("a wait has a location");
                let sees_more = graph.newest(location) != look.seen && !without(Rule::LooksAgain);
                return sees_more.then_some((number, look.op, look.source));
            }
            match self.threads[number].state {
                State::Waiting(op, source) => Some((number, op, source)),
                _ => None,
            }
        };
        let looks = (0..self.threads.len()).filter_map(may_look);
        let first = looks.min_by(|(a, ..), (b, ..)| graph.threads[*a].path.cmp(&graph.threads[*b].path));
        let Some((number, op, source)) = first else { return false };
        self.graph.set_unwinding(number, false);
        wait::give_up(&mut self.graph, number, op, source, &mut self.others);
        self.choose();
        true
    }

    /// Leaves the other ways to the caller, or chooses one at random.
    pub(super) fn choose(&mut self) {
        if let Some(descent) = &mut self.descent {
            descent.choose(self.running, self.graph.len, &mut self.others);
        }
    }
}
