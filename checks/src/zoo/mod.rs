//! Missed wakeups that really happened, each as a small program on the project's own primitives and wait queue.
//!
//! An exhibit has two forms: as it lost, and mended. A checker is worth its name if it finds every miss of the first and nothing
//! in the second. These are the ones that a worker pool is in danger of.

mod io_wq;
mod sleep;

use std::fmt;
use std::str::FromStr;

use reveille::sync::Primitives;

use crate::scenario::Scenario;
use crate::trace::Trace;

/// What went wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exhibit {
    /// Linux 0242f6426ea7 (2021): a worker that finds nothing runnable marks the list STALLED after it has dropped the lock. An insert
    /// that falls between clears the mark too early, and finds no idle worker.
    IoWqStalled,
    /// Linux 751eedc4b4b7 (2025), mended a year later: exit wakes the workers of the first account only, because the iteration ends when
    /// the callback returns false, and it always does.
    IoWqExit,
    /// switchyard #5 (2020): a wake-one reaches a worker that cannot take this job.
    WrongWorker,
    /// rayon be12615bf4fa (2022): the last look before sleep leaves out one of the lists.
    RayonBroadcast,
    /// WebKit 248631, netty cfd6db79150f: the condition is looked at before the lock of the queue is taken, and not again.
    CheckBeforeLock,
}

impl Exhibit {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::IoWqStalled, Self::IoWqExit, Self::WrongWorker, Self::RayonBroadcast, Self::CheckBeforeLock];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoWqStalled => "io-wq-stalled",
            Self::IoWqExit => "io-wq-exit",
            Self::WrongWorker => "wrong-worker",
            Self::RayonBroadcast => "rayon-broadcast",
            Self::CheckBeforeLock => "check-before-lock",
        }
    }
}

impl fmt::Display for Exhibit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Exhibit {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|exhibit| exhibit.name() == name).ok_or_else(|| {
            format!("no exhibit is called `{name}`; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// Which form of an exhibit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As it lost.
    Losing,
    /// As it was mended.
    Mended,
}

/// An exhibit, to be searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the types have the documentation
pub struct Shown {
    pub exhibit: Exhibit,
    pub form: Form,
}

impl Scenario for Shown {
    fn name(&self) -> String {
        let form = if self.form == Form::Losing { "as it lost" } else { "mended" };
        format!("{}, {form}", self.exhibit)
    }

    fn run<P: Primitives>(&self) {
        match self.exhibit {
            Exhibit::IoWqStalled => io_wq::stalled::<P>(self.form),
            Exhibit::IoWqExit => io_wq::exit::<P>(self.form),
            Exhibit::WrongWorker => sleep::wrong_worker::<P>(self.form),
            Exhibit::RayonBroadcast => sleep::look_at_one_list::<P>(self.form),
            Exhibit::CheckBeforeLock => sleep::look_before_arm::<P>(self.form),
        }
    }

    fn owed(&self, _: &Trace) -> Option<String> {
        let debt = match self.exhibit {
            Exhibit::IoWqExit => "the end of a worker that was not woken",
            _ => "a job, which nobody awake will take",
        };
        Some(debt.into())
    }
}
