//! Jobs, what they hold and return, the receivers of their outcomes, wakers of handles, predicates of cancellations.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use reveille::pool::{AccountName, Batch, Config, Handle, Outcome, Pool, Shutdown, Submitter, Token, Work};

use super::{Dice, Item, Tally, caught, reaches, rude};

const IN_FLIGHT: u64 = 2048;
const SUBMITTERS: u64 = 2;
const WORKERS: usize = 4;

#[derive(Default)]
struct Endings {
    /// By what their receivers were told: done, panicked, cancelled, refused
    told: [AtomicU64; 4],
    /// How many jobs there are to come to an end, but for those whose handles nobody has asked
    jobs: AtomicU64,
    stalled: AtomicBool,
}

impl Endings {
    fn count<T>(&self, outcome: &Outcome<T>) {
        let ending = match outcome {
            Outcome::Done(_) => 0,
            Outcome::Panicked(_) => 1,
            Outcome::Cancelled => 2,
            Outcome::Refused(_) => 3,
        };
        self.told[ending].fetch_add(1, Relaxed);
    }

    fn get(&self) -> [u64; 4] {
        self.told.each_ref().map(|count| count.load(Relaxed))
    }

    fn sum(&self) -> u64 {
        self.get().iter().sum()
    }
}

pub(super) fn run(dice: &Dice, operations: u64, deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    let endings = Arc::new(Endings::default());
    let idle_timeout = Duration::from_millis(1);
    let pool = Pool::new(Config { bounded: WORKERS, unbounded: WORKERS, idle_timeout, ..Config::default() });
    let handles = std::thread::scope(|scope| {
        let submit = || submit(dice, operations / SUBMITTERS, deadline, &pool.submitter(), &endings);
        let submitters: Vec<_> = (0..SUBMITTERS).map(|_| scope.spawn(submit)).collect();
        let ended: Vec<_> = submitters.into_iter().map(|submitter| submitter.join()).collect();
        tally.check(ended.iter().all(|ended| ended.is_ok()), || "a submission panicked".into());
        ended.into_iter().filter_map(Result::ok).flatten().collect::<Vec<_>>()
    });
    let jobs = endings.jobs.load(Relaxed);
    tally.operations = jobs + handles.len() as u64;
    let stalled = endings.stalled.load(Relaxed) || dice.one_in(2) && !reaches(jobs, || endings.sum());
    if stalled {
        // Its workers sleep or are lost, and a shutdown would wait for them: they are left as they are.
        tally.faults.push(format!("stalled: {:?} of {jobs} jobs have an outcome", endings.get()));
        std::mem::forget(pool);
        return tally;
    }
    let shutdown = caught(|| pool.shutdown(Shutdown::Cancel));
    tally.check(shutdown.is_some_and(|ended| ended.is_ok()), || "a shutdown panicked".into());
    let received = endings.sum();
    tally.check(received == jobs, || format!("{received} outcomes of {jobs} jobs"));
    for handle in handles {
        match pin!(handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => {
                endings.count(&outcome);
                caught(|| drop(outcome));
            }
            Poll::Pending => tally.faults.push("a handle without an outcome, after the shutdown".into()),
        }
    }
    let stats = pool.stats();
    let counted = [stats.done, stats.panicked, stats.cancelled, stats.refused];
    let seen = endings.get();
    tally.check(counted == seen, || format!("the pool counts {counted:?}, and its users {seen:?}"));
    tally.check(stats.accounts.iter().all(|account| account.workers == 0 && account.waiting == 0), || {
        format!("something is left: {stats:?}")
    });
    tally
}

/// The handles, whose outcomes nobody has taken.
fn submit(
    dice: &Dice,
    operations: u64,
    deadline: Instant,
    pool: &Submitter,
    endings: &Arc<Endings>,
) -> Vec<Handle<Item>> {
    let (mut jobs, mut kept) = (0, Vec::new());
    while jobs < operations && Instant::now() < deadline {
        if !reaches(endings.jobs.load(Relaxed).saturating_sub(IN_FLIGHT), || endings.sum()) {
            endings.stalled.store(true, Relaxed);
            break;
        }
        let mut tokens = Vec::new();
        let mut batch = pool.batch();
        for _ in 0..=dice.roll(16) {
            tokens.push(enqueue(&mut batch, dice, endings));
            jobs += 1;
        }
        endings.jobs.fetch_add(tokens.len() as u64, Relaxed);
        if kept.len() < 1000 {
            let (dice, held) = (dice.clone(), dice.item());
            kept.push(batch.spawn(Work::BOUNDED, move |_| {
                dice.callback();
                drop(held); // not at the end: a local's destructor that panics then leaks what is returned
                dice.item()
            }));
            jobs += 1;
        }
        batch.submit();
        match dice.roll(8) {
            0 => _ = caught(|| tokens[dice.roll(tokens.len() as u64) as usize].cancel()),
            1 => {
                caught(|| {
                    pool.cancel_where(|work| {
                        dice.callback();
                        work.tag.is_some_and(|tag| tag % 4 == 0)
                    })
                });
            }
            2 => pool.resize(AccountName::ALL[dice.roll(2) as usize], 1 + dice.roll(WORKERS as u64) as usize),
            _ => {}
        }
        let i = dice.roll(kept.len() as u64) as usize;
        let waker = rude(dice, Waker::noop().clone());
        match caught(|| pin!(&mut kept[i]).poll(&mut Context::from_waker(&waker))) {
            // Taken: it is one of the others now.
            Some(Poll::Ready(outcome)) => {
                endings.count(&outcome);
                endings.jobs.fetch_add(1, Relaxed);
                caught(|| drop(outcome));
                drop(kept.swap_remove(i));
            }
            Some(Poll::Pending) | None => {}
        }
        caught(|| drop(waker));
    }
    kept
}

fn enqueue(batch: &mut Batch<'_>, dice: &Dice, endings: &Arc<Endings>) -> Token {
    let account = AccountName::ALL[dice.roll(2) as usize];
    let hash = dice.one_in(4).then(|| dice.roll(16));
    let tag = dice.one_in(4).then(|| dice.roll(16));
    let (held, kept) = (dice.item(), dice.item());
    let (running, settling, endings) = (dice.clone(), dice.clone(), endings.clone());
    batch.enqueue(
        Work { account, hash, tag },
        move |context| {
            if running.one_in(16) {
                context.blocking(|| running.callback());
            }
            running.callback();
            drop(held);
            running.item()
        },
        move |outcome| {
            let _kept = kept;
            endings.count(&outcome);
            settling.callback();
        },
    )
}
