//! The protocol under question: completions are committed to a ring, and a gate decides which of them wake its poller.
//!
//! The consumers are those of the README's table. They run on the library's own
//! [`WaitQueue`]; a consumer adds only the ring and what it does when it is woken.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Wake, Waker};

use reveille::gate::{Gate, WakeOne};
use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue, Waiter};
use strum::VariantArray;

use super::{Ring, Scenario};
use crate::flavour::script::Script;
use crate::names::{Named, unknown};
use crate::trace::Trace;

/// Who calls the poller, and what it does when it is woken.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown::<Self>)]
pub enum Consumer {
    /// An epoll item, level triggered: the entry stays queued; a wake puts the item on the ready list; `epoll_wait`
    /// takes it off, polls again, reports and puts it back, or drops it from the list if there is nothing.
    EpollLevel,
    /// The same, edge triggered: not put back; the user drains until the ring is empty.
    EpollEdge,
    /// `poll(2)` in a loop: enters the queue, looks, sleeps, looks; leaves the queue, drains, calls again.
    PollOnce,
    /// Two consumers of one ring: one is queued and armed, and when woken leaves without polling; the other polls for
    /// the first time. The producer's thread drains the ring once, after its first completion.
    TwoPollers,
    /// A custom entry: queued once, reads the ring on each wake, never polls again.
    Persistent,
    /// The first poll of a single-submitter ring: the poller asks for activation, the producer's thread carries it
    /// out. Until then completions do not look at the queue.
    Activation,
    /// `EpollLevel` with two producers: commits are serialised, the wakes race.
    #[strum(serialize = "epoll-level-2p")]
    EpollLevel2p,
    /// A poller that re-polls when woken, and beside it another that polls once, takes nothing and leaves, as one does
    /// whose time is up.
    PasserBy,
    /// Two exclusive waiters, wake-one. Each takes one completion and does not come back until the other is taken.
    ExclusivePair,
}

impl Consumer {
    /// All of them, in the order of the table.
    pub const ALL: [Self; Self::VARIANTS.len()] =
        *Self::VARIANTS.first_chunk().expect("the length is that of the list");

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Named for Consumer {
    const WHAT: &'static str = "consumer";
}

/// How many completions the scenarios commit. Two are enough for every miss that is known.
const COMPLETIONS: usize = 2;

/// What the labels in a counterexample mean.
pub const POLL_WAKE_LEGEND: &str = "\
tail, head            the ring's: completions up to tail are there, those up to head are taken
queued                how many entries the wait queue has; the waker reads it without the lock
waiting, armed, mark  what the gate remembers
cqe, payload          the completion itself";

/// A consumer behind the gate `G`.
pub struct PollWake<G> {
    consumer: Consumer,
    gate: PhantomData<fn(G)>,
}

impl<G> Clone for PollWake<G> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<G> PollWake<G> {
    /// The scenario of this consumer.
    pub fn new(consumer: Consumer) -> Self {
        Self { consumer, gate: PhantomData }
    }
}

impl<G: WakeOne> Scenario for PollWake<G> {
    fn name(&self) -> String {
        format!("{} × {}", G::NAME, self.consumer)
    }

    fn main_thread(&self) -> &'static str {
        if self.consumer == Consumer::ExclusivePair { "worker 1" } else { "poller" }
    }

    fn legend(&self) -> &'static str {
        POLL_WAKE_LEGEND
    }

    fn run<P: Primitives>(&self) {
        let ring = Arc::new(Shared::<P, G>::new());
        match self.consumer {
            Consumer::EpollLevel => epoll(ring, Trigger::Level, 1),
            Consumer::EpollEdge => epoll(ring, Trigger::Edge, 1),
            Consumer::PollOnce => poll_once(ring),
            Consumer::TwoPollers => two_pollers(ring),
            Consumer::Persistent => persistent(ring),
            Consumer::Activation => activation(ring),
            Consumer::EpollLevel2p => epoll(ring, Trigger::Level, 2),
            Consumer::PasserBy => passer_by(ring),
            Consumer::ExclusivePair => exclusive_pair(ring),
        }
    }

    fn owed(&self, trace: &Trace) -> Option<String> {
        let owed = trace.newest("tail")?.checked_sub(trace.newest("head")?)?;
        (owed > 0)
            .then(|| format!("{owed} of {COMPLETIONS} completions in the ring, which nobody awake will take"))
    }

    fn scripts(&self) -> Vec<Script> {
        vec![Script::none(), Script::none().early(self.main_thread(), 1)]
    }
}

