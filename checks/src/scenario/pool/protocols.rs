//! One function a protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use reveille::gate::WakeOne;
use reveille::pool::{AccountName, Batch, Cancel, Cancelled, Config, Context, Layout, Pool, Shutdown, Work};
use reveille::sync::{Atomic, Cell, JoinHandle, Parker, Primitives};

use super::desk::{Desk, Ending};
use super::{Misuse, PoolScenario, Protocol};
use crate::flavour::ScriptedPanic;
use crate::flavour::script;

/// One execution.
pub(super) fn run<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    match scenario.protocol {
        Protocol::EnqueueIdle => enqueue_idle::<P, G>(scenario),
        Protocol::ShardScan => shard_scan::<P, G>(scenario),
        Protocol::Searching => searching::<P, G>(scenario),
        Protocol::Sparing => sparing::<P, G>(scenario),
        Protocol::Napping => napping::<P, G>(scenario),
        Protocol::Timeout => timeout::<P, G>(scenario),
        Protocol::Hash => hash::<P, G>(scenario),
        Protocol::Exit => exit::<P, G>(scenario),
        Protocol::Cancel => cancel::<P, G>(scenario),
        Protocol::TwoIdle => two_idle::<P, G>(scenario),
        Protocol::Maximum => maximum::<P, G>(scenario),
        Protocol::Blocking => blocking::<P, G>(scenario),
        Protocol::Panic => panic::<P, G>(scenario),
        Protocol::NoThread => no_thread::<P, G>(scenario),
        Protocol::Nested => nested::<P, G>(scenario),
        Protocol::Resize => resize::<P, G>(scenario),
        Protocol::Mixture => mixture::<P, G>(scenario),
    }
}

/// A pool with so many bounded workers at most, one unbounded, and so many lists, and the desk that holds it to that.
fn set_up<P: Primitives, G: WakeOne>(
    scenario: &PoolScenario<G>,
    bounded: usize,
    lists: usize,
) -> (Pool<P, G>, Arc<Desk<P>>) {
    let layout = scenario.layout.unwrap_or(Layout::Sharded(lists));
    // Each field is given: the default asks the system for its processors, which costs more than the rest of an execution.
    let mut config = Config {
        bounded,
        unbounded: 1,
        layout,
        idle_timeout: Duration::from_secs(5),
        yields: 16,
        at_once: 1,
        nap_after: usize::from(scenario.protocol == Protocol::Napping),
    };
    let desk = Desk::new(&config);
    if scenario.misuse == Some(Misuse::OneTooMany) {
        config.bounded += 1;
    }
    (Pool::new(config), desk)
}

/// A job that has nothing to do.
fn nothing<P: Primitives, G: WakeOne>(_: &Context<'_, P, G>) {}

fn enqueue_idle<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let (first, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    first.wait();
    // The worker goes idle now.
    let (second, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    second.wait();
    desk.close(&pool, Shutdown::Drain);
}

fn shard_scan<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 2);
    let (first, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    first.wait();
    // The next list, which is not the one that the worker begins with.
    let (second, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    second.wait();
    desk.close(&pool, Shutdown::Drain);
}

/// A batch of two jobs, of which the first one waits for the second: it takes two workers.
fn pair<P: Primitives, G: WakeOne>(
    pool: &Pool<P, G>,
    desk: &Arc<Desk<P>>,
    signal: &Arc<P::Parker>,
    submit: impl FnOnce(Batch<'_, P, G>),
) {
    let mut batch = pool.batch();
    let (first, _) = desk.add(&mut batch, Work::BOUNDED, wait_for(signal));
    let (second, _) = desk.add(&mut batch, Work::BOUNDED, send(signal));
    submit(batch);
    first.wait();
    second.wait();
}

fn searching<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 2, 1);
    let signal = Arc::new(P::Parker::new("first job"));
    for _ in 0..2 {
        pair(&pool, &desk, &signal, |batch| batch.submit());
    }
    desk.close(&pool, Shutdown::Drain);
}

fn sparing<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 2, 1);
    let submit = |batch: Batch<'_, P, G>| match scenario.misuse {
        Some(Misuse::SparedForGood) => std::mem::forget(batch.submit_sparingly()),
        _ => drop(batch.submit_sparingly()),
    };
    let signal = Arc::new(P::Parker::new("first job"));
    pair(&pool, &desk, &signal, submit);
    // Both workers go idle now. Somebody who spares no wakes may see that one of them searches.
    let other = P::spawn("other submitter", {
        let (desk, submitter, signal) = (desk.clone(), pool.submitter(), signal.clone());
        move || drop(desk.enqueue(&submitter, Work::BOUNDED, send(&signal)))
    });
    let mut batch = pool.batch();
    let (first, _) = desk.add(&mut batch, Work::BOUNDED, wait_for(&signal));
    submit(batch);
    first.wait();
    other.join().expect("no panic");
    desk.close(&pool, Shutdown::Drain);
}

