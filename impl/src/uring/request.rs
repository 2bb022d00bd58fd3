//! Requests, from the moment that they are handed over until they have ended.
//!
//! A [`Request`] is an operation and what becomes of its result, in one box. While it is in flight the box is a raw
//! pointer: nothing of it is touched but what the kernel does not use, and no reference to it claims that nobody else
//! writes there. The completion without `IORING_CQE_F_MORE` is the last one that a request has; with it the pointer
//! becomes a box again.

use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;

use io_uring::{cqueue, squeue};
use slab::Slab;

use super::op::{Done, Multishot, Operation};
use super::support::{Support, Unsupported};
use crate::burst::give_back;
use crate::sync::Native;
use crate::unwind::discard;

/// An operation, and what becomes of its result: an event of the type `T`.
///
/// ```
/// use reveille::uring::{Nop, Request};
/// let request: Request<&str> = Request::new(Nop, |result| if result.is_ok() { "done" } else { "failed" });
/// ```
pub struct Request<T> {
    pending: Box<dyn Pending<T>>,
    flags: squeue::Flags,
    multishot: bool,
}

impl<T: 'static> Request<T> {
    /// An operation that completes once. `then` makes the event; it runs in the reactor's thread, and should not take
    /// long.
    pub fn new<O: Operation>(operation: O, then: impl FnOnce(O::Output) -> T + Send + 'static) -> Self {
        Self::silent(operation, |output| Some(then(output)))
    }

    /// An operation that completes again and again. `each` makes the events; it is told by [`Shot::last`] when no more
    /// will come.
    pub fn multishot<O: Multishot>(
        operation: O,
        mut each: impl FnMut(Shot<O::Item>) -> T + Send + 'static,
    ) -> Self {
        Self::silent_multishot(operation, move |shot| Some(each(shot)))
    }

    /// As [`multishot`](Request::multishot), of an operation whose completions may make no event.
    pub(super) fn silent_multishot<O: Multishot>(
        operation: O,
        each: impl FnMut(Shot<O::Item>) -> Option<T> + Send + 'static,
    ) -> Self {
        let pending = Repeated { operation: UnsafeCell::new(operation), each: UnsafeCell::new(each) };
        Self { pending: Box::new(pending), flags: squeue::Flags::empty(), multishot: true }
    }

    /// As [`new`](Request::new), of an operation that may end without an event.
    pub(super) fn silent<O: Operation>(
        operation: O,
        then: impl FnOnce(O::Output) -> Option<T> + Send + 'static,
    ) -> Self {
        let pending = Once { operation: UnsafeCell::new(operation), then, first: Cell::new(None) };
        Self { pending: Box::new(pending), flags: squeue::Flags::empty(), multishot: false }
    }

    /// Gives it the place where it will stay, and makes its entry.
    pub(super) fn prepare(self) -> Prepared<T> {
        let placed = Placed(NonNull::from(Box::leak(self.pending)));
        // SAFETY: the pointer is from a box, and the kernel has no entry of it yet.
        let entry = unsafe { (*placed.0.as_ptr()).entry() };
        Prepared { placed, entry: entry.flags(self.flags), multishot: self.multishot }
    }

    /// To be done by the kernel's own workers from the start, without an attempt in the caller's thread
    /// (`IOSQE_ASYNC`).
    pub fn in_worker(mut self) -> Self {
        self.flags |= squeue::Flags::ASYNC;
        self
    }
}

/// Makes a chain of requests: each starts when the one before has ended well (`IOSQE_IO_LINK`).
pub(super) fn link<T>(chain: impl IntoIterator<Item = Request<T>>) -> Vec<Request<T>> {
    let mut chain: Vec<_> = chain.into_iter().collect();
    if let [linked @ .., _] = &mut chain[..] {
        linked.iter_mut().for_each(|request| request.flags |= squeue::Flags::IO_LINK);
    }
    chain
}

