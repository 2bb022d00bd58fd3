//! notify_waiters reads the state and stores it one higher: the permit of a notify_one between is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};

use super::{Card, Form, discipline};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "tokio-notify",
    year: 2021,
    source: "tokio 6845a93cbf52",
    needs: Needs::Interleaving,
    threads: 3,
    broke: &[discipline::NO_BLIND_STORE],
    unseen: Some("six months"),
    story: "\
tokio's Notify packs a permit and the number of notify_waiters calls into one word. With nobody waiting,
notify_waiters only counted itself: a load, and a store of one more. It held the lock; but notify_one
leaves a permit without the lock. A permit that comes between the two is overwritten, and the next
notified().await sleeps. A reader of the code found it half a year after it was written; loom then
showed it at once. Mended: fetch_add.",
    legend: "state  0 empty, 1 a waiter, 2 a permit; and 4 for each notify_waiters",
    main: "waiter",
    owed: "a permit, which was overwritten",
};

const EMPTY: usize = 0;
const WAITING: usize = 1;
const NOTIFIED: usize = 2;
/// One call of `notify_waiters`.
const CALL: usize = 4;

fn kind(state: usize) -> usize {
    state % CALL
}

fn with_kind(state: usize, kind: usize) -> usize {
    state - state % CALL + kind
}

struct Notify<P: Primitives> {
    state: P::Atomic,
    waiter: P::Mutex<Option<Arc<P::Parker>>>,
}

impl<P: Primitives> Notify<P> {
    fn exchange(&self, state: usize, kind: usize) -> Result<usize, usize> {
        self.state.compare_exchange(state, with_kind(state, kind), SeqCst, SeqCst)
    }

    fn notified(&self, task: &Arc<P::Parker>) {
        let waits = self.waiter.with(|waiter| {
            let mut state = self.state.load(SeqCst);
            loop {
                let next = if kind(state) == NOTIFIED { EMPTY } else { WAITING };
                match self.exchange(state, next) {
                    Ok(_) if next == EMPTY => return false,
                    Ok(_) => break,
                    Err(actual) => state = actual,
                }
            }
            *waiter = Some(task.clone());
            true
        });
        if waits {
            task.park();
        }
    }

    /// Leaves a permit if nobody waits. False if somebody does.
    fn leave_permit(&self) -> bool {
        let mut state = self.state.load(SeqCst);
        while kind(state) != WAITING {
            match self.exchange(state, NOTIFIED) {
                Ok(_) => return true,
                Err(actual) => state = actual,
            }
        }
        false
    }

    fn wake(&self, waiter: &mut Option<Arc<P::Parker>>, state: usize) {
        self.state.store(with_kind(state, EMPTY), SeqCst);
        waiter.take().into_iter().for_each(|task| task.unpark());
    }

    fn notify_one(&self) {
        if !self.leave_permit() {
            self.waiter.with(|waiter| {
                if !self.leave_permit() {
                    self.wake(waiter, self.state.load(SeqCst));
                }
            });
        }
    }

    fn notify_waiters(&self, form: Form) {
        self.waiter.with(|waiter| {
            let state = self.state.load(SeqCst);
            match (kind(state), form) {
                // The lock keeps everybody else away from a state with a waiter.
                (WAITING, _) => self.wake(waiter, state + CALL),
                (_, Form::Losing) => self.state.store(state + CALL, SeqCst),
                (_, Form::Mended) => {
                    self.state.fetch_add(CALL, SeqCst);
                }
            }
        });
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let notify = Arc::new(Notify::<P> {
        state: P::Atomic::new("state", EMPTY),
        waiter: P::Mutex::new("waiters", None),
    });
    let threads = [
        P::spawn("notify_waiters", {
            let notify = notify.clone();
            move || notify.notify_waiters(form)
        }),
        P::spawn("notify_one", {
            let notify = notify.clone();
            move || notify.notify_one()
        }),
    ];
    notify.notified(&Arc::new(P::Parker::new("waiter")));
    for thread in threads {
        thread.join().expect("no panic");
    }
}
