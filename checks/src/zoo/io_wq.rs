//! Two wakes that io-wq lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::Form;

/// An account whose work list holds an item that must wait for its hash. A second item comes, that may run.
pub(super) fn stalled<P: Primitives>(form: Form) {
    struct Account<P: Primitives> {
        /// How many items there are that may run.
        runnable: P::Mutex<usize>,
        /// Whether the list holds only items whose hash is busy, as far as the last worker saw.
        stalled: P::Atomic,
        free: Arc<WaitQueue<P>>,
    }
    let account = Arc::new(Account::<P> {
        runnable: P::Mutex::new("work list", 0),
        stalled: P::Atomic::new("STALLED", 0),
        free: Arc::new(WaitQueue::new()),
    });
    let worker = P::spawn("worker", {
        let account = account.clone();
        move || {
            let parker = Arc::new(P::Parker::new("worker"));
            let mut waiter = account.free.register(Kind::Exclusive, Waker::from(parker.clone()));
            loop {
                let found = account.runnable.with(|runnable| {
                    let found = *runnable > 0;
                    if !found && form == Form::Mended {
                        account.stalled.store(1, Relaxed);
                    }
                    *runnable -= usize::from(found);
                    found
                });
                if found {
                    return;
                }
                if form == Form::Losing {
                    account.runnable.with(|_| account.stalled.store(1, Relaxed));
                }
                waiter.arm();
                // "Is there work, and is it not stalled?"
                let work =
                    account.runnable.with(|runnable| *runnable > 0 && account.stalled.load(Relaxed) == 0);
                if !work {
                    parker.park();
                }
                waiter.disarm();
            }
        }
    });
    account.runnable.with(|runnable| {
        *runnable += 1;
        account.stalled.store(0, Relaxed);
    });
    account.free.notify_one();
    worker.join().expect("no panic");
}

/// A worker of either account sleeps until it is told to leave.
pub(super) fn exit<P: Primitives>(form: Form) {
    struct Pool<P: Primitives> {
        exit: P::Atomic,
        accounts: [Arc<WaitQueue<P>>; 2],
    }
    let accounts = std::array::from_fn(|_| Arc::new(WaitQueue::new()));
    let pool = Arc::new(Pool::<P> { exit: P::Atomic::new("exit", 0), accounts });
    let worker = |name, account: usize| {
        let pool = pool.clone();
        P::spawn(name, move || {
            let told = || (pool.exit.load(Relaxed) == 1).then_some(());
            pool.accounts[account].wait_until(Kind::Exclusive, told);
        })
    };
    let workers = [worker("bounded", 0), worker("unbounded", 1)];
    pool.exit.store(1, Relaxed);
    for account in &pool.accounts {
        // The callback wakes, and says whether to go on: it never does.
        let go_on = {
            account.broadcast();
            false
        };
        if !go_on && form == Form::Losing {
            break;
        }
    }
    for worker in workers {
        worker.join().expect("no panic");
    }
}
