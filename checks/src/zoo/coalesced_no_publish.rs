//! "It is notified already": the wake is left out, and with it the release that publishes what it is about.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "coalesced-no-publish",
    year: 2025,
    source: "tokio 67869be3d75c; Linux workqueue 415d83249709",
    needs: Needs::StoreBuffer,
    threads: 2,
    broke: &[discipline::SKIP_THE_CALL_ONLY],
    unseen: Some("four years"),
    story: "\
A task is to run already when it is woken once more, so there is nothing to do, and tokio did nothing:
it read NOTIFIED and returned. The task is just being started: it takes NOTIFIED and looks. The waker's
news is still in its store buffer, so the task sees nothing new and goes idle, and the wake that would
start it again has been left out. The state was changed by fetch_or, whatever it was, until 2021; then
by a loop that writes only what differs. Mended: NOTIFIED is written over NOTIFIED, with release.",
    legend: "state  1 NOTIFIED: the task is to run",
    main: "task",
    owed: "a run of the task: there is news",
};

const IDLE: usize = 0;
const NOTIFIED: usize = 1;

pub(super) fn run<P: Primitives>(form: Form) {
    struct Task<P: Primitives> {
        news: P::Atomic,
        state: P::Atomic,
        run_queue: P::Parker,
    }
    let task = Arc::new(Task::<P> {
        news: P::Atomic::new("news", 0),
        state: P::Atomic::new("state", NOTIFIED), // by an earlier wake
        run_queue: P::Parker::new("task"),
    });
    let waker = P::spawn("waker", {
        let task = task.clone();
        move || {
            task.news.store(1, Relaxed);
            let mut state = task.state.load(Acquire);
            loop {
                if state == NOTIFIED && form == Form::Losing {
                    return;
                }
                // Its release publishes the news to the exchange below, which takes what it wrote.
                match task.state.compare_exchange(state, NOTIFIED, AcqRel, Acquire) {
                    Ok(IDLE) => return task.run_queue.unpark(),
                    Ok(_) => return,
                    Err(actual) => state = actual,
                }
            }
        }
    });
    loop {
        task.state.swap(IDLE, AcqRel);
        if task.news.load(Relaxed) == 1 {
            break;
        }
        task.run_queue.park();
    }
    waker.join().expect("no panic");
}
