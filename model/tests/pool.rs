//! The worker pool's protocols, each searched completely, and each mistake rejected.

use std::collections::BTreeSet;
use std::sync::Mutex;

use reveille_model::memory::Memory::{self, Sc, Tso};
use reveille_model::protocol::pool::{self, Error, Mutant, Protocol, Size};
use reveille_model::search::{Counterexample, Verdict, Violation};

/// The least memory model that a mistake needs.
const NEEDS: &str = "
enqueue-idle   waker-without-barrier     tso
enqueue-idle   sleeper-without-barrier   rc11
enqueue-idle   no-look-after-arm         sc
enqueue-idle   wake-before-push          sc
enqueue-idle   busy-while-armed          sc
enqueue-idle   search-without-barrier    tso
enqueue-idle   search-kept               sc
shard-scan     look-skips-a-list         sc
shard-scan     no-look-after-arm         sc
shard-scan     own-list-only             sc
searching      waker-without-barrier     tso
searching      no-look-after-arm         sc
searching      not-passed-on             sc
sparing        no-look-after-arm         sc
sparing        spared-for-good           sc
napping        waker-without-barrier     tso
napping        no-look-after-arm         sc
napping        nap-kept                  sc
timeout        waker-without-barrier     tso
timeout        leave-without-barrier     tso
timeout        no-look-after-leaving     sc
timeout        look-before-leaving       sc
timeout        leaves-while-armed        sc
timeout        vacancy-before-push       sc
timeout        start-unreserved          sc
timeout        last-leaves               sc
blocking       waker-without-barrier     tso
blocking       lend-without-barrier      tso
blocking       no-look-after-lending     sc
blocking       surplus-stays             sc
hash           freed-too-early           sc
hash           stalled-outside-the-lock  sc
stalled        stalled-late              sc
stalled        no-look-at-the-hash       sc
exit           first-account-only        sc
exit           exit-not-looked-at        sc
exit           broadcast-without-barrier rc11
exit           leave-without-barrier     rc11
exit           no-look-after-leaving     sc
last-worker    moved-without-activation  sc
last-worker    lists-not-closed          sc
last-worker    end-before-the-start      sc
last-worker    end-outside-the-lock      sc
last-worker    end-not-told              sc
cancel         cancel-by-store           sc
cancel         run-by-store              sc
cancel         outcome-before-over       sc
cancel-search  search-against-the-move   sc
cancel-search  moved-outside-the-lock    sc
cancel-search  begun-outside-the-lock    sc
";

fn needs() -> Vec<(Protocol, Mutant, Memory)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0].parse().unwrap(), words[1].parse().unwrap(), words[2].parse().unwrap())
    };
    NEEDS.trim().lines().map(row).collect()
}

/// What is wrong, if anything; a search that was given up is a mistake of this file.
fn violation(
    protocol: Protocol,
    mutant: Option<Mutant>,
    memory: Memory,
    size: Size,
) -> Option<Counterexample> {
    match pool::check(protocol, mutant, memory, size).unwrap().verdict {
        Verdict::Complete => None,
        Verdict::Violated(found) => Some(*found),
        Verdict::Bounded(bound) => panic!("{protocol}: {bound:?}, but there is no bound"),
    }
}

/// Whether a mutant is rejected in some size; the sizes are searched until it is.
fn rejected(protocol: Protocol, mutant: Mutant, memory: Memory) -> bool {
    protocol.sizes().iter().any(|size| violation(protocol, Some(mutant), memory, *size).is_some())
}

fn found(protocol: Protocol, mutant: Mutant, memory: Memory, size: Size) -> Counterexample {
    violation(protocol, Some(mutant), memory, size).unwrap_or_else(|| panic!("{protocol}: {mutant} passes"))
}

