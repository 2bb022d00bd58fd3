//! The wait queue with two who wait for one token: one of them gives up, or panics, while a wake is on its way.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};

use reveille::gate::WakeOne;
use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::Scenario;
use crate::flavour::ScriptedPanic;
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

/// A token that two wait for. A look of the one in the other thread panics, it catches that, and keeps its entry.
pub struct PanickingLook<G> {
    /// Its first look may be told meanwhile; its second has been told before.
    look: usize,
    gate: PhantomData<fn(G)>,
}

impl<G> PanickingLook<G> {
    /// The look of this number panics, if it comes to that.
    pub fn new(look: usize) -> Self {
        Self { look, gate: PhantomData }
    }
}

impl<G> Clone for PanickingLook<G> {
    fn clone(&self) -> Self {
        Self { look: self.look, gate: self.gate }
    }
}

impl<G: WakeOne> Scenario for PanickingLook<G> {
    fn name(&self) -> String {
        format!("look {} panics", self.look)
    }

    fn main_thread(&self) -> &'static str {
        "patient"
    }

    fn run<P: Primitives>(&self) {
        let queue = Arc::new(WaitQueue::<P, G>::new());
        let [tokens, over] = ["tokens", "over"].map(|label| Arc::new(P::Atomic::new(label, 0)));
        let panicking = P::spawn("panicking", {
            let (queue, tokens, over, panics) = (queue.clone(), tokens.clone(), over.clone(), self.look);
            move || {
                let parker = Arc::new(P::Parker::new("panicking"));
                let mut waiter = queue.register(Kind::Exclusive, Waker::from(parker.clone()));
                let mut looks = 0;
                let mut look = || {
                    looks += 1;
                    if looks == panics {
                        ScriptedPanic::panic();
                    }
                    let found = take::<P>(&tokens).map(|()| true);
                    found.or_else(|| (over.load(Acquire) == 1).then_some(false))
                };
                let took = P::catch(|| {
                    loop {
                        match waiter.look(&mut look) {
                            Some(took) => break took,
                            None => parker.park(),
                        }
                    }
                });
                if let Ok(true) = took {
                    waiter.disarm();
                    tokens.store(1, Release); // the other one waits for it: back with it
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
        over.store(1, Release);
        queue.notify_all();
        panicking.join().expect("it was caught");
        producer.join().expect("no panic");
    }

    fn scripts(&self) -> Vec<Script> {
        vec![Script::none()]
    }
}

fn take<P: Primitives>(tokens: &P::Atomic) -> Option<()> {
    // The load is the look; the exchange decides who gets it.
    let there = tokens.load(Acquire) == 1;
    (there && tokens.compare_exchange(1, 0, AcqRel, Relaxed).is_ok()).then_some(())
}
