//! `ANSWER.md` says what the checkers say.

use reveille_checks::engine::{Budget, ENOUGH, Engine};
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{Case, GateName, Needs, WakeCase, documented};
use reveille_checks::{kernel, picture};
use reveille_model::litmus::{FLAWS, Model, Observation, Test};

const ANSWER: &str = include_str!("../ANSWER.md");

/// The cells of the row whose first one is this name.
fn row(name: &str) -> Vec<&'static str> {
    let start = format!("| `{name}` |");
    let row =
        ANSWER.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{name} has no row"));
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn what_the_answer_says_of_a_consumer_is_what_every_execution_says() {
    for consumer in Consumer::ALL {
        if consumer == Consumer::PasserBy {
            continue; // none of the kernel's
        }
        let cells = row(consumer.name());
        let [posted, rearm] = [cells[cells.len() - 2], cells[cells.len() - 1]];
        for (gate, said) in [(GateName::Posted, posted), (GateName::Rearm, rearm)] {
            let is_lost = documented(gate, consumer) != Needs::Nothing;
            assert_eq!(said.contains("lost"), is_lost, "{gate} with {consumer}: {said}");
            assert_ne!(said.contains("sound"), is_lost, "{gate} with {consumer}: {said}");
        }
    }
}

#[test]
fn the_flaws_of_the_answer_are_tests_that_are_shipped() {
    let named: Vec<&str> = ["F1", "F2", "F3", "F4"]
        .map(|flaw| {
            ANSWER.lines().find(|line| line.starts_with(&format!("| {flaw} |"))).expect("it has a row")
        })
        .iter()
        .filter_map(|row| row.rsplit('`').nth(1))
        .collect();
    assert_eq!(named.len(), 4);
    for name in named {
        assert!(FLAWS.iter().any(|flaw| flaw.name == name), "{name}");
    }
}

/// Litmus tests know no weakly ordered machine but those that RC11 and the kernel's model describe.
#[test]
fn a_cell_in_kernel_c_loses_a_wakeup_under_the_models_under_which_its_code_does() {
    let mut told = 0;
    for (gate, consumer) in
        GateName::ALL.into_iter().flat_map(|gate| Consumer::ALL.map(|consumer| (gate, consumer)))
    {
        let Some(example) = kernel::test(gate, consumer) else { continue };
        let test = Test::parse(example.text).expect("it is read elsewhere");
        let loses = Model::ALL.map(|model| test.run(model).unwrap().observation == Observation::Sometimes);
        let expected = match documented(gate, consumer) {
            Needs::Interleaving => [true; 4],
            Needs::StoreBuffer => [false, true, true, true],
            Needs::WeakerThanX86 => [false, false, true, true],
            Needs::Nothing => [false; 4],
        };
        assert_eq!(loses, expected, "{gate} with {consumer}: {}", example.name);
        told += 1;
    }
    assert!(told >= 55, "{told} cells");
}

#[test]
fn a_picture_is_one_file_that_names_the_threads_the_skipped_wake_and_the_cycle() {
    let case = WakeCase { gate: GateName::Posted, consumer: Consumer::EpollLevel };
    let verdict = case.search(Engine::ExactTso, Budget::of_executions(ENOUGH));
    let counterexample = verdict.counterexample().expect("it loses");
    let page = picture::html(counterexample);
    assert!(page.len() < 200_000, "{} bytes", page.len());
    for part in ["producer", "poller", "WAKE SKIPPED", "has not seen", "SLEEPS", "⋯", "All "] {
        assert!(page.contains(part), "no {part}");
    }
    // Nothing is fetched: the one address is the name of a format.
    assert_eq!(page.matches("://").count(), page.matches("http://www.w3.org/2000/svg").count());
    let svg = picture::svg(counterexample);
    for tag in ["svg", "text", "title", "defs"] {
        assert_eq!(
            svg.matches(&format!("<{tag}")).count(),
            svg.matches(&format!("</{tag}>")).count(),
            "{tag}"
        );
    }
}
