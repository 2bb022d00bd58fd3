//! The question, cell by cell.

use std::collections::BTreeMap;
use std::sync::Mutex;

use reveille_model::memory::Memory::{self, Rc11, Sc, Tso};
use reveille_model::program::Kind;
use reveille_model::protocol::poll_wake::{self, Consumer, Error, Gate, Mutant, PollWake, Size};
use reveille_model::search::{Counterexample, Options, Step, Verdict, Violation};

/// The least memory model under which a wakeup is missed, as it was known before this crate: the columns are the
/// consumers, and a miss under one model is a miss under all weaker ones. `?`: not known.
const KNOWN: &str = "
                        epoll-level epoll-edge poll-once two-pollers persistent activation exclusive-pair epoll-level-2p
has-sleeper             ok          ok         ok        ok          ok         ok         ok             ?
has-sleeper-no-barrier  tso         tso        tso       tso         tso        tso        tso            ?
posted                  tso         tso        sc        sc          sc         sc         sc             ?
posted-fenced           ?           ?          sc        sc          sc         sc         sc             ?
armed-late              tso         tso        tso       tso         sc         tso        sc             ?
rearm                   ok          ok         ok        ok          sc         ok         sc             ?
rearm-opt-in            ok          ok         ok        ok          ok         ok         sc             ?
per-entry               ok          ok         ok        ok          ok         ok         ok             ?
";

/// What this crate adds: the cells above that were not known.
const FOUND: &str = "
                        epoll-level epoll-edge epoll-level-2p passer-by poll-once two-pollers persistent activation exclusive-pair
has-sleeper             ?           ?          ok             ok        ?         ?           ?          ?          ?
has-sleeper-no-barrier  ?           ?          tso            tso       ?         ?           ?          ?          ?
posted                  ?           ?          tso            tso       ?         ?           ?          ?          ?
posted-fenced           ok          ok         ok             ok        ?         ?           ?          ?          ?
armed-late              ?           ?          tso            tso       ?         ?           ?          ?          ?
rearm                   ?           ?          ok             ok        ?         ?           ?          ?          ?
rearm-by-store          ok          ok         ok             ok        ok        ok          sc         ok         sc
rearm-opt-in            ?           ?          ok             ok        ?         ?           ?          ?          ?
per-entry               ?           ?          ok             ok        ?         ?           ?          ?          ?
";

/// The cells of a table: the least memory model that misses, or none.
fn cells(table: &str) -> BTreeMap<(Gate, Consumer), Option<Memory>> {
    let mut lines = table.trim_matches('\n').lines();
    let consumers: Vec<Consumer> =
        lines.next().unwrap().split_whitespace().map(|name| name.parse().unwrap()).collect();
    let mut cells = BTreeMap::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let gate: Gate = words.next().unwrap().parse().unwrap();
        for (consumer, cell) in consumers.iter().zip(words).filter(|(_, cell)| *cell != "?") {
            cells.insert((gate, *consumer), (cell != "ok").then(|| cell.parse().unwrap()));
        }
    }
    cells
}

fn misses(gate: Gate, consumer: Consumer, memory: Memory) -> bool {
    let report = poll_wake::check(gate, consumer, memory, Size::of(consumer)).unwrap();
    match report.verdict {
        Verdict::Complete => false,
        Verdict::Violated(miss) => {
            matches!(miss.violation, Violation::Owed(_)) || panic!("{gate} {consumer}: {miss}")
        }
        Verdict::Bounded(bound) => panic!("{gate} {consumer}: {bound:?}, but there is no bound"),
    }
}

/// The counterexample that a cell must have.
fn miss(gate: Gate, consumer: Consumer, memory: Memory) -> Counterexample {
    match poll_wake::check(gate, consumer, memory, Size::of(consumer)).unwrap().verdict {
        Verdict::Violated(miss) => *miss,
        other => panic!("{gate} {consumer} under {memory}: {other:?}"),
    }
}

