//! A wake-one reaches a worker that cannot take this job.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use reveille::sync::{Atomic, JoinHandle, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "wrong-worker",
    year: 2020,
    source: "switchyard #5",
    needs: Needs::Interleaving,
    threads: 3,
    broke: &[discipline::WHO_CAN],
    unseen: Some("six weeks"),
    story: "\
switchyard has tasks that stay on the thread that made them. To wake one it notified the condition
variable of the pool, once. Whichever worker woke looked at its own list, found nothing and slept again;
the one that the task belonged to heard nothing. Mended: each worker has a condition variable of its
own, and the waker knows which.",
    legend: "",
    main: "waker",
    owed: "a task, whose only thread sleeps",
};

fn take<P: Primitives>(list: &P::Atomic) -> Option<()> {
    list.compare_exchange(1, 0, AcqRel, Relaxed).ok().map(|_| ())
}

/// Two workers, each of which can run the tasks of one list; and a task in each.
pub(super) fn run<P: Primitives>(form: Form) {
    let lists = Arc::new(["first list", "second list"].map(|label| P::Atomic::new(label, 0)));
    let queues: [Arc<WaitQueue<P>>; 2] = std::array::from_fn(|_| Arc::new(WaitQueue::new()));
    let queue_of = |list: usize| queues[if form == Form::Losing { 0 } else { list }].clone();
    let worker = |name, list: usize| {
        let (lists, queue) = (lists.clone(), queue_of(list));
        P::spawn(name, move || queue.wait_until(Kind::Exclusive, || take::<P>(&lists[list])))
    };
    let workers = [worker("worker 1", 0), worker("worker 2", 1)];
    for list in [1, 0] {
        lists[list].store(1, Release); // pairs with the exchange in `take`
        queue_of(list).notify_one();
    }
    for worker in workers {
        worker.join().expect("no panic");
    }
}
