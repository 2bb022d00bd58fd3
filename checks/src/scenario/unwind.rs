//! Foreign code that panics, at each place where the library calls it: nothing of anybody else's is lost with it.
//!
//! What keeps a panic from going further are [guards](crate::flavour::weakened::Operation::Guard). Each is taken out in
//! turn, and one of these scenarios loses something then.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::{Context, Poll, Wake, Waker};

use reveille::completion::CompletionQueue;
use reveille::gate::PerEntry;
use reveille::pool::{Config, Context as Job, Layout, Outcome, Pool, Shutdown, Work};
use reveille::run_queue::{Queued, Ready};
use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::Scenario;
use crate::engine::AnyScenario;
use crate::flavour::ScriptedPanic;

/// Whose code panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwinding {
    /// The waker of one of two waiters; the other one is to be woken all the same.
    Waker,
    /// The waker of the next waiter, to which one that has found something passes its wake on: what was found stays found.
    NextWaker(Form),
    /// A look, and the waker to which its wake is passed on; there was a second wake, and it reaches the third waiter.
    LookAndWaker,
    /// The destructor of a completion, the one of this number, when a queue is dropped.
    Completion(usize),
    /// The destructor of a job that is cancelled while it waits.
    CancelledJob,
    /// The destructor of a job that comes after the end.
    RefusedJob,
    /// The receiver of an outcome.
    Receiver,
    /// The destructor of a waker that another one takes the place of, in the handle of a job.
    ReplacedWaker,
    /// A job in a blocked region: its slot comes back.
    Blocked,
    /// A task, polled with another one of its batch.
    Task(Held),
}

/// How a wait is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Form {
    Blocking,
    Future,
}

/// Where an executor holds the tasks that it has taken from its run queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// In the [place](Ready) that the library has for them.
    InPlace,
    /// In a local variable, which goes when a poll unwinds: a mistake.
    OnStack,
}

impl Unwinding {
    /// All that are to pass.
    pub const ALL: [Self; 14] = [
        Self::Waker,
        Self::NextWaker(Form::Blocking),
        Self::NextWaker(Form::Future),
        Self::LookAndWaker,
        Self::Completion(0),
        Self::Completion(1),
        Self::Completion(2),
        Self::Completion(COMPLETIONS), // none
        Self::CancelledJob,
        Self::RefusedJob,
        Self::Receiver,
        Self::ReplacedWaker,
        Self::Blocked,
        Self::Task(Held::InPlace),
    ];
}

impl Scenario for Unwinding {
    fn name(&self) -> String {
        match self {
            Self::Waker => "a waker panics".into(),
            Self::NextWaker(form) => format!("the next waker panics, {form:?}"),
            Self::LookAndWaker => "a look and the next waker panic".into(),
            Self::Completion(n) => format!("the destructor of completion {n} panics"),
            Self::CancelledJob => "the destructor of a cancelled job panics".into(),
            Self::RefusedJob => "the destructor of a refused job panics".into(),
            Self::Receiver => "the receiver of an outcome panics".into(),
            Self::ReplacedWaker => "the destructor of a waker panics".into(),
            Self::Blocked => "a job panics in a blocked region".into(),
            Self::Task(held) => format!("a task panics, its batch is {held:?}"),
        }
    }

    fn run<P: Primitives>(&self) {
        match *self {
            Self::Waker => waker::<P>(),
            Self::NextWaker(form) => next_waker::<P>(form),
            Self::LookAndWaker => look_and_waker::<P>(),
            Self::Completion(panics) => completion::<P>(panics),
            Self::CancelledJob => cancelled_job::<P>(),
            Self::RefusedJob => refused_job::<P>(),
            Self::Receiver => receiver::<P>(),
            Self::ReplacedWaker => replaced_waker::<P>(),
            Self::Blocked => blocked::<P>(),
            Self::Task(held) => task::<P>(held),
        }
    }
}

