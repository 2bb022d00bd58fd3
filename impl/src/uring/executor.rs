//! A small executor for one thread, which sleeps in a reactor.
//!
//! The reactor's stream is its run queue: the event of an executor's reactor is "this task can go on". A task's waker
//! posts it, from whatever thread, and so wakes the executor through the completion queue like everything else.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use super::error::Error;
use super::future::AsyncHandle;
use super::handle::Handle;
use super::reactor::{Config, Reactor};
use crate::run_queue::Queued;

type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The event of an executor's reactor: this task can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task(usize);

/// The key of the future that `block_on` was given.
const MAIN: usize = usize::MAX;

/// Runs futures in the thread that made it, and sleeps in `io_uring_enter` when none can go on.
///
/// ```
/// use reveille::uring::{Config, Error, Executor, Nop};
///
/// let mut executor = match Executor::new(Config::default()) {
///     Err(Error::Missing | Error::Forbidden) => return, // no io_uring on this machine
///     executor => executor.unwrap(),
/// };
/// let ring = executor.handle();
/// let answer = executor.block_on(async move { ring.submit(Nop).await.map(|_| 42) });
/// assert_eq!(answer.unwrap(), Ok(42));
/// ```
pub struct Executor {
    // Before the reactor: a future that is dropped cancels what it waits for.
    tasks: Slab<Running>,
    spawner: Spawner,
    reactor: Reactor<Task>,
}

struct Running {
    future: LocalFuture,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    key: usize,
    queued: Queued,
    handle: Handle<Task>,
}

impl TaskWaker {
    fn new(key: usize, handle: Handle<Task>) -> Arc<Self> {
        Arc::new(Self { key, queued: Queued::new(), handle })
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.woken() {
            self.handle.post(Task(self.key));
        }
    }
}

/// Starts tasks on an [`Executor`], from its own thread: from inside of other tasks, say.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<Vec<LocalFuture>>>);

impl Spawner {
    /// Runs the future as a task of its own, until it ends or the executor is dropped. It starts when the executor
    /// runs.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(Box::pin(future));
    }
}

impl Executor {
    /// Sets up a reactor for it.
    ///
    /// # Errors
    /// As for [`Reactor::new`].
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { tasks: Slab::new(), spawner: Spawner::default(), reactor: Reactor::new(config)? })
    }

    /// What futures use the reactor by.
    pub fn handle(&self) -> AsyncHandle<Task> {
        self.reactor.handle().into_async()
    }

    /// What starts further tasks.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Runs the future to its end, and the tasks meanwhile. Those that have not ended stay, for the next call.
    ///
    /// # Errors
    /// Of the ring.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        let mut main = pin!(future);
        let main_waker = TaskWaker::new(MAIN, self.reactor.handle());
        let waker = Waker::from(main_waker.clone());
        waker.wake_by_ref(); // the first poll comes as the others do
        let mut ready = Vec::new();
        loop {
            for future in self.spawner.0.take() {
                let vacant = self.tasks.vacant_entry();
                let waker = TaskWaker::new(vacant.key(), self.reactor.handle());
                waker.wake_by_ref();
                vacant.insert(Running { future, waker });
            }
            let turned = self.reactor.turn(&mut ready, None);
            let mut ended = None;
            for Task(key) in ready.drain(..) {
                if key == MAIN && ended.is_none() {
                    main_waker.queued.running();
                    if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                        ended = Some(output); // but the rest of the batch is owed a poll
                    }
                } else if let Some(task) = self.tasks.get_mut(key) {
                    // It may be another task than the one that was woken, if that is over: then the poll is spurious.
                    task.waker.queued.running();
                    let waker = Waker::from(task.waker.clone());
                    if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                        drop(self.tasks.remove(key));
                    }
                }
            }
            if let Some(output) = ended {
                return Ok(output);
            }
            turned?;
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.tasks.clear();
        // Tasks that have not started may hold spawners, and so this list, and so themselves.
        drop(self.spawner.0.take());
    }
}
