//! Tasks that panic when they are polled and when they are dropped, beside a main future that does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use reveille::pool::Work;
use reveille::uring::{AsyncHandle, Config, Error, Executor, Nop, Spawned, Task, TaskError};

use super::{Dice, Item, Tally, caught, rude};

/// How many tasks an executor has before it is dropped.
const TASKS: u64 = 500;

pub(super) fn run(dice: &Dice, operations: u64, deadline: Instant) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    while tally.operations < operations && Instant::now() < deadline {
        of_one_executor(dice, &mut tally)?;
    }
    Ok(tally)
}

fn of_one_executor(dice: &Dice, tally: &mut Tally) -> Result<(), Error> {
    let mut executor = Executor::new(Config::default())?;
    let (ring, spawner) = (executor.handle(), executor.spawner());
    // Not the main future's own: it may panic, and the next one goes on with them.
    let spawned = Rc::new(RefCell::new(VecDeque::new()));
    let (mut begun, mut ended) = (0, 0);
    while begun < TASKS || ended < begun {
        let batch = dice.roll(20).min(TASKS - begun);
        begun += batch;
        let last = begun == TASKS;
        let main = async {
            for _ in 0..batch {
                spawned.borrow_mut().push_back(spawner.spawn(task(dice.clone(), ring.clone(), dice.item())));
            }
            let wanted = if last { usize::MAX } else { 10 };
            for _ in 0..wanted {
                dice.callback();
                if !one_ends(&spawned, dice, &mut ended, tally).await {
                    break;
                }
            }
            dice.item()
        };
        if let Some(Err(error)) = caught(|| executor.block_on(main).map(drop)) {
            return Err(error);
        }
    }
    tally.operations += begun;
    // Some that never end, some that have not begun, and some on their way.
    let mut kept = Vec::new();
    for _ in 0..dice.roll(8) {
        let held = dice.item();
        kept.push(spawner.spawn(async move {
            let _held = held;
            std::future::pending::<Item>().await
        }));
        kept.push(spawner.spawn(task(dice.clone(), ring.clone(), dice.item())));
        if dice.one_in(2) {
            caught(|| executor.block_on(async {}));
        }
    }
    tally.operations += kept.len() as u64;
    tally.check(caught(|| drop(executor)).is_some(), || "the drop of an executor panicked".into());
    for handle in kept {
        let cx = &mut Context::from_waker(Waker::noop());
        // What is dropped here may panic.
        let polled = caught(|| pin!(handle).poll(cx).is_pending());
        tally.check(polled != Some(true), || "a task without an end".into());
    }
    Ok(())
}

/// Waits for one of the tasks, whichever is the next. False if there is none.
async fn one_ends(
    spawned: &RefCell<VecDeque<Spawned<Item>>>,
    dice: &Dice,
    ended: &mut u64,
    tally: &mut Tally,
) -> bool {
    let result = poll_fn(|cx| {
        let mut spawned = spawned.borrow_mut();
        let Some(next) = spawned.front_mut() else { return Poll::Ready(None) };
        let result = std::task::ready!(pin!(next).poll(cx));
        spawned.pop_front();
        Poll::Ready(Some(result))
    });
    let Some(result) = result.await else { return false };
    *ended += 1;
    tally.check(!matches!(result, Err(TaskError::Dropped)), || "a task was dropped before its end".into());
    caught(|| drop(result));
    dice.callback();
    true
}

async fn task(dice: Dice, ring: AsyncHandle<Task>, held: Item) -> Item {
    for _ in 0..dice.roll(4) {
        dice.callback();
        match dice.roll(4) {
            0 => drop(rudely(&dice, ring.submit(Nop)).await),
            1 => {
                let (running, item) = (dice.clone(), dice.item());
                let run = move |_: &reveille::pool::Context<'_>| {
                    running.callback();
                    drop(item);
                    running.item()
                };
                drop(rudely(&dice, ring.offload(Work::BOUNDED, run)).await);
            }
            2 => drop(ring.submit(Nop)), // and cancelled
            _ => yield_now().await,
        }
    }
    dice.callback();
    drop(held); // not at the end: a local's destructor that panics then leaks what is returned
    dice.item()
}

/// Awaits it with wakers that panic.
async fn rudely<F: Future + Unpin>(dice: &Dice, mut future: F) -> F::Output {
    let output = poll_fn(|cx| {
        let waker = rude(dice, cx.waker().clone());
        let polled = pin!(&mut future).poll(&mut Context::from_waker(&waker));
        drop(waker); // here and below: see `task`
        polled
    })
    .await;
    drop(future);
    output
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
