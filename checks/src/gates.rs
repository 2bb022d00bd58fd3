//! The gates under question. Sound are [`HasSleeper`]; [`Rearm`] and [`RearmByStore`] as long as every waiter re-polls; and
//! [`RearmOptIn`] for wake-all. The others can miss a wakeup; that is why they live here and not in the library.
//!
//! Each is one line of the table in the README: what arming does, and what the waker asks. Where there is a mark it is one flag for
//! the queue, `waiting`.

use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};

use reveille::gate::{self, Arm, Gate, WakeOne};

pub use reveille::gate::PerEntry;
use reveille::sync::{Atomic, Primitives};

/// "Is the queue non-empty?" after a full barrier; it pairs with the barrier after the enqueue.
fn wq_has_sleeper<P: Primitives>(queued: &P::Atomic) -> bool {
    P::fence(SeqCst);
    queued.load(Relaxed) > 0
}

/// The kernel's barrier at the end of `poll_wait`: there on the first call only, and only since 6.14.
fn poll_wait_barrier<P: Primitives>(arm: Arm) {
    if arm == Arm::First {
        P::fence(SeqCst);
    }
}

/// The flag of the patch, `poll_wq_waiting`.
pub struct Flag<P: Primitives> {
    waiting: P::Atomic,
}

impl<P: Primitives> Flag<P> {
    fn new() -> Self {
        Self { waiting: P::Atomic::new("waiting", 0) }
    }
}

/// No flag at all.
pub struct Nothing;

/// The hooks that the gates with one flag share: the waker takes the flag, activation clears it.
macro_rules! one_flag {
    () => {
        type Shared<P: Primitives> = Flag<P>;
        type Mark<P: Primitives> = ();

        fn shared<P: Primitives>() -> Flag<P> {
            Flag::new()
        }
        fn mark<P: Primitives>(_: gate::Rearm) {}

        fn admit<P: Primitives>(flag: &Flag<P>, queued: &P::Atomic) -> bool {
            wq_has_sleeper::<P>(queued) && flag.waiting.swap(0, Release) > 0
        }
        fn reset<P: Primitives>(flag: &Flag<P>) {
            // The patch stores; nothing depends on which it is, and a swap leaves loom no room for a false alarm.
            flag.waiting.swap(0, Release);
        }
    };
}

/// The hooks of the gates that remember nothing.
macro_rules! no_flag {
    () => {
        type Shared<P: Primitives> = Nothing;
        type Mark<P: Primitives> = ();

        fn shared<P: Primitives>() -> Nothing {
            Nothing
        }
        fn mark<P: Primitives>(_: gate::Rearm) {}

        fn admit<P: Primitives>(_: &Nothing, queued: &P::Atomic) -> bool {
            wq_has_sleeper::<P>(queued)
        }
    };
}

/// The kernel today: skips only when the queue is empty.
pub enum HasSleeper {}

impl Gate for HasSleeper {
    const NAME: &'static str = "has-sleeper";
    no_flag!();

    fn after_enqueue<P: Primitives>(_: &Nothing, _: &(), arm: Arm) {
        poll_wait_barrier::<P>(arm);
    }
}

/// The kernel before 6.14: nothing orders the enqueue before the look.
pub enum HasSleeperNoBarrier {}

impl Gate for HasSleeperNoBarrier {
    const NAME: &'static str = "has-sleeper-no-barrier";
    no_flag!();

    fn after_enqueue<P: Primitives>(_: &Nothing, _: &(), _: Arm) {}
}

/// The patch: the flag is set by a relaxed store before the enqueue.
pub enum Posted {}

impl Gate for Posted {
    const NAME: &'static str = "posted";
    one_flag!();

    fn before_enqueue<P: Primitives>(flag: &Flag<P>, _: &()) {
        flag.waiting.store(1, Relaxed);
    }
    fn after_enqueue<P: Primitives>(_: &Flag<P>, _: &(), arm: Arm) {
        poll_wait_barrier::<P>(arm);
    }
}

/// The patch, with a full barrier after the store.
pub enum PostedFenced {}

impl Gate for PostedFenced {
    const NAME: &'static str = "posted-fenced";
    one_flag!();

    fn before_enqueue<P: Primitives>(flag: &Flag<P>, _: &()) {
        flag.waiting.store(1, Relaxed);
        P::fence(SeqCst);
    }
    fn after_enqueue<P: Primitives>(_: &Flag<P>, _: &(), arm: Arm) {
        poll_wait_barrier::<P>(arm);
    }
}

/// The flag is set after the enqueue, and nothing orders it before the look.
pub enum ArmedLate {}

impl Gate for ArmedLate {
    const NAME: &'static str = "armed-late";
    one_flag!();

