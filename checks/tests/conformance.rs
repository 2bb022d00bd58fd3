//! The code does what the model's programs do, and whoever does something else is caught.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use reveille::gate::WakeOne;
use reveille::sync::{JoinHandle, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};
use reveille_checks::conformance::{
    self, Bound, CompletionProtocol, Departure, Error, PollWakeProtocol, Protocol, Report, Taken, never_taken,
};
use reveille_checks::engine::Engine;
use reveille_checks::gates::{HasSleeper, HasSleeperNoBarrier, PerEntry};
use reveille_checks::mutants::*;
use reveille_checks::scenario::{Completions, Consumer, PollWake, Ring, Scenario};
use reveille_checks::subject::GateName;
use reveille_checks::with_gate;
use reveille_model::protocol::completion;
use reveille_model::protocol::poll_wake::Mutant as Mistake;

/// All executions with at most two preemptions; `REVEILLE_BUDGET` adds so many seconds for each cell and memory.
fn bound() -> Bound {
    let seconds = std::env::var("REVEILLE_BUDGET").ok().and_then(|text| text.parse().ok());
    Bound { preemptions: 2, extra: seconds.map_or(Duration::ZERO, Duration::from_secs_f64) }
}

type Cell = (GateName, Consumer, Engine);

/// Every gate with every consumer, under both memories, each looked at once for all tests of this file.
static CELLS: LazyLock<Vec<(Cell, Result<Report, Error>)>> = LazyLock::new(|| {
    let begun = Instant::now();
    let cells = GateName::ALL.into_iter().flat_map(|gate| {
        Consumer::ALL
            .into_iter()
            .flat_map(move |consumer| [(gate, consumer, Engine::LoomSc), (gate, consumer, Engine::LoomC11)])
    });
    let (cells, reports) = (Mutex::new(cells), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((gate, consumer, engine)) = cells.lock().unwrap().next() else { return };
                    let protocol = PollWakeProtocol::named(gate.name(), consumer.name()).unwrap();
                    let report = with_gate!(gate, G => conformance::check(engine, &PollWake::<G>::new(consumer), &protocol, bound()));
                    reports.lock().unwrap().push(((gate, consumer, engine), report));
                }
            });
        }
    });
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    reports.into_inner().unwrap()
});

#[test]
fn every_thread_of_every_execution_does_what_its_program_in_the_model_does() {
    let mut executions = 0;
    for ((gate, consumer, engine), report) in &*CELLS {
        match report {
            Ok(report) => {
                println!("{gate} × {consumer}, loom {}: {report}", engine.memory());
                executions += report.executions;
                // The first execution of loom ends well with every gate, so more than the stuck one was looked at.
                assert!(report.executions > 1);
            }
            Err(error) => panic!("{gate} × {consumer}, loom {}:\n{error}", engine.memory()),
        }
    }
    println!("{executions} executions of {} cells", CELLS.len());
}

/// The places in the model's programs that no execution came by, with the reason.
fn not_come_by(gate: GateName, consumer: Consumer) -> &'static [(&'static str, &'static str)] {
    use GateName as G;
    match (gate, consumer) {
        // The other poller leaves when it was woken, so a waker has told it and has lowered the count.
        (G::PerEntry, Consumer::TwoPollers) => &[("poller 0", "count disarmed")],
        // These gates miss a wakeup in one of the first executions, and loom stops there.
        (
            G::Posted | G::PostedFenced | G::Rearm | G::RearmByStore | G::RearmOptIn,
            Consumer::ExclusivePair,
        ) => &[
            ("poller 0", "wake"),
            ("poller 1", "leave lock"),
            ("poller 1", "leave unlock"),
            ("poller 1", "read completion"),
            ("poller 1", "take"),
            ("poller 1", "wake"),
        ],
        (G::ArmedLate, Consumer::ExclusivePair) => &[("poller 0", "wake"), ("poller 1", "wake")],
        _ => &[],
    }
}

