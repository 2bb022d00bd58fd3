//! The wait queue with its gate `per-entry`, as the pool uses it: a free list of workers, or those who wait for the end.

use super::Mutant;
use crate::memory::Barrier::SeqCst;
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, Expr, List, Object, Register, Term};

const IDLE: i32 = 0;
const ARMED: i32 = 1;
const NOTIFIED: i32 = 2;

/// What came of [`notify_one_if`](Queue::notify_one_if): nobody is armed; a sleeper was told; it is not needed.
pub(super) const NOBODY: i32 = 0;
pub(super) const TOLD: i32 = 1;
pub(super) const UNNEEDED: i32 = 2;

/// A queue of sleepers, each with its mark and its parker, by number.
pub(super) struct Queue {
    mutant: Option<Mutant>,
    lock: Object,
    entries: List,
    /// The length of the list, which this gate does not ask; `None` where there are too many objects
    queued: Option<Object>,
    armed: Object,
    marks: Object,
    pub parkers: Object,
    /// Does a wake reach some entries only, and take them off the list?
    exclusive: bool,
}

impl Queue {
    /// An empty queue for so many workers.
    pub fn of_workers(b: &mut Builder, workers: usize, mutant: Option<Mutant>) -> Self {
        Self::with_tokens(b, &vec![0; workers], mutant)
    }

    /// An empty queue for workers with so many tokens from before.
    pub fn with_tokens(b: &mut Builder, tokens: &[i32], mutant: Option<Mutant>) -> Self {
        let queued = Some(b.object("queued", 0));
        Queue { queued, ..Self::new(b, "", tokens, true, mutant) }
    }

