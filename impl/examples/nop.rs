//! The smallest thing that can be handed to a worker, and back: the kernel's `IORING_OP_NOP` with `IOSQE_ASYNC`, which
//! goes through io-wq, beside a closure that goes through the pool, at several numbers in flight.
//!
//! `cargo run --release -p reveille --example nop [SECONDS]`; on one CPU with `taskset -c 0` in front.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use reveille::pool::Work;
use reveille::uring::{Config, Counts, Error, Nop, Reactor, Request};

/// The events of a run say only that something has come back.
struct Back;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(0.5), |arg| arg.parse())?;
    let time = Duration::try_from_secs_f64(seconds)?;
    println!("operations a second, in millions; the reactor's sleeps and wakes per operation");
    println!("{:>9} {:>8} {:>8} {:>6} {:>8} {:>8}", "in flight", "io-wq", "pool", "ratio", "sleeps", "wakes");
    for depth in [1, 8, 64, 1024] {
        let (kernel, _) =
            run(depth, time, |reactor| reactor.submit(Request::new(Nop, |_| Back).in_worker()).map(drop))?;
        let (pool, counts) = run(depth, time, |reactor| {
            reactor.offload(Work::BOUNDED, |_| (), |_| Back);
            Ok(())
        })?;
        let ratio = pool / kernel;
        let (sleeps, wakes) =
            (counts.sleeps as f64 / (pool * seconds), counts.wakes as f64 / (pool * seconds));
        let (kernel, pool) = (kernel / 1e6, pool / 1e6);
        println!("{depth:>9} {kernel:>8.2} {pool:>8.2} {ratio:>6.2} {sleeps:>8.4} {wakes:>8.4}");
    }
    Ok(())
}

/// Keeps `depth` operations in flight for a while. How many come back in a second, and what the reactor did for them.
fn run(
    depth: usize,
    time: Duration,
    start: impl Fn(&mut Reactor<Back>) -> Result<(), Error>,
) -> Result<(f64, Counts), Error> {
    let mut reactor = Reactor::new(Config::default().submissions(depth as u32))?;
    let mut events = Vec::new();
    for _ in 0..depth {
        start(&mut reactor)?;
    }
    let mut operations = 0_u64;
    let begun = Instant::now();
    while begun.elapsed() < time {
        reactor.turn(&mut events, None)?;
        operations += events.len() as u64;
        for Back in events.drain(..) {
            start(&mut reactor)?;
        }
    }
    Ok((operations as f64 / begun.elapsed().as_secs_f64(), reactor.counts()))
}
