//! A worker: it takes jobs until there are none, sleeps, and after a while leaves.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::account::{Account, Leave};
use super::job::{AccountName, AnyJob, AnyTask, Cancellable, Fate, Work};
use super::stats::Counters;
use super::{Shared, Submitter};
use crate::gate::{PerEntry, WakeOne};
use crate::sync::{Mutex, Native, Parker, Primitives, Unparked};
use crate::unwind::contain;
use crate::wait_queue::{Kind, Waiter};
use crate::yielding::Yielder;

/// How long a worker naps: for so long may a job wait while others are at work on longer ones than those before.
const NAP: Duration = Duration::from_micros(500);

/// Whoever has nothing to do after this time had little to do. A wake and a sleep take about as long.
const SHORT: Duration = Duration::from_micros(25);

/// What others may know of a worker.
pub(super) struct Station<P: Primitives, G: WakeOne> {
    pub number: usize,
    pub account: AccountName,
    /// The job that it runs, if that has a tag.
    current: P::Mutex<Option<AnyTask<P, G>>>,
    /// [`Primitives::thread`] of its thread, once that runs.
    pub thread: OnceLock<u64>,
    /// How many blocked regions its job is in: the slot is lent while it is in any. An ordinary atomic: it is changed under
    /// the roster's lock.
    blocked: AtomicUsize,
    /// Written by this worker only.
    pub counters: Counters,
}

impl<P: Primitives, G: WakeOne> Station<P, G> {
    pub fn new(number: usize, account: AccountName) -> Self {
        Self {
            number,
            account,
            current: P::Mutex::new("current job", None),
            thread: OnceLock::new(),
            blocked: AtomicUsize::new(0),
            counters: Counters::default(),
        }
    }

    /// This job is about to run. To be called with the lock of the list or chain that it was taken from.
    pub fn begin(&self, job: &AnyJob<P, G>) {
        if let Some(task) = job.tagged() {
            self.current.with(|current| *current = Some(task));
        }
    }

    fn end(&self, work: &Work) {
        if work.tag.is_some() {
            let over = self.current.with(Option::take);
            drop(over); // outside of the lock: it may be the last reference
        }
    }

    pub fn current(&self) -> Option<AnyTask<P, G>> {
        self.current.with(|current| current.clone())
    }
}

/// What a job may ask of the worker that runs it.
pub struct Context<'a, P: Primitives = Native, G: WakeOne = PerEntry> {
    pub(super) worker: &'a Worker<P, G>,
    /// Itself, if it can be cancelled.
    pub(super) task: Option<&'a dyn Cancellable<P, G>>,
}

