//! Exit wakes the workers of the first account only.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::sync::{Atomic, JoinHandle, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "io-wq-exit",
    year: 2026,
    source: "Linux 751eedc4b4b7 (2025)",
    needs: Needs::Interleaving,
    threads: 3,
    broke: &[discipline::EXIT_WAKES_ALL],
    unseen: Some("a year"),
    story: "\
io-wq has two accounts. When their worker lists were split, each with a lock of its own, the iteration
over all workers kept the rule of the old one: it ends when the callback returns false. The callback
that wakes a worker at exit always returns false, so the second account's workers were never told, and
slept until their idle timeout, five seconds, was over. Nobody saw it in review. Mended: exit goes on to
the next account in any case.",
    legend: "",
    main: "exit",
    owed: "the end of a worker that was not woken",
};

pub(super) fn run<P: Primitives>(form: Form) {
    struct Pool<P: Primitives> {
        exit: P::Atomic,
        accounts: [Arc<WaitQueue<P>>; 2],
    }
    let accounts = std::array::from_fn(|_| Arc::new(WaitQueue::new()));
    let pool = Arc::new(Pool::<P> { exit: P::Atomic::new("EXIT", 0), accounts });
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
