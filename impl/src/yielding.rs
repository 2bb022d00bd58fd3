//! Yielding the CPU before a sleep, and resting from it where it does not pay.
//!
//! Whoever is about to sleep lets other threads run first (`sched_yield`, <https://man7.org/linux/man-pages/man2/sched_yield.2.html>). If
//! what it waits for was only waiting for this CPU, it is there when the call returns: nobody slept, and nobody had to be woken. With
//! nobody else about, the call takes less than a microsecond. Where another program wants the CPU the call takes as long as that
//! program keeps it, which is milliseconds.
//!
//! So a [`Yielder`] for which that took long does not yield for [`REST`] times as long. Whoever it is that takes the CPU, and
//! however long his slices are: no more than one part in [`REST`] of the time is lost to him, and what has changed meanwhile is
//! noticed soon after. It may have been one's own workers, with jobs that take that long; beside those a sleep costs nothing.

use std::time::{Duration, Instant};

use crate::sync::Primitives;

/// How often whoever is about to sleep yields first, by default.
pub(crate) const YIELDS: usize = 16;

/// And no longer than for this time, if it is in vain.
const IN_VAIN: Duration = Duration::from_micros(100);

/// It took long even if it was not in vain.
const LONG: Duration = Duration::from_micros(500);

/// For how many times as long as it took there is no yield.
const REST: u32 = 64;

/// One thread's decision whether to yield before it sleeps.
#[derive(Debug)]
pub(crate) struct Yielder {
    times: usize,
    rests_until: Option<Instant>,
}

impl Yielder {
    /// Yields so many times at most before a sleep; 0 for never.
    pub const fn new(times: usize) -> Self {
        Self { times, rests_until: None }
    }

    /// Whether to yield now.
    pub fn is_ready(&mut self) -> bool {
        if self.rests_until.is_some_and(|end| Instant::now() >= end) {
            self.rests_until = None;
        }
        self.times > 0 && self.rests_until.is_none()
    }

    /// Yields until `done`, if it is ready. False if it is not done.
    pub fn yield_until<P: Primitives>(&mut self, mut done: impl FnMut() -> bool) -> bool {
        if !self.is_ready() {
            return false;
        }
        let start = Instant::now();
        for _ in 0..self.times {
            if !P::yield_now() {
                break;
            }
            let is_done = done();
            let took = start.elapsed();
            if took > if is_done { LONG } else { IN_VAIN } {
                self.rests_until = start.checked_add(took * (REST + 1));
            }
            if is_done || took > IN_VAIN {
                return is_done;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Native;

    /// How often `done` was asked, and what came of it.
    fn yields(yielder: &mut Yielder, mut done: impl FnMut(usize) -> bool) -> (usize, bool) {
        let mut calls = 0;
        let result = yielder.yield_until::<Native>(|| {
            calls += 1;
            done(calls)
        });
        (calls, result)
    }

    #[test]
    fn yielding_ends_when_it_is_done_and_when_it_was_often_enough() {
        assert_eq!(yields(&mut Yielder::new(1000), |_| true), (1, true));
        assert_eq!(yields(&mut Yielder::new(0), |_| true), (0, false));
        // Whether others want the CPU is not for a test to say.
        let (calls, done) = yields(&mut Yielder::new(3), |_| false);
        assert!((1..=3).contains(&calls) && !done, "{calls}");
    }

    #[test]
    fn who_has_yielded_to_somebody_that_keeps_the_cpu_rests_many_times_as_long_and_then_tries_again() {
        for done in [false, true] {
            let mut yielder = Yielder::new(1000);
            let long = |_| {
                std::thread::sleep(2 * LONG);
                done
            };
            let start = Instant::now();
            assert_eq!(yields(&mut yielder, long), (1, done), "once is enough");
            while start.elapsed() < 2 * LONG * REST {
                assert_eq!(yields(&mut yielder, |_| true), (0, false), "it rests");
                std::thread::sleep(LONG);
            }
            // A busy machine may have made the one yield longer still.
            while yields(&mut yielder, |_| true) == (0, false) {
                std::thread::sleep(LONG);
            }
        }
    }
}
