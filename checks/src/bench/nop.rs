//! The letter's micro-benchmark: operations that do nothing and go through a worker.
//!
//! `reveille-poll` is `reveille` with a poll outstanding that never ends, as a server has one for each of its connections.

use super::hand_off::{HandOff, Kernel, Offloading};
use super::load::Load;
use super::peers::{Blocking, Crossbeam, Mpsc, Rayon, Spawning, Tokio};
use super::{BASELINE, Line};

const DEPTHS: [usize; 4] = [1, 8, 64, 1024];

pub(super) fn lines() -> Vec<Line> {
    const LIGHT: Load = Load::LIGHT;
    DEPTHS
        .into_iter()
        .flat_map(|n| {
            [
                Line::new(BASELINE, n, move || Kernel::new(n)),
                Line::new("reveille", n, move || Offloading::new(n, LIGHT)),
                Line::new("reveille-poll", n, move || Offloading::new(n, LIGHT)?.polling()),
                Line::new("std-mpsc", n, move || HandOff::peer(n, LIGHT, Mpsc::new)),
                Line::new("crossbeam-channel", n, move || HandOff::peer(n, LIGHT, Crossbeam::new)),
                Line::new("tokio-spawn_blocking", n, move || HandOff::peer(n, LIGHT, Spawning::<Tokio>::new)),
                Line::new("rayon", n, move || HandOff::peer(n, LIGHT, Spawning::<Rayon>::new)),
                Line::new("blocking", n, move || HandOff::peer(n, LIGHT, Spawning::<Blocking>::new)),
            ]
        })
        .collect()
}
