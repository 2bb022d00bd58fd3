//! The poller's read of the condition passes its own entry into the wait queue.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "poll-wait-barrier",
    year: 2025,
    source: "Linux cacd9ae4bf80",
    needs: Needs::StoreBuffer,
    threads: 2,
    broke: &[discipline::BARRIER_BETWEEN],
    unseen: None,
    story: "\
A poll callback calls poll_wait, which puts an entry into a wait queue, and then reads the condition. A
spinlock's release is a plain store on x86, so the entry can still be on its way when the read is done.
The waker has its barrier: it makes the condition true, then asks whether the queue is empty, without
the lock. Each misses the other. Every driver whose waker asks first was exposed, and none could mend it
alone. Mended: a full barrier in poll_wait, after the entry.",
    legend: "active  whether the wait queue has entries; the waker reads it without the lock",
    main: "poller",
    owed: "a file that is readable",
};

pub(super) fn run<P: Primitives>(form: Form) {
    let file = Arc::new((P::Atomic::new("readable", 0), WaitQueueHead::<P>::new()));
    let driver = P::spawn("driver", {
        let file = file.clone();
        move || {
            let (readable, queue) = &*file;
            readable.store(1, Relaxed);
            P::fence(SeqCst); // wq_has_sleeper's; its partner is the one that was missing below
            if queue.is_active() {
                queue.wake_up(1);
            }
        }
    });
    let (readable, queue) = &*file;
    let poller = Arc::new(P::Parker::new("poller"));
    queue.add(&poller, false);
    if form == Form::Mended {
        P::fence(SeqCst); // pairs with wq_has_sleeper's
    }
    while readable.load(Relaxed) == 0 {
        poller.park();
    }
    driver.join().expect("no panic");
}
