//! Three workers that went to sleep on work.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::task::Waker;

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};
use reveille::wait_queue::{Kind, WaitQueue};

use super::Form;

/// Takes a job from a list, if there is one.
fn take<P: Primitives>(list: &P::Atomic) -> Option<()> {
    list.compare_exchange(1, 0, AcqRel, Relaxed).ok().map(|_| ())
}

/// Two workers, each of which can run the jobs of one kind; and a job of each kind.
///
/// Losing, both sleep in one queue, and a wake-one takes the first. Mended, there is a queue for each kind.
pub(super) fn wrong_worker<P: Primitives>(form: Form) {
    let lists = Arc::new(["first kind", "second kind"].map(|label| P::Atomic::new(label, 0)));
    let queues: [Arc<WaitQueue<P>>; 2] = std::array::from_fn(|_| Arc::new(WaitQueue::new()));
    let queue_of = |kind: usize| queues[if form == Form::Losing { 0 } else { kind }].clone();
    let worker = |name, kind: usize| {
        let (lists, queue) = (lists.clone(), queue_of(kind));
        P::spawn(name, move || queue.wait_until(Kind::Exclusive, || take::<P>(&lists[kind])))
    };
    let workers = [worker("worker 1", 0), worker("worker 2", 1)];
    for kind in [1, 0] {
        lists[kind].store(1, Release);
        queue_of(kind).notify_one();
    }
    for worker in workers {
        worker.join().expect("no panic");
    }
}

/// Two lists, a worker that takes from both, and a job in the second. Losing, the look between arm and sleep is at the first only.
pub(super) fn look_at_one_list<P: Primitives>(form: Form) {
    let lists = Arc::new(["own", "broadcast"].map(|label| P::Atomic::new(label, 0)));
    let queue: Arc<WaitQueue<P>> = Arc::new(WaitQueue::new());
    let worker = P::spawn("worker", {
        let (lists, queue) = (lists.clone(), queue.clone());
        move || {
            let parker = Arc::new(P::Parker::new("worker"));
            let mut waiter = queue.register(Kind::Exclusive, Waker::from(parker.clone()));
            while lists.iter().find_map(take::<P>).is_none() {
                waiter.arm();
                let looked_at = if form == Form::Losing { &lists[..1] } else { &lists[..] };
                if looked_at.iter().all(|list| list.load(Relaxed) == 0) {
                    parker.park();
                }
                waiter.disarm();
            }
        }
    });
    lists[1].store(1, Release);
    queue.notify_one();
    worker.join().expect("no panic");
}

/// A worker, and a job. Losing, the worker looks for it, arms, and sleeps. Mended, it arms, looks, and sleeps.
pub(super) fn look_before_arm<P: Primitives>(form: Form) {
    let list = Arc::new(P::Atomic::new("work list", 0));
    let queue: Arc<WaitQueue<P>> = Arc::new(WaitQueue::new());
    let worker = P::spawn("worker", {
        let (list, queue) = (list.clone(), queue.clone());
        move || {
            let parker = Arc::new(P::Parker::new("worker"));
            let mut waiter = queue.register(Kind::Exclusive, Waker::from(parker.clone()));
            loop {
                if form == Form::Mended {
                    waiter.arm();
                }
                if take::<P>(&list).is_some() {
                    return;
                }
                if form == Form::Losing {
                    waiter.arm();
                }
                parker.park();
            }
        }
    });
    list.store(1, Release);
    queue.notify_one();
    worker.join().expect("no panic");
}