/// The scenarios of this file.
pub fn unwinding() -> Vec<AnyScenario> {
    Unwinding::ALL.map(AnyScenario::new).into()
}

/// A waker that panics when it is called.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        ScriptedPanic::panic();
    }
}

fn panicking() -> Waker {
    Arc::new(Panicking).into()
}

/// Panics when it is dropped, unless it is told not to.
struct Drops {
    panics: bool,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Drops {
    fn drop(&mut self) {
        // Ordinary memory: a thread has been joined before it is read.
        self.dropped.fetch_add(1, Relaxed);
        if self.panics && !std::thread::panicking() {
            ScriptedPanic::panic();
        }
    }
}

fn waker<P: Primitives>() {
    let queue = Arc::new(WaitQueue::<P, PerEntry>::new());
    let news = Arc::new(P::Atomic::new("news", 0));
    let notifier = P::spawn("notifier", {
        let (queue, news) = (queue.clone(), news.clone());
        move || {
            // In front of the other one, if that has armed.
            let mut first = queue.register(Kind::Shared, panicking());
            first.arm();
            news.store(1, Release);
            let told = P::catch(|| queue.notify_all());
            assert!(told.is_err(), "the first waiter's waker panics, and that is its caller's to know");
        }
    });
    queue.wait_until(Kind::Shared, || (news.load(Acquire) == 1).then_some(()));
    notifier.join().expect("it was caught");
}

fn next_waker<P: Primitives>(form: Form) {
    let queue = Arc::new(WaitQueue::<P, PerEntry>::new());
    let news = Arc::new(P::Atomic::new("news", 0));
    let notifier = P::spawn("notifier", {
        let (queue, news) = (queue.clone(), news.clone());
        move || {
            // Behind the other one, or before it; then it takes the wake itself.
            let mut next = queue.register(Kind::Exclusive, panicking());
            next.arm();
            news.store(1, Release);
            let _ = P::catch(|| queue.notify_one());
            let _ = P::catch(|| next.disarm());
        }
    });
    let look = || (news.load(Acquire) == 1).then_some(7);
    let found = match form {
        Form::Blocking => queue.wait_until(Kind::Exclusive, look),
        Form::Future => {
            let parker = Arc::new(P::Parker::new("future"));
            let waker = Waker::from(parker.clone());
            let mut future = pin!(queue.until(Kind::Exclusive, look));
            loop {
                if let Poll::Ready(found) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    break found;
                }
                parker.park();
            }
        }
    };
    assert_eq!(found, 7);
    notifier.join().expect("it was caught");
}

/// Three exclusive waiters, of which the one that armed last is told first, and two tokens. The first waiter is woken for one
/// token, arms again, is told of the other one, and its look panics: both wakes are passed on. The second one's waker panics
/// as well; it takes a token all the same. The other token is for the third one.
fn look_and_waker<P: Primitives>() {
    let queue = Arc::new(WaitQueue::<P, PerEntry>::last_first());
    let tokens = Arc::new(P::Atomic::new("tokens", 0));
    let other = P::spawn("other", {
        let (queue, tokens) = (queue.clone(), tokens.clone());
        move || {
            let mut second = queue.register(Kind::Exclusive, panicking());
            let mut first = queue.register(Kind::Exclusive, Waker::noop().clone());
            second.arm();
            first.arm();
            let put = || {
                tokens.fetch_add(1, Release);
                let _ = P::catch(|| queue.notify_one());
            };
            put();
            let panics = || {
                put();
                ScriptedPanic::panic()
            };
            let _ = P::catch(|| first.look::<()>(panics));
            drop(first);
            second.look(|| take::<P>(&tokens));
            second.disarm();
        }
    });
    queue.wait_until(Kind::Exclusive, || take::<P>(&tokens));
    other.join().expect("it was caught");
}

/// Takes a token if there is one.
fn take<P: Primitives>(tokens: &P::Atomic) -> Option<()> {
    let mut there = tokens.load(Acquire);
    while there > 0 {
        match tokens.compare_exchange(there, there - 1, AcqRel, Acquire) {
            Ok(_) => return Some(()),
            Err(now) => there = now,
        }
    }
    None
}

