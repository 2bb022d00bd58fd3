//! A counterexample ends with the text from which it is made again, and says what made it possible.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille_checks::engine::{self, Budget, ENOUGH, Engine};
use reveille_checks::report;
use reveille_checks::scenario::{Consumer, Scenario};
use reveille_checks::subject::pool::MUTANTS;
use reveille_checks::subject::{Case, GateName, Needs, PoolCase, Replay, WakeCase, documented};
use reveille_checks::verdict::{Counterexample, Why};
use reveille_checks::{Replayed, check, replay};

const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

/// What is shown of it, but for how it was found.
fn shown(counterexample: &Counterexample) -> String {
    let text = report::render(counterexample);
    text.lines().filter(|line| !line.starts_with("found by")).collect::<Vec<_>>().join("\n")
}

/// Searches for a counterexample, makes it again, and compares.
#[track_caller]
fn is_made_again(case: impl Replay, engine: Engine) -> Counterexample {
    let verdict = case.search(engine, Budget::of_executions(ENOUGH).only_to_find());
    let first = verdict.counterexample().unwrap_or_else(|| panic!("{case}, {engine:?}: {verdict:?}"));
    let record = first.record.as_deref().expect("the exact engine writes one");
    let (by, second) = case.replay(record).unwrap_or_else(|error| panic!("{case}, {record}: {error}"));
    assert_eq!(by, engine);
    assert_eq!(shown(&second), shown(first), "{case}, {record}");
    assert_eq!((&second.why, second.record.as_deref()), (&first.why, Some(record)));
    second
}

#[test]
fn every_counterexample_of_poll_wake_is_made_again_and_has_a_cycle_where_no_interleaving_loses() {
    let (mut interleavings, mut cycles) = (0, 0);
    for gate in GateName::ALL {
        for consumer in Consumer::ALL {
            let case = WakeCase { gate, consumer };
            for engine in EXACT.into_iter().filter(|&engine| case.documented_miss(engine)) {
                match is_made_again(case, engine).why {
                    Why::Interleaving => {
                        assert_eq!(documented(gate, consumer), Needs::Interleaving, "{case}");
                        interleavings += 1;
                    }
                    Why::Cycle(cycle) => {
                        assert!(engine != Engine::ExactSc && cycle.len() > 1, "{case}: {cycle:?}");
                        cycles += 1;
                    }
                    Why::Unknown => panic!("{case}, {engine:?}: the exact engine knows why"),
                }
            }
        }
    }
    assert!(interleavings > 0 && cycles > 0, "{interleavings} and {cycles}");
}

#[test]
fn a_counterexample_of_each_mistake_of_the_pool_is_made_again() {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(mutant) = MUTANTS.get(next.fetch_add(1, Relaxed)) {
            let case = PoolCase::new(mutant.protocol.name(), Some(mutant.name)).unwrap();
            let engine = EXACT.into_iter().find(|&engine| case.documented_miss(engine)).unwrap();
            if case.pointless(engine).is_none() {
                is_made_again(case, engine);
            }
        }
    };
    std::thread::scope(|scope| [0; 2].map(|_| scope.spawn(work)).map(|worker| worker.join().unwrap()));
}

