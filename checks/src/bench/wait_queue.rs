//! The wait queue beside other ways to wait for a condition.
//!
//! | case | an operation is | depth |
//! |---|---|---|
//! | `notify` | making a condition true and waking everybody, while nobody waits; `fence` only makes it true and fences | 0 |
//! | `ping-pong` | there and back between two threads that sleep in between | 1 |
//! | `wake-all` | waking so many threads and sleeping until the last of them has answered | how many |
//!
//! `wake-one` and `leave` are those of a [crowd](super::crowd).
//!
//! The condition is a word in all of them. What differs is how one sleeps until it has changed.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*, fence};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use event_listener::{Event, Listener};
use reveille::sync::{Native, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue, Waiter};
use tokio::sync::Notify;

use super::{Contender, Counts, Error, Line};
use crate::flavour::Timed;

pub(super) fn lines() -> Vec<Line> {
    let mut lines = vec![Line::new("fence", 0, || Ok(Idle(Fence))).in_case("notify")];
    let parts: [fn(&mut Vec<Line>); 5] =
        [ours, peer::<Event>, peer::<Notify>, peer::<StdCondvar>, peer::<ParkingLotCondvar>];
    parts.iter().for_each(|part| part(&mut lines));
    lines.extend(super::crowd::lines());
    lines.sort_by_key(|line| (line.case, line.depth));
    lines
}

/// How many threads `wake-all` wakes.
const MANY: [usize; 3] = [1, 8, 64];

fn peer<B: Bell>(lines: &mut Vec<Line>) {
    lines.push(Line::new(B::NAME, 0, || Ok(Idle(B::new()))).in_case("notify"));
    lines.push(Line::new(B::NAME, 1, Conversation::<B>::of_two).in_case("ping-pong"));
    lines.extend(
        MANY.map(|n| Line::new(B::NAME, n, move || Conversation::<B>::of_many(n)).in_case("wake-all")),
    );
}

fn ours(lines: &mut Vec<Line>) {
    type Watched = Reveille<Timed>;
    let first = lines.len();
    peer::<Reveille<Native>>(lines);
    let watch = |line: Line| match (line.case, line.depth) {
        (Some("notify"), _) => line.watched(|| Ok(Idle(Watched::new()))),
        (Some("ping-pong"), _) => line.watched(Conversation::<Watched>::of_two),
        (_, n) => line.watched(move || Conversation::<Watched>::of_many(n)),
    };
    let watched: Vec<Line> = lines.drain(first..).map(watch).collect();
    lines.extend(watched);
}

/// A way to wait for a condition.
trait Bell: Send + Sync + Sized + 'static {
    const NAME: &'static str;

    /// What a thread sleeps with, for as long as it lives.
    type Sleeper;

    fn new() -> Self;

    /// Makes a condition true and wakes all who wait.
    fn ring(&self, make_true: impl FnOnce());

    fn sleeper(bell: &Arc<Self>) -> Self::Sleeper;

    /// Sleeps until `look` is true.
    fn wait(sleeper: &mut Self::Sleeper, look: impl Fn() -> bool);
}

/// What a [`ring`](Bell::ring) costs at least: the condition and a full barrier.
struct Fence;

impl Bell for Fence {
    const NAME: &'static str = "fence";
    type Sleeper = ();

    fn new() -> Self {
        Self
    }
    fn ring(&self, make_true: impl FnOnce()) {
        make_true();
        fence(SeqCst);
    }
    fn sleeper(_: &Arc<Self>) {}
    fn wait((): &mut (), _: impl Fn() -> bool) {
        unreachable!("nobody waits for a fence")
    }
}

struct Reveille<P: Primitives>(Arc<WaitQueue<P>>);

impl<P: Primitives> Bell for Reveille<P> {
    const NAME: &'static str = "reveille";
    type Sleeper = (Waiter<P>, Arc<P::Parker>);

    fn new() -> Self {
        Self(Arc::new(WaitQueue::new()))
    }
    fn ring(&self, make_true: impl FnOnce()) {
        make_true();
        self.0.notify_all();
    }
    fn sleeper(bell: &Arc<Self>) -> Self::Sleeper {
        let parker = Arc::new(P::Parker::new("sleeper"));
        (bell.0.register(Kind::Shared, Waker::from(parker.clone())), parker)
    }
    fn wait((waiter, parker): &mut Self::Sleeper, look: impl Fn() -> bool) {
        while !look() {
            waiter.arm();
            if look() {
                return;
            }
            parker.park();
        }
    }
}

impl Bell for Event {
    const NAME: &'static str = "event-listener";
    type Sleeper = Arc<Self>;

    fn new() -> Self {
        Event::new()
    }
    fn ring(&self, make_true: impl FnOnce()) {
        make_true();
        self.notify(usize::MAX);
    }
    fn sleeper(bell: &Arc<Self>) -> Arc<Self> {
        bell.clone()
    }
    fn wait(event: &mut Arc<Self>, look: impl Fn() -> bool) {
        while !look() {
            event_listener::listener!(event => listener);
            if look() {
                return;
            }
            listener.wait();
        }
    }
}

impl Bell for Notify {
    const NAME: &'static str = "tokio-notify";
    type Sleeper = Arc<Self>;

    fn new() -> Self {
        Notify::new()
    }
    fn ring(&self, make_true: impl FnOnce()) {
        make_true();
        self.notify_waiters();
    }
    fn sleeper(bell: &Arc<Self>) -> Arc<Self> {
        bell.clone()
    }
    fn wait(notify: &mut Arc<Self>, look: impl Fn() -> bool) {
        futures_lite::future::block_on(async {
            while !look() {
                // It hears every `notify_waiters` from its making on, before it is polled.
                let notified = notify.notified();
                if look() {
                    return;
                }
                notified.await;
            }
        });
    }
}

