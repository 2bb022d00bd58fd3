//! An account: its work lists, the workers that sleep for it, and how many it may have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crossbeam_utils::CachePadded;

use super::Config;
use super::job::{AccountName, AnyJob, AnyTask};
use super::stats::{AccountStats, Counter};
use super::worker::Station;
use crate::burst::give_back;
use crate::gate::WakeOne;
use crate::sync::{Atomic, Mutex, Primitives};
use crate::wait_queue::{WaitQueue, Wakeup};

pub(super) struct Account<P: Primitives, G: WakeOne> {
    pub name: AccountName,
    shards: Box<[CachePadded<Shard<P, G>>]>,
    /// The free list: workers that sleep, or are about to. Who came last is woken first.
    pub idle: Arc<WaitQueue<P, G>>,
    /// How many more workers may be started: the maximum, and one for each that is in a blocked region, less those there
    /// are. Negative if there are too many. Written under the lock of the roster, read without it.
    vacant: CachePadded<P::Atomic>,
    rosters: Arc<Rosters<P>>,
    /// Whether workers enter themselves into the roster as free when they go to sleep, as io-wq's do.
    keeps_free_list: bool,
    /// 1 while a worker that was woken or started is on its way to look for work, or looks: whoever pushes meanwhile need wake nobody.
    searching: CachePadded<P::Atomic>,
    /// 1 while a submitter that spares wakes is awake, or a worker naps, and is going to look: a worker that has found a job need wake
    /// nobody.
    sparing: CachePadded<P::Atomic>,
    /// 1 if the last jobs came from somebody who spares wakes. Nothing that has to be right hangs on it.
    spared: CachePadded<P::Atomic>,
    /// How many workers in a row had little to do when they were woken. Nothing that has to be right hangs on it.
    short: CachePadded<P::Atomic>,
    /// Wake decisions that told somebody; the workers told; decisions that followed no push.
    delivered: Counter,
    told: Counter,
    pub decisions: Counter,
}

/// The bookkeeping of all accounts; one lock for both, or one each.
pub(super) type Rosters<P> = <P as Primitives>::Mutex<[Roster; AccountName::ALL.len()]>;

/// How many workers an account has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Roster {
    pub workers: usize,
    pub max: usize,
    /// Workers in a blocked region: their slots are lent to others.
    pub lent: usize,
    /// Workers that sleep, if that is kept.
    pub free: usize,
}

impl Roster {
    fn vacant(&self) -> isize {
        (self.max + self.lent) as isize - self.workers as isize
    }
}

/// A list of work with its own lock, on its own cache line.
struct Shard<P: Primitives, G: WakeOne> {
    /// The length of the list. Written under its lock, read without it.
    len: P::Atomic,
    list: P::Mutex<List<P, G>>,
}

struct List<P: Primitives, G: WakeOne> {
    jobs: VecDeque<AnyJob<P, G>>,
    closed: bool,
    accepted: u64,
    pushes: u64,
}

/// What came of a [wake](Account::wake).
pub(super) enum Woken {
    /// So many workers were told. They search.
    Some(usize),
    /// Nobody was, since somebody searches.
    Searched,
    /// Nobody sleeps, or who is just about to looks once more.
    Nobody,
}

/// Why a worker leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It slept for the whole idle timeout. The last one stays.
    TimedOut,
    /// There are more than the account may have, if there still are.
    Surplus,
    /// The pool shuts down.
    Exiting,
}

