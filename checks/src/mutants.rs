//! The gate of production, with one thing wrong each. Whatever passes [`PerEntry`](reveille::gate::PerEntry) has to reject these, or its pass
//! says nothing.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use reveille::gate::{Arm, Gate, Rearm, WakeOne};
use reveille::sync::{Atomic, Primitives};

/// `PerEntry` once more, with the mistake `M`: one of the constants of this module.
pub enum Mutant<const M: u8> {}

/// No mistake: the control, which has to pass.
pub const FAITHFUL: u8 = 0;
/// The entry becomes armed first, and is counted afterwards.
pub const COUNTED_LATE: u8 = 1;
/// No barrier between arming and the look.
pub const NO_BARRIER_AFTER_ARM: u8 = 2;
/// No barrier between the condition and the question.
pub const NO_BARRIER_BEFORE_QUESTION: u8 = 3;
/// No barrier before a delivery to everybody.
pub const NO_BARRIER_BEFORE_BROADCAST: u8 = 4;
/// An entry that was told and leaves keeps its wake to itself.
pub const KEEPS_THE_WAKE: u8 = 5;
/// An entry that never re-polls is marked as told, as the others are.
pub const PERSISTENT_IS_TOLD_ONCE: u8 = 6;
/// An entry that leaves is counted no more and looks armed still, so that it is not counted again when it comes back.
pub const LEAVES_ARMED: u8 = 7;

/// See [`ArmedCount`](reveille::gate::ArmedCount).
pub struct Count<P: Primitives>(P::Atomic);

/// See [`ArmedMark`](reveille::gate::ArmedMark).
pub struct Mark<P: Primitives>(P::Atomic, Rearm);

const IDLE: usize = 0;
const ARMED: usize = 1;
const NOTIFIED: usize = 2;

impl<const M: u8> WakeOne for Mutant<M> {}

impl<const M: u8> Gate for Mutant<M> {
    const NAME: &'static str = "per-entry (mutant)";
    const PASSES_ON: bool = M != KEEPS_THE_WAKE;
    type Shared<P: Primitives> = Count<P>;
    type Mark<P: Primitives> = Mark<P>;

    fn shared<P: Primitives>() -> Count<P> {
        Count(P::Atomic::new("armed", 0))
    }

    fn mark<P: Primitives>(rearm: Rearm) -> Mark<P> {
        Mark(P::Atomic::new("mark", IDLE), rearm)
    }

    fn after_enqueue<P: Primitives>(armed: &Count<P>, mark: &Mark<P>, _: Arm) {
        if mark.0.load(Relaxed) == ARMED {
            return;
        }
        if M == COUNTED_LATE {
            mark.0.swap(ARMED, Relaxed);
            armed.0.fetch_add(1, Relaxed);
        } else {
            armed.0.fetch_add(1, Relaxed);
            mark.0.swap(ARMED, Relaxed);
        }
        if M != NO_BARRIER_AFTER_ARM {
            P::fence(SeqCst);
        }
    }

    fn admit<P: Primitives>(armed: &Count<P>, _: &P::Atomic) -> bool {
        if M != NO_BARRIER_BEFORE_QUESTION {
            P::fence(SeqCst);
        }
        armed.0.load(Relaxed) > 0
    }

    fn notified<P: Primitives>(armed: &Count<P>, mark: &Mark<P>) -> bool {
        if mark.1 == Rearm::Never && M != PERSISTENT_IS_TOLD_ONCE {
            return mark.0.load(Relaxed) == ARMED;
        }
        let told = mark.0.compare_exchange(ARMED, NOTIFIED, Relaxed, Relaxed).is_ok();
        if told {
            armed.0.fetch_sub(1, Relaxed);
        }
        told
    }

    fn disarmed<P: Primitives>(armed: &Count<P>, mark: &Mark<P>) {
        let left = if M == LEAVES_ARMED { mark.0.load(Relaxed) } else { mark.0.swap(IDLE, Relaxed) };
        if left == ARMED {
            armed.0.fetch_sub(1, Relaxed);
        }
    }

    fn reset<P: Primitives>(_: &Count<P>) {
        if M != NO_BARRIER_BEFORE_BROADCAST {
            P::fence(SeqCst);
        }
    }
}
