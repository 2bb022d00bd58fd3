//! Locks, condition variables, futexes, spins, weak exchanges; and how values are shown.

use std::sync::Arc;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{
    Atomic, AtomicBool, AtomicU32, AtomicU64, Cell, Condvar, Futex, JoinHandle, Mutex, Parker, Primitives,
};
use reveille_checks::engine::{self, Engine};
use reveille_checks::flavour::script::Script;
use reveille_checks::report;
use reveille_checks::scenario::Scenario;
use reveille_checks::trace::Op;
use reveille_checks::verdict::{End, Verdict};

use crate::{EXACT, counterexample, loses, verdict};

/// A program in a closure would be one flavour's.
#[derive(Clone, Copy, Debug)]
enum Small {
    WeakOnce,
    StrongOnce,
    Counting { guarded: bool },
    TryWhileHeld { held: bool },
    TryAfter(Ordering, Ordering),
    Waiting { under_the_lock: bool },
    Broadcast { all: bool },
    WakesForNoReason { looks_again: bool },
    Event { waiters: usize, woken: usize, wakes_first: bool },
    Handover { given_back: bool },
    SpinsForEver,
    Shows,
}

impl Scenario for Small {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn scripts(&self) -> Vec<Script> {
        match self {
            Small::WakesForNoReason { .. } => vec![Script::none(), Script::none().early("changed", 1)],
            Small::Event { .. } => vec![Script::none(), Script::none().early("event", 1)],
            _ => vec![Script::none()],
        }
    }

    fn value_name(&self, label: &str, value: usize) -> Option<String> {
        (label == "phase" && value == 2).then(|| "parked".into())
    }

