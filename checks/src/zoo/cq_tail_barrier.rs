//! The waker looks for sleepers before its completion has reached memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "cq-tail-barrier",
    year: 2015,
    source: "Linux 8ee1b7b9d876 (blk-mq); Linux 3ab9326f93ec (io_uring, 6.1), 76835b0ebf8a (futex), DPDK \
             159793ac867b, glommio 68552c250b37",
    needs: Needs::StoreBuffer,
    threads: 2,
    broke: &[discipline::BARRIER_BETWEEN],
    unseen: None,
    story: "\
The commonest of all. The waker makes its condition true, here a completion ring's tail, and asks
whether the wait queue is empty. The waiter is careful: entry, full barrier, look. But the waker's store
waits in its store buffer while its load is done already, and a release store does nothing about that.
The same two lines stood in the block layer, in the futex code, in DPDK and in glommio. Mended: a full
barrier between them, which is what wq_has_sleeper is for.",
    legend: "active  whether the wait queue has entries; the waker reads it without the lock",
    main: "waiter",
    owed: "a completion, which is in the ring",
};

pub(super) fn run<P: Primitives>(form: Form) {
    let ring = Arc::new((P::Atomic::new("cq tail", 0), WaitQueueHead::<P>::new()));
    let kernel = P::spawn("kernel", {
        let ring = ring.clone();
        move || {
            let (tail, queue) = &*ring;
            tail.store(1, Release); // pairs with the waiter's acquire load of it
            if form == Form::Mended {
                P::fence(SeqCst); // pairs with the waiter's
            }
            if queue.is_active() {
                queue.wake_up(1);
            }
        }
    });
    let (tail, queue) = &*ring;
    let waiter = Arc::new(P::Parker::new("waiter"));
    queue.add(&waiter, false);
    P::fence(SeqCst); // set_current_state's; pairs with the one that was missing above
    if tail.load(Acquire) == 0 {
        waiter.park();
    }
    assert_eq!(tail.load(Relaxed), 1, "awake, and no completion");
    kernel.join().expect("no panic");
}
