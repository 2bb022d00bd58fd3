//! What skipping saves: the letter's eighth patch, and the other sound gates.
//!
//! The hand-off of `nop`, with the gate in question on the completion queue; the pool's own is the production gate throughout. Two
//! cases, by where the completions' consumer sleeps.

use reveille::gate::Gate;
use reveille::pool::{Config, Layout, Work};
use reveille::sync::{Native, Primitives};
use reveille::uring::RingParker;

use super::bed::{Bed, EpollBed};
use super::hand_off::{HandOff, Kernel, WORKERS};
use super::ours::Ours;
use super::{BASELINE, Error, Line};
use crate::flavour::Timed;
use crate::gates::{HasSleeper, PerEntry, Rearm, RearmOptIn};

const DEPTHS: [usize; 3] = [1, 64, 1024];

pub(super) fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for n in DEPTHS {
        lines.push(Line::new(BASELINE, n, move || Kernel::new(n)).in_case(RingParker::NAME));
        lines.push(Line::new(BASELINE, n, move || Kernel::in_epoll(n)).in_case(EpollBed::NAME));
        lines.extend(gate::<HasSleeper>(n));
        lines.extend(gate::<Rearm>(n));
        lines.extend(gate::<RearmOptIn>(n));
        lines.extend(gate::<PerEntry>(n));
    }
    lines.sort_by_key(|line| line.case);
    lines
}

fn gate<G: Gate>(depth: usize) -> [Line; 2] {
    [in_bed::<G, RingParker>(depth), in_bed::<G, EpollBed>(depth)]
}

fn in_bed<G: Gate, B: Bed + 'static>(n: usize) -> Line {
    Line::new(G::NAME, n, move || hand_off::<Native, G, B>(n))
        .in_case(B::NAME)
        .watched(move || hand_off::<Timed, G, B>(n))
}

fn hand_off<P: Primitives, G: Gate, B: Bed>(depth: usize) -> Result<HandOff<Ours<P, G>, B>, Error> {
    let config = Config { bounded: WORKERS, layout: Layout::Sharded(WORKERS), ..Config::default() };
    HandOff::new(depth, |bell| Ours::new(config, &[Work::BOUNDED], bell))
}
