//! The pool's layouts: one lock, a lock for each account, work lists with a lock each. The letter's third patch, and the step after it.
//!
//! The hand-off of `nop`, half of the jobs to each account, and more and more workers. A worker takes a lock for each job that it
//! takes, for each result, and around its sleep. There are as many work lists as by default, one a processor.

use reveille::gate::PerEntry;
use reveille::pool::{Config, Layout, Work};
use reveille::sync::{Native, Primitives};
use reveille::uring::RingParker;

use super::hand_off::{HandOff, Kernel};
use super::ours::Ours;
use super::{BASELINE, Error, Line};
use crate::flavour::Timed;

const DEPTH: usize = 64;

/// How many workers an account may have.
const WORKERS: [usize; 6] = [1, 2, 4, 8, 16, 64];

pub(super) fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for workers in WORKERS {
        lines.push(
            Line::new(BASELINE, DEPTH, move || Kernel::with_workers(DEPTH, workers)).of_workers(workers),
        );
        let layouts = [
            ("one-lock", Layout::OneLock),
            ("lock-per-account", Layout::LockPerAccount),
            ("sharded", Config::default().layout),
        ];
        lines.extend(layouts.map(|(name, layout)| {
            Line::new(name, DEPTH, move || hand_off::<Native>(layout, workers))
                .of_workers(workers)
                .watched(move || hand_off::<Timed>(layout, workers))
        }));
    }
    lines
}

fn hand_off<P: Primitives>(
    layout: Layout,
    workers: usize,
) -> Result<HandOff<Ours<P, PerEntry>, RingParker>, Error> {
    let config = Config { bounded: workers, unbounded: workers, layout, ..Config::default() };
    HandOff::new(DEPTH, |bell| Ours::new(config, &[Work::BOUNDED, Work::UNBOUNDED], bell))
}
