//! Each exhibit of the zoo lost a wakeup, on the machines that its card names and on no stronger one, and loses
//! none any more. Loom and shuttle look at the same exhibits in `pool.rs` and `pool_shuttle.rs`.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::subject::Needs;
use reveille_checks::verdict::{End, Verdict, Why};
use reveille_checks::zoo::{self, Discipline, Exhibit, Form, Shown, discipline};

const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

/// More executions than any exhibit has: a search that comes to it fails the test.
const ALL: Budget = Budget::of_executions(1_000_000);

/// Searches, two at a time.
fn search_each(shown: impl Iterator<Item = Shown>, check: impl Fn(Shown, Engine, &Verdict) + Sync) {
    let cells: Vec<_> = shown.flat_map(|shown| EXACT.map(|engine| (shown, engine))).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(shown, engine)) = cells.get(next.fetch_add(1, Relaxed)) {
                    let verdict = engine::search(engine, &shown, ALL);
                    println!("{shown}, {engine:?}: {} after {}", verdict.outcome(), verdict.explored());
                    check(shown, engine, &verdict);
                }
            });
        }
    });
}

#[test]
fn every_exhibit_loses_where_its_card_says_and_under_no_stronger_memory() {
    let losing = Exhibit::all().map(|exhibit| Shown { exhibit, form: Form::Losing });
    search_each(losing, |shown, engine, verdict| {
        let card = shown.exhibit.card();
        if !card.needs.shows_under(engine) {
            assert!(matches!(verdict, Verdict::Complete { .. }), "{shown}, {engine:?}: {verdict:?}");
            return;
        }
        let found = verdict.counterexample().unwrap_or_else(|| panic!("{shown}, {engine:?}: {verdict:?}"));
        assert!(matches!(found.end, End::Stuck(Some(_))), "{shown}, {engine:?}: {found:?}");
        assert_eq!(found.trace.threads.len(), card.threads, "{shown}");
        if engine == Engine::ExactSc {
            assert_eq!(found.why, Why::Interleaving, "{shown}");
        }
        if card.needs != Needs::Interleaving {
            assert!(matches!(found.why, Why::Cycle(_)), "{shown}, {engine:?}: no interleaving has it");
        }
        let record = found.record.as_deref().expect("it has one");
        let (by, _) = engine::replay(&shown, record).expect("it is made again");
        assert_eq!(by, engine, "{shown}");
    });
}

#[test]
fn every_exhibit_mended_loses_in_none_of_its_executions() {
    let mended = Exhibit::all().map(|exhibit| Shown { exhibit, form: Form::Mended });
    search_each(mended, |shown, engine, verdict| {
        assert!(matches!(verdict, Verdict::Complete { .. }), "{shown}, {engine:?}: {verdict:?}");
    });
}

/// It was reported, and lost nothing. That the searches do not pass by saying nothing is for the others to show.
#[test]
fn event_listeners_early_way_out_is_the_one_exhibit_that_loses_nothing() {
    let innocent: Vec<_> =
        Exhibit::all().filter(|exhibit| exhibit.card().needs == Needs::Nothing).map(Exhibit::name).collect();
    assert_eq!(innocent, ["event-listener-early-out"]);
    for exhibit in Exhibit::all() {
        assert_eq!(exhibit.card().broke.is_empty(), exhibit.card().needs == Needs::Nothing, "{exhibit}");
    }
}

#[test]
fn there_are_25_exhibits_and_each_is_found_by_its_name() {
    assert_eq!(Exhibit::all().count(), 25);
    for exhibit in Exhibit::all() {
        assert_eq!(exhibit.name().parse(), Ok(exhibit));
        assert!(!exhibit.card().story.is_empty() && !exhibit.card().source.is_empty());
    }
    let error = "no-such-exhibit".parse::<Exhibit>().unwrap_err();
    assert!(error.contains("hotspot-parker") && error.lines().count() == 1, "{error}");
}

#[test]
fn every_discipline_was_broken_by_an_exhibit() {
    for rule in discipline::ALL {
        assert!(Exhibit::all().any(|exhibit| exhibit.card().broke.contains(&rule)), "{}", rule.name);
    }
    let known = |rule: &Discipline| discipline::ALL.contains(rule);
    assert!(Exhibit::all().all(|exhibit| exhibit.card().broke.iter().all(known)));
}

#[test]
fn the_page_has_the_tables_of_the_code() {
    let page = include_str!("../src/zoo/README.md");
    let rows = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with('|')).map(str::to_owned).collect()
    };
    assert_eq!(rows(page), rows(&zoo::tables()), "out of date: cargo run --release -- zoo --readme");
}
