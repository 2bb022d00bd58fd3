//! A way down the tree of choices at random.

use crate::graphs::Graph;

/// A way down the tree of choices.
pub(crate) struct Descent {
    pub random: fastrand::Rng,
    /// The chance to take the newest way where there are others. `None`: each way has the same chance.
    pub newest: Option<f64>,
    /// How many leaves there were if every choice came with the same number of ways everywhere (Knuth, *Estimating the
    /// efficiency of backtrack programs*, 1975): its mean over many ways down, each with the same chance, is the number of leaves
    pub weight: f64,
    /// The graph to go on with, if it is not the one of this run
    pub next: Option<Graph>,
}

impl Descent {
    /// One whose ways have the same chance each.
    pub fn new(random: fastrand::Rng) -> Self {
        Descent { random, newest: None, weight: 1.0, next: None }
    }

    /// Chooses between the graph of the run, which is the newest way, and the others. True if it is one of the others.
    pub(super) fn choose(&mut self, others: &mut Vec<Graph>) -> bool {
        if others.is_empty() {
            return false;
        }
        self.weight *= (others.len() + 1) as f64;
        let goes_on = match self.newest {
            Some(chance) => self.random.f64() < chance,
            None => self.random.usize(..=others.len()) == 0,
        };
        if !goes_on {
            let choice = self.random.usize(..others.len());
            self.next = Some(others.swap_remove(choice));
        }
        others.clear();
        !goes_on
    }
}