const COMPLETIONS: usize = 3;

/// One completion in the ring, two in the overflow list.
fn completion<P: Primitives>(panics: usize) {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (queue, consumer) = CompletionQueue::<Drops, P, PerEntry>::with_capacity(1);
    let producer = P::spawn("producer", {
        let dropped = dropped.clone();
        move || {
            let batch = (0..COMPLETIONS)
                .map(|i| Drops { panics: i == panics, dropped: dropped.clone() })
                .collect::<Vec<_>>();
            queue.publish(batch);
        }
    });
    producer.join().expect("no panic");
    drop(consumer);
    assert_eq!(dropped.load(Relaxed), COMPLETIONS, "each completion is dropped");
}

/// Uses a pool of one bounded worker.
///
/// Where something of it unwinds that should not, it is leaked: its drop would wait for workers, while a panic is on its way.
fn with_pool<P: Primitives>(body: impl FnOnce(&Pool<P, PerEntry>)) {
    // Each field is given, as for the protocols.
    let pool = Pool::new(Config {
        bounded: 1,
        unbounded: 1,
        layout: Layout::Sharded(1),
        idle_timeout: std::time::Duration::from_secs(5),
        yields: 0,
        at_once: 1,
        nap_after: 0,
    });
    if P::catch(|| body(&pool)).is_err() {
        std::mem::forget(pool);
        panic!("the panic of foreign code came out of the pool");
    }
}

/// Shuts it down: every job has an outcome, and no worker is left.
fn close<P: Primitives>(pool: &Pool<P, PerEntry>, how: Shutdown, jobs: u64) {
    pool.shutdown(how).expect("this is no job of the pool");
    let stats = pool.stats();
    let ended = stats.done + stats.panicked + stats.cancelled + stats.refused;
    assert_eq!((stats.submitted, ended), (jobs, jobs), "{stats:?}");
    for account in stats.accounts {
        assert_eq!((account.waiting, account.workers, account.blocked), (0, 0, 0), "{stats:?}");
    }
}

fn cancelled_job<P: Primitives>() {
    with_pool::<P>(|pool| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let work = Work::BOUNDED.hashed(7);
        // The second and third wait in the chain of their hash while the first one runs, or has not begun.
        let outcomes = [false, true, false].map(|panics| {
            let held = Drops { panics, dropped: dropped.clone() };
            let over = Arc::new(P::Parker::new("outcome"));
            let deliver = over.clone();
            pool.submitter().enqueue(work, move |_| forget(held), move |_: Outcome<()>| deliver.unpark());
            over
        });
        close(pool, Shutdown::Cancel, 3);
        // Each has been delivered: none of these sleeps for ever.
        outcomes.iter().for_each(|over| over.park());
    });
}

/// Runs, so that it drops nothing.
fn forget(held: Drops) {
    std::mem::forget(held);
}

fn refused_job<P: Primitives>() {
    with_pool::<P>(|pool| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let submitter = pool.submitter();
        close(pool, Shutdown::Drain, 0);
        let held = Drops { panics: true, dropped: dropped.clone() };
        let refused = Arc::new(AtomicUsize::new(0));
        let told = refused.clone();
        submitter.enqueue(
            Work::BOUNDED,
            move |_| forget(held),
            move |outcome: Outcome<()>| {
                told.fetch_add(usize::from(matches!(outcome, Outcome::Refused(_))), Relaxed);
            },
        );
        assert_eq!(
            (dropped.load(Relaxed), refused.load(Relaxed)),
            (1, 1),
            "dropped once, and its end delivered"
        );
    });
}