fn napping<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 2, 1);
    let mut batch = pool.batch();
    // One worker may do both. The other one has been started for nothing then, and naps.
    let jobs = [(); 2].map(|()| desk.add(&mut batch, Work::BOUNDED, nothing).0);
    batch.submit();
    for job in jobs {
        job.wait();
    }
    pair(&pool, &desk, &Arc::new(P::Parker::new("first job")), |batch| batch.submit());
    desk.close(&pool, Shutdown::Drain);
}

fn timeout<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 2, 1);
    // The worker that has run this one has nothing to do, and leaves when its time is over, …
    let (first, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    // … while this one needs it, or its place.
    let (second, _) = desk.enqueue(&pool, Work::BOUNDED, waits_for_another(&desk));
    assert_eq!((first.wait(), second.wait()), (Ending::Done, Ending::Done));
    desk.close(&pool, Shutdown::Drain);
}

/// The body of a job that enqueues another one and waits for it.
fn waits_for_another<P: Primitives, G: WakeOne>(
    desk: &Arc<Desk<P>>,
) -> impl FnOnce(&Context<'_, P, G>) + Send + 'static {
    let desk = desk.clone();
    move |context| {
        let signal = Arc::new(P::Parker::new("first job"));
        desk.enqueue(&context.submitter(), Work::BOUNDED, send(&signal));
        signal.park();
    }
}

/// The body of a job that sleeps until another job sends the signal.
fn wait_for<P: Primitives, G: WakeOne>(
    signal: &Arc<P::Parker>,
) -> impl FnOnce(&Context<'_, P, G>) + Send + 'static {
    let signal = signal.clone();
    move |_| signal.park()
}

/// The body of that other job.
fn send<P: Primitives, G: WakeOne>(
    signal: &Arc<P::Parker>,
) -> impl FnOnce(&Context<'_, P, G>) + Send + 'static {
    let signal = signal.clone();
    move |_| signal.unpark()
}

/// What jobs work on of which one may run at a time: whoever is in there must be alone, and sees what the one before
/// has left.
struct Workbench<P: Primitives> {
    /// Ordinary memory, as the desk's ledger is: a lock of the pool orders the jobs.
    inside: AtomicUsize,
    overlapped: AtomicBool,
    done: P::Cell<Vec<usize>>,
    step: P::Atomic,
}

impl<P: Primitives> Workbench<P> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inside: AtomicUsize::new(0),
            overlapped: AtomicBool::new(false),
            done: P::Cell::new("workbench", Vec::new()),
            step: P::Atomic::new("step", 0),
        })
    }

    fn work(&self, turn: usize) {
        if self.inside.fetch_add(1, Relaxed) > 0 {
            self.overlapped.store(true, Relaxed);
        }
        // Where an engine may switch to another thread.
        self.step.fetch_add(1, Relaxed);
        // SAFETY: these jobs run one at a time; that they do is what is checked, by the count just above, and by loom
        // and the exact engine, which report it if they are not ordered. If they do not, an engine switches threads at
        // its operations only.
        self.done.with_mut(|done| unsafe { (*done).push(turn) });
        self.inside.fetch_sub(1, Relaxed);
    }

    /// Which turns there were, once all jobs are over.
    fn turns(&self) -> Vec<usize> {
        // SAFETY: the jobs are over.
        let turns = self.done.with(|done| unsafe { (*done).clone() });
        assert!(!self.overlapped.load(Relaxed), "two jobs overlapped of which one may run at a time");
        turns
    }
}

