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
mod hash;
mod job;
mod shell;
mod stats;
mod worker;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::Duration;
use std::{fmt, io, iter, panic, thread};

use self::account::{Account, Roster, Woken};
use self::hash::{Admission, Chains};
use self::job::{AnyJob, AnyTask, Fate};
use self::worker::{Station, Worker};
use crate::burst::give_back;
use crate::completion::CompletionQueue;
use crate::gate::{PerEntry, WakeOne};
use crate::slot::Slot;
use crate::sync::{Atomic, JoinHandle, Mutex, Native, Primitives};
use crate::unwind::discard_payload;
use crate::wait_queue::{Kind, WaitQueue};
use crate::yielding::YIELDS;

pub use self::job::{AccountName, Cancel, Completion, Handle, Outcome, Refusal, Token, Work};
pub(crate) use self::shell::Shell;
use self::shell::Shells;
pub use self::stats::{AccountStats, Stats};
use self::stats::{Counter, Counters, Counts};
pub use self::worker::Context;

/// How often the system is asked for a thread before it is believed that there is none.
const ATTEMPTS: usize = 3;

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
    /// [sparingly](Batch::submit_sparingly). One worker of an account at a time does that; the others sleep at once. It notices where
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
    fn max(&self, account: AccountName) -> usize {
        let max = match account {
            AccountName::Bounded => self.bounded,
            AccountName::Unbounded => self.unbounded,
        };
        within_reach(max)
    }
}

/// So many workers as may be said: 1 at least, and so few that they can be counted with those in blocked regions. The system has
/// fewer in any case.
fn within_reach(max: usize) -> usize {
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
    fn shards(self) -> usize {
        match self {
            Layout::OneLock | Layout::LockPerAccount => 1,
            Layout::Sharded(shards) => shards.clamp(1, MOST_LISTS),
        }
    }

    fn keeps_free_list(self) -> bool {
        !matches!(self, Layout::Sharded(_))
    }
}

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

/// The workers' threads.
struct Threads<P: Primitives, G: WakeOne> {
    /// Those that were started and not joined
    running: Vec<Thread<P, G>>,
    started: [usize; AccountName::ALL.len()],
    /// What those that have been joined had counted
    retired: Counts,
    /// Those who have taken jobs out of the lists to cancel or refuse them, and are not done with that
    holding: usize,
    /// None is started any more
    ended: bool,
}

struct Thread<P: Primitives, G: WakeOne> {
    station: Arc<Station<P, G>>,
    handle: P::JoinHandle,
    /// It has ended, or is about to and takes no lock of ours any more
    gone: bool,
}

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

