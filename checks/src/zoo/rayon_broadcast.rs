//! The last look before sleep leaves out one of the queues.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::task::Waker;

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "rayon-broadcast",
    year: 2022,
    source: "rayon be12615bf4fa",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::ONE_LOOK],
    unseen: Some("five months"),
    story: "\
A worker of rayon that finds no work announces its sleep and looks a last time whether a job was
injected from outside. Then broadcast came, which injects a job into each worker's own queue. Workers
searched it, but the last look did not: a broadcast that came between the search and the announcement
was slept on. Mended: the look asks both queues.",
    legend: "",
    main: "broadcast",
    owed: "a job, which nobody awake will take",
};

fn take<P: Primitives>(queue: &P::Atomic) -> Option<()> {
    queue.compare_exchange(1, 0, AcqRel, Relaxed).ok().map(|_| ())
}

pub(super) fn run<P: Primitives>(form: Form) {
    let queues = Arc::new(["injected", "broadcast"].map(|label| P::Atomic::new(label, 0)));
    let sleep: Arc<WaitQueue<P>> = Arc::new(WaitQueue::new());
    let worker = P::spawn("worker", {
        let (queues, sleep) = (queues.clone(), sleep.clone());
        move || {
            let parker = Arc::new(P::Parker::new("worker"));
            let mut waiter = sleep.register(Kind::Exclusive, Waker::from(parker.clone()));
            while queues.iter().find_map(take::<P>).is_none() {
                waiter.arm();
                let looked_at = if form == Form::Losing { &queues[..1] } else { &queues[..] };
                if looked_at.iter().all(|queue| queue.load(Relaxed) == 0) {
                    parker.park();
                }
                waiter.disarm();
            }
        }
    });
    queues[1].store(1, Release); // pairs with the exchange in `take`
    sleep.notify_one();
    worker.join().expect("no panic");
}
