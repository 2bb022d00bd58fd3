//! The memory models against herd7, which nobody here wrote: numbers of executions, and final states as sets, test by test.
//!
//! First those of the exact engine, then the machines that protocols are searched on.

use std::collections::{BTreeMap, BTreeSet};

use reveille_model::litmus::{Error, Observation, Outcomes, Test};
use reveille_model::memory::Memory;
use reveille_model::search::Options;

const HERD_TESTS: &str = include_str!("../litmus/herd.litmus");
const HERD_STATES: &str = include_str!("../litmus/herd.tsv");
const WAKEUP_CORE_TESTS: &str = include_str!("../litmus/wakeup-core.litmus");
const WAKEUP_CORE_VERDICTS: &str = include_str!("../litmus/wakeup-core.tsv");

/// The tests of a file that holds many, by name.
fn tests(file: &str) -> BTreeMap<String, Test> {
    let tests = Test::parse_all(file).unwrap_or_else(|error| panic!("{error}"));
    tests.into_iter().map(|test| (test.name().to_owned(), test)).collect()
}

/// What herd7 says of one test.
struct Expected {
    group: String,
    test: String,
    /// How many executions there are under `sc`, `tso` and `rc11`
    executions: [u64; 3],
    /// Observation and states under `sc`, `tso`, `rc11-trace` and `rc11`
    models: [Option<(Observation, BTreeSet<String>)>; 4],
}

impl Expected {
    fn model(&self, model: usize) -> &(Observation, BTreeSet<String>) {
        self.models[model].as_ref().unwrap_or_else(|| panic!("{}: nothing is known", self.test))
    }

    /// There is no machine for these under RC11.
    fn has_seq_cst_accesses(&self) -> bool {
        self.group.starts_with("sc-access")
    }
}

const SC: usize = 0;
const TSO: usize = 1;
const RC11_TRACE: usize = 2;
const RC11: usize = 3;

/// Reads `herd.tsv`, which has for each model only the states that the model before it does not have.
fn expected() -> Vec<Expected> {
    let line = |line: &str| {
        let [group, test, observations, executions, names, states @ ..] =
            &line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let executions: Vec<u64> = executions.split(',').map(|count| count.parse().unwrap()).collect();
        let names: Vec<&str> = names.split(',').collect();
        let state = |values: &str| {
            let pairs = names.iter().zip(values.split(',')).map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        };
        let mut so_far = BTreeSet::new();
        let models = [SC, TSO, RC11_TRACE, RC11].map(|model| {
            so_far.extend(states[model].split(';').filter(|values| !values.is_empty()).map(state));
            let observation = match observations.as_bytes()[model] {
                b'A' => Observation::Always,
                b'S' => Observation::Sometimes,
                b'N' => Observation::Never,
                _ => return None,
            };
            Some((observation, so_far.clone()))
        });
        let (group, test) = (group.to_string(), test.to_string());
        Expected { group, test, executions: executions.try_into().unwrap(), models }
    };
    HERD_STATES.lines().skip(1).map(line).collect()
}

fn run(test: &Test, memory: Memory) -> Outcomes {
    test.run(memory).unwrap_or_else(|error| panic!("{}: {error}", test.name()))
}

/// How two sets of final states differ, if they do.
fn difference(outcomes: &Outcomes, herd: &(Observation, BTreeSet<String>)) -> Option<String> {
    let states: BTreeSet<String> = outcomes.states().collect();
    if states == herd.1 && outcomes.observation == herd.0 {
        return None;
    }
    let missing: Vec<_> = herd.1.difference(&states).collect();
    let extra: Vec<_> = states.difference(&herd.1).collect();
    Some(format!("is {}, lacks {missing:?}, has {extra:?}", outcomes.observation))
}

/// The exact engine: a count that is herd's says that each execution came up, and only once.
#[test]
fn every_test_has_herds_number_of_executions_and_exactly_its_final_states_under_each_memory() {
    let tests = tests(HERD_TESTS);
    let mut wrong = Vec::new();
    let mut executions = [0; 3];
    let expected = expected();
    for expected in &expected {
        for (index, (memory, model)) in
            [(Memory::Sc, SC), (Memory::Tso, TSO), (Memory::Rc11, RC11)].into_iter().enumerate()
        {
            let outcomes = run(&tests[&expected.test], memory);
            if outcomes.executions != Some(expected.executions[index]) {
                let (is, herd) = (outcomes.executions, expected.executions[index]);
                wrong.push(format!("{} under {memory}: {is:?} executions, herd {herd}", expected.test));
            }
            let states = difference(&outcomes, expected.model(model));
            wrong.extend(states.map(|states| format!("{} under {memory}: {states}", expected.test)));
            executions[index] += expected.executions[index];
        }
    }
    assert_eq!((expected.len(), wrong), (1020, vec![]));
    assert_eq!(executions, [21_642, 23_482, 30_423]);
}

