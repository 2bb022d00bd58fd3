//! What this project says of the gates, each sentence a test. See one again: `cargo run --release -- explain GATE CONSUMER`.

use std::any::TypeId;

use reveille::completion::{self, CompletionQueue};
use reveille::gate::{Gate, WakeOne};
use reveille::pool::Pool;
use reveille::sync::Primitives;
use reveille::wait_queue::WaitQueue;
use reveille_checks::engine::{self, Budget, ENOUGH, Engine};
use reveille_checks::mutants::*;
use reveille_checks::report;
use reveille_checks::scenario::{Consumer, PollWake};
use reveille_checks::subject::{
    self, Case, GateName, Needs, PoolCase, WakeCase, documented, documented_miss,
};
use reveille_checks::trace::{Op, Trace};
use reveille_checks::verdict::{End, Verdict};

/// For a search that has to find something: it ends when it has.
const TO_FIND: Budget = Budget::of_executions(ENOUGH);
/// For a search that is to find nothing. `REVEILLE_BUDGET` makes it longer.
fn to_pass() -> Budget {
    Budget::to_pass(2_000)
}

/// The counterexample that has to be there, of a wakeup that is missed.
#[track_caller]
fn missed(gate: GateName, consumer: Consumer, engine: Engine) -> Trace {
    match subject::search(gate, consumer, engine, TO_FIND) {
        Verdict::Misses { counterexample, .. } => {
            assert!(matches!(counterexample.end, End::Stuck(Some(_))), "{}", report::render(&counterexample));
            assert!(counterexample.trace.sleepers().next().is_some(), "{}", report::render(&counterexample));
            counterexample.trace
        }
        verdict => panic!(
            "{gate} × {consumer}, {engine:?}: no miss found: {verdict:?}\nsee it again: cargo run --release -- explain {gate} \
             {consumer} --engine {}",
            engine.name()
        ),
    }
}

/// No miss may be found, within the budget. The bound is printed.
#[track_caller]
fn passes(gate: GateName, consumer: Consumer, engine: Engine) {
    let verdict = subject::search(gate, consumer, engine, to_pass());
    if let Some(counterexample) = verdict.counterexample() {
        let again = format!("cargo run --release -- explain {gate} {consumer} --engine {}", engine.name());
        panic!("{}\nsee it again: {again}", report::render(counterexample));
    }
    println!("{gate} × {consumer}, {engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
    assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
}

fn skips_a_wake(trace: &Trace) -> bool {
    trace.steps.iter().any(|step| step.op == Op::WakeSkipped)
}

const INTERLEAVING_ONLY: [Engine; 2] = [Engine::LoomSc, Engine::Shuttle];

/// A miss that needs no late store: loom `sc` and shuttle find it, and every read in it returns the newest value.
fn flaw_of_the_algorithm(gate: GateName, consumer: Consumer) {
    for engine in INTERLEAVING_ONLY {
        let trace = missed(gate, consumer, engine);
        assert!(trace.reads_newest(), "{gate} × {consumer}, {engine:?}: a read is stale");
        assert!(skips_a_wake(&trace), "{gate} × {consumer}, {engine:?}: no wake was skipped");
    }
}

/// A miss that needs a late store: loom `c11` finds it with a stale read, and who sees interleavings only does not.
fn flaw_of_the_orderings(gate: GateName, consumer: Consumer) {
    let trace = missed(gate, consumer, Engine::LoomC11);
    assert!(!trace.reads_newest(), "{gate} × {consumer}: every read is the newest");
    for engine in INTERLEAVING_ONLY {
        passes(gate, consumer, engine);
    }
}

#[test]
fn f1_a_persistent_consumer_never_rearms_and_loses_the_second_completion() {
    for gate in [GateName::Posted, GateName::PostedFenced, GateName::ArmedLate, GateName::Rearm] {
        flaw_of_the_algorithm(gate, Consumer::Persistent);
    }
}

#[test]
fn f2_armed_before_it_is_queued_the_poller_loses_the_flag_to_another_entry() {
    flaw_of_the_algorithm(GateName::Posted, Consumer::TwoPollers);
    flaw_of_the_algorithm(GateName::PostedFenced, Consumer::TwoPollers);
}

#[test]
fn f2_armed_before_it_is_queued_the_poller_loses_the_flag_to_its_own_earlier_entry() {
    flaw_of_the_algorithm(GateName::Posted, Consumer::PollOnce);
    flaw_of_the_algorithm(GateName::PostedFenced, Consumer::PollOnce);
}

#[test]
fn f3_on_a_re_poll_nothing_orders_the_arm_before_the_look() {
    for consumer in [Consumer::EpollLevel, Consumer::EpollEdge, Consumer::EpollLevel2p] {
        flaw_of_the_orderings(GateName::Posted, consumer);
    }
    for consumer in [Consumer::EpollLevel, Consumer::EpollEdge] {
        for engine in INTERLEAVING_ONLY {
            passes(GateName::PostedFenced, consumer, engine);
        }
    }
}

#[test]
fn f4_activation_clears_the_flag_between_arm_and_enqueue() {
    flaw_of_the_algorithm(GateName::Posted, Consumer::Activation);
    flaw_of_the_algorithm(GateName::PostedFenced, Consumer::Activation);
}

#[test]
fn one_flag_for_the_queue_loses_with_two_exclusive_waiters() {
    for gate in GateName::ALL {
        if documented_miss(gate, Consumer::ExclusivePair, Engine::LoomSc) {
            flaw_of_the_algorithm(gate, Consumer::ExclusivePair);
        }
    }
}

#[test]
fn without_the_barrier_after_the_enqueue_has_sleeper_loses_with_every_consumer() {
    for consumer in Consumer::ALL {
        let trace = missed(GateName::HasSleeperNoBarrier, consumer, Engine::LoomC11);
        assert!(!trace.reads_newest(), "{consumer}: every read is the newest");
    }
}

#[test]
fn armed_late_is_sound_where_stores_are_seen_at_once_and_loses_where_they_are_not() {
    for consumer in [Consumer::EpollLevel, Consumer::PollOnce, Consumer::TwoPollers, Consumer::Activation] {
        flaw_of_the_orderings(GateName::ArmedLate, consumer);
    }
}

#[test]
fn the_sound_gates_miss_nothing_in_any_engine() {
    for gate in [GateName::HasSleeper, GateName::Rearm, GateName::RearmOptIn, GateName::PerEntry] {
        for consumer in Consumer::ALL {
            for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
                if !documented_miss(gate, consumer, engine) {
                    passes(gate, consumer, engine);
                }
            }
        }
    }
}

