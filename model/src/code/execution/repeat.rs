//! A run that makes a recorded execution again, instead of choosing.

use std::panic::Location as Source;

use super::{Execution, State};
use crate::code::Performed;
use crate::graphs::revisit::Added;
use crate::graphs::{EventId, Op, Record, Value};

/// A recorded execution that is made again.
pub(crate) struct Recorded {
    pub record: Record,
    /// The first operation that cannot be what was recorded
    pub differs: Option<Performed>,
    /// Whether a thread goes on where the record ends
    pub goes_on: bool,
}

impl Execution {
    /// Whose turn it is in the recorded execution, if there is one and it has not come to its end.
    pub(super) fn turn(&self) -> Option<usize> {
        self.recorded.as_ref().and_then(|recorded| recorded.record.thread(self.graph.len))
    }

    /// Whether this thread can have its turn.
    pub(super) fn can_take(&self, turn: usize) -> bool {
        self.threads.get(turn).is_some_and(|thread| match thread.state {
            State::Ready => true,
            State::Join(joined) => self.graph.has_ended(joined),
            _ => false,
        })
    }

    /// Performs an operation of the running thread as the record has it.
    pub(super) fn repeat(&mut self, op: Op, source: &'static Source<'static>) -> Option<Value> {
        let number = self.running;
        let recorded = self.recorded.as_mut().expect("there is a record");
        let turn = recorded.record.thread(self.graph.len);
        if turn.is_some_and(|thread| thread != number) {
            return None;
        }
        if let Op::Join { thread: joined } = op
            && !self.graph.has_ended(joined as usize)
        {
            self.threads[number].state = State::Join(joined as usize);
            return None;
        }
        if turn.is_none() {
            recorded.goes_on |= op.until().is_none() || self.graph.ends_wait(&op);
            self.threads[number].state = State::Blocked;
            return None;
        }
        let Some(added) = recorded.record.extend(&mut self.graph, op, source) else {
            recorded.differs = Some(Performed { op, source });
            self.stopped = true;
            return None;
        };
        self.threads[number].done += 1;
        let failed = self.failure.is_some();
        if let Op::CellRead { location } | Op::CellWrite { location } = op {
            self.find_race(EventId::new(number, self.threads[number].done - 1), location);
        }
        match added {
            Added::Value(value) if failed == self.failure.is_some() => Some(value),
            // Who races goes no further.
            Added::Value(_) | Added::Blocked | Added::Unordered => {
                self.threads[number].state = State::Blocked;
                None
            }
        }
    }
}
