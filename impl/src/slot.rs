//! Where a result waits for whoever wants it.

use std::sync::Arc;
use std::task::Waker;

use crate::sync::{Mutex, Primitives};
use crate::unwind::{contain, discard};

/// A place for one result, and for the waker of whoever waits for it. The lock decides everything: whoever comes second
/// finds what the first left.
pub(crate) struct Slot<P: Primitives, R: Send + 'static>(P::Mutex<Waiting<R>>);

struct Waiting<R> {
    result: Option<R>,
    waker: Option<Waker>,
}

impl<P: Primitives, R: Send + 'static> Slot<P, R> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(P::Mutex::new("handle", Waiting { result: None, waker: None })))
    }

    /// A waker that panics does so to itself: who delivers has more to do, and the result is there.
    pub fn deliver(&self, result: R) {
        let waker = self.0.with(|waiting| {
            waiting.result = Some(result);
            waiting.waker.take()
        });
        if let Some(waker) = waker {
            // Kept: in the pool there is another guard behind it, that of the receiver. In a reactor there is none, and it is not a
            // checker that sees it but a test of the reactor.
            contain::<P, _>("a waker", || waker.wake());
        }
    }

    /// The result, or else `waker` is called when it is there. A waker that panics when it is dropped takes no result with it.
    pub fn poll(&self, waker: &Waker) -> Option<R> {
        let waker = waker.clone();
        let (result, replaced) = self.0.with(|waiting| match waiting.result.take() {
            None => (None, waiting.waker.replace(waker)),
            result => (result, Some(waker)),
        });
        // Outside of the lock: the last reference to a task may do anything.
        discard::<P>("the destructor of a waker", replaced);
        result
    }
}
