//! A small executor for one thread, which sleeps in a reactor.
//!
//! The reactor's stream is its run queue: the event of an executor's reactor is "this task can go on". A task's
//! waker posts it, from whatever thread, and so wakes the executor through the completion queue like everything
//! else.

use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use slab::Slab;

use super::error::Error;
use super::fixed::Fixed;
use super::future::AsyncHandle;
use super::handle::Handle;
use super::provided::BufferRing;
use super::reactor::{Config, Counts, Reactor};
use super::task::{LocalFuture, Spawner};
use crate::burst::give_back;
use crate::pool;
use crate::run_queue::{Queued, Ready};
use crate::sync::{Native, Primitives};
use crate::unwind::{contain, discard, discard_all};

/// The event of an executor's reactor: this task can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task(usize);

/// The key of the future that `block_on` was given.
const MAIN: usize = usize::MAX;

/// Runs futures in the thread that made it, and sleeps in `io_uring_enter` when none can go on.
///
/// A task that panics ends, and whoever [awaits it](super::Spawned) is told; the others go on. A panic of the
/// future that [`block_on`](Executor::block_on) was given goes on to its caller.
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
    /// What the reactor hands out. Not on the stack: a turn may unwind.
    events: Vec<Task>,
    /// Tasks that can go on: taken from there, and still to be polled.
    ready: Ready<Task>,
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
            // If the executor is gone, so is the task.
            let _ = self.handle.post(Task(self.key));
        }
    }
}

impl Executor {
    /// Sets up a reactor for it.
    ///
    /// # Errors
    /// As for [`Reactor::new`].
    pub fn new(config: Config) -> Result<Self, Error> {
        let reactor = Reactor::new(config)?;
        Ok(Self {
            tasks: Slab::new(),
            spawner: Spawner::new(),
            events: Vec::new(),
            ready: Ready::default(),
            reactor,
        })
    }

    /// What futures use the reactor by.
    pub fn handle(&self) -> AsyncHandle<Task> {
        self.reactor.handle().into_async()
    }

    /// What starts further tasks.
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// What the reactor has done so far.
    pub fn counts(&self) -> Counts {
        self.reactor.counts()
    }

    /// What the pool that closures are offloaded to has done so far.
    pub fn pool_stats(&self) -> pool::Stats {
        self.reactor.pool_stats()
    }

    /// Buffers for the reactor, as [`Reactor::provide_buffers`] makes them.
    ///
    /// # Errors
    /// As there.
    pub fn provide_buffers(&mut self, count: u16, size: u32) -> Result<BufferRing, Error> {
        self.reactor.provide_buffers(count, size)
    }

    /// A file for the reactor's table, as [`Reactor::fix`] puts it there.
    ///
    /// # Errors
    /// As there.
    pub fn fix(&mut self, file: impl AsFd) -> Result<Fixed, Error> {
        self.reactor.fix(file)
    }

    /// Runs the future to its end, and the tasks meanwhile. Those that have not ended stay, for the next call.
    ///
    /// # Errors
    /// Of the ring.
    ///
    /// # Panics
    /// If the future does. The tasks that were woken with it are polled before that.
    pub fn block_on<F: Future>(&mut self, future: F) -> Result<F::Output, Error> {
        let mut main = pin!(Some(future));
        let main_waker = TaskWaker::new(MAIN, self.reactor.handle());
        let waker = Waker::from(main_waker.clone());
        waker.wake_by_ref(); // the first poll comes as the others do
        let mut ended = None;
        loop {
            let turned = self.run_batch(None, || {
                let (None, Some(future)) = (&ended, main.as_mut().as_pin_mut()) else { return };
                main_waker.queued.running();
                match Native::catch(|| future.poll(&mut Context::from_waker(&waker))) {
                    Ok(Poll::Pending) => {}
                    // But the rest of the batch is owed a poll.
                    Ok(Poll::Ready(output)) => ended = Some(Ok(output)),
                    Err(panic) => ended = Some(Err(panic)),
                }
            });
            let Some(ended) = ended.take() else {
                turned?;
                continue;
            };
            // Now, and not with the return: there a destructor that panics would take the output with it.
            contain::<Native, _>("the destructor of a future", || main.set(None));
            return Ok(ended.unwrap_or_else(|panic| resume_unwind(panic)));
        }
    }

    /// Polls the tasks that can go on; sleeps until there is one, no longer than `timeout`. For a loop of one's
    /// own, in the place of [`block_on`](Executor::block_on), as [`Reactor::turn`] is.
    ///
    /// # Errors
    /// Of the ring.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.run_batch(timeout, || {})
    }

    /// What to wait for before the next [`turn`](Executor::turn), as [`Reactor::poll_fd`].
    pub fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.reactor.poll_fd()
    }

    /// Announces that the thread is going to wait for [that](Executor::poll_fd), as
    /// [`Reactor::prepare_to_sleep`]. False if a task can go on.
    ///
    /// # Errors
    /// Of the ring.
    pub fn prepare_to_sleep(&mut self) -> Result<bool, Error> {
        self.start();
        Ok(self.ready.is_empty() && self.reactor.prepare_to_sleep()?)
    }

    /// One turn of the reactor, and a poll of each task that can go on by then, or `main` in the place of the
    /// main future's.
    fn run_batch(&mut self, timeout: Option<Duration>, mut main: impl FnMut()) -> Result<(), Error> {
        self.start();
        let turned = self.reactor.turn(&mut self.events, timeout);
        self.ready.extend(self.events.drain(..));
        give_back(&mut self.events);
        while let Some(Task(key)) = self.ready.next() {
            if key == MAIN { main() } else { self.poll(key) }
        }
        turned
    }

    /// Makes tasks of the futures that have been spawned. Their first poll comes as the others do.
    fn start(&mut self) {
        for future in self.spawner.take() {
            let vacant = self.tasks.vacant_entry();
            let waker = TaskWaker::new(vacant.key(), self.reactor.handle());
            waker.wake_by_ref();
            vacant.insert(Running { future, waker });
        }
    }

    /// Polls a task. It may be another than the one that was woken, if that is over: then the poll is spurious.
    fn poll(&mut self, key: usize) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.waker.queued.running();
        let waker = Waker::from(task.waker.clone());
        let polled =
            contain::<Native, _>("a task", || task.future.as_mut().poll(&mut Context::from_waker(&waker)));
        // Its own panics a task keeps for who awaits it. What comes to here is of its destructor, when it is
        // over.
        if polled != Some(Poll::Pending) {
            discard::<Native>("the destructor of a task", self.tasks.remove(key).future);
            give_back(&mut self.tasks);
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // First: a task that is dropped may spawn others. And tasks that have not started may hold spawners,
        // and so the list that they are on.
        let not_started = self.spawner.close();
        let started = self.tasks.drain().map(|task| task.future);
        discard_all::<Native, _>("the destructor of a task", started.chain(not_started));
    }
}
