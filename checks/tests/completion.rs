//! The library's own completion queue under the engines: two producers, a ring that is too small, a consumer that sleeps.

use reveille::gate::PerEntry;
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::mutants::{LEAVES_ARMED, Mutant, NO_BARRIER_AFTER_ARM};
use reveille_checks::report;
use reveille_checks::scenario::{Completions, ReactorSleep};

/// A batch of two and a single completion, through a ring of one slot.
fn overflowing<G>() -> Completions<G> {
    Completions::new(1, &[&[2], &[1]])
}

#[test]
fn a_reactor_that_something_else_wakes_misses_no_completion() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget::to_pass(10_000);
        let verdict = engine::search(engine, &ReactorSleep::<PerEntry>::default(), budget);
        println!("{engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_gate_that_forgets_who_left() {
    let budget = Budget::of_executions(200_000);
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let verdict = engine::search(engine, &ReactorSleep::<Mutant<LEAVES_ARMED>>::default(), budget);
        assert_eq!(verdict.misses(), Some(true), "{engine:?}: {verdict:?}");
    }
    let scenario = ReactorSleep::<Mutant<NO_BARRIER_AFTER_ARM>>::default();
    assert_eq!(engine::search(Engine::LoomC11, &scenario, budget).misses(), Some(true));
}

#[test]
fn nothing_is_lost_and_the_order_is_kept_under_every_engine() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget::to_pass(10_000);
        let verdict = engine::search(engine, &overflowing::<PerEntry>(), budget);
        println!("{engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_gate_without_its_barrier() {
    let budget = Budget::of_executions(200_000);
    let scenario = overflowing::<Mutant<NO_BARRIER_AFTER_ARM>>();
    let verdict = engine::search(Engine::LoomC11, &scenario, budget);
    assert_eq!(verdict.misses(), Some(true), "{verdict:?}");
}
