//! The word is compared before the lock of the queue is taken, and not again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "check-before-lock",
    year: 2016,
    source: "netty cfd6db79150f, rayon f17d745e1251; WebKit 248631",
    needs: Needs::Interleaving,
    threads: 2,
    broke: &[discipline::LOOK_AGAIN],
    unseen: None,
    story: "\
The oldest mistake there is, and it is still made. A sleeper compares the word, takes the lock of the
queue, enters and sleeps. A wake that falls between finds the queue empty. netty had it in a promise's
timed wait, where each miss lasted as long as the timeout; rayon in its first latch, an atomic beside a
mutex that held nothing; WebKit, where a word is compared and then the bucket of its sleepers locked.
Mended: the word is compared with the lock held.",
    legend: "",
    main: "sleeper",
    owed: "a notification: the word has changed",
};

pub(super) fn run<P: Primitives>(form: Form) {
    struct Shared<P: Primitives> {
        word: P::Atomic,
        bucket: P::Mutex<Vec<Arc<P::Parker>>>,
    }
    let shared = Arc::new(Shared::<P> {
        word: P::Atomic::new("word", 0),
        bucket: P::Mutex::new("bucket", Vec::new()),
    });
    let notifier = P::spawn("notifier", {
        let shared = shared.clone();
        move || {
            shared.word.store(1, Relaxed);
            shared.bucket.with(|waiters| waiters.drain(..).for_each(|waiter| waiter.unpark()));
        }
    });
    let is_expected = || shared.word.load(Relaxed) == 0;
    let sleeper = Arc::new(P::Parker::new("sleeper"));
    if form == Form::Mended || is_expected() {
        let sleeps = shared.bucket.with(|waiters| {
            let sleeps = form == Form::Losing || is_expected();
            if sleeps {
                waiters.push(sleeper.clone());
            }
            sleeps
        });
        if sleeps {
            sleeper.park();
        }
    }
    notifier.join().expect("no panic");
}
