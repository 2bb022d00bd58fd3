//! How a run comes to its end: what its threads are at, and what there is to do when it is over.
//!
//! # Threads that go in circles
//!
//! A loop that reads shared memory until it finds what it waits for is a wait, but nothing says so in the code. The
//! program says that a thread [goes in circles](crate::code::go_in_circles) when it has read, changed nothing, and
//! is about to read the same places again. Such a thread does no more in this execution. What it waits for is for
//! *another* graph: the write that comes later revisits the read. So no turn of the loop is in a graph but the
//! last one and the first in vain, and no graph has an endless loop.
//!
//! No execution is lost: what a turn in vain has read orders the thread after more, never after less, so
//! whatever can happen after some turns in vain can happen after none.
//!
//! At the end of the run, such a thread is one that waits for ever if each of its reads has seen the newest write.
//! A write of such a turn left the value as it was, as the swap of a spinlock does in vain: it does not count.

use std::panic::Location as Source;

use super::{Execution, State, current};
use crate::code::failure::Failure;
use crate::code::fiber;
use crate::graphs::{Event, EventId, Op};

/// What is done when a run is over: it is told whether the execution is complete, and says what is wrong with it.
pub(in crate::code) type AtEnd = Box<dyn FnOnce(bool) -> Option<String>>;

impl Execution {
    /// Whether all threads have ended.
    pub(super) fn has_ended(&self) -> bool {
        let graph = &self.graph;
        (0..graph.threads.len())
            .filter(|&thread| graph.is_alive(thread))
            .all(|thread| graph.has_ended(thread))
    }

    /// Whether nothing has gone wrong and all threads have ended.
    pub(super) fn is_complete(&self) -> bool {
        self.failure.is_none() && !self.stopped && self.to_replay == 0 && self.has_ended()
    }

    /// Whether a thread waits for something that is there: another graph has it.
    pub(super) fn is_stale(&self) -> bool {
        let graph = &self.graph;
        let is_stale = |event: &Event| match event.op {
            Op::Choose { .. } => event.read != 0,
            Op::Load { location, .. } | Op::Rmw { location, .. } => {
                let newest = graph.newest(location);
                newest != event.reads_from
                    && self.cause(location, newest) != self.cause(location, event.reads_from)
            }
            _ => false,
        };
        let alive = (0..graph.threads.len()).filter(|&thread| graph.is_alive(thread));
        alive.into_iter().any(|thread| {
            let events = &graph.threads[thread].events;
            match self.circles.iter().find(|(number, _)| *number == thread) {
                Some(&(_, first)) => events[first..].iter().any(is_stale),
                None => events.last().is_some_and(|event| event.blocked && is_stale(event)),
            }
        })
    }

    /// The last write up to this one that is no part of a turn in vain.
    fn cause(&self, location: u32, write: EventId) -> EventId {
        let is_in_vain = |write: &&EventId| {
            self.circles.iter().any(|&(thread, first)| write.thread() == thread && write.index() >= first)
        };
        let writes = &self.graph.location(location).writes;
        let up_to = &writes[..=self.graph.position(write)];
        up_to.iter().rev().find(|write| write.is_initial() || !is_in_vain(write)).copied().unwrap_or(write)
    }

    /// Keeps which threads go in circles, before they are taken down.
    pub(super) fn keep_circles(&mut self) {
        self.circles.clear();
        for (number, thread) in self.threads.iter().enumerate() {
            if let State::Circles(turn) = thread.state {
                self.circles.push((number, self.graph.threads[number].events.len() - turn));
            }
        }
    }

    /// What is to be done when this run is over.
    pub fn at_end(&mut self, then: AtEnd) {
        self.at_end.push(then);
    }

    /// Does what is to be done now that the run is over.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    pub(super) unsafe fn finish(this: *mut Execution, is_complete: bool) {
        loop {
            // SAFETY: no fiber runs; the reference ends with this statement.
            let Some(then) = (unsafe { (*this).at_end.pop() }) else { return };
            let body = std::panic::AssertUnwindSafe(move || then(is_complete));
            let wrong = match std::panic::catch_unwind(body) {
                Ok(wrong) => wrong,
                Err(payload) => is_complete.then(|| super::message(&*payload)),
            };
            if let Some(message) = wrong {
                // SAFETY: as above.
                unsafe { (*this).fail(Failure::Panic { thread: 0, message }) };
            }
        }
    }
}

/// The running thread goes in circles: so many of its last events are one turn.
pub(in crate::code) fn go_in_circles(turn: usize, source: &'static Source<'static>) {
    loop {
        let Some(execution) = current() else { return };
        if execution.taken_down {
            execution.tell_taken_down();
            return;
        }
        let number = execution.running;
        let turn = turn.min(execution.threads[number].done);
        execution.pulse.asks(source);
        execution.threads[number].state = State::Circles(turn);
        execution.pause(source);
        fiber::suspend();
    }
}
