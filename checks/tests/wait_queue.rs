//! The library's own wait queue with async waiters under the engines: one of two gives up while a wake is on its way.

use reveille::gate::PerEntry;
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::mutants::{KEEPS_THE_WAKE, Mutant};
use reveille_checks::report;
use reveille_checks::scenario::GivingUp;

#[test]
fn a_wake_spent_on_a_future_that_is_dropped_reaches_the_next_one() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget::to_pass(30_000);
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
