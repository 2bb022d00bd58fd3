//! Jobs that do something: that compute for some time, or block in a system call without saying so.
//!
//! There are two workers for those that compute, and 64 for those that sleep, of which 256 are in flight: at best 64,000 a second.

use std::time::Duration;

use super::Line;
use super::hand_off::{HandOff, Offloading, WORKERS};
use super::load::{Body, Load};
use super::peers::{Blocking, Crossbeam, Mpsc, Rayon, Spawning, Tokio};

const COMPUTES: [(&str, Body); 4] = [
    ("0 us", Body::Nothing),
    ("1 us", Body::Computes(1)),
    ("10 us", Body::Computes(10)),
    ("100 us", Body::Computes(100)),
];

pub(super) fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for (case, body) in COMPUTES {
        let load = Load { workers: WORKERS, body };
        lines.extend(of_any_number(case, 64, load));
        // Its one pool is the process's, and has as many as the others here.
        let blocking = move || HandOff::peer(64, load, Spawning::<Blocking>::new);
        lines.push(Line::new("blocking", 64, blocking).in_case(case).of_workers(WORKERS));
    }
    let sleeps = Load { workers: 64, body: Body::Sleeps(Duration::from_millis(1)) };
    lines.extend(of_any_number("sleeps 1 ms", 256, sleeps));
    lines
}

/// Those that have as many workers as they are told.
fn of_any_number(case: &'static str, n: usize, load: Load) -> [Line; 5] {
    let lines = [
        Line::new("reveille", n, move || Offloading::new(n, load)),
        Line::new("std-mpsc", n, move || HandOff::peer(n, load, Mpsc::new)),
        Line::new("crossbeam-channel", n, move || HandOff::peer(n, load, Crossbeam::new)),
        Line::new("tokio-spawn_blocking", n, move || HandOff::peer(n, load, Spawning::<Tokio>::new)),
        Line::new("rayon", n, move || HandOff::peer(n, load, Spawning::<Rayon>::new)),
    ];
    lines.map(|line| line.in_case(case).of_workers(load.workers))
}
