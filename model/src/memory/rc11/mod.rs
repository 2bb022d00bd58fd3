//! RC11 as a view machine.
//!
//! RC11 (Lahav, Vafeiadis, Kang, Hur, Dreyer, PLDI 2017) judges whole executions; this machine builds them one step
//! at a time, as the promising semantics (Kang et al., POPL 2017) does, without promises: RC11 forbids cycles of
//! program order and reads-from, so nothing is ever read before it is written.
//!
//! Every location has a **history**: its messages in modification order. A **view** says, for every location, the
//! position of the oldest message that may still be read or overwritten by whoever has the view. Views are ordered
//! pointwise; `⊔` is the pointwise maximum. `m.view` is what reading message `m` with acquire teaches.
//!
//! Thread `t` has `cur`, what it knows; `acq ⊒ cur`, what it will know after its next acquire fence; and for every
//! location `x` the view `rel(x) ⊑ cur`, what its next relaxed store to `x` will teach. There is one view `sc`.
//!
//! | operation | rule |
//! |---|---|
//! | load of `x` | pick any `m` in the history of `x` at or after `cur(x)`; `cur(x) := m`; `acq := acq ⊔ m.view`; if acquire also `cur := cur ⊔ m.view` |
//! | store to `x` | pick any place in the history after `cur(x)`, but none between a read-modify-write and the message it read; insert `m` there; `cur(x) := m`; if release `rel(x) := cur`; `m.view := rel(x) ⊔ [x ↦ m]` |
//! | read-modify-write of `x` | a load of a message that no read-modify-write has read yet, and a store right after it; `m.view` includes the view of the message that was read |
//! | acquire fence | `cur := acq` |
//! | release fence | `rel(x) := cur` for every `x` |
//! | `seq_cst` fence | an acquire fence; `cur := sc := cur ⊔ sc`; a release fence |
//!
//! Why this is RC11:
//!
//! - *Coherence.* `cur(x)` covers every write and read of `x` that happens before, so reads and writes never go back
//!   in modification order. A store may be **inserted** before stores that were executed earlier, because
//!   modification order need not be the order of execution.
//! - *Atomicity.* A read-modify-write and the message it read stay neighbours.
//! - *Release sequences.* `rel(x)` outlives a release store to `x`, so later relaxed stores to `x` by the same thread
//!   carry it; a read-modify-write passes on what it read.
//! - *Fences.* `acq` collects what relaxed reads would have taught; `rel(x)` after a release fence teaches it.
//! - *`psc` for fences.* A fence later in the step order knows everything an earlier one knew. RC11 demands this only
//!   if the earlier fence is connected to the later one by happens-before, or by that and one `eco` step: two fences
//!   that only a third thread's relaxed accesses connect may go either way in RC11. This machine orders them as it
//!   executed them: it has all behaviours of RC11 in which the order of `seq_cst` fences agrees with `sb ∪ rf`,
//!   and no others.
//!
//! Memories that nobody can tell apart are made equal ([`forget`]); of those that still differ some can do all that others can
//! ([`cover`]).

mod forget;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use smallvec::SmallVec;

use super::{
    Barrier, Effect, Footprint, Foreseen, LOCATIONS, Limit, Location, Machine, Operation, Order, Outcome,
    Value, cover,
};

/// For every location the position of the oldest message that may still be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct View([u8; LOCATIONS]);

