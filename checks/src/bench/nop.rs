//! The letter's micro-benchmark: operations that do nothing and go through a worker.
//!
//! `reveille-poll` is `reveille` with a poll outstanding that never ends, as a server has one for each of its connections.

use std::task::Waker;

use reveille::pool::{Config, Layout};

use super::hand_off::{HandOff, Kernel, Offloading, WORKERS, Workers};
use super::peers::{Blocking, Crossbeam, Mpsc, Rayon, Spawning, Tokio};
use super::{BASELINE, Error, Line};

const DEPTHS: [usize; 4] = [1, 8, 64, 1024];

pub(super) fn lines() -> Vec<Line> {
    DEPTHS
        .into_iter()
        .flat_map(|n| {
            [
                Line::new(BASELINE, n, move || Kernel::new(n)),
                Line::new("reveille", n, move || ours(n)),
                Line::new("reveille-poll", n, move || ours(n)?.polling()),
                Line::new("std-mpsc", n, move || peer(n, Mpsc::new)),
                Line::new("crossbeam-channel", n, move || peer(n, Crossbeam::new)),
                Line::new("tokio-spawn_blocking", n, move || peer(n, Spawning::<Tokio>::new)),
                Line::new("rayon", n, move || peer(n, Spawning::<Rayon>::new)),
                Line::new("blocking", n, move || peer(n, Spawning::<Blocking>::new)),
            ]
        })
        .collect()
}

fn ours(depth: usize) -> Result<Offloading, Error> {
    let pool = Config { bounded: WORKERS, layout: Layout::Sharded(WORKERS), ..Config::default() };
    Offloading::new(depth, pool)
}

fn peer<W: Workers>(depth: usize, workers: fn(Waker) -> Result<W, Error>) -> Result<HandOff<W>, Error> {
    HandOff::new(depth, workers)
}