fn reveille(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reveille")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The text in quotes after `--replay`, or what else.
fn quoted(text: &str, after: &str) -> String {
    let (_, text) = text.split_once(after).unwrap_or_else(|| panic!("no {after} in\n{text}"));
    text.split('\'').nth(1).unwrap().to_owned()
}

#[test]
fn the_command_shows_the_same_rows_again_and_refuses_another_text_in_one_line_with_exit_2() {
    let first = text(&reveille(&["explain", "posted", "epoll-level", "--engine", "exact"]).stdout);
    let record = quoted(&first, " explain posted epoll-level --replay ");
    let again = reveille(&["explain", "posted", "epoll-level", "--replay", &record]);
    let second = text(&again.stdout);
    assert_eq!(again.status.code(), Some(0), "a miss that is documented");
    let rows = |text: &str| {
        let rows = text.lines().skip_while(|line| !line.starts_with("found by")).skip(1);
        rows.take_while(|line| !line.starts_with("See it again")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(rows(&first).len() > 10 && rows(&first) == rows(&second), "{first}\n{second}");
    assert!(first.contains("No interleaving has this"), "{first}");
    assert_eq!(quoted(&second, "--replay "), record);

    let broken = record.replace("tso", "sco");
    let shorter = &record[..record.len() - 4];
    let under_sc = record.replace("tso", "sc");
    for (gate, record, says) in [
        ("posted", &*broken, "is no execution of the exact engine"),
        ("posted", "nonsense", "is no execution of the exact engine"),
        ("posted", "", "is no execution of the exact engine"),
        ("posted", &*under_sc, "this execution is none of this program"),
        ("posted", shorter, "this execution is none of this program"),
        ("armed-late", &*record, "this is no execution of armed-late"),
    ] {
        let output = reveille(&["explain", gate, "epoll-level", "--replay", record]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{record}: {error}");
        assert!(error.contains(says) && error.lines().count() == 1, "{record}: {error}");
        assert!(output.stdout.is_empty());
    }
}

/// The waker does not know whether the other sleeps, and has no barrier before it looks.
#[derive(Clone)]
struct Losing;

impl Scenario for Losing {
    fn name(&self) -> String {
        "losing".into()
    }

    fn run<P: Primitives>(&self) {
        let shared =
            Arc::new((P::Atomic::new("ready", 0), P::Atomic::new("asleep", 0), P::Parker::new("sleeper")));
        let waker = P::spawn("waker", {
            let shared = shared.clone();
            move || {
                shared.0.store(1, Release);
                if shared.1.load(Relaxed) == 1 {
                    shared.2.unpark();
                }
            }
        });
        shared.1.store(1, Relaxed);
        while shared.0.load(Acquire) == 0 {
            shared.2.park();
        }
        waker.join().unwrap();
    }
}

/// For `a_failing_test_says_how_to_see_its_execution_again`, which runs it.
#[test]
#[ignore = "it fails on purpose"]
fn fails() {
    check(Losing);
}

#[test]
fn a_failing_test_says_how_to_see_its_execution_again() {
    let fails = |record: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "fails", "--nocapture"]).env_remove("REVEILLE_REPLAY");
        command.envs(record.map(|record| ("REVEILLE_REPLAY", record)));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        text(&output.stderr)
    };
    let first = fails(None);
    assert!(first.contains("' cargo test fails\n"), "{first}");
    let record = quoted(&first, "REVEILLE_REPLAY=");
    let second = fails(Some(&record));
    let rows = |text: &str| {
        let rows = text.lines().skip_while(|line| !line.starts_with("───"));
        rows.take_while(|line| !line.starts_with('('))
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    let (first, second) = (rows(&first), rows(&second));
    assert!(first.len() > 5, "{first:?}");
    assert_eq!(second[..first.len()], first[..], "{second:?}");
    let nonsense = fails(Some("nonsense"));
    assert!(
        nonsense.contains("REVEILLE_REPLAY: `nonsense` is no execution of the exact engine"),
        "{nonsense}"
    );
}

/// What has become of [`Losing`].
#[derive(Clone, Copy, PartialEq)]
enum Since {
    Nothing,
    AnOrder,
    ACondition,
    Barriers,
}

/// [`Losing`] as it was and as it is.
#[derive(Clone)]
struct Changed(Since);

impl Scenario for Changed {
    fn name(&self) -> String {
        "changed".into()
    }

    fn run<P: Primitives>(&self) {
        let since = self.0;
        let barrier = move || {
            if since == Since::Barriers {
                P::fence(SeqCst);
            }
        };
        let shared =
            Arc::new((P::Atomic::new("ready", 0), P::Atomic::new("asleep", 0), P::Parker::new("sleeper")));
        let waker = P::spawn("waker", {
            let shared = shared.clone();
            move || {
                shared.0.store(1, Release);
                barrier();
                let order = if since == Since::AnOrder { Acquire } else { Relaxed };
                if shared.1.load(order) == 1 || since == Since::ACondition {
                    shared.2.unpark();
                }
            }
        });
        shared.1.store(1, Relaxed);
        barrier();
        while shared.0.load(Acquire) == 0 {
            shared.2.park();
        }
        waker.join().unwrap();
    }
}

#[test]
fn what_has_become_of_an_execution_is_told_as_far_as_the_code_still_has_it() {
    for engine in [Engine::ExactTso, Engine::ExactRc11] {
        let verdict = engine::search(engine, &Changed(Since::Nothing), Budget::of_executions(1_000));
        let record = verdict.counterexample().unwrap().record.clone().unwrap();
        let now = |since| replay(Changed(since), &record);
        let Replayed::Loses(counterexample) = now(Since::Nothing) else { panic!("{record}") };
        assert_eq!(Some(&*counterexample), verdict.counterexample().map(made_again).as_ref());
        let Replayed::Loses(counterexample) = now(Since::AnOrder) else { panic!("{record}") };
        assert!(report::render(&counterexample).contains("(acquire)"), "with the order of today");
        assert_eq!(now(Since::ACondition), Replayed::Passes);
        assert!(matches!(now(Since::Barriers), Replayed::Diverged { .. }));
        let elsewhere = std::panic::catch_unwind(|| replay(Losing, &record)).unwrap_err();
        let text = elsewhere.downcast_ref::<String>().unwrap();
        assert!(text.contains("this is no execution of losing"), "{text}");
    }
}

/// The same, found by a replay.
fn made_again(counterexample: &Counterexample) -> Counterexample {
    let (_, again) =
        engine::replay(&Changed(Since::Nothing), counterexample.record.as_deref().unwrap()).unwrap();
    assert_eq!(shown(&again), shown(counterexample));
    again
}
