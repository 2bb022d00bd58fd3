//! What the way to a wake costs one thread. `cargo bench -p reveille --bench wakes`
//!
//! Beside peers and across threads: `reveille bench` of the crate `reveille-checks`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::task::Waker;

use divan::{Bencher, black_box};
use reveille::completion;
use reveille::wait_queue::{Kind, WaitQueue, Wakeup};

fn main() {
    divan::main();
}

/// How often each is done in an iteration.
const TIMES: usize = 1_000;

/// The least that a wake may cost: the condition and a full barrier.
#[divan::bench]
fn condition_and_fence(bencher: Bencher) {
    let condition = AtomicUsize::new(0);
    bencher.bench_local(|| {
        for i in 0..TIMES {
            black_box(&condition).store(i, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    });
}

#[divan::bench]
fn condition_and_notify_with_nobody_waiting(bencher: Bencher) {
    let condition = AtomicUsize::new(0);
    let queue: WaitQueue = WaitQueue::new();
    bencher.bench_local(|| {
        for i in 0..TIMES {
            black_box(&condition).store(i, Ordering::Relaxed);
            assert_eq!(black_box(&queue).notify_all(), Wakeup::Skipped);
        }
    });
}

/// The sleeper is on the list, and awake: it has been told and has not armed again.
#[divan::bench]
fn condition_and_notify_with_the_sleeper_awake(bencher: Bencher) {
    let condition = AtomicUsize::new(0);
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let mut waiter = queue.register(Kind::Shared, Waker::noop().clone());
    waiter.arm();
    assert_eq!(queue.notify_all(), Wakeup::Sent(1));
    bencher.bench_local(|| {
        for i in 0..TIMES {
            black_box(&condition).store(i, Ordering::Relaxed);
            assert_eq!(black_box(&queue).notify_all(), Wakeup::Skipped);
        }
    });
}

#[divan::bench(args = [Kind::Shared, Kind::Exclusive])]
fn arm_and_disarm(bencher: Bencher, kind: Kind) {
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let mut waiter = queue.register(kind, Waker::noop().clone());
    bencher.bench_local(|| {
        for _ in 0..TIMES {
            waiter.arm();
            waiter.disarm();
        }
    });
}

/// Told, and armed again, as a consumer that sleeps each time.
#[divan::bench]
fn arm_and_be_told(bencher: Bencher) {
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let mut waiter = queue.register(Kind::Shared, Waker::noop().clone());
    bencher.bench_local(|| {
        for _ in 0..TIMES {
            waiter.arm();
            assert_eq!(queue.notify_all(), Wakeup::Sent(1));
        }
    });
}

/// So many completions in a batch, published and taken; the consumer never sleeps.
#[divan::bench(args = [1, 16])]
fn publish_and_pop(bencher: Bencher, batch: usize) {
    let (completions, mut consumer) = completion::ring::<usize>(1024);
    bencher.bench_local(|| {
        for first in (0..TIMES).step_by(batch) {
            completions.publish(first..first + batch);
            while let Some(completion) = consumer.pop() {
                black_box(completion);
            }
        }
    });
}
