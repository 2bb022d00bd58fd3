//! A worker: it takes jobs until there are none, sleeps, and leaves when its time is over or it has to.

use super::account::{Account, EXITING, NAPPED, STAY, SURPLUS, TIMED_OUT};
use super::{BUSY, Mutant, START};
use crate::memory::Order::Relaxed;
use crate::program::{Code, Expr, List, Register, Term};

/// How a worker begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// It runs
    Free,
    /// It runs job 0
    Busy,
    /// It waits to be started
    Unborn,
    /// The same, and when it has left it stands for the next one: needs something of its own to be started with
    Again,
}

/// One worker.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    /// In the account's queue
    pub number: i32,
    /// The list with which it begins
    pub home: usize,
    pub begins: Begins,
    /// How often its idle timeout may fire
    pub timeouts: i32,
    /// How often it may nap
    pub naps: i32,
    /// What it tells, when it wakes others
    pub told: List,
}

/// A worker's own variables.
struct Own {
    enqueued: Register,
    /// Whether somebody may rely on its search
    searches: Register,
    timeouts: Option<Register>,
    naps: Option<Register>,
}

impl Account {
    /// The life of a worker. `perform` runs a job.
    pub fn worker(&self, name: String, seat: Seat, perform: &dyn Fn(&mut Code, Register)) -> Code {
        let mut p = Code::new(name);
        let own = Own {
            enqueued: p.compute(0),
            searches: p.compute(0),
            timeouts: (seat.timeouts > 0).then(|| p.compute(seat.timeouts)),
            naps: (seat.naps > 0).then(|| p.compute(seat.naps)),
        };
        match seat.begins {
            Begins::Free => (),
            Begins::Busy => p.scope(|p| {
                let job = p.compute(0);
                perform(p, job);
            }),
            Begins::Unborn => self.wait_for_start(&mut p, seat),
            Begins::Again => {
                p.forever(|p| {
                    self.wait_for_start(p, seat);
                    self.work(p, seat, &own, perform);
                });
                return p;
            }
        }
        self.work(&mut p, seat, &own, perform);
        p
    }

    fn wait_for_start(&self, p: &mut Code, seat: Seat) {
        if let Some(roster) = &self.roster {
            p.park(START, roster.starts.at(seat.number));
        }
    }

    /// From the start of a worker to its end.
    fn work(&self, p: &mut Code, seat: Seat, own: &Own, perform: &dyn Fn(&mut Code, Register)) {
        let again = (seat.begins == Begins::Again).then_some(seat.number);
        let early = self.is(Mutant::LookBeforeLeaving).then(|| p.compute(0));
        if self.searching.is_some() {
            p.set(own.searches, i32::from(seat.begins != Begins::Busy));
        }
        p.forever(|p| {
            let why = p.compute(STAY);
            self.next(p, seat, own, why, perform);
            if !self.leaves {
                return;
            }
            p.when(why.differs(STAY), |p| {
                if !self.is(Mutant::LeavesWhileArmed) {
                    self.queue.disarm(p, seat.told, seat.number, own.enqueued);
                }
                if let Some(early) = early {
                    let waiting = self.waiting(p);
                    p.set(early, waiting);
                }
                let left = self.leave(p, why, again);
                p.when(left, |p| p.leave());
            });
        });
        self.end_search(p);
        match early {
            _ if self.is(Mutant::NoLookAfterLeaving) => (),
            Some(early) => p.when(early, |p| self.activate(p, seat.told)),
            None => self.activate_unprompted(p, seat.told),
        }
        if self.is(Mutant::LeavesWhileArmed) {
            self.queue.disarm(p, seat.told, seat.number, own.enqueued);
        }
    }

    /// Runs a job, or sleeps, or sets `why` to leave.
    fn next(
        &self,
        p: &mut Code,
        seat: Seat,
        own: &Own,
        why: Register,
        perform: &dyn Fn(&mut Code, Register),
    ) {
        if let Some(vacant) = self.vacant.filter(|_| !self.is(Mutant::SurplusStays)) {
            p.scope(|p| {
                let vacant = p.load("surplus", vacant, Relaxed);
                p.when(Expr::from(0).above(vacant), |p| p.set(why, SURPLUS));
            });
        }
        p.when(why.is(STAY), |p| {
            let job = self.take(p, seat.home);
            p.when_else(
                job.differs(-1),
                |p| {
                    p.when(own.searches, |p| self.pass_search_on(p, seat.told, own));
                    perform(p, job);
                },
                |p| {
                    if let Some(exit) = self.exit {
                        p.scope(|p| {
                            let exiting = p.load("exiting", exit, Relaxed);
                            p.when(exiting, |p| p.set(why, EXITING));
                        });
                    }
                    p.when(why.is(STAY), |p| self.sleep(p, seat, own, why));
                },
            );
        });
    }

