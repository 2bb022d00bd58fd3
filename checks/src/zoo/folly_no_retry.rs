//! An event count whose user does not look again after prepareWait.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use reveille::sync::{Atomic, JoinHandle, Primitives};

use super::futex::Futex;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "folly-no-retry",
    year: 2019,
    source: "folly 8f8ca5d2d09a",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::LOOK_AGAIN],
    unseen: Some("five years"),
    story: "\
An event count is sound: prepareWait takes a key, the caller looks once more, and wait sleeps only if
nothing was notified since the key. The consumer of folly's parallel pipeline looked into the queue
before prepareWait and not after it. An item that comes between, with its notify, is older than the key:
wait sleeps on it. The code was five years old. Mended: look, prepareWait, look; cancelWait if there is
something.",
    legend: "event count  10 for each notify, 1 for each waiter",
    main: "consumer",
    owed: "an item, which is in the queue",
};

/// The epoch of a notify, in a word whose low digit counts the waiters.
const EPOCH: usize = 10;

struct EventCount<P: Primitives>(Futex<P>);

impl<P: Primitives> EventCount<P> {
    fn prepare_wait(&self) -> usize {
        // AcqRel, as in `notify`: whichever comes second sees what the other did before.
        self.0.word.fetch_add(1, AcqRel) / EPOCH
    }

    fn cancel_wait(&self) {
        self.0.word.fetch_sub(1, Relaxed);
    }

    fn wait(&self, key: usize) {
        while self.0.word.load(Acquire) / EPOCH == key {
            self.0.wait(|word| word / EPOCH == key);
        }
        self.cancel_wait();
    }

    fn notify(&self) {
        let waiters = self.0.word.fetch_add(EPOCH, AcqRel) % EPOCH;
        if waiters > 0 {
            self.0.wake(usize::MAX);
        }
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let shared = Arc::new((P::Atomic::new("item", 0), EventCount::<P>(Futex::new("event count", 0))));
    let producer = P::spawn("producer", {
        let shared = shared.clone();
        move || {
            let (item, wake_consumer) = &*shared;
            item.store(1, Release); // pairs with the acquire load in `read`
            wake_consumer.notify();
        }
    });
    let (item, wake_consumer) = &*shared;
    let read = || item.load(Acquire) == 1;
    while !read() {
        let key = wake_consumer.prepare_wait();
        if form == Form::Mended && read() {
            wake_consumer.cancel_wait();
            break;
        }
        wake_consumer.wait(key);
    }
    producer.join().expect("no panic");
}
