//! What a checker cannot do is never shown as a mistake of the code, and a mistake of the code never as what a checker cannot do.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::report;
use reveille_checks::scenario::Scenario;
use reveille_checks::verdict::{End, Verdict};

/// What a [`Misuse`] does.
#[derive(Clone, Copy)]
enum What {
    LoopsForEver,
    SharesBehindTheBack,
    StartsManyThreads,
    StartsFiveThreads,
    Asserts,
    LosesALock,
    DropsAGuard,
}

/// What engines say, in the mouth of a program.
const ASSERTION: &str =
    "deadlock; exceeded maximum number of branches, exceeded max_steps bound, threads.len()";

/// A program that is wrong, or that the engine cannot run.
#[derive(Clone)]
struct Misuse(What);

impl Scenario for Misuse {
    fn name(&self) -> String {
        "misuse".into()
    }

    fn run<P: Primitives>(&self) {
        match self.0 {
            What::LoopsForEver => {
                let word = P::Atomic::new("word", 0);
                while word.load(Relaxed) == 0 {}
            }
            What::SharesBehindTheBack => {
                static BEHIND: AtomicUsize = AtomicUsize::new(0);
                let word = Arc::new(P::Atomic::new("word", 0));
                let other = P::spawn("other", {
                    let word = word.clone();
                    move || word.store(1, Relaxed)
                });
                if BEHIND.fetch_add(1, Relaxed).is_multiple_of(2) {
                    word.load(Relaxed);
                } else {
                    P::fence(SeqCst);
                }
                word.load(Relaxed);
                other.join().unwrap();
            }
            What::StartsManyThreads => {
                let threads: Vec<_> = (0..300).map(|_| P::spawn("one of many", || ())).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            }
            What::StartsFiveThreads => {
                let word = Arc::new(P::Atomic::new("word", 0));
                let adder = |_| {
                    let word = word.clone();
                    P::spawn("adder", move || drop(word.fetch_add(1, Relaxed)))
                };
                let threads: Vec<_> = (0..5).map(adder).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                assert_eq!(word.load(Relaxed), 5);
            }
            What::Asserts => panic!("{ASSERTION}"),
            What::LosesALock => {
                let lock = Arc::new((P::Mutex::new("lock", ()), P::Parker::new("sleeper")));
                let other = P::spawn("other", {
                    let lock = lock.clone();
                    move || lock.0.with(|()| ())
                });
                lock.0.with(|()| lock.1.park());
                other.join().unwrap();
            }
            What::DropsAGuard => {
                struct Guard<P: Primitives>(P::Atomic);
                impl<P: Primitives> Drop for Guard<P> {
                    fn drop(&mut self) {
                        self.0.store(0, Release);
                        assert_eq!(self.0.load(Acquire), 0);
                    }
                }
                let _guard = Guard::<P>(P::Atomic::new("guarded", 1));
                P::Parker::new("sleeper").park();
            }
        }
    }
}

fn verdict_of(engine: Engine, what: What) -> Verdict {
    engine::search(engine, &Misuse(what), Budget::of_executions(1_000))
}

fn verdict(what: What) -> Verdict {
    verdict_of(Engine::ExactRc11, what)
}

fn no_result(what: What) -> String {
    match verdict(what) {
        Verdict::Inconclusive { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endless_loop_of_operations_is_a_limit_with_its_place() {
    let why = no_result(What::LoopsForEver);
    assert!(why.contains("an endless loop?") && why.contains("tests/limits.rs"), "{why}");
}

#[test]
fn state_shared_behind_the_primitives_back_is_named_with_both_operations() {
    let why = no_result(What::SharesBehindTheBack);
    assert!(why.contains("not deterministic") && why.contains("a load") && why.contains("a fence"), "{why}");
}

#[test]
fn sixty_four_threads_are_no_limit_and_three_hundred_are_one_in_words() {
    let why = no_result(What::StartsManyThreads);
    assert!(why.contains("200 threads"), "{why}");
}

#[test]
fn an_assertion_is_the_programs_whatever_its_text_says() {
    for engine in [Engine::ExactRc11, Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let Verdict::Misses { counterexample, .. } = verdict_of(engine, What::Asserts) else {
            panic!("{engine:?}: no violation")
        };
        assert_eq!(counterexample.end, End::Violation(ASSERTION.into()), "{engine:?}");
    }
}

#[test]
fn five_threads_beside_main_are_more_than_loom_has_and_not_more_than_the_others_have() {
    for engine in [Engine::LoomSc, Engine::LoomC11] {
        let verdict = verdict_of(engine, What::StartsFiveThreads);
        let Verdict::Inconclusive { why } = verdict else { panic!("{engine:?}: {verdict:?}") };
        assert_eq!(why, "loom has at most 5 threads, main among them");
    }
    // The orders of five additions.
    let exact = verdict(What::StartsFiveThreads);
    assert!(matches!(exact, Verdict::Complete { explored: 120 }), "{exact:?}");
    assert_eq!(verdict_of(Engine::Shuttle, What::StartsFiveThreads).misses(), Some(false));
}

#[test]
fn an_endless_loop_of_operations_is_too_many_steps_for_loom_and_shuttle_too() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let verdict = verdict_of(engine, What::LoopsForEver);
        let Verdict::Inconclusive { why } = verdict else { panic!("{engine:?}: {verdict:?}") };
        assert!(why.contains("(a spin loop?)"), "{engine:?}: {why}");
    }
}

#[test]
fn a_sleeper_that_nobody_wakes_is_stuck_for_loom_and_shuttle_too() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let verdict = verdict_of(engine, What::LosesALock);
        let Verdict::Misses { counterexample, .. } = verdict else { panic!("{engine:?}: {verdict:?}") };
        assert!(matches!(counterexample.end, End::Stuck(_)), "{engine:?}: {counterexample:?}");
    }
}

#[test]
fn a_thread_that_waits_for_a_lock_is_shown_with_who_holds_it() {
    let Verdict::Misses { counterexample, .. } = verdict(What::LosesALock) else { panic!("no deadlock") };
    let text = report::render(&counterexample);
    assert!(text.contains("other waits for lock lock, which main holds."), "{text}");
}

#[test]
fn a_guard_that_touches_an_atomic_when_it_is_dropped_ends_no_process() {
    let Verdict::Misses { counterexample, .. } = verdict(What::DropsAGuard) else { panic!("no deadlock") };
    assert!(matches!(counterexample.end, End::Stuck(_)), "{counterexample:?}");
}
