//! Each rule is missed by a program that is right with it. This is the only test of its binary: a rule is left out
//! for all threads of the machine.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU8;

use super::Rule;
use crate::cell::UnsafeCell;
use crate::model::Builder;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::atomic::{AtomicBool, AtomicUsize, fence};
use crate::sync::{Arc, Condvar, Mutex, Notify, RwLock};
use crate::{hint, thread};

/// No rule has this number.
const NONE: u8 = u8::MAX;

/// The rule that is left out
pub(super) static LEFT_OUT: AtomicU8 = AtomicU8::new(NONE);

type Check = fn();

/// Each rule, and what misses it.
const CHECKS: [(Rule, Check); 16] = [
    (Rule::Fences, stores_are_not_buffered_past_fences),
    (Rule::UnparksArrive, a_parked_thread_is_unparked),
    (Rule::OneIsWoken, a_waiting_thread_is_notified),
    (Rule::AllAreWoken, all_waiting_threads_are_notified),
    (Rule::NotificationsStay, a_notification_is_kept),
    (Rule::UnlocksRelease, a_mutex_orders_accesses),
    (Rule::LocksAcquire, a_mutex_orders_accesses),
    (Rule::WritersWait, readers_and_a_writer_exclude_each_other),
    (Rule::DropsRelease, the_last_handle_has_the_value_for_itself),
    (Rule::LastDropAcquires, the_last_handle_has_the_value_for_itself),
    (Rule::CountsAreOperations, either_thread_may_be_the_last),
    (Rule::LeaksAreTold, a_leak_is_told),
    (Rule::AccessesLast, an_access_is_open_to_its_end),
    (Rule::WeakFailures, a_weak_exchange_fails),
    (Rule::SpuriousWakes, a_park_returns_for_no_reason),
    (Rule::LoopsAreWaits, a_loop_waits),
];

#[test]
fn each_rule_is_missed() {
    for (rule, check) in CHECKS {
        check();
        LEFT_OUT.store(rule as u8, Relaxed);
        let outcome = catch_unwind(check);
        LEFT_OUT.store(NONE, Relaxed);
        assert!(outcome.is_err(), "nothing misses {rule:?}");
    }
}

fn outcomes<T: Ord + Send + 'static>(model: impl Fn() -> T + Send + Sync + 'static) -> BTreeSet<T> {
    let all = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let seen = all.clone();
    crate::model(move || {
        let outcome = model();
        seen.lock().unwrap().insert(outcome);
    });
    std::mem::take(&mut *all.lock().unwrap())
}

/// Whether the search says that something is wrong with the model, in these words.
fn is_wrong(builder: &Builder, words: &str, model: impl Fn() + Send + Sync + 'static) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| builder.check(model))) else { return false };
    payload.downcast::<String>().is_ok_and(|text| text.contains(words))
}

/// Runs `own` on this thread and `other` on another one, with what they share.
fn with_two<T: 'static>(shared: T, own: impl FnOnce(&T), other: impl FnOnce(&T) + 'static) {
    let shared = Arc::new(shared);
    let thread = {
        let shared = shared.clone();
        thread::spawn(move || other(&shared))
    };
    own(&shared);
    thread.join().unwrap();
}

fn stores_are_not_buffered_past_fences() {
    let all = outcomes(|| {
        let words = std::rc::Rc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let side = |own: usize| {
            let words = words.clone();
            move || {
                words[own].store(1, Relaxed);
                fence(SeqCst);
                words[1 - own].load(Relaxed)
            }
        };
        let other = thread::spawn(side(1));
        [side(0)(), other.join().unwrap()]
    });
    assert_eq!(all, [[0, 1], [1, 0], [1, 1]].into());
}

fn a_parked_thread_is_unparked() {
    crate::model(|| {
        let main = thread::current();
        let other = thread::spawn(move || main.unpark());
        thread::park();
        other.join().unwrap();
    });
}

/// So many threads wait for a flag.
fn notified(waiters: usize, notify: fn(&Condvar)) {
    crate::model(move || {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let waiters: Vec<_> = (0..waiters)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let mut is_set = shared.0.lock().unwrap();
                    while !*is_set {
                        is_set = shared.1.wait(is_set).unwrap();
                    }
                })
            })
            .collect();
        *shared.0.lock().unwrap() = true;
        notify(&shared.1);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