    fn run<P: Primitives>(&self) {
        match *self {
            Small::WeakOnce => {
                let word = P::Atomic::new("word", 0);
                assert_eq!(word.compare_exchange_weak(0, 1, AcqRel, Relaxed), Ok(0), "the exchange failed");
            }
            Small::StrongOnce => {
                let word = P::Atomic::new("word", 0);
                assert_eq!(word.compare_exchange(0, 1, AcqRel, Relaxed), Ok(0), "the exchange failed");
            }
            Small::Counting { guarded } => {
                let shared = Arc::new((P::Mutex::new("lock", 0), P::Cell::new("count", 0)));
                let threads = [0, 1].map(|_| {
                    let shared = shared.clone();
                    P::spawn("thread", move || {
                        let mut guard = shared.0.lock();
                        *guard += 1;
                        let guard = guarded.then_some(guard);
                        // SAFETY: the lock is held; where it is not, that is what is found.
                        shared.1.with_mut(|count| unsafe { *count += 1 });
                        drop(guard);
                    })
                });
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                // SAFETY: the threads have ended.
                let counted = shared.1.with(|count| unsafe { *count });
                assert_eq!((*shared.0.lock(), counted), (2, 2));
            }
            Small::TryWhileHeld { held } => {
                let lock = Arc::new(P::Mutex::new("lock", ()));
                let guard = lock.lock();
                let guard = held.then_some(guard);
                let other = P::spawn("other", {
                    let lock = lock.clone();
                    move || assert!(lock.try_lock().is_none(), "two have the lock")
                });
                other.join().unwrap();
                drop(guard);
            }
            Small::TryAfter(release, acquire) => {
                let shared = Arc::new((P::Mutex::new("lock", ()), P::Atomic::new("given back", 0)));
                let other = P::spawn("other", {
                    let shared = shared.clone();
                    move || {
                        drop(shared.0.lock());
                        shared.1.store(1, release);
                    }
                });
                if shared.1.load(acquire) == 1 {
                    assert!(shared.0.try_lock().is_some(), "the lock was given back");
                }
                other.join().unwrap();
            }
            Small::Waiting { under_the_lock } => {
                let shared = Arc::new((
                    P::Mutex::new("lock", ()),
                    Condvar::<P>::new("changed"),
                    P::Atomic::new("ready", 0),
                ));
                let other = P::spawn("other", {
                    let shared = shared.clone();
                    move || {
                        let guard = under_the_lock.then(|| shared.0.lock());
                        shared.2.store(1, SeqCst);
                        drop(guard);
                        shared.1.notify_one();
                    }
                });
                let guard = shared.1.wait_while(shared.0.lock(), |()| shared.2.load(SeqCst) == 0);
                drop(guard);
                other.join().unwrap();
            }
            Small::Broadcast { all } => {
                let shared = Arc::new((P::Mutex::new("lock", false), Condvar::<P>::new("changed")));
                let waiters = [0, 1].map(|_| {
                    let shared = shared.clone();
                    P::spawn("waiter", move || drop(shared.1.wait_while(shared.0.lock(), |over| !*over)))
                });
                shared.0.with(|over| *over = true);
                if all {
                    shared.1.notify_all()
                } else {
                    shared.1.notify_one()
                }
                waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            }
            Small::WakesForNoReason { looks_again } => {
                let shared = Arc::new((P::Mutex::new("lock", false), Condvar::<P>::new("changed")));
                let other = P::spawn("other", {
                    let shared = shared.clone();
                    move || {
                        shared.0.with(|over| *over = true);
                        shared.1.notify_one();
                    }
                });
                let mut guard = shared.0.lock();
                while !*guard {
                    guard = shared.1.wait(guard);
                    if !looks_again {
                        break;
                    }
                }
                assert!(*guard, "it went on for no reason");
                drop(guard);
                other.join().unwrap();
            }
            Small::Event { waiters, woken, wakes_first } => {
                let event = Arc::new(Futex::<P>::new("event", 0));
                let waiters: Vec<_> = (0..waiters)
                    .map(|_| {
                        let event = event.clone();
                        P::spawn("waiter", move || {
                            while event.load(Acquire) == 0 {
                                event.wait(0);
                            }
                        })
                    })
                    .collect();
                if wakes_first {
                    event.wake(woken);
                }
                event.store(1, Release);
                if !wakes_first {
                    event.wake(woken);
                }
                waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            }
            Small::Handover { given_back } => {
                let shared = Arc::new((AtomicBool::<P>::new("held", false), P::Cell::new("count", 0)));
                let threads = [0, 1].map(|_| {
                    let shared = shared.clone();
                    P::spawn("thread", move || {
                        P::spin_until(|| !shared.0.swap(true, Acquire));
                        // SAFETY: the spinlock is held.
                        shared.1.with_mut(|count| unsafe { *count += 1 });
                        if given_back {
                            shared.0.store(false, Release);
                        }
                    })
                });
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            }
            Small::SpinsForEver => {
                let shared = Arc::new((P::Atomic::new("ready", 0), P::Mutex::new("lock", 0)));
                let other = P::spawn("other", {
                    let shared = shared.clone();
                    move || shared.1.with(|count| *count = 1)
                });
                P::spin_until(|| shared.0.load(Acquire) == 1 || shared.1.with(|count| *count == 2));
                other.join().unwrap();
            }
            Small::Shows => {
                let (flag, phase) = (AtomicBool::<P>::new("flag", false), P::Atomic::new("phase", 0));
                let (narrow, users) = (AtomicU32::<P>::new("narrow", 0), P::Atomic::new("users", 0));
                let state = AtomicU64::<P>::new("state", 0x10);
                flag.store(true, Release);
                phase.store(2, Release);
                phase.store(3, Release);
                narrow.fetch_sub(2, Relaxed);
                users.fetch_sub(1, Relaxed);
                state.fetch_or(0x20, AcqRel);
                let _ = state.compare_exchange(0x10, 0, AcqRel, Relaxed);
                P::Parker::new("sleeper").park();
            }
        }
    }
}

#[test]
fn a_weak_exchange_fails_for_no_reason_and_a_strong_one_does_not() {
    assert_eq!(loses(Small::StrongOnce), [false; 3]);
    assert_eq!(loses(Small::WeakOnce), [true; 3]);
    let text = report::render(&counterexample(Engine::ExactSc, Small::WeakOnce));
    assert!(text.contains("a weak exchange fails for no reason"), "{text}");
}

#[test]
fn a_guard_excludes_until_it_is_dropped() {
    assert_eq!(loses(Small::Counting { guarded: true }), [false; 3]);
    assert_eq!(loses(Small::Counting { guarded: false }), [true; 3]);
    for engine in [Engine::LoomC11, Engine::Shuttle] {
        assert_eq!(verdict(engine, Small::Counting { guarded: true }).misses(), Some(false), "{engine:?}");
    }
    assert_eq!(verdict(Engine::LoomC11, Small::Counting { guarded: false }).misses(), Some(true));
}

