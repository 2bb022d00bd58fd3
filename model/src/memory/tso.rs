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

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::{Barrier, Effect, Footprint, Internal, Limit, Location, Machine, Operation, Outcome, Sc, Value};

/// A store that has not reached memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Store {
    thread: u8,
    location: Location,
    value: Value,
}

/// Memory under x86-TSO.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Tso {
    memory: Sc,
    /// The buffers of all threads, one after the other, in each the oldest store first
    buffers: SmallVec<[Store; 8]>,
}

impl Clone for Tso {
    /// As derived, but the stores are copied at once and not one by one.
    fn clone(&self) -> Self {
        Tso { memory: self.memory.clone(), buffers: SmallVec::from_slice(&self.buffers) }
    }
}

impl Tso {
    /// Must `operation` wait until the buffer is empty?
    fn drains(operation: Operation) -> bool {
        matches!(operation, Operation::Modify { .. } | Operation::Fence(Barrier::SeqCst))
    }

    /// The stores in the thread's own buffer.
    fn buffer(&self, thread: usize) -> impl DoubleEndedIterator<Item = &Store> {
        self.buffers.iter().filter(move |store| usize::from(store.thread) == thread)
    }

    /// The newest store to `location` in the thread's own buffer.
    fn forwarded(&self, thread: usize, location: Location) -> Option<Value> {
        self.buffer(thread).rev().find(|store| store.location == location).map(|store| store.value)
    }

    /// Is a store to `location` in another thread's buffer?
    fn pending_elsewhere(&self, thread: usize, location: Location) -> bool {
        let mut others = self.buffers.iter().filter(|store| usize::from(store.thread) != thread);
        others.any(|store| store.location == location)
    }
}

impl Machine for Tso {
    fn new(values: &[Value], threads: usize) -> Result<Self, Limit> {
        Ok(Tso { memory: Sc::new(values, threads)?, buffers: SmallVec::new() })
    }

    fn order(&self, one: usize, other: usize) -> Ordering {
        let buffer = |thread| self.buffer(thread).map(|store| (store.location, store.value));
        buffer(one).cmp(buffer(other))
    }

    fn exchange(&mut self, one: usize, other: usize) {
        for store in &mut self.buffers {
            store.thread = match usize::from(store.thread) {
                thread if thread == one => other as u8,
                thread if thread == other => one as u8,
                _ => store.thread,
            };
        }
        self.buffers.sort_by_key(|store| store.thread);
    }

    fn outcomes(
        mut self,
        thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        if Self::drains(operation) && self.oldest(thread).is_some() {
            return Ok(());
        }
        let (read, written, stale) = match operation {
            Operation::Load { location, .. } => {
                let own = self.forwarded(thread, location);
                let stale = own.is_none() && self.pending_elsewhere(thread, location);
                (Some(own.unwrap_or_else(|| self.memory.newest(location))), None, stale)
            }
            Operation::Store { location, value, .. } => {
                let end = self.buffers.partition_point(|store| usize::from(store.thread) <= thread);
                self.buffers.insert(end, Store { thread: thread as u8, location, value });
                (None, Some(value), false)
            }
            Operation::Modify { location, update, .. } => {
                let read = self.memory.newest(location);
                let written = match update.on(read) {
                    Effect::Write(value) => {
                        self.memory = self.memory.with(location, value);
                        Some(value)
                    }
                    Effect::FailingRead(_) => None,
                    Effect::Wait => return Ok(()),
                };
                (Some(read), written, self.pending_elsewhere(thread, location))
            }
            Operation::Fence(_) => (None, None, false),
        };
        found.push(Outcome { read, written, stale, machine: self });
        Ok(())
    }

    fn internal(&self, found: &mut Vec<Internal<Self>>) {
        let mut drained = None;
        for (index, &Store { thread, location, value }) in self.buffers.iter().enumerate() {
            if drained.replace(thread) != Some(thread) {
                let mut machine = self.clone();
                machine.buffers.remove(index);
                machine.memory = machine.memory.with(location, value);
                found.push(Internal { thread: thread.into(), location, value, machine });
            }
        }
    }

    fn pending(&self, thread: usize) -> Footprint {
        let stores = self.buffer(thread).map(|store| Footprint::write(store.location));
        stores.fold(Footprint::default(), Footprint::union)
    }

    fn oldest(&self, thread: usize) -> Option<Location> {
        self.buffer(thread).next().map(|store| store.location)
    }

    fn newest(&self, location: Location) -> Value {
        self.memory.newest(location)
    }

    fn lacks(&self, thread: usize, location: Location, value: Value) -> bool {
        self.memory.lacks(thread, location, value)
    }

    fn waits(&self, thread: usize, operation: Operation) -> bool {
        Self::drains(operation) && self.oldest(thread).is_some() || self.memory.waits(thread, operation)
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
