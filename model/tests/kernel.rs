//! Kernel C under the Linux kernel memory model, against herd7: final states and numbers of executions, test by test.

use std::collections::{BTreeMap, BTreeSet};

use reveille_model::litmus::{Example, FLAWS, Model, Observation, Outcomes, Test};

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

/// The C11 tests that the kernel tests are translations of, and what herd7 says of them.
const C11_STATES: &str = include_str!("../litmus/herd.tsv");
const C11_TESTS: &str = include_str!("../litmus/herd.litmus");

/// States and executions of the C11 originals under `sc`, `tso` and `rc11`, by name.
fn c11_originals() -> BTreeMap<String, [(BTreeSet<String>, u64); 3]> {
    let line = |line: &str| {
        let [_group, test, _observations, executions, names, states @ ..] =
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
        // Each column has what the model has more than the one to the left; the third is that of a machine.
        let mut so_far = BTreeSet::new();
        let columns = [0, 1, 2, 3].map(|column| {
            so_far.extend(states[column].split(';').filter(|values| !values.is_empty()).map(state));
            so_far.clone()
        });
        let [sc, tso, _machine, rc11] = columns;
        (test.to_string(), [(sc, executions[0]), (tso, executions[1]), (rc11, executions[2])])
    };
    C11_STATES.lines().skip(1).map(line).collect()
}

/// The texts of the tests of a file, by name.
fn texts(file: &str) -> BTreeMap<&str, &str> {
    let starts: Vec<usize> = file
        .match_indices("C ")
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || file[..*at].ends_with("\n\n"))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([file.len()]);
    let text = |(start, end): (&usize, usize)| {
        let text = &file[*start..end];
        (text[2..].split_whitespace().next().unwrap(), text)
    };
    starts.iter().zip(ends).map(text).collect()
}

