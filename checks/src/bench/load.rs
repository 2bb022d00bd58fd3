//! What the jobs of a bench do, and how many workers there are for them.

use std::hint::black_box;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::hand_off::WORKERS;

/// Jobs, and workers for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub workers: usize,
    pub body: Body,
}

impl Load {
    /// Jobs that do nothing, and a few workers.
    pub(super) const LIGHT: Self = Self { workers: WORKERS, body: Body::Nothing };
}

/// What a job does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    Nothing,
    /// Uses the CPU for so many microseconds.
    Computes(u32),
    /// Blocks in the system for so long.
    Sleeps(Duration),
    /// Waits until the gate is open.
    Waits(&'static Gate),
}

impl Body {
    /// The job. It returns its token.
    pub(super) fn run(self, token: u64) -> u64 {
        match self {
            Self::Nothing => {}
            Self::Computes(microseconds) => count(steps_per_microsecond() * u64::from(microseconds)),
            Self::Sleeps(time) => std::thread::sleep(time),
            Self::Waits(gate) => gate.pass(),
        }
        black_box(token)
    }
}

/// Work of a fixed size, and not of a fixed time: a worker that has to share its CPU takes longer.
fn count(steps: u64) {
    for step in 0..steps {
        black_box(step);
    }
}

/// Measured once; the fastest of some, since anything may come between.
fn steps_per_microsecond() -> u64 {
    static STEPS: OnceLock<u64> = OnceLock::new();
    const SAMPLE: u64 = 100_000;
    *STEPS.get_or_init(|| {
        let sample = |_| {
            let start = Instant::now();
            count(SAMPLE);
            start.elapsed()
        };
        let fastest = (0..20).map(sample).min().unwrap_or_default();
        (SAMPLE * 1000 / (fastest.as_nanos() as u64).max(1)).max(1)
    })
}

/// Lets nobody pass while it is closed.
#[derive(Debug)]
pub(super) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(super) const fn open() -> Self {
        Self { closed: Mutex::new(false), opened: Condvar::new() }
    }

    pub(super) fn set_closed(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(closed, |closed| *closed));
    }
}
