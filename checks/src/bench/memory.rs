//! The memory that a job takes while it waits for a worker: what the process has more of with many of them than without, over their number.

use std::fs;
use std::io;
use std::time::Duration;

use super::hand_off::{HandOff, InFlight, Offloading, WORKERS};
use super::load::{Body, Gate, Load};
use super::peers::{Blocking, Crossbeam, Mpsc, Rayon, Spawning, Tokio};
use super::{Contender, Counts, Error, Line};

/// So many jobs wait.
const JOBS: usize = 100_000;

/// Closed while they do.
static GATE: Gate = Gate::open();

const LOAD: Load = Load { workers: WORKERS, body: Body::Waits(&GATE) };

pub(super) fn lines() -> Vec<Line> {
    vec![
        line("reveille", || Offloading::new(JOBS, LOAD)),
        line("std-mpsc", || HandOff::peer(JOBS, LOAD, Mpsc::new)),
        line("crossbeam-channel", || HandOff::peer(JOBS, LOAD, Crossbeam::new)),
        line("tokio-spawn_blocking", || HandOff::peer(JOBS, LOAD, Spawning::<Tokio>::new)),
        line("rayon", || HandOff::peer(JOBS, LOAD, Spawning::<Rayon>::new)),
        line("blocking", || HandOff::peer(JOBS, LOAD, Spawning::<Blocking>::new)),
    ]
}

fn line<C: InFlight + 'static>(
    contender: &'static str,
    make: impl Fn() -> Result<C, Error> + Send + Sync + 'static,
) -> Line {
    Line::new(contender, JOBS, move || Ok(Waiting(make()?)))
}

/// Operations that wait for each other, all of them once.
struct Waiting<C>(C);

impl<C: InFlight> Contender for Waiting<C> {
    fn run(&mut self, _: Duration) -> Result<Counts, Error> {
        GATE.set_closed(true);
        let before = resident()?;
        let begun = self.0.begin(JOBS as u64);
        let after = resident();
        GATE.set_closed(false);
        self.0.end(begun)?;
        Ok(Counts {
            submitted: JOBS as u64,
            completed: JOBS as u64,
            memory: Some(after?.saturating_sub(before)),
            ..Counts::default()
        })
    }
}

/// The memory of this process, in bytes, once what is free has been given back.
fn resident() -> io::Result<u64> {
    // SAFETY: it has no preconditions.
    unsafe { libc::malloc_trim(0) };
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(1024
        * kilobytes.ok_or_else(|| io::Error::other("the system does not tell how much memory is used"))?)
}