/// Runs `check` on all items, in two threads, because the machines this has to be quick on have two processors.
fn in_two_threads<T: Send>(items: Vec<T>, check: impl Fn(&T) -> Result<(), String> + Sync) {
    let (work, wrong) = (Mutex::new(items.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(item) = work.lock().unwrap().next() else { return };
                    wrong.lock().unwrap().extend(check(&item).err());
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

#[test]
fn every_protocol_passes_in_every_size_under_every_memory_model() {
    let mut work = Vec::new();
    for &protocol in Protocol::ALL {
        for memory in Memory::ALL.into_iter().rev() {
            // With an old token there are all executions without: those that begin by taking it.
            let sizes = protocol.sizes();
            let within = |size: &&Size| size.tokens == 0 && sizes.contains(&Size { tokens: 1, ..**size });
            work.extend(sizes.iter().filter(|size| !within(size)).map(|size| (protocol, memory, *size)));
        }
    }
    in_two_threads(work, |&(protocol, memory, size)| match violation(protocol, None, memory, size) {
        Some(found) => Err(format!("{protocol} with {size} under {memory}:\n{found}")),
        None => Ok(()),
    });
}

#[test]
fn every_mistake_is_rejected_from_the_memory_model_on_that_it_needs() {
    let table = needs();
    let listed: BTreeSet<_> = table.iter().map(|(protocol, mutant, _)| (*protocol, *mutant)).collect();
    let mutants = |&protocol: &Protocol| protocol.mutants().iter().map(move |mutant| (protocol, *mutant));
    assert_eq!(listed, Protocol::ALL.iter().flat_map(mutants).collect());
    let cell = |row| Memory::ALL.map(|memory| (row, memory));
    in_two_threads(table.into_iter().flat_map(cell).collect(), |&((protocol, mutant, least), memory)| {
        let right = if memory <= least {
            rejected(protocol, mutant, memory) == (memory == least)
        } else {
            // Where it is found under a stronger model it is found under this one.
            let sizes = protocol.sizes().iter();
            let mut shows = sizes.filter(|size| violation(protocol, Some(mutant), least, **size).is_some());
            shows.all(|size| violation(protocol, Some(mutant), memory, *size).is_some())
        };
        right.then_some(()).ok_or_else(|| format!("{protocol}: {mutant} under {memory}"))
    });
}

#[test]
fn every_mistake_is_one_of_some_protocol() {
    for mutant in Mutant::ALL {
        let has = |protocol: &Protocol| {
            let larger = protocol.mutants_of_larger_sizes().iter().map(|(mutant, _)| mutant);
            protocol.mutants().iter().chain(protocol.redundant()).chain(larger).any(|own| own == mutant)
        };
        assert!(Protocol::ALL.iter().any(has), "{mutant}");
    }
}

#[test]
fn what_is_called_redundant_is_left_out_without_harm() {
    let mut work = Vec::new();
    for &protocol in Protocol::ALL {
        for &mutant in protocol.redundant() {
            work.extend(Memory::ALL.map(|memory| (protocol, mutant, memory)));
        }
    }
    assert!(!work.is_empty());
    in_two_threads(work, |&(protocol, mutant, memory)| {
        // The largest size takes long under RC11, where a barrier may be missed that TSO does not need. This is about no barrier.
        let sizes = protocol.sizes().split_last().expect("there is one");
        let sizes = if memory == Memory::Rc11 { sizes.1 } else { protocol.sizes() };
        println!("{protocol}: {mutant} under {memory}: {} of {} sizes", sizes.len(), protocol.sizes().len());
        let wrong = sizes.iter().find(|size| violation(protocol, Some(mutant), memory, **size).is_some());
        wrong.map_or(Ok(()), |size| Err(format!("{protocol} with {size}: {mutant} under {memory}")))
    });
    // Two submitters and two workers.
    let size = Size { submitters: 2, workers: 2, jobs: 2, tokens: 0 };
    assert_eq!(violation(Protocol::EnqueueIdle, Some(Mutant::WakeNotPassedOn), Sc, size), None);
}

fn size(submitters: u8, workers: u8, jobs: u8) -> Size {
    Size { submitters, workers, jobs, tokens: 0 }
}

fn at(found: &Counterexample, thread: &str, site: &str) -> usize {
    let is_it = |step: &&reveille_model::search::Step| step.thread == thread && step.site == site;
    found
        .steps
        .iter()
        .rposition(|step| is_it(&step))
        .unwrap_or_else(|| panic!("{thread} never does {site}:\n{found}"))
}

#[test]
fn rayons_skipped_queue_and_the_wake_that_reaches_the_wrong_worker_are_found_under_sc() {
    let skipped = found(Protocol::ShardScan, Mutant::LookSkipsAList, Sc, size(1, 1, 2));
    assert_eq!(skipped.violation, Violation::Owed(vec!["job 1 waits".into()]));
    // The job waits in the list of the worker that was not told.
    let wrong = found(Protocol::ShardScan, Mutant::OwnListOnly, Sc, size(1, 2, 2));
    let Violation::Owed(debts) = &wrong.violation else { panic!("{wrong}") };
    assert!(debts.iter().any(|debt| debt.ends_with("waits")), "{wrong}");
    assert!(wrong.sleepers.iter().any(|sleeper| sleeper.site == "sleep"), "{wrong}");
}

#[test]
fn io_wqs_exit_leaves_the_second_accounts_worker_asleep() {
    let found = found(Protocol::Exit, Mutant::FirstAccountOnly, Sc, size(0, 2, 0));
    let Violation::Owed(debts) = &found.violation else { panic!("{found}") };
    assert_eq!(debts.as_slice(), ["unbounded worker rests for ever: sleep"]);
}

#[test]
fn io_wqs_stalled_is_set_after_the_insert_has_cleared_it() {
    let found = found(Protocol::Stalled, Mutant::StalledLate, Sc, size(1, 2, 2));
    let cleared = at(&found, "submitter", "insert clears STALLED");
    assert!(cleared < at(&found, "worker 1", "set STALLED"), "{found}");
    assert!(at(&found, "worker 1", "take unlock") < cleared, "{found}");
}

/// Found by this search in the pool as it was first written.
#[test]
fn a_worker_that_wakes_by_an_old_token_and_stays_on_the_free_list_is_told_while_it_is_busy() {
    let size = Size { tokens: 1, ..size(1, 2, 2) };
    let found = found(Protocol::EnqueueIdle, Mutant::BusyWhileArmed, Sc, size);
    let Violation::Owed(debts) = &found.violation else { panic!("{found}") };
    assert!(debts.contains(&"job 1 waits".into()), "{found}");
    assert!(found.sleepers.iter().any(|sleeper| sleeper.site == "sleep"), "{found}");
    // Without the old token there is no such miss in this size.
    let none = Size { tokens: 0, ..size };
    assert_eq!(violation(Protocol::EnqueueIdle, Some(Mutant::BusyWhileArmed), Sc, none), None);
}

/// Found by this search in the pool as it was first written.
#[test]
fn an_end_that_is_not_decided_in_one_step_strands_the_job_that_comes_out_of_a_chain() {
    let found = found(Protocol::LastWorker, Mutant::EndOutsideTheLock, Sc, size(2, 0, 2));
    let Violation::Owed(debts) = &found.violation else { panic!("{found}") };
    assert_eq!(debts.len(), 1, "{found}");
    let alive = at(&found, "shutdown", "anybody alive");
    let started = found.steps.iter().position(|step| step.site == "start").unwrap();
    let taken = found.steps.iter().position(|step| step.site == "take lock").unwrap();
    let looked = at(&found, "shutdown", "any work in the end");
    assert!(alive < started && taken < looked, "{found}");
}

/// Found by shuttle in the pool as it was when its workers first searched one at a time.
#[test]
fn what_shows_in_a_larger_size_only_is_rejected_there() {
    for &protocol in Protocol::ALL {
        for &(mutant, size) in protocol.mutants_of_larger_sizes() {
            assert!(violation(protocol, Some(mutant), Sc, size).is_some(), "{protocol}: {mutant}");
            for memory in [Sc, Tso] {
                assert!(violation(protocol, None, memory, size).is_none(), "{protocol} with {size}");
            }
        }
    }
}

#[test]
fn a_size_and_a_mistake_that_a_protocol_does_not_have_are_errors() {
    let wrong = pool::check(Protocol::Cancel, None, Tso, size(3, 1, 1));
    let Err(error @ Error::Size { .. }) = wrong else { panic!("{wrong:?}") };
    assert_eq!(error.to_string(), "cancel is not written for 3 submitters, 1 worker, 1 job");
    let wrong = pool::check(Protocol::Cancel, Some(Mutant::EndNotTold), Tso, size(0, 1, 1));
    let Err(error @ Error::Mutant { .. }) = wrong else { panic!("{wrong:?}") };
    assert_eq!(error.to_string(), "cancel has no mutant end-not-told");
}
