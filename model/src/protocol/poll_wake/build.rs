//! The shared objects, the wait queue, and the producers.
//!
//! The queue's list is guarded by its lock; `queued` is its length, written under the lock and read by the
//! waker without it. Whoever is told is woken after the lock is released.

use super::{Consumer, Error, Gate, Mutant, PollWake, Size, gate};
use crate::memory::Order::{Acquire, Relaxed, Release};
use crate::program::{Builder, Code, Expr, List, Object, Register, Term};

/// The completion ring, unbounded: how much was produced, how much was taken, and what.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct Ring {
    pub tail: Object,
    pub head: Object,
    /// The number of the newest completion written. One location stands for all slots: reading less than the `tail`
    /// that was seen is reading a slot before it is written.
    pub payload: Object,
}

/// What came of taking completions, in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// 1 if there was any
    pub some: Register,
    /// The number of the last one known to be taken
    pub upto: Register,
}

/// What sleeps behind an entry of the wait queue.
pub(in crate::protocol) enum Sleeper {
    /// A thread, by its parker
    Thread,
    /// An epoll instance: its ready list and the list's lock, by poller
    Epoll(Vec<(Object, List)>),
}

/// All shared objects, and the variant in question. A gate's objects exist only if the gate uses them.
pub(in crate::protocol) struct World {
    pub gate: Gate,
    pub mutant: Option<Mutant>,
    pub size: Size,
    pub ring: Ring,
    pub queue_lock: Object,
    pub entries: List,
    pub queued: Object,
    pub waiting: Object,
    pub persistent: Object,
    /// Whether the entry is among the persistent ones; only the owner looks.
    pub counted: Object,
    pub armed: Object,
    pub mark: Object,
    pub parkers: Object,
    pub sleeper: Sleeper,
    /// Do the entries never poll again?
    pub persistent_entries: bool,
    /// Does a wake reach one entry only, and take it off the list?
    pub exclusive: bool,
    /// Do several pollers take completions, in competition?
    pub rivals: bool,
    /// The entries a waker has told and still has to wake, by thread
    pub told: Vec<List>,
}

pub(super) fn protocol(
    gate: Gate,
    consumer: Consumer,
    size: Size,
    mutant: Option<Mutant>,
) -> Result<PollWake, Error> {
    let mut b = Builder::new();
    let ring = Ring { payload: b.object("payload", 0), tail: b.object("tail", 0), head: b.object("head", 0) };
    let pollers = usize::from(size.pollers);
    // `two-pollers`: the first entry is queued and armed before the threads start.
    let prepared = consumer == Consumer::TwoPollers;
    let queue_lock = b.lock("wait queue");
    let entries = b.list("entries", queue_lock, if prepared { &[0] } else { &[] });
    let queued = b.object("queued", prepared.into());
    let [mut waiting, mut persistent, mut counted, mut armed, mut mark] = [queued; 5];
    match gate {
        Gate::HasSleeper | Gate::HasSleeperNoBarrier => (),
        Gate::PerEntry => {
            armed = b.object("armed", prepared.into());
            let mut marks = vec![gate::IDLE; pollers];
            marks[0] = if prepared { gate::ARMED } else { gate::IDLE };
            mark = b.array("mark", &marks);
        }
        Gate::RearmOptIn => {
            waiting = b.object("waiting", prepared.into());
            persistent = b.object("persistent", 0);
            if consumer == Consumer::Persistent {
                counted = b.array("counted", &vec![0; pollers]);
            }
        }
        Gate::Posted | Gate::PostedFenced | Gate::ArmedLate | Gate::Rearm | Gate::RearmByStore => {
            waiting = b.object("waiting", prepared.into())
        }
    }
    let epoll =
        matches!(consumer, Consumer::EpollLevel | Consumer::EpollEdge | Consumer::EpollLevelTwoProducers);
    let sleeper = match epoll {
        false => Sleeper::Thread,
        true => Sleeper::Epoll(
            (0..pollers)
                .map(|poller| {
                    let lock = b.lock(&format!("ready {poller}"));
                    (lock, b.list(&format!("ready list {poller}"), lock, &[]))
                })
                .collect(),
        ),
    };
    let producers = if consumer == Consumer::EpollLevelTwoProducers { 2 } else { 1 };
    let parkers = b.array("parker", &vec![0; pollers]);
    let told = (0..producers + pollers).map(|thread| b.local_list(&format!("told by {thread}"))).collect();
    let world = World {
        gate,
        mutant,
        size,
        ring,
        queue_lock,
        entries,
        queued,
        waiting,
        persistent,
        counted,
        armed,
        mark,
        parkers,
        sleeper,
        persistent_entries: consumer == Consumer::Persistent,
        exclusive: consumer == Consumer::ExclusivePair,
        rivals: size.pollers > 1 && consumer != Consumer::PasserBy,
        told,
    };
    b.observe_only(&[ring.tail, ring.head]);
    world.threads(&mut b, consumer);
    let pollers = producers..producers + pollers;
    Ok(PollWake { program: b.build()?, ring, consumer, pollers })
}

