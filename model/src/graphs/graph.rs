//! The execution graph: the events of each thread, what each read reads from, and the order of the writes to each location.

use std::panic::Location as Source;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::event::{acquires, releases};
use super::rules::{Rule, without};
use super::wait::Look;
use super::{Clock, Event, EventId, Op, Value};
use crate::memory::Memory;

/// A thread of an execution.
#[derive(Clone, Debug)]
pub struct Thread {
    /// What it has done, in program order
    pub events: Vec<Event>,
    /// The event that started it; `None` for the first thread, and for a number that is free
    pub started_by: Option<EventId>,
    /// The way to it in the tree of threads: which of its parent's threads it is, which of its grandparent's its parent
    /// is, and so on from the root. It is the same in whatever order the threads were started.
    pub path: SmallVec<[u16; 4]>,
    /// How many threads it has started
    pub started: u16,
    /// The looks of its waits that found nothing, in the order of their stamps
    pub looks: SmallVec<[Look; 1]>,
    /// The numbers of those of its events that it did in destructors while a panic unwound its stack. Numbers
    /// of events that it does not have any more may be among them
    pub unwinding: Vec<u16>,
    /// Whether there may be a fence among its events that releases
    pub release_fences: bool,
}

/// An atomic location, or a cell.
#[derive(Debug)]
pub struct Location {
    /// What it begins with
    pub initial: Value,
    /// Whether each of its writes is in the porf prefix of the next one, so that its waits may [retry](super::wait)
    pub ordered: bool,
    /// Whether its values are names: a run may give the same thing another one
    pub named: bool,
    /// Its writes in coherence order, the initial one first
    pub writes: SmallVec<[EventId; 8]>,
    /// Its reads, those of read-modify-writes too, in no order
    pub reads: SmallVec<[EventId; 8]>,
}

impl Clone for Location {
    /// With plain copies of the lists, as for [`Clock`].
    fn clone(&self) -> Self {
        Location {
            initial: self.initial,
            ordered: self.ordered,
            named: self.named,
            writes: SmallVec::from_slice(&self.writes),
            reads: SmallVec::from_slice(&self.reads),
        }
    }
}

/// An execution graph, complete or not.
///
/// It is kept consistent and closed: what is in it may happen, and what a read reads from is in it.
#[derive(Clone, Debug)]
pub struct Graph {
    /// The memory model under which it is built
    pub memory: Memory,
    /// The threads, by number
    pub threads: Vec<Thread>,
    /// The locations, by number
    pub locations: Vec<Location>,
    /// The stamp of the next event
    pub next_stamp: u32,
    /// How many events there are
    pub len: usize,
    /// Fences of `seq_cst`, in no order
    pub fences: Vec<EventId>,
    /// Accesses of `seq_cst`, in no order
    pub seq_cst: Vec<EventId>,
    /// Whether [`Event::before`] is right. It stays so as long as reads read the newest write and writes are the newest: these add
    /// nothing before events that are there
    pub is_closed: bool,
}

impl Thread {
    fn new(started_by: Option<EventId>, path: SmallVec<[u16; 4]>) -> Self {
        Thread {
            events: Vec::new(),
            started_by,
            path,
            started: 0,
            looks: SmallVec::new(),
            unwinding: Vec::new(),
            release_fences: false,
        }
    }
}

impl Graph {
    /// A graph without events, and with one thread.
    pub fn new(memory: Memory) -> Self {
        let first = Thread::new(None, SmallVec::new());
        Graph {
            memory,
            threads: vec![first],
            locations: Vec::new(),
            next_stamp: 0,
            len: 0,
            fences: Vec::new(),
            seq_cst: Vec::new(),
            is_closed: memory != Memory::Rc11,
        }
    }

