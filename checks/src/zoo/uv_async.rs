//! The loop tests a pending mark and clears it with a plain store, which lands late.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "uv-async",
    year: 2015,
    source: "libuv 4ed237278cbb",
    needs: Needs::StoreBuffer,
    threads: 2,
    broke: &[discipline::TAKE_THEN_LOOK, discipline::NO_BLIND_STORE],
    unseen: Some("almost three years"),
    story: "\
uv_async_send sets a mark and writes to an eventfd, unless the mark is set already: then the loop is
about to call back. The loop saw the mark, cleared it with a plain store and called back. The callback's
loads may be done before that store lands: a sender that comes between writes its data, sees the mark
still set and leaves it at that. Then the mark goes, with the send that it stood for. Mended: the mark
is taken with a compare-and-swap, a full barrier. (The sender's first look at the mark stayed a plain
load; here its caller has a barrier before the call.)",
    legend: "",
    main: "loop",
    owed: "a callback: there is data that it has not seen",
};

struct Handle<P: Primitives> {
    data: P::Atomic,
    pending: P::Atomic,
    eventfd: P::Parker,
}

impl<P: Primitives> Handle<P> {
    /// `cmpxchgi`: what was there before. A full barrier, as the compilers' `__sync` functions are.
    fn exchange(&self, old: usize, new: usize) -> usize {
        let before = self.pending.compare_exchange(old, new, SeqCst, SeqCst).unwrap_or_else(|actual| actual);
        P::fence(SeqCst);
        before
    }

    fn send(&self) {
        if self.pending.load(Relaxed) == 0 && self.exchange(0, 1) == 0 {
            self.eventfd.unpark();
        }
    }

    /// Whether there is something to call back for.
    fn is_pending(&self, form: Form) -> bool {
        match form {
            Form::Losing => {
                let is_pending = self.pending.load(Relaxed) == 1;
                if is_pending {
                    self.pending.store(0, Relaxed);
                }
                is_pending
            }
            Form::Mended => self.exchange(1, 0) == 1,
        }
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let handle = Arc::new(Handle::<P> {
        data: P::Atomic::new("data", 0),
        pending: P::Atomic::new("pending", 1), // by an earlier send
        eventfd: P::Parker::new("loop"),
    });
    handle.eventfd.unpark();
    let sender = P::spawn("sender", {
        let handle = handle.clone();
        move || {
            handle.data.store(1, Relaxed);
            P::fence(SeqCst); // pairs with the one in `exchange`, which the losing form has not
            handle.send();
        }
    });
    loop {
        handle.eventfd.park();
        if handle.is_pending(form) && handle.data.load(Relaxed) == 1 {
            break;
        }
    }
    sender.join().expect("no panic");
}
