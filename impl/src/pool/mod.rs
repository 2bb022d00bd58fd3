//! The worker pool: blocking work in other threads, in io-wq's terms.
//!
//! A job is charged to one of two **accounts**, bounded or unbounded, once and for all when it is enqueued. An account has work
//! lists, workers, a maximum, and a free list: the [wait queue](crate::wait_queue) in which its idle workers sleep.
//!
//! # The protocol
//!
//! ```text
//! submitter                                         worker
//!   1. lock a work list, append, unlock               1. take a job from a list. If it has just come from 4, or was
//!   2. the gate, full barrier: does anybody sleep?       started: nobody searches any more, full barrier; do others
//!      and nobody search? then somebody does: wake       wait? steps 2 and 3 of a submitter. Run it, and again
//!      one                                            2. none: nobody searches any more, if it did; arm (enters the
//!   3. nobody sleeps, and there is a vacancy, and        free list, full barrier)
//!      nobody searches? then somebody does: start     3. look at all lists: work? leave the free list, go to 1
//!      one                                            4. sleep; woken? go to 1
//!                                                     5. the idle timeout is over: leave the free list, give up
//!                                                        the place (a vacancy), full barrier, look at all lists:
//!                                                        work? do steps 2 and 3 of a submitter. End.
//! ```
//!
//! # Why no job waits while a worker that may run it sleeps
//!
//! Two races have to be won, each by a full barrier on either side.
//!
//! *A worker arms, looks through the lists, and finds none; a submitter appends, and finds nobody armed.* The worker's barrier
//! is between arming and looking (in [`PerEntry`]'s `after_enqueue`), the submitter's between appending and
//! asking (in its `admit`). Whichever comes first, the other side's later read sees what was written before it.
//! The look goes through *all* lists of the account: one that is skipped is one whose jobs may wait for ever.
//!
//! *A submitter appends, and sees no vacancy; a worker makes one, looks, and finds nothing.* The submitter relied on a worker
//! that was just leaving. The submitter's barrier is the same one as before; it stands between the append and the question for
//! a vacancy as well. The worker's is between the vacancy and the look. So either the submitter sees the vacancy and
//! starts a worker, or the one that leaves sees the work and does what the submitter would have done.
//!
//! A wake that was spent on a worker whose time was over at the same moment is not lost: leaving the free list passes it on
//! to the next, and if there is none, the look of step 5 comes after.
//!
//! A wake may also be spent on a worker that is busy: one that was told while it left the free list has a token, wakes by it the
//! next time at once, and finds a job, while it is on the free list still. So whoever wakes leaves it, before anything
//! else, unless the wake has taken him off.
//!
//! A worker that never sleeps needs no wake: it takes job after job, and the submitters' gate finds nobody armed.
//!
//! # One at a time, and why that is enough
//!
//! A burst of short jobs may be done by one worker before a second one is awake: waking one for each job buys nothing but context
//! switches. So there is one worker at a time that **searches**, or as many as there are processors, woken together: they have been woken or
//! started, and none has found a job yet. Whoever pushes meanwhile wakes nobody. The one that searches passes that on: when it has found a job, and others wait, it wakes the next,
//! before it runs its own. So as long as jobs wait and workers sleep, one of them is on its way, whatever the jobs do, and be it that
//! they block for ever.
//!
//! *A submitter appends, and sees that somebody searches; that one has found another job, looks, and sees nothing.* The searcher's
//! barrier is between the end of its search and the look (in `Account::end_search`, or in arming), the
//! submitter's the same as before, between the append and the question. Either the submitter sees the end of the search and
//! wakes somebody, or the searcher sees the job.
//!
//! *The mark is nobody's.* It is set under the lock of the free list, when a worker is told, or under that of the roster, when one
//! is about to be started: so there is always one to end it. A worker that comes back from the free list, for whatever reason,
//! takes that lock, takes it that it was relied on, and ends the search when it finds a job, arms, or has left. It may end that of
//! another one; then one too many is woken. One that has armed and sees work searches on: it may be more than it can do.
//!
//! *A submitter may spare wakes* ([`Batch::submit_sparingly`]), as a reactor does that yields before it sleeps: it wakes one worker, which does
//! not pass its search on, and looks itself whether jobs still wait. When it is done with that it says so, comes by a full barrier, and
//! does steps 2 and 3. A worker asks whether somebody spares after the barrier at the end of its search. So either the worker sees that
//! nobody does, and looks, or that submitter's look comes after the end of the search, and finds the jobs of all who relied on it.
//! Several may spare wakes at a time, and share one mark: the first that clears it comes by a full barrier and looks after that, so
//! who relied on the mark, whoever had set it, is served by that look.
//!
//! *A worker may nap* ([`Config::nap_after`]). Where short jobs come in batches, one worker does a batch before the next one is awake, and
//! that is woken each time. So when some in a row had little to do, the next of them sleeps for half a millisecond only, and says what
//! a submitter says that spares wakes: it is going to look. What it does then is what that submitter does; it searches meanwhile,
//! and passes that on. It naps on the free list, of which the worker that came last is woken first, as in io-wq. So it lies below
//! those that do the work, and a submitter that finds all of them busy wakes it.
//!
//! *A worker yields before it arms*, if the last jobs came from somebody who spares wakes ([`Config::yields`]), and searches meanwhile:
//! if a job comes, nobody need be woken for it. It does not where submitters sleep until they are woken: the kernel holds a yield against
//! a thread, and whomever it wakes later preempts it after each single job. That is a matter of speed only.
//!
//! # Hashes
//!
//! Jobs of one hash run one at a time and in order. While one of them is out, the others wait in the chain of the hash, where no
//! worker looks; the one that ends brings the next out, as a submitter would. Nobody sleeps for a hash, so io-wq's mark
//! STALLED, which was once set too late and lost a wake, is not needed.
//!
//! # The end
//!
//! Shutdown closes the chains and the lists, each under its lock, so that no job comes after. One that cancels empties them then, before
//! the jobs that run are told: a worker whose job ends for that must not find one that waits. It sets EXIT, and wakes the free workers
//! of **every** account (Linux 751eedc4b4b7 woke those of the first, and the others slept until their timeout). EXIT is part
//! of what a worker looks at between arm and sleep, so the same argument holds. It returns when the last worker is gone.
//!
//! The formal model has these protocols as programs, `protocol::pool` in `reveille-model`, with a mutant for each
//! step that is argued here.

