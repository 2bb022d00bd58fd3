//! The wait queue with async waiters: one of two gives up while a wake is on its way.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};

use reveille::gate::WakeOne;
use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::Scenario;
use crate::flavour::script::Script;

/// A token that two futures wait for. The one in the other thread is polled once and dropped.
pub struct GivingUp<G>(PhantomData<fn(G)>);

impl<G> Default for GivingUp<G> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

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