#[derive(Default)]
struct StdCondvar(std::sync::Mutex<()>, std::sync::Condvar);

impl Bell for StdCondvar {
    const NAME: &'static str = "std-condvar";
    type Sleeper = Arc<Self>;

    fn new() -> Self {
        Self::default()
    }
    fn ring(&self, make_true: impl FnOnce()) {
        let guard = self.0.lock().expect("nobody panics under it");
        make_true();
        drop(guard);
        self.1.notify_all();
    }
    fn sleeper(bell: &Arc<Self>) -> Arc<Self> {
        bell.clone()
    }
    fn wait(bell: &mut Arc<Self>, look: impl Fn() -> bool) {
        let guard = bell.0.lock().expect("nobody panics under it");
        drop(bell.1.wait_while(guard, |()| !look()).expect("nobody panics under it"));
    }
}

#[derive(Default)]
struct ParkingLotCondvar(parking_lot::Mutex<()>, parking_lot::Condvar);

impl Bell for ParkingLotCondvar {
    const NAME: &'static str = "parking_lot-condvar";
    type Sleeper = Arc<Self>;

    fn new() -> Self {
        Self::default()
    }
    fn ring(&self, make_true: impl FnOnce()) {
        let guard = self.0.lock();
        make_true();
        drop(guard);
        self.1.notify_all();
    }
    fn sleeper(bell: &Arc<Self>) -> Arc<Self> {
        bell.clone()
    }
    fn wait(bell: &mut Arc<Self>, look: impl Fn() -> bool) {
        bell.1.wait_while(&mut bell.0.lock(), |()| !look());
    }
}

/// Nobody waits.
struct Idle<B>(B);

impl<B: Bell> Contender for Idle<B> {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let (condition, bell) = (AtomicU64::new(0), black_box(&self.0));
        let mut submitted = 0;
        let start = Instant::now();
        // Once at least, if the time was over before it began.
        while submitted == 0 || start.elapsed() < time {
            for _ in 0..1_000 {
                submitted += 1;
                bell.ring(|| black_box(&condition).store(submitted, Relaxed));
            }
        }
        Ok(Counts { submitted, completed: condition.load(Relaxed), ..Counts::default() })
    }
}

/// One thread calls, and others sleep until it does. The last of them to hear it answers, for which the caller sleeps.
struct Conversation<B: Bell> {
    wire: Arc<Wire<B>>,
    caller: B::Sleeper,
    others: Vec<JoinHandle<()>>,
}

struct Wire<B> {
    /// Counts the calls; [`HANG_UP`] is the last.
    call: CachePadded<AtomicU64>,
    /// By how many others a call was heard, summed over the calls.
    heard: CachePadded<AtomicU64>,
    /// The last call that all have heard.
    answer: CachePadded<AtomicU64>,
    others: Arc<B>,
    caller: Arc<B>,
}

const HANG_UP: u64 = u64::MAX;

impl<B: Bell> Conversation<B> {
    /// Two threads that share a bell.
    fn of_two() -> Result<Self, Error> {
        let bell = Arc::new(B::new());
        Self::new(1, bell.clone(), bell)
    }

    /// A caller and `n` others, with a bell for either side.
    fn of_many(n: usize) -> Result<Self, Error> {
        Self::new(n, Arc::new(B::new()), Arc::new(B::new()))
    }

    fn new(n: usize, others: Arc<B>, caller: Arc<B>) -> Result<Self, Error> {
        let word = || CachePadded::new(AtomicU64::new(0));
        let sleeper = B::sleeper(&caller);
        let wire = Arc::new(Wire { call: word(), heard: word(), answer: word(), others, caller });
        let other = || {
            let wire = wire.clone();
            std::thread::Builder::new().name("other".into()).spawn(move || wire.listen(n as u64))
        };
        let others = (0..n).map(|_| other()).collect::<Result<_, _>>()?;
        Ok(Self { wire, caller: sleeper, others })
    }
}

impl<B: Bell> Wire<B> {
    // The orderings carry what the words stand for, as they would in a program; the counts would be right without.
    fn listen(&self, n: u64) {
        let mut sleeper = B::sleeper(&self.others);
        let mut last = 0;
        loop {
            B::wait(&mut sleeper, || self.call.load(Acquire) != last);
            last = self.call.load(Acquire);
            if last == HANG_UP {
                return;
            }
            if self.heard.fetch_add(1, AcqRel) + 1 == last * n {
                self.caller.ring(|| self.answer.store(last, Release));
            }
        }
    }
}

impl<B: Bell> Contender for Conversation<B> {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let (wire, start) = (&self.wire, Instant::now());
        let first = wire.call.load(Relaxed);
        let mut call = first;
        while call == first || call % 16 != 0 || start.elapsed() < time {
            call += 1;
            wire.others.ring(|| wire.call.store(call, Release));
            B::wait(&mut self.caller, || wire.answer.load(Acquire) == call);
        }
        let n = self.others.len() as u64;
        let completed = wire.heard.load(Relaxed) / n - first;
        Ok(Counts { submitted: call - first, completed, ..Counts::default() })
    }
}

impl<B: Bell> Drop for Conversation<B> {
    fn drop(&mut self) {
        self.wire.others.ring(|| self.wire.call.store(HANG_UP, Release));
        for other in self.others.drain(..) {
            let _ = other.join();
        }
    }
}
