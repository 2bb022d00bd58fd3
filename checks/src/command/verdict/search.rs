//! All cells within one budget, each in a process of its own.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reveille_checks::engine::Engine;
use reveille_checks::subject::Case;
use reveille_checks::verdict::Verdict;

use super::Found;
use crate::command::cell::{self, Finding};

/// The part of the budget that the hardware gets, which needs both CPUs for itself.
const HARDWARE_SHARE: f64 = 0.15;

/// The part of the time that searches which end may take before they have to do with an equal share: a slow machine leaves
/// something for the others.
const ENDS_SHARE: f64 = 0.6;

/// Searches the cells, as many at a time as there are CPUs; the hardware's after all others, one at a time.
pub(in crate::command) fn search<C: Case>(
    cells: &[(C, Engine)],
    budget: Duration,
    seed: u64,
) -> Vec<Found<C>> {
    let progress = ProgressBar::with_draw_target(Some(cells.len() as u64), ProgressDrawTarget::stderr());
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is valid"),
    );

    let is_hardware = |&index: &usize| cells[index].1 == Engine::Hardware;
    let (hardware, mut searches): (Vec<usize>, Vec<usize>) = (0..cells.len()).partition(is_hardware);
    searches.sort_by_key(|&index| Length::of(cells[index]));
    let idle = hardware.iter().all(|&index| cells[index].0.pointless(cells[index].1).is_some());
    let share = match (searches.is_empty(), idle) {
        (false, false) => HARDWARE_SHARE,
        (true, _) => 1.0,
        (_, true) => 0.0,
    };
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let mut found = Vec::new();
    found.extend(search_all(cells, &searches, cpus, budget.mul_f64(1.0 - share), seed, &progress));
    found.extend(search_all(cells, &hardware, 1, budget.mul_f64(share), seed, &progress));
    progress.finish_and_clear();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// How long a search is expected to be. The short ones come first and may take long, but all of them together no more than
/// [`ENDS_SHARE`]; what they leave of the time is shared by those that have no end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Length {
    /// Where a miss is documented a search ends with it.
    ToTheMiss,
    /// Those of the model end, and many of the exact engine's.
    ToTheEnd,
    Endless,
}

impl Length {
    fn of<C: Case>((case, engine): (C, Engine)) -> Self {
        if engine != Engine::Hardware && case.documented_miss(engine) {
            Self::ToTheMiss
        } else if case.ends(engine) {
            Self::ToTheEnd
        } else {
            Self::Endless
        }
    }

    /// The time for a search, of what is left for those that end, and of an equal share of what is left for all.
    fn time(self, left_for_ends: Duration, share: Duration) -> Duration {
        match self {
            Self::ToTheMiss | Self::ToTheEnd => share.max(left_for_ends / 2),
            Self::Endless => share,
        }
    }
}

/// Searches the cells of these indices within `budget`, `at_once` at a time. Time that a cell leaves over is for those after it.
fn search_all<C: Case>(
    cells: &[(C, Engine)],
    indices: &[usize],
    at_once: usize,
    budget: Duration,
    seed: u64,
    progress: &ProgressBar,
) -> Vec<(usize, Found<C>)> {
    let deadline = Instant::now() + budget;
    let deadline_of_ends = Instant::now() + budget.mul_f64(ENDS_SHARE);
    let free = |index: usize| cells[index].0.pointless(cells[index].1).is_some();
    let costly = indices.iter().filter(|&&index| !free(index)).count().max(1) as u32;
    let queue = Mutex::new((indices.iter(), costly));
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = {
                        let mut queue = queue.lock().expect("no panic inside");
                        let left = |until: Instant| until.saturating_duration_since(Instant::now());
                        queue.0.next().map(|&index| {
                            let share =
                                (left(deadline) * at_once as u32 / queue.1.max(1)).min(left(deadline));
                            queue.1 -= u32::from(!free(index));
                            (index, Length::of(cells[index]).time(left(deadline_of_ends), share))
                        })
                    };
                    let Some((index, time)) = next else { break };
                    let (case, engine) = cells[index];
                    progress.set_message(format!("{case}, {} {}", engine.name(), engine.memory()));
                    let finding = look_into(case, engine, time, seed);
                    progress.inc(1);
                    found.lock().expect("no panic inside").push((index, Found { case, engine, finding }));
                }
            });
        }
    });
    found.into_inner().expect("no panic inside")
}

fn look_into<C: Case>(case: C, engine: Engine, time: Duration, seed: u64) -> Finding {
    if let Some(why) = case.pointless(engine) {
        return Finding { verdict: Verdict::Skipped { why }, seconds: 0.0 };
    }
    let index = Engine::ALL.iter().position(|&known| known == engine).expect("it is listed");
    let milliseconds = time.as_millis() as u64;
    let Finding { verdict, seconds } =
        cell::spawn(&cell::Args { case: case.path(), engine: index, milliseconds, seed });
    Finding { verdict: case.weighed(engine, verdict), seconds }
}
