//! RC11's canonical form: memories that nobody can tell apart are made equal.
//!
//! Positions are counted, not timestamps kept; and what nobody can find out any more is forgotten:
//!
//! - a message of `x` before the `cur(x)` of every thread that may still touch `x`: it can neither be read nor get a
//!   successor. Positions are counted from the oldest message left, and a position in a view that points to a forgotten
//!   message says nothing and becomes 0;
//! - a message of a lock but the last, and one that a read-modify-write has read if nobody will load it any more;
//! - of the messages that nobody can read any more all but the last, and whether a store may still come before that;
//! - where nobody asks of an old value more than whether it is 0 ([`Future::exact`]), a message that says the same as the one after it,
//!   if nothing can come between them: whoever could read it can read the next, with the same consequences;
//! - `acq` of a thread that executes no acquire fence any more, `rel(x)` of one whose stores to `x` are all releases, the
//!   view of a message of `x` if nobody reads `x` any more, and `sc` if there is no `seq_cst` fence any more;
//! - the order of messages of `x`, if each thread reads `x` at most once, having neither learnt anything nor written there before, and nobody looks at `x` in
//!   the end ([`Future::once`]): what counts is who may read which; and of messages that say the same those that teach least are enough.
//!
//! And what a thread will know for certain before it can make use of it, it may as well know now:
//!
//! - Who is about to execute a `seq_cst` fence knows `acq ⊔ sc`. Who waits with acquire (for a lock, a token) knows what
//!   all know who may end the waiting: the messages that are there, and those who may still write one, if
//!   their writes release.
//! - Where what is learnt is only made use of by a `seq_cst` fence, which teaches `sc` too, it includes `sc` already: `acq` of a thread that
//!   executes no weaker acquire fence, the views of messages that nobody reads with acquire, nor before a weaker acquire fence, and
//!   `rel(x)` of stores that write such messages.
//! - Who takes lock `l` before he touches `x` next will then know what the last unlock of `l` knew, or if it is held, what its holder knows now;
//!   likewise of `sc` and a fence. So he does not keep older messages of `x` from being forgotten.

use smallvec::SmallVec;

use super::{Message, Rc11, Thread, View};
use crate::memory::{Barrier, Footprint, Foreseen, Future, LOCATIONS, Operation, Update, Value};

/// What each thread will know of a location, at least, when it next touches it; everything if it never does.
type Times = SmallVec<[u8; 4]>;

impl Thread {
    /// Forgets what it will not need.
    fn forget(&mut self, future: &Future) {
        let Future { all, unreleased, acquire_fence, .. } = *future;
        if !acquire_fence {
            self.acquire = View::default();
        }
        if unreleased == 0 {
            self.fenced = View::default();
        }
        let fenced = self.fenced;
        self.released.retain(|(location, view)| {
            unreleased & 1 << *location != 0 && *view != fenced.without(usize::from(*location))
        });
        if all == Footprint::default() {
            self.current = View::default();
        }
    }
}

