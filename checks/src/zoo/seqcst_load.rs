//! A seq_cst load is taken for a fence.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "seqcst-load",
    year: 2023,
    source: "Seastar 788c46cb3c58",
    needs: Needs::StoreBuffer,
    threads: 2,
    broke: &[discipline::BARRIER_BETWEEN],
    unseen: Some("almost seven years"),
    story: "\
Seastar hands blocking system calls to a thread of their own. That thread puts the completed call into a
queue, a release store, and asks with a seq_cst load whether the reactor is asleep. The author meant the
load to keep the store before it. It does not: seq_cst orders seq_cst accesses, the store is none, and
on x86 a seq_cst load is a plain one. The reactor slept on a completed call. It showed in tests that
rename files and do nothing else, seven years after the code was written. Mended: a fence before the
load, which may be relaxed then.",
    legend: "",
    main: "reactor",
    owed: "a completed system call",
};

pub(super) fn run<P: Primitives>(form: Form) {
    struct Shared<P: Primitives> {
        completed: P::Atomic,
        idle: P::Atomic,
        eventfd: P::Parker,
    }
    let shared = Arc::new(Shared::<P> {
        completed: P::Atomic::new("completed", 0),
        idle: P::Atomic::new("main_thread_idle", 0),
        eventfd: P::Parker::new("reactor"),
    });
    let syscalls = P::spawn("syscalls", {
        let shared = shared.clone();
        move || {
            shared.completed.store(1, Release); // pairs with the reactor's acquire loads
            let is_idle = match form {
                Form::Losing => shared.idle.load(SeqCst),
                Form::Mended => {
                    P::fence(SeqCst); // pairs with the reactor's
                    shared.idle.load(Relaxed)
                }
            };
            if is_idle == 1 {
                shared.eventfd.unpark();
            }
        }
    });
    // Seastar's store is seq_cst, and no fence follows. That is one on x86, but not in C11.
    shared.idle.store(1, Relaxed);
    P::fence(SeqCst); // pairs with the one that was missing above
    if shared.completed.load(Acquire) == 0 {
        shared.eventfd.park();
    }
    assert_eq!(shared.completed.load(Acquire), 1, "awake, and nothing completed");
    syscalls.join().expect("no panic");
}