impl Hash for View {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl View {
    /// `self := self ⊔ other`
    fn join(&mut self, other: &View) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).max(other);
        }
    }

    /// `self := self ⊓ other`
    fn meet(&mut self, other: &View) {
        for (mine, other) in self.0.iter_mut().zip(other.0) {
            *mine = (*mine).min(other);
        }
    }

    /// `self ⊑ other`
    fn within(&self, other: &View) -> bool {
        self.0.iter().zip(other.0).all(|(mine, other)| *mine <= other)
    }

    fn raise(&mut self, location: usize, position: u8) {
        self.0[location] = self.0[location].max(position);
    }

    /// What a message at `location` has to say: its readers know its own position anyway.
    fn without(mut self, location: usize) -> View {
        self.0[location] = 0;
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Message {
    value: Value,
    /// Written by a read-modify-write that read the message before it: nothing may come between the two
    glued: bool,
    /// What an acquire read of this message teaches
    view: View,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Thread {
    current: View,
    acquire: View,
    /// `rel(x)` for every `x` without an entry in `released`: `cur` at the last release fence
    fenced: View,
    /// `rel(x)` where a release store to `x` came after the last release fence, by location
    released: SmallVec<[(u8, View); 1]>,
}

impl Clone for Thread {
    /// As derived, but the views are copied at once and not one by one.
    fn clone(&self) -> Self {
        let Thread { current, acquire, fenced, ref released } = *self;
        Thread { current, acquire, fenced, released: SmallVec::from_slice(released) }
    }
}

impl Thread {
    fn release_view(&self, location: usize) -> View {
        match self.released.iter().find(|(l, _)| usize::from(*l) == location) {
            Some((_, view)) => *view,
            None => self.fenced,
        }
    }

    fn note_release_store(&mut self, location: usize) {
        let view = self.current.without(location);
        match self.released.binary_search_by_key(&location, |(l, _)| usize::from(*l)) {
            Ok(index) => self.released[index].1 = view,
            Err(index) => self.released.insert(index, (location as u8, view)),
        }
    }

    fn fence(&mut self, barrier: Barrier, sc: &mut View) {
        if barrier != Barrier::Release {
            self.current = self.acquire;
        }
        if barrier == Barrier::SeqCst {
            self.current.join(sc);
            self.acquire = self.current;
            *sc = self.current;
        }
        if barrier != Barrier::Acquire {
            self.fenced = self.current;
            self.released.clear();
        }
    }

    /// Learns from reading a message.
    fn read(&mut self, location: usize, position: u8, view: &View, order: Order) {
        self.current.raise(location, position);
        self.acquire.raise(location, position);
        self.acquire.join(view);
        if order.acquires() {
            self.current.join(view);
        }
    }

    fn views(&mut self) -> impl Iterator<Item = &mut View> {
        let released = self.released.iter_mut().map(|(_, view)| view);
        [&mut self.current, &mut self.acquire, &mut self.fenced].into_iter().chain(released)
    }
}

/// Memory under RC11.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rc11 {
    /// The histories of all locations, one after the other, each in modification order
    messages: Vec<Message>,
    /// Where each history ends
    ends: [u8; LOCATIONS],
    locations: u8,
    threads: Vec<Thread>,
    /// What the last `seq_cst` fence knew
    sc: View,
}

impl Rc11 {
    fn span(&self, location: usize) -> Range<usize> {
        let start = if location == 0 { 0 } else { self.ends[location - 1] };
        usize::from(start)..usize::from(self.ends[location])
    }

    fn history(&self, location: usize) -> &[Message] {
        &self.messages[self.span(location)]
    }

    fn views(&mut self) -> impl Iterator<Item = &mut View> {
        let messages = self.messages.iter_mut().map(|message| &mut message.view);
        let threads = self.threads.iter_mut().flat_map(Thread::views);
        messages.chain(threads).chain([&mut self.sc])
    }

    /// Has a read-modify-write read the message at `position`?
    fn taken(&self, location: usize, position: usize) -> bool {
        self.history(location).get(position + 1).is_some_and(|next| next.glued)
    }

    /// `thread` writes a message at `position`, moving the ones from there on. `read` is the view of the message that
    /// a read-modify-write read.
    fn write(
        &mut self,
        thread: usize,
        location: usize,
        position: usize,
        value: Value,
        order: Order,
        read: Option<View>,
    ) -> Result<(), Limit> {
        let span = self.span(location);
        let place = position as u8;
        if self.messages.len() == usize::from(u8::MAX) {
            return Err(Limit::Messages);
        }
        if position < span.len() {
            for view in self.views() {
                if view.0[location] >= place {
                    view.0[location] += 1;
                }
            }
        }
        let writer = &mut self.threads[thread];
        writer.current.raise(location, place);
        writer.acquire.raise(location, place);
        if order.releases() {
            writer.note_release_store(location);
        }
        let mut view = writer.release_view(location);
        if let Some(read) = read {
            view.join(&read);
        }
        let message = Message { value, glued: read.is_some(), view: view.without(location) };
        self.messages.insert(span.start + position, message);
        self.ends[location..].iter_mut().for_each(|end| *end += 1);
        Ok(())
    }
}

impl Machine for Rc11 {
    const FORGETS: bool = true;

    fn new(values: &[Value], threads: usize) -> Result<Self, Limit> {
        if values.len() > LOCATIONS {
            return Err(Limit::Locations(values.len()));
        }
        let thread = Thread {
            current: View::default(),
            acquire: View::default(),
            fenced: View::default(),
            released: SmallVec::new(),
        };
        let message = |value: &Value| Message { value: *value, glued: false, view: View::default() };
        Ok(Rc11 {
            messages: values.iter().map(message).collect(),
            ends: std::array::from_fn(|location| (location + 1).min(values.len()) as u8),
            locations: values.len() as u8,
            threads: vec![thread; threads],
            sc: View::default(),
        })
    }

    fn order(&self, one: usize, other: usize) -> Ordering {
        self.threads[one].cmp(&self.threads[other])
    }

    fn exchange(&mut self, one: usize, other: usize) {
        self.threads.swap(one, other);
    }

    fn outcomes(
        self,
        thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        let (location, order) = match operation {
            Operation::Load { location, order }
            | Operation::Store { location, order, .. }
            | Operation::Modify { location, order, .. } => (usize::from(location.0), order),
            Operation::Fence(barrier) => {
                let mut machine = self;
                let Rc11 { threads, sc, .. } = &mut machine;
                threads[thread].fence(barrier, sc);
                found.push(Outcome { read: None, written: None, stale: false, machine });
                return Ok(());
            }
        };
        // Of each message that the thread may still read whether it can be read, and in which order, and what can be written after it.
        let history = self.history(location);
        let oldest = usize::from(self.threads[thread].current.0[location]);
        let deeds = (oldest..history.len()).filter_map(|position| {
            let free = !self.taken(location, position);
            let (reads, writes) = match operation {
                Operation::Load { .. } => (Some(order), None),
                Operation::Store { value, .. } if free => (None, Some(value)),
                Operation::Modify { update, .. } => match update.on(history[position].value) {
                    Effect::Write(value) if free => (Some(order), Some(value)),
                    Effect::FailingRead(failure) => (Some(failure), None),
                    Effect::Write(_) | Effect::Wait => return None,
                },
                _ => return None,
            };
            Some((position, reads, writes))
        });
        let deeds: SmallVec<[_; 8]> = deeds.collect();
        let (length, last) = (history.len(), deeds.len());
        let mut this = Some(self);
        for (number, (position, reads, writes)) in deeds.into_iter().enumerate() {
            let machine = if number + 1 == last { this.take() } else { this.clone() };
            let Some(mut machine) = machine else { break };
            let message = machine.history(location)[position];
            if let Some(order) = reads {
                machine.threads[thread].read(location, position as u8, &message.view, order);
            }
            if let Some(value) = writes {
                let read = reads.map(|_| message.view);
                machine.write(thread, location, position + 1, value, order, read)?;
            }
            let (read, stale) = (reads.map(|_| message.value), reads.is_some() && position + 1 < length);
            found.push(Outcome { read, written: writes, stale, machine });
        }
        Ok(())
    }

    fn keep(&self, class: &mut impl Hasher, kept: &mut Vec<u8>) {
        let (mut several, mut begin) = (SmallVec::<[u8; LOCATIONS]>::new(), 0);
        kept.push(self.locations);
        for location in 0..self.locations {
            let end = self.ends[usize::from(location)];
            kept.push(end - begin);
            class.write_i32(self.messages[usize::from(end) - 1].value);
            if end - begin > 1 {
                several.push(location);
            }
            begin = end;
        }
        for location in &several {
            let history = self.history(usize::from(*location));
            for message in &history[..history.len() - 1] {
                kept.extend_from_slice(&message.value.to_ne_bytes());
            }
        }
        for location in &several {
            kept.extend(
                self.history(usize::from(*location))[1..].iter().map(|message| u8::from(message.glued)),
            );
        }
        for thread in &self.threads {
            thread.released.iter().for_each(|(location, _)| class.write_u8(*location));
            class.write_u8(u8::MAX);
        }
        if several.is_empty() {
            return;
        }
        let views = self.messages.len()
            + self.threads.iter().map(|thread| 3 + thread.released.len()).sum::<usize>()
            + 1;
        let begin = kept.len();
        kept.resize(begin + several.len() * views, 0);
        let mut rows = kept[begin..].chunks_exact_mut(several.len());
        let mut keep = |view: &View| {
            for (byte, location) in rows.next().into_iter().flatten().zip(&several) {
                *byte = view.0[usize::from(*location)];
            }
        };
        self.messages.iter().for_each(|message| keep(&message.view));
        for Thread { current, acquire, fenced, released } in &self.threads {
            [current, acquire, fenced].into_iter().for_each(&mut keep);
            released.iter().for_each(|(_, view)| keep(view));
        }
        keep(&self.sc);
    }

    fn covers(this: &[u8], other: &[u8], awaited: u16) -> bool {
        cover::covers(this, other, awaited)
    }

    fn knows_no_less(&self, other: &Self, thread: usize, awaited: u16) -> bool {
        let (this, other) = (&self.threads[thread], &other.threads[thread]);
        let more = |this: &View, other: &View| {
            let columns = this.0.iter().zip(other.0).enumerate();
            let awaited = |location: usize| awaited & 1 << location != 0;
            other.within(this) && columns.filter(|(x, _)| awaited(*x)).all(|(_, (mine, its))| *mine == its)
        };
        more(&this.current, &other.current) && more(&this.acquire, &other.acquire)
    }

    fn lacks(&self, thread: usize, location: Location, value: Value) -> bool {
        let at = usize::from(location.0);
        let history = self.history(at);
        if let [only] = history {
            return only.value != value;
        }
        let mut readable = usize::from(self.threads[thread].current.0[at])..history.len();
        readable.all(|position| self.taken(at, position) || history[position].value != value)
    }

    /// A store may be inserted anywhere; only what reads depends on what was written before.
    fn moves_left(step: Footprint, others: Footprint) -> bool {
        step.reads & others.writes == 0 && !(step.full_barrier && others.full_barrier)
    }

    /// An old message may be read late; only what was written is missed by who comes before.
    fn moves_right(step: Footprint, others: Footprint) -> bool {
        step.writes & others.reads == 0 && !(step.full_barrier && others.full_barrier)
    }

    fn newest(&self, location: Location) -> Value {
        self.messages[self.span(usize::from(location.0)).end - 1].value
    }

    fn forget(&mut self, futures: &[Foreseen<'_>]) {
        self.forget_all(futures);
    }
}