fn hash<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let bench = Workbench::<P>::new();
    let mut enqueue = {
        let hash =
            |work: Work| if scenario.misuse == Some(Misuse::HashIgnored) { work } else { work.hashed(7) };
        let (pool, desk, bench, mut turn) = (&pool, &desk, &bench, 0);
        move |work: Work| {
            let (bench, this) = (bench.clone(), turn);
            turn += 1;
            desk.enqueue(pool, hash(work), move |_| bench.work(this)).0
        }
    };
    let jobs = [Work::BOUNDED, Work::UNBOUNDED, Work::BOUNDED].map(&mut enqueue);
    for job in jobs {
        assert_eq!(job.wait(), Ending::Done);
    }
    desk.close(&pool, Shutdown::Drain);
    assert_eq!(bench.turns(), [0, 1, 2], "the jobs of a hash ran out of order");
}

fn exit<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let jobs = [Work::BOUNDED, Work::UNBOUNDED].map(|work| desk.enqueue(&pool, work, nothing).0);
    for job in jobs {
        job.wait();
    }
    // Both workers go idle now.
    desk.close(&pool, Shutdown::Drain);
}

fn cancel<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let work = Work::BOUNDED.hashed(7);
    let (first, token) = desk.enqueue(&pool, work.tagged(1), nothing);
    let (second, _) = desk.enqueue(&pool, work.tagged(2), nothing);
    let (third, _) = desk.enqueue(&pool, work, nothing);
    let by_token = token.cancel();
    let by_predicate = pool.cancel_where(|work| work.tag == Some(2));
    // A job that was not found has gone through all the locks under which it was looked for: it has begun before.
    let found = by_predicate != Cancelled::default() || second.ran();
    let ending = first.wait();
    let expected = if by_token == Cancel::BeforeItRan { Ending::Cancelled } else { Ending::Done };
    assert_eq!(ending, expected, "the cancellation said {by_token:?}");
    let ending = second.wait();
    let expected = if by_predicate.before_they_ran == 1 { Ending::Cancelled } else { Ending::Done };
    assert_eq!(ending, expected, "the cancellation said {by_predicate:?}");
    assert_eq!(third.wait(), Ending::Done, "a job that is cancelled must not hold up its hash");
    desk.close(&pool, Shutdown::Drain);
    assert!(found, "the job was not over, and was not found");
}

fn two_idle<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 2, 1);
    let signal = Arc::new(P::Parker::new("first job"));
    for _ in 0..2 {
        let (first, _) = desk.enqueue(&pool, Work::BOUNDED, wait_for(&signal));
        let (second, _) = desk.enqueue(&pool, Work::BOUNDED, send(&signal));
        first.wait();
        second.wait();
    }
    desk.close(&pool, Shutdown::Drain);
}

fn maximum<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let bench = Workbench::<P>::new();
    let jobs = [0, 1].map(|turn| {
        let bench = bench.clone();
        desk.enqueue(&pool, Work::BOUNDED, move |_| bench.work(turn)).0
    });
    for job in jobs {
        job.wait();
    }
    desk.close(&pool, Shutdown::Drain);
    assert_eq!(bench.turns().len(), 2);
}

fn blocking<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let signal = Arc::new(P::Parker::new("first job"));
    let slot_kept = scenario.misuse == Some(Misuse::SlotKept);
    let (first, _) = desk.enqueue(&pool, Work::BOUNDED, {
        let (desk, signal) = (desk.clone(), signal.clone());
        move |context| {
            if slot_kept {
                signal.park();
            } else {
                desk.blocked(context, AccountName::Bounded, || signal.park());
            }
        }
    });
    let (second, _) = desk.enqueue(&pool, Work::BOUNDED, send(&signal));
    first.wait();
    second.wait();
    desk.close(&pool, Shutdown::Drain);
}

fn panic<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let not_caught = scenario.misuse == Some(Misuse::NotCaught);
    let (first, _) = desk.enqueue(&pool, Work::BOUNDED, move |_| {
        if not_caught {
            panic!("this panic ends the worker");
        }
        ScriptedPanic::panic()
    });
    let (second, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    assert_eq!((first.wait(), second.wait()), (Ending::Panicked, Ending::Done));
    desk.close(&pool, Shutdown::Drain);
    assert_eq!(pool.stats().started, 1, "a worker does not end with a job that panics");
}

