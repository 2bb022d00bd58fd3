//! Kernel C under the Linux kernel memory model, against herd7: final states and numbers of executions, test by test.

use std::collections::{BTreeMap, BTreeSet};

use reveille_model::litmus::{Model, Observation, Outcomes, Test};

const KERNEL_TESTS: &str = include_str!("../litmus/kernel.litmus");
const KERNEL_STATES: &str = include_str!("../litmus/kernel.tsv");
const WAKEUP_CORE_TESTS: &str = include_str!("../litmus/wakeup-core-kernel.litmus");
const WAKEUP_CORE_VERDICTS: &str = include_str!("../litmus/wakeup-core-kernel.tsv");

/// The tests of a file that holds many, by name.
fn tests(file: &str) -> BTreeMap<String, Test> {
    let tests = Test::parse_all(file).unwrap_or_else(|error| panic!("{error}"));
    tests.into_iter().map(|test| (test.name().to_owned(), test)).collect()
}

fn run(test: &Test, model: Model) -> Outcomes {
    test.run(model).unwrap_or_else(|error| panic!("{} under {model}: {error}", test.name()))
}

fn observation(word: &str) -> Observation {
    let all = [Observation::Always, Observation::Sometimes, Observation::Never];
    all.into_iter().find(|known| known.to_string().starts_with(word)).unwrap_or_else(|| panic!("{word}"))
}

#[test]
fn every_kernel_test_has_herds_final_states_and_executions() {
    let tests = tests(KERNEL_TESTS);
    let (mut wrong, mut executions) = (Vec::new(), 0);
    let lines: Vec<&str> = KERNEL_STATES.lines().skip(1).collect();
    for line in &lines {
        let [_group, test, seen, count, names, states] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let names: Vec<&str> = names.split(',').collect();
        let state = |values: &str| {
            let pairs = names.iter().zip(values.split(',')).map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        };
        let herd: BTreeSet<String> = states.split(';').map(state).collect();
        let found = run(&tests[test], Model::Lkmm);
        let ours: BTreeSet<String> = found.states().collect();
        if ours != herd {
            let (missing, extra): (Vec<_>, Vec<_>) =
                (herd.difference(&ours).collect(), ours.difference(&herd).collect());
            wrong.push(format!("{test}: lacks {missing:?}, has {extra:?}"));
        }
        if found.executions.map(|count| count.to_string()).as_deref() != Some(count) {
            wrong.push(format!("{test}: {:?} executions, herd {count}", found.executions));
        }
        if found.observation != observation(seen) || found.race.is_some() {
            wrong.push(format!("{test}: {}, herd {seen}", found.observation));
        }
        executions += found.executions.unwrap_or(0);
    }
    assert_eq!((lines.len(), wrong), (350, vec![]));
    assert_eq!(executions, 11_979);
}

#[test]
fn every_core_of_the_wakeup_protocols_has_herds_verdict_and_executions() {
    let tests = tests(WAKEUP_CORE_TESTS);
    let mut wrong = Vec::new();
    let lines: Vec<&str> = WAKEUP_CORE_VERDICTS.lines().skip(1).collect();
    for line in &lines {
        let [test, seen, counts, ..] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let found = run(&tests[test], Model::Lkmm);
        let (_, executions) = counts.split_once('/').unwrap();
        let count = found.executions.map(|count| count.to_string());
        if found.observation != observation(seen) || count.as_deref() != Some(executions) {
            wrong.push(format!("{test}: {} {count:?}, herd {seen} {counts}", found.observation));
        }
    }
    assert_eq!((lines.len(), wrong), (84, vec![]));
}
