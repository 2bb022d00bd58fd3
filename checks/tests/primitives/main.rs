//! Each operation of the primitives does what it is called, under each memory, in every flavour; and one that
//! does less is found out.

mod atomics;
mod waits;

use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::scenario::Scenario;
use reveille_checks::verdict::{Counterexample, Verdict};

const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

/// Far more executions than any of these scenarios has.
const ALL: Budget = Budget::of_executions(20_000);

/// As many as it takes to find the mistakes here by interleavings.
const SOME: Budget = Budget::of_executions(1_000);

fn verdict(engine: Engine, scenario: impl Scenario) -> Verdict {
    let budget = if engine.of_the_exact_engine().is_some() { ALL } else { SOME };
    engine::search(engine, &scenario, budget.only_to_find())
}

/// Whether it loses under SC, x86-TSO and RC11. Where it does not, every execution was visited.
#[track_caller]
fn loses(scenario: impl Scenario) -> [bool; 3] {
    EXACT.map(|engine| match verdict(engine, scenario.clone()) {
        Verdict::Misses { .. } => true,
        Verdict::Complete { .. } => false,
        other => panic!("{}, {engine:?}: {other:?}", scenario.name()),
    })
}

#[track_caller]
fn counterexample(engine: Engine, scenario: impl Scenario) -> Counterexample {
    match verdict(engine, scenario) {
        Verdict::Misses { counterexample, .. } => counterexample,
        other => panic!("{engine:?}: {other:?}"),
    }
}