#[test]
fn a_weaker_memory_has_no_fewer_executions_and_all_the_final_states() {
    for (name, test) in tests(HERD_TESTS) {
        let [sc, tso, rc11] = [Memory::Sc, Memory::Tso, Memory::Rc11].map(|memory| run(&test, memory));
        assert!(sc.executions <= tso.executions && tso.executions <= rc11.executions, "{name}");
        let [sc, tso, rc11] = [sc, tso, rc11].map(|found| found.states().collect::<BTreeSet<_>>());
        assert!(sc.is_subset(&tso) && tso.is_subset(&rc11), "{name}");
    }
}

const ORDERS: [(&str, u8); 5] = [
    // With bits for acquire, release, and the order of all `seq_cst` operations
    ("memory_order_relaxed", 0b000),
    ("memory_order_acquire", 0b001),
    ("memory_order_release", 0b010),
    ("memory_order_acq_rel", 0b011),
    ("memory_order_seq_cst", 0b111),
];

/// The tests that come of one by making a single order in it stronger, each with what was changed.
fn strengthened(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (at, _) in text.match_indices("memory_order_") {
        let (before, rest) = text.split_at(at);
        let &(order, bits) = ORDERS.iter().find(|(order, _)| rest.starts_with(order)).unwrap();
        let call = &before[before.rfind("atomic_").unwrap()..];
        // What a load has, a store, and a compare-exchange that fails
        let possible = match call {
            _ if call.starts_with("atomic_load") || call.contains("memory_order_") => 0b101,
            _ if call.starts_with("atomic_store") => 0b110,
            _ => 0b111,
        };
        let is_stronger = |other: u8| other != bits && other & bits == bits;
        let is_possible = |other: u8| other == 0b111 || other & !possible == 0;
        for (stronger, _) in ORDERS.iter().filter(|&&(_, other)| is_stronger(other) && is_possible(other)) {
            let changed = format!("{before}{stronger}{}", &rest[order.len()..]);
            let line = before.lines().last().unwrap().trim_start();
            all.push((changed, format!("{line}{order} -> {stronger}")));
        }
    }
    all
}

#[test]
fn a_stronger_order_adds_no_execution_and_no_final_state_under_rc11() {
    let texts: Vec<String> =
        format!("\n{HERD_TESTS}").split("\nC ").skip(1).map(|test| format!("C {test}")).collect();
    let (mut compared, mut fewer) = (0, 0);
    for text in &texts {
        let weak = run(&Test::parse(text).unwrap(), Memory::Rc11);
        let weak_states: BTreeSet<String> = weak.states().collect();
        for (text, change) in strengthened(text) {
            let test = Test::parse(&text).unwrap();
            let strong = run(&test, Memory::Rc11);
            assert!(strong.executions <= weak.executions, "{}: {change}", test.name());
            for state in strong.states() {
                assert!(weak_states.contains(&state), "{}: {change} adds {state}", test.name());
            }
            compared += 1;
            fewer += usize::from(strong.executions < weak.executions);
        }
    }
    assert_eq!((texts.len(), compared, fewer), (1020, 10_747, 740));
}

/// One of them hands a plain location over, between `seq_cst` fences.
#[test]
fn every_core_of_a_wakeup_protocol_gets_herds_verdict_and_number_of_executions_under_rc11() {
    let tests = tests(WAKEUP_CORE_TESTS);
    let mut wrong = Vec::new();
    for (name, verdict, executions) in wakeup_core_verdicts() {
        let outcomes = run(&tests[name], Memory::Rc11);
        let is = (outcomes.observation.to_string(), outcomes.executions);
        if is != (verdict.to_owned(), Some(executions)) {
            wrong.push(format!("{name}: {is:?}, herd {verdict} {executions}"));
        }
    }
    assert_eq!((tests.len(), wrong), (84, vec![]));
}

fn wakeup_core_verdicts() -> Vec<(&'static str, &'static str, u64)> {
    let line = |line: &'static str| match line.split('\t').collect::<Vec<_>>()[..] {
        [name, verdict, executions, ..] => (name, verdict, executions.parse().unwrap()),
        _ => panic!("{line}"),
    };
    WAKEUP_CORE_VERDICTS.lines().skip(1).map(line).collect()
}

