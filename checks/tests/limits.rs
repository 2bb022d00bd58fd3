//! What a checker cannot do is never shown as a mistake of the code, and a mistake of the code never as what
//! a checker cannot do.

use std::cell::Cell;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::Duration;

use reveille::gate::PerEntry;
use reveille::sync::{Atomic, Cell as _, JoinHandle, Mutex, Parker, Primitives};
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::flavour::ScriptedPanic;
use reveille_checks::scenario::{PoolScenario, Protocol, Scenario};
use reveille_checks::verdict::{End, Verdict};
use reveille_checks::{check, check_under, report};

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
    PanicsWithAGuard,
    SleepsForATime,
    Recurses,
    CatchesAPanic,
    PanicsInAThread,
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
                    P::spawn("adder", move || {
                        word.fetch_add(1, Relaxed);
                    })
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
            What::DropsAGuard | What::PanicsWithAGuard => {
                struct Guard<P: Primitives>(P::Atomic, P::Mutex<usize>, P::Cell<usize>, P::Parker);
                impl<P: Primitives> Drop for Guard<P> {
                    fn drop(&mut self) {
                        self.0.store(2, Release);
                        assert_eq!(self.0.load(Acquire), 2);
                        assert_eq!(self.0.fetch_add(1, SeqCst), 2);
                        assert_eq!(self.0.compare_exchange(3, 4, SeqCst, Relaxed), Ok(3));
                        P::fence(SeqCst);
                        *self.1.lock() += 1;
                        self.1.with(|count| assert_eq!(*count, 1));
                        // SAFETY: nobody else has the cell.
                        self.2.with_mut(|count| unsafe { *count += 1 });
                        self.3.unpark();
                        assert_eq!(P::Atomic::new("made while it is dropped", 1).swap(2, Relaxed), 1);
                    }
                }
                let guard = Guard::<P>(
                    P::Atomic::new("guarded", 1),
                    P::Mutex::new("lock", 0),
                    P::Cell::new("cell", 0),
                    P::Parker::new("parker"),
                );
                if matches!(self.0, What::PanicsWithAGuard) {
                    let _guard = guard;
                    panic!("with a guard");
                }
                P::Parker::new("sleeper").park();
            }
            What::SleepsForATime => {
                let _ = P::Parker::new("sleeper").park_timeout(Duration::from_secs(1));
            }
            What::Recurses => {
                fn descend(at: &Cell<u64>) -> u64 {
                    at.set(at.get() + 1);
                    if at.get() == u64::MAX { 0 } else { descend(at) + at.get() }
                }
                P::Atomic::new("word", 0).load(Relaxed);
                descend(&Cell::new(0));
            }
            What::CatchesAPanic => {
                struct Tells<P: Primitives>(Arc<(P::Atomic, P::Parker)>);
                impl<P: Primitives> Drop for Tells<P> {
                    fn drop(&mut self) {
                        self.0.0.store(1, Release);
                        self.0.1.unpark();
                    }
                }
                let shared = Arc::new((P::Atomic::new("over", 0), P::Parker::new("sleeper")));
                let job = P::spawn("job", {
                    let tells = Tells::<P>(shared.clone());
                    move || {
                        let caught = P::catch(|| {
                            let _tells = tells;
                            ScriptedPanic::panic()
                        });
                        assert!(caught.is_err_and(|payload| payload.is::<ScriptedPanic>()));
                    }
                });
                while shared.0.load(Acquire) == 0 {
                    shared.1.park();
                }
                assert!(!std::thread::panicking());
                job.join().unwrap();
            }
            What::PanicsInAThread => {
                let thread = P::spawn("thread", || panic!("in a thread"));
                // A native join returns the panic.
                assert!(thread.join().is_err());
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
    assert!(why.contains("write it as a `spin_until`"), "{why}");
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
    for engine in [Engine::ExactRc11, Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let verdict = verdict_of(engine, What::LosesALock);
        let Verdict::Misses { counterexample, .. } = verdict else { panic!("{engine:?}: {verdict:?}") };
        let text = report::render(&counterexample);
        assert!(text.contains("other waits for lock lock, which main holds."), "{engine:?}: {text}");
        assert!(text.contains("wait for lock lock") && text.contains("WAITS"), "{engine:?}: {text}");
    }
}

