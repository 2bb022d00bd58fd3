//! Every ordering in the library is needed, or says why it stays; and its comment tells the truth about its partner.

use proc_macro2::{TokenStream, TokenTree};
use reveille_checks::engine::Budget;
use reveille_checks::flavour::weakened::{Operation, Strength};
use reveille_checks::orderings::{ENGINE, InTheModel, Probe, Row, probe, rows, scenarios};
use reveille_checks::report;
use reveille_checks::source::{self, calls_in, files, uses};

/// For a search that has to find something: it ends when it has.
const TO_FIND: Budget = Budget::of_executions(1_000_000).only_to_find();

/// For a search that is to find nothing. `REVEILLE_BUDGET` makes it longer.
fn to_pass() -> Budget {
    Budget::to_pass(1_500)
}

/// How often the names of orderings stand among tokens, imports and tests left out: another way to count than
/// [`source::uses`] has.
fn count(tokens: TokenStream) -> usize {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut found = 0;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            // To the end of the import.
            TokenTree::Ident(word) if *word == "use" => {
                while !matches!(&tokens[at], TokenTree::Punct(end) if end.as_char() == ';') {
                    at += 1;
                }
            }
            TokenTree::Ident(word) if *word == "mod" && tokens[at + 1].to_string() == "tests" => at += 2,
            TokenTree::Ident(word) => {
                let name = word.to_string();
                found +=
                    usize::from(Strength::ALL.iter().any(|order| format!("{:?}", order.ordering()) == name));
            }
            TokenTree::Group(group) => found += count(group.stream()),
            _ => {}
        }
        at += 1;
    }
    found
}

#[test]
fn every_ordering_in_the_source_is_listed() {
    let rows = rows();
    assert!(rows.len() > 30, "{}", rows.len());
    for (file, text) in files() {
        let listed = rows.iter().filter(|row| row.used.place.file == file).count();
        assert_eq!(listed, count(text.parse().unwrap()), "{file}");
    }
}

#[test]
fn every_ordering_that_orders_names_a_partner_and_the_partner_exists() {
    let all = uses();
    for ordering in all.iter().filter(|ordering| ordering.is_ordered()) {
        let partners = ordering.partners(&all);
        assert!(
            !partners.is_empty(),
            "{}: the comment names no partner: {}",
            ordering.place,
            ordering.comment
        );
        for partner in partners {
            assert!(partner.exists, "{}: there is no {}", ordering.place, partner.words);
        }
    }
}

#[test]
fn a_comment_that_names_a_partner_that_is_gone_is_noticed() {
    let source = "impl A {
        fn look(&self) {
            // Acquire: pairs with the release store of `tail` in `publish`.
            self.tail.load(Acquire);
        }
        fn publish(&self) {
            // Release: pairs with the acquire load of `head` in `look`, and with the full fence in `nowhere`.
            self.tail.store(1, Release);
        }
    }";
    let all: Vec<_> = calls_in("a.rs", source).unwrap().iter().flat_map(source::uses_of).collect();
    let existing = |ordering: &source::Use| {
        ordering.partners(&all).iter().map(|partner| partner.exists).collect::<Vec<_>>()
    };
    assert_eq!(all.iter().map(existing).collect::<Vec<_>>(), [vec![true], vec![false, false]]);
    let weakened = source.replace("store(1, Release)", "store(1, Relaxed)");
    let all: Vec<_> = calls_in("a.rs", &weakened).unwrap().iter().flat_map(source::uses_of).collect();
    assert!(!all[0].partners(&all)[0].exists, "a partner that is relaxed is none");
}

#[test]
fn nothing_is_lost_with_the_orderings_that_there_are() {
    for scenario in scenarios() {
        let verdict = scenario.search(ENGINE, to_pass());
        println!("{}: {} executions, {:?}", scenario.name, verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

/// Whether the row's mistakes all lose something, or its comment says why it stays; not both.
fn is_explained(row: &Row) -> bool {
    let scenarios = scenarios();
    let scenarios: Vec<_> =
        scenarios.iter().filter(|scenario| row.scenarios.contains(&scenario.name)).collect();
    let to_find = row.used.why_kept().is_none() && row.used.why_unreached().is_none();
    let budget = if to_find { TO_FIND } else { to_pass() };
    let needed = row.mutations().all(|mutation| {
        match probe(&mutation, &scenarios, budget) {
            Probe::Needed { scenario, explored, .. } => {
                println!("{mutation}: caught in {scenario}, {explored} executions");
                true
            }
            Probe::NotNeeded { scenarios, ended, explored } => {
                println!("{mutation}: nothing lost in {explored} executions of {scenarios} scenarios, {ended} to the end");
                false
            }
        }
    });
    row.is_explained(needed)
}

#[test]
fn every_ordering_is_needed_or_says_why_it_stays() {
    let rows = rows();
    let unexplained = |rows: &[Row]| {
        let rows = rows.iter().filter(|row| !is_explained(row));
        rows.map(|row| format!("{} {}", row.used.place, row.used.operation.name())).collect::<Vec<_>>()
    };
    let (some, others) = rows.split_at(rows.len() / 2);
    let unexplained = std::thread::scope(|scope| {
        let some = scope.spawn(|| unexplained(some));
        [unexplained(others), some.join().unwrap()].concat()
    });
    assert_eq!(unexplained, Vec::<String>::new());
}

#[test]
fn what_is_relaxed_already_needs_no_excuse_and_claims_no_partner() {
    let all = uses();
    for relaxed in all.iter().filter(|used| !used.is_ordered()) {
        assert_eq!(relaxed.partners(&all), [], "{}", relaxed.place);
    }
    for row in rows().iter().filter(|row| row.changes.is_empty() && !row.used.on_failure) {
        assert_eq!(row.used.why_kept(), None, "{}", row.used.place);
        assert!(!row.used.is_ordered() && row.used.operation != Operation::Fence);
    }
}

#[test]
fn where_the_model_is_said_to_do_the_same_it_has_an_operation_of_the_same_order() {
    let places: Vec<_> =
        uses().into_iter().filter_map(|used| Some((InTheModel::of(&used.place)?, used))).collect();
    assert!(places.len() >= 14, "{places:?}");
    for (place, used) in places.iter().filter(|(_, used)| !used.on_failure) {
        assert!(place.is(used), "{used:?}: {place:?}");
    }
}