fn a_waiting_thread_is_notified() {
    notified(1, Condvar::notify_one);
}

fn all_waiting_threads_are_notified() {
    notified(2, Condvar::notify_all);
}

fn a_notification_is_kept() {
    crate::model(|| with_two(Notify::new(), Notify::wait, Notify::notify));
}

/// A cell that a lock protects.
struct Protected<L>(L, UnsafeCell<usize>);

// SAFETY: whether its accesses are ordered is what is checked.
unsafe impl<L: Sync> Sync for Protected<L> {}

fn a_mutex_orders_accesses() {
    crate::model(|| {
        let write = |shared: &Protected<Mutex<()>>| {
            let _guard = shared.0.lock().unwrap();
            shared.1.with_mut(|_| ());
        };
        with_two(Protected(Mutex::new(()), UnsafeCell::new(0)), write, write);
    });
}

fn readers_and_a_writer_exclude_each_other() {
    crate::model(|| {
        let read = |shared: &Protected<RwLock<()>>| {
            let _guard = shared.0.read().unwrap();
            shared.1.with(|_| ());
        };
        let write = |shared: &Protected<RwLock<()>>| {
            let _guard = shared.0.write().unwrap();
            shared.1.with_mut(|_| ());
        };
        with_two(Protected(RwLock::new(()), UnsafeCell::new(0)), read, write);
    });
}

/// A value whose destructor writes the cell.
struct Written(UnsafeCell<usize>);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.with_mut(|_| ());
    }
}

fn the_last_handle_has_the_value_for_itself() {
    crate::model(|| {
        let value = Arc::new(Written(UnsafeCell::new(0)));
        let other = value.clone();
        thread::spawn(move || other.0.with(|_| ()));
        value.0.with(|_| ());
    });
}

/// A value that says who drops it.
struct Named(std::sync::Arc<AtomicUsize>);

impl Drop for Named {
    fn drop(&mut self) {
        self.0.store(thread::current().name().map_or(1, |_| 2), Relaxed);
    }
}

fn either_thread_may_be_the_last() {
    let all = outcomes(|| {
        let last = std::sync::Arc::new(AtomicUsize::new(0));
        let value = Arc::new(Named(last.clone()));
        let other = value.clone();
        let other = thread::Builder::new().name("other".to_owned()).spawn(move || drop(other)).unwrap();
        drop(value);
        other.join().unwrap();
        last.load(Relaxed)
    });
    assert_eq!(all, [1, 2].into());
}

fn a_leak_is_told() {
    assert!(is_wrong(&Builder::new(), "leaked", || std::mem::forget(Arc::new(0))));
}

fn an_access_is_open_to_its_end() {
    let has_race = is_wrong(&Builder::new(), "Causality violation", || {
        with_two(
            Protected(AtomicBool::new(false), UnsafeCell::new(0)),
            |shared| shared.1.with_mut(|_| shared.0.store(true, Release)),
            |shared| {
                if shared.0.load(Acquire) {
                    shared.1.with(|_| ());
                }
            },
        );
    });
    assert!(has_race);
}

fn a_weak_exchange_fails() {
    let all = outcomes(|| AtomicUsize::new(0).compare_exchange_weak(0, 1, Relaxed, Relaxed));
    assert_eq!(all, [Ok(0), Err(0)].into());
}

fn a_park_returns_for_no_reason() {
    let mut builder = Builder::new();
    builder.spurious_wakes = 1;
    let returns_early = is_wrong(&builder, "too early", || {
        let main = thread::current();
        let flag = std::sync::Arc::new(AtomicBool::new(false));
        let sets = flag.clone();
        thread::spawn(move || {
            sets.store(true, Release);
            main.unpark();
        });
        thread::park();
        assert!(flag.load(Acquire), "too early");
    });
    assert!(returns_early);
}

fn a_loop_waits() {
    crate::model(|| {
        with_two(
            AtomicBool::new(false),
            |flag| {
                while !flag.load(Acquire) {
                    hint::spin_loop();
                }
            },
            |flag| flag.store(true, Release),
        );
    });
}
