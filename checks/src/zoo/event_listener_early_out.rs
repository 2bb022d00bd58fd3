//! The precision test: reported as a lost wakeup, and none.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};

use super::{Card, Form};
use crate::subject::Needs;

pub(super) const CARD: Card = Card {
    name: "event-listener-early-out",
    year: 2024,
    source: "event-listener #138",
    needs: Needs::Nothing,
    threads: 2,
    broke: &[],
    unseen: None,
    story: "\
notify leaves early, without the lock, if no listener was ever made or none is left to be told. A test
under loom deadlocked there, and the early way out was taken out, with the wish to have it back. The
race is there: notify leaves while listen is half done. But nothing is lost, as long as the listener
looks at its condition again after listen, which ends with a full fence: notify begins with one, so
either notify sees the listener or the listener sees the condition. Mended, as it was: notify always
takes the lock. No engine may call either form a miss.",
    legend: "\
inner     whether the list was ever made
notified  how many listeners were told; 9: none is left to be told",
    main: "listener",
    owed: "a notification",
};

/// There is no listener that was not told.
const NONE_LEFT: usize = 9;

struct Event<P: Primitives> {
    inner: P::Atomic,
    notified: P::Atomic,
    listener: P::Mutex<Option<Arc<P::Parker>>>,
}

impl<P: Primitives> Event<P> {
    fn listen(&self, task: &Arc<P::Parker>) {
        if self.inner.load(Acquire) == 0 {
            // Pairs with the acquire loads of `inner`: the list is made.
            let _ = self.inner.compare_exchange(0, 1, AcqRel, Acquire);
        }
        self.listener.with(|listener| {
            *listener = Some(task.clone());
            self.notified.store(0, Release); // pairs with the acquire load in `notify`
        });
        P::fence(SeqCst); // pairs with the one in `notify`
    }

    fn notify(&self, limit: usize, form: Form) {
        P::fence(SeqCst); // pairs with the one in `listen`
        let leaves_early = || self.inner.load(Acquire) == 0 || self.notified.load(Acquire) >= limit;
        if form == Form::Losing && leaves_early() {
            return;
        }
        self.listener.with(|listener| {
            listener.take().into_iter().for_each(|task| task.unpark());
            self.notified.store(NONE_LEFT, Release); // pairs with the acquire load above
        });
    }
}

pub(super) fn run<P: Primitives>(form: Form) {
    let shared = Arc::new((
        P::Atomic::new("flag", 0),
        Event::<P> {
            inner: P::Atomic::new("inner", 0),
            notified: P::Atomic::new("notified", NONE_LEFT),
            listener: P::Mutex::new("listeners", None),
        },
    ));
    let notifier = P::spawn("notifier", {
        let shared = shared.clone();
        move || {
            let (flag, event) = &*shared;
            flag.store(1, Relaxed);
            event.notify(1, form);
        }
    });
    let (flag, event) = &*shared;
    let task = Arc::new(P::Parker::new("listener"));
    while flag.load(Relaxed) == 0 {
        event.listen(&task);
        if flag.load(Relaxed) == 0 {
            task.park();
        }
    }
    notifier.join().expect("no panic");
}