/// What the threads of a scenario share.
struct Shared<P: Primitives, G: Gate> {
    ring: Ring<P>,
    poll_wq: Arc<WaitQueue<P, G>>,
}

impl<P: Primitives, G: WakeOne> Shared<P, G> {
    fn new() -> Self {
        Self { ring: Ring::new(COMPLETIONS), poll_wq: Arc::new(WaitQueue::new()) }
    }

    fn complete(&self) {
        self.ring.commit();
        self.poll_wq.notify_all();
    }

    fn register(&self, kind: Kind, parker: &Arc<P::Parker>) -> Waiter<P, G> {
        self.poll_wq.register(kind, Waker::from(parker.clone()))
    }
}

/// The producer: commits all completions, each with its wake.
fn producer<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) -> P::JoinHandle {
    P::spawn("producer", move || (0..COMPLETIONS).for_each(|_| shared.complete()))
}

#[derive(Clone, Copy, PartialEq)]
enum Trigger {
    Level,
    Edge,
}

/// An epoll instance with one item.
struct Epoll<P: Primitives> {
    /// The ready list: whether the item is on it.
    ready: P::Mutex<bool>,
    parker: P::Parker,
}

impl<P: Primitives> Wake for Epoll<P> {
    /// As `ep_poll_callback` does it: whoever waits for the ready list is woken under the list's lock.
    fn wake(self: Arc<Self>) {
        self.ready.with(|ready| {
            *ready = true;
            self.parker.unpark();
        });
    }
}

fn epoll<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>, trigger: Trigger, producers: usize) {
    let producers: Vec<_> = if producers == 1 {
        vec![producer(shared.clone())]
    } else {
        let completion_lock = Arc::new(P::Mutex::new("completion lock", ()));
        ["producer 1", "producer 2"]
            .into_iter()
            .map(|name| {
                let (shared, lock) = (shared.clone(), completion_lock.clone());
                P::spawn(name, move || {
                    lock.with(|()| shared.ring.commit());
                    shared.poll_wq.notify_all();
                })
            })
            .collect()
    };

    let item =
        Arc::new(Epoll::<P> { ready: P::Mutex::new("ready list", false), parker: P::Parker::new("poller") });
    let mut entry = shared.poll_wq.register(Kind::Shared, Waker::from(item.clone()));
    // epoll_ctl: the first poll
    entry.arm();
    if shared.ring.readable() {
        item.ready.with(|ready| *ready = true);
    }
    let mut taken = 0;
    while taken < COMPLETIONS {
        // epoll_wait: take the item off the ready list, or sleep
        if !item.ready.with(std::mem::take) {
            item.parker.park();
            continue;
        }
        entry.arm();
        if !shared.ring.readable() {
            continue;
        }
        match trigger {
            Trigger::Level => {
                item.ready.with(|ready| *ready = true);
                taken += shared.ring.drain();
            }
            Trigger::Edge => loop {
                match shared.ring.drain() {
                    0 => break,
                    n => taken += n,
                }
            },
        }
    }
    join(producers);
}

fn poll_once<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) {
    let producer = producer(shared.clone());
    let parker = Arc::new(P::Parker::new("poller"));
    let mut taken = 0;
    while taken < COMPLETIONS {
        let mut entry = shared.register(Kind::Shared, &parker);
        sleep_until_readable(&shared, &mut entry, &parker);
        entry.disarm();
        taken += shared.ring.drain();
    }
    join([producer]);
}

fn two_pollers<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) {
    let parker = Arc::new(P::Parker::new("other poller"));
    let mut entry = shared.register(Kind::Shared, &parker);
    entry.arm();
    let other = P::spawn("other poller", move || {
        parker.park();
        drop(entry);
    });
    let producer = P::spawn("producer", {
        let shared = shared.clone();
        move || {
            shared.complete();
            shared.ring.drain();
            shared.complete();
        }
    });

    let parker = Arc::new(P::Parker::new("poller"));
    let mut entry = shared.register(Kind::Shared, &parker);
    sleep_until_readable(&shared, &mut entry, &parker);
    join([other, producer]);
}