    /// Makes a location known, if it is not.
    pub fn declare(&mut self, location: u32, initial: Value, ordered: bool) {
        while self.locations.len() <= location as usize {
            self.locations.push(Location {
                initial: 0,
                ordered: false,
                named: false,
                writes: SmallVec::from_slice(&[EventId::INITIAL]),
                reads: SmallVec::new(),
            });
        }
        let location = &mut self.locations[location as usize];
        (location.initial, location.ordered) = (initial, ordered);
    }

    /// The event at this place.
    #[inline]
    pub fn event(&self, id: EventId) -> &Event {
        &self.threads[id.thread()].events[id.index()]
    }

    /// The event at this place.
    #[inline]
    pub fn event_mut(&mut self, id: EventId) -> &mut Event {
        &mut self.threads[id.thread()].events[id.index()]
    }

    /// The location with this number.
    #[inline]
    pub fn location(&self, location: u32) -> &Location {
        &self.locations[location as usize]
    }

    /// The place of a write in the coherence order of its location.
    #[inline]
    pub fn position(&self, write: EventId) -> usize {
        if write.is_initial() { 0 } else { self.event(write).position as usize }
    }

    /// The value of a write to this location.
    #[inline]
    pub fn value(&self, location: u32, write: EventId) -> Value {
        if write.is_initial() { self.location(location).initial } else { self.event(write).wrote }
    }

    /// The newest write to a location.
    #[inline]
    pub fn newest(&self, location: u32) -> EventId {
        let writes = &self.location(location).writes;
        writes[writes.len() - 1]
    }

    /// What is before a write in the order of its location, as far as it is not before that again: the write before it, and the
    /// reads of that one.
    pub fn overwritten(&self, write: EventId) -> (EventId, impl Iterator<Item = EventId>) {
        let event = self.event(write);
        let location = self.location(event.op.atomic().expect("a write has a location"));
        let previous = location.writes[event.position as usize - 1];
        let reads =
            location.reads.iter().copied().filter(move |&read| self.event(read).reads_from == previous);
        (previous, reads)
    }

    /// Whether this write belongs to a read-modify-write, so that nothing may come between it and what that has read.
    #[inline]
    pub fn is_rmw(&self, write: EventId) -> bool {
        !write.is_initial() && matches!(self.event(write).op, Op::Rmw { .. })
    }

    /// Whether the thread with this number has been started and not been taken back.
    pub fn is_alive(&self, thread: usize) -> bool {
        thread == 0 || self.threads.get(thread).is_some_and(|thread| thread.started_by.is_some())
    }

    /// Whether a thread does, or would do, its event with this number while a panic unwinds its stack.
    #[inline]
    pub fn is_unwinding(&self, thread: usize, index: usize) -> bool {
        let unwinding = &self.threads[thread].unwinding;
        !unwinding.is_empty() && unwinding.contains(&(index as u16))
    }

    /// Whether a panic unwound the stack of a thread when it did its last event.
    #[inline]
    pub fn unwinds(&self, thread: usize) -> bool {
        self.threads[thread].events.len().checked_sub(1).is_some_and(|last| self.is_unwinding(thread, last))
    }

    /// Says whether a panic unwinds the stack of a thread as it does its next event.
    #[inline]
    pub fn set_unwinding(&mut self, thread: usize, unwinds: bool) {
        let Thread { events, unwinding, .. } = &mut self.threads[thread];
        let next = events.len() as u16;
        if unwinds != unwinding.contains(&next) {
            if unwinds { unwinding.push(next) } else { unwinding.retain(|&index| index != next) }
        }
    }

    /// Whether a thread has ended.
    pub fn has_ended(&self, thread: usize) -> bool {
        self.threads[thread].events.last().is_some_and(|event| event.op == Op::End)
    }

    /// What comes before the event with this number of this thread, itself excluded: under program order and reads-from, and by
    /// happens-before.
    pub fn before(&self, id: EventId) -> (&Clock, &Clock) {
        static NOTHING: std::sync::LazyLock<Clock> = std::sync::LazyLock::new(Clock::default);
        match self.previous(id) {
            Some(previous) => {
                let event = self.event(previous);
                (&event.porf, &event.happens_before)
            }
            None => (&NOTHING, &NOTHING),
        }
    }

