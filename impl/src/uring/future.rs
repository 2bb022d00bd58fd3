//! Operations and closures as futures.
//!
//! A future makes no event of the reactor's stream. The reactor leaves the result in a slot of its own and
//! calls the waker that is there. If that is the waker of an [`Executor`](super::Executor)'s task it posts an
//! event of that executor's reactor; another executor does as it likes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::error::Closed;
use super::handle::{Handle, Ticket};
use super::op::{Multishot, Operation};
use super::request::{Request, Shot};
use super::stream::{Shots, shots};
use crate::pool::{self, Work};
use crate::slot::Slot;
use crate::sync::Native;

/// A reactor, as seen from futures, whatever executor they run on: somebody has to [turn](super::Reactor::turn)
/// the reactor meanwhile. Cheap to clone. It does not keep the reactor alive.
///
/// An [`Executor`](super::Executor) turns its own:
///
/// ```
/// use reveille::pool::Work;
/// use reveille::uring::{Config, Error, Executor, Nop};
///
/// let mut executor = match Executor::new(Config::default()) {
///     Err(Error::Missing | Error::Forbidden) => return, // no io_uring on this machine
///     executor => executor.unwrap(),
/// };
/// let ring = executor.handle();
/// let answer = executor.block_on(async move {
///     ring.submit(Nop).await.unwrap().unwrap();
///     ring.offload(Work::BOUNDED, |_| 6 * 7).await.done()
/// });
/// assert_eq!(answer.unwrap(), Some(42));
/// ```
pub struct AsyncHandle<T: Send + 'static> {
    handle: Handle<T>,
    in_worker: bool,
}

impl<T: Send + 'static> Clone for AsyncHandle<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), ..*self }
    }
}

impl<T: Send + 'static> std::fmt::Debug for AsyncHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncHandle").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> AsyncHandle<T> {
    pub(super) fn new(handle: Handle<T>) -> Self {
        Self { handle, in_worker: false }
    }

    /// The same reactor, where each operation is [done by the kernel's own workers](Request::in_worker) from
    /// the start.
    pub fn in_worker(&self) -> Self {
        Self { handle: self.handle.clone(), in_worker: true }
    }

    fn request(&self, request: Request<T>) -> Option<Ticket> {
        let request = if self.in_worker { request.in_worker() } else { request };
        self.handle.submit(request).ok()
    }

    /// Has the reactor submit an operation, at once.
    ///
    /// Dropping the future cancels it; its buffer and its file are the reactor's until the kernel has done with
    /// them. If the operation has succeeded by then, or does before the cancellation comes, its result is
    /// dropped, and nobody is told: an [accepted](super::Accept) connection is closed, what was read is gone.
    /// [`Closed`] says that the reactor went away before the operation had ended.
    pub fn submit<O: Operation>(&self, operation: O) -> Submitted<O::Output, T>
    where
        O::Output: Send,
    {
        let slot = Slot::new();
        let promise = Promise(Some(slot.clone()));
        let request = Request::silent(operation, move |output| {
            promise.keep(output);
            None
        });
        // If it is dropped right here, the promise is broken and the future says so.
        let ticket = self.request(request);
        Submitted { slot, ticket, handle: self.handle.clone() }
    }

    /// Has the reactor submit an operation that completes again and again, at once.
    ///
    /// Dropping what it returns cancels the operation; what came up to then and was not taken is dropped.
    pub fn stream<O: Multishot>(&self, operation: O) -> Shots<O::Item, T>
    where
        O::Item: Send,
    {
        let (feed, taken) = shots();
        let request = Request::silent_multishot(operation, move |shot: Shot<O::Item>| {
            feed.give(shot.item);
            None
        });
        let ticket = self.request(request);
        Shots::new(taken, ticket, self.handle.clone())
    }

    /// Has the reactor's pool run a closure, at once.
    pub fn offload<R, F>(&self, work: Work, run: F) -> pool::Handle<R>
    where
        R: Send + 'static,
        F: FnOnce(&pool::Context<'_>) -> R + Send + 'static,
    {
        self.handle.offload(work, run)
    }
}

type Answer<V> = Slot<Native, Result<V, Closed>>;

/// The obligation to answer. Dropped, it says that there will be nothing.
struct Promise<V: Send + 'static>(Option<Arc<Answer<V>>>);

impl<V: Send + 'static> Promise<V> {
    fn keep(mut self, value: V) {
        if let Some(slot) = self.0.take() {
            slot.deliver(Ok(value));
        }
    }
}

impl<V: Send + 'static> Drop for Promise<V> {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            slot.deliver(Err(Closed));
        }
    }
}

/// The future of [`AsyncHandle::submit`].
#[must_use = "dropping the future cancels the operation"]
pub struct Submitted<V: Send + 'static, T: Send + 'static> {
    slot: Arc<Answer<V>>,
    /// To cancel it by, until it has ended.
    ticket: Option<Ticket>,
    handle: Handle<T>,
}

impl<V: Send + 'static, T: Send + 'static> Future for Submitted<V, T> {
    type Output = Result<V, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.slot.poll(cx.waker()) {
            Some(result) => {
                self.ticket = None;
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

impl<V: Send + 'static, T: Send + 'static> Drop for Submitted<V, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.cancel(&ticket);
        }
    }
}