#[test]
fn a_lock_that_is_tried_is_not_had_twice_and_may_seem_to_be_held_when_it_was_given_back() {
    assert_eq!(loses(Small::TryWhileHeld { held: true }), [false; 3]);
    assert_eq!(loses(Small::TryWhileHeld { held: false }), [true; 3]);
    assert_eq!(loses(Small::TryAfter(Release, Acquire)), [false; 3]);
    assert_eq!(loses(Small::TryAfter(Relaxed, Relaxed)), [false, false, true]);
    for engine in [Engine::LoomC11, Engine::Shuttle] {
        for (held, misses) in [(true, false), (false, true)] {
            let verdict = verdict(engine, Small::TryWhileHeld { held });
            assert_eq!(verdict.misses(), Some(misses), "{engine:?}: {verdict:?}");
        }
    }
    let text = report::render(&counterexample(Engine::ExactRc11, Small::TryAfter(Relaxed, Relaxed)));
    assert!(text.contains("lock lock is not free"), "{text}");
}

#[test]
fn a_condition_variable_loses_no_change_under_its_lock_and_one_beside_it() {
    for (scenario, lost) in [
        (Small::Waiting { under_the_lock: true }, false),
        (Small::Waiting { under_the_lock: false }, true),
        (Small::Broadcast { all: true }, false),
        (Small::Broadcast { all: false }, true),
        (Small::WakesForNoReason { looks_again: true }, false),
        (Small::WakesForNoReason { looks_again: false }, true),
    ] {
        assert_eq!(loses(scenario), [lost; 3], "{scenario:?}");
        for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
            let verdict = verdict(engine, scenario);
            assert_eq!(verdict.misses(), Some(lost), "{scenario:?}, {engine:?}: {verdict:?}");
        }
    }
}

#[test]
fn a_futex_loses_no_wake_that_comes_after_the_change_and_wakes_no_more_than_it_is_told_to() {
    for (waiters, woken, wakes_first, lost) in
        [(1, 1, false, false), (1, 1, true, true), (2, 2, false, false), (2, 1, false, true)]
    {
        let scenario = Small::Event { waiters, woken, wakes_first };
        assert_eq!(loses(scenario), [lost; 3], "{scenario:?}");
        let verdict = verdict(Engine::Shuttle, scenario);
        assert_eq!(verdict.misses(), Some(lost), "{scenario:?}: {verdict:?}");
    }
}

#[test]
fn a_spin_is_a_wait_and_one_in_vain_is_stuck_with_its_place() {
    assert_eq!(loses(Small::Handover { given_back: true }), [false; 3]);
    for engine in EXACT {
        for scenario in [Small::Handover { given_back: false }, Small::SpinsForEver] {
            let counterexample = counterexample(engine, scenario);
            assert!(matches!(counterexample.end, End::Stuck(_)), "{counterexample:?}");
            assert!(counterexample.trace.steps.iter().any(|step| step.op == Op::Spin));
            let text = report::render(&counterexample);
            assert!(text.contains(" spins at waits.rs:") && text.contains("SPINS"), "{text}");
            let record = counterexample.record.unwrap();
            let (_, again) = engine::replay(&scenario, &record).unwrap();
            assert_eq!(again.trace, counterexample.trace, "{record}");
        }
    }
    assert_eq!(verdict(Engine::LoomSc, Small::Handover { given_back: true }).misses(), Some(false));
    // What does not come is too many steps to the others, and they say so.
    for engine in [Engine::LoomC11, Engine::Shuttle] {
        let verdict = verdict(engine, Small::SpinsForEver);
        assert!(
            matches!(&verdict, Verdict::Inconclusive { why } if why.contains("spin loop")),
            "{verdict:?}"
        );
    }
}

#[test]
fn values_are_shown_by_their_names_masks_in_hexadecimal_and_what_is_below_zero_as_such() {
    for engine in [Engine::ExactRc11, Engine::LoomC11, Engine::Shuttle] {
        let text = report::render(&counterexample(engine, Small::Shows));
        for shown in [
            "flag = true (release)",
            "phase = parked (release)",
            "phase = 3 (release)",
            "narrow: 0 → -2 (relaxed)",
            "users: 0 → -1 (relaxed)",
            "state: 0x10 → 0x30 (acq_rel)",
            "state is 0x30, not exchanged",
        ] {
            assert!(text.contains(shown), "{engine:?}, {shown}:\n{text}");
        }
        assert!(!text.contains("18446744073709551615") && !text.contains("4294967"), "{text}");
    }
}