mod account;
mod batch;
mod config;
mod end;
mod hash;
mod job;
mod shell;
mod stats;
mod threads;
mod worker;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;
use std::{fmt, io, iter};

use self::account::{Account, Roster, Woken};
use self::hash::Chains;
use self::job::{AnyJob, AnyTask, Fate};
use self::threads::Threads;
use crate::burst::give_back;
use crate::completion::CompletionQueue;
use crate::gate::{PerEntry, WakeOne};
use crate::slot::Slot;
use crate::sync::{Atomic, Mutex, Native, Primitives};
use crate::wait_queue::WaitQueue;

pub(crate) use self::batch::Jobs;
pub use self::batch::{Batch, Spared};
use self::config::within_reach;
pub use self::config::{Config, Layout};
pub use self::job::{AccountName, Cancel, Completion, Handle, Outcome, Refusal, Token, Work};
pub(crate) use self::shell::Shell;
pub use self::stats::{AccountStats, Stats};
use self::stats::{Counter, Counters, Counts};
pub use self::worker::Context;

/// What becomes of the jobs that wait when a pool shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// They run.
    Drain,
    /// They are cancelled, and those that run are told.
    Cancel,
}

/// A shutdown was begun by a job of the pool itself, which cannot wait for its own end. The pool ends without it waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job cannot wait for the end of its own pool; the shutdown goes on without it")]
pub struct InsideJob;

/// How many jobs a predicate cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cancelled {
    /// They had not begun and will not.
    pub before_they_ran: usize,
    /// They were running and have been told.
    pub while_running: usize,
}

/// A pool of workers. It is a [`Submitter`] too.
///
/// Dropping it is a shutdown that [drains](Shutdown::Drain) and waits.
///
/// ```
/// use reveille::pool::{Config, Outcome, Pool, Work};
///
/// let pool: Pool = Pool::new(Config::default());
/// let answer = pool.spawn(Work::BOUNDED, |_| 6 * 7);
/// assert!(matches!(answer.wait(), Outcome::Done(42)));
/// ```
pub struct Pool<P: Primitives = Native, G: WakeOne = PerEntry> {
    submitter: Submitter<P, G>,
}