/// Under SC, TSO and RC11 a kernel test is what its C11 original is, wherever the mapping of the
/// one is that of the other: a `cmpxchg` returns another value than a compare-exchange, `smp_mb()`
/// is more than an `acq_rel` fence, and under RC11 an `xchg()` is more than an `acq_rel` exchange.
#[test]
fn a_kernel_test_has_the_states_and_executions_of_its_c11_original_under_sc_tso_and_rc11() {
    let (originals, c11, kernel) = (c11_originals(), texts(C11_TESTS), texts(KERNEL_TESTS));
    let (mut compared, mut wrong) = ([0; 3], Vec::new());
    for (name, test) in tests(KERNEL_TESTS) {
        let name = name.strip_prefix("k-").unwrap();
        if kernel[test.name()].contains("cmpxchg") {
            continue;
        }
        let has_acq_rel_fence = c11[name].contains("atomic_thread_fence(memory_order_acq_rel)");
        let has_acq_rel = c11[name].contains("memory_order_acq_rel");
        let differs = [false, has_acq_rel_fence, has_acq_rel];
        for (index, model) in Model::ALL[..3].iter().enumerate().filter(|(index, _)| !differs[*index]) {
            let found = run(&test, *model);
            let (states, executions) = &originals[name][index];
            if found.states().collect::<BTreeSet<_>>() != *states || found.executions != Some(*executions) {
                wrong.push(format!(
                    "{name} under {model}: {:?} executions, herd {executions}",
                    found.executions
                ));
            }
            compared[index] += 1;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(compared, [330, 311, 236]);
}

/// herd7's verdicts are those of the cores in x86 and C11, which say more or less than kernel C in six places.
#[test]
fn the_cores_have_herds_verdicts_under_sc_tso_and_rc11() {
    // An exchange without a suffix is two `seq_cst` fences around a relaxed one here, and a `seq_cst`
    // exchange in C11.
    let exchanges = [
        "c11-repoll-xchg_full-waker-rtc under rc11: Never, herd Sometimes",
        "d2-repoll-mb-waker-nomb-full under rc11: Never, herd Sometimes",
        "g6-enq-xchg under rc11: Never, herd Sometimes",
    ];
    // The kernel has no `seq_cst` stores and loads.
    let seq_cst = [
        "k2-repoll-store-sc-tail-sc under tso: Sometimes, herd Never",
        "k2-repoll-store-sc-tail-sc under rc11: Sometimes, herd Never",
        "k3-repoll-store-sc under tso: Sometimes, herd Never",
    ];
    let tests = tests(WAKEUP_CORE_TESTS);
    let mut different = Vec::new();
    for line in WAKEUP_CORE_VERDICTS.lines().skip(1) {
        let [test, _lkmm, _count, rc11, tso, sc, _] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        for (model, seen) in Model::ALL.into_iter().zip([sc, tso, rc11]) {
            let found = run(&tests[test], model);
            if found.observation != observation(seen) {
                different.push(format!("{test} under {model}: {}, herd {seen}", found.observation));
            }
        }
    }
    assert_eq!(different, [exchanges, seq_cst].concat());
}

#[test]
fn what_is_possible_under_sequential_consistency_is_possible_under_every_model() {
    let mut compared = 0;
    for file in [KERNEL_TESTS, WAKEUP_CORE_TESTS] {
        for (name, test) in tests(file) {
            let [sc, others @ ..] =
                Model::ALL.map(|model| run(&test, model).states().collect::<BTreeSet<_>>());
            assert!(others.iter().all(|other| sc.is_subset(other)), "{name}");
            compared += 1;
        }
    }
    assert_eq!(compared, 434);
}

/// The flaws of the patch and the sound forms: verdicts under SC, x86-TSO, RC11 and the kernel's model. What each
/// encodes, its head says.
#[test]
fn the_flaws_lose_a_wakeup_and_the_sound_forms_do_not() {
    use Observation::{Never as N, Sometimes as S};
    let expected = [
        ("F1-never-rearmed", [S, S, S, S]),
        ("F1-sound-counted", [N, N, N, N]),
        ("F2-armed-before-enqueue", [S, S, S, S]),
        ("F2-sound-armed-after-enqueue", [N, N, N, N]),
        ("F3-repoll", [N, S, S, S]),
        ("F3-sound-full-barrier", [N, N, N, N]),
        ("F4-activation", [S, S, S, S]),
        ("F4-sound-armed-after-enqueue", [N, N, N, N]),
        ("has-sleeper-before-6.14", [N, S, S, S]),
        ("sound-has-sleeper", [N, N, N, N]),
        ("sound-per-entry", [N, N, N, N]),
    ];
    assert_eq!(FLAWS.iter().map(|flaw| flaw.name).collect::<Vec<_>>(), expected.map(|(name, _)| name));
    for (Example { name, text }, (_, verdicts)) in FLAWS.iter().zip(expected) {
        let test = Test::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(test.name(), *name);
        assert_eq!(Model::ALL.map(|model| run(&test, model).observation), verdicts, "{name}");
        // Its head says the same of the kernel's model, and how to ask herd7.
        assert!(text.contains(&format!("Expected: {}", verdicts[3])), "{name}");
        assert!(text.contains(&format!("herd7 -conf linux-kernel.cfg {name}.litmus")), "{name}");
    }
}

/// What makes the sound forms sound: without the poller's full barrier each loses a wakeup, and the counted
/// one if nothing is counted.
#[test]
fn without_its_barrier_or_its_count_a_sound_form_loses_a_wakeup() {
    for (name, what, instead) in [
        ("F1-sound-counted", "persistent=1;", "persistent=0;"),
        ("F2-sound-armed-after-enqueue", "\tsmp_mb();\n", ""),
        ("F3-sound-full-barrier", "\tsmp_mb();\n", ""),
        ("F4-sound-armed-after-enqueue", "\tsmp_mb();\n", ""),
        ("sound-has-sleeper", "\tsmp_mb();\n", ""),
        ("sound-per-entry", "\tsmp_mb();\n", ""),
    ] {
        let text = FLAWS.iter().find(|flaw| flaw.name == name).expect("it is there").text;
        assert!(text.contains(what), "{name}");
        // The first barrier in the text is the poller's.
        let test = Test::parse(&text.replacen(what, instead, 1)).unwrap();
        assert_eq!(run(&test, Model::Lkmm).observation, Observation::Sometimes, "{name}");
    }
}

/// A `cmpxchg()` that fails orders nothing, but a barrier that goes with atomic operations may stand beside it.
#[test]
fn a_failing_cmpxchg_is_no_barrier_and_completes_one() {
    let text = |barrier: &str| {
        format!(
            "C SB+cmpxchg {{}}
             P0(int *x, int *y, int *z) {{
               WRITE_ONCE(*x, 1); r1 = cmpxchg(z, 1, 2); {barrier} r0 = READ_ONCE(*y); }}
             P1(int *x, int *y, int *z) {{
               WRITE_ONCE(*y, 1); r1 = cmpxchg(z, 1, 2); {barrier} r0 = READ_ONCE(*x); }}
             exists (0:r0=0 /\\ 1:r0=0)"
        )
    };
    let seen = |text: &str| run(&Test::parse(text).unwrap(), Model::Lkmm).observation;
    assert_eq!(seen(&text("")), Observation::Sometimes);
    assert_eq!(seen(&text("smp_mb__after_atomic();")), Observation::Never);
    assert_eq!(seen(&text("").replace("cmpxchg(z, 1, 2)", "cmpxchg(z, 0, 0)")), Observation::Never);
}