    fn after_enqueue<P: Primitives>(flag: &Flag<P>, _: &(), arm: Arm) {
        poll_wait_barrier::<P>(arm);
        flag.waiting.store(1, Relaxed);
    }
}

/// The flag is set by a read-modify-write after the enqueue, with a full barrier after it, on every poll.
pub enum Rearm {}

impl Gate for Rearm {
    const NAME: &'static str = "rearm";
    one_flag!();

    fn after_enqueue<P: Primitives>(flag: &Flag<P>, _: &(), _: Arm) {
        // A swap where a store would do: loom mistakes a store that only fences order (see "alarm" in the README).
        flag.waiting.swap(1, Relaxed);
        P::fence(SeqCst); // pairs with the fence in `wq_has_sleeper`
    }
}

/// [`Rearm`] with a store in place of the read-modify-write. It is as sound, but loom reports misses of it: it may let the waker's
/// exchange read a value older than this store, which only the fences order before it. The model refutes them.
pub enum RearmByStore {}

impl Gate for RearmByStore {
    const NAME: &'static str = "rearm-by-store";
    type Shared<P: Primitives> = Flag<P>;
    type Mark<P: Primitives> = ();

    fn shared<P: Primitives>() -> Flag<P> {
        Flag::new()
    }
    fn mark<P: Primitives>(_: gate::Rearm) {}

    fn after_enqueue<P: Primitives>(flag: &Flag<P>, _: &(), _: Arm) {
        flag.waiting.store(1, Relaxed);
        P::fence(SeqCst); // pairs with the fence in `wq_has_sleeper`
    }
    fn admit<P: Primitives>(flag: &Flag<P>, queued: &P::Atomic) -> bool {
        wq_has_sleeper::<P>(queued) && flag.waiting.swap(0, Release) > 0
    }
    fn reset<P: Primitives>(flag: &Flag<P>) {
        flag.waiting.store(0, Release);
    }
}

/// As [`Rearm`]; entries that never re-poll are counted, and while there is one nothing is skipped.
pub enum RearmOptIn {}

/// The shared part of [`RearmOptIn`].
pub struct FlagAndCount<P: Primitives> {
    waiting: P::Atomic,
    persistent: P::Atomic,
}

/// The mark of [`RearmOptIn`]: whether the entry re-polls, and whether it is counted as one that does not.
pub struct OptIn<P: Primitives> {
    rearm: gate::Rearm,
    counted: P::Atomic,
}

impl Gate for RearmOptIn {
    const NAME: &'static str = "rearm-opt-in";
    type Shared<P: Primitives> = FlagAndCount<P>;
    type Mark<P: Primitives> = OptIn<P>;

    fn shared<P: Primitives>() -> FlagAndCount<P> {
        FlagAndCount { waiting: P::Atomic::new("waiting", 0), persistent: P::Atomic::new("persistent", 0) }
    }
    fn mark<P: Primitives>(rearm: gate::Rearm) -> OptIn<P> {
        OptIn { rearm, counted: P::Atomic::new("counted", 0) }
    }

    fn after_enqueue<P: Primitives>(queue: &FlagAndCount<P>, mark: &OptIn<P>, arm: Arm) {
        if mark.rearm == gate::Rearm::Never && arm == Arm::First {
            queue.persistent.fetch_add(1, Relaxed);
            mark.counted.store(1, Relaxed);
        }
        queue.waiting.swap(1, Relaxed);
        P::fence(SeqCst); // pairs with the fence in `wq_has_sleeper`
    }
    fn admit<P: Primitives>(queue: &FlagAndCount<P>, queued: &P::Atomic) -> bool {
        wq_has_sleeper::<P>(queued)
            && (queue.persistent.load(Relaxed) > 0 || queue.waiting.swap(0, Release) > 0)
    }
    fn disarmed<P: Primitives>(queue: &FlagAndCount<P>, mark: &OptIn<P>) {
        if mark.rearm == gate::Rearm::Never && mark.counted.swap(0, Relaxed) == 1 {
            queue.persistent.fetch_sub(1, Relaxed);
        }
    }
    fn reset<P: Primitives>(queue: &FlagAndCount<P>) {
        queue.waiting.swap(0, Release);
    }
}

// The library accepts a wake-one only with a mark in the entry. Here the others claim it too: what comes of it is one of
// the questions.
impl WakeOne for HasSleeper {}
impl WakeOne for HasSleeperNoBarrier {}
impl WakeOne for Posted {}
impl WakeOne for PostedFenced {}
impl WakeOne for ArmedLate {}
impl WakeOne for Rearm {}
impl WakeOne for RearmByStore {}
impl WakeOne for RearmOptIn {}