impl<P: Primitives, G: WakeOne> Account<P, G> {
    pub fn new(name: AccountName, config: &Config, rosters: Arc<Rosters<P>>) -> Self {
        let shards = (0..config.layout.shards()).map(|_| {
            CachePadded::new(Shard {
                len: P::Atomic::new("work", 0),
                list: P::Mutex::new(
                    "work list",
                    List { jobs: VecDeque::new(), closed: false, accepted: 0, pushes: 0 },
                ),
            })
        });
        Self {
            name,
            shards: shards.collect(),
            idle: Arc::new(WaitQueue::last_first()),
            vacant: CachePadded::new(P::Atomic::new("vacant", config.max(name))),
            rosters,
            keeps_free_list: config.layout.keeps_free_list(),
            searching: CachePadded::new(P::Atomic::new("searching", 0)),
            sparing: CachePadded::new(P::Atomic::new("sparing", 0)),
            spared: CachePadded::new(P::Atomic::new("spared", 0)),
            short: CachePadded::new(P::Atomic::new("short", 0)),
            delivered: Counter::default(),
            told: Counter::default(),
            decisions: Counter::default(),
        }
    }

    fn shard(&self, turn: usize) -> &Shard<P, G> {
        &self.shards[turn % self.shards.len()]
    }

    /// Whether there is more than one list. The other account has as many.
    pub fn has_lists(&self) -> bool {
        self.shards.len() > 1
    }

    /// Appends jobs to a list, unless it is closed: then they come back. [`activate`](super::Shared::activate) for them after this.
    pub fn push(
        &self,
        turn: usize,
        jobs: impl ExactSizeIterator<Item = AnyJob<P, G>>,
    ) -> Result<(), Vec<AnyJob<P, G>>> {
        let shard = self.shard(turn);
        shard.list.with(|list| {
            if list.closed {
                return Err(jobs.collect());
            }
            list.accepted += jobs.len() as u64;
            shard.append(list, jobs);
            Ok(())
        })
    }

    /// Appends a job that was accepted before, even if the list is closed. Activate for it after this.
    pub fn push_accepted(&self, turn: usize, job: AnyJob<P, G>) {
        let shard = self.shard(turn);
        shard.list.with(|list| shard.append(list, std::iter::once(job)));
    }

    /// Takes the oldest job of the list `home`, or else of the next that has one. If it has a tag it is the station's
    /// current job before the list's lock is free, so that a cancellation finds it in one place or the other.
    pub fn take(&self, home: usize, station: &Station<P, G>) -> Option<AnyJob<P, G>> {
        (0..self.shards.len()).find_map(|i| {
            let shard = self.shard(home.wrapping_add(i));
            // Without the lock, and perhaps out of date: whoever is going to sleep on it looks again after it has armed.
            if shard.len.load(Relaxed) == 0 {
                return None;
            }
            shard.list.with(|list| {
                let job = list.jobs.pop_front()?;
                shard.len.store(list.jobs.len(), Relaxed);
                give_back(&mut list.jobs);
                station.begin(&job);
                Some(job)
            })
        })
    }

    /// Is there work in any list? Asked by whoever has armed or opened a vacancy, and has a full barrier between that and
    /// this.
    pub fn has_work(&self) -> bool {
        self.shards.iter().any(|shard| shard.len.load(Relaxed) > 0)
    }

    /// How many jobs are in the lists. Asked as [`has_work`](Account::has_work).
    pub fn waiting(&self) -> usize {
        self.shards.iter().map(|shard| shard.len.load(Relaxed)).sum()
    }

    /// Takes no more jobs from now on.
    pub fn close(&self) {
        for shard in &self.shards {
            shard.list.with(|list| list.closed = true);
        }
    }

    /// Takes all jobs from the lists.
    pub fn drain(&self) -> Vec<AnyJob<P, G>> {
        let mut drained = Vec::new();
        for shard in &self.shards {
            shard.list.with(|list| {
                drained.extend(list.jobs.drain(..));
                shard.len.store(0, Relaxed);
                give_back(&mut list.jobs);
            });
        }
        drained
    }

    /// The jobs in the lists that have a tag.
    pub fn find_tagged(&self, found: &mut Vec<AnyTask<P, G>>) {
        for shard in &self.shards {
            shard.list.with(|list| found.extend(list.jobs.iter().filter_map(|job| job.tagged())));
        }
    }