    /// An empty queue for sleepers with so many tokens from before, without `queued`. `of` tells its objects from those of others.
    pub fn new(b: &mut Builder, of: &str, tokens: &[i32], exclusive: bool, mutant: Option<Mutant>) -> Self {
        let lock = b.lock(&format!("{of}wait queue"));
        Queue {
            mutant,
            lock,
            entries: b.list(&format!("{of}entries"), lock, &[]),
            queued: None,
            armed: b.object(&format!("{of}armed"), 0),
            marks: b.array(&format!("{of}mark"), &vec![IDLE; tokens.len()]),
            parkers: b.array(&format!("{of}parker"), tokens),
            exclusive,
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Announces that a sleeper is going to sleep. `enqueued` is its own knowledge of being on the list.
    pub fn arm(&self, p: &mut Code, number: i32, enqueued: Register) {
        if self.exclusive {
            // A wake may have taken it off; only the list knows.
            p.locked(("enqueue lock", "enqueue unlock"), self.lock, |p| {
                let there = p.contains(self.entries, number);
                p.when(there.is(0), |p| self.enqueue(p, number));
            });
        } else {
            p.when(enqueued.is(0), |p| {
                p.locked(("enqueue lock", "enqueue unlock"), self.lock, |p| self.enqueue(p, number));
            });
        }
        p.set(enqueued, 1);
        p.scope(|p| {
            let was = p.load("armed already", self.marks.at(number), Relaxed);
            p.when(was.differs(ARMED), |p| {
                p.add("count armed", self.armed, 1, Relaxed);
                p.swap("arm", self.marks.at(number), ARMED, Relaxed);
                if !self.is(Mutant::SleeperWithoutBarrier) {
                    p.fence("arm barrier", SeqCst);
                }
            });
        });
    }

    fn enqueue(&self, p: &mut Code, number: i32) {
        // The worker that came last is woken first.
        match self.exclusive {
            true => p.push_front(self.entries, number),
            false => p.push(self.entries, number),
        }
        self.store_length(p);
    }

    fn store_length(&self, p: &mut Code) {
        let Some(queued) = self.queued else { return };
        p.scope(|p| {
            let length = p.length(self.entries);
            p.store("queue length", queued, length, Relaxed);
        });
    }

    /// Leaves the list. A wake that was spent on this entry is passed on.
    pub fn disarm(&self, p: &mut Code, told: List, number: i32, enqueued: Register) {
        p.when(enqueued, |p| {
            p.set(enqueued, 0);
            p.locked(("leave lock", "leave unlock"), self.lock, |p| {
                self.unmark(p, number);
                let there = p.remove(self.entries, number);
                p.when_else(
                    there,
                    |p| self.store_length(p),
                    |p| {
                        if !self.is(Mutant::WakeNotPassedOn) {
                            self.tell(p, told, Some(1.into()));
                        }
                    },
                );
            });
            self.wake(p, told);
        });
    }

    /// Somebody who slept is going to be busy: leaves the list, if it is on it still. Its token may be an old one, left by a wake
    /// that came while it was leaving.
    pub fn woken(&self, p: &mut Code, number: i32, enqueued: Register) {
        p.when(enqueued, |p| {
            p.locked(("woken lock", "woken unlock"), self.lock, |p| {
                let there = p.remove(self.entries, number);
                p.when(there, |p| {
                    self.unmark(p, number);
                    self.store_length(p);
                    p.set(enqueued, 0);
                });
            });
        });
    }

    /// Under the lock: the entry waits no more.
    fn unmark(&self, p: &mut Code, number: i32) {
        p.scope(|p| {
            let was = p.swap("disarm", self.marks.at(number), IDLE, Relaxed);
            p.when(was.is(ARMED), |p| {
                p.add("count disarmed", self.armed, -1, Relaxed);
            });
        });
    }

    /// Wakes up to `most` sleepers, if any is armed: a register with how many were told.
    pub fn notify(&self, p: &mut Code, told: List, most: impl Into<Expr>) -> Register {
        let (most, count) = (most.into(), p.compute(0));
        if !self.is(Mutant::WakerWithoutBarrier) {
            p.fence("waker barrier", SeqCst);
        }
        p.scope(|p| {
            let armed = p.load("anybody armed", self.armed, Relaxed);
            p.when(armed.differs(0), |p| self.deliver(p, told, Some(most), count));
        });
        count
    }

    /// Wakes one sleeper, if any is armed and it is needed, which `needed` says; `then` is done under the lock, if one is told. The
    /// outcome is one of those above.
    pub fn notify_one_if(
        &self,
        p: &mut Code,
        told: List,
        needed: impl FnOnce(&mut Code) -> Register,
        then: impl FnOnce(&mut Code),
    ) -> Register {
        let outcome = p.compute(NOBODY);
        if !self.is(Mutant::WakerWithoutBarrier) {
            p.fence("waker barrier", SeqCst);
        }
        p.scope(|p| {
            let armed = p.load("anybody armed", self.armed, Relaxed);
            p.when(armed.differs(0), |p| {
                let is_needed = needed(p);
                p.when_else(
                    is_needed,
                    |p| {
                        p.locked(("deliver lock", "deliver unlock"), self.lock, |p| {
                            self.tell(p, told, Some(1.into()));
                            let length = p.length(told);
                            p.when(length, |p| {
                                p.set(outcome, TOLD);
                                then(p);
                            });
                        });
                        self.wake(p, told);
                    },
                    |p| p.set(outcome, UNNEEDED),
                );
            });
        });
        outcome
    }

    /// Wakes everybody, without asking.
    pub fn broadcast(&self, p: &mut Code, told: List) {
        if !self.is(Mutant::BroadcastWithoutBarrier) {
            p.fence("broadcast barrier", SeqCst);
        }
        p.scope(|p| {
            let count = p.register();
            self.deliver(p, told, None, count);
        });
    }

    fn deliver(&self, p: &mut Code, told: List, most: Option<Expr>, count: Register) {
        p.locked(("deliver lock", "deliver unlock"), self.lock, |p| self.tell(p, told, most));
        p.scope(|p| {
            let length = p.length(told);
            p.set(count, length);
        });
        self.wake(p, told);
    }

    /// Under the lock: tells entries that are armed, up to `most` of them, and takes exclusive ones off the list.
    fn tell(&self, p: &mut Code, told: List, most: Option<Expr>) {
        p.scope(|p| {
            let before = p.length(self.entries);
            let left = most.filter(|_| self.exclusive).map(|most| p.compute(most));
            p.for_each(self.entries, |p, entry| {
                if let Some(left) = left {
                    p.when(left.is(0), |p| p.leave());
                }
                let mark = self.marks.at(entry);
                let was = p.compare_exchange("notify", mark, (ARMED, NOTIFIED), (Relaxed, Relaxed));
                p.when(was.is(ARMED), |p| {
                    p.add("count notified", self.armed, -1, Relaxed);
                    p.push(told, entry);
                    if self.exclusive {
                        p.remove(self.entries, entry);
                    }
                    if let Some(left) = left {
                        p.set(left, left.minus(1));
                    }
                });
            });
            let after = p.length(self.entries);
            p.when(after.differs(before), |p| self.store_length(p));
        });
    }

    /// Wakes those that were told, the lock being free.
    fn wake(&self, p: &mut Code, told: List) {
        p.drain(told, |p, entry| p.unpark("wake", self.parkers.at(entry)));
    }

    /// Sleeps until woken.
    pub fn park(&self, p: &mut Code, site: &'static str, number: i32) {
        p.park(site, self.parkers.at(number));
    }
}
