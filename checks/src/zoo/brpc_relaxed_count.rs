//! Two counters, each changed by one side and read by the other, with nothing but relaxed accesses between.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Primitives};

use super::futex::Futex;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "brpc-relaxed-count",
    year: 2026,
    source: "brpc #3539",
    needs: Needs::WeakerThanX86,
    threads: 2,
    broke: &[discipline::BARRIER_BETWEEN],
    unseen: Some("18 months"),
    story: "\
The same parking lot, a year later. signal changes the word and reads the count of waiters; wait raises
the count and has the kernel compare the word. Both changes are read-modify-writes, and on x86 that is a
barrier. In C11 a relaxed one is none: signal's read of the count may be older than its change of the
word. The kernel's futex_wait has a barrier of its own, which helps the waiter's side only. Mended: a
seq_cst fence on each side.",
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
        self.pending.word.fetch_add(2, Release); // pairs with the acquire load of it in `run`
        if form == Form::Mended {
            P::fence(SeqCst); // pairs with the one in `wait`
        }
        if self.waiters.load(Relaxed) > 0 {
            self.pending.wake(1);
        }
    }

    fn wait(&self, seen: usize, form: Form) {
        self.waiters.fetch_add(1, Relaxed);
        if form == Form::Mended {
            P::fence(SeqCst); // pairs with the one in `signal`
        }
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
        lot.wait(seen, form);
    }
    submitter.join().expect("no panic");
}
