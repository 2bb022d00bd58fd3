//! Foreign code, and what becomes of its panics.
//!
//! Closures, wakers, predicates and destructors are the user's, and each may panic. A panic must not take with it what
//! belongs to others: the jobs behind this one, the wakes that are still to be called, the worker. There are two ways,
//! and each place that calls foreign code takes one:
//!
//! - *the panic ends here* ([`contain`], [`discard`]): it is logged. So wherever nobody is there to whom it could go, as
//!   in a worker, or in a destructor;
//! - *the panic goes on when all is in order* ([`Deferred`]): where the caller's own code panicked.
//!
//! | foreign code | called by | a panic |
//! |---|---|---|
//! | a job, its receiver, what they hold | worker, cancellation, refusal | ends here |
//! | a waker of the wait queue | whoever notifies | goes on, when all have been called |
//! | the same | a wait that has found something, a destructor while a panic is on its way | ends here |
//! | a waker of a handle or a task | whoever delivers | ends here |
//! | a waker that is cloned | whoever registers, polls or exchanges it | goes on: nothing has been changed by then, and no lock is held |
//! | a waker that another one takes the place of, when it is dropped | an exchange in a waiter | goes on: the other one is in its place |
//! | the same | a poll of a handle | ends here |
//! | what was panicked with, when it is dropped | all of these | ends here, and what *that* panics with is leaked |
//! | a subscriber of the traces | a worker, a log of ours | ends here |
//! | a look | `WaitQueue::until`, `Waiter::look` | goes on, when the wake has been passed on |
//! | a predicate of a cancellation, an iterator of a batch | its caller | goes on: nothing has been taken out by then |
//! | a task | its executor | is its handle's to tell |
//! | the main future | `Executor::block_on` | goes on, when its batch has been polled |
//! | `then`, `Operation::entry`, `finish`, `shot`, what a buffer does in these | a turn | goes on: nothing that was taken out is on the stack |
//! | the same, and destructors | the drop of a reactor, an executor, a completion queue | ends here |
//!
//! Rust itself sets a limit: a value with two parts that both panic when they are dropped aborts the process.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::resume_unwind;

use crate::sync::Primitives;

type Panic = Box<dyn Any + Send>;

/// Runs foreign code. If it panics that is logged, as of `what`, and nothing returned.
///
/// `#[track_caller]`, as all guards: a checker takes out the one at a line.
#[inline]
#[track_caller]
pub(crate) fn contain<P: Primitives, R>(what: &'static str, body: impl FnOnce() -> R) -> Option<R> {
    match P::catch(body) {
        Ok(result) => Some(result),
        Err(panic) => {
            log::<P>(what, panic);
            None
        }
    }
}

/// Drops what is foreign.
#[inline]
#[track_caller]
pub(crate) fn discard<P: Primitives>(what: &'static str, value: impl Sized) {
    contain::<P, _>(what, || drop(value));
}

/// Drops what is foreign, each for itself.
#[track_caller]
pub(crate) fn discard_all<P: Primitives, T>(what: &'static str, values: impl IntoIterator<Item = T>) {
    // No `for_each`: its closure would be the caller.
    for value in values {
        discard::<P>(what, value);
    }
}

#[cold]
fn log<P: Primitives>(what: &'static str, panic: Panic) {
    // A subscriber is foreign as well. Unreached: no scenario has one.
    if let Err(another) = P::catch(|| tracing::error!("{what} panicked: {}", message(&*panic))) {
        discard_payload::<P>(another);
    }
    discard_payload::<P>(panic);
}

/// Drops what was panicked with. If that panics too, what *that* panicked with is leaked: the chain has to end.
pub(crate) fn discard_payload<P: Primitives>(panic: Panic) {
    // Unreached: the payloads that checkers let through have no destructor.
    if let Err(another) = P::catch(|| drop(panic)) {
        std::mem::forget(another);
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Several calls of foreign code that are all to be made: the first panic goes on [afterwards](Deferred::resume), the others are logged.
pub(crate) struct Deferred<P: Primitives> {
    first: Option<Panic>,
    primitives: PhantomData<P>,
}

impl<P: Primitives> Deferred<P> {
    pub fn new() -> Self {
        Self { first: None, primitives: PhantomData }
    }

    /// Makes one of the calls.
    #[inline]
    #[track_caller]
    pub fn call(&mut self, what: &'static str, body: impl FnOnce()) {
        if let Err(panic) = P::catch(body) {
            match self.first {
                None => self.first = Some(panic),
                Some(_) => log::<P>(what, panic),
            }
        }
    }

    /// All have been made. Where a panic is on its way already, as in a destructor that it calls, a second one would end the process:
    /// it is logged.
    #[inline]
    pub fn resume(self) {
        match self.first {
            None => {}
            Some(panic) if std::thread::panicking() => log::<P>("a waker", panic),
            Some(panic) => resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::sync::Native;

    /// Panics when it is dropped, with another such.
    struct Endless;

    impl Drop for Endless {
        fn drop(&mut self) {
            resume_unwind(Box::new(Endless));
        }
    }

    #[test]
    fn a_payload_that_panics_with_a_payload_that_panics_comes_to_an_end() {
        assert_eq!(contain::<Native, ()>("a test", || resume_unwind(Box::new(Endless))), None);
        discard::<Native>("a test", Endless);
    }

    #[test]
    fn all_calls_are_made_and_the_first_panic_goes_on() {
        let made = Cell::new(0);
        let panic = Native::catch(|| {
            let mut calls = Deferred::<Native>::new();
            for i in 0..3 {
                calls.call("a test", || {
                    made.set(made.get() + 1);
                    if i > 0 {
                        resume_unwind(Box::new(i));
                    }
                });
            }
            calls.resume();
        });
        assert_eq!((made.get(), panic.unwrap_err().downcast_ref()), (3, Some(&1)));
    }
}
