//! The library's own wait queue under the engines: one of two waiters gives up, or panics, while a wake is on its way.

use reveille::gate::PerEntry;
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::flavour::weakened::{self, Change, Mutation};
use reveille_checks::mutants::{KEEPS_THE_WAKE, Mutant};
use reveille_checks::report;
use reveille_checks::scenario::{GivingUp, PanickingLook};
use reveille_checks::source;

#[test]
fn a_wake_spent_on_a_future_that_is_dropped_reaches_the_next_one() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget::to_pass(10_000);
        let verdict = engine::search(engine, &GivingUp::<PerEntry>::default(), budget);
        println!("{engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_queue_that_does_not_pass_it_on() {
    let budget = Budget::of_executions(200_000);
    for engine in [Engine::LoomSc, Engine::Shuttle] {
        let verdict = engine::search(engine, &GivingUp::<Mutant<KEEPS_THE_WAKE>>::default(), budget);
        assert_eq!(verdict.misses(), Some(true), "{engine:?}: {verdict:?}");
    }
}

const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

#[test]
fn a_wake_spent_on_a_waiter_whose_look_panics_reaches_the_next_one() {
    for look in [1, 2] {
        let scenario = PanickingLook::<PerEntry>::new(look);
        for engine in EXACT.into_iter().chain([Engine::LoomSc, Engine::LoomC11, Engine::Shuttle]) {
            let verdict = engine::search(engine, &scenario, Budget::to_pass(5_000));
            println!("look {look}, {engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
            if let Some(counterexample) = verdict.counterexample() {
                panic!("{}", report::render(counterexample));
            }
            assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
        }
    }
}

#[test]
fn the_same_check_rejects_a_queue_that_keeps_a_wake_that_came_during_the_look() {
    let scenario = PanickingLook::<Mutant<KEEPS_THE_WAKE>>::new(1);
    for engine in EXACT.into_iter().chain([Engine::LoomSc, Engine::Shuttle]) {
        let verdict = engine::search(engine, &scenario, Budget::of_executions(200_000));
        assert_eq!(verdict.misses(), Some(true), "{engine:?}: {verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_look_that_keeps_the_wake_that_it_was_called_for() {
    let call = source::call("wait_queue.rs", "look", "deliver").expect("it passes the wake on");
    let mutation = Mutation { place: call.place.clone(), label: None, change: Change::Dropped };
    let scenario = PanickingLook::<PerEntry>::new(2);
    for engine in EXACT.into_iter().chain([Engine::LoomSc, Engine::Shuttle]) {
        let search = || engine::search(engine, &scenario, Budget::of_executions(200_000));
        let (verdict, struck) = weakened::with_mutation(&mutation, search);
        assert!(verdict.misses() == Some(true) && struck > 0, "{engine:?}: {verdict:?}");
    }
}
