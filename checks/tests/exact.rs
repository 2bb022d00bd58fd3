//! What the exact engine says of the real code, each sentence a test. See a cell again: `cargo run --release -- explain GATE CONSUMER`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::gate::PerEntry;
use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::flavour::weakened::{Change, Mutation, Operation, listing, with_mutation};
use reveille_checks::scenario::{Consumer, PoolScenario, Protocol, Scenario};
use reveille_checks::subject::{GateName, documented_miss, search};
use reveille_checks::verdict::Verdict;
use reveille_checks::{check, report};

const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

/// More executions than any cell has: what is left over is an engine that visits some twice.
const ALL: Budget = Budget::of_executions(300_000).only_to_find();

#[test]
fn every_cell_of_poll_wake_is_searched_to_its_end_and_loses_where_it_is_documented_to_and_nowhere_else() {
    let cells: Vec<_> = GateName::ALL
        .into_iter()
        .flat_map(|gate| Consumer::ALL.map(|consumer| (gate, consumer)))
        .flat_map(|(gate, consumer)| EXACT.map(|engine| (gate, consumer, engine)))
        .collect();
    assert_eq!(cells.len(), 243);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(gate, consumer, engine)) = cells.get(next.fetch_add(1, Relaxed)) {
                    let verdict = search(gate, consumer, engine, ALL);
                    let is_settled = matches!(verdict, Verdict::Complete { .. } | Verdict::Misses { .. });
                    assert!(is_settled, "{gate} × {consumer}, {engine:?}: {:?}", verdict.bound());
                    let misses = verdict.misses() == Some(true);
                    let text = verdict.counterexample().map(report::render).unwrap_or_default();
                    assert_eq!(
                        misses,
                        documented_miss(gate, consumer, engine),
                        "{gate} × {consumer}, {engine:?}\n{text}"
                    );
                }
            });
        }
    });
}

#[test]
fn where_loom_alarms_every_execution_of_the_same_code_under_rc11_is_without_a_miss() {
    for consumer in [Consumer::EpollLevel, Consumer::EpollEdge, Consumer::PollOnce, Consumer::Activation] {
        let gate = GateName::RearmByStore;
        let loom = search(gate, consumer, Engine::LoomC11, Budget::of_executions(50_000));
        assert_eq!(loom.misses(), Some(true), "{consumer}: loom has learnt something");
        let exact = search(gate, consumer, Engine::ExactRc11, ALL);
        assert!(matches!(exact, Verdict::Complete { .. }), "{consumer}: {exact:?}");
        assert!(matches!(loom.adjudicated(Engine::ExactRc11, &exact), Verdict::Alarm { .. }));
    }
}

#[test]
fn five_protocols_of_the_pool_are_searched_to_their_end() {
    use Protocol::{EnqueueIdle, Exit, Maximum, Panic, ShardScan};
    for protocol in [EnqueueIdle, ShardScan, Exit, Maximum, Panic] {
        let scenario = PoolScenario::<PerEntry>::new(protocol);
        let verdict = engine::search(Engine::ExactRc11, &scenario, ALL);
        println!("{protocol}: {} executions", verdict.explored());
        assert!(matches!(verdict, Verdict::Complete { .. }), "{protocol}: {verdict:?}");
    }
}

/// Three threads, each of which stores, comes by a fence, and loads what the next one stores.
#[derive(Clone)]
struct Ring;

impl Scenario for Ring {
    fn name(&self) -> String {
        "ring".into()
    }

    fn run<P: Primitives>(&self) {
        let words = Arc::new(["a", "b", "c"].map(|label| P::Atomic::new(label, 0)));
        let pass = |words: &[P::Atomic; 3], i: usize| {
            words[i].store(1, Relaxed);
            P::fence(SeqCst);
            words[(i + 1) % 3].load(Relaxed)
        };
        let threads = [("second", 1), ("third", 2)].map(|(name, i)| {
            let words = words.clone();
            P::spawn(name, move || {
                pass(&words, i);
            })
        });
        pass(&words, 0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn a_mistake_is_made_on_every_thread_of_a_search_and_noted_once_for_all() {
    let search = |budget: Budget| {
        let verdict = engine::search(Engine::ExactRc11, &Ring, budget);
        assert!(matches!(verdict, Verdict::Complete { .. }), "{verdict:?}");
        verdict.explored()
    };
    let (_, executed) = listing(|| search(ALL.on_all_cpus()));
    let fences: Vec<_> = executed.iter().filter(|seen| seen.operation == Operation::Fence).collect();
    assert_eq!(fences.len(), 1, "{executed:?}");
    let mutation = Mutation { place: fences[0].place.clone(), label: None, change: Change::Dropped };
    for workers in [1, 2, 4] {
        let budget = Budget { workers, ..ALL };
        // Of the eight outcomes the fences forbid the one in which nobody sees a store.
        assert_eq!(search(budget), 7);
        let (executions, struck) = with_mutation(&mutation, || search(budget));
        assert_eq!(executions, 8, "{workers} workers");
        assert!(struck >= 24, "{struck}");
        assert_eq!(search(budget), 7, "the mistake is not made any more");
    }
}

#[test]
fn a_check_returns_what_was_searched() {
    #[derive(Clone)]
    struct Handover;
    impl Scenario for Handover {
        fn name(&self) -> String {
            "handover".into()
        }
        fn run<P: Primitives>(&self) {
            let shared = Arc::new((P::Atomic::new("flag", 0), P::Parker::new("sleeper")));
            let waker = P::spawn("waker", {
                let shared = shared.clone();
                move || {
                    shared.0.store(1, Release);
                    shared.1.unpark();
                }
            });
            while shared.0.load(Acquire) == 0 {
                shared.1.park();
            }
            waker.join().unwrap();
        }
    }
    let checked = check(Handover);
    let executions: Vec<_> =
        checked.expect_complete().searches.iter().map(|search| search.executions).collect();
    // The flag is read before it is set, or after. After a token it is set.
    assert_eq!(executions, [2, 2, 2], "{checked}");
}