/// The mutant must be rejected by one of these searches; the gate that it was made from passes the same ones.
fn mutant_is_caught<const M: u8>(consumer: Consumer, engines: &[Engine]) {
    for &engine in engines {
        let verdict = engine::search(engine, &PollWake::<Mutant<M>>::new(consumer), TO_FIND);
        assert_eq!(verdict.misses(), Some(true), "mutant {M} × {consumer}, {engine:?} survives: {verdict:?}");
        let control = engine::search(engine, &PollWake::<Mutant<FAITHFUL>>::new(consumer), to_pass());
        assert_eq!(control.misses(), Some(false), "the control × {consumer}, {engine:?}: {control:?}");
    }
}

#[test]
fn counting_an_entry_after_it_is_armed_hides_another() {
    mutant_is_caught::<COUNTED_LATE>(Consumer::PasserBy, &[Engine::LoomSc, Engine::LoomC11, Engine::Shuttle]);
}

#[test]
fn arming_needs_its_barrier() {
    mutant_is_caught::<NO_BARRIER_AFTER_ARM>(Consumer::EpollLevel, &[Engine::LoomC11]);
}

#[test]
fn the_wakers_question_needs_its_barrier() {
    mutant_is_caught::<NO_BARRIER_BEFORE_QUESTION>(Consumer::EpollLevel, &[Engine::LoomC11]);
}

#[test]
fn a_delivery_to_everybody_needs_its_barrier() {
    mutant_is_caught::<NO_BARRIER_BEFORE_BROADCAST>(Consumer::Activation, &[Engine::LoomC11]);
}

#[test]
fn a_told_waiter_that_leaves_has_to_pass_the_wake_on() {
    mutant_is_caught::<KEEPS_THE_WAKE>(
        Consumer::ExclusivePair,
        &[Engine::LoomSc, Engine::LoomC11, Engine::Shuttle],
    );
}

#[test]
fn a_persistent_entry_has_to_stay_armed() {
    mutant_is_caught::<PERSISTENT_IS_TOLD_ONCE>(Consumer::Persistent, &INTERLEAVING_ONLY);
}

