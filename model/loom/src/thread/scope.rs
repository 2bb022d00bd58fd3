//! Threads that borrow from the one that starts them. loom has none.

use std::cell::{RefCell, UnsafeCell};
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Arc;
use std::{fmt, mem};

use reveille_model::code;

use super::{JoinHandle, Outcome, Thread, start_code};
use crate::rt::spin;

/// Where threads are started that are over before it is left.
pub struct Scope<'scope, 'env: 'scope> {
    /// The threads that have not been waited for
    threads: RefCell<Vec<code::Thread>>,
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// A thread of a scope.
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    _scope: PhantomData<&'scope ()>,
}

/// Gives a scope to `body`, and waits for all threads that were started in it.
#[track_caller]
pub fn scope<'env, F, T>(body: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { threads: RefCell::default(), _scope: PhantomData, _env: PhantomData };
    // A panic must not leave it before the threads do. An execution that is taken down ends the threads that
    // were started last first.
    let result = panic::catch_unwind(AssertUnwindSafe(|| body(&scope)));
    loop {
        let Some(thread) = scope.threads.borrow_mut().pop() else { break };
        spin::breaks();
        thread.join();
    }
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a thread.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, body: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let outcome = Arc::new(Outcome { value: UnsafeCell::new(None) });
        let leaves = outcome.clone();
        let body: Box<dyn FnOnce() + 'scope> = Box::new(move || leaves.leave(body()));
        // SAFETY: the code and all that it has borrowed is gone when the thread has ended, and `scope` does not return
        // before, nor unwind. Where the execution is taken down instead, this thread is unwound before
        // the one that has started it, or never has run.
        let body = unsafe { mem::transmute::<Box<dyn FnOnce() + 'scope>, Box<dyn FnOnce() + 'static>>(body) };
        let (native, thread) = start_code(None, body, Location::caller());
        self.threads.borrow_mut().push(native.clone());
        ScopedJoinHandle { handle: JoinHandle { native, thread, outcome }, _scope: PhantomData }
    }
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// As [`JoinHandle::join`].
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        self.handle.join()
    }

    /// The thread.
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").finish_non_exhaustive()
    }
}
