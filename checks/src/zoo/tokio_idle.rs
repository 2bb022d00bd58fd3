//! "Is anybody idle?" is read with a seq_cst load, after a push that is no seq_cst access.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "tokio-idle",
    year: 2019,
    source: "tokio 7c8b8877d440",
    needs: Needs::WeakerThanX86,
    threads: 2,
    broke: &[discipline::BARRIER_BETWEEN],
    unseen: Some("a month"),
    story: "\
A worker of tokio's then new scheduler counts itself out, a seq_cst read-modify-write, and looks into
the injection queue a last time. Whoever injects a task pushes it, under a lock, and reads that count
with a seq_cst load. On x86 the lock's atomic instruction is a barrier. In C11 neither the push nor the
look is seq_cst, so the load may be older than the push. loom could not show it then. Mended: the load
is a fetch_add(0), which comes before the worker's, and publishes the task to it, or after, and sees it
idle.",
    legend: "unparked  how many workers are awake",
    main: "worker",
    owed: "a task, which is in the injection queue",
};

pub(super) fn run<P: Primitives>(form: Form) {
    struct Shared<P: Primitives> {
        injected: P::Atomic,
        unparked: P::Atomic,
        parker: P::Parker,
    }
    let shared = Arc::new(Shared::<P> {
        injected: P::Atomic::new("injected", 0),
        unparked: P::Atomic::new("unparked", 1),
        parker: P::Parker::new("worker"),
    });
    let spawner = P::spawn("spawner", {
        let shared = shared.clone();
        move || {
            // The lock around the push takes and leaves with atomic instructions; one stands for both.
            shared.injected.fetch_add(1, AcqRel);
            let unparked = match form {
                Form::Losing => shared.unparked.load(SeqCst),
                Form::Mended => shared.unparked.fetch_add(0, SeqCst),
            };
            if unparked < 1 {
                shared.parker.unpark();
            }
        }
    });
    shared.unparked.fetch_sub(1, SeqCst);
    if shared.injected.load(Acquire) == 0 {
        shared.parker.park();
    }
    assert_eq!(shared.injected.load(Acquire), 1, "awake, and nothing injected");
    spawner.join().expect("no panic");
}
