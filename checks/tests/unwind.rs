//! Foreign code that panics takes nothing of anybody else's with it; and each guard that sees to that is needed.

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::flavour::weakened::{Change, Mutation, with_mutation};
use reveille_checks::report;
use reveille_checks::scenario::unwinding;
use reveille_checks::source;

#[test]
fn nothing_is_lost_with_foreign_code_that_panics() {
    for scenario in unwinding() {
        for engine in [Engine::ExactRc11, Engine::LoomC11] {
            let verdict = scenario.search(engine, Budget::to_pass(2_000));
            println!(
                "{}, {engine:?}: {} executions, {:?}",
                scenario.name,
                verdict.explored(),
                verdict.bound()
            );
            if let Some(counterexample) = verdict.counterexample() {
                panic!("{}", report::render(counterexample));
            }
            assert_eq!(verdict.misses(), Some(false), "{}: {verdict:?}", scenario.name);
        }
    }
}

/// The guards without an excuse are among the mutants.
#[test]
fn a_guard_with_an_excuse_is_not_needed_and_one_that_is_unreached_meets_no_panic() {
    let guards: Vec<_> = source::calls().iter().filter(|call| call.is_guard()).collect();
    let excused = guards.iter().filter(|call| call.why_kept().is_some() || call.why_unreached().is_some());
    let mut excuses = 0;
    for call in excused {
        println!("{} {}: {}", call.place, call.name, call.comment);
        let mutation = Mutation { place: call.place.clone(), label: None, change: Change::Dropped };
        let mut met = 0;
        for scenario in unwinding() {
            let search = || scenario.search(Engine::ExactRc11, Budget::to_pass(500));
            let (verdict, struck) = with_mutation(&mutation, search);
            assert_eq!(
                verdict.misses(),
                Some(false),
                "{} without {}: {verdict:?}",
                scenario.name,
                call.place
            );
            met += struck;
        }
        let is_unreached = call.why_unreached().is_some();
        assert_eq!(met == 0, is_unreached, "{} met {met} panics", call.place);
        excuses += 1;
    }
    assert!(excuses * 2 < guards.len(), "most guards are needed");
}
