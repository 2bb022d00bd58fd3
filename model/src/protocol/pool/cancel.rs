//! Exactly one outcome a job, and a job that a cancellation finds.

use super::account::WorkList;
use super::hash::Chain;
use super::{Debts, Mutant, is};
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, List, Object, Place, Register, Term};

const PENDING: i32 = 0;
const RUNNING: i32 = 1;
const TOLD: i32 = 2;
const OVER: i32 = 3;

/// Where outcomes are delivered to.
#[derive(Clone, Copy)]
struct Handle {
    lock: Object,
    outcomes: List,
}

impl Handle {
    fn new(b: &mut Builder) -> Self {
        let lock = b.lock("handle");
        Handle { lock, outcomes: b.list("outcomes", lock, &[]) }
    }

    fn deliver(self, p: &mut Code, job: i32) {
        p.locked(("deliver lock", "deliver unlock"), self.lock, |p| {
            let there = p.contains(self.outcomes, job);
            p.claim("a job has one outcome", there.is(0));
            p.push(self.outcomes, job);
        });
    }

    /// A register that says whether the outcome is there.
    fn look(self, p: &mut Code, job: i32) -> Register {
        let there = p.register();
        p.locked(("outcome lock", "outcome unlock"), self.lock, |p| {
            let outcome = p.contains(self.outcomes, job);
            p.set(there, outcome);
        });
        there
    }
}

/// Moves a job's state on: a register that says whether it was `from`. With `store` it is read and then stored.
fn advance(
    p: &mut Code,
    site: &'static str,
    job: impl Into<Place>,
    from: i32,
    to: i32,
    store: bool,
) -> Register {
    let job = job.into();
    let was = match store {
        false => p.compare_exchange(site, job, (from, to), (Relaxed, Relaxed)),
        true => {
            let was = p.load(site, job.clone(), Relaxed);
            p.when(was.is(from), |p| p.store(site, job, to, Relaxed));
            was
        }
    };
    p.compute(was.is(from))
}

/// One job in the list. A worker takes it; its owner looks for the outcome and then cancels it; a shutdown drains the list and cancels
/// what it finds.
pub(super) fn cancel(b: &mut Builder, mutant: Option<Mutant>) -> Debts {
    let list = WorkList::new(b, "", &[0]);
    let state = b.object("job", PENDING);
    let handle = Handle::new(b);

    let mut p = Code::new("worker");
    p.scope(|p| {
        let job = p.compute(-1);
        list.take(p, job);
        p.when(job.differs(-1), |p| {
            let mine = advance(p, "begin", state, PENDING, RUNNING, is(mutant, Mutant::RunByStore));
            p.when(mine, |p| {
                if is(mutant, Mutant::OutcomeBeforeOver) {
                    handle.deliver(p, 0);
                }
                p.store("over", state, OVER, Relaxed);
                if !is(mutant, Mutant::OutcomeBeforeOver) {
                    handle.deliver(p, 0);
                }
            });
        });
    });
    b.thread(p);

    let mut p = Code::new("owner");
    p.scope(|p| {
        let late = handle.look(p, 0);
        let mine = advance(p, "cancel", state, PENDING, OVER, is(mutant, Mutant::CancelByStore));
        p.when_else(
            mine,
            |p| handle.deliver(p, 0),
            |p| {
                let told = advance(p, "tell", state, RUNNING, TOLD, false);
                p.when(told.is(0), |p| {
                    let state = p.load("told already", state, Relaxed);
                    p.set(told, state.is(TOLD));
                });
                p.claim("whoever has the outcome finds nothing to cancel", late.and(told).is(0));
            },
        );
        p.claim("whoever has the outcome finds nothing to cancel", late.and(mine).is(0));
    });
    b.thread(p);

    let mut p = Code::new("shutdown");
    p.scope(|p| {
        let job = p.register();
        p.locked(("drain lock", "drain unlock"), list.lock, |p| {
            let first = p.pop(list.jobs);
            p.set(job, first);
            list.store_length(p);
        });
        p.when(job.differs(-1), |p| {
            let mine = advance(p, "cancel", state, PENDING, OVER, false);
            p.when(mine, |p| handle.deliver(p, 0));
        });
    });
    b.thread(p);
    Debts { outcomes: Some((handle.outcomes, 1)), ..Debts::default() }
}

/// Job 0 runs, job 1 waits in the chain of their hash. The worker brings it out, directly or by way of the list, and runs it. A
/// cancellation looks for it in the chain, in the list, and with the worker.
pub(super) fn search(b: &mut Builder, mutant: Option<Mutant>) -> Debts {
    let list = WorkList::new(b, "", &[]);
    let chain = Chain::new(b, &[1], true);
    let lock = b.lock("current job");
    let current = b.list("current", lock, &[0]);
    let handle = Handle::new(b);
    let begin = |p: &mut Code| p.locked(("begin lock", "begin unlock"), lock, |p| p.push(current, 1));
    let end = |p: &mut Code, job: i32| {
        p.locked(("end lock", "end unlock"), lock, |p| {
            p.remove(current, job);
        });
    };

    let mut p = Code::new("worker");
    end(&mut p, 0);
    p.scope(|p| {
        let direct = p.compute(0);
        let move_on = |p: &mut Code| p.when_else(direct, begin, |p| list.push(p, 1));
        p.maybe("nothing else waits", |p| p.set(direct, 1));
        p.locked(("bring out lock", "bring out unlock"), chain.lock, |p| {
            chain.next(p);
            if !is(mutant, Mutant::MovedOutsideTheLock) {
                move_on(p);
            }
        });
        if is(mutant, Mutant::MovedOutsideTheLock) {
            move_on(p);
        }
        p.when(direct.is(0), |p| {
            p.locked(("take lock", "take unlock"), list.lock, |p| {
                p.pop(list.jobs);
                list.store_length(p);
                if !is(mutant, Mutant::BegunOutsideTheLock) {
                    begin(p);
                }
            });
            if is(mutant, Mutant::BegunOutsideTheLock) {
                begin(p);
            }
        });
    });
    handle.deliver(&mut p, 1);
    end(&mut p, 1);
    b.thread(p);

    let mut p = Code::new("cancellation");
    p.scope(|p| {
        let found = p.compute(0);
        let mut places = [(chain.lock, chain.waiting), (list.lock, list.jobs), (lock, current)];
        if is(mutant, Mutant::SearchAgainstTheMove) {
            places.swap(0, 1);
        }
        for (lock, list) in places {
            p.locked(("search lock", "search unlock"), lock, |p| {
                let there = p.contains(list, 1);
                p.set(found, found.or(there));
            });
        }
        p.when(found.is(0), |p| {
            let over = handle.look(p, 1);
            p.claim("a job that is not found is over", over);
        });
    });
    b.thread(p);
    Debts { outcomes: Some((handle.outcomes, 1)), ..Debts::default() }
}
