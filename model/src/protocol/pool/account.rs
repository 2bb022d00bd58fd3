//! An account: its work lists, its free list, its roster; pushing, taking, waking and starting.

use super::queue::{NOBODY, Queue};
use super::{Mutant, is};
use crate::memory::Barrier::SeqCst;
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, Expr, List, Object, Register, Term};

/// A list of work.
#[derive(Clone, Copy)]
pub(super) struct WorkList {
    /// Its length, read without the lock
    pub len: Object,
    pub lock: Object,
    pub jobs: List,
    /// One entry when it takes no more jobs
    closed: List,
}

impl WorkList {
    pub fn new(b: &mut Builder, of: &str, jobs: &[i32]) -> Self {
        let len = b.object(&format!("{of}work"), jobs.len() as i32);
        let lock = b.lock(&format!("{of}work list"));
        let jobs = b.list(&format!("{of}jobs"), lock, jobs);
        WorkList { len, lock, jobs, closed: b.list(&format!("{of}closed"), lock, &[]) }
    }

    pub fn store_length(&self, p: &mut Code) {
        p.scope(|p| {
            let length = p.length(self.jobs);
            p.store("work length", self.len, length, Relaxed);
        });
    }

    /// Appends a job that was accepted before.
    pub fn push(&self, p: &mut Code, job: impl Into<Expr>) {
        let job = job.into();
        p.locked(("push lock", "push unlock"), self.lock, |p| {
            p.push(self.jobs, job);
            self.store_length(p);
        });
    }

    /// Appends a job, unless the list is closed: a register that says so.
    fn offer(&self, p: &mut Code, job: i32) -> Register {
        let accepted = p.compute(0);
        p.locked(("push lock", "push unlock"), self.lock, |p| {
            let closed = p.contains(self.closed, 0);
            p.when(closed.is(0), |p| {
                p.push(self.jobs, job);
                self.store_length(p);
                p.set(accepted, 1);
            });
        });
        accepted
    }

    /// Takes no more jobs from now on.
    pub fn close(&self, p: &mut Code) {
        p.locked(("close lock", "close unlock"), self.lock, |p| p.push(self.closed, 0));
    }

    /// Takes the oldest job, or -1.
    pub fn take(&self, p: &mut Code, job: Register) {
        p.scope(|p| {
            let length = p.load("any work", self.len, Relaxed);
            p.when(length.differs(0), |p| {
                p.locked(("take lock", "take unlock"), self.lock, |p| {
                    let first = p.pop(self.jobs);
                    p.set(job, first);
                    p.when(first.differs(-1), |p| self.store_length(p));
                });
            });
        });
    }
}

/// How many workers there are, and those that can be started.
pub(super) struct Roster {
    lock: Object,
    /// An entry for each worker
    pub workers: List,
    /// An entry for each worker in a blocked region, if there are such
    pub lent: List,
    pub max: i32,
    /// The numbers of those not yet started. The code has them under a lock of their own, which decides nothing here.
    unborn: List,
    /// What a thread waits for that is to be started
    pub starts: Object,
}

impl Roster {
    /// Of an account with so many workers.
    pub fn new(b: &mut Builder, max: i32, workers: usize, unborn: &[i32], starts: Object) -> Self {
        let lock = b.lock("worker lists");
        Roster {
            lock,
            workers: b.list("workers", lock, &vec![0; workers]),
            lent: b.list("lent", lock, &[]),
            max,
            unborn: b.list("unborn", lock, unborn),
            starts,
        }
    }

    /// Under the lock: how many more workers there may be.
    fn vacant(&self, p: &mut Code) -> Register {
        let (workers, lent) = (p.length(self.workers), p.length(self.lent));
        p.compute(Expr::from(self.max).plus(lent).minus(workers))
    }
}

/// An account.
pub(super) struct Account {
    pub mutant: Option<Mutant>,
    pub lists: Vec<WorkList>,
    pub queue: Queue,
    /// 1 while somebody who was woken or started searches for work. `None`, where there are too many objects: nobody relies on a search
    pub searching: Option<Object>,
    /// 1 while a submitter spares wakes or a worker naps; `None`: nobody does
    pub sparing: Option<Object>,
    /// `None`: it does not change, and nobody looks
    pub vacant: Option<Object>,
    /// `None`: nobody is started
    pub roster: Option<Roster>,
    pub exit: Option<Object>,
    /// Do workers leave?
    pub leaves: bool,
}

