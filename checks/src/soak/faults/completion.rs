//! Iterators of batches that panic half way, and a consumer whose waker does.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use reveille::completion::{self, Consumer};

use super::{Dice, Item, Tally, Unpark, caught, reaches, rude_thread};

const CAPACITY: usize = 16;
const IN_FLIGHT: u64 = 64;

pub(super) fn run(dice: &Dice, operations: u64, deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    let (queue, mut consumer) = completion::ring::<Item>(CAPACITY);
    let (published, delivered) = (AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let consuming = scope.spawn(|| consume(dice, &mut consumer, &delivered, &over));
        let publish = || {
            while published.load(Relaxed) < operations && Instant::now() < deadline {
                let behind = published.load(Relaxed).saturating_sub(dice.roll(IN_FLIGHT));
                if !reaches(behind, || delivered.load(Relaxed)) {
                    break;
                }
                let n = dice.roll(2 * CAPACITY as u64);
                let mut drained = false;
                let batch = (0..n).map(|_| {
                    dice.callback();
                    dice.item()
                });
                // Drained before anything is published: a panic before that publishes nothing, one after it, of a waker, all.
                let end = std::iter::from_fn(|| {
                    drained = true;
                    None
                });
                caught(|| queue.publish(batch.chain(end)));
                published.fetch_add(if drained { n } else { 0 }, Relaxed);
            }
        };
        let publishing = scope.spawn(publish);
        publish();
        tally.check(publishing.join().is_ok(), || "a producer panicked".into());
        let all = published.load(Relaxed);
        let arrived = reaches(all, || delivered.load(Relaxed));
        let n = delivered.load(Relaxed);
        tally.check(arrived && n == all, || format!("{n} of {all} completions were delivered"));
        over.store(true, SeqCst);
        consuming.thread().unpark(); // by hand: if its wake is lost, that has been found by now
        tally.check(consuming.join().is_ok(), || "the consumer panicked".into());
    });
    tally.operations = published.load(Relaxed);
    // What is left in the ring and beside it goes with the queue.
    for _ in 0..2 * CAPACITY {
        caught(|| queue.publish([dice.item()]));
    }
    caught(|| drop(consumer));
    caught(|| drop(queue));
    tally
}

fn consume(dice: &Dice, consumer: &mut Consumer<Item>, delivered: &AtomicU64, over: &AtomicBool) {
    consumer.set_waker(&Arc::new(Unpark(std::thread::current())).into()); // until one of the others could be cloned
    while !over.load(SeqCst) {
        let waker = rude_thread(dice);
        caught(|| consumer.set_waker(&waker));
        caught(|| drop(waker));
        while let Some(item) = consumer.pop() {
            delivered.fetch_add(1, Relaxed);
            caught(|| drop(item));
        }
        if dice.one_in(4) {
            caught(|| consumer.awake());
        }
        if consumer.prepare_to_sleep() && !over.load(SeqCst) {
            std::thread::park();
        }
    }
}
