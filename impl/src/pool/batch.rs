//! Jobs that are submitted together.

use super::Submitter;
use super::account::Account;
use super::job::{self, AccountName, AnyJob, Handle, Outcome, Token, Work};
use super::shell::{Shell, Shells};
use super::worker::Context;
use crate::gate::{PerEntry, WakeOne};
use crate::slot::Slot;
use crate::sync::{Native, Primitives};

/// Jobs that are submitted together, when the batch is [submitted](Batch::submit) or dropped: for each account one lock and one wake
/// decision. Hashed jobs go one by one, before the others.
#[must_use = "dropping a batch submits it"]
pub struct Batch<'a, P: Primitives = Native, G: WakeOne = PerEntry> {
    pub(super) submitter: &'a Submitter<P, G>,
    pub(super) jobs: Jobs<P, G>,
}

impl<'a, P: Primitives, G: WakeOne> Batch<'a, P, G> {
    /// Adds a job, as [`Submitter::spawn`].
    pub fn spawn<T, F>(&mut self, work: Work, run: F) -> Handle<T, P, G>
    where
        T: Send + 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    {
        let slot = Slot::new();
        let token = self.enqueue(work, run, {
            let slot = slot.clone();
            move |outcome| slot.deliver(outcome)
        });
        Handle { slot, token }
    }

    /// Adds a job, as [`Submitter::enqueue`].
    pub fn enqueue<T, F, D>(&mut self, work: Work, run: F, deliver: D) -> Token<P, G>
    where
        T: 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        D: FnOnce(Outcome<T>) + Send + 'static,
    {
        self.jobs.enqueue(work, run, deliver)
    }

    /// Adds a job without a token, which nobody cancels by itself: it is one allocation less, and nothing of it is counted. With a
    /// [tag](Work::tagged) it can be found all the same, and costs what [`enqueue`](Batch::enqueue) does.
    ///
    /// ```
    /// # use reveille::pool::{Config, Pool, Work};
    /// # let pool: Pool = Pool::new(Config::default());
    /// let (send, answers) = std::sync::mpsc::channel();
    /// let mut batch = pool.batch();
    /// batch.enqueue_detached(Work::BOUNDED, |_| 6 * 7, move |outcome| drop(send.send(outcome.done())));
    /// batch.submit();
    /// assert_eq!(answers.recv(), Ok(Some(42)));
    /// ```
    pub fn enqueue_detached<T, F, D>(&mut self, work: Work, run: F, deliver: D)
    where
        T: 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        D: FnOnce(Outcome<T>) + Send + 'static,
    {
        self.jobs.enqueue_detached(work, run, |outcome, _| deliver(outcome));
    }

    /// How many jobs it holds.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Submits it.
    pub fn submit(self) {}

    /// Submits it, and wakes one worker at most, as [`submit`](Batch::submit) does; but that one wakes no further ones, until what
    /// is returned is dropped: it may do short jobs all by itself before another one is awake. Until then jobs may wait while
    /// workers sleep; so do nothing meanwhile that takes long.
    ///
    /// ```
    /// # use reveille::pool::{Config, Outcome, Pool, Work};
    /// # let pool: Pool = Pool::new(Config::default());
    /// let mut batch = pool.batch();
    /// let answers = [1, 2, 3].map(|n| batch.spawn(Work::BOUNDED, move |_| n * n));
    /// let spared = batch.submit_sparingly();
    /// std::thread::yield_now(); // a worker may have done them all after this
    /// drop(spared);
    /// assert!(matches!(answers.map(|answer| answer.wait().done()), [Some(1), Some(4), Some(9)]));
    /// ```
    pub fn submit_sparingly(mut self) -> Spared<'a, P, G> {
        self.submitter.submit_sparingly(&mut self.jobs)
    }
}

/// Workers who were not woken yet for jobs that have been submitted. They are when this is dropped, if jobs still wait then.
#[must_use = "dropping it wakes the workers that were spared"]
pub struct Spared<'a, P: Primitives = Native, G: WakeOne = PerEntry>(pub(super) &'a Submitter<P, G>);

impl<P: Primitives, G: WakeOne> Spared<'_, P, G> {
    /// How many jobs wait for a worker, these and others.
    pub fn waiting(&self) -> usize {
        self.0.shared.accounts.iter().map(Account::waiting).sum()
    }

    /// Wakes as many workers as jobs wait now, or starts one. One may be on its way, and take long.
    pub fn wake(&self) {
        for account in &self.0.shared.accounts {
            let waiting = account.waiting();
            if waiting > 0 {
                account.wake_more(waiting);
                self.0.shared.activate_unprompted(account);
            }
        }
    }
}

impl<P: Primitives, G: WakeOne> Drop for Spared<'_, P, G> {
    fn drop(&mut self) {
        if !P::tearing_down() {
            for account in self.0.shared.accounts.iter().filter(|account| account.is_looked_after()) {
                account.end_sparing();
            }
            // Whoever pushed them reads his own push, or what a worker has made of the list since.
            let shared = &self.0.shared;
            shared.accounts.iter().for_each(|account| shared.activate_unprompted(account));
        }
    }
}

impl<P: Primitives, G: WakeOne> Drop for Batch<'_, P, G> {
    fn drop(&mut self) {
        self.submitter.submit(&mut self.jobs);
    }
}

/// Jobs that are to be [submitted](Submitter::submit) together. It keeps its memory.
pub(crate) struct Jobs<P: Primitives = Native, G: WakeOne = PerEntry> {
    pub(super) unhashed: [Vec<AnyJob<P, G>>; AccountName::ALL.len()],
    /// Those with a hash, of both accounts: their order is kept.
    pub(super) hashed: Vec<AnyJob<P, G>>,
    shells: Shells,
}

impl<P: Primitives, G: WakeOne> Default for Jobs<P, G> {
    fn default() -> Self {
        Self {
            unhashed: [const { Vec::new() }; AccountName::ALL.len()],
            hashed: Vec::new(),
            shells: Shells::default(),
        }
    }
}

impl<P: Primitives, G: WakeOne> Jobs<P, G> {
    pub fn enqueue<T, F, D>(&mut self, work: Work, run: F, deliver: D) -> Token<P, G>
    where
        T: 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        D: FnOnce(Outcome<T>) + Send + 'static,
    {
        let (job, token) = job::cancellable(work, run, deliver);
        self.push(job);
        token
    }

    /// The same without a token, which makes it cheaper. With the outcome comes the empty box of the job, to be
    /// [kept](Jobs::keep).
    pub fn enqueue_detached<T, F, D>(&mut self, work: Work, run: F, deliver: D)
    where
        T: 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        D: FnOnce(Outcome<T>, Option<Shell>) + Send + 'static,
    {
        let job = job::detached(&mut self.shells, work, run, deliver);
        self.push(job);
    }

    /// Keeps the box of a job that is over for one that is to come.
    pub fn keep(&mut self, shell: Shell) {
        self.shells.put(shell);
    }

    fn push(&mut self, job: AnyJob<P, G>) {
        let work = job.work();
        match work.hash {
            None => self.unhashed[work.account as usize].push(job),
            Some(_) => self.hashed.push(job),
        }
    }

    pub fn len(&self) -> usize {
        self.hashed.len() + self.unhashed.iter().map(Vec::len).sum::<usize>()
    }
}
