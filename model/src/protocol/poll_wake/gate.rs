//! The gates: what is done when arming, when deciding about a wake, and when an entry is told or leaves.
//!
//! Every mark is relaxed unless the gate's idea is another one: the barriers carry the argument.

use super::build::World;
use super::{Gate, Mutant};
use crate::memory::Barrier::SeqCst;
use crate::memory::Order::{Acquire, Relaxed, Release};
use crate::program::{Code, Expr, Register, Term};

/// `per-entry`: the states of an entry's mark.
pub(super) const IDLE: i32 = 0;
pub(super) const ARMED: i32 = 1;
pub(super) const NOTIFIED: i32 = 2;

impl World {
    /// The poller arms; its entry may not be in the queue yet.
    pub(super) fn before_enqueue(&self, p: &mut Code) {
        match self.gate {
            Gate::Posted => p.store("arm", self.waiting, 1, Relaxed),
            Gate::PostedFenced => {
                p.store("arm", self.waiting, 1, Relaxed);
                p.fence("arm barrier", SeqCst);
            }
            _ => (),
        }
    }

    /// The poller arms; its entry is in the queue, by this very call if `first`.
    pub(super) fn after_enqueue(&self, p: &mut Code, entry: u8, first: impl Into<Expr>) {
        let first = first.into();
        match self.gate {
            Gate::HasSleeper | Gate::Posted | Gate::PostedFenced => {
                p.when(first, |p| p.fence("enqueue barrier", SeqCst));
            }
            Gate::HasSleeperNoBarrier => (),
            Gate::ArmedLate => {
                p.when(first, |p| p.fence("enqueue barrier", SeqCst));
                p.store("arm", self.waiting, 1, Relaxed);
            }
            Gate::RearmByStore => {
                p.store("arm", self.waiting, 1, Relaxed);
                p.fence("arm barrier", SeqCst);
            }
            Gate::Rearm | Gate::RearmOptIn => {
                if self.gate == Gate::RearmOptIn && self.persistent_entries {
                    p.when(first, |p| {
                        p.add("count persistent", self.persistent, 1, Relaxed);
                        p.store("counted", self.counted.at(i32::from(entry)), 1, Relaxed);
                    });
                }
                p.scope(|p| {
                    p.swap("arm", self.waiting, 1, Relaxed);
                });
                p.fence("arm barrier", SeqCst);
            }
            Gate::PerEntry => p.scope(|p| {
                let mark = self.mark.at(i32::from(entry));
                let was = p.load("armed already", mark.clone(), Relaxed);
                p.when(was.differs(ARMED), |p| {
                    // The count first: otherwise a waker could lower it for this entry before it was raised, and hide
                    // another one.
                    let count_late = self.mutant == Some(Mutant::CountAfterArmed);
                    if !count_late {
                        p.add("count armed", self.armed, 1, Relaxed);
                    }
                    p.swap("arm", mark, ARMED, Relaxed);
                    if count_late {
                        p.add("count armed", self.armed, 1, Relaxed);
                    }
                    if self.mutant != Some(Mutant::SleeperWithoutBarrier) {
                        p.fence("arm barrier", SeqCst);
                    }
                });
            }),
        }
    }

    /// The waker asks whether anybody has to be told; runs `deliver` if so.
    pub(super) fn admit(&self, p: &mut Code, deliver: impl FnOnce(&mut Code)) {
        if self.mutant != Some(Mutant::WakerWithoutBarrier) {
            p.fence("waker barrier", SeqCst);
        }
        if self.gate == Gate::PerEntry {
            return p.scope(|p| {
                let armed = p.load("anybody armed", self.armed, Relaxed);
                p.when(armed.differs(0), deliver);
            });
        }
        p.scope(|p| {
            let queued = p.load("queue non-empty", self.queued, Relaxed);
            p.when(queued.differs(0), |p| match self.gate {
                Gate::RearmOptIn => {
                    let persistent = p.load("any persistent", self.persistent, Relaxed);
                    let taken = p.compute(0);
                    p.when(persistent.is(0), |p| {
                        let flag = p.swap("take flag", self.waiting, 0, Release);
                        p.set(taken, flag);
                    });
                    p.when(persistent.or(taken), deliver);
                }
                _ if self.has_flag() => {
                    let flag = p.swap("take flag", self.waiting, 0, Release);
                    p.when(flag.differs(0), deliver);
                }
                _ => deliver(p),
            });
        });
    }

    /// Under the lock: a register that says whether the entry takes the wake.
    pub(super) fn notified(&self, p: &mut Code, entry: Register) -> Register {
        if self.gate != Gate::PerEntry {
            return p.compute(1);
        }
        let mark = self.mark.at(entry);
        if self.persistent_entries {
            let was = p.load("still armed", mark, Relaxed);
            return p.compute(was.is(ARMED));
        }
        // Relaxed: the lock orders wakers among themselves, the wake carries the order to the owner.
        let was = p.compare_exchange("notify", mark, (ARMED, NOTIFIED), (Relaxed, Relaxed));
        p.when(was.is(ARMED), |p| {
            p.add("count notified", self.armed, -1, Relaxed);
        });
        p.compute(was.is(ARMED))
    }

    /// Under the lock: an entry leaves the queue.
    pub(super) fn disarmed(&self, p: &mut Code, entry: u8) {
        let entry = i32::from(entry);
        match self.gate {
            Gate::PerEntry => p.scope(|p| {
                let was = p.swap("disarm", self.mark.at(entry), IDLE, Relaxed);
                p.when(was.is(ARMED), |p| {
                    p.add("count disarmed", self.armed, -1, Relaxed);
                });
            }),
            Gate::RearmOptIn if self.persistent_entries => p.scope(|p| {
                let counted = p.swap("was counted", self.counted.at(entry), 0, Relaxed);
                p.when(counted.is(1), |p| {
                    p.add("count left", self.persistent, -1, Relaxed);
                });
            }),
            _ => (),
        }
    }

    /// Everybody is about to be told, whatever [`World::admit`] would have said.
    pub(super) fn reset(&self, p: &mut Code) {
        match self.gate {
            Gate::PerEntry if self.mutant != Some(Mutant::DeliveryWithoutBarrier) => {
                p.fence("reset barrier", SeqCst);
            }
            Gate::RearmByStore => p.store("reset", self.waiting, 0, Release),
            _ if self.has_flag() => p.scope(|p| {
                p.swap("reset", self.waiting, 0, Release);
            }),
            _ => (),
        }
    }

    /// Does the gate have one flag for the whole queue?
    pub(super) fn has_flag(&self) -> bool {
        !matches!(self.gate, Gate::HasSleeper | Gate::HasSleeperNoBarrier | Gate::PerEntry)
    }

    /// The poller looks at the ring: a register that is 0 if it sees nothing. `tail` first, as the kernel does.
    pub(super) fn look(&self, p: &mut Code) -> Register {
        let readable = p.register();
        p.scope(|p| {
            let tail = p.load("look tail", self.ring.tail, Acquire);
            let head = p.load("look head", self.ring.head, Relaxed);
            p.set(readable, tail.differs(head));
        });
        readable
    }
}
