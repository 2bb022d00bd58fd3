//! The library's own wait queue with async waiters under the engines: one of two gives up while a wake is on its way.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use reveille::gate::{PerEntry, WakeOne};
use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::flavour::script::Script;
use reveille_checks::mutants::{KEEPS_THE_WAKE, Mutant};
use reveille_checks::report;
use reveille_checks::scenario::Scenario;

/// A token that two futures wait for. The one in the other thread is polled once and dropped.
struct GivingUp<G>(PhantomData<fn(G)>);

impl<G> Clone for GivingUp<G> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<G: WakeOne> Scenario for GivingUp<G> {
    fn name(&self) -> String {
        "a future that is dropped".into()
    }

    fn main_thread(&self) -> &'static str {
        "patient"
    }

    fn run<P: Primitives>(&self) {
        let queue = Arc::new(WaitQueue::<P, G>::new());
        let tokens = Arc::new(P::Atomic::new("tokens", 0));
        let impatient = P::spawn("impatient", {
            let (queue, tokens) = (queue.clone(), tokens.clone());
            move || {
                let mut future = pin!(queue.until(Kind::Exclusive, || take::<P>(&tokens)));
                if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    tokens.store(1, Release); // it took the token that the other one waits for: back with it
                    queue.notify_one();
                }
            }
        });
        let producer = P::spawn("producer", {
            let (queue, tokens) = (queue.clone(), tokens.clone());
            move || {
                tokens.store(1, Release);
                queue.notify_one();
            }
        });
        let parker = Arc::new(P::Parker::new("patient"));
        let waker = Waker::from(parker.clone());
        let mut future = pin!(queue.until(Kind::Exclusive, || take::<P>(&tokens)));
        while future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Pending {
            parker.park();
        }
        impatient.join().expect("no panic");
        producer.join().expect("no panic");
    }

    fn scripts(&self) -> Vec<Script> {
        vec![Script::none(), Script::none().early("patient", 1)]
    }
}

fn take<P: Primitives>(tokens: &P::Atomic) -> Option<()> {
    // The load is the look; the exchange decides who gets it.
    let there = tokens.load(Acquire) == 1;
    (there && tokens.compare_exchange(1, 0, AcqRel, Relaxed).is_ok()).then_some(())
}

#[test]
fn a_wake_spent_on_a_future_that_is_dropped_reaches_the_next_one() {
    for engine in [Engine::LoomSc, Engine::LoomC11, Engine::Shuttle] {
        let budget = Budget { time: Duration::from_secs(3), ..Budget::default() };
        let verdict = engine::search(engine, &GivingUp::<PerEntry>(PhantomData), budget);
        println!("{engine:?}: {} executions, {:?}", verdict.explored(), verdict.bound());
        if let Some(counterexample) = verdict.counterexample() {
            panic!("{}", report::render(counterexample));
        }
        assert_eq!(verdict.misses(), Some(false), "{verdict:?}");
    }
}

#[test]
fn the_same_check_rejects_a_queue_that_does_not_pass_it_on() {
    let budget = Budget { time: Duration::from_secs(60), ..Budget::default() };
    for engine in [Engine::LoomSc, Engine::Shuttle] {
        let verdict = engine::search(engine, &GivingUp::<Mutant<KEEPS_THE_WAKE>>(PhantomData), budget);
        assert_eq!(verdict.misses(), Some(true), "{engine:?}: {verdict:?}");
    }
}