impl<P: Primitives, G: WakeOne> Context<'_, P, G> {
    /// Whether this job has been asked to end: by a cancellation, or by a shutdown that cancels.
    pub fn cancelled(&self) -> bool {
        self.task.is_some_and(Cancellable::told) || self.worker.shared.is_cancelling()
    }

    /// Runs `body`, which may block, and lends the worker's slot meanwhile: another worker is woken or started if there
    /// is work, as io-wq does when one of its workers sleeps.
    ///
    /// The slot is lent once, also where `body` calls this again, or threads that share this context do at the same time.
    ///
    /// When it comes back there may be one worker too many for a moment. That one leaves as soon as it is between two jobs.
    pub fn blocking<R>(&self, body: impl FnOnce() -> R) -> R {
        let (account, blocked) = (self.worker.account(), &self.worker.station.blocked);
        let lends = account.roster(|roster| {
            // Unreached: an ordinary atomic. Relaxed: the roster's lock orders everything.
            let lends = blocked.fetch_add(1, Relaxed) == 0;
            roster.lent += usize::from(lends);
            lends
        });
        let result = P::catch(|| {
            if lends {
                self.worker.shared.vacancy_opened(account);
            }
            body()
        });
        account.roster(|roster| {
            // Unreached: as above. Relaxed, as above.
            roster.lent -= usize::from(blocked.fetch_sub(1, Relaxed) == 1);
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Submits to the same pool. It begins with the list that this worker looks at first.
    pub fn submitter(&self) -> Submitter<P, G> {
        Submitter::new(self.worker.shared.clone(), self.worker.station.number)
    }
}

pub(super) struct Worker<P: Primitives, G: WakeOne> {
    pub shared: Arc<Shared<P, G>>,
    pub station: Arc<Station<P, G>>,
}

impl<P: Primitives, G: WakeOne> Worker<P, G> {
    fn account(&self) -> &Account<P, G> {
        self.shared.account(self.station.account)
    }

    /// The life of a worker. The vacancy that it fills has been taken for it.
    pub fn run(self) {
        let _ = self.station.thread.set(P::thread());
        let account = self.account();
        // Unreached: nothing of a job unwinds to here. But a subscriber of the traces may, and the pool would wait for us for ever.
        if contain::<P, _>("a worker", || self.live(account)).is_none() {
            account.leave(Leave::Exiting);
        }
        // Somebody may have relied on its search, or on its place.
        account.end_search();
        self.shared.activate_unprompted(account);
        self.shared.gone(&self.station);
    }

    /// Runs jobs and sleeps, until it has left its account.
    fn live(&self, account: &Account<P, G>) {
        let _life =
            tracing::debug_span!("worker", account = ?account.name, number = self.station.number).entered();
        let parker = Arc::new(P::Parker::new(name(self.station.account, self.station.number)));
        let mut waiter = account.idle.register(Kind::Exclusive, Waker::from(parker.clone()));
        // How long it sleeps before it leaves. For ever, when it has found that it is the last and stays: else it would do nothing
        // but look at the clock where the time is shorter than a sleep takes.
        let mut patience = self.shared.idle_timeout;
        let mut yielder = Yielder::new(self.shared.yields);
        // Whether somebody may rely on its search: it has been started, or it comes from the free list.
        let mut searches = true;
        // Since when it is awake, and whether it has only napped before.
        let (mut awake, mut napped) = (Instant::now(), false);
        let why = loop {
            let leave = match self.next(account) {
                Next::Job(job) => {
                    if std::mem::take(&mut searches) {
                        self.shared.pass_search_on(account);
                    }
                    self.perform(job);
                    continue;
                }
                Next::Leave(why) => why,
                Next::Sleep => {
                    if self.search(account, &mut yielder, &mut searches) {
                        continue;
                    }
                    let naps = !napped && self.naps(account, awake);
                    if searches {
                        account.end_search_before_arming();
                    }
                    searches = true;
                    napped = naps;
                    let unparked = match naps {
                        true => self.nap(account, &parker, &mut waiter),
                        false => self.sleep(account, &parker, &mut waiter, patience),
                    };
                    match unparked {
                        Unparked::Token => {
                            patience = self.shared.idle_timeout;
                            awake = Instant::now();
                            continue;
                        }
                        Unparked::Early => Leave::TimedOut,
                    }
                }
            };
            // It is not on the free list any more when it leaves the roster, and a wake that it was told is passed on.
            waiter.disarm();
            if account.leave(leave) {
                break leave;
            }
            if leave == Leave::TimedOut {
                patience = Duration::MAX;
            }
        };
        drop(waiter);
        // Unreached: a subscriber of the traces is no part of a scenario. After it has left, a panic would have it leave twice.
        contain::<P, _>("a subscriber", || tracing::debug!(?why, "leaves"));
    }

    /// What to do next.
    fn next(&self, account: &Account<P, G>) -> Next<P, G> {
        if account.has_surplus() {
            return Next::Leave(Leave::Surplus);
        }
        match account.take(self.station.number, &self.station) {
            Some(job) => Next::Job(job),
            None if self.shared.is_exiting() => Next::Leave(Leave::Exiting),
            None => Next::Sleep,
        }
    }

    /// Looks for work for a moment longer, so that it need not be woken for it. True if there is something to do.
    fn search(&self, account: &Account<P, G>, yielder: &mut Yielder, searches: &mut bool) -> bool {
        if !account.is_spared() || !yielder.is_ready() {
            return false;
        }
        if !*searches {
            if account.is_searched() {
                return false;
            }
            account.begin_search();
            *searches = true;
        }
        yielder.yield_until::<P>(|| self.is_wanted(account))
    }

    /// Whether it naps instead of sleeping: it has been awake for a short time, as so many before it.
    fn naps(&self, account: &Account<P, G>, awake: Instant) -> bool {
        let after = self.shared.nap_after;
        after > 0 && account.was_short(P::is_within(awake, SHORT)) >= after && account.begin_nap()
    }

    /// Sleeps for a moment, and is going to look then: meanwhile a worker that has found a job need wake nobody for the others.
    fn nap(&self, account: &Account<P, G>, parker: &P::Parker, waiter: &mut Waiter<P, G>) -> Unparked {
        waiter.arm();
        if !self.is_wanted(account) {
            account.set_free(true);
            P::nap(parker, NAP);
            account.set_free(false);
        }
        waiter.woken();
        // On behalf of those who have relied on it: it finds one job, and there may be more.
        account.begin_search();
        account.end_sparing();
        Unparked::Token
    }

    /// Is there a reason not to sleep?
    fn is_wanted(&self, account: &Account<P, G>) -> bool {
        account.has_work() || self.shared.is_exiting() || account.has_surplus()
    }

    /// Sleeps, unless there is something to do. `Early` if the time was over.
    fn sleep(
        &self,
        account: &Account<P, G>,
        parker: &P::Parker,
        waiter: &mut Waiter<P, G>,
        patience: Duration,
    ) -> Unparked {
        waiter.arm();
        // The look after the arm.
        if self.is_wanted(account) {
            // It searches on: what it sees may be more than one job, pushed by those who relied on the search that it has ended.
            account.begin_search();
            waiter.disarm();
            return Unparked::Token;
        }
        account.set_free(true);
        let unparked = parker.park_timeout(patience);
        account.set_free(false);
        // The token may be an old one, of a wake that came while we were leaving the free list. We are on that list still then, and
        // must not be while we run a job: the wake for another one would be spent on us, and somebody else would sleep on.
        if unparked == Unparked::Token {
            waiter.woken();
        }
        unparked
    }

    /// Runs a job, and those of its hash that come next as long as nothing else waits.
    fn perform(&self, job: AnyJob<P, G>) {
        let mut next = Some(job);
        while let Some(job) = next {
            let work = *job.work();
            self.station.counters.count_alone(job.conclude(Fate::Run(self)));
            self.station.end(&work);
            // Unhashed work has nothing to do with the chains.
            next = work.hash.and_then(|hash| self.shared.next_of_hash(hash, &self.station));
        }
    }
}

/// What a worker does next.
enum Next<P: Primitives, G: WakeOne> {
    Job(AnyJob<P, G>),
    Leave(Leave),
    Sleep,
}

/// The name of a worker, for its thread, its parker and counterexamples.
pub(super) fn name(account: AccountName, number: usize) -> &'static str {
    const BOUNDED: [&str; 8] = [
        "bounded 0",
        "bounded 1",
        "bounded 2",
        "bounded 3",
        "bounded 4",
        "bounded 5",
        "bounded 6",
        "bounded 7",
    ];
    const UNBOUNDED: [&str; 8] = [
        "unbounded 0",
        "unbounded 1",
        "unbounded 2",
        "unbounded 3",
        "unbounded 4",
        "unbounded 5",
        "unbounded 6",
        "unbounded 7",
    ];
    let (names, more) = match account {
        AccountName::Bounded => (&BOUNDED, "bounded"),
        AccountName::Unbounded => (&UNBOUNDED, "unbounded"),
    };
    names.get(number).copied().unwrap_or(more)
}
