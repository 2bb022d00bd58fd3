//! What happens for no reason: it is asked for, bounded, and finds the code that does not expect it. The first part
//! is issue 1 of loom.

mod common;

use std::time::Duration;

use common::wrong_with;
use loom::model::Builder;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// A search in which each thread may wake once for no reason.
fn with_spurious_wakes() -> Builder {
    let mut builder = Builder::new();
    builder.spurious_wakes = 1;
    builder
}

/// A thread waits for a flag that another one sets under the lock.
fn condvar(has_loop: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                *shared.0.lock().unwrap() = true;
                shared.1.notify_one();
            })
        };
        let mut is_set = shared.0.lock().unwrap();
        if !*is_set {
            is_set = shared.1.wait(is_set).unwrap();
        }
        while has_loop && !*is_set {
            is_set = shared.1.wait(is_set).unwrap();
        }
        assert!(*is_set, "the wait is over and the flag is not set");
        drop(is_set);
        other.join().unwrap();
    }
}

/// A thread parks until another one has set a flag.
fn park(has_loop: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let flag = Arc::new(AtomicBool::new(false));
        let main = thread::current();
        let other = {
            let flag = flag.clone();
            thread::spawn(move || {
                flag.store(true, Release);
                main.unpark();
            })
        };
        thread::park();
        while has_loop && !flag.load(Acquire) {
            thread::park();
        }
        assert!(flag.load(Acquire), "the park is over and the flag is not set");
        other.join().unwrap();
    }
}

#[test]
fn a_wait_without_a_loop_is_found_by_a_spurious_wake_1() {
    loom::model(condvar(false));
    let wrong = wrong_with(&with_spurious_wakes(), condvar(false));
    assert_eq!(wrong, "the wait is over and the flag is not set");
}

#[test]
fn a_wait_in_a_loop_stands_a_spurious_wake_1() {
    with_spurious_wakes().check(condvar(true));
}

#[test]
fn a_park_without_a_loop_is_found_by_a_spurious_wake_1() {
    loom::model(park(false));
    let wrong = wrong_with(&with_spurious_wakes(), park(false));
    assert_eq!(wrong, "the park is over and the flag is not set");
}

#[test]
fn a_park_in_a_loop_stands_a_spurious_wake_1() {
    with_spurious_wakes().check(park(true));
}

#[test]
fn a_time_that_is_over_is_told_from_a_notification() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let mut builder = Builder::new();
    builder.timeouts = 1;
    let outcomes = seen.clone();
    builder.check(move || {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                *shared.0.lock().unwrap() = true;
                shared.1.notify_one();
            })
        };
        let is_set = shared.0.lock().unwrap();
        if !*is_set {
            let (is_set, result) = shared.1.wait_timeout(is_set, Duration::from_secs(1)).unwrap();
            outcomes.lock().unwrap().insert((*is_set, result.timed_out()));
        } else {
            drop(is_set);
        }
        other.join().unwrap();
    });
    // A time that is over while the flag is being set, and one before that.
    assert_eq!(*seen.lock().unwrap(), [(false, true), (true, false), (true, true)].into());
}

#[test]
fn so_many_weak_exchanges_fail_and_no_more() {
    for most in 0..3 {
        let failures = std::sync::Arc::new(std::sync::Mutex::new(0));
        let mut builder = Builder::new();
        builder.weak_failures = most;
        let worst = failures.clone();
        builder.check(move || {
            let word = AtomicUsize::new(0);
            let mut failed = 0;
            while word.compare_exchange_weak(0, 1, Relaxed, Relaxed).is_err() {
                failed += 1;
            }
            let worst = &mut *worst.lock().unwrap();
            *worst = failed.max(*worst);
        });
        assert_eq!(*failures.lock().unwrap(), most);
    }
}