fn receiver<P: Primitives>() {
    with_pool::<P>(|pool| {
        pool.submitter().enqueue(Work::BOUNDED, |_| (), |_| ScriptedPanic::panic());
        let over = Arc::new(P::Parker::new("outcome"));
        let deliver = over.clone();
        pool.submitter().enqueue(Work::BOUNDED, |_| (), move |_| deliver.unpark());
        over.park();
        close(pool, Shutdown::Drain, 2);
        assert_eq!(pool.stats().started, 1, "a worker does not end with a receiver that panics");
    });
}

fn replaced_waker<P: Primitives>() {
    with_pool::<P>(|pool| {
        struct Fragile;
        impl Wake for Fragile {
            fn wake(self: Arc<Self>) {
                std::mem::forget(self);
                ScriptedPanic::panic();
            }
        }
        impl Drop for Fragile {
            fn drop(&mut self) {
                if !std::thread::panicking() {
                    ScriptedPanic::panic();
                }
            }
        }
        let mut handle = pin!(pool.spawn(Work::BOUNDED, |_| 7));
        let fragile = Waker::from(Arc::new(Fragile));
        let first = handle.as_mut().poll(&mut Context::from_waker(&fragile));
        // If it is over this is the last reference to it; else the handle has that.
        let _ = P::catch(|| drop(fragile));
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                let parker = Arc::new(P::Parker::new("handle"));
                let waker = Waker::from(parker.clone());
                loop {
                    match handle.as_mut().poll(&mut Context::from_waker(&waker)) {
                        Poll::Ready(outcome) => break outcome,
                        Poll::Pending => parker.park(),
                    }
                }
            }
        };
        assert!(matches!(outcome, Outcome::Done(7)), "{outcome:?}");
        close(pool, Shutdown::Drain, 1);
    });
}

fn blocked<P: Primitives>() {
    with_pool::<P>(|pool| {
        let over = Arc::new(P::Parker::new("outcome"));
        let deliver = over.clone();
        pool.submitter().enqueue(
            Work::BOUNDED,
            |job: &Job<'_, P, PerEntry>| job.blocking(|| ScriptedPanic::panic()),
            move |_: Outcome<()>| deliver.unpark(),
        );
        over.park();
        close(pool, Shutdown::Drain, 1);
    });
}

/// Two tasks that have been woken, of which the first one panics when it is polled. Whoever has caught that runs the
/// executor again.
fn task<P: Primitives>(held: Held) {
    struct Shared<P: Primitives> {
        queued: [Queued<P>; 2],
        run_queue: P::Mutex<Vec<usize>>,
        parker: P::Parker,
    }
    impl<P: Primitives> Shared<P> {
        fn wake(&self, task: usize) {
            if self.queued[task].woken() {
                self.run_queue.with(|tasks| tasks.push(task));
                self.parker.unpark();
            }
        }
    }
    let shared = Arc::new(Shared::<P> {
        queued: [Queued::new(), Queued::new()],
        run_queue: P::Mutex::new("run queue", Vec::new()),
        parker: P::Parker::new("executor"),
    });
    shared.wake(0);
    let waker = P::spawn("waker", {
        let shared = shared.clone();
        move || shared.wake(1)
    });
    let (mut ready, mut polled) = (Ready::default(), [0; 2]);
    let mut poll = |task: usize| {
        shared.queued[task].running();
        polled[task] += 1;
        if task == 0 {
            ScriptedPanic::panic();
        }
    };
    let mut over = 0;
    while over < 2 {
        let run = || match held {
            Held::InPlace => {
                ready.extend(shared.run_queue.with(std::mem::take));
                while let Some(task) = ready.next() {
                    poll(task);
                    over += 1;
                }
            }
            Held::OnStack => {
                for task in shared.run_queue.with(std::mem::take) {
                    poll(task);
                    over += 1;
                }
            }
        };
        match P::catch(run) {
            Err(_) => over += 1, // the first task has ended by its panic
            Ok(()) if over < 2 => shared.parker.park(),
            Ok(()) => {}
        }
    }
    waker.join().expect("no panic");
    assert_eq!(polled, [1, 1]);
}
