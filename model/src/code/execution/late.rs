//! The objects of a run and their numbers.
//!
//! Most are known from where they are made: the n-th object of a thread is the same one in all runs. Late
//! ones are made known at their first use: those of constant constructors, and what is in a static.
//!
//! Which thread is the first to use an object is not the same in every run: a replay may take the threads in
//! another order. So the number of such an object is not derived from who uses it. It is a name that the graph
//! has given: in the replay the first use of an object is an operation that the graph has already, and the
//! number is the one that stands there. Every operation on the object has the same, whichever comes first. Only
//! an object that no operation of the graph uses gets a new number.

use super::{Execution, Instead, Performed};
use crate::code::object::{Kind, Named};
use crate::graphs::wait::Waits;
use crate::graphs::{Location, Op, Value};

/// Where [`Numbers`](crate::code::Numbers) keeps the numbers of late objects: no thread has this number.
const NO_THREAD: usize = u8::MAX as usize;

/// The late objects of a run.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Their numbers, as far as this worker has met them, in the order of all workers
    numbers: Vec<u32>,
    /// Which numbers are taken in this run
    taken: Vec<bool>,
    /// The first place in `numbers` that may be free
    first_free: usize,
}

impl Late {
    /// Another run begins.
    pub fn begin(&mut self) {
        self.taken.clear();
        self.first_free = 0;
    }

    fn is_taken(&self, number: u32) -> bool {
        self.taken.get(number as usize).copied().unwrap_or(false)
    }

    fn take(&mut self, number: u32) {
        if self.taken.len() <= number as usize {
            self.taken.resize(number as usize + 1, false);
        }
        self.taken[number as usize] = true;
    }
}

impl Execution {
    /// A new object of the running thread.
    pub fn object(&mut self, label: &'static str, kind: Kind, initial: Value) -> u32 {
        if self.taken_down {
            return self.aftermath.object(initial);
        }
        let running = self.running;
        let nth = self.threads[running].locations as usize;
        self.threads[running].locations += 1;
        if self.numbers.len() <= running {
            self.numbers.resize_with(running + 1, Vec::new);
        }
        let known = self.numbers[running].get(nth).copied();
        let number = known.unwrap_or_else(|| {
            let number = self.shared.lock().expect("no worker panics").of(running, nth);
            self.numbers[running].push(number);
            number
        });
        self.name(number, Named { label, kind, source: None });
        if let Some(known) = self.graph.locations.get(number as usize)
            && (known.writes.len() > 1 || !known.reads.is_empty())
            && known.initial != initial
            && let Some(before) = self.next_recorded(running)
        {
            self.diverged(before, Instead::Makes(label));
        }
        self.graph.declare(number, initial, kind.is_ordered() && self.waits == Waits::Retry);
        number
    }

    fn name(&mut self, number: u32, named: Named) {
        if self.names.len() <= number as usize {
            self.names.resize(number as usize + 1, Named { label: "", kind: Kind::Word, source: None });
        }
        self.names[number as usize] = named;
    }

    /// The operation that the running thread does next, as far as the graph knows.
    pub fn expected(&self) -> Option<Op> {
        if self.taken_down {
            return None;
        }
        let own = &self.graph.threads[self.running];
        let next = own.events.get(self.threads[self.running].done).map(|event| event.op);
        next.or_else(|| self.graph.last_look(self.running).map(|look| look.op))
    }

    /// The number of an object that the running thread is about to use, the first one to do so. `initial` is
    /// told the value that it begins with in the graph, if it is there.
    pub fn late_object(&mut self, named: Named, initial: impl FnOnce(Option<Value>) -> Value) -> u32 {
        if self.taken_down {
            return self.aftermath.object(initial(None));
        }
        let expected = self.expected().and_then(|op| op.location()).filter(|&number| self.may_be(number));
        let number = expected.unwrap_or_else(|| self.first_free());
        self.late.take(number);
        self.name(number, named);
        let known = self.graph.locations.get(number as usize).map(|location| location.initial);
        let value = initial(expected.and(known));
        if expected.is_some() && known.is_some_and(|known| known != value) {
            if let Some(before) = self.next_recorded(self.running) {
                let Performed { op, source } = before;
                self.diverged(Performed { op, source }, Instead::Makes(named.label));
            }
            return number;
        }
        let is_ordered = named.kind.is_ordered() && self.waits == Waits::Retry;
        self.graph.declare(number, value, is_ordered);
        self.graph.locations[number as usize].named = named.kind == Kind::Name;
        number
    }

    /// Whether this is the number of a late object that has not come up yet in this run.
    fn may_be(&mut self, number: u32) -> bool {
        if self.late.is_taken(number) {
            return false;
        }
        if !self.late.numbers.contains(&number) {
            // Another worker may have met it.
            let known = self.late.numbers.len();
            let shared = self.shared.lock().expect("no worker panics");
            self.late.numbers.extend_from_slice(&shared.all_of(NO_THREAD)[known..]);
        }
        self.late.numbers.contains(&number)
    }

    /// Whether the graph has an operation on this object, or a wait that has looked at it in vain.
    fn is_used(&self, number: u32) -> bool {
        let location = self.graph.locations.get(number as usize);
        let has_operation = |location: &Location| location.writes.len() > 1 || !location.reads.is_empty();
        let mut looks = self.graph.threads.iter().flat_map(|thread| &thread.looks);
        location.is_some_and(has_operation) || looks.any(|look| look.op.location() == Some(number))
    }

    /// A number that nothing in the graph has.
    fn first_free(&mut self) -> u32 {
        let mut nth = self.late.first_free;
        loop {
            if nth == self.late.numbers.len() {
                let number = self.shared.lock().expect("no worker panics").of(NO_THREAD, nth);
                self.late.numbers.push(number);
            }
            let number = self.late.numbers[nth];
            let is_used = self.is_used(number);
            if !self.late.is_taken(number) && !is_used {
                return number;
            }
            if self.late.is_taken(number) && nth == self.late.first_free {
                self.late.first_free += 1;
            }
            nth += 1;
        }
    }
}
