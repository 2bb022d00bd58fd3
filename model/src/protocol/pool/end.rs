//! The end: everybody is woken, and whoever waits for the last worker sees it.

use super::account::{Account, Roster, WorkList};
use super::hash::Chain;
use super::queue::Queue;
use super::worker::{Begins, Seat};
use super::{Debts, END, Mutant, START, Size, is};
use crate::memory::Barrier::SeqCst;
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, List, Object, Register, Term};

/// The unbounded account with a worker, who may be followed by others. With a submitter, that pushes to it or is refused; without, there is the
/// bounded account with a worker too. The shutdown does not wait here: all that is asked is that nobody sleeps in the end.
pub(super) fn exit(b: &mut Builder, size: Size, mutant: Option<Mutant>) -> Debts {
    let exit = b.object("exit", 0);
    let starts = b.object("start", 0);
    let account = Account {
        mutant,
        lists: vec![WorkList::new(b, "", &[])],
        queue: Queue::new(b, "", &[0; 2], true, mutant),
        // With the other account there are too many objects.
        searching: (size.workers == 1).then(|| b.object("searching", 0)),
        sparing: None,
        vacant: Some(b.object("vacant", 0)),
        roster: Some(Roster::new(b, 1, 1, &[0], starts)),
        exit: Some(exit),
        leaves: true,
    };
    let first = (size.workers > 1).then(|| Account {
        mutant,
        lists: Vec::new(),
        queue: Queue::new(b, "bounded ", &[0], true, mutant),
        searching: None,
        sparing: None,
        vacant: None,
        roster: None,
        exit: Some(exit),
        leaves: true,
    });
    if size.submitters > 0 {
        let told = b.local_list("told by the submitter");
        let mut p = Code::new("submitter");
        account.submit(&mut p, told, 0, 0);
        b.thread(p);
    }
    let told = b.local_list("told by the shutdown");
    let mut p = Code::new("shutdown");
    account.lists[0].close(&mut p);
    p.store("set EXIT", exit, 1, Relaxed);
    let all = first.iter().chain([&account]);
    for account in all.take(if is(mutant, Mutant::FirstAccountOnly) { 1 } else { 2 }) {
        account.queue.broadcast(&mut p, told);
    }
    b.thread(p);

    let mut worker = |account: &Account, name: &str, number, begins| {
        let told = b.local_list(&format!("told by the {name}"));
        let seat = Seat { number, home: 0, begins, timeouts: 0, naps: 0, told };
        b.thread(account.worker(name.into(), seat, &|_, _| ()));
    };
    if let Some(first) = &first {
        worker(first, "bounded worker", 0, Begins::Free);
    }
    worker(&account, "unbounded worker", 1, Begins::Free);
    worker(&account, "unbounded worker after it", 0, Begins::Again);
    Debts { lists: account.debts().lists, rests: vec![START], ..Debts::default() }
}

/// The threads of a pool.
struct Threads {
    mutant: Option<Mutant>,
    lock: Object,
    alive: List,
    /// The length of `alive`, for the mutant that reads it without the lock
    count: Option<Object>,
    ended: List,
    starts: Object,
}

impl Threads {
    /// Starts a worker, unless the end has come.
    fn start(&self, p: &mut Code, number: i32) {
        p.locked(("start lock", "start unlock"), self.lock, |p| {
            let ended = p.contains(self.ended, 0);
            p.when(ended.is(0), |p| {
                p.push(self.alive, number);
                self.store_count(p);
                p.unpark("start", self.starts.at(number));
            });
        });
    }

    fn store_count(&self, p: &mut Code) {
        let Some(count) = self.count else { return };
        p.scope(|p| {
            let alive = p.length(self.alive);
            p.store("count alive", count, alive, Relaxed);
        });
    }

    /// A worker has come to its end.
    fn gone(&self, p: &mut Code, number: i32, end: &Queue, told: List) {
        let last = p.register();
        p.locked(("gone lock", "gone unlock"), self.lock, |p| {
            p.remove(self.alive, number);
            self.store_count(p);
            let alive = p.length(self.alive);
            p.set(last, alive.is(0));
        });
        if !is(self.mutant, Mutant::EndNotTold) {
            p.when(last, |p| {
                end.notify(p, told, 1);
            });
        }
    }
}

