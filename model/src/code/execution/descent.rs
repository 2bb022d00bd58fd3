//! A way down the tree of choices at random.

use crate::graphs::Graph;

/// How a way down chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// Each way on has the same chance
    Uniform,
    /// The newest way has this chance, the others have the same one each
    Newest(f64),
    /// The same, and the threads go on by priorities that are drawn at random, which change at some events. If the newest way
    /// is certain, it is an interleaving, which each of the memory models allows (Burckhardt, Kothari, Musuvathi and
    /// Nagarakatte, *A randomized scheduler with probabilistic guarantees of finding bugs*, ASPLOS 2010)
    Priorities(f64),
}

/// A way down the tree of choices.
pub(crate) struct Descent {
    random: fastrand::Rng,
    way: Way,
    /// How many leaves there were if every choice came with the same number of ways everywhere (Knuth, *Estimating the
    /// efficiency of backtrack programs*, 1975): its mean over many ways down, each with the same chance, is the number of leaves
    pub weight: f64,
    /// The graph to go on with, if it is not the one of this run. This run goes to its end all the same: if it were
    /// taken down where it is, destructors would find what the code has not come to yet, and assert or follow what is not
    /// there
    pub next: Option<Graph>,
    priorities: Priorities,
}

/// No way down changes priorities more often: mistakes that need many changes are rare.
const CHANGES: usize = 4;

/// Which thread goes on.
#[derive(Default)]
struct Priorities {
    /// Of the threads that there have been
    drawn: Vec<u64>,
    /// Those that have become the last, the least one at the end
    demoted: Vec<usize>,
    /// The numbers of events after which the running thread becomes the last
    changes: [usize; CHANGES],
}

impl Descent {
    /// One of an execution of about so many events.
    pub fn new(mut random: fastrand::Rng, way: Way, events: usize) -> Self {
        let mut priorities = Priorities::default();
        if matches!(way, Way::Priorities(_)) {
            let changes = random.usize(0..=CHANGES);
            priorities.changes[..changes].fill_with(|| random.usize(1..=events.max(1)));
        }
        Descent { random, way, weight: 1.0, next: None, priorities }
    }

    /// Whether the threads go on by priorities.
    pub fn has_priorities(&self) -> bool {
        matches!(self.way, Way::Priorities(_))
    }

    /// How soon a thread goes on: the greatest one first. All are alike where there are no priorities.
    pub fn priority(&self, thread: usize) -> i128 {
        let Priorities { drawn, demoted, .. } = &self.priorities;
        match demoted.iter().rposition(|&last| last == thread) {
            Some(place) => -1 - place as i128,
            None => drawn.get(thread).map_or(0, |&priority| priority.into()),
        }
    }

    /// The thread is there.
    pub(super) fn begin(&mut self, thread: usize) {
        while self.has_priorities() && self.priorities.drawn.len() <= thread {
            self.priorities.drawn.push(self.random.u64(..));
        }
    }

    /// Chooses between the graph of the run, which is the newest way, and the others, now that this thread has added an
    /// event.
    pub(super) fn choose(&mut self, thread: usize, events: usize, others: &mut Vec<Graph>) {
        if self.next.is_some() {
            others.clear();
            return;
        }
        if self.priorities.changes.contains(&events) {
            self.priorities.demoted.push(thread);
        }
        if others.is_empty() {
            return;
        }
        self.weight *= (others.len() + 1) as f64;
        let goes_on = match self.way {
            Way::Uniform => self.random.usize(..=others.len()) == 0,
            Way::Newest(chance) | Way::Priorities(chance) => self.random.f64() < chance,
        };
        if !goes_on {
            let choice = self.random.usize(..others.len());
            self.next = Some(others.swap_remove(choice));
        }
        others.clear();
    }
}