#[test]
fn the_executions_come_by_every_place_of_the_programs_but_these() {
    let mut taken: BTreeMap<(&str, &str), Taken> = BTreeMap::new();
    for ((gate, consumer, _), report) in &*CELLS {
        let taken = taken.entry((gate.name(), consumer.name())).or_default();
        for (thread, sites) in report.iter().flat_map(|report| &report.taken) {
            taken.entry(*thread).or_default().extend(sites.iter().cloned());
        }
    }
    for ((gate, consumer), taken) in taken {
        let never = never_taken(&PollWakeProtocol::named(gate, consumer).unwrap(), &taken).unwrap();
        let never: BTreeSet<_> = never.iter().map(|(thread, site)| (thread.as_str(), &**site)).collect();
        for (thread, site) in &never {
            println!("{gate} × {consumer}: {thread} never comes by {site}");
        }
        let documented = not_come_by(gate.parse().unwrap(), consumer.parse().unwrap());
        // Who looks at more executions may come by more.
        let exact = bound().extra.is_zero();
        let documented: BTreeSet<_> = documented.iter().copied().collect();
        assert!(
            if exact { never == documented } else { never.is_subset(&documented) },
            "{gate} × {consumer}: {never:?}"
        );
    }
}

/// What loom's executions of the scenario do that the program does not.
#[track_caller]
fn departure<S: Scenario>(scenario: S, protocol: &impl Protocol) -> Departure {
    let bound = Bound { preemptions: 2, extra: Duration::ZERO };
    match conformance::check(Engine::LoomC11, &scenario, protocol, bound) {
        Err(Error::Departs(departure)) => *departure,
        other => panic!("{} against {protocol}: {other:?}", scenario.name()),
    }
}

/// The mutant of the code is not what the program of the gate of production does; without the mistake it is.
#[track_caller]
fn mutant_departs<const M: u8>(consumer: Consumer, thread: &str, expected: &str) {
    let protocol = PollWakeProtocol::named("per-entry", consumer.name()).unwrap();
    let bound = Bound { preemptions: 2, extra: Duration::ZERO };
    let faithful = PollWake::<Mutant<FAITHFUL>>::new(consumer);
    conformance::check(Engine::LoomC11, &faithful, &protocol, bound).unwrap();
    let departure = departure(PollWake::<Mutant<M>>::new(consumer), &protocol);
    assert_eq!(departure.thread, thread, "{departure}");
    assert!(departure.expected.iter().any(|other| other == expected), "{departure}");
}

#[test]
fn two_operations_swapped_in_the_code_are_caught() {
    mutant_departs::<COUNTED_LATE>(Consumer::PasserBy, "poller", "count armed: fetch_add armed");
}

#[test]
fn a_barrier_left_out_of_the_code_is_caught() {
    mutant_departs::<NO_BARRIER_AFTER_ARM>(Consumer::EpollLevel, "poller", "arm barrier: fence");
    mutant_departs::<NO_BARRIER_BEFORE_QUESTION>(Consumer::EpollLevel, "producer", "waker barrier: fence");
    mutant_departs::<NO_BARRIER_BEFORE_BROADCAST>(Consumer::Activation, "producer", "reset barrier: fence");
}

#[test]
fn a_gate_is_not_taken_for_the_same_gate_without_its_barrier() {
    let protocol = PollWakeProtocol::named("has-sleeper", "poll-once").unwrap();
    let departure = departure(PollWake::<HasSleeperNoBarrier>::new(Consumer::PollOnce), &protocol);
    assert_eq!(departure.expected, ["enqueue barrier: fence"]);
}

#[test]
fn a_wake_that_the_code_keeps_to_itself_is_caught() {
    let protocol = PollWakeProtocol::named("per-entry", "exclusive-pair").unwrap();
    departure(PollWake::<Mutant<KEEPS_THE_WAKE>>::new(Consumer::ExclusivePair), &protocol);
}

/// `poll-once`, but for one poller that looks before it arms.
#[derive(Clone)]
struct LooksFirst;

impl Scenario for LooksFirst {
    fn name(&self) -> String {
        "a poller that looks before it arms".into()
    }
    fn main_thread(&self) -> &'static str {
        "poller"
    }
    fn run<P: Primitives>(&self) {
        run_looks_first::<P, PerEntry>();
    }
}

