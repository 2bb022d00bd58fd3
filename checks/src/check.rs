//! One call for an ordinary test.

use reveille::gate::WakeOne;

use crate::engine::{self, Budget, Engine};
use crate::report;
use crate::scenario::{Consumer, PollWake, Scenario};
use crate::verdict::Verdict;

/// What [`check`] spends on each engine, a second or some, unless `REVEILLE_BUDGET` names seconds.
const EXECUTIONS: u64 = 20_000;

/// Checks a scenario of yours under loom `sc`, loom `c11` and shuttle, and prints what was searched.
///
/// # Panics
/// With the rendered counterexample, if an execution gets stuck or panics. That is its purpose.
#[track_caller]
pub fn check<S: Scenario>(scenario: S) {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        if let Err(counterexample) = check_with(engine, &scenario) {
            panic!("\n{counterexample}");
        }
    }
}

/// Checks a gate of yours with every consumer that this project knows and that it claims to serve: a gate that is
/// [`WakeOne`] has to serve them all.
///
/// # Panics
/// With the rendered counterexample, if a wakeup is missed. That is its purpose.
#[track_caller]
pub fn check_gate<G: WakeOne>() {
    check_gate_for::<G>(&Consumer::ALL);
}

/// [`check_gate`] for these consumers only.
///
/// # Panics
/// As [`check_gate`].
#[track_caller]
pub fn check_gate_for<G: WakeOne>(consumers: &[Consumer]) {
    for &consumer in consumers {
        check(PollWake::<G>::new(consumer));
    }
}

fn check_with<S: Scenario>(engine: Engine, scenario: &S) -> Result<(), String> {
    let what = format!("{}: {} {}", scenario.name(), engine.name(), engine.memory());
    match engine::search(engine, scenario, Budget::to_pass(EXECUTIONS)) {
        Verdict::Misses { counterexample, explored } | Verdict::Alarm { counterexample, explored, .. } => {
            let mut text = format!("{}({explored} executions)\n", report::render(&counterexample));
            if engine == Engine::LoomC11 {
                text += "Nothing was missed under sc. If a store of yours is ordered by fences only, this may be a false alarm of loom: \
                         make it a swap, and see whether the miss stays.\n";
            }
            return Err(text);
        }
        Verdict::Complete { explored } => {
            println!("{what}: the search ended, {explored} executions, nothing missed")
        }
        Verdict::Bounded { explored, by, .. } => {
            println!("{what}: nothing missed in {explored} executions ({by})")
        }
        Verdict::Skipped { why } | Verdict::Inconclusive { why } => {
            return Err(format!("{what}: no result: {why}\n"));
        }
    }
    Ok(())
}
