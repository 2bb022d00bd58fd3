//! Programs about which loom is wrong or says nothing, by the numbers of its issues, each with the right
//! answer.

mod common;

use std::collections::BTreeSet;

use common::{outcomes, wrong};
use loom::sync::atomic::Ordering::{Relaxed, SeqCst};
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

#[test]
fn a_load_more_takes_no_outcome_away_166() {
    let run = |has_load: bool| {
        outcomes(move || {
            let (key, value) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let writer = {
                let (key, value) = (key.clone(), value.clone());
                thread::spawn(move || {
                    key.store(1, SeqCst);
                    value.store(1, SeqCst);
                    value.store(0, SeqCst);
                    if has_load {
                        key.load(SeqCst);
                    }
                    key.store(0, SeqCst);
                })
            };
            let read = (value.load(SeqCst), key.load(SeqCst));
            writer.join().unwrap();
            read
        })
    };
    let all: BTreeSet<_> = [(0, 0), (0, 1), (1, 0), (1, 1)].into();
    assert_eq!(run(false), all);
    assert_eq!(run(true), all);
}

#[test]
fn seq_cst_accesses_are_in_one_order_180() {
    loom::model(|| {
        let (x, y) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let run = |own: &Arc<AtomicUsize>, other: &Arc<AtomicUsize>| {
            let (own, other) = (own.clone(), other.clone());
            thread::spawn(move || {
                own.store(1, SeqCst);
                other.load(SeqCst)
            })
        };
        let threads = [run(&x, &y), run(&y, &x)];
        assert_ne!(threads.map(|thread| thread.join().unwrap()), [0, 0]);
    });
}

#[test]
fn a_loop_that_waits_comes_to_an_end_191() {
    let all = outcomes(|| {
        let (x, y) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let count = Arc::new(AtomicUsize::new(0));
        let write = |word: &Arc<AtomicBool>| {
            let word = word.clone();
            thread::spawn(move || word.store(true, SeqCst))
        };
        let read = |first: &Arc<AtomicBool>, second: &Arc<AtomicBool>| {
            let (first, second, count) = (first.clone(), second.clone(), count.clone());
            thread::spawn(move || {
                while !first.load(SeqCst) {
                    thread::yield_now();
                }
                if second.load(SeqCst) {
                    count.fetch_add(1, SeqCst);
                }
            })
        };
        let threads = [write(&x), write(&y), read(&x, &y), read(&y, &x)];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        count.load(SeqCst)
    });
    // With weaker orders neither reader may see the other's word.
    assert_eq!(all, [1, 2].into());
}

#[test]
fn a_condvar_leaves_the_token_of_park_alone_422() {
    loom::model(|| {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let main = thread::current();
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                main.unpark();
                *shared.0.lock().unwrap() = true;
                shared.1.notify_one();
            })
        };
        let mut is_set = shared.0.lock().unwrap();
        while !*is_set {
            is_set = shared.1.wait(is_set).unwrap();
        }
        drop(is_set);
        thread::park();
        other.join().unwrap();
    });
}

#[test]
fn a_notification_before_the_wait_is_lost_422() {
    let wrong = wrong(|| {
        let shared = Arc::new((Mutex::new(()), Condvar::new()));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || shared.1.notify_one())
        };
        let guard = shared.0.lock().unwrap();
        drop(shared.1.wait(guard).unwrap());
        other.join().unwrap();
    });
    assert!(wrong.starts_with("deadlock"), "{wrong}");
}

#[test]
fn an_unpark_while_a_thread_joins_is_no_failure_249() {
    loom::model(|| {
        let main = thread::current();
        let other = thread::spawn(move || main.unpark());
        other.join().unwrap();
    });
}

#[test]
fn a_lock_that_is_only_tried_blocks_nobody_376() {
    let all = outcomes(|| {
        let lock = Arc::new(Mutex::new(0));
        let other = {
            let lock = lock.clone();
            thread::spawn(move || lock.try_lock().is_ok())
        };
        let guard = lock.try_lock();
        let other = other.join().unwrap();
        (guard.is_ok(), other)
    });
    assert_eq!(all, [(true, false), (false, true), (true, true)].into());
}

#[test]
fn a_failure_names_the_threads_and_their_lines_303() {
    // The text goes to standard error; what this sees is that of the panic.
    let wrong = wrong(|| {
        let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let other = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                let _b = b.lock().unwrap();
                let _a = a.lock().unwrap();
            })
        };
        let _a = a.lock().unwrap();
        let _b = b.lock().unwrap();
        drop((_a, _b));
        other.join().unwrap();
    });
    assert!(wrong.starts_with("deadlock"), "{wrong}");
}

#[test]
fn relaxed_orders_leave_both_readers_without_191() {
    let all = outcomes(|| {
        let (x, y) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let read = |first: &Arc<AtomicBool>, second: &Arc<AtomicBool>| {
            let (first, second) = (first.clone(), second.clone());
            thread::spawn(move || {
                while !first.load(Relaxed) {
                    thread::yield_now();
                }
                second.load(Relaxed)
            })
        };
        let write = |word: &Arc<AtomicBool>| {
            let word = word.clone();
            thread::spawn(move || word.store(true, Relaxed))
        };
        let readers = [read(&x, &y), read(&y, &x)];
        let writers = [write(&x), write(&y)];
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        readers.map(|reader| reader.join().unwrap())
    });
    assert!(all.contains(&[false, false]));
}
