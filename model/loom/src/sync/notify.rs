//! loom's `Notify`: a token that one thread at a time waits for.

use std::fmt;
use std::panic::Location as Source;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use reveille_model::code::{self, Kind, Late, Location};
use reveille_model::graphs::Op;

use crate::rt;
use crate::rt::rules::{Rule, without};

/// A notification. It is there, or it is not.
///
/// A wait may end for no reason once in an execution, as loom's may.
pub struct Notify {
    late: Late,
    /// The run in which it has
    spurious: AtomicU64,
}

impl Notify {
    /// A new one, which is not there.
    #[track_caller]
    pub const fn new() -> Self {
        Notify { late: Late::new(), spurious: AtomicU64::new(0) }
    }

    fn location(&self) -> Location {
        self.late.location("Notify", Kind::Token, |_| 0)
    }

    /// Puts it there.
    #[track_caller]
    pub fn notify(&self) {
        if !without(Rule::NotificationsStay) {
            rt::put(self.location(), Release, Source::caller());
        }
    }

    /// Waits until it is there, and takes it.
    #[track_caller]
    pub fn wait(&self) {
        let source = Source::caller();
        let run = code::run();
        if self.spurious.load(Relaxed) != run && rt::perform(Op::Choose { outcomes: 2 }, source) == 1 {
            self.spurious.store(run, Relaxed);
            return;
        }
        rt::take(self.location(), Acquire, source);
    }
}

impl Default for Notify {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notify ({})", self.late.source())
    }
}
