//! All cells within one budget, each in a process of its own.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use reveille_checks::engine::Engine;
use reveille_checks::subject::Case;
use reveille_checks::verdict::Verdict;

use super::Found;
use crate::command::cell::{self, Finding, NoAnswer};
use crate::command::checkpoint::Checkpoint;
use crate::command::{interrupt, progress};

/// The part of the budget that the hardware gets, which needs both CPUs for itself.
const HARDWARE_SHARE: f64 = 0.15;

/// The part of the time that searches which end may take before they have to do with an equal share: a slow machine leaves
/// something for the others.
const ENDS_SHARE: f64 = 0.6;

/// How the cells are searched.
#[derive(Clone, Copy)]
pub(in crate::command) struct Plan<'a> {
    /// Wall time for all of them.
    pub budget: Duration,
    /// The seed of everything random.
    pub seed: u64,
    /// What was found before, and where to write down what is found now.
    pub checkpoint: Option<&'a Checkpoint>,
}

impl Plan<'_> {
    /// The same with this share of the time.
    pub fn part(self, share: f64) -> Self {
        Self { budget: self.budget.mul_f64(share), ..self }
    }
}

/// Searches the cells, as many at a time as there are CPUs; the hardware's after all others, one at a time.
///
/// If that ends before its time, by a Ctrl-C say, the cells that were not searched are inconclusive.
///
/// # Errors
/// If it ended so before any cell was searched.
pub(in crate::command) fn search<C: Case>(
    cells: &[(C, Engine)],
    plan: Plan<'_>,
) -> Result<Vec<Found<C>>, NoAnswer> {
    interrupt::listen();
    let progress = progress::bar(cells.len());
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
    let search_all = |indices: &[usize], at_once, share| {
        Round { cells, indices, plan, progress: &progress }.run(at_once, plan.budget.mul_f64(share))
    };
    let (mut found, mut stopped) = search_all(&searches, cpus, 1.0 - share);
    if stopped.is_none() {
        let more = search_all(&hardware, 1, share);
        found.extend(more.0);
        stopped = more.1;
    }
    progress.finish_and_clear();
    if let Some(stopped) = stopped {
        let was_searched = |(_, found): &(usize, Found<C>)| found.case.pointless(found.engine).is_none();
        if !found.iter().any(was_searched) {
            return Err(stopped);
        }
        let why = stopped.to_string();
        for (index, &(case, engine)) in cells.iter().enumerate() {
            if !found.iter().any(|(known, _)| *known == index) {
                let verdict = Verdict::Inconclusive { why: why.clone() };
                found.push((index, Found { case, engine, finding: Finding { verdict, seconds: 0.0 } }));
            }
        }
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, found)| found).collect())
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
            // A miss comes soon, or not at all.
            Self::ToTheMiss => share.max(left_for_ends / 8),
            Self::ToTheEnd => share.max(left_for_ends / 2),
            Self::Endless => share,
        }
    }
}

/// Some of the cells, by their indices.
struct Round<'a, C> {
    cells: &'a [(C, Engine)],
    indices: &'a [usize],
    plan: Plan<'a>,
    progress: &'a ProgressBar,
}

/// What was found, each with its index, and why it was not all.
type SoFar<C> = (Vec<(usize, Found<C>)>, Option<NoAnswer>);

impl<C: Case> Round<'_, C> {
    /// Searches them within `budget`, `at_once` at a time. Time that a cell leaves over is for those
    /// after it.
    fn run(&self, at_once: usize, budget: Duration) -> SoFar<C> {
        let deadline = Instant::now() + budget;
        let deadline_of_ends = Instant::now() + budget.mul_f64(ENDS_SHARE);
        let costly = self.indices.iter().filter(|&&index| !self.is_free(index)).count().max(1) as u32;
        let queue = Mutex::new((self.indices.iter(), costly));
        let so_far = Mutex::new((Vec::new(), None));
        let work = || {
            loop {
                let next = {
                    let mut queue = queue.lock().expect("no panic inside");
                    let left = |until: Instant| until.saturating_duration_since(Instant::now());
                    queue.0.next().map(|&index| {
                        let share = left(deadline) * at_once as u32 / queue.1.max(1);
                        queue.1 -= u32::from(!self.is_free(index));
                        let time = Length::of(self.cells[index]).time(left(deadline_of_ends), share);
                        (index, time.min(left(deadline)))
                    })
                };
                let Some((index, time)) = next else { break };
                let (case, engine) = self.cells[index];
                self.progress.set_message(format!("{case}, {} {}", engine.name(), engine.memory()));
                let finding = self.look_into(case, engine, time);
                self.progress.inc(1);
                let mut so_far = so_far.lock().expect("no panic inside");
                match finding {
                    Ok(finding) => so_far.0.push((index, Found { case, engine, finding })),
                    Err(why) => so_far.1 = so_far.1.take().or(Some(why)),
                }
                if so_far.1.is_some() {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..at_once {
                // This thread works too: without another one it takes longer, and no more.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        so_far.into_inner().expect("no panic inside")
    }

    fn is_free(&self, index: usize) -> bool {
        let (case, engine) = self.cells[index];
        case.pointless(engine).is_some()
    }

    fn look_into(&self, case: C, engine: Engine, time: Duration) -> Result<Finding, NoAnswer> {
        if let Some(why) = case.pointless(engine) {
            return Ok(Finding { verdict: Verdict::Skipped { why }, seconds: 0.0 });
        }
        let key = format!("{} {} {}", engine.name(), engine.memory(), case.path());
        if let Some(finding) = self.plan.checkpoint.and_then(|known| known.get(&key)) {
            return Ok(finding);
        }
        if interrupt::requested() {
            return Err(NoAnswer::Interrupted);
        }
        let index = Engine::ALL.iter().position(|&known| known == engine).expect("it is listed");
        let milliseconds = time.as_millis() as u64;
        let Finding { verdict, seconds } = cell::spawn(&cell::Args {
            case: case.path(),
            engine: index,
            milliseconds,
            seed: self.plan.seed,
        })?;
        let finding = Finding { verdict: case.weighed(engine, verdict), seconds };
        if let (Some(checkpoint), false) = (self.plan.checkpoint, finding.verdict.is_inconclusive()) {
            checkpoint.put(&key, &finding)?;
        }
        Ok(finding)
    }
}