/// Two submitters have a job each, of one hash but for two accounts. A worker does not sleep here but leaves when it finds nothing, as it does when EXIT is set. The
/// shutdown closes the chains, and waits for the end. After that nobody is started any more: a job that waits then waits for ever.
pub(super) fn last_worker(b: &mut Builder, mutant: Option<Mutant>) -> Debts {
    let lock = b.lock("threads");
    let threads = Threads {
        mutant,
        lock,
        alive: b.list("alive workers", lock, &[]),
        count: is(mutant, Mutant::EndOutsideTheLock).then(|| b.object("alive", 0)),
        ended: b.list("ended", lock, &[]),
        starts: b.array("start", &[0; 2]),
    };
    let lists = [WorkList::new(b, "bounded ", &[]), WorkList::new(b, "unbounded ", &[])];
    let chain = Chain::new(b, &[], false);
    let closed = b.list("chains closed", chain.lock, &[]);
    let end = Queue::new(b, "end: ", &[0], false, mutant);

    for job in 0..2 {
        let mut p = Code::new(format!("submitter {job}"));
        p.scope(|p| {
            let free = p.compute(0);
            p.locked(("admit lock", "admit unlock"), chain.lock, |p| {
                let (closed, busy) = (p.contains(closed, 0), p.contains(chain.busy, 0));
                p.when(closed.is(0), |p| {
                    p.when_else(
                        busy,
                        |p| p.push(chain.waiting, job),
                        |p| {
                            p.push(chain.busy, 0);
                            lists[job as usize].push(p, job);
                            p.set(free, 1);
                        },
                    );
                });
            });
            p.when(free, |p| {
                p.fence("waker barrier", SeqCst);
                threads.start(p, job);
            });
        });
        b.thread(p);
    }

    for number in 0..2 {
        let told = b.local_list(&format!("told by worker {number}"));
        let mut p = Code::new(format!("worker {number}"));
        p.park(START, threads.starts.at(number));
        p.forever(|p| {
            let job = p.compute(-1);
            lists[number as usize].take(p, job);
            p.when(job.is(-1), |p| p.leave());
            let next = p.register();
            p.locked(("bring out lock", "bring out unlock"), chain.lock, |p| {
                let job = chain.next(p);
                p.set(next, job);
                for (account, list) in lists.iter().enumerate() {
                    p.when(next.is(account as i32), |p| list.push(p, next));
                }
            });
            for account in 0..2 {
                p.when(next.is(account), |p| {
                    p.fence("waker barrier", SeqCst);
                    if account != number && !is(mutant, Mutant::MovedWithoutActivation) {
                        threads.start(p, account);
                    }
                });
            }
        });
        threads.gone(&mut p, number, &end, told);
        b.thread(p);
    }

    let told = b.local_list("told by the shutdown");
    let mut p = Code::new("shutdown");
    if !is(mutant, Mutant::ListsNotClosed) {
        p.locked(("close lock", "close unlock"), chain.lock, |p| p.push(closed, 0));
    }
    let (enqueued, over) = (p.compute(0), p.compute(0));
    over_now(&mut p, &threads, &lists, over);
    p.forever(|p| {
        p.when(over, |p| p.leave());
        end.arm(p, 0, enqueued);
        over_now(p, &threads, &lists, over);
        p.when(over, |p| p.leave());
        end.park(p, END, 0);
    });
    end.disarm(&mut p, told, 0, enqueued);
    b.thread(p);
    let waiting = lists.iter().map(|list| list.jobs).chain([chain.waiting]).collect();
    Debts { lists: waiting, rests: vec![START], ..Debts::default() }
}

/// Is there no worker and no work? Then that is the end.
fn over_now(p: &mut Code, threads: &Threads, lists: &[WorkList], over: Register) {
    let work = |p: &mut Code| {
        if is(threads.mutant, Mutant::EndBeforeTheStart) {
            return;
        }
        for list in lists {
            p.when(over, |p| {
                let length = p.load("any work in the end", list.len, Relaxed);
                p.set(over, length.is(0));
            });
        }
    };
    if let Some(count) = threads.count {
        p.scope(|p| {
            let alive = p.load("anybody alive", count, Relaxed);
            p.set(over, alive.is(0));
        });
        work(p);
        return p.when(over, |p| {
            p.locked(("end lock", "end unlock"), threads.lock, |p| p.push(threads.ended, 0));
        });
    }
    p.locked(("end lock", "end unlock"), threads.lock, |p| {
        let alive = p.length(threads.alive);
        p.set(over, alive.is(0));
        work(p);
        p.when(over, |p| p.push(threads.ended, 0));
    });
}
