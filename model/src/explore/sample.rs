//! Executions at random: ways down the tree of choices, and about how large the tree is.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::{Failed, Options, Program, body};
use crate::code::{Descent, Execution, Failure, Pulse, RunEnd, Way};
use crate::graphs::Graph;
use crate::memory::Memory;
use crate::watch::{self, Work};

/// How the ways down choose, in turn.
///
/// What goes wrong under a weak memory model mostly needs few choices that are not the newest, and a way that takes others
/// everywhere seldom comes near. What goes wrong in an interleaving mostly needs few changes between threads, which are
/// many choices here. The estimate is from the uniform ways.
const WAYS: [Way; 4] = [Way::Uniform, Way::Priorities(1.0), Way::Newest(0.9), Way::Priorities(0.9)];

/// What a search at random came to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// How many ways it went down. Executions may have come up more than once
    pub descents: u64,
    /// How many of these had been gone when one went wrong
    pub until_failure: u64,
    /// About how many executions there are
    pub estimate: Estimate,
    /// One that went wrong: the search ends with it
    pub failed: Option<Failed>,
}

/// About how many executions there are. Such estimates have heavy tails: the mean of some ways down is mostly too small, and now and
/// then much too large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The median of the means of ten groups
    pub median: f64,
    /// The least of these
    pub least: f64,
    /// The greatest of these
    pub greatest: f64,
}

impl Estimate {
    fn of(weights: &[f64]) -> Self {
        let mut means: Vec<f64> = weights
            .chunks(weights.len().div_ceil(10).max(1))
            .map(|group| group.iter().sum::<f64>() / group.len() as f64)
            .collect();
        means.sort_by(f64::total_cmp);
        match means.len() {
            0 => Estimate::default(),
            groups => Estimate { median: means[groups / 2], least: means[0], greatest: means[groups - 1] },
        }
    }
}

impl fmt::Display for Estimate {
    /// `about 3.1e9 (2.0e7 to 8.8e10)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: f64| if n < 1e4 { format!("{n:.0}") } else { format!("{n:.1e}") };
        let [median, least, greatest] = [self.median, self.least, self.greatest].map(number);
        write!(f, "about {median} ({least} to {greatest})")
    }
}

/// Goes down the tree of choices at random, so many times, until an execution goes wrong or the time is over.
///
/// This finds what depth first does not come by in a long time: it is not bound to the corner where it began.
/// Some ways give each choice the same chance, some mostly take the newest, some are interleavings by random priorities. It has one
/// worker.
pub fn sample(
    memory: Memory,
    options: &Options,
    seed: u64,
    descents: u64,
    program: impl Fn() + Send + Sync + 'static,
) -> Sample {
    let program: Program = Arc::new(program);
    let (options, pulse) = (options.clone(), Arc::<Pulse>::default());
    let silence = options.limits.silence;
    let work = {
        let pulse = pulse.clone();
        move || descend(memory, &options, seed, descents, &program, pulse)
    };
    let (mut samples, silent) = watch::over(silence, vec![Work { pulse, body: Box::new(work) }], || ());
    samples.pop().unwrap_or_else(|| Sample {
        descents: 0,
        until_failure: 0,
        estimate: Estimate::default(),
        failed: silent.map(|limit| Failed::without_execution(limit, memory)),
    })
}

/// The worker of a [`sample`].
fn descend(
    memory: Memory,
    options: &Options,
    seed: u64,
    descents: u64,
    program: &Program,
    pulse: Arc<Pulse>,
) -> Sample {
    let deadline = options.max_time.map(|time| Instant::now() + time);
    let mut execution = Execution::new(options.limits, options.waits, Arc::default());
    execution.pulse = pulse;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut weights = Vec::new();
    let mut failed = None;
    let mut gone = 0;
    let mut events = 0;
    while gone < descents && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let way = WAYS[gone as usize % WAYS.len()];
        gone += 1;
        execution.descent = Some(Descent::new(random.fork(), way, events));
        let mut graph = Graph::new(memory);
        let end = loop {
            let end = execution.run(graph, body(program));
            let descent = execution.descent.as_mut().expect("it was given");
            match descent.next.take() {
                // What has gone wrong on the newest way is wrong, too.
                Some(next) if matches!(end, RunEnd::Complete | RunEnd::Stale) => graph = next,
                _ => break end,
            }
        };
        let weight = execution.descent.as_ref().map_or(1.0, |descent| descent.weight);
        events = events.max(execution.graph.len);
        if way == Way::Uniform {
            weights.push(if matches!(end, RunEnd::Stale) { 0.0 } else { weight });
        }
        let failure = match end {
            RunEnd::Complete | RunEnd::Stale => continue,
            RunEnd::Stuck => Failure::Stuck,
            RunEnd::Failed(failure) => *failure,
        };
        failed = Some(Failed::new(&mut execution, failure, program));
        break;
    }
    let until_failure = if failed.is_some() { gone } else { 0 };
    Sample { descents: gone, until_failure, estimate: Estimate::of(&weights), failed }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;
    use crate::code::{Location, spawn};
    use crate::graphs::Modify;

    /// Looks at the word when it is dropped.
    struct Guard {
        word: Location,
        is_counted: Rc<Cell<bool>>,
        is_wrong: Arc<AtomicBool>,
    }

    impl Drop for Guard {
        fn drop(&mut self) {
            if self.word.load(Relaxed) == 2 && !self.is_counted.get() {
                self.is_wrong.store(true, Relaxed);
            }
        }
    }

    #[test]
    fn a_destructor_does_not_find_what_the_code_has_not_come_to() {
        let is_wrong = Arc::new(AtomicBool::new(false));
        let found = is_wrong.clone();
        let count = move || {
            let word = Location::new("word", 0);
            let is_wrong = found.clone();
            let other = spawn("other", move || {
                let is_counted = Rc::new(Cell::new(false));
                let _guard = Guard { word, is_counted: is_counted.clone(), is_wrong };
                word.modify(Modify::Add(1), Relaxed, Relaxed);
                is_counted.set(true);
            });
            word.modify(Modify::Add(1), Relaxed, Relaxed);
            other.join();
        };
        let sample = sample(Memory::Rc11, &Options::default(), 1, 40, count);
        assert!(sample.failed.is_none() && sample.estimate.median > 1.0, "{sample:?}");
        assert!(!is_wrong.load(Relaxed));
    }
}
