//! The library's own pool and completion queue as [`Workers`].

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use reveille::completion::{CompletionQueue, Consumer};
use reveille::gate::Gate;
use reveille::pool::{Completion, Config, Pool, Work};
use reveille::sync::Primitives;

use super::Error;
use super::hand_off::Workers;

/// A pool, and a completion queue whose wakes the gate `G` decides.
pub(super) struct Ours<P: Primitives, G: Gate> {
    pool: Pool<P>,
    results: Arc<CompletionQueue<Completion<u64>, P, G>>,
    consumer: Consumer<Completion<u64>, P, G>,
    /// What the jobs are, in turn.
    works: &'static [Work],
}

/// How many completions the ring holds; it does not overflow.
const CAPACITY: usize = 1024;

impl<P: Primitives, G: Gate> Ours<P, G> {
    pub(super) fn new(config: Config, works: &'static [Work], bell: Waker) -> Result<Self, Error> {
        let (results, mut consumer) = CompletionQueue::with_capacity(CAPACITY);
        consumer.set_waker(&bell);
        Ok(Self { pool: Pool::new(config), results, consumer, works })
    }
}

impl<P: Primitives, G: Gate> Workers for Ours<P, G> {
    fn submit(&mut self, tokens: Range<u64>) {
        let mut batch = self.pool.batch();
        for user_data in tokens {
            let results = self.results.clone();
            batch.enqueue_detached(
                self.works[user_data as usize % self.works.len()],
                move |_| black_box(user_data),
                move |outcome| {
                    results.publish_one(Completion { user_data, outcome });
                },
            );
        }
        batch.submit();
    }

    fn take(&mut self) -> Option<u64> {
        // A job that did not run gives a token that nobody submitted.
        self.consumer.pop().map(|completion| completion.outcome.done().unwrap_or(u64::MAX))
    }

    fn prepare_to_sleep(&mut self) -> bool {
        self.consumer.prepare_to_sleep()
    }

    fn woken(&self) -> Option<u64> {
        Some(self.pool.stats().accounts.iter().map(|account| account.workers_woken).sum())
    }
}
