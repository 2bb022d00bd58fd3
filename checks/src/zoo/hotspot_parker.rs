//! A permit is taken by a store, and the store lands on the next permit.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker as _, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "hotspot-parker",
    year: 2009,
    source: "HotSpot CR 6822370",
    needs: Needs::StoreBuffer,
    threads: 2,
    broke: &[discipline::TAKE_THEN_LOOK],
    unseen: None,
    story: "\
park() in HotSpot has a fast path: if there is a permit, counter = 0, and return. The caller looks at
its condition; but that load may be done while the store still waits in the store buffer. Another thread
makes the condition true and calls unpark: it sees the old permit, writes counter = 1 and has nobody to
signal. Then the store of 0 lands on it. The second park() sleeps, with the condition true. It showed as
hangs of Java's locks, in several bug reports that looked unrelated. Mended: a full barrier after
counter = 0.",
    legend: "counter  the permit: 1 is there",
    main: "sleeper",
    owed: "a permit, which was overwritten",
};

struct Parker<P: Primitives> {
    counter: P::Atomic,
    /// Guards the condvar: whether the owner sleeps on it.
    mutex: P::Mutex<bool>,
    condvar: P::Parker,
}

impl<P: Primitives> Parker<P> {
    fn park(&self, form: Form) {
        if self.counter.load(Relaxed) > 0 {
            self.counter.store(0, Relaxed);
        } else {
            let sleeps = self.mutex.with(|sleeps| {
                *sleeps = self.counter.load(Relaxed) == 0;
                if !*sleeps {
                    self.counter.store(0, Relaxed);
                }
                *sleeps
            });
            if sleeps {
                self.condvar.park();
                self.mutex.with(|_| self.counter.store(0, Relaxed));
            }
        }
        if form == Form::Mended {
            P::fence(SeqCst); // pairs with the one of the volatile store, before `unpark`
        }
    }

    fn unpark(&self) {
        let is_asleep = self.mutex.with(|sleeps| {
            let had_permit = self.counter.load(Relaxed) > 0;
            self.counter.store(1, Relaxed);
            std::mem::take(sleeps) && !had_permit
        });
        if is_asleep {
            self.condvar.unpark();
        }
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let shared = Arc::new((
        P::Atomic::new("ready", 0),
        Parker::<P> {
            counter: P::Atomic::new("counter", 1), // an unpark that came early
            mutex: P::Mutex::new("mutex", false),
            condvar: P::Parker::new("condvar"),
        },
    ));
    let waker = P::spawn("waker", {
        let shared = shared.clone();
        move || {
            let (ready, parker) = &*shared;
            // `ready` is volatile: a full barrier follows the store.
            ready.store(1, Relaxed);
            P::fence(SeqCst);
            parker.unpark();
        }
    });
    let (ready, parker) = &*shared;
    while ready.load(Relaxed) == 0 {
        parker.park(form);
    }
    waker.join().expect("no panic");
}
