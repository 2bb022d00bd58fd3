//! A task that gives up tidies its state with a store, over a token that has just come.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "blind-store",
    year: 2026,
    source: "zio eb0a4083cf70",
    needs: Needs::WeakerThanX86,
    threads: 2,
    broke: &[discipline::NO_BLIND_STORE],
    unseen: Some("four months"),
    story: "\
A task of zio waits for a mutex and is cancelled. It restores its state to READY with a plain store,
then takes itself out of the mutex's queue. If unlock has taken it out before, a wake is under way, and
the task waits for it. That wake may have left its token in the state already: the store erases it. On
x86 this does no harm: taking itself out is an atomic instruction, after which the task sees what the
wake is about and does not wait. Elsewhere that may still be unseen, and the task sleeps for ever: so a
test may have hung for hours, once, on an Apple processor. Mended: the state is left alone.",
    legend: "\
state   0 READY, 1 READY and a token, 2 WAITING
queued  whether the task is in the mutex's queue
signal  what the wake is about",
    main: "task",
    owed: "a token, which was overwritten",
};

const READY: usize = 0;
const AWAKEN: usize = 1;
const WAITING: usize = 2;

struct Task<P: Primitives> {
    state: P::Atomic,
    queued: P::Atomic,
    signal: P::Atomic,
    coroutine: P::Parker,
}

impl<P: Primitives> Task<P> {
    /// What a waker does, after it has said what for.
    fn schedule(&self) {
        let mut state = self.state.load(Acquire);
        loop {
            let next = if state == WAITING { READY } else { AWAKEN };
            // Its release publishes the signal to whoever takes the token.
            match self.state.compare_exchange(state, next, AcqRel, Acquire) {
                Ok(WAITING) => return self.coroutine.unpark(),
                Ok(_) => return,
                Err(actual) => state = actual,
            }
        }
    }

    /// Sleeps, unless there is a token.
    fn park(&self) {
        match self.state.compare_exchange(READY, WAITING, AcqRel, Acquire) {
            Ok(_) => self.coroutine.park(),
            // Nobody else takes a token.
            Err(_) => self.state.store(READY, Release),
        }
    }

    fn is_taken_out(&self) -> bool {
        self.queued.swap(0, AcqRel) == 1
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let task = Arc::new(Task::<P> {
        state: P::Atomic::new("state", READY),
        queued: P::Atomic::new("queued", 1),
        signal: P::Atomic::new("signal", 0),
        coroutine: P::Parker::new("task"),
    });
    let unlock = P::spawn("unlock", {
        let task = task.clone();
        move || {
            if task.is_taken_out() {
                task.signal.fetch_add(1, Release); // pairs with the acquire load of it below
                task.schedule();
            }
        }
    });
    if form == Form::Losing {
        task.state.store(READY, Release);
    }
    if !task.is_taken_out() {
        while task.signal.load(Acquire) == 0 {
            task.park();
        }
    }
    unlock.join().expect("no panic");
}
