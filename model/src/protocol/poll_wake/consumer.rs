//! The consumers: who calls the poller, and what is done when woken; and activation, which only one of them needs.

use super::build::{Sleeper, Taken, World};
use super::{Consumer, Mutant};
use crate::memory::Order::{AcqRel, Acquire, Relaxed};
use crate::program::{Builder, Code, Expr, List, Object, Register, Term};

/// What a single-submitter ring needs until it is activated: a mailbox by which a poller asks the producer's thread.
pub(super) struct Activation {
    activated: Object,
    lock: Object,
    requests: List,
    parker: Object,
}

impl Activation {
    pub(super) fn new(b: &mut Builder) -> Self {
        let lock = b.lock("mailbox");
        Activation {
            activated: b.object("activated", 0),
            lock,
            requests: b.list("requests", lock, &[]),
            parker: b.object("submitter's parker", 0),
        }
    }
}

/// A poller under construction.
pub(in crate::protocol) struct Poller<'a> {
    world: &'a World,
    entry: u8,
    /// Are all pollers like it that enqueue?
    alike: bool,
    /// How often it may still wake spuriously
    spurious: Option<Register>,
}

impl World {
    /// The thread behind entry `entry`.
    pub(super) fn poller(&self, entry: u8, consumer: Consumer, activation: Option<&Activation>) -> Code {
        let mut p = Code::new(format!("poller {entry}"));
        // In `two-pollers` and `passer-by` the first one is another kind.
        let other_kind = entry == 0 && matches!(consumer, Consumer::TwoPollers | Consumer::PasserBy);
        let poller = Poller { alike: !other_kind, ..self.sleeper(&mut p, entry) };
        match consumer {
            Consumer::EpollLevel | Consumer::EpollLevelTwoProducers => poller.epoll(&mut p, true),
            Consumer::EpollEdge => poller.epoll(&mut p, false),
            Consumer::PollOnce => poller.poll_once(&mut p),
            Consumer::TwoPollers if entry == 0 => {
                poller.sleep(&mut p);
                poller.leave_queue(&mut p);
            }
            Consumer::TwoPollers => poller.first_poll(&mut p),
            Consumer::Persistent => poller.persistent(&mut p),
            Consumer::Activation => {
                if let Some(activation) = activation {
                    poller.ask(&mut p, activation);
                }
                poller.repoll(&mut p);
            }
            Consumer::ExclusivePair => poller.exclusive(&mut p),
            Consumer::PasserBy if entry == 0 => poller.repoll(&mut p),
            Consumer::PasserBy => poller.passer_by(&mut p),
        }
        p
    }

    /// Whoever sleeps behind an entry. To be made before any code.
    pub(in crate::protocol) fn sleeper(&self, p: &mut Code, entry: u8) -> Poller<'_> {
        let spurious = (self.size.spurious > 0).then(|| p.compute(i32::from(self.size.spurious)));
        Poller { world: self, entry, alike: false, spurious }
    }

    /// The producer of a single-submitter ring: task work runs between completions, and at the end.
    pub(super) fn submitter(&self, activation: &Activation) -> Code {
        let mut p = Code::new("producer");
        for _ in 0..self.size.completions {
            self.task_work(&mut p, activation);
            self.publish(&mut p);
            // Until activated, completions do not look at the wait queue at all.
            p.scope(|p| {
                let activated = p.load("activated", activation.activated, Relaxed);
                p.when(activated, |p| self.notify(p, 0));
            });
        }
        p.forever(|p| {
            self.task_work(p, activation);
            let activated = p.load("activated in the end", activation.activated, Relaxed);
            p.when(activated, |p| p.leave());
            p.park("wait for task work", activation.parker);
        });
        p
    }

    /// Runs the activation callback if it was asked for, once.
    fn task_work(&self, p: &mut Code, activation: &Activation) {
        p.scope(|p| {
            let activated = p.load("activated already", activation.activated, Relaxed);
            p.when(activated.is(0), |p| {
                let asked = p.compute(0);
                p.locked(("mailbox lock", "mailbox unlock"), activation.lock, |p| {
                    let request = p.remove(activation.requests, 0);
                    p.set(asked, request);
                });
                p.when(asked, |p| {
                    p.store("activate", activation.activated, 1, Relaxed);
                    self.reset(p);
                    self.deliver(p, 0);
                });
            });
        });
    }
}

