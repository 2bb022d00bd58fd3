//! The worker marks the list after it has let go of it: an insert between clears the mark too early.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "io-wq-stalled",
    year: 2021,
    source: "Linux 0242f6426ea7",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::FLAGS_PLACE],
    unseen: None,
    story: "\
io-wq's list holds an item that must wait, because its hash is busy. A worker that finds nothing else
unlocks the list, locks it again and sets STALLED, which says: do not come for this list. An insert
clears STALLED and activates a free worker. Between the two critical sections it clears a mark that is
not set yet, and finds no free worker. Then the worker sets STALLED, looks (\"is there work, and is it
not stalled?\") and sleeps beside an item that may run. Mended: the mark is set in the critical section
that found nothing.",
    legend: "",
    main: "submitter",
    owed: "a job, which nobody awake will take",
};

/// An account whose list holds an item that must wait for its hash. A second item comes, that may run.
struct Account<P: Primitives> {
    /// How many items there are that may run.
    runnable: P::Mutex<usize>,
    /// Whether the list holds only items whose hash is busy, as far as the last worker saw.
    stalled: P::Atomic,
    free: Arc<WaitQueue<P>>,
}

pub(super) fn run<P: Primitives>(form: Form) {
    let account = Arc::new(Account::<P> {
        runnable: P::Mutex::new("work list", 0),
        stalled: P::Atomic::new("STALLED", 0),
        free: Arc::new(WaitQueue::new()),
    });
    let worker = P::spawn("worker", {
        let account = account.clone();
        move || work(&account, form)
    });
    account.runnable.with(|runnable| {
        *runnable += 1;
        account.stalled.store(0, Relaxed);
    });
    account.free.notify_one();
    worker.join().expect("no panic");
}

fn work<P: Primitives>(account: &Account<P>, form: Form) {
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
        let is_runnable =
            account.runnable.with(|runnable| *runnable > 0 && account.stalled.load(Relaxed) == 0);
        if !is_runnable {
            parker.park();
        }
        waiter.disarm();
    }
}
