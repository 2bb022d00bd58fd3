//! The library's own pool and completion queue as [`Workers`].

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use reveille::completion::{CompletionQueue, Consumer};
use reveille::gate::Gate;
use reveille::pool::{Completion, Config, Context, Pool, Work};
use reveille::sync::Primitives;

use super::Error;
use super::hand_off::Workers;

/// A pool, and a completion queue whose wakes the gate `G` decides.
pub(super) struct Ours<P: Primitives, G: Gate> {
    pool: Pool<P>,
    results: Arc<CompletionQueue<Completion<u64>, P, G>>,
    consumer: Consumer<Completion<u64>, P, G>,
    charge: Charge,
}

/// How jobs go to the pool.
#[derive(Debug, Clone, Copy)]
pub(super) enum Charge {
    /// To the bounded account, all that are submitted at a time as a batch.
    Batched,
    /// To both accounts in turn, each by itself, as io-wq gets them.
    Alternating,
}

/// How many completions the ring holds; it does not overflow.
const CAPACITY: usize = 1024;

impl<P: Primitives, G: Gate> Ours<P, G> {
    pub(super) fn new(config: Config, charge: Charge, bell: Waker) -> Result<Self, Error> {
        let (results, mut consumer) = CompletionQueue::with_capacity(CAPACITY);
        consumer.set_waker(&bell);
        Ok(Self { pool: Pool::new(config), results, consumer, charge })
    }
}

impl<P: Primitives, G: Gate> Workers for Ours<P, G> {
    fn submit(&mut self, tokens: Range<u64>) {
        let job = |user_data| {
            let results = self.results.clone();
            let deliver = move |outcome| {
                results.publish([Completion { user_data, outcome }]);
            };
            (move |_: &Context<'_, P>| black_box(user_data), deliver)
        };
        match self.charge {
            Charge::Batched => {
                let mut batch = self.pool.batch();
                for token in tokens {
                    let (run, deliver) = job(token);
                    batch.enqueue(Work::BOUNDED, run, deliver);
                }
                batch.submit();
            }
            Charge::Alternating => {
                for token in tokens {
                    let (run, deliver) = job(token);
                    let work = if token % 2 == 0 { Work::BOUNDED } else { Work::UNBOUNDED };
                    self.pool.enqueue(work, run, deliver);
                }
            }
        }
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