/// Gives jobs to a pool. A clone begins with another work list.
///
/// A job that comes after the beginning of a shutdown is not lost: its outcome is [`Outcome::Refused`].
pub struct Submitter<P: Primitives = Native, G: WakeOne = PerEntry> {
    shared: Arc<Shared<P, G>>,
    /// Which list is next. Threads that share a submitter may take the same one; that does no harm.
    turn: P::Atomic,
}

pub(in crate::pool) struct Shared<P: Primitives, G: WakeOne> {
    accounts: [Account<P, G>; AccountName::ALL.len()],
    chains: P::Mutex<Chains<P, G>>,
    /// 0, or [`EXIT`], or [`EXIT`]` + `[`CANCEL`].
    exit: P::Atomic,
    threads: P::Mutex<Threads<P, G>>,
    /// Whether all threads have been joined.
    down: P::Atomic,
    /// Whoever waits for the end.
    end: Arc<WaitQueue<P, G>>,
    idle_timeout: Duration,
    yields: usize,
    /// How many workers a batch wakes at first
    at_once: usize,
    nap_after: usize,
    /// Jobs that no worker concluded
    counters: Counters,
    /// Jobs that came after the lists were closed
    turned_away: Counter,
}

const EXIT: usize = 1;
const CANCEL: usize = 2;

impl<P: Primitives, G: WakeOne> Pool<P, G> {
    /// A pool without a worker; the first job starts one.
    pub fn new(config: Config) -> Self {
        let rosters = AccountName::ALL.map(|name| Roster { max: config.max(name), ..Roster::default() });
        let lists = || Arc::new(P::Mutex::new("worker lists", rosters));
        let shared_lists = lists();
        let accounts = AccountName::ALL.map(|name| {
            let lists = if config.layout == Layout::OneLock { shared_lists.clone() } else { lists() };
            Account::new(name, &config, lists)
        });
        let threads = Threads {
            running: Vec::new(),
            started: [0; AccountName::ALL.len()],
            retired: Counts::default(),
            holding: 0,
            ended: false,
        };
        let shared = Arc::new(Shared {
            accounts,
            chains: P::Mutex::new("chains", Chains::new()),
            exit: P::Atomic::new("exit", 0),
            threads: P::Mutex::new("threads", threads),
            down: P::Atomic::new("down", 0),
            end: Arc::new(WaitQueue::new()),
            idle_timeout: config.idle_timeout,
            yields: config.yields,
            at_once: config.at_once.max(1),
            nap_after: config.nap_after,
            counters: Counters::default(),
            turned_away: Counter::default(),
        });
        Self { submitter: Submitter::new(shared, 0) }
    }

    /// Something that submits to this pool and can be sent elsewhere.
    pub fn submitter(&self) -> Submitter<P, G> {
        self.submitter.clone()
    }

    /// Takes no more jobs, brings those that wait to their end, and returns when the last worker's thread has ended and every
    /// outcome has been delivered, but for one that a [`Token::cancel`] in another thread is just delivering.
    ///
    /// Any thread may call it, also several, also again; a later call may cancel what an earlier one drains.
    ///
    /// # Errors
    /// [`InsideJob`]: a job of this pool may begin a shutdown but not wait for it.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), InsideJob> {
        self.submitter.shared.shutdown(how)
    }
}

impl<P: Primitives, G: WakeOne> Drop for Pool<P, G> {
    fn drop(&mut self) {
        if !P::tearing_down() {
            // Dropped by its own last job: nobody waits, and the workers leave by themselves.
            let _ = self.shutdown(Shutdown::Drain);
        }
    }
}

impl<P: Primitives, G: WakeOne> std::ops::Deref for Pool<P, G> {
    type Target = Submitter<P, G>;

    fn deref(&self) -> &Submitter<P, G> {
        &self.submitter
    }
}

impl<P: Primitives, G: WakeOne> Clone for Submitter<P, G> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone(), self.next_turn())
    }
}

impl<P: Primitives, G: WakeOne> Submitter<P, G> {
    /// It matters to nobody which list a submitter begins with. But it is no matter of chance: a checker that runs the
    /// same schedule twice must see the same list, so no count decides it that threads share.
    fn new(shared: Arc<Shared<P, G>>, first: usize) -> Self {
        Self { shared, turn: P::Atomic::new("turn", first) }
    }

    /// Runs `run` in a worker, and gives its outcome to a handle.
    pub fn spawn<T, F>(&self, work: Work, run: F) -> Handle<T, P, G>
    where
        T: Send + 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
    {
        let mut batch = self.batch();
        batch.spawn(work, run)
    }

