//! The library on real threads.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use reveille::completion::ring;
use reveille::parker::FutexParker;
use reveille::sync::{Parker, Unparked};
use reveille::wait_queue::{Kind, WaitQueue, Wakeup};

/// Drives a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let parker = Arc::new(<FutexParker>::new("block_on"));
    let waker = Waker::from(parker.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => parker.park(),
        }
    }
}

/// Takes one from `tokens`, if there is one.
fn take(tokens: &AtomicUsize) -> Option<()> {
    tokens.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).ok().map(drop)
}

#[test]
fn blocking_and_async_waiters_share_a_queue_and_each_token_reaches_one_of_them() {
    const EACH: usize = 2_000;
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let tokens = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|i| {
            let (queue, tokens) = (queue.clone(), tokens.clone());
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    match i % 2 {
                        0 => queue.wait_until(Kind::Exclusive, || take(&tokens)),
                        _ => block_on(queue.until(Kind::Exclusive, || take(&tokens))),
                    }
                }
            })
        })
        .collect();
    for _ in 0..4 * EACH {
        tokens.fetch_add(1, SeqCst);
        queue.notify_one();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(tokens.load(SeqCst), 0);
    assert_eq!(queue.notify_all(), Wakeup::Skipped, "nobody is left");
}

#[test]
fn dropping_a_future_passes_its_wake_on() {
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let tokens = AtomicUsize::new(0);
    let waker = Waker::noop();
    let mut given_up = Box::pin(queue.until(Kind::Exclusive, || take(&tokens)));
    let mut patient = Box::pin(queue.until(Kind::Exclusive, || take(&tokens)));
    let cx = &mut Context::from_waker(waker);
    assert!(given_up.as_mut().poll(cx).is_pending());
    assert!(patient.as_mut().poll(cx).is_pending());
    assert_eq!(queue.notify_one(), Wakeup::Sent(1)); // to the first
    drop(given_up); // which hands it to the second
    assert_eq!(queue.notify_one(), Wakeup::Skipped, "both have been told by now");
}

#[test]
fn a_sleeper_that_wakes_without_having_been_told_is_not_told_in_place_of_one_that_sleeps() {
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let mut busy = queue.register(Kind::Exclusive, Waker::noop().clone());
    let sleeper = Arc::new(<FutexParker>::new("sleeper"));
    let mut asleep = queue.register(Kind::Exclusive, Waker::from(sleeper.clone()));
    busy.arm();
    asleep.arm();
    busy.woken(); // for no reason
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    assert_eq!(sleeper.park_timeout(Duration::ZERO), Unparked::Token);
}

#[test]
fn a_sleeper_that_was_told_wakes_and_keeps_the_wake() {
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let mut told = queue.register(Kind::Exclusive, Waker::noop().clone());
    let mut other = queue.register(Kind::Exclusive, Waker::noop().clone());
    told.arm();
    other.arm();
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    told.woken();
    assert_eq!(queue.notify_one(), Wakeup::Sent(1), "the other one is armed still");
}

#[test]
fn a_waker_may_call_back_into_the_queue() {
    struct Nosy {
        queue: Arc<WaitQueue>,
        heard: AtomicUsize,
    }
    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {
            self.heard.fetch_add(1, SeqCst);
            self.queue.notify_all();
            self.queue.broadcast();
        }
    }
    let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
    let nosy = Arc::new(Nosy { queue: queue.clone(), heard: AtomicUsize::new(0) });
    let mut waiter = queue.register(Kind::Shared, Waker::from(nosy.clone()));
    waiter.arm();
    queue.notify_all();
    assert_eq!(nosy.heard.load(SeqCst), 1);
}

#[test]
fn what_is_left_in_a_completion_queue_is_dropped_once() {
    let item = Arc::new(());
    let (queue, mut consumer) = ring(2);
    queue.publish(vec![item.clone(); 5]);
    assert!(consumer.pop().is_some());
    drop((queue, consumer));
    assert_eq!(Arc::strong_count(&item), 1);
}

#[test]
fn four_producers_and_a_sleeping_consumer_lose_nothing_and_keep_each_order() {
    const EACH: usize = 20_000;
    let (queue, mut consumer) = ring(8);
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                for n in (0..EACH).step_by(4) {
                    queue.publish((n..n + 4).map(|n| (producer, n)));
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..4 * EACH {
        let (producer, n) = consumer.wait();
        assert_eq!(n, next[producer]);
        next[producer] += 1;
    }
    assert_eq!(consumer.pop(), None);
    for producer in producers {
        producer.join().unwrap();
    }
}