    /// A worker that may have been relied on has found a job. If others wait, the next one searches.
    fn pass_search_on(&self, p: &mut Code, told: List, own: &Own) {
        p.set(own.searches, 0);
        p.scope(|p| {
            let ended = self.end_search(p);
            if let Some(sparing) = self.sparing {
                p.when(ended, |p| {
                    let spared = p.load("anybody sparing", sparing, Relaxed);
                    p.set(ended, spared.is(0));
                });
            }
            if !self.is(Mutant::NotPassedOn) {
                p.when(ended, |p| self.activate_unprompted(p, told));
            }
        });
    }

    /// Sleeps, unless there is something to do.
    fn sleep(&self, p: &mut Code, seat: Seat, own: &Own, why: Register) {
        let naps = self.begin_nap(p, own);
        if self.searching.is_some() {
            if !self.is(Mutant::SearchKept) {
                p.when(own.searches, |p| self.end_search_before_arming(p));
            }
            p.set(own.searches, 1);
        }
        self.queue.arm(p, seat.number, own.enqueued);
        if let Some(naps) = naps {
            p.when(naps, |p| {
                // Its time is over at once: whatever others do meanwhile they do before the next step.
                self.queue.woken(p, seat.number, own.enqueued);
                self.begin_search(p, "search after the nap");
                self.end_sparing(p);
                p.set(why, NAPPED);
            });
            p.when(why.is(STAY), |p| self.sleep_armed(p, seat, own, why));
            p.when(why.is(NAPPED), |p| p.set(why, STAY));
        } else {
            self.sleep_armed(p, seat, own, why);
        }
    }

    /// Whether it naps: a register that says so.
    fn begin_nap(&self, p: &mut Code, own: &Own) -> Option<Register> {
        let (left, sparing) = (own.naps?, self.sparing?);
        let naps = p.compute(0);
        p.when(left.differs(0), |p| {
            let looks = p.load("anybody going to look", sparing, Relaxed);
            p.when(looks.is(0), |p| {
                p.store("nap", sparing, 1, Relaxed);
                p.set(left, left.minus(1));
                p.set(naps, 1);
            });
        });
        Some(naps)
    }

    /// On the free list: looks, and sleeps.
    fn sleep_armed(&self, p: &mut Code, seat: Seat, own: &Own, why: Register) {
        let looks = |p: &mut Code| {
            if self.is(Mutant::NoLookAfterArm) {
                return p.compute(0);
            }
            let awake = self.has_work(p, seat.home);
            if let Some(exit) = self.exit.filter(|_| !self.is(Mutant::ExitNotLookedAt)) {
                p.when(awake.is(0), |p| {
                    let exiting = p.load("look at exit", exit, Relaxed);
                    p.set(awake, exiting);
                });
            }
            if let Some(vacant) = self.vacant.filter(|_| !self.is(Mutant::SurplusStays)) {
                p.when(awake.is(0), |p| {
                    let vacant = p.load("look at surplus", vacant, Relaxed);
                    p.set(awake, Expr::from(0).above(vacant));
                });
            }
            awake
        };
        let awake = looks(p);
        p.when_else(
            awake,
            |p| {
                if !self.is(Mutant::SearchNotResumed) {
                    self.begin_search(p, "search on");
                }
                self.queue.disarm(p, seat.told, seat.number, own.enqueued);
            },
            |p| {
                if let Some(left) = own.timeouts {
                    p.when(left.differs(0), |p| {
                        p.maybe("idle timeout", |p| {
                            p.set(left, left.minus(1));
                            p.set(why, TIMED_OUT);
                        });
                    });
                }
                p.when(why.is(STAY), |p| {
                    self.queue.park(p, super::SLEEP, seat.number);
                    if !self.is(Mutant::BusyWhileArmed) {
                        self.queue.woken(p, seat.number, own.enqueued);
                    }
                });
            },
        );
    }
}

/// What jobs do: job 0 waits until job `last` runs. A pool that lets a job wait although a worker sleeps, or could be started,
/// gets stuck with that.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub parker: crate::program::Object,
    pub last: i32,
}

impl Answer {
    pub fn perform(self, p: &mut Code, job: Register) {
        p.when(job.is(0), |p| p.park(BUSY, self.parker));
        p.when(job.is(self.last), |p| p.unpark("answer", self.parker));
    }
}