/// Why a worker leaves; [`STAY`] if it does not.
pub(super) const STAY: i32 = 0;
pub(super) const TIMED_OUT: i32 = 1;
pub(super) const SURPLUS: i32 = 2;
pub(super) const EXITING: i32 = 3;
/// It does not leave, and has slept already.
pub(super) const NAPPED: i32 = 4;

impl Account {
    pub fn is(&self, mutant: Mutant) -> bool {
        is(self.mutant, mutant)
    }

    /// A submitter gives a job to a list, and sees to it that somebody looks for it.
    pub fn submit(&self, p: &mut Code, told: List, list: usize, job: i32) {
        p.scope(|p| {
            if self.is(Mutant::WakeBeforePush) {
                self.activate(p, told);
                return self.lists[list].push(p, job);
            }
            let early = if self.is(Mutant::VacancyBeforePush) { self.vacancy(p) } else { None };
            let accepted = self.lists[list].offer(p, job);
            p.when(accepted, |p| self.activate_if(p, told, early));
        });
    }

    /// Wakes a worker or starts one, unless somebody searches.
    pub fn activate(&self, p: &mut Code, told: List) {
        self.activate_if(p, told, None);
    }

    fn vacancy(&self, p: &mut Code) -> Option<Register> {
        self.vacant.map(|vacant| p.load("vacancy", vacant, Relaxed))
    }

    /// `early`: the vacancies as they were asked for too early.
    fn activate_if(&self, p: &mut Code, told: List, early: Option<Register>) {
        p.scope(|p| {
            let needed = |p: &mut Code| self.is_not_searched(p, "anybody searching");
            let outcome = self.queue.notify_one_if(p, told, needed, |p| self.begin_search(p, "begin search"));
            p.when(outcome.is(NOBODY), |p| {
                let Some(vacant) = early.or_else(|| self.vacancy(p)) else { return };
                p.when(vacant.above(0), |p| match &self.roster {
                    Some(roster) => {
                        let starts = self.is_not_searched(p, "anybody searching already");
                        p.when(starts, |p| {
                            self.start(p, roster);
                        });
                    }
                    None => p.claim("there is no vacancy", 0),
                });
            });
        });
    }

    /// A register that says that nobody searches.
    fn is_not_searched(&self, p: &mut Code, site: &'static str) -> Register {
        let Some(searching) = self.searching else { return p.compute(1) };
        let nobody = p.load(site, searching, Relaxed);
        p.set(nobody, nobody.is(0));
        nobody
    }

    /// Somebody searches from now on.
    pub fn begin_search(&self, p: &mut Code, site: &'static str) {
        if let Some(searching) = self.searching {
            p.store(site, searching, 1, Relaxed);
        }
    }

    /// Nobody searches any more: a register that says whether anybody did. If so the caller looks for work.
    pub fn end_search(&self, p: &mut Code) -> Register {
        let Some(searching) = self.searching else { return p.compute(0) };
        let ends = p.load("search to end", searching, Relaxed);
        p.when(ends, |p| {
            p.store("end search", searching, 0, Relaxed);
            if !self.is(Mutant::SearchWithoutBarrier) {
                p.fence("search barrier", SeqCst);
            }
        });
        ends
    }

    /// The same for a worker that arms next.
    pub fn end_search_before_arming(&self, p: &mut Code) {
        let Some(searching) = self.searching else { return };
        p.scope(|p| {
            let ends = p.load("search to end in sleep", searching, Relaxed);
            p.when(ends, |p| p.store("end search in sleep", searching, 0, Relaxed));
        });
    }

    /// Nobody spares wakes or naps any more, as far as the caller knows. He looks for work after this.
    pub fn end_sparing(&self, p: &mut Code) {
        let Some(sparing) = self.sparing else { return };
        if !self.is(Mutant::NapKept) {
            p.store("end sparing", sparing, 0, Relaxed);
        }
        p.fence("sparing barrier", SeqCst);
    }

