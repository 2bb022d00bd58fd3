//! All cells within one budget, each in a process of its own.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reveille_checks::engine::Engine;
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{self, GateName};

use super::{Args, Found};
use crate::command::cell;

/// The cells that are asked for, in the order of the table.
pub(super) fn cells(args: &Args) -> Vec<(GateName, Consumer, Engine)> {
    let wanted = |engine: Engine| args.engine.is_empty() || args.engine.iter().any(|name| name.means(engine));
    let mut cells = Vec::new();
    for gate in GateName::ALL.into_iter().filter(|gate| args.gate.is_empty() || args.gate.contains(gate)) {
        for engine in Engine::ALL.into_iter().filter(|&engine| wanted(engine)) {
            let consumers = Consumer::ALL.into_iter();
            let consumers =
                consumers.filter(|consumer| args.consumer.is_empty() || args.consumer.contains(consumer));
            cells.extend(consumers.map(|consumer| (gate, consumer, engine)));
        }
    }
    cells
}

/// The part of the budget that the hardware gets, which needs both CPUs for itself.
const HARDWARE_SHARE: f64 = 0.15;

/// Searches the cells, as many at a time as there are CPUs; the hardware's after all others, one at a time.
pub(super) fn search(cells: &[(GateName, Consumer, Engine)], args: &Args) -> Vec<Found> {
    let progress = ProgressBar::with_draw_target(Some(cells.len() as u64), ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is valid"),
    );

    let is_hardware = |&index: &usize| cells[index].2 == Engine::Hardware;
    let (hardware, mut searches): (Vec<usize>, Vec<usize>) = (0..cells.len()).partition(is_hardware);
    // The model's searches end, and where a miss is documented a search ends with it. Such cells come first and may take
    // long; what they leave of the time is shared by those that have no end.
    searches.sort_by_key(|&index| !ends_early(cells[index]));
    let share = match (searches.is_empty(), hardware.is_empty()) {
        (false, false) => HARDWARE_SHARE,
        (true, _) => 1.0,
        (_, true) => 0.0,
    };
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let mut found = Vec::new();
    found.extend(search_all(cells, &searches, cpus, args.budget.mul_f64(1.0 - share), args.seed, &progress));
    found.extend(search_all(cells, &hardware, 1, args.budget.mul_f64(share), args.seed, &progress));
    progress.finish_and_clear();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Whether a search of this cell is expected to come to an end.
fn ends_early((gate, consumer, engine): (GateName, Consumer, Engine)) -> bool {
    engine.name() == "model" || engine != Engine::Hardware && subject::documented_miss(gate, consumer, engine)
}

/// Searches the cells of these indices within `budget`, `at_once` at a time. Time that a cell leaves over is for those after it.
fn search_all(
    cells: &[(GateName, Consumer, Engine)],
    indices: &[usize],
    at_once: usize,
    budget: Duration,
    seed: u64,
    progress: &ProgressBar,
) -> Vec<(usize, Found)> {
    let deadline = Instant::now() + budget;
    // A stress run is for one consumer; the other hardware cells cost nothing.
    let free = |index: usize| cells[index].2 == Engine::Hardware && cells[index].1 != Consumer::EpollLevel;
    let costly = indices.iter().filter(|&&index| !free(index)).count().max(1) as u32;
    let queue = Mutex::new((indices.iter(), costly));
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = {
                        let mut queue = queue.lock().expect("no panic inside");
                        let left = deadline.saturating_duration_since(Instant::now());
                        queue.0.next().map(|&index| {
                            let share = left * at_once as u32 / queue.1.max(1);
                            queue.1 -= u32::from(!free(index));
                            (index, if ends_early(cells[index]) { left / 2 } else { share.min(left) })
                        })
                    };
                    let Some((index, time)) = next else { break };
                    let (gate, consumer, engine) = cells[index];
                    progress.set_message(format!(
                        "{gate} × {consumer}, {} {}",
                        engine.name(),
                        engine.memory()
                    ));
                    let engine_index =
                        Engine::ALL.iter().position(|&known| known == engine).expect("it is listed");
                    let milliseconds = time.as_millis() as u64;
                    let finding =
                        cell::spawn(&cell::Args { gate, consumer, engine: engine_index, milliseconds, seed });
                    progress.inc(1);
                    found
                        .lock()
                        .expect("no panic inside")
                        .push((index, Found { gate, consumer, engine, finding }));
                }
            });
        }
    });
    found.into_inner().expect("no panic inside")
}
