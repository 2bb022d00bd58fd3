//! The library's own completion queue: producers that publish batches, a ring that may be too small, a consumer that sleeps.

use std::marker::PhantomData;

use reveille::completion::CompletionQueue;
use reveille::gate::Gate;
use reveille::sync::{JoinHandle, Primitives};

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
