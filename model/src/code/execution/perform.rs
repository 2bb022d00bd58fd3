//! An operation of the program: repeated from the graph, or added to it.

use std::panic::Location as Source;

use super::{Descent, Execution, State, current};
use crate::code::failure::{Failure, Instead, Last, Limit, Performed};
use crate::code::fiber::{self, STACK};
use crate::graphs::revisit::{Added, extend};
use crate::graphs::{EventId, Op, Value};

impl Execution {
    /// Performs an operation of the running thread, if it can be done now.
    #[inline]
    pub(super) fn perform(&mut self, op: Op, source: &'static Source<'static>) -> Option<Value> {
        let number = self.running;
        let thread = &mut self.threads[number];
        let own = &self.graph.threads[number].events;
        if let Some(event) = own.get(thread.done) {
            // Replay.
            if event.op != op || !std::ptr::eq(event.source, source) && event.source != source {
                let before = Performed { op: event.op, source: event.source };
                self.diverged(before, Instead::Performed(Performed { op, source }));
                return None;
            }
            if event.op.reads() && !event.reads_from.is_initial() {
                let write = event.reads_from;
                if !self.has_taken_place(write) {
                    self.threads[number].state = State::Replay(write);
                    return None;
                }
            }
            if let Op::Join { thread: joined } = op {
                let joined = joined as usize;
                if self.threads[joined].done < self.graph.threads[joined].events.len() {
                    self.threads[number].state = State::Join(joined);
                    return None;
                }
            }
            let thread = &mut self.threads[number];
            thread.done += 1;
            self.to_replay -= 1;
            if event.blocked {
                thread.state = State::Blocked;
                return None;
            }
            let read = event.read;
            self.yields = op != Op::End && !self.goes_on_after_repeating(number);
            return Some(read);
        }
        let unwinds = std::thread::panicking();
        let goes_ahead = self.to_replay > 0 && unwinds && self.may_go_ahead(number, &op);
        if self.to_replay > 0 && !goes_ahead {
            return None;
        }
        if self.recorded.is_some() {
            return self.repeat(op, source);
        }
        if let Some(look) = self.graph.last_look(number)
            && look.op != op
        {
            let before = Performed { op: look.op, source: look.source };
            self.diverged(before, Instead::Performed(Performed { op, source }));
            return None;
        }
        if self.graph.retries(&op) && !self.graph.ends_wait(&op) {
            self.threads[number].state = State::Waiting(op, source);
            return None;
        }
        let thread = &mut self.threads[number];
        if let Op::Join { thread: joined } = op
            && !self.graph.has_ended(joined as usize)
        {
            thread.state = State::Join(joined as usize);
            return None;
        }
        if self.graph.len >= self.limits.events {
            let limit =
                Limit::Events { most: self.limits.events, thread: number, last: Performed { op, source } };
            self.fail(Failure::Limit(limit));
            return None;
        }
        if op == Op::Spawn && self.graph.threads.len() >= self.limits.threads {
            self.fail(Failure::Limit(Limit::Threads { most: self.limits.threads }));
            return None;
        }
        if self.stopped {
            return None;
        }
        let was_unwound = self.graph.unwinds(number);
        self.graph.set_unwinding(number, unwinds);
        let added = extend(&mut self.graph, number, op, source, &mut self.others);
        if added == Added::Unordered {
            self.fail(Failure::Limit(Limit::Unordered(Performed { op, source })));
            return None;
        }
        self.threads[number].done += 1;
        self.choose();
        if let Op::CellRead { location } | Op::CellWrite { location } = op {
            self.find_race(EventId::new(number, self.threads[number].done - 1), location);
        }
        match added {
            Added::Value(value) => {
                // A wait that ends now may go before this thread; and anyone, when it has gone first for a
                // while, or where priorities change.
                let may_end_wait = op.location().is_some_and(|number| self.graph.location(number).ordered);
                let may_change = self.descent.as_ref().is_some_and(Descent::has_priorities);
                self.yields = (may_end_wait || was_unwound || may_change) && self.next() != Some(number);
                Some(value)
            }
            Added::Blocked | Added::Unordered => {
                self.threads[number].state = State::Blocked;
                None
            }
        }
    }

    /// The thread has used up its stack, but for what the engine needs.
    #[cold]
    pub(super) fn has_no_stack(&mut self, source: &'static Source<'static>) -> Option<Value> {
        let last = Last { source: Some(source), ..self.last(self.running) };
        self.fail(Failure::Limit(Limit::Stack { size: STACK, last }));
        None
    }

    /// See [`is_settled`](crate::code::is_settled).
    pub fn is_settled(&self, location: u32) -> bool {
        let Some(last) = self.threads[self.running].done.checked_sub(1).filter(|_| !self.taken_down) else {
            return true;
        };
        let last = EventId::new(self.running, last);
        let before = &self.graph.event(last).happens_before;
        let writes = self.graph.location(location).writes.iter().skip(1);
        writes
            .into_iter()
            .all(|&write| before.contains(write) || self.graph.event(write).happens_before.contains(last))
    }

    /// Whether the access of a cell races with one that is there.
    pub(super) fn find_race(&mut self, id: EventId, cell: u32) {
        let graph = &self.graph;
        let (event, location) = (graph.event(id), graph.location(cell));
        let is_write = matches!(event.op, Op::CellWrite { .. });
        let others = location.writes.iter().skip(1).chain(location.reads.iter().filter(|_| is_write));
        let race = others.copied().find(|&other| other != id && !event.happens_before.contains(other));
        if let Some(other) = race {
            let performed = |id: EventId| {
                let event = graph.event(id);
                (id, Performed { op: event.op, source: event.source })
            };
            let failure = Failure::Race { cell, first: performed(other), second: performed(id) };
            self.fail(failure);
        }
    }
}

/// Performs an operation of the thread that runs, when its turn has come. `None` if the run is being taken
/// down and there is nothing to return.
pub(in crate::code) fn perform(op: Op, source: &'static Source<'static>) -> Option<Value> {
    let mut done = None;
    loop {
        let execution = current().expect("an operation of the program outside of an execution");
        if execution.taken_down {
            execution.tell_taken_down();
            return execution.aftermath.perform(&execution.graph, op);
        }
        if done.is_some() {
            return done;
        }
        if fiber::has_engine_panicked() {
            // Its panic unwinds this stack, and this is a destructor's operation.
            return None;
        }
        execution.pulse.asks(source);
        if execution.failure.is_none() || execution.recorded.is_some() {
            done = match fiber::stack_pointer() < execution.floor {
                true => fiber::in_engine(|| execution.has_no_stack(source)),
                false => fiber::in_engine(|| execution.perform(op, source)),
            };
        }
        // If it went wrong, the thread goes no further.
        // Who has started a thread gives way when that is there.
        let goes_on = execution.failure.is_none() || execution.recorded.is_some();
        if done.is_some() && goes_on && (op == Op::Spawn || !std::mem::take(&mut execution.yields)) {
            return done;
        }
        execution.pause(source);
        fiber::suspend();
    }
}

/// Lets another thread go before the running one, which has just started one, if it is not the next.
pub(in crate::code) fn give_way(source: &'static Source<'static>) {
    let execution = current().expect("an execution runs");
    if std::mem::take(&mut execution.yields) && !execution.taken_down {
        execution.pause(source);
        fiber::suspend();
        let execution = current().expect("an execution runs");
        if execution.taken_down {
            execution.tell_taken_down();
        }
    }
}