#[test]
fn a_guard_that_touches_shared_objects_when_it_is_dropped_ends_no_process_and_adds_no_row() {
    for engine in [Engine::ExactRc11, Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        for (what, is_stuck) in [(What::DropsAGuard, true), (What::PanicsWithAGuard, false)] {
            let verdict = verdict_of(engine, what);
            let Verdict::Misses { counterexample, .. } = verdict else { panic!("{engine:?}: {verdict:?}") };
            assert_eq!(matches!(counterexample.end, End::Stuck(_)), is_stuck, "{counterexample:?}");
            // A panic may be caught, and what its destructors do be part of the execution.
            let text = report::render(&counterexample);
            assert!(!is_stuck || !text.contains("guarded = 2"), "{engine:?}: {text}");
        }
    }
}

#[test]
fn a_sleep_that_would_end_with_its_time_is_not_said_to_be_for_ever() {
    for engine in [Engine::ExactRc11, Engine::LoomC11, Engine::Shuttle] {
        let verdict = verdict_of(engine, What::SleepsForATime);
        let Verdict::Misses { counterexample, .. } = verdict else { panic!("{engine:?}: {verdict:?}") };
        let text = report::render(&counterexample);
        assert!(text.contains("every thread is blocked as long as no time passes"), "{text}");
        assert!(text.contains("it has a timeout, but its script lets no time pass"), "{text}");
    }
    let Verdict::Misses { counterexample, .. } = verdict(What::DropsAGuard) else { panic!("no deadlock") };
    assert!(!report::render(&counterexample).contains("time"));
}

#[test]
fn an_endless_recursion_ends_no_process_and_is_named_with_the_last_operation() {
    let why = no_result(What::Recurses);
    assert!(why.contains("overflows") && why.contains("`main`") && why.contains("tests/limits.rs"), "{why}");
}

#[test]
fn a_stack_that_overflows_under_loom_is_its_limit_and_no_assertion_that_fails() {
    for engine in [Engine::LoomSc, Engine::LoomC11] {
        let verdict = verdict_of(engine, What::Recurses);
        let Verdict::Inconclusive { why } = verdict else { panic!("{engine:?}: {verdict:?}") };
        assert!(why.contains("the stack of a coroutine of loom's overflows"), "{engine:?}: {why}");
    }
}

#[test]
fn a_panic_that_the_code_catches_is_no_violation_and_its_destructors_may_wake_others() {
    let verdict = verdict(What::CatchesAPanic);
    assert!(matches!(verdict, Verdict::Complete { .. }), "{verdict:?}");
}

#[test]
fn a_panic_that_nobody_catches_is_a_violation_even_if_a_join_would_return_it() {
    let Verdict::Misses { counterexample, .. } = verdict(What::PanicsInAThread) else {
        panic!("no violation")
    };
    assert_eq!(counterexample.end, End::Violation("in a thread".into()));
}

/// Each of two threads misses what the other has stored, on every machine that has store buffers.
#[derive(Clone)]
struct Buffering;

impl Scenario for Buffering {
    fn name(&self) -> String {
        "buffering".into()
    }

    fn run<P: Primitives>(&self) {
        let words = Arc::new(["x", "y", "what the other read"].map(|label| P::Atomic::new(label, 0)));
        let other = P::spawn("other", {
            let words = words.clone();
            move || {
                words[1].store(1, Relaxed);
                words[2].store(words[0].load(Relaxed), Relaxed);
            }
        });
        words[0].store(1, Relaxed);
        let read = words[1].load(Relaxed);
        other.join().unwrap();
        assert!(read + words[2].load(Relaxed) > 0, "each missed the other");
    }
}

/// For the test below, which runs it: a search that is too large for its budget, and one of a mistake to
/// which the engines are blind.
#[test]
#[ignore = "another test looks at what it prints"]
fn passes() {
    assert!(!check(PoolScenario::<PerEntry>::new(Protocol::Mixture)).is_complete());
    assert!(!check_under(&[Engine::Shuttle, Engine::LoomSc], Buffering).is_complete());
}

#[test]
fn a_green_test_does_not_hide_its_bound_nor_what_its_engine_is_blind_to() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "passes"])
        .env("REVEILLE_BUDGET", "0.2")
        .env_remove("REVEILLE_REPLAY");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    for memory in ["sc", "tso", "rc11"] {
        let of_this = format!("mixture: exact {memory}: nothing missed in ");
        let line = text.lines().find(|line| line.contains(&of_this)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(" of about ") && line.contains("seed"), "{line}");
    }
    for engine in ["shuttle", "loom"] {
        let line = text.lines().find(|line| line.starts_with(&format!("buffering: {engine} sc: ")));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("interleavings only: blind to what a late store does"), "{line}");
    }
    assert_eq!(engine::search(Engine::ExactTso, &Buffering, Budget::of_executions(100)).misses(), Some(true));
}
