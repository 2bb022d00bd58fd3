//! A wake-one is spent on a waiter that is being killed.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::wait_queue_head::WaitQueueHead;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "aborted-exclusive",
    year: 2009,
    source: "Linux 777c6c5f1f6e",
    needs: Needs::Interleaving,
    threads: 3,
    broke: &[discipline::TELL_THE_NEXT],
    unseen: None,
    story: "\
Two wait for the lock of a page, exclusively. The holder unlocks and wakes the first of them, which
takes it off the queue. But the first has just got a fatal signal: it returns with an error, never takes
the lock, and so never unlocks it, which would have woken the second. The second sleeps on a lock that
is free. Seen with lock_page_killable. Mended: a waiter that gives up and is not on the queue any more
was woken, and wakes the next.",
    legend: "",
    main: "holder",
    owed: "the lock of the page, which is free",
};

struct Page<P: Primitives> {
    locked: P::Atomic,
    fatal_signal: P::Atomic,
    waiters: WaitQueueHead<P>,
}

impl<P: Primitives> Page<P> {
    /// `lock_page`, `lock_page_killable`: whether it has the lock.
    fn lock(&self, task: &Arc<P::Parker>, is_killable: bool, form: Form) -> bool {
        loop {
            self.waiters.add(task, true);
            if self.locked.load(Relaxed) == 1 {
                task.park();
                if is_killable && self.fatal_signal.load(Relaxed) == 1 {
                    let was_woken = !self.waiters.remove(task);
                    if was_woken && form == Form::Mended {
                        self.waiters.wake_up(1);
                    }
                    return false;
                }
            }
            if self.locked.swap(1, Acquire) == 0 {
                self.waiters.remove(task);
                return true;
            }
        }
    }

    fn unlock(&self) {
        self.locked.store(0, Release); // pairs with the acquire exchange in `lock`
        self.waiters.wake_up(1);
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let page = Arc::new(Page::<P> {
        locked: P::Atomic::new("locked", 1),
        fatal_signal: P::Atomic::new("fatal signal", 0),
        waiters: WaitQueueHead::new(),
    });
    let killed = Arc::new(P::Parker::new("killed"));
    let waiter = |name, task: Arc<P::Parker>, is_killable| {
        let page = page.clone();
        P::spawn(name, move || {
            if page.lock(&task, is_killable, form) {
                page.unlock();
            }
        })
    };
    let waiters =
        [waiter("killed", killed.clone(), true), waiter("next", Arc::new(P::Parker::new("next")), false)];
    page.fatal_signal.store(1, Relaxed);
    killed.unpark();
    page.unlock();
    for waiter in waiters {
        waiter.join().expect("no panic");
    }
}