    /// The same, and drops `witness` when the outcome has been delivered.
    pub(crate) fn spawn_witnessed<T, F, W>(&self, work: Work, run: F, witness: W) -> Handle<T, P, G>
    where
        T: Send + 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        W: Send + 'static,
    {
        let slot = Slot::new();
        let token = self.enqueue(work, run, {
            let slot = slot.clone();
            move |outcome| {
                slot.deliver(outcome);
                drop(witness);
            }
        });
        Handle { slot, token }
    }

    /// Runs `run` in a worker, and publishes its outcome to a completion queue.
    pub fn offload<T, F, H>(
        &self,
        queue: &Arc<CompletionQueue<Completion<T>, P, H>>,
        user_data: u64,
        work: Work,
        run: F,
    ) -> Token<P, G>
    where
        T: Send + 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        H: crate::gate::Gate,
    {
        let queue = queue.clone();
        self.enqueue(work, run, move |outcome| {
            queue.publish([Completion { user_data, outcome }]);
        })
    }

    /// Runs `run` in a worker, and hands its outcome to `deliver`, once, whatever happens.
    ///
    /// `deliver` is called by the worker, or by whoever cancels or refuses the job; it must not block. A panic in it is
    /// logged, and goes no further.
    pub fn enqueue<T, F, D>(&self, work: Work, run: F, deliver: D) -> Token<P, G>
    where
        T: 'static,
        F: FnOnce(&Context<'_, P, G>) -> T + Send + 'static,
        D: FnOnce(Outcome<T>) + Send + 'static,
    {
        let mut batch = self.batch();
        batch.enqueue(work, run, deliver)
    }

    /// Jobs to be submitted together.
    pub fn batch(&self) -> Batch<'_, P, G> {
        Batch { submitter: self, jobs: Jobs::default() }
    }

    /// Submits jobs together: for each account one lock and one wake decision.
    pub(crate) fn submit(&self, jobs: &mut Jobs<P, G>) {
        self.hand_over(jobs, false);
    }

    /// The same, sparing wakes until what it returns is dropped.
    pub(crate) fn submit_sparingly(&self, jobs: &mut Jobs<P, G>) -> Spared<'_, P, G> {
        self.hand_over(jobs, true);
        Spared(self)
    }

    fn hand_over(&self, jobs: &mut Jobs<P, G>, sparingly: bool) {
        // One by one: each may have to wait in its chain.
        for job in jobs.hashed.drain(..) {
            self.shared.submit_hashed(self.next_turn(), job);
        }
        give_back(&mut jobs.hashed);
        for (account, jobs) in iter::zip(&self.shared.accounts, &mut jobs.unhashed) {
            if !jobs.is_empty() {
                account.set_spared(sparingly);
                let wakes = if sparingly || account.is_looked_after() {
                    1
                } else {
                    jobs.len().min(self.shared.at_once)
                };
                self.shared.submit(account, self.next_turn(), jobs, wakes);
                give_back(jobs);
            }
        }
    }

    /// Cancels the jobs whose [`Work`] the predicate picks among those that have a tag. It is called without any lock.
    pub fn cancel_where(&self, mut pick: impl FnMut(&Work) -> bool) -> Cancelled {
        let mut cancelled = Cancelled::default();
        for job in self.shared.tagged() {
            if !pick(job.work()) {
                continue;
            }
            match Token(job).cancel() {
                Cancel::BeforeItRan => cancelled.before_they_ran += 1,
                Cancel::WhileRunning => cancelled.while_running += 1,
                Cancel::NotFound => {}
            }
        }
        cancelled
    }

    /// Changes the most workers that an account may have; 1 at least.
    ///
    /// If it gets less, workers leave when they are between two jobs, or at once if they sleep.
    pub fn resize(&self, account: AccountName, max: usize) {
        let account = self.shared.account(account);
        account.roster(|roster| roster.max = within_reach(max));
        if account.has_surplus() {
            account.idle.broadcast();
        }
        self.shared.vacancy_opened(account);
    }

    /// The counters as they are now. While jobs are on their way the numbers are not all of one moment.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn next_turn(&self) -> usize {
        if !self.shared.account(AccountName::Bounded).has_lists() {
            return 0; // a checker need not try who looks first at what decides nothing
        }
        let turn = self.turn.load(Relaxed);
        self.turn.store(turn.wrapping_add(1), Relaxed);
        turn
    }
}

