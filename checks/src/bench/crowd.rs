//! A wait queue with many waiters in it: does an operation cost more than with few?
//!
//! | case | an operation is | depth |
//! |---|---|---|
//! | `wake-one` | the oldest of the waiters is woken, and enters again | how many wait |
//! | `leave` | one of the waiters leaves, a random one, and another one enters | how many wait |
//!
//! One thread does it all: what is measured is the list, not sleep. With many waiters each operation fetches from memory what with
//! few is in a cache.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener};
use reveille::wait_queue::{Kind, WaitQueue, Waiter};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Contender, Counts, Error, Line};

/// How many wait. Few of them, and as many as in a test of other runtimes.
const WAITERS: [usize; 3] = [10, 1_000, 100_000];

pub(super) fn lines() -> Vec<Line> {
    fn of<Q: Queue>(lines: &mut Vec<Line>) {
        for n in WAITERS {
            lines.push(Line::new(Q::NAME, n, move || Ok(WakeOne(Crowd::<Q>::new(n)))).in_case("wake-one"));
            lines.push(Line::new(Q::NAME, n, move || Ok(Leave(Crowd::<Q>::new(n)))).in_case("leave"));
        }
    }
    let mut lines = Vec::new();
    [of::<WaitQueue>, of::<Event>, of::<Notify>].iter().for_each(|of| of(&mut lines));
    lines
}

/// A queue of waiters of which a wake takes one.
trait Queue: 'static {
    const NAME: &'static str;

    /// Leaves when it is dropped.
    type Waiter;

    fn new() -> Arc<Self>;
    fn enter(queue: &Arc<Self>) -> Self::Waiter;
    fn wake_one(&self);

    /// Whether it has been woken.
    fn is_woken(waiter: &mut Self::Waiter) -> bool;
}

impl Queue for WaitQueue {
    const NAME: &'static str = "reveille";
    type Waiter = (Waiter, Arc<Woken>);

    fn new() -> Arc<Self> {
        Arc::default()
    }
    fn enter(queue: &Arc<Self>) -> Self::Waiter {
        let woken = Arc::<Woken>::default();
        let mut waiter = queue.register(Kind::Exclusive, Waker::from(woken.clone()));
        waiter.arm();
        (waiter, woken)
    }
    fn wake_one(&self) {
        self.notify_one();
    }
    fn is_woken((_, woken): &mut Self::Waiter) -> bool {
        woken.0.load(Relaxed)
    }
}

/// A waker that remembers.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Queue for Event {
    const NAME: &'static str = "event-listener";
    type Waiter = EventListener;

    fn new() -> Arc<Self> {
        Arc::new(Event::new())
    }
    fn enter(queue: &Arc<Self>) -> EventListener {
        queue.listen()
    }
    fn wake_one(&self) {
        self.notify_additional(1);
    }
    fn is_woken(waiter: &mut EventListener) -> bool {
        Pin::new(waiter).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

impl Queue for Notify {
    const NAME: &'static str = "tokio";
    type Waiter = Pin<Box<OwnedNotified>>;

    fn new() -> Arc<Self> {
        Arc::default()
    }
    fn enter(queue: &Arc<Self>) -> Self::Waiter {
        let mut waiter = Box::pin(queue.clone().notified_owned());
        waiter.as_mut().enable();
        waiter
    }
    fn wake_one(&self) {
        self.notify_one();
    }
    fn is_woken(waiter: &mut Self::Waiter) -> bool {
        waiter.as_mut().enable()
    }
}

/// So many waiters, in the order in which they have entered.
struct Crowd<Q: Queue> {
    queue: Arc<Q>,
    waiters: VecDeque<Q::Waiter>,
}

impl<Q: Queue> Crowd<Q> {
    fn new(n: usize) -> Self {
        let queue = Q::new();
        let waiters = (0..n).map(|_| Q::enter(&queue)).collect();
        Self { queue, waiters }
    }
}

/// How often the clock is looked at: once in so many operations.
const BURST: u64 = 1_000;

struct WakeOne<Q: Queue>(Crowd<Q>);

impl<Q: Queue> Contender for WakeOne<Q> {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let Crowd { queue, waiters } = &mut self.0;
        let (mut submitted, mut completed) = (0, 0);
        let start = Instant::now();
        while submitted == 0 || start.elapsed() < time {
            for _ in 0..BURST {
                queue.wake_one();
                let mut oldest = waiters.pop_front().expect("there are always as many");
                completed += u64::from(Q::is_woken(&mut oldest));
                drop(oldest);
                waiters.push_back(Q::enter(queue));
            }
            submitted += BURST;
        }
        Ok(Counts { submitted, completed, ..Counts::default() })
    }
}

struct Leave<Q: Queue>(Crowd<Q>);

impl<Q: Queue> Contender for Leave<Q> {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let Crowd { queue, waiters } = &mut self.0;
        let (mut random, mut submitted) = (fastrand::Rng::with_seed(1), 0);
        let start = Instant::now();
        while submitted == 0 || start.elapsed() < time {
            for _ in 0..BURST {
                let leaves = random.usize(..waiters.len());
                waiters[leaves] = Q::enter(queue);
            }
            submitted += BURST;
        }
        // Nobody was to be woken.
        let woken = waiters.iter_mut().filter_map(|waiter| Q::is_woken(waiter).then_some(())).count() as u64;
        Ok(Counts { submitted, completed: submitted - woken, ..Counts::default() })
    }
}