fn run_looks_first<P: Primitives, G: WakeOne>() {
    let shared = Arc::new((Ring::<P>::new(2), Arc::new(WaitQueue::<P, G>::new())));
    let producer = P::spawn("producer", {
        let shared = shared.clone();
        move || {
            for _ in 0..2 {
                shared.0.commit();
                shared.1.notify_all();
            }
        }
    });
    let parker = Arc::new(P::Parker::new("poller"));
    let mut taken = 0;
    while taken < 2 {
        let mut entry = shared.1.register(Kind::Shared, Waker::from(parker.clone()));
        while !shared.0.readable() {
            entry.arm();
            parker.park();
        }
        entry.disarm();
        taken += shared.0.drain();
    }
    producer.join().unwrap();
}

#[test]
fn a_poller_that_looks_before_it_arms_is_caught_and_both_sides_are_shown() {
    let departure = departure(LooksFirst, &PollWakeProtocol::named("per-entry", "poll-once").unwrap());
    let text = departure.to_string();
    assert!(
        text.starts_with("per-entry × poll-once: the thread `poller` does not do what its program does\n")
    );
    assert!(text.contains("   1  load tail Acquire reads 0 "), "{text}");
    assert!(text.contains("  ring.rs:"), "{text}");
    assert!(text.ends_with("\n      the program expects enqueue lock: lock wait queue"), "{text}");
}

/// The model with a mistake put into it is not what the code does; without the mistake it is.
#[track_caller]
fn mistake_departs(mistake: Mistake, consumer: Consumer, expected: &str) {
    let faithful = PollWakeProtocol::named("per-entry", consumer.name()).unwrap();
    let bound = Bound { preemptions: 2, extra: Duration::ZERO };
    conformance::check(Engine::LoomC11, &PollWake::<PerEntry>::new(consumer), &faithful, bound).unwrap();
    let mistaken = PollWakeProtocol { mutant: Some(mistake), ..faithful };
    let departure = departure(PollWake::<PerEntry>::new(consumer), &mistaken);
    assert!(departure.expected.iter().any(|other| other == expected), "{departure}");
}

#[test]
fn two_operations_swapped_in_the_model_are_caught() {
    mistake_departs(Mistake::CountAfterArmed, Consumer::PollOnce, "arm: swap mark 0");
}

#[test]
fn a_barrier_left_out_of_the_model_is_caught() {
    mistake_departs(Mistake::WakerWithoutBarrier, Consumer::EpollEdge, "anybody armed: load armed");
    mistake_departs(Mistake::DeliveryWithoutBarrier, Consumer::Activation, "deliver lock: lock wait queue");
}

#[test]
fn a_weaker_ordering_in_the_model_is_caught() {
    mistake_departs(Mistake::RelaxedTail, Consumer::PollOnce, "publish: store tail");
}

#[test]
fn a_wake_that_the_model_keeps_to_itself_is_caught() {
    mistake_departs(Mistake::WakeNotPassedOn, Consumer::ExclusivePair, "leave unlock: unlock wait queue");
}

#[test]
fn a_program_that_starts_elsewhere_is_caught() {
    let bound = Bound { preemptions: 0, extra: Duration::ZERO };
    let protocol = PollWakeProtocol::named("has-sleeper", "two-pollers").unwrap();
    let scenario = PollWake::<HasSleeper>::new(Consumer::PollOnce);
    let error = conformance::check(Engine::LoomSc, &scenario, &protocol, bound).unwrap_err();
    let text = "queued is 0 when the threads start, and 1 in the model of has-sleeper × two-pollers";
    assert_eq!(error.to_string(), text);
}

/// The sizes in which the completion queue is held against its program: those of its search, but for the largest.
fn sizes() -> &'static [completion::Size] {
    &completion::Size::ALL[..completion::Size::ALL.len() - 1]
}

fn completions<G>(size: completion::Size) -> Completions<G> {
    Completions::new(size.capacity.into(), size.producers)
}

