//! A condition variable: a list of tokens of the threads that wait, under a lock of its own.
//!
//! Which of the waiting threads is woken is a choice: the standard library promises no order. The lock and
//! the tokens are relaxed: that a notification was seen orders nothing. The mutex of the wait does.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location as Source;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LockResult};
use std::time::Duration;

use reveille_model::code::{self, Kind, Late};
use reveille_model::graphs::{Op, Value};

use super::MutexGuard;
use crate::rt::rules::{Rule, without};
use crate::rt::{self, At, Freak};

/// A condition variable.
pub struct Condvar {
    late: Late,
    waiting: RefCell<Waiting>,
}

/// The threads that wait.
struct Waiting {
    /// In which run: one in a static begins anew in each
    run: u64,
    tokens: Vec<Arc<Late>>,
}

// SAFETY: the list is used under the lock, and the engine runs one thread at a time.
unsafe impl Sync for Condvar {}
// SAFETY: the same.
unsafe impl Send for Condvar {}

/// The token of a wait. It is for the next operation.
fn location(token: &Late) -> code::Location {
    token.location("Condvar's wait", Kind::Token, |_| 0)
}

/// Whether a wait has ended because its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it has.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A new one.
    #[track_caller]
    pub const fn new() -> Self {
        Condvar { late: Late::new(), waiting: RefCell::new(Waiting { run: 0, tokens: Vec::new() }) }
    }

    /// Does something with the list, under the lock.
    fn locked<R>(&self, source: At, body: impl FnOnce(&mut Vec<Arc<Late>>) -> R) -> R {
        let lock = self.late.location("Condvar", Kind::Lock, |_| 0);
        rt::acquire(lock, Relaxed, source);
        let result = {
            let waiting = &mut *self.waiting.borrow_mut();
            let run = code::run();
            if waiting.run != run {
                *waiting = Waiting { run, tokens: Vec::new() };
            }
            body(&mut waiting.tokens)
        };
        rt::store(lock, 0, Relaxed, source);
        result
    }

    /// Gives the lock back, waits for a notification, and takes the lock again.
    ///
    /// # Errors
    /// None: a lock is never poisoned.
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_at(&guard, false, Source::caller());
        Ok(guard)
    }

    /// The same, until `condition` is false.
    ///
    /// # Errors
    /// None: a lock is never poisoned.
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        let source = Source::caller();
        while condition(&mut guard) {
            self.wait_at(&guard, false, source);
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait). That the time is over happens as often as `LOOM_TIMEOUTS` says.
    ///
    /// # Errors
    /// None: a lock is never poisoned.
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        duration: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let _ = duration;
        let timed_out = self.wait_at(&guard, true, Source::caller());
        Ok((guard, WaitTimeoutResult(timed_out)))
    }

    /// Whether the time was over.
    fn wait_at<T: ?Sized>(&self, guard: &MutexGuard<'_, T>, has_limit: bool, source: At) -> bool {
        let token = Arc::new(Late::made_at(source));
        self.locked(source, |waiting| waiting.push(token.clone()));
        guard.mutex.release(source);
        let is_over = has_limit && rt::happens(Freak::Timeout, source);
        let mut timed_out = false;
        if is_over || rt::happens(Freak::SpuriousWake, source) {
            // Who was notified meanwhile is not waiting any more: then that was the reason.
            let was_waiting = self.locked(source, |waiting| {
                let place = waiting.iter().position(|other| Arc::ptr_eq(other, &token));
                place.map(|place| waiting.remove(place)).is_some()
            });
            timed_out = is_over && was_waiting;
        } else {
            rt::take(location(&token), Relaxed, source);
        }
        guard.mutex.acquire(source);
        timed_out
    }

    /// Wakes one of the threads that wait.
    #[track_caller]
    pub fn notify_one(&self) {
        let source = Source::caller();
        let lock = self.late.location("Condvar", Kind::Lock, |_| 0);
        // The choice is made under the lock.
        rt::acquire(lock, Relaxed, source);
        let count = self.count();
        let token = (count > 0).then(|| {
            let outcomes = count.min(255) as u8;
            let chosen = if count > 1 { rt::perform(Op::Choose { outcomes }, source) } else { 0 as Value };
            self.waiting.borrow_mut().tokens.remove(chosen as usize)
        });
        rt::store(lock, 0, Relaxed, source);
        if let Some(token) = token.filter(|_| !without(Rule::OneIsWoken)) {
            rt::put(location(&token), Relaxed, source);
        }
    }

    fn count(&self) -> usize {
        let waiting = self.waiting.borrow();
        if waiting.run == code::run() { waiting.tokens.len() } else { 0 }
    }

    /// Wakes all threads that wait.
    #[track_caller]
    pub fn notify_all(&self) {
        let source = Source::caller();
        let most = if without(Rule::AllAreWoken) { 1 } else { usize::MAX };
        for token in self.locked(source, std::mem::take).into_iter().take(most) {
            rt::put(location(&token), Relaxed, source);
        }
    }
}

impl Default for Condvar {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condvar ({})", self.late.source())
    }
}