impl Poller<'_> {
    fn thread(&self) -> usize {
        self.world.told.len() - usize::from(self.world.size.pollers) + usize::from(self.entry)
    }

    fn completions(&self) -> i32 {
        i32::from(self.world.size.completions)
    }

    /// Asks the producer's thread to activate the ring's poll wakeups.
    fn ask(&self, p: &mut Code, activation: &Activation) {
        p.locked(("ask lock", "ask unlock"), activation.lock, |p| p.push(activation.requests, 0));
        p.unpark("ask", activation.parker);
    }

    /// Enqueues, if `first`, and arms.
    pub(in crate::protocol) fn arm(&self, p: &mut Code, first: impl Into<Expr>) {
        let (world, first) = (self.world, first.into());
        world.before_enqueue(p);
        p.when(first.clone(), |p| {
            self.locked_to_enqueue(p, |p| self.enqueue(p));
        });
        world.after_enqueue(p, self.entry, first);
    }

    /// Pollers that are alike enqueue for the first time in the order of their numbers.
    fn locked_to_enqueue(&self, p: &mut Code, body: impl FnOnce(&mut Code)) {
        let (sites, lock) = (("enqueue lock", "enqueue unlock"), self.world.queue_lock);
        if self.alike { p.locked_in_turn(sites, lock, body) } else { p.locked(sites, lock, body) }
    }

    /// Shared entries stand in front, exclusive ones behind.
    fn enqueue(&self, p: &mut Code) {
        let (entries, entry) = (self.world.entries, i32::from(self.entry));
        if self.world.exclusive {
            p.push(entries, entry);
        } else {
            p.push_front(entries, entry);
        }
        self.world.store_length(p);
    }

    /// Leaves the queue, for a while or for good. A wake that was spent on this entry is passed on.
    pub(in crate::protocol) fn leave_queue(&self, p: &mut Code) {
        let world = self.world;
        p.locked(("leave lock", "leave unlock"), world.queue_lock, |p| {
            world.disarmed(p, self.entry);
            let queued = p.remove(world.entries, i32::from(self.entry));
            p.when_else(
                queued,
                |p| world.store_length(p),
                |p| {
                    if world.exclusive && world.mutant != Some(Mutant::WakeNotPassedOn) {
                        world.tell(p, self.thread());
                    }
                },
            );
        });
        if world.exclusive {
            world.wake_told(p, self.thread());
        }
    }

    /// Parks, or wakes spuriously.
    pub(in crate::protocol) fn sleep(&self, p: &mut Code) {
        let parker = self.world.parkers.at(i32::from(self.entry));
        let Some(left) = self.spurious else { return p.park("sleep", parker) };
        p.scope(|p| {
            let asleep = p.compute(1);
            p.when(left.differs(0), |p| {
                p.maybe("spurious wake", |p| {
                    p.set(left, left.minus(1));
                    p.set(asleep, 0);
                });
            });
            p.when(asleep, |p| p.park("sleep", parker));
        });
    }

    /// Takes what the ring holds. With several pollers that is a race, so `head` is read first and moved by a
    /// compare-exchange.
    fn take(&self, p: &mut Code) -> Taken {
        let world = self.world;
        let ring = world.ring;
        if !world.rivals {
            return world.drain(p);
        }
        let (some, upto) = (p.compute(0), p.register());
        p.forever(|p| {
            let head = p.load("take head", ring.head, Acquire);
            let tail = p.load("take tail", ring.tail, Acquire);
            p.set(upto, head);
            p.when(head.is(tail), |p| p.leave());
            world.read(p, tail);
            let was = p.compare_exchange("take", ring.head, (head, tail), (AcqRel, Relaxed));
            p.when(was.is(head), |p| {
                p.set(some, 1);
                p.set(upto, tail);
                p.leave();
            });
        });
        Taken { some, upto }
    }

    /// Takes what the ring holds, and leaves the loop around if that was the last.
    fn take_or_leave(&self, p: &mut Code) {
        p.scope(|p| {
            let taken = self.take(p);
            p.when(taken.upto.is(self.completions()), |p| p.leave());
        });
    }

    /// An entry that stays queued, and a poller that polls again before each sleep.
    fn repoll(&self, p: &mut Code) {
        self.arm(p, true);
        let readable = self.world.look(p);
        p.forever(|p| {
            p.when_else(readable, |p| self.take_or_leave(p), |p| self.sleep(p));
            self.arm(p, false);
            let again = self.world.look(p);
            p.set(readable, again);
        });
        self.leave_queue(p);
    }

    /// `two-pollers`: polls for the first time, and stops when it sees something.
    fn first_poll(&self, p: &mut Code) {
        self.arm(p, true);
        p.forever(|p| {
            let readable = self.world.look(p);
            p.when(readable, |p| p.leave());
            self.sleep(p);
            self.arm(p, false);
        });
        self.leave_queue(p);
    }

    /// `passer-by`: polls once, takes nothing, and leaves.
    fn passer_by(&self, p: &mut Code) {
        self.arm(p, true);
        p.scope(|p| {
            self.world.look(p);
        });
        self.leave_queue(p);
    }

    /// Arms once and never polls again: each wake reads the ring.
    fn persistent(&self, p: &mut Code) {
        self.arm(p, true);
        p.forever(|p| {
            self.take_or_leave(p);
            self.sleep(p);
        });
        self.leave_queue(p);
    }

    /// `poll(2)` in a loop: every call enters the queue and leaves it.
    fn poll_once(&self, p: &mut Code) {
        p.forever(|p| {
            self.arm(p, true);
            p.forever(|p| {
                let readable = self.world.look(p);
                p.when(readable, |p| p.leave());
                self.sleep(p);
                self.arm(p, false);
            });
            self.leave_queue(p);
            self.take_or_leave(p);
        });
    }

    /// An epoll instance and its user. The item is put on the ready list by a wake, or by its first poll; taking
    /// it off polls it again. A level-triggered item that is readable goes back to the list.
    fn epoll(&self, p: &mut Code, level: bool) {
        let Sleeper::Epoll(ready) = &self.world.sleeper else { return };
        let (lock, list) = ready[usize::from(self.entry)];
        let item = i32::from(self.entry);
        let put = |p: &mut Code| {
            p.locked(("put lock", "put unlock"), lock, |p| {
                let there = p.contains(list, item);
                p.when(there.is(0), |p| p.push(list, item));
            });
        };
        self.arm(p, true);
        p.scope(|p| {
            let readable = self.world.look(p);
            p.when(readable, put);
        });
        p.forever(|p| {
            let ready = p.compute(0);
            p.locked(("epoll lock", "epoll unlock"), lock, |p| {
                let taken = p.remove(list, item);
                p.set(ready, taken);
            });
            p.when_else(
                ready,
                |p| {
                    self.arm(p, false);
                    let readable = self.world.look(p);
                    p.when(readable, |p| {
                        if level {
                            put(p);
                        }
                        self.user(p, level);
                    });
                },
                |p| self.sleep(p),
            );
        });
        self.leave_queue(p);
    }

    /// What the user of an epoll instance does with a readable ring: takes what is there (level), or takes until there is
    /// nothing (edge). Leaves epoll's loop when everything has been taken.
    fn user(&self, p: &mut Code, level: bool) {
        if level {
            return self.take_or_leave(p);
        }
        let upto = p.register();
        p.forever(|p| {
            let taken = self.take(p);
            p.set(upto, taken.upto);
            p.when(taken.some.is(0), |p| p.leave());
        });
        p.when(upto.is(self.completions()), |p| p.leave());
    }

    /// An exclusive waiter: arms under the lock every time, reads `head` before `tail`, takes one completion and leaves.
    fn exclusive(&self, p: &mut Code) {
        let world = self.world;
        let ring = world.ring;
        let entry = i32::from(self.entry);
        p.forever(|p| {
            world.before_enqueue(p);
            let first = p.compute(0);
            self.locked_to_enqueue(p, |p| {
                let queued = p.contains(world.entries, entry);
                p.when(queued.is(0), |p| {
                    self.enqueue(p);
                    p.set(first, 1);
                });
            });
            world.after_enqueue(p, self.entry, Expr::from(first));
            let taken = p.compute(0);
            p.forever(|p| {
                let head = p.load("look head", ring.head, Acquire);
                let tail = p.load("look tail", ring.tail, Acquire);
                p.when(tail.above(head).is(0), |p| p.leave());
                let was = p.compare_exchange("take", ring.head, (head, head.plus(1)), (AcqRel, Relaxed));
                p.when(was.is(head), |p| {
                    p.set(taken, 1);
                    world.read(p, head.plus(1));
                    p.leave();
                });
            });
            p.when(taken, |p| p.leave());
            self.sleep(p);
        });
        self.leave_queue(p);
    }
}
