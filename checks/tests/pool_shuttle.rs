//! The worker pool under shuttle: more threads and more jobs than loom can take, depth first, PCT and random. In a test binary of its own,
//! because shuttle's hook for panics is the process's.

use reveille::pool::Layout;
use reveille_checks::engine::{self, Budget, ENOUGH, Engine};
use reveille_checks::report;
use reveille_checks::scenario::{PoolScenario, Protocol};
use reveille_checks::subject::Needs;
use reveille_checks::subject::pool::MUTANTS;
use reveille_checks::verdict::Verdict;
use reveille_checks::zoo::{Exhibit, Form, Shown};

/// For a search that has to find something: it ends when it has. An eighth of it goes to the schedules in depth-first order.
const TO_FIND: Budget = Budget::of_executions(ENOUGH);
/// For a search that is to find nothing. `REVEILLE_BUDGET` makes it longer.
fn to_pass() -> Budget {
    Budget::to_pass(2_000)
}

#[track_caller]
fn passes(what: &str, verdict: &Verdict) {
    if let Some(counterexample) = verdict.counterexample() {
        panic!("{what}\n{}", report::render(counterexample));
    }
    println!("{what}: {} executions, {:?}", verdict.explored(), verdict.bound());
    assert_eq!(verdict.misses(), Some(false), "{what}: {verdict:?}");
}

#[test]
fn the_protocols_hold_in_every_schedule_that_was_tried() {
    for protocol in Protocol::ALL {
        passes(protocol.name(), &engine::search(Engine::Shuttle, &<PoolScenario>::new(protocol), to_pass()));
    }
}

#[test]
fn jobs_of_all_kinds_from_three_threads_have_one_outcome_each_in_every_layout() {
    for layout in [Layout::OneLock, Layout::LockPerAccount, Layout::Sharded(1), Layout::Sharded(3)] {
        let scenario = <PoolScenario>::new(Protocol::Mixture).with_layout(layout);
        passes(&format!("mixture, {layout:?}"), &engine::search(Engine::Shuttle, &scenario, to_pass()));
    }
}

#[test]
fn the_mistakes_that_interleavings_show_are_found() {
    for mutant in MUTANTS.iter().filter(|mutant| mutant.shows_under(Engine::Shuttle)) {
        let verdict = mutant.search(Engine::Shuttle, TO_FIND);
        let what = format!("{}, {}", mutant.protocol, mutant.name);
        assert_eq!(verdict.misses(), Some(true), "{what} survives: {verdict:?}");
        println!("{what}: found after {} executions", verdict.explored());
    }
}

#[test]
fn what_any_machine_lost_once_is_found_and_its_mended_form_passes() {
    for exhibit in Exhibit::all().filter(|exhibit| exhibit.card().needs == Needs::Interleaving) {
        let losing = engine::search(Engine::Shuttle, &Shown { exhibit, form: Form::Losing }, TO_FIND);
        assert_eq!(losing.misses(), Some(true), "{exhibit}: {losing:?}");
        let mended = engine::search(Engine::Shuttle, &Shown { exhibit, form: Form::Mended }, to_pass());
        passes(exhibit.name(), &mended);
    }
}
