//! How long one job takes, there and back, while nothing else is in flight.
//!
//! Back to back both sides have hardly gone to sleep when the next one comes. After a pause all threads sleep, and so may the CPU.

use std::time::{Duration, Instant};

use super::hand_off::{HandOff, InFlight, Kernel, Offloading};
use super::load::Load;
use super::peers::{Blocking, Crossbeam, Mpsc, Rayon, Spawning, Tokio};
use super::{BASELINE, Contender, Counts, Error, Latency, Line};

const CASES: [(&str, Duration); 2] =
    [("back to back", Duration::ZERO), ("after 1 ms", Duration::from_millis(1))];

pub(super) fn lines() -> Vec<Line> {
    const LIGHT: Load = Load::LIGHT;
    CASES
        .into_iter()
        .flat_map(|(case, pause)| {
            [
                line(BASELINE, pause, || Kernel::new(1)),
                line("reveille", pause, || Offloading::new(1, LIGHT)),
                line("reveille-poll", pause, || Offloading::new(1, LIGHT)?.polling()),
                line("std-mpsc", pause, || HandOff::peer(1, LIGHT, Mpsc::new)),
                line("crossbeam-channel", pause, || HandOff::peer(1, LIGHT, Crossbeam::new)),
                line("tokio-spawn_blocking", pause, || HandOff::peer(1, LIGHT, Spawning::<Tokio>::new)),
                line("rayon", pause, || HandOff::peer(1, LIGHT, Spawning::<Rayon>::new)),
                line("blocking", pause, || HandOff::peer(1, LIGHT, Spawning::<Blocking>::new)),
            ]
            .map(|line| line.in_case(case))
        })
        .collect()
}

fn line<C: InFlight + 'static>(
    contender: &'static str,
    pause: Duration,
    make: impl Fn() -> Result<C, Error> + Send + Sync + 'static,
) -> Line {
    Line::new(contender, 1, move || Ok(OneByOne { of: make()?, pause }))
}

/// One operation after the other, each after a pause.
struct OneByOne<C> {
    of: C,
    pause: Duration,
}

impl<C: InFlight> Contender for OneByOne<C> {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let start = Instant::now();
        let mut took = Vec::new();
        while took.is_empty() || start.elapsed() < time {
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
            let start = Instant::now();
            let begun = self.of.begin(1);
            self.of.end(begun)?;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        let of_1000 = |n: usize| took[(took.len() * n / 1000).min(took.len() - 1)];
        let n = took.len() as u64;
        Ok(Counts {
            submitted: n,
            completed: n,
            latency: Some(Latency { p50: of_1000(500), p99: of_1000(990), p999: of_1000(999) }),
            ..Counts::default()
        })
    }
}