fn no_thread<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let other = P::spawn("other submitter", {
        let (desk, submitter) = (desk.clone(), pool.submitter());
        move || drop(desk.enqueue(&submitter, Work::BOUNDED, nothing))
    });
    let (job, _) = desk.enqueue(&pool, Work::BOUNDED, nothing);
    let ending = job.wait();
    // The other one may be about to start a worker, or to refuse its job.
    pool.shutdown(Shutdown::Drain).expect("this is no job of the pool");
    other.join().expect("no panic");
    desk.close(&pool, Shutdown::Drain);
    if script::refusals() == 1 {
        assert_eq!(ending, Ending::Done, "one refusal is no reason to give up");
    }
}

fn nested<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    desk.enqueue(&pool, Work::BOUNDED, {
        let desk = desk.clone();
        move |context| drop(desk.enqueue(&context.submitter(), Work::UNBOUNDED, nothing))
    });
    let pool = Arc::new(pool);
    let other = P::spawn("other", {
        let pool = pool.clone();
        move || pool.shutdown(Shutdown::Cancel).expect("this is no job of the pool")
    });
    // Now, not when the other one has returned as well: it may have been the one that cancelled them.
    desk.close(&pool, Shutdown::Drain);
    other.join().expect("no panic");
}

fn resize<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    let (pool, desk) = set_up::<P, G>(scenario, 1, 1);
    let (job, _) = desk.enqueue(&pool, Work::BOUNDED, waits_for_another(&desk));
    desk.resized(AccountName::Bounded, 2);
    pool.resize(AccountName::Bounded, 2);
    job.wait();
    desk.close(&pool, Shutdown::Drain);
}

fn mixture<P: Primitives, G: WakeOne>(scenario: &PoolScenario<G>) {
    const SUBMITTERS: usize = 3;
    let (pool, desk) = set_up::<P, G>(scenario, 3, 2);
    let bench = Workbench::<P>::new();
    let ignored = scenario.misuse == Some(Misuse::HashIgnored);
    let names: [_; SUBMITTERS] = ["submitter 1", "submitter 2", "submitter 3"];
    let threads: [_; SUBMITTERS] = std::array::from_fn(|i| {
        let (desk, submitter, bench) = (desk.clone(), pool.submitter(), bench.clone());
        P::spawn(names[i], move || {
            let signal = Arc::new(P::Parker::new("blocked job"));
            // Of one hash over all threads, in both accounts.
            let hash = |work: Work| if ignored { work } else { work.hashed(7) };
            for (turn, work) in [Work::BOUNDED, Work::UNBOUNDED].into_iter().enumerate() {
                let bench = bench.clone();
                desk.enqueue(&submitter, hash(work), move |_| bench.work(2 * i + turn));
            }
            desk.enqueue(&submitter, Work::BOUNDED, {
                let (desk, signal) = (desk.clone(), signal.clone());
                move |context| desk.blocked(context, AccountName::Bounded, || signal.park())
            });
            desk.enqueue(&submitter, Work::UNBOUNDED, |_| ScriptedPanic::panic());
            desk.enqueue(&submitter, Work::BOUNDED, {
                let desk = desk.clone();
                move |context| drop(desk.enqueue(&context.submitter(), Work::BOUNDED.tagged(1), nothing))
            });
            submitter.cancel_where(|work| work.tag == Some(1));
            let (_, token) = desk.enqueue(&submitter, Work::UNBOUNDED.hashed(7), nothing);
            desk.enqueue(&submitter, Work::BOUNDED, send(&signal));
            token.cancel();
        })
    });
    desk.resized(AccountName::Bounded, 4);
    for max in [1, 4, 2] {
        pool.resize(AccountName::Bounded, max);
    }
    for thread in threads {
        thread.join().expect("no panic");
    }
    desk.close(&pool, Shutdown::Drain);
    let turns = bench.turns();
    for i in 0..SUBMITTERS {
        let of_one: Vec<_> = turns.iter().copied().filter(|turn| turn / 2 == i).collect();
        assert_eq!(of_one, [2 * i, 2 * i + 1], "the jobs of a hash ran out of order");
    }
}
