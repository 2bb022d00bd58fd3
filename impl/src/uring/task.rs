//! Tasks of an [`Executor`](super::Executor), and how they end.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::sync::{Native, Primitives};
use crate::unwind::{contain, discard, message};

pub(super) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks that have not started; `None` when the executor is gone.
type Queue = Rc<RefCell<Option<Vec<LocalFuture>>>>;

/// Starts tasks on an [`Executor`](super::Executor), from its own thread: from inside of other tasks, say.
#[derive(Clone)]
pub struct Spawner(Queue);

impl Spawner {
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Some(Vec::new()))))
    }

    /// Runs the future as a task of its own, until it ends or the executor is dropped. It starts when the executor runs.
    /// If the executor is gone the future is dropped at once.
    ///
    /// What the task comes to is for the [`Spawned`] to say; without that the task runs on.
    pub fn spawn<F: Future + 'static>(&self, future: F) -> Spawned<F::Output> {
        let spawned = Spawned(Rc::default());
        let promise = Promise(spawned.0.clone());
        let task = Box::pin(async move {
            let promise = promise;
            let mut future = pin!(future);
            let ended = std::future::poll_fn(|cx| match Native::catch(|| future.as_mut().poll(cx)) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(TaskError::Panicked(panic))),
            });
            promise.answer(ended.await);
        });
        let late = match &mut *self.0.borrow_mut() {
            Some(queue) => {
                queue.push(task);
                None
            }
            None => Some(task),
        };
        drop(late); // when the queue is not borrowed: its destructor may spawn
        spawned
    }

    /// The tasks that have been spawned since.
    pub(super) fn take(&self) -> Vec<LocalFuture> {
        self.0.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The same, and there will be no more.
    pub(super) fn close(&self) -> Vec<LocalFuture> {
        self.0.borrow_mut().take().unwrap_or_default()
    }
}

/// What a task comes to, for whoever awaits it: a future. Dropping it lets the task run on.
///
/// ```
/// # use reveille::uring::{Config, Error, Executor, TaskError};
/// # let mut executor = match Executor::new(Config::default()) {
/// #     Err(Error::Missing | Error::Forbidden) => return, // no io_uring on this machine
/// #     executor => executor.unwrap(),
/// # };
/// let spawner = executor.spawner();
/// let answers = executor.block_on(async move {
///     let (good, bad) = (spawner.spawn(async { 42 }), spawner.spawn(async { panic!("oh") }));
///     (good.await.ok(), bad.await.map_err(|error: TaskError| error.to_string()))
/// });
/// let (good, bad): (_, Result<(), _>) = answers.unwrap();
/// assert_eq!((good, bad), (Some(42), Err("the task panicked: oh".into())));
/// ```
pub struct Spawned<T>(Rc<RefCell<Answer<T>>>);

struct Answer<T> {
    ended: Option<Result<T, TaskError>>,
    waker: Option<Waker>,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Self { ended: None, waker: None }
    }
}

impl<T> Future for Spawned<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = self.0.borrow_mut().ended.take();
        if let Some(ended) = ended {
            return Poll::Ready(ended);
        }
        // Cloned and dropped while nothing is borrowed: a waker may do anything then.
        let waker = cx.waker().clone();
        let replaced = self.0.borrow_mut().waker.replace(waker);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> fmt::Debug for Spawned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned").finish_non_exhaustive()
    }
}

/// Why a task has no result.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It panicked with this. The other tasks go on.
    #[error("the task panicked: {}", message(&**.0))]
    Panicked(Box<dyn Any + Send>),
    /// It was dropped before it ended, with its executor.
    #[error("the executor is gone")]
    Dropped,
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => f.debug_tuple("Panicked").field(&message(&**panic)).finish(),
            Self::Dropped => f.write_str("Dropped"),
        }
    }
}

/// The obligation to answer. Dropped, it says that there will be no result.
struct Promise<T>(Rc<RefCell<Answer<T>>>);

impl<T> Promise<T> {
    fn answer(&self, ended: Result<T, TaskError>) {
        let nobody_asks = Rc::strong_count(&self.0) == 1;
        if let (true, Err(error)) = (nobody_asks, &ended) {
            contain::<Native, _>("a subscriber", || tracing::error!("{error}, and nobody waits for it"));
        }
        if nobody_asks {
            return discard::<Native>("the result of a task", ended);
        }
        let waker = {
            let mut answer = self.0.borrow_mut();
            answer.ended = Some(ended);
            answer.waker.take()
        };
        if let Some(waker) = waker {
            contain::<Native, _>("a waker", || waker.wake());
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let kept = self.0.borrow().ended.is_some() || Rc::strong_count(&self.0) == 1;
        if !kept {
            self.answer(Err(TaskError::Dropped));
        }
    }
}