    /// Starts a worker, if there still is a vacancy: a register that says so.
    fn start(&self, p: &mut Code, roster: &Roster) -> Register {
        let who = p.compute(-1);
        p.locked(("reserve lock", "reserve unlock"), roster.lock, |p| {
            let vacant = roster.vacant(p);
            let reserve = if self.is(Mutant::StartUnreserved) { 1.into() } else { vacant.above(0) };
            p.when(reserve, |p| {
                p.claim("an account has no more workers than its maximum", vacant.above(0));
                p.push(roster.workers, 0);
                self.store_vacant(p, roster, "reserve");
                self.begin_search(p, "begin search and start");
                let next = p.pop(roster.unborn);
                p.claim("the scenario has threads enough", next.differs(-1));
                p.set(who, next);
            });
        });
        p.when(who.differs(-1), |p| p.unpark("start", roster.starts.at(who)));
        p.compute(who.differs(-1))
    }

    fn store_vacant(&self, p: &mut Code, roster: &Roster, site: &'static str) {
        let Some(object) = self.vacant else { return };
        p.scope(|p| {
            let vacant = roster.vacant(p);
            p.store(site, object, vacant, Relaxed);
        });
    }

    /// Takes a job from the list `home`, or else from the next that has one: a register with it, or with -1.
    pub fn take(&self, p: &mut Code, home: usize) -> Register {
        let job = p.compute(-1);
        let many = if self.is(Mutant::OwnListOnly) { 1 } else { self.lists.len() };
        for i in 0..many {
            let list = self.lists[(home + i) % self.lists.len()];
            p.when(job.is(-1), |p| list.take(p, job));
        }
        job
    }

    /// Is there work in any list? The look of a worker whose own list is `home` (the mutants' looks depend on it).
    pub fn has_work(&self, p: &mut Code, home: usize) -> Register {
        let some = p.compute(0);
        for (number, list) in self.lists.iter().enumerate() {
            let skipped = (self.is(Mutant::LookSkipsAList) && number == 1)
                || (self.is(Mutant::OwnListOnly) && number != home);
            if !skipped {
                p.when(some.is(0), |p| {
                    let length = p.load("look", list.len, Relaxed);
                    p.set(some, length.differs(0));
                });
            }
        }
        some
    }

    /// Somebody may have relied on a worker that is not there any more: activates for the jobs that wait.
    pub fn activate_unprompted(&self, p: &mut Code, told: List) {
        p.scope(|p| {
            let waiting = self.waiting(p);
            p.when(waiting.differs(0), |p| self.activate(p, told));
        });
    }

    /// How many jobs wait.
    pub fn waiting(&self, p: &mut Code) -> Register {
        let waiting = p.compute(0);
        for list in &self.lists {
            p.scope(|p| {
                let length = p.load("look for waiting", list.len, Relaxed);
                p.set(waiting, waiting.plus(length));
            });
        }
        waiting
    }

    /// A worker gives up its place, if it may: a register that says so. `again` can be started then.
    pub fn leave(&self, p: &mut Code, why: Register, again: Option<i32>) -> Register {
        let left = p.compute(1);
        if let Some(roster) = &self.roster {
            p.locked(("roster lock", "roster unlock"), roster.lock, |p| {
                let (vacant, workers) = (roster.vacant(p), p.length(roster.workers));
                let others = if self.is(Mutant::LastLeaves) { 1.into() } else { workers.above(1) };
                let surplus = why.is(SURPLUS).and(Expr::from(0).above(vacant));
                p.set(left, why.is(TIMED_OUT).and(others).or(surplus).or(why.is(EXITING)));
                p.when(left, |p| {
                    p.claim("the last worker stays", workers.above(1).or(why.is(EXITING)));
                    p.remove(roster.workers, 0);
                    self.store_vacant(p, roster, "vacate");
                    if let Some(again) = again {
                        p.push(roster.unborn, again);
                    }
                });
            });
        }
        if !self.is(Mutant::LeaveWithoutBarrier) {
            p.when(left, |p| p.fence("leave barrier", SeqCst));
        }
        left
    }

    /// A running job lends its worker's place, or takes it back.
    pub fn lend(&self, p: &mut Code, lend: bool) {
        let Some(roster) = &self.roster else { return };
        p.locked(("lend lock", "lend unlock"), roster.lock, |p| {
            match lend {
                true => p.push(roster.lent, 0),
                false => {
                    p.remove(roster.lent, 0);
                }
            }
            self.store_vacant(p, roster, if lend { "lend" } else { "take back" });
        });
    }
}