/// The tests whose final states on the machine of `memory` are not those that herd7 gives for its `model`, and how many
/// were compared.
fn machine_disagrees(
    memory: Memory,
    model: usize,
    include: impl Fn(&Expected) -> bool,
) -> (usize, Vec<String>) {
    let tests = tests(HERD_TESTS);
    let mut wrong = Vec::new();
    let expected: Vec<Expected> = expected().into_iter().filter(include).collect();
    for expected in &expected {
        let outcomes = tests[&expected.test].run_on_machine(memory, Options::default());
        let outcomes = outcomes.unwrap_or_else(|error| panic!("{}: {error}", expected.test));
        let states = difference(&outcomes, expected.model(model));
        wrong.extend(states.map(|states| format!("{} on the machine of {memory}: {states}", expected.test)));
    }
    (expected.len(), wrong)
}

#[test]
fn the_machine_of_sc_has_exactly_the_states_of_herd_on_every_test() {
    assert_eq!(machine_disagrees(Memory::Sc, SC, |_| true), (1020, vec![]));
}

#[test]
fn the_machine_of_tso_has_exactly_the_states_of_herd_on_every_test() {
    assert_eq!(machine_disagrees(Memory::Tso, TSO, |_| true), (1020, vec![]));
}

#[test]
fn the_machine_of_rc11_has_exactly_the_states_of_rc11_trace_on_every_test_without_seq_cst_accesses() {
    let (compared, wrong) = machine_disagrees(Memory::Rc11, RC11_TRACE, |test| !test.has_seq_cst_accesses());
    assert_eq!((compared, wrong), (915, vec![]));
}

#[test]
fn the_machine_of_rc11_rejects_seq_cst_accesses_with_their_place() {
    let tests = tests(HERD_TESTS);
    let with_them: Vec<_> = expected().into_iter().filter(Expected::has_seq_cst_accesses).collect();
    assert_eq!(with_them.len(), 16 + 89);
    for Expected { test, .. } in with_them {
        let result = tests[&test].run_on_machine(Memory::Rc11, Options::default());
        assert!(matches!(result, Err(Error::SeqCstAccess { place, .. }) if place.line > 1), "{test}");
    }
}

/// The README lists these.
#[test]
fn rc11_proper_has_more_states_only_where_a_third_thread_connects_two_fences() {
    let more: Vec<(String, usize)> = expected()
        .into_iter()
        .filter(|expected| expected.models[RC11_TRACE].is_some())
        .map(|expected| (expected.model(RC11).1.len() - expected.model(RC11_TRACE).1.len(), expected.test))
        .map(|(states, test)| (test, states))
        .filter(|(_, states)| *states > 0)
        .collect();
    for (test, states) in &more {
        println!("{test}: {states} more under herd's rc11");
    }
    assert_eq!(more.len(), 6);
    assert!(more.iter().all(|(_, states)| *states == 1));
}

#[test]
fn the_machine_of_rc11_agrees_with_herds_verdict_on_the_cores_that_it_can_run() {
    let tests = tests(WAKEUP_CORE_TESTS);
    let (mut compared, mut rejected) = (0, Vec::new());
    for (name, verdict, _) in wakeup_core_verdicts() {
        match tests[name].run_on_machine(Memory::Rc11, Options::default()) {
            Ok(outcomes) => {
                compared += 1;
                assert_eq!(outcomes.observation.to_string(), verdict, "{name}");
            }
            Err(Error::SeqCstAccess { .. } | Error::Meaning { .. }) => rejected.push(name),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    assert_eq!((compared, rejected.len()), (66, 18), "{rejected:?}");
    assert!(rejected.contains(&"h3p-payload-acq-plaincqe"));
}

/// The search that leaves out interleavings is checked against the one that does not: on every fourth test, or on all of them with
/// `REVEILLE_BUDGET`.
#[test]
fn reduction_loses_no_final_state() {
    let every = if std::env::var_os("REVEILLE_BUDGET").is_some() { 1 } else { 4 };
    println!("one of {every} tests; all of them with REVEILLE_BUDGET=1");
    for (name, test) in tests(HERD_TESTS).into_iter().step_by(every) {
        for memory in Memory::ALL {
            let run = |reduce| test.run_on_machine(memory, Options { reduce, ..Options::default() });
            let (Ok(reduced), Ok(full)) = (run(true), run(false)) else { continue };
            assert_eq!(reduced, full, "{name} under {memory}");
        }
    }
}