#[test]
fn a_search_ends_with_its_executions_and_is_the_same_again() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let search = |executions| {
            let budget = Budget::of_executions(executions);
            subject::search(GateName::PerEntry, Consumer::TwoPollers, engine, budget)
        };
        let verdict = search(1_000);
        // Shares of shuttle's strategies are rounded up.
        assert!((1_000..=1_010).contains(&verdict.explored()), "{engine:?}: {verdict:?}");
        assert!(matches!(verdict, Verdict::Bounded { .. }), "{engine:?}: {verdict:?}");
        assert_eq!(search(1_000), verdict);
    }
    let miss = |_| subject::search(GateName::Posted, Consumer::Persistent, Engine::LoomSc, TO_FIND);
    let [once, again] = [0, 1].map(miss);
    assert_eq!(once.explored(), again.explored());
}

#[test]
fn a_search_that_ends_too_early_to_see_a_documented_miss_says_nothing_and_a_longer_one_contradicts_it() {
    let bounded = |explored| Verdict::Bounded { explored, by: "time".into(), preemptions: Some(2) };
    let said = |gate, engine: Engine, explored| {
        let case = WakeCase { gate, consumer: Consumer::Persistent };
        case.contradicts(engine, &case.weighed(engine, bounded(explored)))
    };
    for engine in [Engine::ModelSc, Engine::LoomSc, Engine::Shuttle] {
        assert_eq!(said(GateName::Posted, engine, engine.enough() - 1), None);
        assert_eq!(said(GateName::Posted, engine, engine.enough()), Some(true));
        assert_eq!(said(GateName::PerEntry, engine, 1), Some(false));
    }
    // It has a miss that interleavings alone do not show.
    let case = WakeCase { gate: GateName::ArmedLate, consumer: Consumer::PollOnce };
    assert_eq!(case.weighed(Engine::LoomSc, bounded(1)), bounded(1));
}

#[test]
fn every_miss_that_is_documented_is_within_the_models_reach() {
    fn reach<C: Case>(cases: impl IntoIterator<Item = C>) {
        for case in cases {
            for engine in [Engine::ModelSc, Engine::ModelTso, Engine::ModelRc11] {
                if case.documented_miss(engine) && case.pointless(engine).is_none() {
                    let verdict = case.search(engine, TO_FIND);
                    assert_eq!(verdict.misses(), Some(true), "{case}, {engine:?}: {verdict:?}");
                    println!("{case}, {engine:?}: {} states", verdict.explored());
                }
            }
        }
    }
    let with = |gate| Consumer::ALL.map(move |consumer| WakeCase { gate, consumer });
    reach(GateName::ALL.into_iter().flat_map(with));
    reach(PoolCase::all(&PoolCase::protocols()));
}

/// Whose wakes a gate decides.
trait Gated {
    type Gate: 'static;
}

impl<P: Primitives, G: Gate> Gated for WaitQueue<P, G> {
    type Gate = G;
}

impl<T: Send + 'static, P: Primitives, G: Gate> Gated for CompletionQueue<T, P, G> {
    type Gate = G;
}

impl<T: Send + 'static, P: Primitives, G: Gate> Gated for completion::Consumer<T, P, G> {
    type Gate = G;
}

impl<P: Primitives, G: WakeOne> Gated for Pool<P, G> {
    type Gate = G;
}

/// A test beside the reactor says the same of its consumer, which is private.
#[test]
fn the_gate_of_production_is_by_type_the_one_that_the_verdict_calls_sound() {
    let sound = |gate: &GateName| {
        let nothing = |consumer: &Consumer| documented(*gate, *consumer) == Needs::Nothing;
        Consumer::ALL.iter().all(nothing)
    };
    let skips = |gate: &GateName| *gate != GateName::HasSleeper; // which is sound too, and skips nothing
    let sound: Vec<GateName> = GateName::ALL.into_iter().filter(sound).filter(skips).collect();
    let [sound] = sound[..] else { panic!("one gate that skips is called sound: {sound:?}") };
    let judged = reveille_checks::with_gate!(sound, G => TypeId::of::<G>());
    let of_production = [
        TypeId::of::<<WaitQueue as Gated>::Gate>(),
        TypeId::of::<<CompletionQueue<u64> as Gated>::Gate>(),
        TypeId::of::<<completion::Consumer<u64> as Gated>::Gate>(),
        TypeId::of::<<Pool as Gated>::Gate>(),
    ];
    assert_eq!(of_production, [judged; 4], "{sound}");
}