impl World {
    /// The wait queue alone, with the gate of production, for a protocol of another kind: one entry, which stays queued, and so many
    /// threads that wake, numbered before the one that sleeps.
    pub(in crate::protocol) fn of_one_sleeper(
        b: &mut Builder,
        ring: Ring,
        wakers: usize,
        spurious: u8,
        mutant: Option<Mutant>,
    ) -> World {
        let queue_lock = b.lock("wait queue");
        let queued = b.object("queued", 0);
        World {
            gate: Gate::PerEntry,
            mutant,
            size: Size { completions: 0, pollers: 1, spurious },
            ring,
            queue_lock,
            entries: b.list("entries", queue_lock, &[]),
            queued,
            waiting: queued,
            persistent: queued,
            counted: queued,
            armed: b.object("armed", 0),
            mark: b.array("mark", &[gate::IDLE]),
            parkers: b.array("parker", &[0]),
            sleeper: Sleeper::Thread,
            persistent_entries: false,
            exclusive: false,
            rivals: false,
            told: (0..=wakers).map(|thread| b.local_list(&format!("told by {thread}"))).collect(),
        }
    }

    fn threads(&self, b: &mut Builder, consumer: Consumer) {
        match consumer {
            Consumer::EpollLevelTwoProducers => {
                let commit = b.lock("commit");
                let half = i32::from(self.size.completions).div_euclid(2);
                for (thread, completions) in
                    [i32::from(self.size.completions) - half, half].into_iter().enumerate()
                {
                    b.thread(self.locked_producer(thread, completions, commit));
                }
                b.end_alike([0, 1]);
            }
            Consumer::Activation => {
                let activation = super::consumer::Activation::new(b);
                b.thread(self.submitter(&activation));
                for poller in 0..self.size.pollers {
                    b.thread(self.poller(poller, consumer, Some(&activation)));
                }
                return;
            }
            _ => b.thread(self.producer(consumer == Consumer::TwoPollers)),
        }
        for poller in 0..self.size.pollers {
            b.thread(self.poller(poller, consumer, None));
        }
    }

    /// Writes the next completion and moves `tail`. Producers exclude each other.
    pub(super) fn publish(&self, p: &mut Code) {
        p.scope(|p| {
            let tail = p.load("own tail", self.ring.tail, Relaxed);
            p.store("write completion", self.ring.payload, tail.plus(1), Relaxed);
            let order = if self.mutant == Some(Mutant::RelaxedTail) { Relaxed } else { Release };
            p.store("publish", self.ring.tail, tail.plus(1), order);
        });
    }

    /// One producer. If `drains`, its thread also empties the ring once, after the first completion.
    fn producer(&self, drains: bool) -> Code {
        let mut p = Code::new("producer");
        for number in 1..=i32::from(self.size.completions) {
            self.publish(&mut p);
            self.notify(&mut p, 0);
            if drains && number == 1 {
                p.scope(|p| {
                    self.drain(p);
                });
            }
        }
        p
    }