fn persistent<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) {
    let producer = producer(shared.clone());
    let parker = Arc::new(P::Parker::new("poller"));
    let mut entry = shared.register(Kind::Persistent, &parker);
    entry.arm();
    let mut taken = 0;
    loop {
        taken += shared.ring.drain();
        if taken == COMPLETIONS {
            break;
        }
        parker.park();
    }
    join([producer]);
}

/// The producer's mailbox for task work: the poller's request for activation.
struct TaskWork<P: Primitives> {
    asked: P::Mutex<bool>,
    parker: P::Parker,
}

fn activation<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) {
    let task_work = Arc::new(TaskWork::<P> {
        asked: P::Mutex::new("task work", false),
        parker: P::Parker::new("producer"),
    });
    let producer = P::spawn("producer", {
        let (shared, task_work) = (shared.clone(), task_work.clone());
        move || {
            let activated = P::Atomic::new("activated", 0);
            let activate_if_asked = || {
                if activated.load(Relaxed) == 0 && task_work.asked.with(std::mem::take) {
                    activated.store(1, Relaxed);
                    shared.poll_wq.broadcast();
                }
            };
            for _ in 0..COMPLETIONS {
                activate_if_asked();
                shared.ring.commit();
                if activated.load(Relaxed) == 1 {
                    shared.poll_wq.notify_all();
                }
            }
            // Task work always runs in the end.
            loop {
                activate_if_asked();
                if activated.load(Relaxed) == 1 {
                    break;
                }
                task_work.parker.park();
            }
        }
    });

    let parker = Arc::new(P::Parker::new("poller"));
    let mut entry = shared.register(Kind::Shared, &parker);
    task_work.asked.with(|asked| *asked = true);
    task_work.parker.unpark();
    let mut taken = 0;
    while taken < COMPLETIONS {
        sleep_until_readable(&shared, &mut entry, &parker);
        taken += shared.ring.drain();
    }
    join([producer]);
}

fn passer_by<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) {
    let producer = producer(shared.clone());
    let passer_by = P::spawn("passer-by", {
        let shared = shared.clone();
        move || {
            let parker = Arc::new(P::Parker::new("passer-by"));
            let mut entry = shared.register(Kind::Shared, &parker);
            entry.arm();
            shared.ring.readable();
        }
    });
    let parker = Arc::new(P::Parker::new("poller"));
    let mut entry = shared.register(Kind::Shared, &parker);
    let mut taken = 0;
    while taken < COMPLETIONS {
        sleep_until_readable(&shared, &mut entry, &parker);
        taken += shared.ring.drain();
    }
    join([producer, passer_by]);
}

fn exclusive_pair<P: Primitives, G: WakeOne>(shared: Arc<Shared<P, G>>) {
    fn worker<P: Primitives, G: WakeOne>(shared: &Shared<P, G>, name: &'static str) {
        let parker = Arc::new(P::Parker::new(name));
        let mut entry = shared.register(Kind::Exclusive, &parker);
        loop {
            entry.arm();
            if shared.ring.claim() {
                break;
            }
            parker.park();
        }
    }
    let other = P::spawn("worker 2", {
        let shared = shared.clone();
        move || worker(&shared, "worker 2")
    });
    let producer = P::spawn("producer", {
        let shared = shared.clone();
        move || {
            for _ in 0..COMPLETIONS {
                shared.ring.commit();
                shared.poll_wq.notify_one();
            }
        }
    });
    worker(&shared, "worker 1");
    join([other, producer]);
}

/// Polls, and sleeps while there is nothing: from the arm to the sleep, again and again.
fn sleep_until_readable<P: Primitives, G: WakeOne>(
    shared: &Shared<P, G>,
    entry: &mut Waiter<P, G>,
    parker: &Arc<P::Parker>,
) {
    loop {
        entry.arm();
        if shared.ring.readable() {
            return;
        }
        parker.park();
    }
}

fn join<H: JoinHandle>(threads: impl IntoIterator<Item = H>) {
    for thread in threads {
        thread.join().expect("a thread of the scenario panicked");
    }
}