    /// Under SC and x86-TSO whoever reads a value knows what its writer knew.
    pub(super) fn order_in_force(&self, order: Ordering) -> Ordering {
        if self.memory == Memory::Rc11 { order } else { Ordering::AcqRel }
    }

    /// Adds an event at the end of its thread; a write has no place in the coherence order yet. `stamp` is that of the
    /// event if it was in the graph before.
    ///
    /// `read` is what the event has got: the outcome of a choice, the number of a thread. For a read it is the value of
    /// `reads_from`.
    pub fn push(
        &mut self,
        thread: usize,
        op: Op,
        source: &'static Source<'static>,
        reads_from: EventId,
        read: Value,
        stamp: Option<u32>,
    ) -> EventId {
        let id = EventId::new(thread, self.threads[thread].events.len());
        let (porf, happens_before) = self.before(id);
        let (mut porf, mut happens_before) = (porf.clone(), happens_before.clone());
        porf.include(thread, id.index() + 1);
        happens_before.include(thread, id.index() + 1);
        let stamp = stamp.unwrap_or(self.next_stamp);
        self.next_stamp += 1;
        let blocked = op.until().is_some_and(|until| !until.satisfied(read));
        let mut event = Event {
            op,
            source,
            reads_from,
            read,
            wrote: 0,
            writes: false,
            blocked,
            position: 0,
            stamp,
            write_stamp: stamp,
            porf: Clock::default(),
            happens_before: Clock::default(),
            message: Clock::default(),
            before: Clock::default(),
            loads_before: Clock::default(),
        };
        match op {
            Op::Load { location, .. } | Op::Rmw { location, .. } => {
                if !reads_from.is_initial() {
                    let write = self.event(reads_from);
                    porf.join(&write.porf);
                    if acquires(self.order_in_force(event.order())) {
                        happens_before.join(&write.message);
                    }
                }
                self.locations[location as usize].reads.push(id);
            }
            Op::Fence { order } => {
                if acquires(order) && self.memory == Memory::Rc11 && !without(Rule::AcquireFences) {
                    // A fence acquires whatever was read before it; up to the fence before, that one has.
                    let is_fence =
                        |event: &&Event| matches!(event.op, Op::Fence { order } if acquires(order));
                    let earlier = self.threads[thread].events.iter().rev();
                    for earlier in earlier.take_while(|event| !is_fence(event)) {
                        if earlier.op.reads() && !earlier.reads_from.is_initial() {
                            happens_before.join(&self.event(earlier.reads_from).message);
                        }
                    }
                }
                self.threads[thread].release_fences |= releases(order);
                if order == Ordering::SeqCst {
                    self.fences.push(id);
                }
            }
            Op::Join { thread: joined } => {
                let end =
                    self.threads[joined as usize].events.last().expect("a thread that is joined has ended");
                porf.join(&end.porf);
                happens_before.join(&end.happens_before);
            }
            Op::CellRead { location } => self.locations[location as usize].reads.push(id),
            Op::CellWrite { location } => self.locations[location as usize].writes.push(id),
            Op::Store { .. } | Op::Spawn | Op::Choose { .. } | Op::End => {}
        }
        if op.atomic().is_some() && event.order() == Ordering::SeqCst {
            self.seq_cst.push(id);
        }
        event.porf = porf;
        event.happens_before = happens_before;
        self.threads[thread].events.push(event);
        self.len += 1;
        self.is_closed &=
            !op.reads() || op.location().is_some_and(|number| self.newest(number) == reads_from);
        if self.is_closed {
            self.close(id);
        }
        id
    }

    /// Takes back the last event of its thread, a read or a read-modify-write that has no place in the coherence order yet.
    pub fn pop(&mut self, id: EventId) {
        let event = self.threads[id.thread()].events.pop().expect("it is there");
        let location = event.op.atomic().expect("it is a read");
        self.locations[location as usize].reads.retain(|read| *read != id);
        self.seq_cst.retain(|access| *access != id);
        self.len -= 1;
    }

