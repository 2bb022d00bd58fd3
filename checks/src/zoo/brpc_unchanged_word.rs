//! No waiter is counted, so the futex word is left as it is; and then somebody sleeps on it.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Primitives};

use super::futex::Futex;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "brpc-unchanged-word",
    year: 2025,
    source: "brpc #2916",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::SKIP_THE_CALL_ONLY],
    unseen: Some("nine days"),
    story: "\
A worker of brpc reads the parking lot's word, looks for tasks, and sleeps on that word with a futex: if
a signal came since, the word is another and it does not sleep. To spare the system call, signal began
to count waiters, and did nothing if there was none. Nothing: it did not change the word either. A
worker between its look and its count is no waiter yet, finds the word as it was, and sleeps on the
task. The tests of the project timed out within days. Mended: the word is always changed, only the
system call is spared. (The barriers here are those that came a year later: see brpc-relaxed-count.)",
    legend: "pending  changes with each signal; a worker sleeps on the value that it has seen",
    main: "worker",
    owed: "a task, which nobody awake will take",
};

struct ParkingLot<P: Primitives> {
    pending: Futex<P>,
    waiters: P::Atomic,
}

impl<P: Primitives> ParkingLot<P> {
    fn signal(&self, form: Form) {
        if form == Form::Mended {
            self.pending.word.fetch_add(2, Release); // pairs with the acquire load of it in `run`
        }
        P::fence(SeqCst); // pairs with the one in `wait`
        if self.waiters.load(Relaxed) == 0 {
            return;
        }
        if form == Form::Losing {
            self.pending.word.fetch_add(2, Release); // as above
        }
        self.pending.wake(1);
    }

    fn wait(&self, seen: usize) {
        self.waiters.fetch_add(1, Relaxed);
        P::fence(SeqCst); // pairs with the one in `signal`
        self.pending.wait(|word| word == seen);
        self.waiters.fetch_sub(1, Relaxed);
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let shared = Arc::new((
        P::Atomic::new("task", 0),
        ParkingLot::<P> { pending: Futex::new("pending", 0), waiters: P::Atomic::new("waiters", 0) },
    ));
    let submitter = P::spawn("submitter", {
        let shared = shared.clone();
        move || {
            let (task, lot) = &*shared;
            task.store(1, Release); // pairs with the acquire load of it below
            lot.signal(form);
        }
    });
    let (task, lot) = &*shared;
    loop {
        let seen = lot.pending.word.load(Acquire); // pairs with the release in `signal`
        if task.load(Acquire) == 1 {
            break;
        }
        lot.wait(seen);
    }
    submitter.join().expect("no panic");
}