impl Rc11 {
    pub(super) fn forget_all(&mut self, foreseen: &[Foreseen<'_>]) {
        self.foresee(foreseen);
        let union = |what: fn(&Future) -> u16| foreseen.iter().fold(0, |all, (future, _)| all | what(future));
        let (reads, exact) = (union(|future| future.all.reads), union(|future| future.exact));
        let locks = !union(|future| future.unlocked);
        for location in 0..usize::from(self.locations) {
            let (span, bit) = (self.span(location), 1 << location);
            if span.len() == 1 || locks & bit != 0 {
                self.forget_all_but_the_last(location);
                let last = &mut self.messages[span.start];
                // A lock that is held teaches nobody.
                if reads & bit == 0 || locks & bit != 0 && last.value != 0 {
                    last.view = View::default();
                }
                continue;
            }
            let last = span.len() as u8 - 1;
            let mut times = Times::new();
            for (thread, (future, _)) in foreseen.iter().enumerate() {
                let never = !future.touches(location);
                times.push(if never {
                    last
                } else {
                    last.min(self.in_time(foreseen, locks, thread, location))
                });
            }
            let oldest = times.iter().copied().min().unwrap_or(last);
            if oldest > 0 {
                self.messages.drain(span.start..span.start + usize::from(oldest));
                self.ends[location..].iter_mut().for_each(|end| *end -= oldest);
                self.views().for_each(|view| view.0[location] = view.0[location].saturating_sub(oldest));
                times.iter_mut().for_each(|time| *time = time.saturating_sub(oldest));
            }
            self.messages[span.start].glued = false;
            self.forget_unread(foreseen, &mut times, location);
            self.forget_taken(foreseen, &times, location);
        }
        if !foreseen.iter().any(|(future, _)| future.all.full_barrier) {
            self.sc = View::default();
        }
        self.foresee_fences(foreseen);
        for (thread, (future, _)) in self.threads.iter_mut().zip(foreseen) {
            thread.forget(future);
        }
        let once = foreseen.iter().fold(!0, |all, (future, _)| all & future.once) & !locks;
        for x in 0..usize::from(self.locations) {
            if once & 1 << x != 0 {
                self.forget_order(foreseen, exact & 1 << x != 0, x);
            } else if (reads & !exact) & 1 << x != 0 {
                self.forget_the_same(foreseen, locks, x);
            }
        }
    }

    /// Where each thread reads at most once, having learnt nothing before, nobody finds out in which order two messages are that the same
    /// threads may read. And whoever does not read may as well write behind all of them, where everybody may read.
    fn forget_order(&mut self, foreseen: &[Foreseen<'_>], exact: bool, x: usize) {
        let (bit, span) = (1 << x, self.span(x));
        let reads = |thread: usize| foreseen[thread].0.all.reads & bit != 0;
        let readers = || (0..foreseen.len()).filter(|thread| reads(*thread));
        let loads = readers().any(|thread| foreseen[thread].0.loads & bit != 0);
        let exchanges = readers().any(|thread| foreseen[thread].0.all.writes & bit != 0);
        if loads && exchanges {
            // Messages that have been read by a read-modify-write may be read by one thread and not by another.
            return;
        }
        let oldest: SmallVec<[u8; 4]> = self.threads.iter().map(|thread| thread.current.0[x]).collect();
        let how_many_read = |position: u8| readers().filter(|thread| oldest[*thread] <= position).count();
        let mut kept: SmallVec<[(usize, Message); 8]> = SmallVec::new();
        for (position, message) in self.history(x).iter().enumerate() {
            let value = if exact { message.value } else { Value::from(message.value != 0) };
            kept.push((how_many_read(position as u8), Message { value, glued: false, ..*message }));
        }
        kept.retain(|(readers, _)| *readers > 0);
        kept.sort_by_key(|(readers, message)| (*readers, message.value, message.view));
        leave_out_the_worse(&mut kept, if exchanges { readers().count() } else { 1 });
        if kept.is_empty() {
            kept.push((0, Message { value: 0, glued: false, view: View::default() }));
        }
        let last = kept.len() - 1;
        let first_for = |how_many: usize| kept.iter().position(|(readers, _)| *readers >= how_many);
        self.views().for_each(|view| view.0[x] = 0);
        for (thread, (future, _)) in foreseen.iter().enumerate() {
            let place = match reads(thread) {
                true => first_for(how_many_read(oldest[thread])).unwrap_or(last),
                false if future.touches(x) => last,
                false => 0,
            };
            let Thread { current, acquire, .. } = &mut self.threads[thread];
            current.0[x] = place as u8;
            if future.acquire_fence {
                acquire.0[x] = place as u8;
            }
        }
        let fewer = (span.len() - kept.len()) as u8;
        self.messages.splice(span, kept.into_iter().map(|(_, message)| message));
        self.ends[x..].iter_mut().for_each(|end| *end -= fewer);
    }

    /// Of a lock only the last message is of use: whoever does not hold it can only read the last unlock.
    fn forget_all_but_the_last(&mut self, location: usize) {
        let span = self.span(location);
        let older = span.len() - 1;
        if older > 0 {
            self.messages.drain(span.start..span.start + older);
            self.ends[location..].iter_mut().for_each(|end| *end -= older as u8);
            self.views().for_each(|view| view.0[location] = 0);
        }
        self.messages[span.start].glued = false;
    }

    /// Of the messages that nobody can read any more only the last counts, and if nothing may follow it, whether a store may still come
    /// before it.
    fn forget_unread(&mut self, foreseen: &[Foreseen<'_>], times: &mut Times, location: usize) {
        let readers =
            times.iter().zip(foreseen).filter(|(_, (future, _))| future.all.reads & 1 << location != 0);
        let oldest = readers.map(|(time, _)| usize::from(*time)).min();
        let length = self.span(location).len();
        if length == 1 && oldest.is_some() {
            return;
        }
        let unread = oldest.map_or(length, |oldest| oldest.min(length - 1));
        let Some(last) = unread.checked_sub(1) else { return };
        let closed = last + 1 == length || self.taken(location, last);
        let before = (0..last).rev().find(|position| closed && !self.taken(location, *position));
        for position in (0..last).rev().filter(|position| Some(*position) != before) {
            self.remove(location, position);
            times.iter_mut().for_each(|time| *time -= u8::from(usize::from(*time) > position));
        }
        let first = self.span(location).start;
        for message in &mut self.messages[first..=first + usize::from(before.is_some())] {
            // The newest value may be looked at in the end.
            let value = if last + 1 == length { message.value } else { 0 };
            *message = Message { value, glued: false, view: View::default() };
        }
    }

    /// A message that a read-modify-write has read and that nobody will load any more is of no use: its successor says all that it
    /// said, and nothing may come between the two.
    fn forget_taken(&mut self, foreseen: &[Foreseen<'_>], times: &Times, location: usize) {
        let readers = times.iter().zip(foreseen).filter(|(_, (future, _))| future.loads & 1 << location != 0);
        let oldest = readers.map(|(time, _)| usize::from(*time)).min();
        let unread = oldest.unwrap_or(usize::MAX).min(self.span(location).len());
        for position in (0..unread).rev() {
            if self.taken(location, position) {
                self.remove(location, position);
            }
        }
    }

    /// Removes a message; its successor takes its place, with whatever stood before it.
    fn remove(&mut self, location: usize, position: usize) {
        let index = self.span(location).start + position;
        self.messages[index + 1].glued = self.messages[index].glued;
        self.messages.remove(index);
        self.ends[location..].iter_mut().for_each(|end| *end -= 1);
        for view in self.views() {
            if usize::from(view.0[location]) > position {
                view.0[location] -= 1;
            }
        }
    }

    /// Whoever waits will know at least what everybody knows who may end the waiting.
    fn foresee(&mut self, foreseen: &[Foreseen<'_>]) {
        let nothing = View::default();
        loop {
            let mut changed = false;
            for thread in 0..self.threads.len() {
                let least = match foreseen[thread].1 {
                    Some(Operation::Fence(Barrier::SeqCst)) => {
                        let mut least = self.threads[thread].acquire;
                        least.join(&self.sc);
                        least
                    }
                    Some(Operation::Modify { location, order, update: Update::Await { expected, .. } })
                        if order.acquires() =>
                    {
                        let mut least = View([u8::MAX; LOCATIONS]);
                        let at = usize::from(location.0);
                        let oldest = usize::from(self.threads[thread].current.0[at]);
                        for (position, message) in self.history(at).iter().enumerate().skip(oldest) {
                            if message.value == expected && !self.taken(at, position) {
                                least.meet(&message.view);
                            }
                        }
                        for (other, writer) in self.threads.iter().enumerate() {
                            let bit = location.bit();
                            let future = foreseen[other].0;
                            if other != thread && future.all.writes & bit != 0 {
                                let released = future.unreleased & bit == 0;
                                least.meet(if released { &writer.current } else { &nothing });
                            }
                        }
                        if least.0[0] == u8::MAX {
                            continue;
                        }
                        least.without(at)
                    }
                    _ => continue,
                };
                let thread = &mut self.threads[thread];
                let before = thread.current;
                thread.current.join(&least);
                thread.acquire.join(&least);
                changed |= thread.current != before;
            }
            if !changed {
                return;
            }
        }
    }

    /// Where only a `seq_cst` fence makes use of what was learnt, it may as well include `sc` already.
    fn foresee_fences(&mut self, foreseen: &[Foreseen<'_>]) {
        let sc = self.sc;
        if sc == View::default() {
            return;
        }
        // Locations by reading which one may learn something in another way.
        let otherwise = foreseen.iter().fold(0, |all, (future, _)| {
            all | future.acquires | if future.light_fence { future.all.reads } else { 0 }
        });
        for location in (0..usize::from(self.locations)).filter(|location| otherwise & 1 << location == 0) {
            let span = self.span(location);
            self.messages[span].iter_mut().for_each(|message| message.view.join(&sc.without(location)));
        }
        for (thread, (future, _)) in self.threads.iter_mut().zip(foreseen) {
            if future.acquire_fence && !future.light_fence {
                thread.acquire.join(&sc);
            }
            if future.unreleased & otherwise == 0 {
                thread.fenced.join(&sc);
            }
            let here = thread.released.iter_mut().filter(|(location, _)| otherwise & 1 << *location == 0);
            here.for_each(|(location, view)| view.join(&sc.without(usize::from(*location))));
        }
    }

    /// What `thread` will know of `x`, at least, when it next touches it: it takes certain locks first, or executes a
    /// `seq_cst` fence.
    fn in_time(&self, foreseen: &[Foreseen<'_>], locks: u16, thread: usize, x: usize) -> u8 {
        let (future, current) = (foreseen[thread].0, &self.threads[thread].current);
        let fence = if future.fenced & 1 << x != 0 { self.sc.0[x] } else { 0 };
        let mut locks = future.locked[x] & locks;
        let mut known = current.0[x].max(fence);
        while locks != 0 {
            let lock = locks.trailing_zeros() as usize;
            locks &= locks - 1;
            if lock >= usize::from(self.locations) {
                break;
            }
            let last = &self.messages[usize::from(self.ends[lock]) - 1];
            let holds = |other: usize| foreseen[other].0.holds & 1 << lock != 0;
            let mut others = self.threads.iter().enumerate();
            known = known.max(match others.find(|(other, _)| *other != thread && holds(*other)) {
                _ if last.value == 0 => last.view.0[x],
                Some((_, holder)) => holder.current.0[x],
                None => 0,
            });
        }
        known
    }

    /// Where nobody asks of an old value more than whether it is 0, of messages that say the same to whoever reads them and that
    /// nothing can follow any more only the last counts: whoever could read another can read that one.
    fn forget_the_same(&mut self, foreseen: &[Foreseen<'_>], locks: u16, x: usize) {
        if self.span(x).len() == 1 {
            return;
        }
        let writers = (0..foreseen.len()).filter(|thread| foreseen[*thread].0.all.writes & 1 << x != 0);
        let next = writers.map(|writer| self.in_time(foreseen, locks, writer, x)).min().unwrap_or(u8::MAX);
        for position in (0..self.span(x).len() - 1).rev() {
            if !self.taken(x, position) && position >= usize::from(next) {
                continue;
            }
            let index = self.span(x).start + position;
            let message = &mut self.messages[index];
            message.value = Value::from(message.value != 0);
            let (this, after) = (&self.messages[index], &self.messages[index + 1]);
            if (this.value != 0) == (after.value != 0) && this.view == after.view {
                self.remove(x, position);
            }
        }
    }
}

/// Of messages, each with how many threads may read it, leaves out those in whose place `enough` others can be read: they say the same,
/// teach no more, and no fewer threads may read them.
fn leave_out_the_worse(messages: &mut SmallVec<[(usize, Message); 8]>, enough: usize) {
    let mut index = 0;
    while index < messages.len() {
        let (readers, message) = messages[index];
        let others = messages.iter().enumerate().filter(|(other, _)| *other != index);
        let better = others.filter(|(_, (others, other))| {
            *others >= readers && other.value == message.value && other.view.within(&message.view)
        });
        if better.count() >= enough {
            messages.remove(index);
        } else {
            index += 1;
        }
    }
}
