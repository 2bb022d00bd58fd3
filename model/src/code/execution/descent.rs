//! A way down the tree of choices at random.

use crate::graphs::Graph;

/// A way down the tree of choices, each of which is taken with the same chance.
pub(crate) struct Descent {
    pub random: fastrand::Rng,
    /// How many leaves there were if every choice came with the same number of ways everywhere (Knuth, *Estimating the
    /// efficiency of backtrack programs*, 1975): its mean over many ways down is the number of leaves
    pub weight: f64,
    /// The graph to go on with, if it is not the one of this run
    pub next: Option<Graph>,
}

impl Descent {
    /// Chooses between the graph of the run and the others. True if it is one of the others.
    pub(super) fn choose(&mut self, others: &mut Vec<Graph>) -> bool {
        if others.is_empty() {
            return false;
        }
        self.weight *= (others.len() + 1) as f64;
        let choice = self.random.usize(..=others.len());
        self.next = (choice < others.len()).then(|| others.swap_remove(choice));
        others.clear();
        self.next.is_some()
    }
}