    /// Gives the write part of the last event of a thread its place in the coherence order.
    pub fn place(&mut self, id: EventId, position: usize, write_stamp: u32) {
        let message = self.message(id);
        let event = self.event_mut(id);
        let location = event.op.atomic().expect("a write has a location");
        event.wrote = event.will_write().expect("it writes");
        event.writes = true;
        event.write_stamp = write_stamp;
        event.message = message;
        let Graph { threads, locations, .. } = self;
        let writes = &mut locations[location as usize].writes;
        writes.insert(position, id);
        self.is_closed &= position + 1 == writes.len();
        for (position, write) in writes.iter().enumerate().skip(position) {
            threads[write.thread()].events[write.index()].position = position as u16;
        }
        if self.is_closed {
            self.close(id);
        }
    }

    /// The part of this graph that has so many events of each thread, and of the looks at what would be the next event those that were
    /// made before `stamp`. It has to be closed.
    pub fn restrict(&self, keep: &Clock, stamp: u32) -> Graph {
        let kept = |id: &EventId| keep.contains(*id);
        let mut len = 0;
        let threads = self.threads.iter().enumerate();
        let mut threads: Vec<Thread> = threads
            .map(|(number, thread)| {
                let looks = thread.looks.iter().filter(|look| look.is_kept(keep, number, stamp));
                let looks = looks.copied().collect();
                let keep = keep.of(number);
                len += keep;
                let started_by = thread.started_by.filter(kept);
                let mut events = Vec::with_capacity(keep + 8);
                events.extend_from_slice(&thread.events[..keep]);
                let started = match keep == thread.events.len() {
                    true => thread.started,
                    false => events.iter().filter(|event| event.op == Op::Spawn).count() as u16,
                };
                // The next event may be a read that is put back at once, reading something else.
                let unwinding =
                    thread.unwinding.iter().copied().filter(|&index| index as usize <= keep).collect();
                let path = thread.path.clone();
                Thread { events, started_by, path, started, looks, unwinding, ..*thread }
            })
            .collect();
        let locations = self.locations.iter().map(|location| {
            let writes: SmallVec<[EventId; 8]> = location.writes.iter().copied().filter(kept).collect();
            if writes.len() < location.writes.len() {
                for (position, write) in writes.iter().enumerate().skip(1) {
                    threads[write.thread()].events[write.index()].position = position as u16;
                }
            }
            let reads = location.reads.iter().copied().filter(kept).collect();
            Location { writes, reads, ..*location }
        });
        Graph {
            memory: self.memory,
            locations: locations.collect(),
            next_stamp: self.next_stamp,
            len,
            is_closed: false,
            fences: self.fences.iter().copied().filter(kept).collect(),
            seq_cst: self.seq_cst.iter().copied().filter(kept).collect(),
            threads,
        }
    }

    /// The lowest number that no thread has.
    pub fn first_free(&self) -> usize {
        let free = (1..self.threads.len()).find(|&number| !self.is_alive(number));
        free.unwrap_or(self.threads.len())
    }

    /// Starts a thread: the event is a [`Op::Spawn`], and its thread's last. Returns the number.
    pub fn start(&mut self, thread: usize, source: &'static Source<'static>) -> usize {
        let number = self.first_free();
        self.start_as(thread, source, number);
        number
    }

    /// Starts a thread with this number, which none has.
    pub fn start_as(&mut self, thread: usize, source: &'static Source<'static>, number: usize) {
        let spawn = self.push(thread, Op::Spawn, source, EventId::INITIAL, number as Value, None);
        let parent = &mut self.threads[thread];
        let mut path = parent.path.clone();
        path.push(parent.started);
        parent.started += 1;
        if self.threads.len() <= number {
            self.threads.resize_with(number + 1, || Thread::new(None, SmallVec::new()));
        }
        self.threads[number] = Thread::new(Some(spawn), path);
    }
}
