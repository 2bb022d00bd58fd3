//! io-wq's own form of hashed work (Linux 0242f6426ea7): a worker that finds only items whose hash is busy marks the work list
//! STALLED, enters the hash's wait queue, and goes idle.
//!
//! A free worker is found under the work list's lock here, and by RCU there. The hash's bit and STALLED are atomic bits, with relaxed operations.

use super::{BUSY, Debts, Mutant, SLEEP, is};
use crate::memory::Barrier::SeqCst;
use crate::memory::Order::Relaxed;
use crate::program::{Builder, Code, List, Object, Register, Term};

const HASHED: i32 = 0;
const UNHASHED: i32 = 1;

struct World {
    mutant: Option<Mutant>,
    lock: Object,
    items: List,
    free: List,
    stalled: Object,
    hash_lock: Object,
    busy: Object,
    waiters: List,
    waiting: Object,
    parkers: Object,
    answer: Object,
}

/// Worker 0 runs an item of the hash, which waits for one without a hash; another item of the hash is in the list; worker 1 looks for
/// work; a submitter inserts the item without a hash.
pub(super) fn stalled(b: &mut Builder, mutant: Option<Mutant>) -> Debts {
    let (lock, hash_lock) = (b.lock("work list"), b.lock("hash's wait queue"));
    let world = World {
        mutant,
        lock,
        items: b.list("items", lock, &[HASHED]),
        free: b.list("free workers", lock, &[]),
        stalled: b.object("STALLED", 0),
        hash_lock,
        busy: b.object("hash busy", 1),
        waiters: b.list("waiters", hash_lock, &[]),
        waiting: b.object("hash waited for", 0),
        parkers: b.array("parker", &[0; 2]),
        answer: b.object("answer", 0),
    };
    b.thread(world.submitter());
    b.thread(world.worker(0, true));
    b.thread(world.worker(1, false));
    Debts { lists: vec![world.items], rests: vec![SLEEP], ..Debts::default() }
}

impl World {
    fn submitter(&self) -> Code {
        let mut p = Code::new("submitter");
        p.locked(("insert lock", "insert unlock"), self.lock, |p| {
            p.push(self.items, UNHASHED);
            p.swap("insert clears STALLED", self.stalled, 0, Relaxed);
        });
        self.activate_free_worker(&mut p);
        p
    }

    fn activate_free_worker(&self, p: &mut Code) {
        p.scope(|p| {
            let who = p.compute(-1);
            p.locked(("free lock", "free unlock"), self.lock, |p| {
                p.for_each(self.free, |p, first| {
                    p.set(who, first);
                    p.leave();
                });
            });
            p.when(who.differs(-1), |p| p.unpark("activate", self.parkers.at(who)));
        });
    }

    fn worker(&self, number: i32, runs_hashed: bool) -> Code {
        let mut p = Code::new(format!("worker {number}"));
        if runs_hashed {
            p.park(BUSY, self.answer);
        }
        let hashed = p.compute(i32::from(runs_hashed));
        p.forever(|p| {
            p.when(hashed, |p| self.finish(p));
            p.set(hashed, 0);
            let runnable = p.compute(0);
            p.locked(("idle lock", "idle unlock"), self.lock, |p| {
                let items = p.length(self.items);
                p.when(items, |p| {
                    let stalled = p.load("work but STALLED", self.stalled, Relaxed);
                    p.set(runnable, stalled.is(0));
                });
                let there = p.contains(self.free, number);
                p.when(runnable.is(0).and(there.is(0)), |p| p.push(self.free, number));
            });
            p.when_else(
                runnable,
                |p| self.handle(p, number, hashed),
                |p| p.park(SLEEP, self.parkers.at(number)),
            );
        });
        p
    }

    /// Takes an item that can run, or waits for the hash.
    fn handle(&self, p: &mut Code, number: i32, hashed: Register) {
        let (stalls, answers) = (p.compute(0), p.compute(0));
        p.locked(("take lock", "take unlock"), self.lock, |p| {
            p.remove(self.free, number);
            p.for_each(self.items, |p, item| {
                p.when_else(
                    item.is(UNHASHED),
                    |p| {
                        p.remove(self.items, UNHASHED);
                        p.set(stalls, 0);
                        p.set(answers, 1);
                        p.leave();
                    },
                    |p| {
                        let busy = p.swap("take the hash", self.busy, 1, Relaxed);
                        p.set(stalls, busy);
                        p.when(busy.is(0), |p| {
                            p.remove(self.items, HASHED);
                            p.set(hashed, 1);
                            p.leave();
                        });
                    },
                );
            });
            if !is(self.mutant, Mutant::StalledLate) {
                p.when(stalls, |p| self.set_stalled(p));
            }
        });
        p.when(answers, |p| p.unpark("answer", self.answer));
        p.when(stalls, |p| {
            if is(self.mutant, Mutant::StalledLate) {
                p.locked(("stall lock", "stall unlock"), self.lock, |p| self.set_stalled(p));
            }
            self.wait_on_hash(p, number);
        });
    }

    fn set_stalled(&self, p: &mut Code) {
        p.scope(|p| {
            p.swap("set STALLED", self.stalled, 1, Relaxed);
        });
    }

    fn clear_stalled(&self, p: &mut Code, site: &'static str) -> Register {
        p.swap(site, self.stalled, 0, Relaxed)
    }

    /// Enters the hash's wait queue, and looks whether the hash is still busy.
    fn wait_on_hash(&self, p: &mut Code, number: i32) {
        let free = p.compute(0);
        p.locked(("wait lock", "wait unlock"), self.hash_lock, |p| {
            let there = p.contains(self.waiters, number);
            p.when(there.is(0), |p| p.push(self.waiters, number));
            if !is(self.mutant, Mutant::NoLookAtTheHash) {
                let busy = p.load("look at the hash", self.busy, Relaxed);
                p.when(busy.is(0), |p| {
                    p.remove(self.waiters, number);
                    p.set(free, 1);
                });
            }
            self.store_waiting(p);
        });
        p.when(free, |p| {
            p.locked(("unstall lock", "unstall unlock"), self.lock, |p| {
                self.clear_stalled(p, "hash is free: clear STALLED");
            });
            self.wake_waiters(p);
        });
    }

    fn store_waiting(&self, p: &mut Code) {
        p.scope(|p| {
            let waiting = p.length(self.waiters);
            p.store("hash waited for", self.waiting, waiting, Relaxed);
        });
    }

    /// An item of the hash is over.
    fn finish(&self, p: &mut Code) {
        p.locked(("free the hash lock", "free the hash unlock"), self.hash_lock, |p| {
            p.swap("free the hash", self.busy, 0, Relaxed);
            self.clear_stalled(p, "finish clears STALLED");
        });
        self.wake_waiters(p);
    }

    /// Takes the waiters off the hash's wait queue; the first that finds STALLED set activates a free worker.
    fn wake_waiters(&self, p: &mut Code) {
        p.scope(|p| {
            p.fence("hash waker barrier", SeqCst);
            let waiting = p.load("anybody waits for the hash", self.waiting, Relaxed);
            p.when(waiting.differs(0), |p| {
                let activate = p.compute(0);
                p.locked(("hash wake lock", "hash wake unlock"), self.hash_lock, |p| {
                    p.drain(self.waiters, |p, _| {
                        let stalled = self.clear_stalled(p, "wake clears STALLED");
                        p.set(activate, activate.or(stalled));
                    });
                    self.store_waiting(p);
                });
                p.when(activate, |p| self.activate_free_worker(p));
            });
        });
    }
}
