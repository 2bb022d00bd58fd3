//! The library's own completion queue under the engines: two producers, a ring that is too small, a consumer that sleeps.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use reveille::completion::CompletionQueue;
use reveille::gate::{Gate, PerEntry};
use reveille::sync::{JoinHandle, Parker, Primitives};
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::flavour::script::Script;
use reveille_checks::mutants::{LEAVES_ARMED, Mutant, NO_BARRIER_AFTER_ARM};
use reveille_checks::report;
use reveille_checks::scenario::{Completions, Scenario};

/// A batch of two and a single completion, through a ring of one slot.
fn overflowing<G>() -> Completions<G> {
    Completions::new(1, &[&[2], &[1]])
}

/// A consumer that sleeps in a way of its own, as a reactor does: something else may wake it, and then it says so, so that nobody
/// need ring while it is awake.
struct Reactor<G>(std::marker::PhantomData<fn(G)>);

impl<G> Clone for Reactor<G> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<G: Gate> Scenario for Reactor<G> {
    fn name(&self) -> String {
        "a reactor's sleep".into()
    }

    fn main_thread(&self) -> &'static str {
        "reactor"
    }

    fn run<P: Primitives>(&self) {
        let (queue, mut consumer) = CompletionQueue::<u8, P, G>::with_capacity(2);
        let parker = Arc::new(P::Parker::new("reactor"));
        consumer.set_waker(&Waker::from(parker.clone()));
        let producer = P::spawn("producer", move || {
            queue.publish([1]);
            queue.publish([2]);
        });
        let mut taken = Vec::new();
        while taken.len() < 2 {
            match consumer.pop() {
                Some(item) => taken.push(item),
                None => {
                    if consumer.prepare_to_sleep() {
                        parker.park();
                    }
                    consumer.awake();
                }
            }
        }
        assert_eq!(taken, [1, 2]);
        producer.join().expect("no panic");
    }

    fn scripts(&self) -> Vec<Script> {
        // An early return is a completion of the kernel's.
        vec![Script::none(), Script::none().early("reactor", 1), Script::none().early("reactor", 2)]
    }
}

#[test]
fn a_reactor_that_something_else_wakes_misses_no_completion() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget { time: Duration::from_secs(4), ..Budget::default() };
        let verdict = engine::search(engine, &Reactor::<PerEntry>(Default::default()), budget);
        println!("{engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_gate_that_forgets_who_left() {
    let budget = Budget { time: Duration::from_secs(60), ..Budget::default() };
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let verdict = engine::search(engine, &Reactor::<Mutant<LEAVES_ARMED>>(Default::default()), budget);
        assert_eq!(verdict.misses(), Some(true), "{engine:?}: {verdict:?}");
    }
    let scenario = Reactor::<Mutant<NO_BARRIER_AFTER_ARM>>(Default::default());
    assert_eq!(engine::search(Engine::LoomC11, &scenario, budget).misses(), Some(true));
}

#[test]
fn nothing_is_lost_and_the_order_is_kept_under_every_engine() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget { time: Duration::from_secs(4), ..Budget::default() };
        let verdict = engine::search(engine, &overflowing::<PerEntry>(), budget);
        println!("{engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_gate_without_its_barrier() {
    let budget = Budget { time: Duration::from_secs(60), ..Budget::default() };
    let scenario = overflowing::<Mutant<NO_BARRIER_AFTER_ARM>>();
    let verdict = engine::search(Engine::LoomC11, &scenario, budget);
    assert_eq!(verdict.misses(), Some(true), "{verdict:?}");
}