impl<P: Primitives, G: WakeOne> Shared<P, G> {
    fn account(&self, name: AccountName) -> &Account<P, G> {
        &self.accounts[name as usize]
    }

    fn is_exiting(&self) -> bool {
        // Relaxed: whoever reads it after arming has the gate's barrier before it, and the shutdown has that of `broadcast`.
        // Whoever reads it earlier and leaves looks at the lists again, after the barrier in `Account::leave`.
        self.exit.load(Relaxed) != 0
    }

    fn is_cancelling(&self) -> bool {
        self.exit.load(Relaxed) & CANCEL != 0
    }

    /// Pushes jobs, and sees to it that they are looked for, by so many workers at first.
    fn submit(
        self: &Arc<Self>,
        account: &Account<P, G>,
        turn: usize,
        jobs: &mut Vec<AnyJob<P, G>>,
        wakes: usize,
    ) {
        match account.push(turn, jobs.drain(..)) {
            Ok(()) => self.activate(account, wakes),
            Err(jobs) => jobs.into_iter().for_each(|job| self.turn_away(job)),
        }
    }

    fn turn_away(&self, job: AnyJob<P, G>) {
        self.turned_away.add(1);
        self.refuse(job, Refusal::ShuttingDown);
    }

    fn refuse(&self, job: AnyJob<P, G>, why: Refusal) {
        self.counters.count(job.conclude(Fate::Refused(why)));
    }

    /// Sees to it that the jobs which have just been pushed are looked for: if nobody searches, wakes up to `n` free workers, or starts
    /// one.
    fn activate(self: &Arc<Self>, account: &Account<P, G>, n: usize) {
        let mut account = account;
        loop {
            match self.wake_or_start(account, n) {
                Ok(()) => return,
                // Jobs of a hash may have been brought out for the other account, and need somebody there.
                Err(error) => match self.holding_jobs(|| self.refuse_all(account, error)) {
                    Some(other) => account = other,
                    None => return,
                },
            }
        }
    }

    fn wake_or_start(self: &Arc<Self>, account: &Account<P, G>, n: usize) -> io::Result<()> {
        let woken = account.wake(n);
        let told = if let Woken::Some(told) = woken { told } else { 0 };
        tracing::trace!(account = ?account.name, jobs = n, told, "wake");
        match woken {
            Woken::Some(_) | Woken::Searched => Ok(()),
            Woken::Nobody if account.has_vacancy() && !account.is_searched() => self.start(account),
            Woken::Nobody => Ok(()), // all workers are awake, and look before they sleep
        }
    }

    /// A worker that may have been relied on has found a job, and is not going to look for a while. If others wait, the next one
    /// searches, unless a submitter looks.
    fn pass_search_on(self: &Arc<Self>, account: &Account<P, G>) {
        if account.end_search() && !account.is_looked_after() {
            self.activate_unprompted(account);
        }
    }

    /// [`activate`](Shared::activate) for the jobs that wait, if any do: whoever pushed them may have relied on somebody who
    /// is not there any more.
    fn activate_unprompted(self: &Arc<Self>, account: &Account<P, G>) {
        if account.has_work() {
            account.decisions.add(1);
            self.activate(account, 1);
        }
    }

    /// There may be a vacancy that was not there when the jobs that wait were pushed.
    fn vacancy_opened(self: &Arc<Self>, account: &Account<P, G>) {
        // Full barrier between the vacancy and the look for work. Pairs with the full fence in `gate::admit`, as that in
        // `Account::leave` does.
        P::fence(SeqCst);
        self.activate_unprompted(account);
    }

    /// All jobs with a tag that have not ended. A job moves from its chain to a list and from there to a worker, each time
    /// under the lock of where it was; we look in the same order, so we do not miss it. We may meet it twice.
    fn tagged(&self) -> Vec<AnyTask<P, G>> {
        let mut found = Vec::new();
        self.chains.with(|chains| found.extend(chains.waiting().filter_map(|job| job.tagged())));
        for account in &self.accounts {
            account.find_tagged(&mut found);
        }
        self.threads.with(|threads| {
            found.extend(threads.running.iter().filter_map(|thread| thread.station.current()));
        });
        let mut seen = HashSet::new();
        found.retain(|job| seen.insert(Arc::as_ptr(job).cast::<()>()));
        found
    }
}

impl<P: Primitives, G: WakeOne> fmt::Debug for Pool<P, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}
