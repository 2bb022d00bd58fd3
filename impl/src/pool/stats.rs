//! Counters, and what users see of them.

use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::Shared;
use super::job::{AccountName, Ending};
use crate::gate::WakeOne;
use crate::sync::{Mutex, Primitives};

/// What a pool has done so far; from [`Submitter::stats`](super::Submitter::stats).
///
/// When all is over, `submitted == done + panicked + cancelled + refused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Jobs that were enqueued, those that were refused too.
    pub submitted: u64,
    /// Jobs that returned.
    pub done: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Jobs that were cancelled before they ran. Such a job is counted when it would have had its turn.
    pub cancelled: u64,
    /// Jobs that the pool did not take, or could not find a worker for.
    pub refused: u64,
    /// Jobs that had to wait for another of their hash.
    pub stalled: u64,
    /// Hashes that have a job in a list or in a worker's hands.
    pub busy_hashes: usize,
    /// Workers started.
    pub started: u64,
    /// The accounts, in the order of [`AccountName::ALL`].
    pub accounts: [AccountStats; AccountName::ALL.len()],
}

/// An account's part of the [`Stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountStats {
    /// Jobs that wait for a worker.
    pub waiting: usize,
    /// Workers there are.
    pub workers: usize,
    /// Workers in blocked regions, among them.
    pub blocked: usize,
    /// Workers that were told to wake up.
    pub workers_woken: u64,
    /// Times that a job or a batch was enqueued, or found on the way out, and no sleeping worker had to be told.
    pub wakes_skipped: u64,
}

/// A number that only grows. An ordinary atomic, not one of the primitives': nothing depends on it.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        // Unreached: an ordinary atomic. One step, because many threads count.
        self.0.fetch_add(n, Relaxed);
    }

    /// [`add`](Counter::add) where only one thread counts: a load and a store will do.
    pub fn add_alone(&self, n: u64) {
        self.0.store(self.get() + n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many jobs ended, and how.
#[derive(Debug, Default)]
pub(super) struct Counters {
    done: Counter,
    panicked: Counter,
    cancelled: Counter,
    refused: Counter,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    done: u64,
    panicked: u64,
    cancelled: u64,
    refused: u64,
}

impl Counters {
    /// Of a job that came to nothing here somebody else was the end: it had been cancelled.
    fn of(&self, ending: Option<Ending>) -> &Counter {
        match ending {
            Some(Ending::Done) => &self.done,
            Some(Ending::Panicked) => &self.panicked,
            Some(Ending::Cancelled) | None => &self.cancelled,
            Some(Ending::Refused) => &self.refused,
        }
    }

    pub fn count(&self, ending: Option<Ending>) {
        self.of(ending).add(1);
    }

    /// The same where only one thread counts.
    pub fn count_alone(&self, ending: Option<Ending>) {
        self.of(ending).add_alone(1);
    }

    pub fn get(&self) -> Counts {
        Counts {
            done: self.done.get(),
            panicked: self.panicked.get(),
            cancelled: self.cancelled.get(),
            refused: self.refused.get(),
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            done: self.done + other.done,
            panicked: self.panicked + other.panicked,
            cancelled: self.cancelled + other.cancelled,
            refused: self.refused + other.refused,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

impl<P: Primitives, G: WakeOne> Shared<P, G> {
    pub(super) fn stats(&self) -> Stats {
        let (counts, started) = self.threads.with(|threads| {
            let running = threads.running.iter().map(|thread| thread.station.counters.get());
            (threads.retired + running.sum(), threads.started.iter().sum::<usize>())
        });
        let (chained, stalled, busy_hashes) =
            self.chains.with(|chains| (chains.accepted, chains.stalled, chains.busy()));
        let accounts = self.accounts.each_ref().map(|account| account.stats());
        let Counts { done, panicked, cancelled, refused } = counts + self.counters.get();
        Stats {
            submitted: chained
                + self.turned_away.get()
                + accounts.iter().map(|(_, accepted)| accepted).sum::<u64>(),
            done,
            panicked,
            cancelled,
            refused,
            stalled,
            busy_hashes,
            started: started as u64,
            accounts: accounts.map(|(stats, _)| stats),
        }
    }
}
