//! How a pool is built.

use std::thread;
use std::time::Duration;

use super::AccountName;
use crate::yielding::YIELDS;

/// The most work lists of an account: a worker goes through all of them before it sleeps.
const MOST_LISTS: usize = 1024;

/// How a pool is built.
#[derive(Debug, Clone)]
pub struct Config {
    /// The most workers of the bounded account, those in blocked regions not counted; 1 at least.
    pub bounded: usize,
    /// The same for the unbounded account.
    pub unbounded: usize,
    /// After this time without work a worker leaves, unless it is the last of its account.
    pub idle_timeout: Duration,
    /// How many locks there are.
    pub layout: Layout,
    /// How often a worker without work yields its CPU and looks again before it sleeps, where jobs are submitted
    /// [sparingly](super::Batch::submit_sparingly). One worker of an account at a time does that; the others sleep at once. It notices where
    /// yields take long, and does so seldom there. 0 for none.
    pub yields: usize,
    /// How many workers of an account a batch of jobs wakes at first. Each that finds a job wakes the next, if others wait and none
    /// is on its way. More than there are processors are of no use.
    pub at_once: usize,
    /// When so many workers of an account in a row had little to do after they were woken, one of them naps: for half a millisecond
    /// no worker that finds a job wakes the next, and then it looks itself. 0 for never.
    pub nap_after: usize,
}

impl Default for Config {
    /// As many bounded workers and lists as the machine has processors, as many workers at once, 256 unbounded workers, five seconds.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            bounded: processors,
            unbounded: 256,
            idle_timeout: Duration::from_secs(5),
            layout: Layout::Sharded(processors),
            yields: YIELDS,
            at_once: processors,
            nap_after: 8,
        }
    }
}

impl Config {
    pub(super) fn max(&self, account: AccountName) -> usize {
        let max = match account {
            AccountName::Bounded => self.bounded,
            AccountName::Unbounded => self.unbounded,
        };
        within_reach(max)
    }
}

/// So many workers as may be said: 1 at least, and so few that they can be counted with those in blocked regions. The system has
/// fewer in any case.
pub(super) fn within_reach(max: usize) -> usize {
    max.clamp(1, isize::MAX as usize / 2)
}

/// How many locks a pool has for its work and its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// A work list for each account, and one lock for the worker lists of both, taken whenever a worker goes idle, gets
    /// busy or is woken: io-wq before "add io_worker.acct pointer" and the patch that moved the lists into the accounts.
    OneLock,
    /// The same with a lock for each account: io-wq since Linux 6.15.
    LockPerAccount,
    /// So many work lists for each account, each with its own lock on its own cache line. Submitters go round, workers begin
    /// with a list of their own and go through all of them before they sleep. Worker lists have the wait queue's lock only.
    /// 1 list at least, and 1024 at most.
    Sharded(usize),
}

impl Layout {
    pub(super) fn shards(self) -> usize {
        match self {
            Layout::OneLock | Layout::LockPerAccount => 1,
            Layout::Sharded(shards) => shards.clamp(1, MOST_LISTS),
        }
    }

    pub(super) fn keeps_free_list(self) -> bool {
        !matches!(self, Layout::Sharded(_))
    }
}
