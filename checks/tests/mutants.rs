//! Every mistake is caught by an engine, and the table in the README of this crate says by whom.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use reveille_checks::engine::{Budget, Engine};
use reveille_checks::subject::mutant::ReadmeRow;
use reveille_checks::subject::{Case, MutantCase, readme};

/// For a search that is to find something, and for one that is to find nothing. `REVEILLE_BUDGET` makes both longer.
fn budgets() -> [Budget; 2] {
    let asked: Option<f64> = std::env::var("REVEILLE_BUDGET").ok().and_then(|text| text.parse().ok());
    [5.0, 0.1].map(|seconds: f64| {
        let time = Duration::from_secs_f64(seconds.max(asked.unwrap_or(0.0)));
        Budget { time, ..Budget::default() }
    })
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

/// Searches what the README says of a mistake once more. How many engines caught it, of those of which it says so.
fn confirm(mutant: MutantCase, row: &ReadmeRow) -> (usize, usize) {
    let [to_find, to_pass] = budgets();
    let (mut again, mut said) = (0, 0);
    for (engine, &caught) in Engine::ALL.into_iter().zip(&row.caught) {
        // What the hardware hits is a matter of the machine.
        let Some(caught) = caught.filter(|_| engine != Engine::Hardware) else { continue };
        let verdict = mutant.search(engine, if caught { to_find } else { to_pass });
        said += usize::from(caught);
        match verdict.misses() {
            Some(true) => {
                assert!(caught, "{mutant}: {engine:?} catches it, and the README says that it is blind");
                again += 1;
            }
            _ if caught => println!("{mutant}: {engine:?} did not catch it within {:?}", to_find.time),
            _ => {}
        }
    }
    (again, said)
}

#[test]
fn what_the_readme_says_of_the_other_mistakes_shows_again() {
    let rows: Vec<_> = rows().into_iter().filter(|(mutant, _)| mutant.documented().is_none()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counts = (0, 0);
        while let Some((mutant, row)) = rows.get(next.fetch_add(1, Relaxed)) {
            let (again, said) = confirm(*mutant, row);
            assert!(again > 0, "{mutant} survives");
            counts = (counts.0 + again, counts.1 + said);
        }
        counts
    };
    let (again, said) = std::thread::scope(|scope| {
        let workers = [0; 2].map(|_| scope.spawn(work));
        let counts = workers.map(|worker| worker.join().expect("a mistake is not what the README says"));
        counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    });
    println!("{again} of {said} marks seen again");
    assert!(again * 10 >= said * 9, "only {again} of {said} marks seen again: is the machine busy?");
}
