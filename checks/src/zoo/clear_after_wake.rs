//! Everybody is woken, and then the bit that they wait for is cleared.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "clear-after-wake",
    year: 2020,
    source: "OpenZFS 2adc6b35aebc",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::CONDITION_FIRST],
    unseen: Some("almost four years"),
    story: "\
Whoever needs a larger kmem cache asks a task to grow it, and waits until the bit GROWING is clear. The
task woke all waiters, and then cleared the bit. A waiter that is quick sees the bit still set, and
sleeps again; the only wake has been. What saved it was a timeout of 100 ms: some workloads spent 70 %
of their time in it. The code had the right order first; an improvement of 2016 moved the wake up.
Mended: the two lines change places again.",
    legend: "",
    main: "allocation",
    owed: "a cache that has grown",
};

pub(super) fn run<P: Primitives>(form: Form) {
    let cache = Arc::new((P::Atomic::new("GROWING", 1), WaitQueueHead::<P>::new()));
    let taskq = P::spawn("taskq", {
        let cache = cache.clone();
        move || {
            let (growing, waitq) = &*cache;
            if form == Form::Mended {
                growing.store(0, Relaxed);
            }
            waitq.wake_up(usize::MAX);
            if form == Form::Losing {
                growing.store(0, Relaxed);
            }
        }
    });
    let (growing, waitq) = &*cache;
    let task = Arc::new(P::Parker::new("allocation"));
    loop {
        waitq.add(&task, false);
        if growing.load(Relaxed) == 0 {
            break;
        }
        task.park();
    }
    waitq.remove(&task);
    taskq.join().expect("no panic");
}