    /// The account's part of the pool's counters, and how many jobs it accepted.
    pub fn stats(&self) -> (AccountStats, u64) {
        let (mut accepted, mut decisions) = (0, self.decisions.get());
        for shard in &self.shards {
            shard.list.with(|list| {
                accepted += list.accepted;
                decisions += list.pushes;
            });
        }
        let (workers, blocked) = self.roster(|roster| (roster.workers, roster.lent));
        let stats = AccountStats {
            waiting: self.waiting(),
            workers,
            blocked,
            workers_woken: self.told.get(),
            wakes_skipped: decisions - self.delivered.get().min(decisions),
        };
        (stats, accepted)
    }

    /// Wakes up to `n` workers that sleep, unless somebody searches already.
    ///
    /// The wait queue's gate has a full barrier before it asks who sleeps. It stands after the push, before the question
    /// whether somebody searches, and before the caller's look for a [vacancy](Account::has_vacancy) too.
    pub fn wake(&self, n: usize) -> Woken {
        let wake = || self.idle.notify_many_if(n, || !self.is_searched(), || self.begin_search());
        let wakeup = match self.keeps_free_list {
            false => wake(),
            true => self.rosters.with(|_| wake()),
        };
        match wakeup {
            None => Woken::Searched,
            Some(Wakeup::Skipped | Wakeup::Sent(0)) => Woken::Nobody,
            Some(Wakeup::Sent(told)) => {
                self.delivered.add(1);
                self.told.add(told as u64);
                Woken::Some(told)
            }
        }
    }

    /// Does somebody search? Asked after a full barrier after the push, which pairs with that in
    /// [`end_search`](Account::end_search): either this sees that the search is over, or whoever has ended it sees the work.
    pub fn is_searched(&self) -> bool {
        self.searching.load(Relaxed) != 0
    }

    /// Wakes up to `n` workers that sleep, whoever searches.
    pub fn wake_more(&self, n: usize) {
        if let Wakeup::Sent(told) = self.idle.notify_many(n) {
            self.delivered.add(1);
            self.told.add(told as u64);
        }
    }

    /// Somebody searches from now on: a worker that is being told or started, or the caller.
    pub fn begin_search(&self) {
        self.searching.store(1, Relaxed);
    }

    /// Nobody searches any more, as far as the caller knows: he has found a job, or leaves. If it returns true he looks for work after
    /// this, for those who have relied on him. If another one searches all the same, one too many may be woken.
    pub fn end_search(&self) -> bool {
        // Whoever was woken or started sees 1 here, by the lock of the free list or by its start; or that somebody else has ended the
        // search since, who looks then.
        let ends = self.searching.load(Relaxed) != 0;
        if ends {
            self.searching.store(0, Relaxed);
            // Full barrier between the end of the search and the look for work that follows. Pairs with the full fence in
            // `gate::admit`, which is behind `wake`, and with that in `end_sparing`.
            P::fence(SeqCst);
        }
        ends
    }

    /// The same for a worker that arms next, and looks after that: arming has the barrier.
    pub fn end_search_before_arming(&self) {
        if self.searching.load(Relaxed) != 0 {
            self.searching.store(0, Relaxed);
        }
    }

    /// May a worker be started? Asked after a full barrier after the push, which pairs with that in
    /// [`leave`](Account::leave): either this sees the vacancy or whoever leaves sees the work.
    pub fn has_vacancy(&self) -> bool {
        self.vacant.load(Relaxed) as isize > 0
    }

    /// Are there more workers than there may be? To be settled by [`leave`](Account::leave).
    pub fn has_surplus(&self) -> bool {
        (self.vacant.load(Relaxed) as isize) < 0
    }

