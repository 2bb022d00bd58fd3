//! A lock is taken over from the dead without the bit that says that others wait.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::futex::Futex;
use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "owner-died-bit",
    year: 2016,
    source: "glibc 353683a22ed8 (BZ 20973)",
    needs: Needs::Interleaving,
    threads: 3,
    broke: &[discipline::TELL_THE_NEXT],
    unseen: None,
    story: "\
Two threads sleep on a robust mutex; the word has the bit WAITERS. The owner unlocks, which clears the
word, and wakes the first. Before that runs, a third thread takes the lock, with no WAITERS to set, and
is killed. The kernel writes OWNER_DIED and sees nobody to wake. The first thread takes over from the
dead, without WAITERS, because the word has none; when it unlocks it wakes nobody, and the second sleeps
on a free mutex. Mended: a thread that has slept here once sets WAITERS whenever it takes the lock,
since it cannot know.",
    legend: "mutex  the owner's number; +16 OWNER_DIED; +32 WAITERS",
    main: "owner",
    owed: "a mutex, which is free",
};

const OWNER_DIED: usize = 16;
const WAITERS: usize = 32;

fn exchange<P: Primitives>(mutex: &Futex<P>, old: usize, new: usize) -> bool {
    mutex.word.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
}

/// What a thread does once it has slept on the mutex and was woken.
fn lock<P: Primitives>(mutex: &Futex<P>, id: usize, form: Form) {
    loop {
        let word = mutex.word.load(Relaxed);
        if word & OWNER_DIED != 0 {
            // Others may have slept beside this one.
            let others = if form == Form::Mended { WAITERS } else { 0 };
            if exchange(mutex, word, id | (word & WAITERS) | others) {
                return;
            }
        } else if word == 0 {
            if exchange(mutex, 0, id | WAITERS) {
                return;
            }
        } else if word & WAITERS != 0 || exchange(mutex, word, word | WAITERS) {
            mutex.wait(|now| now == word | WAITERS);
        }
    }
}

fn unlock<P: Primitives>(mutex: &Futex<P>) {
    if mutex.word.swap(0, AcqRel) & WAITERS != 0 {
        mutex.wake(1);
    }
}

/// What the kernel does for a thread that dies as the owner.
fn die<P: Primitives>(mutex: &Futex<P>) {
    loop {
        let word = mutex.word.load(Relaxed);
        if exchange(mutex, word, (word & WAITERS) | OWNER_DIED) {
            if word & WAITERS != 0 {
                mutex.wake(1);
            }
            return;
        }
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let asleep = ["waiter 1", "waiter 2"].map(|name| Arc::new(P::Parker::new(name)));
    let mutex = Arc::new(Futex::<P>::slept_on("mutex", 1 | WAITERS, &asleep));
    let waiters = [("waiter 1", 2), ("waiter 2", 3)].map(|(name, id)| {
        let (mutex, task) = (mutex.clone(), asleep[id - 2].clone());
        P::spawn(name, move || {
            task.park();
            lock(&mutex, id, form);
            unlock(&mutex);
        })
    });
    unlock(&mutex);
    // The third thread of the story is this one, once more.
    if exchange(&mutex, 0, 1) {
        die(&mutex);
    }
    for waiter in waiters {
        waiter.join().expect("no panic");
    }
}