/// Jobs that are submitted together, when the batch is [submitted](Batch::submit) or dropped: for each account one lock and one wake
/// decision. Hashed jobs go one by one, before the others.
#[must_use = "dropping a batch submits it"]
pub struct Batch<'a, P: Primitives = Native, G: WakeOne = PerEntry> {
    submitter: &'a Submitter<P, G>,
    jobs: Jobs<P, G>,
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
pub struct Spared<'a, P: Primitives = Native, G: WakeOne = PerEntry>(&'a Submitter<P, G>);

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
    unhashed: [Vec<AnyJob<P, G>>; AccountName::ALL.len()],
    /// Those with a hash, of both accounts: their order is kept.
    hashed: Vec<AnyJob<P, G>>,
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

    fn submit_hashed(self: &Arc<Self>, turn: usize, job: AnyJob<P, G>) {
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

    /// Starts a worker if there is a vacancy. An error if the system refuses and the account has no worker that could run
    /// its jobs.
    fn start(self: &Arc<Self>, account: &Account<P, G>) -> io::Result<()> {
        if !account.reserve() {
            return Ok(());
        }
        let mut attempts = 0;
        let error = loop {
            match self.threads.with(|threads| self.start_thread(account.name, threads)) {
                Ok(worker) => {
                    // Without the lock: who listens may ask the pool for its counters.
                    tracing::debug!(account = ?account.name, worker, "worker started");
                    return Ok(());
                }
                Err(error) if attempts + 1 == ATTEMPTS => break error,
                Err(_) => attempts += 1,
            }
        };
        let deserted = account.roster(|roster| {
            roster.workers -= 1;
            roster.workers == roster.lent
        });
        tracing::warn!(account = ?account.name, %error, deserted, "no worker could be started");
        // Somebody may have relied on the search of the worker that does not come.
        let relied_on = account.end_search();
        if !deserted {
            if relied_on && account.has_work() {
                account.wake(1);
            }
            return Ok(()); // those that run look for work before they sleep
        }
        // A submitter may have relied on the worker that does not come. No barrier between the vacancy and the look for work:
        // that look, in `refuse_all`, takes the lists' locks. A job that is pushed before it has the lock, it finds; whoever
        // pushes after it sees the vacancy.
        Err(error)
    }

    /// Under the lock. The number of the worker.
    fn start_thread(
        self: &Arc<Self>,
        account: AccountName,
        threads: &mut Threads<P, G>,
    ) -> io::Result<usize> {
        threads.reap();
        if threads.ended {
            // For somebody who refuses the jobs of an account, and in whose hands they were when the end came: those that
            // follow them out of their chains are refused too.
            return Err(io::Error::other("the pool has ended"));
        }
        let number = threads.started[account as usize];
        let station = Arc::new(Station::new(number, account));
        let worker = Worker { shared: self.clone(), station: station.clone() };
        // Under the lock, which a worker that leaves takes: so its handle is there before it is gone.
        let handle = P::try_spawn(worker::name(account, number), move || worker.run())?;
        threads.started[account as usize] += 1;
        threads.running.push(Thread { station, handle, gone: false });
        Ok(number)
    }

    /// Runs `body`, which takes jobs out of the lists and brings them to their end. The pool does not end before: another
    /// shutdown would find the lists empty, and return while the outcomes are still on their way.
    fn holding_jobs<R>(&self, body: impl FnOnce() -> R) -> R {
        self.threads.with(|threads| threads.holding += 1);
        // Unreached: what is foreign in there has guards of its own.
        let result = P::catch(body);
        self.threads.with(|threads| threads.holding -= 1);
        self.end.notify_all();
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// A worker that has left its account has nothing more to do.
    fn gone(&self, station: &Station<P, G>) {
        let alive = self.threads.with(|threads| {
            threads.gone(station);
            threads.alive()
        });
        if alive == 0 {
            self.end.notify_all();
        }
    }

    /// Brings all jobs in an account's lists to their end without running them. If jobs of the other account came out
    /// of their chains meanwhile, that account.
    fn refuse_all(&self, account: &Account<P, G>, error: io::Error) -> Option<&Account<P, G>> {
        let why = Refusal::NoWorker(Arc::new(error));
        let mut other = None;
        loop {
            let jobs = account.drain();
            if jobs.is_empty() {
                return other;
            }
            for job in jobs {
                let hash = job.work().hash;
                self.refuse(job, why.clone());
                let next = hash.map(|hash| self.bring_out(hash, None));
                if let Some(Next::Pushed(next)) = next
                    && next.name != account.name
                {
                    other = Some(next);
                }
            }
        }
    }

    /// A job of this hash is over, and this worker asks what is next: the next of the hash, if nothing else waits.
    fn next_of_hash(self: &Arc<Self>, hash: u64, station: &Station<P, G>) -> Option<AnyJob<P, G>> {
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
    fn bring_out(&self, hash: u64, station: Option<&Station<P, G>>) -> Next<'_, P, G> {
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

    fn shutdown(&self, how: Shutdown) -> Result<(), InsideJob> {
        tracing::debug!(?how, "shutdown");
        self.chains.with(Chains::close);
        self.accounts.iter().for_each(Account::close);
        if how == Shutdown::Cancel {
            // Before the jobs that run are told: a worker whose job ends for that must not find one that waits.
            self.holding_jobs(|| {
                // The chains first: then nothing comes out of them for a job that is cancelled in its list.
                for job in self.chains.with(Chains::drain) {
                    self.counters.count(job.conclude(Fate::Cancelled));
                }
                for job in self.accounts.iter().flat_map(Account::drain) {
                    let hash = job.work().hash;
                    self.counters.count(job.conclude(Fate::Cancelled));
                    if let Some(hash) = hash {
                        self.bring_out(hash, None);
                    }
                }
            });
        }
        let exit = match how {
            Shutdown::Drain => EXIT,
            Shutdown::Cancel => EXIT | CANCEL,
        };
        if how == Shutdown::Cancel || !self.is_exiting() {
            self.exit.store(exit, Relaxed);
        }
        // Everyone, in every account.
        for account in &self.accounts {
            account.idle.broadcast();
        }
        self.wait_for_the_end()
    }

    fn wait_for_the_end(&self) -> Result<(), InsideJob> {
        let me = P::thread();
        let inside = self
            .threads
            .with(|threads| threads.running.iter().any(|thread| thread.station.thread.get() == Some(&me)));
        if inside {
            return Err(InsideJob);
        }
        // A job that was pushed before the lists were closed may have nobody yet: its submitter is about to start somebody.
        // All questions and the end are one step under the lock under which workers start and go. Asked one after the
        // other without it, "nobody is alive" may be from before a worker was started and "no work" from after it took
        // the job; and for what it then brings out of a chain nobody could be started any more.
        let last = self.end.wait_until(Kind::Shared, || {
            self.threads.with(|threads| {
                let over = threads.alive() == 0
                    && threads.holding == 0
                    && !self.accounts.iter().any(Account::has_work);
                over.then(|| {
                    let first = !std::mem::replace(&mut threads.ended, true);
                    first.then(|| std::mem::take(&mut threads.running))
                })
            })
        });
        match last {
            Some(running) => {
                let retired = running.into_iter().map(Thread::join).sum::<Counts>();
                self.threads.with(|threads| threads.retired += retired);
                // Release: pairs with the acquire load of `down` in `wait_for_the_end`; what the workers did is before our
                // callers' return. Kept: what their jobs did is that by the lock of `threads` too. Only the ends of the
                // threads themselves, with the destructors of what is local to them, come by this; no scenario has any.
                self.down.store(1, Release);
                self.end.notify_all();
            }
            None => self.end.wait_until(Kind::Shared, || {
                // Acquire: pairs with the release store of `down` in `wait_for_the_end`. Kept: as there.
                (self.down.load(Acquire) == 1).then_some(())
            }),
        }
        Ok(())
    }
}

/// What became of the next job of a hash.
enum Next<'a, P: Primitives, G: WakeOne> {
    /// There was none; the hash is free.
    None,
    /// Whoever asked runs it at once.
    Runs(AnyJob<P, G>),
    /// It is in a list of this account.
    Pushed(&'a Account<P, G>),
}

impl<P: Primitives, G: WakeOne> Threads<P, G> {
    fn alive(&self) -> usize {
        self.running.iter().filter(|thread| !thread.gone).count()
    }

    fn gone(&mut self, station: &Station<P, G>) {
        let thread = self.running.iter_mut().find(|thread| std::ptr::eq(&*thread.station, station));
        if let Some(thread) = thread {
            thread.gone = true;
        }
    }

    /// Joins those that are gone.
    fn reap(&mut self) {
        let gone = self.running.extract_if(.., |thread| thread.gone);
        self.retired += gone.map(Thread::join).sum();
    }
}

impl<P: Primitives, G: WakeOne> Thread<P, G> {
    /// Waits for the thread's end, and takes over what it has counted.
    fn join(self) -> Counts {
        // A worker does not panic, but what is local to its thread may when it ends.
        if let Err(panic) = self.handle.join() {
            discard_payload::<P>(panic);
        }
        self.station.counters.get()
    }
}

impl<P: Primitives, G: WakeOne> fmt::Debug for Pool<P, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}
