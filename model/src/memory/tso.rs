//! x86-TSO: memory, and between each thread and memory a FIFO buffer of its own stores.
//!
//! The rules, after Owens, Sarkar and Sewell (TPHOLs 2009), with C11 operations mapped as compilers map them:
//!
//! - A store goes to the end of the thread's own buffer, whatever its order.
//! - A load takes the newest store to the location in the thread's own buffer; if there is none, it reads memory.
//! - At any moment the oldest store of any buffer may reach memory ([`Machine::internal`]).
//! - A read-modify-write is a locked instruction, a compare-exchange that fails too: it waits until the thread's
//!   buffer is empty, then reads and writes memory at once. The paper's lock, held for the length of one
//!   instruction, is the indivisibility of this step.
//! - `fence(seq_cst)` is `mfence`: it waits until the thread's buffer is empty. Other fences are no instructions.

use smallvec::SmallVec;

use super::{Barrier, Effect, Footprint, Internal, Limit, Location, Machine, Operation, Outcome, Sc, Value};

/// A thread's stores that have not reached memory, the oldest first.
type Buffer = SmallVec<[(Location, Value); 4]>;

/// Memory under x86-TSO.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tso {
    memory: Sc,
    /// By thread
    buffers: SmallVec<[Buffer; 4]>,
}

impl Tso {
    /// Must `operation` wait until the buffer is empty?
    fn drains(operation: Operation) -> bool {
        matches!(operation, Operation::Modify { .. } | Operation::Fence(Barrier::SeqCst))
    }

    /// The newest store to `location` in the thread's own buffer.
    fn forwarded(&self, thread: usize, location: Location) -> Option<Value> {
        self.buffers[thread].iter().rev().find(|(l, _)| *l == location).map(|(_, value)| *value)
    }
}

impl Machine for Tso {
    fn new(values: &[Value], threads: usize) -> Result<Self, Limit> {
        Ok(Tso { memory: Sc::new(values, threads)?, buffers: SmallVec::from_elem(SmallVec::new(), threads) })
    }

    fn outcomes(
        &self,
        thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        if Self::drains(operation) && !self.buffers[thread].is_empty() {
            return Ok(());
        }
        let pending = |location| {
            let others = self.buffers.iter().enumerate().filter(|(t, _)| *t != thread);
            others.flat_map(|(_, buffer)| buffer).any(|(l, _)| *l == location)
        };
        match operation {
            Operation::Load { location, .. } => {
                let own = self.forwarded(thread, location);
                let read = Some(own.unwrap_or_else(|| self.memory.newest(location)));
                let stale = own.is_none() && pending(location);
                found.push(Outcome { read, written: None, stale, machine: self.clone() });
            }
            Operation::Store { location, value, .. } => {
                let mut machine = self.clone();
                machine.buffers[thread].push((location, value));
                found.push(Outcome { read: None, written: Some(value), stale: false, machine });
            }
            Operation::Modify { location, update, .. } => {
                let read = self.memory.newest(location);
                let mut machine = self.clone();
                let written = match update.on(read) {
                    Effect::Write(value) => {
                        machine.memory = self.memory.with(location, value);
                        Some(value)
                    }
                    Effect::FailingRead(_) => None,
                    Effect::Wait => return Ok(()),
                };
                found.push(Outcome { read: Some(read), written, stale: pending(location), machine });
            }
            Operation::Fence(_) => {
                found.push(Outcome { read: None, written: None, stale: false, machine: self.clone() });
            }
        }
        Ok(())
    }

    fn internal(&self, found: &mut Vec<Internal<Self>>) {
        for (thread, buffer) in self.buffers.iter().enumerate() {
            if let Some(&(location, value)) = buffer.first() {
                let mut machine = self.clone();
                machine.buffers[thread].remove(0);
                machine.memory = self.memory.with(location, value);
                found.push(Internal { thread, location, value, machine });
            }
        }
    }

    fn pending(&self, thread: usize) -> Footprint {
        let stores = self.buffers[thread].iter().map(|(location, _)| Footprint::write(*location));
        stores.fold(Footprint::default(), Footprint::union)
    }

    fn oldest(&self, thread: usize) -> Option<Location> {
        self.buffers[thread].first().map(|(location, _)| *location)
    }

    fn newest(&self, location: Location) -> Value {
        self.memory.newest(location)
    }

    fn lacks(&self, thread: usize, location: Location, value: Value) -> bool {
        self.memory.lacks(thread, location, value)
    }

    fn waits(&self, thread: usize, operation: Operation) -> bool {
        Self::drains(operation) && !self.buffers[thread].is_empty() || self.memory.waits(thread, operation)
    }

    /// A store only enters the buffer.
    fn moves_left(step: Footprint, others: Footprint) -> bool {
        step.reads == 0 || !step.conflicts(others)
    }

    /// A store may leave the buffer.
    fn moves_right(step: Footprint, others: Footprint) -> bool {
        let stores = step.reads == 0 && step.writes != 0;
        !stores && !step.conflicts(others)
    }
}
