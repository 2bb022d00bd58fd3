//! The library's own completion queue: producers that publish batches, a ring that may be too small, a consumer that sleeps.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Waker;

use reveille::completion::CompletionQueue;
use reveille::gate::Gate;
use reveille::sync::{JoinHandle, Parker, Primitives};

use super::Scenario;
use crate::flavour::script::Script;

/// Every producer publishes its batches in their order; the consumer waits for every completion, and finds then that there
/// is no more. Nothing may be lost, and each producer's completions come in their order.
pub struct Completions<G> {
    capacity: usize,
    producers: &'static [&'static [u8]],
    gate: PhantomData<fn(G)>,
}

impl<G> Completions<G> {
    /// A ring of `capacity` slots, and for every producer, three at most, the sizes of its batches.
    pub fn new(capacity: usize, producers: &'static [&'static [u8]]) -> Self {
        Self { capacity, producers, gate: PhantomData }
    }
}

impl<G> Clone for Completions<G> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

const PRODUCERS: [&str; 3] = ["producer 0", "producer 1", "producer 2"];

impl<G: Gate> Scenario for Completions<G> {
    fn name(&self) -> String {
        format!("a completion queue of {} slots, batches {:?}", self.capacity, self.producers)
    }

    fn main_thread(&self) -> &'static str {
        "consumer"
    }

    fn scripts(&self) -> Vec<Script> {
        vec![Script::none(), Script::none().early(self.main_thread(), 1)]
    }

    fn run<P: Primitives>(&self) {
        let (queue, mut consumer) = CompletionQueue::<(usize, u8), P, G>::with_capacity(self.capacity);
        let start = |(producer, batches): (usize, &&'static [u8])| {
            let (queue, batches) = (queue.clone(), *batches);
            P::spawn(PRODUCERS[producer], move || {
                let mut numbers = 0..;
                for &size in batches {
                    queue.publish(numbers.by_ref().take(size.into()).map(|number| (producer, number)));
                }
            })
        };
        let producers: Vec<_> = self.producers.iter().enumerate().map(start).collect();
        drop(queue);
        let mut next = [0; PRODUCERS.len()];
        let completions: u8 = self.producers.iter().copied().flatten().sum();
        for _ in 0..completions {
            let (producer, number) = consumer.wait();
            assert_eq!(number, next[producer], "of producer {producer}, out of order");
            next[producer] += 1;
        }
        assert_eq!(consumer.pop(), None, "there is no more");
        for producer in producers {
            producer.join().expect("no panic");
        }
    }
}

/// A consumer that sleeps in a way of its own, as a reactor does: something else may wake it, and then it says so, so that nobody
/// need ring while it is awake.
pub struct ReactorSleep<G>(PhantomData<fn(G)>);

impl<G> Default for ReactorSleep<G> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<G> Clone for ReactorSleep<G> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<G: Gate> Scenario for ReactorSleep<G> {
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
