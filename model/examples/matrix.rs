//! The table gate × consumer × memory, with state counts.
//!
//! ```text
//! cargo run --release -p reveille-model --example matrix -- [COMPLETIONS [POLLERS [SECONDS A CELL]]]
//! ```

use std::sync::Mutex;
use std::time::{Duration, Instant};

use reveille_model::memory::Memory;
use reveille_model::protocol::poll_wake::{Consumer, Error, Gate, PollWake, Size};
use reveille_model::search::{Options, Report, Verdict};

/// How a cell is printed.
fn cell(report: &Report) -> String {
    let verdict = match &report.verdict {
        Verdict::Complete => "ok".to_owned(),
        Verdict::Violated(miss) => format!("miss {}", miss.steps.len()),
        Verdict::Bounded(_) => "bounded".to_owned(),
    };
    format!("{verdict:8}{:>9}{:>8.0?}", report.states, report.time)
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u8>().ok());
    let completions = arguments.next().unwrap_or(2);
    let pollers = arguments.next().unwrap_or(1);
    let budget = arguments.next().map(|seconds| Duration::from_secs(seconds.into()));

    let begun = Instant::now();
    let cells = Consumer::ALL.iter().flat_map(|consumer| Gate::ALL.iter().map(|gate| (*consumer, *gate)));
    let work = Mutex::new(cells.enumerate());
    let rows = Mutex::new(Vec::new());
    let run = || -> Result<(), Error> {
        loop {
            let Some((number, (consumer, gate))) = work.lock().ok().and_then(|mut work| work.next()) else {
                return Ok(());
            };
            let size = Size { completions, pollers: pollers.max(Size::of(consumer).pollers), spurious: 0 };
            let protocol = PollWake::new(gate, consumer, size, None)?;
            let options = Options { max_time: budget, ..Options::default() };
            let mut reports = Vec::new();
            for memory in Memory::ALL {
                reports.push(protocol.check(memory, options)?);
            }
            if let Ok(mut rows) = rows.lock() {
                rows.push((number, consumer, gate, reports));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(run), scope.spawn(run)];
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;

    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by_key(|(number, ..)| *number);
    println!("{:<40}{:<25}   {:<25}   {:<25}", "consumer, gate", "sc", "tso", "rc11");
    for (_, consumer, gate, reports) in &rows {
        let cells: Vec<String> = reports.iter().map(cell).collect();
        println!("{consumer:<16}{gate:<24}{}", cells.join("   "));
    }
    let states: usize = rows.iter().flat_map(|(.., reports)| reports).map(|report| report.states).sum();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{completions} completions: {states} states in {seconds:.1} s, {:.0} states/s",
        states as f64 / seconds
    );
    Ok(())
}