    /// Changes the roster, and the vacancies with it.
    pub fn roster<R>(&self, change: impl FnOnce(&mut Roster) -> R) -> R {
        self.rosters.with(|rosters| {
            let roster = &mut rosters[self.name as usize];
            let before = roster.vacant();
            let result = change(roster);
            if roster.vacant() != before {
                self.vacant.store(roster.vacant() as usize, Relaxed);
            }
            result
        })
    }

    /// Takes a vacancy, for a worker that is about to be started, and searches from now on.
    pub fn reserve(&self) -> bool {
        self.roster(|roster| {
            let vacant = roster.vacant() > 0;
            if vacant {
                roster.workers += 1;
                self.begin_search();
            }
            vacant
        })
    }

    /// A worker leaves, if it may. It has left the free list before, and looks for work after.
    pub fn leave(&self, why: Leave) -> bool {
        let left = self.roster(|roster| {
            let leaves = match why {
                Leave::TimedOut => roster.workers > 1,
                Leave::Surplus => roster.vacant() < 0,
                Leave::Exiting => true,
            };
            roster.workers -= usize::from(leaves);
            leaves
        });
        if left {
            // Full barrier between the vacancy and the look for work that follows. Pairs with the full fence in
            // `gate::admit`, which is behind `wake`. A submitter that came too early to see the vacancy has pushed its job
            // before that barrier, and we see it.
            P::fence(SeqCst);
        }
        left
    }

    /// The jobs that come now are from somebody who spares wakes, and looks himself until he [has ended that](Account::end_sparing); or are
    /// not.
    pub fn set_spared(&self, spared: bool) {
        if (self.spared.load(Relaxed) != 0) != spared {
            self.spared.store(spared.into(), Relaxed);
        }
        if spared {
            self.sparing.store(1, Relaxed);
        }
    }

    /// A worker that was woken sleeps again. It had little to do, or not; how many in a row had, with this one.
    pub fn was_short(&self, short: bool) -> usize {
        let before = self.short.load(Relaxed);
        let now = if short { before.saturating_add(1) } else { 0 };
        if now != before {
            self.short.store(now, Relaxed);
        }
        now
    }

    /// A worker naps, and looks when it has [ended that](Account::end_sparing). False if somebody is going to look anyway.
    pub fn begin_nap(&self) -> bool {
        let naps = !self.is_looked_after();
        if naps {
            self.sparing.store(1, Relaxed);
        }
        naps
    }

    /// Whether the last ones were.
    pub fn is_spared(&self) -> bool {
        self.spared.load(Relaxed) != 0
    }

    /// Nobody spares wakes or naps any more, as far as the caller knows: he looks for work after this.
    pub fn end_sparing(&self) {
        self.sparing.store(0, Relaxed);
        // Full barrier between the end and the look for work that follows. Pairs with the full fence in `end_search`: a worker that has
        // passed its search on to nobody since somebody spares has asked that after it.
        P::fence(SeqCst);
    }

    /// Is somebody going to look for work? Asked after [`end_search`](Account::end_search).
    pub fn is_looked_after(&self) -> bool {
        self.sparing.load(Relaxed) != 0
    }

    /// Enters or leaves the roster's count of free workers, where it is kept: io-wq takes the lock of its worker lists
    /// each time a worker goes idle or gets busy.
    pub fn set_free(&self, free: bool) {
        if self.keeps_free_list {
            self.rosters.with(|rosters| {
                let count = &mut rosters[self.name as usize].free;
                *count = if free { *count + 1 } else { *count - 1 };
            });
        }
    }
}

impl<P: Primitives, G: WakeOne> Shard<P, G> {
    fn append(&self, list: &mut List<P, G>, jobs: impl Iterator<Item = AnyJob<P, G>>) {
        list.jobs.extend(jobs);
        list.pushes += 1;
        // Relaxed: it only says "lock and look"; the lock orders the jobs, and the barrier of the wake that follows orders
        // this store before the question who sleeps.
        self.len.store(list.jobs.len(), Relaxed);
    }
}