#[test]
fn every_cell_of_the_known_table_comes_out_as_it_was_known() {
    let mut expected = cells(FOUND);
    expected.extend(cells(KNOWN));
    assert_eq!(expected.len(), Gate::ALL.len() * Consumer::ALL.len());
    // Two threads, because the machines this has to be quick on have two processors.
    let work = Mutex::new(
        expected.iter().flat_map(|(cell, least)| Memory::ALL.map(|memory| (*cell, *least, memory))),
    );
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(((gate, consumer), least, memory)) = work.lock().unwrap().next() else { return };
                    if misses(gate, consumer, memory) != least.is_some_and(|least| least <= memory) {
                        wrong.lock().unwrap().push(format!("{gate} {consumer} {memory}"));
                    }
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

#[test]
fn a_third_completion_changes_no_cell() {
    for &gate in Gate::ALL {
        for &consumer in Consumer::ALL {
            let size = Size { completions: 3, ..Size::of(consumer) };
            for memory in [Sc, Tso] {
                let verdict = poll_wake::check(gate, consumer, memory, size).unwrap().verdict;
                let missed = matches!(verdict, Verdict::Violated(_));
                assert_eq!(missed, misses(gate, consumer, memory), "{gate} {consumer} {memory}");
            }
        }
    }
}

#[test]
fn f1_a_persistent_consumer_never_arms_again_and_sleeps_through_the_second_completion_under_sc() {
    let miss = miss(Gate::Rearm, Consumer::Persistent, Sc);
    assert_eq!(miss.violation, Violation::Owed(vec!["completion 2 is in the ring".into()]));
    assert_eq!(miss.steps.iter().filter(|step| step.site == "arm").count(), 1);
    assert!(miss.steps.iter().all(|step| !step.stale));
}

#[test]
fn f2_arming_before_the_enqueue_loses_the_flag_to_another_entry_under_sc() {
    for consumer in [Consumer::TwoPollers, Consumer::PollOnce] {
        let miss = miss(Gate::PostedFenced, consumer, Sc);
        assert!(miss.steps.iter().all(|step| !step.stale));
        // Armed, then the flag was taken, then enqueued.
        let poller = &miss.sleepers[0].thread;
        let last = |site: &str, thread: &str| {
            miss.steps.iter().rposition(|step| step.site == site && step.thread == thread).unwrap()
        };
        let taken = |step: &Step| step.site == "take flag" && step.read == Some(1);
        let taken = miss.steps.iter().rposition(taken).unwrap();
        assert!(last("arm", poller) < taken && taken < last("enqueue lock", poller), "{miss}");
    }
    // With one poller that polls once it cannot happen as it was drawn: see `epoll-level`.
    assert!(!misses(Gate::PostedFenced, Consumer::EpollLevel, Sc));
}

#[test]
fn f3_a_repoll_without_barrier_is_a_store_buffering_and_needs_tso() {
    assert!(!misses(Gate::Posted, Consumer::EpollLevel, Sc));
    let tso = miss(Gate::Posted, Consumer::EpollLevel, Tso);
    let drained = |step: &Step| step.kind == Kind::Drain && step.object.as_deref() == Some("waiting");
    assert!(tso.steps.iter().any(drained), "{tso}");
    let rc11 = miss(Gate::Posted, Consumer::EpollLevel, Rc11);
    assert!(rc11.steps.iter().any(|step| step.stale), "{rc11}");
    assert!(rc11.steps.iter().all(|step| step.kind != Kind::Drain));
}

#[test]
fn f4_activation_clears_the_flag_between_arm_and_enqueue_under_sc_with_one_poller() {
    let size = Size { completions: 2, pollers: 1, spurious: 0 };
    let report = poll_wake::check(Gate::PostedFenced, Consumer::Activation, Sc, size).unwrap();
    let Verdict::Violated(miss) = report.verdict else { panic!("{report:?}") };
    let site = |site: &str| miss.steps.iter().position(|step| step.site == site).unwrap();
    assert!(site("arm") < site("reset") && site("reset") < site("enqueue unlock"), "{miss}");
    assert!(miss.steps.iter().all(|step| !step.stale));
}

#[test]
fn a_counterexample_says_who_sleeps_and_what_is_owed() {
    let miss = miss(Gate::Posted, Consumer::EpollLevel, Tso);
    assert_eq!(miss.sleepers.len(), 1);
    assert_eq!(
        (miss.sleepers[0].thread.as_str(), miss.sleepers[0].object.as_str()),
        ("poller 0", "parker 0")
    );
    let text = miss.to_string();
    assert!(text.contains("store buffer of poller 0: waiting=1 reaches memory"), "{text}");
    assert!(text.ends_with("owed: completion 2 is in the ring"), "{text}");
}

/// Is the mutant rejected, and the protocol without the mistake not?
fn rejects(mutant: Mutant, gate: Gate, consumer: Consumer, memory: Memory, size: Size) -> Violation {
    let verdict = |mutant| {
        PollWake::new(gate, consumer, size, mutant)
            .unwrap()
            .check(memory, Options::default())
            .unwrap()
            .verdict
    };
    assert_eq!(verdict(None), Verdict::Complete);
    match verdict(Some(mutant)) {
        Verdict::Violated(counterexample) => counterexample.violation,
        other => panic!("{mutant} with {consumer} under {memory}: {other:?}"),
    }
}

#[test]
fn a_count_raised_after_the_entry_is_armed_hides_another_entry() {
    let size = Size::of(Consumer::PasserBy);
    rejects(Mutant::CountAfterArmed, Gate::PerEntry, Consumer::PasserBy, Sc, size);
}

/// The entry that was told before it was counted looks after it has counted itself, and then takes everything, or passes
/// the wake on: so the trap needs a waiter that looks and takes nothing.
#[test]
fn a_count_raised_late_does_no_harm_where_whoever_was_told_serves_everybody() {
    for consumer in [Consumer::ExclusivePair, Consumer::TwoPollers, Consumer::PollOnce] {
        let size = Size { pollers: 2, ..Size::of(consumer) };
        let protocol = PollWake::new(Gate::PerEntry, consumer, size, Some(Mutant::CountAfterArmed)).unwrap();
        assert_eq!(protocol.check(Sc, Options::default()).unwrap().verdict, Verdict::Complete);
    }
}

#[test]
fn whether_the_flag_is_set_and_cleared_by_stores_or_by_exchanges_decides_nothing() {
    for &consumer in Consumer::ALL {
        for memory in Memory::ALL {
            let by_store = misses(Gate::RearmByStore, consumer, memory);
            assert_eq!(by_store, misses(Gate::Rearm, consumer, memory), "{consumer} {memory}");
        }
    }
}

#[test]
fn a_delivery_that_skips_no_check_still_needs_the_full_barrier_under_rc11() {
    let size = Size::of(Consumer::Activation);
    rejects(Mutant::DeliveryWithoutBarrier, Gate::PerEntry, Consumer::Activation, Rc11, size);
}

#[test]
fn a_waiter_that_was_told_and_leaves_must_pass_the_wake_on() {
    let size = Size::of(Consumer::ExclusivePair);
    for gate in [Gate::PerEntry, Gate::HasSleeper] {
        rejects(Mutant::WakeNotPassedOn, gate, Consumer::ExclusivePair, Sc, size);
    }
}

#[test]
fn a_waker_without_a_full_barrier_misses_in_every_sound_cell() {
    for gate in [Gate::HasSleeper, Gate::Rearm, Gate::RearmOptIn, Gate::PerEntry] {
        for &consumer in Consumer::ALL {
            if !misses(gate, consumer, Tso) {
                rejects(Mutant::WakerWithoutBarrier, gate, consumer, Tso, Size::of(consumer));
            }
        }
    }
}

#[test]
fn a_sleeper_without_a_full_barrier_misses_under_rc11_and_not_on_x86_where_arming_is_one() {
    for consumer in [Consumer::EpollLevel, Consumer::EpollEdge, Consumer::PollOnce, Consumer::Activation] {
        let size = Size::of(consumer);
        let mutant = Mutant::SleeperWithoutBarrier;
        let violation = rejects(mutant, Gate::PerEntry, consumer, Rc11, size);
        assert!(matches!(violation, Violation::Owed(_)), "{violation:?}");
        let on_x86 = PollWake::new(Gate::PerEntry, consumer, size, Some(mutant)).unwrap();
        assert_eq!(on_x86.check(Tso, Options::default()).unwrap().verdict, Verdict::Complete);
    }
}

#[test]
fn a_tail_published_without_release_shows_a_completion_that_is_not_there() {
    for consumer in [Consumer::EpollLevel, Consumer::EpollEdge, Consumer::PollOnce, Consumer::Activation] {
        let violation = rejects(Mutant::RelaxedTail, Gate::PerEntry, consumer, Rc11, Size::of(consumer));
        assert!(matches!(violation, Violation::Claim { .. }), "{violation:?}");
    }
}

#[test]
fn spurious_wakes_lose_nothing_in_the_sound_gates() {
    for gate in [Gate::HasSleeper, Gate::PerEntry, Gate::RearmOptIn] {
        for &consumer in Consumer::ALL.iter().filter(|consumer| **consumer != Consumer::ExclusivePair) {
            let size = Size { spurious: 1, ..Size::of(consumer) };
            let report = poll_wake::check(gate, consumer, Tso, size).unwrap();
            assert_eq!(report.verdict, Verdict::Complete, "{gate} {consumer}");
        }
    }
}

/// Every gate and consumer under SC and TSO; under RC11, where the search that tries everything is slow, with one completion.
#[test]
fn reduction_changes_no_verdict_and_no_length_of_a_shortest_miss() {
    for &gate in Gate::ALL {
        for &consumer in Consumer::ALL {
            for memory in Memory::ALL {
                let completions = if memory == Rc11 { 1 } else { 2 };
                let size = Size { completions, ..Size::of(consumer) };
                let protocol = PollWake::new(gate, consumer, size, None).unwrap();
                let verdict = |reduce| {
                    let report = protocol.check(memory, Options { reduce, ..Options::default() }).unwrap();
                    let miss = match report.verdict {
                        Verdict::Violated(miss) => Some(miss.steps.len()),
                        _ => None,
                    };
                    (miss, report.states)
                };
                let ((reduced, few), (full, many)) = (verdict(true), verdict(false));
                assert_eq!(reduced, full, "{gate} {consumer} {memory}");
                assert!(reduced.is_some() || few < many, "{gate} {consumer} {memory}");
            }
        }
    }
}

#[test]
fn a_size_outside_the_protocol_is_an_error() {
    let size = Size { completions: 2, pollers: 1, spurious: 0 };
    let result = poll_wake::check(Gate::PerEntry, Consumer::TwoPollers, Sc, size);
    assert_eq!(result, Err(Error::Size { consumer: Consumer::TwoPollers, size }));
    assert_eq!(
        result.unwrap_err().to_string(),
        "two-pollers with 2 completions and 1 pollers: 1 to 4 completions, 2 to 3 pollers"
    );
}

#[test]
fn names_are_read_back_and_unknown_ones_are_named() {
    for gate in Gate::ALL {
        assert_eq!(gate.to_string().parse(), Ok(*gate));
    }
    let error = "poested".parse::<Gate>().unwrap_err().to_string();
    assert!(error.starts_with("unknown gate `poested`; known are has-sleeper, "), "{error}");
}
