//! `ANSWER.md` says what the checkers say.

use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{GateName, Needs, documented};
use reveille_model::litmus::FLAWS;

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
