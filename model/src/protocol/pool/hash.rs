//! Jobs of one hash, one at a time and in order, through its chain.

use super::account::{Account, WorkList};
use super::queue::Queue;
use super::worker::{Begins, Seat};
use super::{BUSY, Debts, Mutant, Size, is};
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, Expr, List, Object, Register, Term};

/// The chain of one hash.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    pub lock: Object,
    pub waiting: List,
    /// One entry while the hash is busy
    pub busy: List,
}

impl Chain {
    pub fn new(b: &mut Builder, waiting: &[i32], busy: bool) -> Self {
        let lock = b.lock("chains");
        let waiting = b.list("waiting", lock, waiting);
        Chain { lock, waiting, busy: b.list("busy", lock, if busy { &[0] } else { &[] }) }
    }

    /// Under the lock: the next job, or -1 and the hash is free.
    pub fn next(&self, p: &mut Code) -> Register {
        let next = p.pop(self.waiting);
        p.when(next.is(-1), |p| {
            p.remove(self.busy, 0);
        });
        next
    }
}

/// Two workers; one runs job 0 of a hash. A submitter has the others of that hash, each of which checks that it is the next. Another submitter, if
/// there is one, has a job without a hash, which waits for the last of them.
pub(super) fn hash(b: &mut Builder, size: Size, mutant: Option<Mutant>) -> Debts {
    let last = i32::from(size.jobs);
    let unhashed = last + 1;
    let account = Account {
        mutant,
        lists: vec![WorkList::new(b, "", &[])],
        queue: Queue::of_workers(b, 2, mutant),
        searching: None,
        sparing: None,
        vacant: Some(b.object("vacant", 0)),
        roster: None,
        exit: None,
        leaves: false,
    };
    let chain = Chain::new(b, &[], true);
    let answer = b.object("answer", 0);
    // Written by every job of the hash: which one is next. A job that overlaps with another, comes out of its turn, or does not
    // see what the one before it did, finds another number than its own.
    let turn = b.object("turn", 0);

    let told = b.local_list("told by the submitter");
    let mut p = Code::new("submitter");
    for job in 1..=last {
        submit(&account, chain, &mut p, told, job);
    }
    b.thread(p);
    if size.submitters == 2 {
        let told = b.local_list("told by the other submitter");
        let mut p = Code::new("other submitter");
        account.submit(&mut p, told, 0, unhashed);
        b.thread(p);
    }

    for (number, begins) in [(0, Begins::Busy), (1, Begins::Free)] {
        let told = b.local_list(&format!("told by worker {number}"));
        let seat = Seat { number, home: 0, begins, timeouts: 0, naps: 0, told };
        let body = |p: &mut Code, job: Register| {
            p.scope(|p| {
                let next = p.load("whose turn", turn, Relaxed);
                p.claim("jobs of one hash run one at a time, in order", next.is(job));
                p.store("run", turn, job.plus(1), Relaxed);
            });
            p.when(job.is(last), |p| p.unpark("answer", answer));
        };
        b.thread(account.worker(format!("worker {number}"), seat, &|p, job| {
            p.when_else(
                job.is(unhashed),
                |p| p.park(BUSY, answer),
                |p| {
                    p.forever(|p| {
                        let next = p.register();
                        if is(mutant, Mutant::FreedTooEarly) {
                            bring_out(&account, chain, p, told, next);
                            body(p, job);
                        } else {
                            body(p, job);
                            bring_out(&account, chain, p, told, next);
                        }
                        p.when(next.is(-1), |p| p.leave());
                        p.set(job, next);
                    });
                },
            );
        }));
    }
    let mut debts = account.debts();
    debts.lists.push(chain.waiting);
    debts
}

/// A job with the hash goes to the work list, or waits in the chain.
pub(super) fn submit(account: &Account, chain: Chain, p: &mut Code, told: List, job: i32) {
    p.scope(|p| {
        let free = p.compute(0);
        p.locked(("admit lock", "admit unlock"), chain.lock, |p| {
            let busy = p.contains(chain.busy, 0);
            p.when_else(
                busy,
                |p| {
                    if !account.is(Mutant::StalledOutsideTheLock) {
                        p.push(chain.waiting, job);
                    }
                },
                |p| {
                    p.push(chain.busy, 0);
                    account.lists[0].push(p, job);
                    p.set(free, 1);
                },
            );
        });
        if account.is(Mutant::StalledOutsideTheLock) {
            p.when(free.is(0), |p| {
                p.locked(("stall lock", "stall unlock"), chain.lock, |p| p.push(chain.waiting, job));
            });
        }
        p.when(free, |p| account.activate(p, told));
    });
}

/// A job of the hash is over: `next` is to be run at once, if nothing else waits; or is -1, and the next is in the work list.
pub(super) fn bring_out(account: &Account, chain: Chain, p: &mut Code, told: List, next: Register) {
    p.scope(|p| {
        let moved = p.compute(0);
        p.locked(("bring out lock", "bring out unlock"), chain.lock, |p| {
            let job = chain.next(p);
            p.set(next, job);
            p.when(job.differs(-1), |p| {
                let other = account.has_work(p, 0);
                if let Some(vacant) = account.vacant {
                    p.when(other.is(0), |p| {
                        let vacant = p.load("surplus before the next", vacant, Relaxed);
                        p.set(other, Expr::from(0).above(vacant));
                    });
                }
                p.when(other, |p| {
                    account.lists[0].push(p, job);
                    p.set(moved, 1);
                    p.set(next, -1);
                });
            });
        });
        if !account.is(Mutant::MovedWithoutActivation) {
            p.when(moved, |p| account.activate(p, told));
        }
    });
}
