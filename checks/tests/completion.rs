//! The library's own completion queue under the engines: two producers, a ring that is too small, a consumer that sleeps.

use std::time::Duration;

use reveille::completion::CompletionQueue;
use reveille::gate::{Gate, PerEntry};
use reveille::sync::{JoinHandle, Primitives};
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::mutants::{Mutant, NO_BARRIER_AFTER_ARM};
use reveille_checks::report;
use reveille_checks::scenario::Scenario;

/// A batch of two and a single completion, through a ring of one slot.
struct Overflowing<G>(std::marker::PhantomData<fn(G)>);

impl<G> Clone for Overflowing<G> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<G: Gate> Scenario for Overflowing<G> {
    fn name(&self) -> String {
        "a completion queue that overflows".into()
    }

    fn main_thread(&self) -> &'static str {
        "consumer"
    }

    fn run<P: Primitives>(&self) {
        let (queue, mut consumer) = CompletionQueue::<u8, P, G>::with_capacity(1);
        let batch = P::spawn("batch", {
            let queue = queue.clone();
            move || {
                queue.publish([1, 2]);
            }
        });
        let single = P::spawn("single", move || {
            queue.publish([3]);
        });
        let taken: [u8; 3] = std::array::from_fn(|_| consumer.wait());
        let place = |item| taken.iter().position(|&taken| taken == item).expect("nothing is lost");
        assert!(place(1) < place(2), "out of order: {taken:?}");
        place(3);
        assert_eq!(consumer.pop(), None);
        batch.join().expect("no panic");
        single.join().expect("no panic");
    }
}

#[test]
fn nothing_is_lost_and_the_order_is_kept_under_every_engine() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget { time: Duration::from_secs(4), ..Budget::default() };
        let verdict = engine::search(engine, &Overflowing::<PerEntry>(Default::default()), budget);
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
    let scenario = Overflowing::<Mutant<NO_BARRIER_AFTER_ARM>>(Default::default());
    let verdict = engine::search(Engine::LoomC11, &scenario, budget);
    assert_eq!(verdict.misses(), Some(true), "{verdict:?}");
}