#[test]
fn every_thread_of_the_completion_queue_does_what_its_program_does_and_comes_by_every_place_of_it() {
    let protocols = sizes().iter().map(|&size| CompletionProtocol { size, mutant: None });
    let mut taken: BTreeMap<_, Taken> = BTreeMap::new();
    for protocol in protocols {
        for engine in [Engine::LoomSc, Engine::LoomC11] {
            let report =
                conformance::check(engine, &completions::<PerEntry>(protocol.size), &protocol, bound());
            let report =
                report.unwrap_or_else(|error| panic!("{protocol}, loom {}:\n{error}", engine.memory()));
            println!("{protocol}, loom {}: {report}", engine.memory());
            assert!(!report.stuck && report.executions > 1);
            for (thread, sites) in report.taken {
                taken.entry(protocol).or_default().entry(thread).or_default().extend(sites);
            }
        }
    }
    for (protocol, taken) in taken {
        assert_eq!(never_taken(&protocol, &taken).unwrap(), [], "{protocol}");
    }
}

/// What the program with a mistake expects where it is first seen that the code has not made it.
fn mistake_expects(mistake: completion::Mutant) -> &'static str {
    use completion::Mutant as M;
    match mistake {
        M::TailPublishedRelaxed => "publish: store tail",
        M::TailReadRelaxed => "look tail: load tail",
        M::RefilledTailReadRelaxed => "refilled tail: load tail",
        M::HeadPublishedRelaxed => "take: store head",
        M::HeadReadRelaxed => "room: load head",
        M::OneSlotTooMany => "slot free: load slot 0",
        M::Overtaking => "own tail: load tail",
        M::OverflowNotCounted => "publish unlock: unlock completion",
        M::OverflowNotLookedAt => "enqueue lock: lock wait queue",
        M::RefillCountsNothing => "count left: store overflowed",
        M::RefillNotCounted => "refill unlock: unlock completion",
        M::RefillNotSeen => "armed already: load mark 0",
        M::NoLookAfterArm => "sleep: park parker 0",
        M::WakeBeforePublish => "waker barrier: fence",
        M::WakerWithoutBarrier => "anybody armed: load armed",
        M::SleeperWithoutBarrier => "own head: load head",
    }
}

#[test]
fn every_mistake_in_the_model_of_the_completion_queue_is_caught() {
    for &mistake in completion::Mutant::ALL {
        let size = sizes()[usize::from(mistake == completion::Mutant::Overtaking)];
        let protocol = CompletionProtocol { size, mutant: Some(mistake) };
        let departure = departure(completions::<PerEntry>(size), &protocol);
        let expected = mistake_expects(mistake);
        assert!(departure.expected.iter().any(|other| other == expected), "{departure}");
    }
}

#[test]
fn a_completion_queue_that_does_something_else_is_caught() {
    let size = sizes()[0];
    let protocol = CompletionProtocol { size, mutant: None };
    let expects = |departure: Departure, thread: &str, expected: &str| {
        assert_eq!(
            (departure.thread.as_str(), &*departure.expected),
            (thread, &[expected.to_owned()][..]),
            "{departure}"
        );
    };
    // One barrier less, two operations in the other order.
    let gate = departure(completions::<Mutant<NO_BARRIER_AFTER_ARM>>(size), &protocol);
    expects(gate, "consumer", "arm barrier: fence");
    let gate = departure(completions::<Mutant<NO_BARRIER_BEFORE_QUESTION>>(size), &protocol);
    expects(gate, "producer 0", "waker barrier: fence");
    let gate = departure(completions::<Mutant<COUNTED_LATE>>(size), &protocol);
    expects(gate, "consumer", "count armed: fetch_add armed");
    // The batch of two, one by one; a slot more.
    let one_by_one = departure(Completions::<PerEntry>::new(1, &[&[1, 1], &[1]]), &protocol);
    expects(one_by_one, "producer 0", "count overflow: store overflowed");
    let roomier = departure(Completions::<PerEntry>::new(2, size.producers), &protocol);
    expects(roomier, "producer 0", "publish: store tail");
}