    /// One of two producers, whose commits are serialised by a lock and whose wakes race.
    fn locked_producer(&self, thread: usize, completions: i32, commit: Object) -> Code {
        let mut p = Code::new(format!("producer {thread}"));
        for _ in 0..completions {
            p.locked(("commit lock", "commit unlock"), commit, |p| self.publish(p));
            self.notify(&mut p, thread);
        }
        p
    }

    /// Takes what the ring holds, for somebody who is alone in taking.
    pub(super) fn drain(&self, p: &mut Code) -> Taken {
        let (some, upto) = (p.register(), p.register());
        p.scope(|p| {
            let head = p.load("take head", self.ring.head, Relaxed);
            let tail = p.load("take tail", self.ring.tail, Acquire);
            p.set(some, tail.above(head));
            p.set(upto, tail);
            p.when(some, |p| {
                self.read(p, tail);
                p.store("take", self.ring.head, tail, Release);
            });
        });
        Taken { some, upto }
    }

    /// Reads the completions up to this number.
    pub(super) fn read(&self, p: &mut Code, number: impl Into<Expr>) {
        p.scope(|p| {
            let payload = p.load("read completion", self.ring.payload, Relaxed);
            p.claim("whoever sees the tail sees the completion", number.into().above(payload).is(0));
        });
    }

    /// Wakes whoever has to be woken, if the gate does not say that nobody has to.
    pub(in crate::protocol) fn notify(&self, p: &mut Code, thread: usize) {
        self.admit(p, |p| self.deliver(p, thread));
    }

    /// Tells the entries, then wakes those that were told.
    pub(super) fn deliver(&self, p: &mut Code, thread: usize) {
        p.locked(("deliver lock", "deliver unlock"), self.queue_lock, |p| self.tell(p, thread));
        self.wake_told(p, thread);
    }

    /// Under the lock: tells every entry; of exclusive ones the first that takes the wake, and takes it off the list.
    pub(super) fn tell(&self, p: &mut Code, thread: usize) {
        p.for_each(self.entries, |p, entry| {
            let notified = self.notified(p, entry);
            p.when(notified, |p| {
                p.push(self.told[thread], entry);
                if self.exclusive {
                    p.remove(self.entries, entry);
                    self.store_length(p);
                    p.leave();
                }
            });
        });
    }

    /// Under the lock: publishes the length of the list.
    pub(super) fn store_length(&self, p: &mut Code) {
        p.scope(|p| {
            let length = p.length(self.entries);
            p.store("queue length", self.queued, length, Relaxed);
        });
    }

    /// Wakes the entries that were told, the lock being free.
    pub(super) fn wake_told(&self, p: &mut Code, thread: usize) {
        p.drain(self.told[thread], |p, entry| self.wake(p, entry));
    }

    /// Epoll puts its item on the ready list and wakes under the list's lock, as `ep_poll_callback` does.
    fn wake(&self, p: &mut Code, entry: Register) {
        let Sleeper::Epoll(ready) = &self.sleeper else { return p.unpark("wake", self.parkers.at(entry)) };
        // One place in the code for each poller, all alike: if pollers exchange their names, a waker that is at one of these places is at
        // the other one. There is no step between them, so nobody sees that they stand in an order.
        for (poller, (lock, list)) in ready.iter().enumerate() {
            let item = poller as i32;
            let is_this_one = if ready.len() == 1 { Expr::from(1) } else { entry.is(item) };
            p.when(is_this_one, |p| {
                p.locked(("ready lock", "ready unlock"), *lock, |p| {
                    let there = p.contains(*list, item);
                    p.when(there.is(0), |p| p.push(*list, item));
                    p.unpark("wake", self.parkers.at(item));
                });
            });
        }
    }
}
