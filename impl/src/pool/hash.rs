//! Jobs of one hash, one at a time and in order.
//!
//! io-wq leaves hashed items in the work list; a worker that finds only items whose hash is busy marks the list STALLED and
//! waits for the hash. The mark has to be set before the list's lock is dropped, and that was got wrong once (Linux
//! 0242f6426ea7). Here no worker ever waits for a hash, and there is no wake that could be lost: a job whose hash is busy
//! is not in a work list at all. It waits in the **chain** of its hash, stalled, and whoever finishes the job before it
//! moves it on.
//!
//! A hash is *busy* while it has an entry in the table: from the moment its first job is put into a work list until the
//! last job of its chain is over. The table's lock is held while a job is moved from a chain to a work list, so that a
//! cancellation, which looks through the chains and then through the lists, cannot miss it between the two. Jobs without
//! a hash never come here.

use std::collections::VecDeque;
use std::collections::hash_map::{DefaultHasher, Entry, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::Shared;
use super::account::Account;
use super::job::AnyJob;
use super::worker::Station;
use crate::burst::give_back;
use crate::gate::WakeOne;
use crate::sync::{Mutex, Primitives};

/// The chains of all busy hashes.
pub(super) struct Chains<P: Primitives, G: WakeOne> {
    // A fixed hasher: a search that runs the same schedule twice must see the same table.
    busy: HashMap<u64, VecDeque<AnyJob<P, G>>, BuildHasherDefault<DefaultHasher>>,
    closed: bool,
    /// How many jobs ever came, and how many had to wait in a chain.
    pub accepted: u64,
    pub stalled: u64,
}

/// What becomes of a job that comes with a hash.
pub(super) enum Admission<J> {
    /// Its hash was free, and is busy now. It goes to a work list.
    Free(J),
    /// It waits in the chain.
    Stalled,
    /// The pool takes no more jobs.
    Closed(J),
}

impl<P: Primitives, G: WakeOne> Chains<P, G> {
    pub fn new() -> Self {
        Self { busy: HashMap::default(), closed: false, accepted: 0, stalled: 0 }
    }

    /// Takes no more jobs from now on; those in the chains still run.
    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn admit(&mut self, hash: u64, job: AnyJob<P, G>) -> Admission<AnyJob<P, G>> {
        if self.closed {
            return Admission::Closed(job);
        }
        self.accepted += 1;
        match self.busy.entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(VecDeque::new());
                Admission::Free(job)
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().push_back(job);
                self.stalled += 1;
                Admission::Stalled
            }
        }
    }

    /// The job that was out is over: the next of its hash, or else the hash is free.
    pub fn next(&mut self, hash: u64) -> Option<AnyJob<P, G>> {
        let Entry::Occupied(mut entry) = self.busy.entry(hash) else { return None };
        let chain = entry.get_mut();
        let next = chain.pop_front();
        give_back(chain);
        if next.is_none() {
            entry.remove();
            give_back(&mut self.busy);
        }
        next
    }

    /// How many hashes are busy.
    pub fn busy(&self) -> usize {
        self.busy.len()
    }

    /// The jobs that wait.
    pub fn waiting(&self) -> impl Iterator<Item = &AnyJob<P, G>> {
        self.busy.values().flatten()
    }

    /// Takes all jobs that wait. Their hashes stay busy until the jobs that are out are over.
    pub fn drain(&mut self) -> Vec<AnyJob<P, G>> {
        self.busy.values_mut().flat_map(std::mem::take).collect()
    }
}

/// What became of the next job of a hash.
pub(super) enum Next<'a, P: Primitives, G: WakeOne> {
    /// There was none; the hash is free.
    None,
    /// Whoever asked runs it at once.
    Runs(AnyJob<P, G>),
    /// It is in a list of this account.
    Pushed(&'a Account<P, G>),
}

impl<P: Primitives, G: WakeOne> Shared<P, G> {
    pub(super) fn submit_hashed(self: &Arc<Self>, turn: usize, job: AnyJob<P, G>) {
        let work = *job.work();
        let Some(hash) = work.hash else { return };
        let account = self.account(work.account);
        let admission = self.chains.with(|chains| match chains.admit(hash, job) {
            Admission::Free(job) => {
                account.push_accepted(turn, job);
                Ok(true)
            }
            Admission::Stalled => Ok(false),
            Admission::Closed(job) => Err(job),
        });
        match admission {
            Ok(true) => self.activate(account, 1),
            Ok(false) => tracing::trace!(hash, "stalled"),
            Err(job) => self.turn_away(job),
        }
    }

    /// A job of this hash is over, and this worker asks what is next: the next of the hash, if nothing else waits.
    pub(super) fn next_of_hash(self: &Arc<Self>, hash: u64, station: &Station<P, G>) -> Option<AnyJob<P, G>> {
        match self.bring_out(hash, Some(station)) {
            Next::None => None,
            Next::Runs(job) => Some(job),
            Next::Pushed(account) => {
                self.activate(account, 1);
                None
            }
        }
    }

    /// Brings the next job of a hash out of its chain: for this worker to run at once, if there is no other work that was there
    /// first; else into a list of its account, for which somebody must be activated.
    pub(super) fn bring_out(&self, hash: u64, station: Option<&Station<P, G>>) -> Next<'_, P, G> {
        self.chains.with(|chains| {
            let Some(job) = chains.next(hash) else { return Next::None };
            let account = self.account(job.work().account);
            match station {
                Some(station)
                    if station.account == account.name && !account.has_work() && !account.has_surplus() =>
                {
                    station.begin(&job);
                    Next::Runs(job)
                }
                _ => {
                    account.push_accepted(hash as usize, job);
                    Next::Pushed(account)
                }
            }
        })
    }
}
