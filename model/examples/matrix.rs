//! The table gate × consumer × memory: verdicts, lengths of the shortest misses, states, times; and what all of it took.
//!
//! ```text
//! cargo run --release -p reveille-model --example matrix -- [COMPLETIONS [POLLERS [SECONDS A CELL]]]
//! ```
//!
//! A consumer that needs more pollers than asked for gets as many as it needs.

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

/// The most memory that this process has used so far, as Linux tells it.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes
        .map_or("an unknown amount of memory".to_owned(), |kilobytes| format!("{:.0} MB", kilobytes / 1024.0))
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u8>().ok());
    let completions = arguments.next().unwrap_or(2);
    let pollers = arguments.next().unwrap_or(1);
    let max_time = arguments.next().map(|seconds| Duration::from_secs(seconds.into()));

    let begun = Instant::now();
    let mut cells = Vec::new();
    for &consumer in Consumer::ALL {
        for &gate in Gate::ALL {
            let size = Size { completions, pollers: pollers.max(Size::of(consumer).pollers), spurious: 0 };
            let protocol = PollWake::new(gate, consumer, size, None)?;
            cells.extend(Memory::ALL.map(|memory| (consumer, gate, memory, protocol.clone())));
        }
    }
    // The long searches first, so that neither thread is left with one in the end.
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(|&number| {
        let (_, _, memory, protocol) = &cells[number];
        std::cmp::Reverse((protocol.program().threads().len(), *memory))
    });
    let work = Mutex::new(order.into_iter());
    let reports = Mutex::new(vec![None; cells.len()]);
    let run = || -> Result<(), Error> {
        while let Some(number) = work.lock().ok().and_then(|mut work| work.next()) {
            let (_, _, memory, protocol) = &cells[number];
            let report = protocol.check(*memory, Options { max_time, ..Options::default() })?;
            if let Ok(mut reports) = reports.lock() {
                reports[number] = Some(report);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(run), scope.spawn(run)];
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;
    let seconds = begun.elapsed().as_secs_f64();

    let reports: Vec<Report> = reports.into_inner().unwrap_or_default().into_iter().flatten().collect();
    println!("{:<40}{:<25}   {:<25}   {:<25}", "consumer, gate", "sc", "tso", "rc11");
    for (row, reports) in cells.chunks(Memory::ALL.len()).zip(reports.chunks(Memory::ALL.len())) {
        let texts: Vec<String> = reports.iter().map(cell).collect();
        println!("{:<16}{:<24}{}", row[0].0, row[0].1, texts.join("   "));
    }
    println!("\n{completions} completions, {pollers} pollers or as many as the consumer needs:");
    for memory in Memory::ALL {
        let column =
            || cells.iter().zip(&reports).filter(|((_, _, m, _), _)| *m == memory).map(|(_, report)| report);
        let time: Duration = column().map(|report| report.time).sum();
        let bounded = column().filter(|report| matches!(report.verdict, Verdict::Bounded(_))).count();
        println!(
            "{memory:<5}{:>12} states in {:>6.1} s of search, {bounded} of {} cells given up",
            column().map(|report| report.states).sum::<usize>(),
            time.as_secs_f64(),
            column().count()
        );
    }
    let states: usize = reports.iter().map(|report| report.states).sum();
    println!(
        "in all {states} states in {seconds:.1} s of wall time on two threads, {:.0} states/s, {}",
        states as f64 / seconds,
        peak()
    );
    Ok(())
}
