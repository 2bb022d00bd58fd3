//! What C11 allows, and nothing else: the outcomes of small programs.

mod common;

use std::collections::BTreeSet;

use common::outcomes;
use loom::sync::Arc;
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicUsize, fence};
use loom::thread;

/// Two words that two threads share.
fn words() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)))
}

fn set<const N: usize>(outcomes: [(usize, usize); N]) -> BTreeSet<(usize, usize)> {
    outcomes.into()
}

/// Store buffering.
fn sb(store: Ordering, load: Ordering, between: Option<Ordering>) -> BTreeSet<(usize, usize)> {
    outcomes(move || {
        let (x, y) = words();
        let barrier = move || between.into_iter().for_each(fence);
        let other = {
            let (x, y) = (x.clone(), y.clone());
            thread::spawn(move || {
                y.store(1, store);
                barrier();
                x.load(load)
            })
        };
        x.store(1, store);
        barrier();
        let read = y.load(load);
        (read, other.join().unwrap())
    })
}

#[test]
fn stores_are_buffered() {
    assert_eq!(sb(Release, Acquire, None), set([(0, 0), (0, 1), (1, 0), (1, 1)]));
    assert_eq!(sb(Release, Acquire, Some(AcqRel)), set([(0, 0), (0, 1), (1, 0), (1, 1)]));
}

#[test]
fn stores_are_not_buffered_past_seq_cst() {
    assert_eq!(sb(SeqCst, SeqCst, None), set([(0, 1), (1, 0), (1, 1)]));
    assert_eq!(sb(Relaxed, Relaxed, Some(SeqCst)), set([(0, 1), (1, 0), (1, 1)]));
    // One side is not enough.
    assert_eq!(sb(SeqCst, Acquire, None).len(), 4);
}

/// Message passing.
fn mp(store: Ordering, load: Ordering) -> BTreeSet<(usize, usize)> {
    outcomes(move || {
        let (data, ready) = words();
        let other = {
            let (data, ready) = (data.clone(), ready.clone());
            thread::spawn(move || {
                data.store(1, Relaxed);
                ready.store(1, store);
            })
        };
        let read = (ready.load(load), data.load(Relaxed));
        other.join().unwrap();
        read
    })
}

#[test]
fn a_message_is_passed_by_release_and_acquire() {
    assert_eq!(mp(Release, Acquire), set([(0, 0), (0, 1), (1, 1)]));
    assert!(mp(Relaxed, Acquire).contains(&(1, 0)));
    assert!(mp(Release, Relaxed).contains(&(1, 0)));
}

#[test]
fn a_message_is_passed_by_fences() {
    let all = outcomes(|| {
        let (data, ready) = words();
        let other = {
            let (data, ready) = (data.clone(), ready.clone());
            thread::spawn(move || {
                data.store(1, Relaxed);
                fence(Release);
                ready.store(1, Relaxed);
            })
        };
        let first = ready.load(Relaxed);
        fence(Acquire);
        let second = data.load(Relaxed);
        other.join().unwrap();
        (first, second)
    });
    assert_eq!(all, set([(0, 0), (0, 1), (1, 1)]));
}

#[test]
fn writes_of_two_threads_are_seen_in_one_order_by_seq_cst_only() {
    let iriw = |order: Ordering| {
        outcomes(move || {
            let (x, y) = words();
            let write = |word: &Arc<AtomicUsize>| {
                let word = word.clone();
                thread::spawn(move || word.store(1, if order == SeqCst { SeqCst } else { Release }))
            };
            let read = |first: &Arc<AtomicUsize>, second: &Arc<AtomicUsize>| {
                let (first, second) = (first.clone(), second.clone());
                thread::spawn(move || (first.load(order), second.load(order)))
            };
            // Six threads with main: more than loom has.
            let writers = [write(&x), write(&y)];
            let readers = [read(&x, &y), read(&y, &x)];
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            let [a, b] = readers.map(|reader| reader.join().unwrap());
            (a, b)
        })
    };
    let disagree = ((1, 0), (1, 0));
    assert!(iriw(Acquire).contains(&disagree));
    assert!(!iriw(SeqCst).contains(&disagree));
}

#[test]
fn two_writes_are_never_seen_in_two_orders() {
    let all = outcomes(|| {
        let word = Arc::new(AtomicUsize::new(0));
        let other = {
            let word = word.clone();
            thread::spawn(move || {
                word.store(1, Relaxed);
                word.store(2, Relaxed);
            })
        };
        let read = (word.load(Relaxed), word.load(Relaxed));
        other.join().unwrap();
        read
    });
    assert_eq!(all, set([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]));
}

#[test]
fn increments_are_not_lost() {
    let all = outcomes(|| {
        let word = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let word = word.clone();
                thread::spawn(move || word.fetch_add(1, Relaxed))
            })
            .collect();
        let mut read: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        read.sort_unstable();
        (read, word.load(Relaxed))
    });
    assert_eq!(all, [(vec![0, 1, 2], 3)].into());
}

#[test]
fn a_weak_exchange_may_fail_for_no_reason_and_a_strong_one_may_not() {
    let exchange = |weak: bool| {
        outcomes(move || {
            let word = AtomicUsize::new(0);
            match weak {
                true => word.compare_exchange_weak(0, 1, Relaxed, Relaxed),
                false => word.compare_exchange(0, 1, Relaxed, Relaxed),
            }
        })
    };
    assert_eq!(exchange(true), [Ok(0), Err(0)].into());
    assert_eq!(exchange(false), [Ok(0)].into());
}