impl<T> std::fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("flags", &self.flags).field("multishot", &self.multishot).finish()
    }
}

/// A request with its entry, which the kernel does not have yet. Of a chain all are prepared before the first is submitted:
/// an operation may panic when it is asked for its entry, and half a chain would be linked to whatever comes next.
pub(super) struct Prepared<T> {
    placed: Placed<T>,
    entry: squeue::Entry,
    multishot: bool,
}

/// A request in its place, from `Box::leak`. Dropped, it is freed.
struct Placed<T>(NonNull<dyn Pending<T>>);

impl<T> Placed<T> {
    /// It is for the kernel's last completion to end.
    fn into_flight(self) -> NonNull<dyn Pending<T>> {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl<T> Drop for Placed<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is from a box, and nobody else has it: it is not in flight.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// One completion of several.
#[derive(Debug)]
pub struct Shot<I> {
    /// What this one came to.
    pub item: I,
    /// No more will come: the request failed, or was cancelled, or the kernel ended it. To go on, submit it again.
    pub last: bool,
}

/// A request in its box.
///
/// While the request is in flight `shot` only may be called, and the kernel may be reading and writing the operation.
///
/// The result is always taken, as it may be a descriptor; where nobody wants an event any more, none is made of it.
trait Pending<T>: Send {
    fn entry(&mut self) -> squeue::Entry;
    /// A completion that is not the last.
    fn shot(&self, done: Done, events: Events) -> Option<T>;
    /// The last completion.
    fn finish(self: Box<Self>, done: Done, events: Events) -> Option<T>;
}

/// Whether somebody waits for the events of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Events {
    Wanted,
    Unwanted,
}

struct Once<O, F> {
    /// In a cell, as the kernel may write to it while there is a reference to the whole.
    operation: UnsafeCell<O>,
    then: F,
    /// A zero-copy send completes twice, with its result first; the last one only says that the buffer is free.
    first: Cell<Option<Done>>,
}

impl<T, O: Operation, F: FnOnce(O::Output) -> Option<T> + Send> Pending<T> for Once<O, F> {
    fn entry(&mut self) -> squeue::Entry {
        self.operation.get_mut().entry()
    }

    fn shot(&self, done: Done, _: Events) -> Option<T> {
        self.first.set(Some(done));
        None
    }

    fn finish(self: Box<Self>, done: Done, events: Events) -> Option<T> {
        let Self { operation, then, first } = *self;
        let output = operation.into_inner().finish(first.into_inner().unwrap_or(done));
        match events {
            Events::Wanted => then(output),
            Events::Unwanted => {
                discard::<Native>("the destructor of a result", output);
                discard::<Native>("the destructor of an event", then);
                None
            }
        }
    }
}

struct Repeated<O, F> {
    operation: UnsafeCell<O>,
    each: UnsafeCell<F>,
}

impl<T, O: Multishot, F: FnMut(Shot<O::Item>) -> Option<T> + Send> Pending<T> for Repeated<O, F> {
    fn entry(&mut self) -> squeue::Entry {
        self.operation.get_mut().entry()
    }

    fn shot(&self, done: Done, events: Events) -> Option<T> {
        // SAFETY: a shared reference to what the kernel may be using: `Multishot::shot` is promised no more.
        let item = unsafe { &*self.operation.get() }.shot(done);
        // SAFETY: the kernel knows nothing of `each`, and the flight that holds us makes one call at a time.
        let each = unsafe { &mut *self.each.get() };
        if events == Events::Wanted { each(Shot { item, last: false }) } else { None }
    }

