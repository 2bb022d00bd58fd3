//! Operations that complete again and again, as futures.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::handle::{Handle, Ticket};
use crate::burst::give_back;
use crate::sync::Native;
use crate::unwind::contain;

/// What [`AsyncHandle::stream`](super::AsyncHandle::stream) returns: the completions of a multishot operation,
/// one after the other. Those that nobody has taken yet are kept.
#[must_use = "dropping it cancels the operation"]
pub struct Shots<I, T: Send + 'static> {
    kept: Kept<I>,
    /// To cancel it by.
    ticket: Option<Ticket>,
    handle: Handle<T>,
}

impl<I, T: Send + 'static> Shots<I, T> {
    pub(super) fn new(kept: Kept<I>, ticket: Option<Ticket>, handle: Handle<T>) -> Self {
        Self { kept, ticket, handle }
    }

    /// The next one, when there is one; `None` after the last, as when the kernel has ended the operation or
    /// the reactor is gone. To go on, submit it again.
    pub async fn next(&mut self) -> Option<I> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, in a poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<I>> {
        // Cloned and dropped outside of the lock: a waker may do anything then.
        let waker = cx.waker().clone();
        let mut state = self.kept.state();
        if let Some(item) = state.items.pop_front() {
            give_back(&mut state.items);
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let replaced = state.waker.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<I, T: Send + 'static> Drop for Shots<I, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.cancel(&ticket);
        }
        let items = {
            let mut state = self.kept.state();
            // From now on what comes is dropped where it comes.
            state.ended = true;
            std::mem::take(&mut state.items)
        };
        drop(items);
    }
}

impl<I, T: Send + 'static> fmt::Debug for Shots<I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shots").finish_non_exhaustive()
    }
}

/// Both ends of a stream.
pub(super) fn shots<I>() -> (Feed<I>, Kept<I>) {
    let state = State { items: VecDeque::new(), waker: None, ended: false };
    let kept = Kept(Arc::new(Mutex::new(state)));
    (Feed(Kept(kept.0.clone())), kept)
}

pub(super) struct Kept<I>(Arc<Mutex<State<I>>>);

struct State<I> {
    items: VecDeque<I>,
    waker: Option<Waker>,
    /// No more will come, or is wanted.
    ended: bool,
}

impl<I> Kept<I> {
    fn state(&self) -> MutexGuard<'_, State<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the reactor puts completions into. Dropped, it says that there will be no more.
pub(super) struct Feed<I>(Kept<I>);

impl<I> Feed<I> {
    pub fn give(&self, item: I) {
        let (late, waker) = {
            let mut state = self.0.state();
            match state.ended {
                true => (Some(item), None),
                false => {
                    state.items.push_back(item);
                    (None, state.waker.take())
                }
            }
        };
        wake(waker);
        drop(late);
    }
}

impl<I> Drop for Feed<I> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.state();
            state.ended = true;
            state.waker.take()
        };
        wake(waker);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        contain::<Native, _>("a waker", || waker.wake());
    }
}
