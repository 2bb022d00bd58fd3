//! fetch_sub returns the value before, and it is compared with the value after.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "old-value",
    year: 2024,
    source: "asterinas bebfc360da57 (#1303)",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::OLD_VALUE],
    unseen: Some("nine months"),
    story: "\
The guard of an upgradeable reader gives its bit back with fetch_sub, and wakes the waiting writers if
nothing is left: `if res == 0`. But fetch_sub returns what was there before, which has this guard's own
bit in it and is never 0. No drop of such a guard ever woke anybody. Mended: `if res ==
UPGRADEABLE_READER`.",
    legend: "lock  1 an upgradeable reader, 2 a writer",
    main: "reader",
    owed: "the lock, which is free",
};

const UPGRADEABLE_READER: usize = 1;
const WRITER: usize = 2;

pub(super) fn run<P: Primitives>(form: Form) {
    let mutex = Arc::new((P::Atomic::new("lock", UPGRADEABLE_READER), WaitQueueHead::<P>::new()));
    let writer = P::spawn("writer", {
        let mutex = mutex.clone();
        move || {
            let (lock, queue) = &*mutex;
            let task = Arc::new(P::Parker::new("writer"));
            loop {
                queue.add(&task, false);
                // Pairs with the release of the guard that goes.
                if lock.compare_exchange(0, WRITER, Acquire, Relaxed).is_ok() {
                    break;
                }
                task.park();
            }
            queue.remove(&task);
        }
    });
    let (lock, queue) = &*mutex;
    let res = lock.fetch_sub(UPGRADEABLE_READER, Release); // pairs with the writer's exchange
    let is_free = match form {
        Form::Losing => res == 0,
        Form::Mended => res == UPGRADEABLE_READER,
    };
    if is_free {
        queue.wake_up(usize::MAX);
    }
    writer.join().expect("no panic");
}
