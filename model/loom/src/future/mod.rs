//! Futures.

mod atomic_waker;

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

pub use self::atomic_waker::AtomicWaker;

use crate::sync::Notify;

/// What wakes a [`block_on`].
struct Wakes(Notify);

impl Wake for Wakes {
    #[track_caller]
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }

    #[track_caller]
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify();
    }
}

/// Polls a future until it is done. It is polled once for no reason in some executions, as a `Notify` may end.
#[track_caller]
pub fn block_on<F>(future: F) -> F::Output
where
    F: Future,
{
    let _ = Location::caller();
    let mut future = pin!(future);
    let wakes = Arc::new(Wakes(Notify::new()));
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => wakes.0.wait(),
        }
    }
}