    fn finish(self: Box<Self>, done: Done, events: Events) -> Option<T> {
        let Self { operation, each } = *self;
        let item = operation.into_inner().shot(done);
        if events == Events::Wanted { each.into_inner()(Shot { item, last: true }) } else { None }
    }
}

/// The user data of the read of the eventfd.
pub(super) const BELL: u64 = u64::MAX;
/// The user data of requests whose results are of no interest.
pub(super) const IGNORED: u64 = u64::MAX - 1;

/// Names a request in flight: what its cancellation asks for. Never means another request, even when this one has
/// ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    fn new(key: usize, generation: u32) -> Self {
        // So that no token is one of the reactor's own user data.
        let key = u32::try_from(key).ok().filter(|&key| key < IGNORED as u32);
        let key = key.expect("fewer than four billion requests are in flight");
        Self(u64::from(generation) << 32 | u64::from(key))
    }

    fn key(self) -> usize {
        self.0 as u32 as usize
    }

    /// The user data of the request.
    pub(super) fn user_data(self) -> u64 {
        self.0
    }
}

/// The requests that the kernel has, or is going to have with the next `io_uring_enter`.
///
/// Dropped with requests in it, it leaks them: the kernel may be writing into their boxes. The reactor sees to it that
/// it is empty by then, if it can.
pub(super) struct Flights<T> {
    slab: Slab<Flight<T>>,
    /// How many have started: the generation of the next.
    started: u32,
    /// Completions of no request.
    strays: u64,
}

struct Flight<T> {
    token: Token,
    multishot: bool,
    /// What an `EINVAL` of it means.
    lacks: Option<Unsupported>,
    /// From [`Placed`].
    pending: NonNull<dyn Pending<T>>,
}

impl<T: 'static> Flights<T> {
    pub fn new() -> Self {
        Self { slab: Slab::new(), started: 0, strays: 0 }
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// From now on the request is the kernel's. The entry is valid until [`completed`](Flights::completed) has seen the last
    /// completion of the token.
    pub fn start(&mut self, request: Prepared<T>, support: &Support) -> (Token, squeue::Entry) {
        let Prepared { placed, entry, multishot } = request;
        let lacks = support.lacks(&entry);
        let vacant = self.slab.vacant_entry();
        self.started = self.started.wrapping_add(1);
        let token = Token::new(vacant.key(), self.started);
        vacant.insert(Flight { token, multishot, lacks, pending: placed.into_flight() });
        (token, entry.user_data(token.user_data()))
    }

    /// Whether the last completion of the request is still to come.
    pub fn is_in_flight(&self, token: Token) -> bool {
        self.slab.get(token.key()).is_some_and(|flight| flight.token == token)
    }

    /// The requests in flight, or those among them that end by no other means than cancellation.
    pub fn tokens(&self, only_multishot: bool) -> Vec<Token> {
        let flights = self.slab.iter().map(|(_, flight)| flight);
        flights.filter(|flight| flight.multishot || !only_multishot).map(|flight| flight.token).collect()
    }

    /// How many completions belonged to no request.
    pub fn strays(&self) -> u64 {
        self.strays
    }

    /// A completion of a request: its event, if it makes one. Not of one that we have submitted? Then it is counted, and nothing more:
    /// who else has the ring may do what he likes.
    pub fn completed(&mut self, entry: &cqueue::Entry, events: Events) -> Option<T> {
        let token = Token(entry.user_data());
        if !self.is_in_flight(token) {
            self.strays += 1;
            return None;
        }
        if cqueue::more(entry.flags()) {
            let Flight { pending, lacks, .. } = self.slab[token.key()];
            // SAFETY: the pointer is from a box that exists until the last completion. `shot` may run while the kernel
            // uses the operation.
            return unsafe { (*pending.as_ptr()).shot(Done::new(entry, lacks), events) };
        }
        let flight = self.slab.remove(token.key());
        give_back(&mut self.slab);
        // SAFETY: the pointer is from a box, this is the last completion, and the flight is off the slab: nobody else
        // will make a box of it.
        let pending = unsafe { Box::from_raw(flight.pending.as_ptr()) };
        pending.finish(Done::new(entry, flight.lacks), events)
    }
}
