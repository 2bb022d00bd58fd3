//! Every mistake is caught by an engine, and the table in the README of this crate says by whom.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::subject::mutant::ReadmeRow;
use reveille_checks::subject::{Case, MutantCase, readme};

/// For a search that has to find something: it ends when it has.
const TO_FIND: Budget = Budget::of_executions(400_000).only_to_find();

/// The same for the exact engine, which finds at random first, depth first then, and at random again.
const TO_FIND_EXACTLY: Budget = Budget::of_executions(60_000).only_to_find();

/// For a search that is to find nothing. `REVEILLE_BUDGET` makes it longer.
fn to_pass() -> Budget {
    Budget::to_pass(500)
}

/// The rows of the README, each with its mistake.
fn rows() -> Vec<(MutantCase, ReadmeRow)> {
    MutantCase::all().into_iter().zip(readme()).collect()
}

#[test]
fn the_readme_lists_all_mistakes_and_no_other() {
    let names: Vec<_> = MutantCase::all().iter().map(|mutant| mutant.name()).collect();
    let listed: Vec<_> = readme().into_iter().map(|row| row.name).collect();
    assert_eq!(listed, names, "out of date: cargo run --release -- mutants --readme --budget 600");
    assert!(names.len() >= 40, "{}", names.len());
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "two mistakes have one name");
}

#[test]
fn every_mistake_is_caught_by_an_engine_at_least() {
    for (mutant, row) in rows() {
        assert!(row.caught.contains(&Some(true)), "{mutant}");
    }
}

#[test]
fn the_readme_leaves_out_the_engines_that_cannot_be_asked_and_no_other() {
    for (mutant, row) in rows() {
        for (engine, caught) in Engine::ALL.into_iter().zip(row.caught) {
            assert_eq!(caught.is_none(), mutant.pointless(engine).is_some(), "{mutant}, {engine:?}");
        }
    }
}

/// The verdict's own mistakes: other tests search them.
#[test]
fn of_the_verdicts_mistakes_the_readme_says_what_is_documented() {
    for (mutant, row) in rows() {
        let Some(documented) = mutant.documented() else { continue };
        for (engine, caught) in Engine::ALL.into_iter().zip(row.caught) {
            if engine != Engine::Hardware && caught.is_some() {
                assert_eq!(caught == Some(true), documented.contains(&engine), "{mutant}, {engine:?}");
            }
        }
    }
}

/// Searches what the README says of a mistake once more; says where it is not so.
fn differs(mutant: MutantCase, row: &ReadmeRow) -> Vec<String> {
    let mut differs = Vec::new();
    for (engine, &caught) in Engine::ALL.into_iter().zip(&row.caught) {
        // What the hardware hits is a matter of the machine.
        let Some(caught) = caught.filter(|_| engine != Engine::Hardware) else { continue };
        // Where stores are late at most, such a fence is none, and the next row is about that.
        let is_none = mutant.name().ends_with("fence: acq_rel");
        if is_none && matches!(engine, Engine::ExactSc | Engine::ExactTso | Engine::LoomSc | Engine::Shuttle)
        {
            continue;
        }
        let budget = match (caught, engine.of_the_exact_engine()) {
            (true, None) => TO_FIND,
            (true, Some(_)) => TO_FIND_EXACTLY,
            (false, _) => to_pass(),
        };
        let verdict = mutant.search(engine, budget);
        println!("{mutant}: {engine:?}, {} executions or states", verdict.explored());
        match (verdict.misses() == Some(true), caught) {
            (true, false) => {
                differs.push(format!("{mutant}: {engine:?} catches it after {}", verdict.explored()))
            }
            (false, true) => differs.push(format!("{mutant}: {engine:?} does not catch it: {verdict:?}")),
            _ => {}
        }
    }
    differs
}

#[test]
fn what_the_readme_says_of_the_other_mistakes_shows_again() {
    let rows: Vec<_> = rows().into_iter().filter(|(mutant, _)| mutant.documented().is_none()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut all = Vec::new();
        while let Some((mutant, row)) = rows.get(next.fetch_add(1, Relaxed)) {
            all.extend(differs(*mutant, row));
        }
        all
    };
    let differs = std::thread::scope(|scope| {
        let workers = [0; 2].map(|_| scope.spawn(work));
        workers.map(|worker| worker.join().expect("a search does not panic")).concat()
    });
    assert_eq!(differs, [""; 0], "the README says otherwise");
}
