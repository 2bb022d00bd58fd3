//! What many threads can sleep on: a [`Condvar`] and a [`Futex`], made of a lock and parkers.
//!
//! Both are one list of sleepers, the longest asleep first, under a lock of its own. So they are the same
//! code in every flavour, as the wait queue is, and what a checker says of them it says of this code. A sleep
//! makes a parker: it costs two allocations, which a program pays that sleeps.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Atomic, AtomicU32, Guard, Mutex, Parker, Primitives, Unparked};

/// Threads that sleep.
struct Sleepers<P: Primitives> {
    label: &'static str,
    list: P::Mutex<VecDeque<Arc<P::Parker>>>,
}

impl<P: Primitives> Sleepers<P> {
    fn new(label: &'static str) -> Self {
        Self { label, list: P::Mutex::new("sleepers", VecDeque::new()) }
    }

    /// A place at the end of the list, if `is_wanted` says so with the list locked.
    #[track_caller]
    fn join(&self, is_wanted: impl FnOnce() -> bool) -> Option<Arc<P::Parker>> {
        let parker = Arc::new(P::Parker::new(self.label));
        let is_listed = self.list.with(|sleepers| {
            let is_wanted = is_wanted();
            if is_wanted {
                sleepers.push_back(parker.clone());
            }
            is_wanted
        });
        is_listed.then_some(parker)
    }

    /// Sleeps until it is this sleeper's turn, or returns early, as a parker may.
    #[track_caller]
    fn sleep(&self, parker: &Arc<P::Parker>) {
        while parker.park_timeout(Duration::MAX) == Unparked::Early {
            let is_listed = self.list.with(|sleepers| {
                let place = sleepers.iter().position(|sleeper| Arc::ptr_eq(sleeper, parker));
                place.and_then(|place| sleepers.remove(place)).is_some()
            });
            if is_listed {
                return;
            }
            // Its wake is on the way. It is waited for, so that it is nobody else's.
        }
    }

    /// Wakes no more than so many, and says how many.
    #[track_caller]
    fn wake(&self, most: usize) -> usize {
        let woken: Vec<_> = self.list.with(|sleepers| {
            let count = most.min(sleepers.len());
            sleepers.drain(..count).collect()
        });
        // Not in a closure: the wake has the caller's line.
        for parker in &woken {
            parker.unpark();
        }
        woken.len()
    }
}

/// A condition variable.
///
/// ```
/// use reveille::sync::{Condvar, Mutex, Native, Primitives};
///
/// let queue = <<Native as Primitives>::Mutex<_> as Mutex<_>>::new("queue", vec![1]);
/// let changed = Condvar::<Native>::new("changed");
/// changed.notify_one();
/// let guard = changed.wait_while(Mutex::lock(&queue), |queue| queue.is_empty());
/// assert_eq!(*guard, [1]);
/// ```
pub struct Condvar<P: Primitives>(Sleepers<P>);

impl<P: Primitives> Condvar<P> {
    /// One on which nobody waits.
    pub fn new(label: &'static str) -> Self {
        Self(Sleepers::new(label))
    }

    /// Gives the lock back, sleeps until it is notified, and takes the lock again. May return early: callers
    /// look again in a loop, or use [`wait_while`](Condvar::wait_while).
    #[track_caller]
    pub fn wait<'a, T: 'static, M: Mutex<T>>(&self, guard: Guard<'a, T, M>) -> Guard<'a, T, M> {
        let mutex = guard.mutex();
        let parker = self.0.join(|| true);
        drop(guard);
        if let Some(parker) = parker {
            self.0.sleep(&parker);
        }
        mutex.lock()
    }

    /// Waits as long as `condition` is true of what the lock guards.
    #[track_caller]
    pub fn wait_while<'a, T: 'static, M: Mutex<T>>(
        &self,
        mut guard: Guard<'a, T, M>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Guard<'a, T, M> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// Wakes the one that has waited longest, if there is one. The standard library's promises no order.
    #[track_caller]
    pub fn notify_one(&self) {
        self.0.wake(1);
    }

    /// Wakes all that wait.
    #[track_caller]
    pub fn notify_all(&self) {
        self.0.wake(usize::MAX);
    }
}

/// A word that threads sleep on: an atomic `u32`, to which it dereferences, with the kernel's two operations.
///
/// Both take the lock of the word's list, and so are in one order. Who makes the word another and then wakes
/// loses nobody, whatever the order of the store: a sleeper reads the word with the list locked. The kernel
/// promises no more order than that of its operations on the word; what else the lock orders here should not
/// be counted on by code that is to use the kernel's.
///
/// There is no requeue: it would have to hold two lists.
///
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
/// use reveille::sync::{Atomic, Futex, Native};
///
/// let turn = Futex::<Native>::new("turn", 0);
/// turn.store(1, Relaxed);
/// assert!(!turn.wait(0), "the word is another");
/// assert_eq!(turn.wake(1), 0);
/// ```
pub struct Futex<P: Primitives> {
    word: AtomicU32<P>,
    sleepers: Sleepers<P>,
}

impl<P: Primitives> Futex<P> {
    /// A word with this value, on which nobody sleeps.
    pub fn new(label: &'static str, value: u32) -> Self {
        Self { word: AtomicU32::<P>::new(label, value), sleepers: Sleepers::new(label) }
    }

    /// Sleeps until it is woken, if the word is `expected`; may return early. False if the word is another.
    #[track_caller]
    pub fn wait(&self, expected: u32) -> bool {
        // Relaxed: the lock around it orders it with every wake.
        let Some(parker) = self.sleepers.join(|| self.word.load(Relaxed) == expected) else { return false };
        self.sleepers.sleep(&parker);
        true
    }

    /// Wakes no more than so many, the longest asleep first, and says how many.
    #[track_caller]
    pub fn wake(&self, most: usize) -> usize {
        self.sleepers.wake(most)
    }
}

impl<P: Primitives> Deref for Futex<P> {
    type Target = AtomicU32<P>;

    fn deref(&self) -> &Self::Target {
        &self.word
    }
}
