//! The parker of [`Native`]: one word that three states share, and a futex to sleep on.
//!
//! | state | meaning | left by |
//! |---|---|---|
//! | `EMPTY` | no token, nobody sleeps | `park` → `PARKED`, `unpark` → `TOKEN` |
//! | `PARKED` | no token, the owner sleeps or is about to | `unpark` → `TOKEN` and a wake, timeout → `EMPTY` |
//! | `TOKEN` | a token is there | `park` → `EMPTY` |
//!
//! The race to be won: *the owner has said `PARKED` and is on its way to sleep; an unpark leaves its token and wakes nobody.* The
//! futex decides it: the owner sleeps only if the word is `PARKED` still, and that is looked at under the
//! lock that a wake takes as well.
//!
//! The futex is a trait, so that a checker can put one of its own under this very code.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;
use std::time::{Duration, Instant};

use rustix::thread::futex;

use crate::sync::{Native, Parker, Unparked};
use crate::yielding::{YIELDS, Yielder};

/// A word that a thread can sleep on: on Linux an [`AtomicU32`] and the system call of that name.
#[allow(missing_docs)] // the std documentation of the same names holds
pub trait Futex: Send + Sync + 'static {
    fn new(label: &'static str, value: u32) -> Self;
    #[track_caller]
    fn fetch_sub(&self, value: u32, order: Ordering) -> u32;
    #[track_caller]
    fn swap(&self, value: u32, order: Ordering) -> u32;

    /// Sleeps if the word is `expected`, until a [`wake`](Futex::wake) or until the time is over. May return for no reason.
    fn wait(&self, expected: u32, timeout: Option<Duration>);

    /// Ends the sleep of one thread, if one sleeps.
    fn wake(&self);

    /// Lets some time go by, as long as the word is `expected`, for a wake that is under way. Or does nothing: it
    /// changes nothing.
    fn linger(&self, _expected: u32) {}
}

impl Futex for AtomicU32 {
    fn new(_: &'static str, value: u32) -> Self {
        AtomicU32::new(value)
    }
    #[inline(always)]
    fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.fetch_sub(value, order)
    }
    #[inline(always)]
    fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.swap(value, order)
    }

    fn wait(&self, expected: u32, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| timeout.try_into().ok());
        // Why it returned (a wake, a signal, the time) is of no interest: the word tells.
        let _ = futex::wait(self, futex::Flags::PRIVATE, expected, timeout.as_ref());
    }

    fn wake(&self) {
        let _ = futex::wake(self, futex::Flags::PRIVATE, 1);
    }

    fn linger(&self, expected: u32) {
        thread_local! {
            static YIELDER: RefCell<Yielder> = const { RefCell::new(Yielder::new(YIELDS)) };
        }
        let over = || self.load(Ordering::Relaxed) != expected;
        if !over() {
            YIELDER.with_borrow_mut(|yielder| yielder.yield_until::<Native>(over));
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct FutexParker<F: Futex = AtomicU32> {
    state: F,
}

const EMPTY: u32 = 0;
const PARKED: u32 = u32::MAX;
const TOKEN: u32 = 1;

impl<F: Futex> FutexParker<F> {
    fn park_until(&self, deadline: Option<Instant>) -> Unparked {
        // EMPTY (0) → PARKED (-1), or TOKEN (1) → EMPTY (0): one subtraction does either.
        // Acquire: pairs with the release swap of `state` in `leave_token`; without it the woken thread might not see what it
        // was woken for.
        if self.state.fetch_sub(1, Ordering::Acquire) == TOKEN {
            return Unparked::Token;
        }
        // The kernel compares the word again under its own lock, so an `unpark` before this call makes it return at
        // once.
        self.state.wait(PARKED, deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())));
        // A swap and not a load: it takes the token and withdraws PARKED in one step, so that an `unpark` at the same
        // time either is seen here or leaves its token for the next park. Acquire: pairs with the release swap of
        // `state` in `leave_token`, as above.
        match self.state.swap(EMPTY, Ordering::Acquire) {
            TOKEN => Unparked::Token,
            _ => Unparked::Early,
        }
    }

    fn leave_token(&self) {
        // Release: pairs with the acquire fetch_sub of `state` in `park_until`, and with the acquire swap of `state` in
        // `park_until`. A swap and not a store: it must know whether somebody sleeps, in the same step in which it leaves
        // the token.
        if self.state.swap(TOKEN, Ordering::Release) == PARKED {
            self.state.wake();
        }
    }
}

impl<F: Futex> Parker for FutexParker<F> {
    fn new(label: &'static str) -> Self {
        Self { state: F::new(label, EMPTY) }
    }

    fn park(&self) {
        // Where the token is soon there, that saves its giver and its taker a system call.
        self.state.linger(EMPTY);
        self.park_until(None);
    }

    fn park_timeout(&self, timeout: Duration) -> Unparked {
        self.park_until(Instant::now().checked_add(timeout))
    }

    fn unpark(&self) {
        self.leave_token();
    }
}

impl<F: Futex> Wake for FutexParker<F> {
    fn wake(self: Arc<Self>) {
        self.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_token_left_before_the_park_is_taken_at_once() {
        let parker: FutexParker = FutexParker::new("parker");
        parker.unpark();
        parker.unpark();
        assert_eq!(parker.park_timeout(Duration::ZERO), Unparked::Token);
        assert_eq!(parker.park_timeout(Duration::ZERO), Unparked::Early, "there is one token, not two");
    }

    #[test]
    fn a_parked_thread_is_woken_and_sees_what_came_before_the_unpark() {
        let parker: Arc<FutexParker> = Arc::new(FutexParker::new("parker"));
        let value = Arc::new(AtomicUsize::new(0));
        let waker = std::thread::spawn({
            let (parker, value) = (parker.clone(), value.clone());
            move || {
                std::thread::sleep(Duration::from_millis(5));
                value.store(7, Ordering::Relaxed);
                parker.unpark();
            }
        });
        while parker.park_timeout(Duration::from_secs(10)) == Unparked::Early {}
        assert_eq!(value.load(Ordering::Relaxed), 7);
        waker.join().unwrap();
    }
}
