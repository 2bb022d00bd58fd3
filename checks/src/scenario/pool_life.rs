//! The library's own worker pool, from its first job to its end: to be held against the model's program of the same.

use std::marker::PhantomData;

use reveille::gate::WakeOne;
use reveille::pool::{Config, Layout, Pool, Work};
use reveille::sync::Primitives;

use super::Scenario;
use crate::flavour::script::Script;

/// One thread gives jobs to the bounded account, which has one list, and then drops the pool, which drains it.
pub struct PoolLife<G> {
    max: usize,
    jobs: usize,
    hashed: bool,
    timeout: bool,
    gate: PhantomData<fn(G)>,
}

impl<G> PoolLife<G> {
    /// So many workers at most, and so many jobs.
    pub fn new(max: usize, jobs: usize) -> Self {
        Self { max, jobs, hashed: false, timeout: false, gate: PhantomData }
    }

    /// The same, with jobs of one hash.
    pub fn hashed(self) -> Self {
        Self { hashed: true, ..self }
    }

    /// The same; the first sleep of the first worker, or its second, ends since its time is over.
    pub fn with_timeout(self) -> Self {
        Self { timeout: true, ..self }
    }
}

impl<G> Clone for PoolLife<G> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<G: WakeOne> Scenario for PoolLife<G> {
    fn name(&self) -> String {
        let Self { max, jobs, hashed, .. } = self;
        format!("a pool of at most {max}, {jobs} jobs{}", if *hashed { " of one hash" } else { "" })
    }

    fn main_thread(&self) -> &'static str {
        "submitter"
    }

    fn scripts(&self) -> Vec<Script> {
        match self.timeout {
            false => vec![Script::none()],
            true => vec![Script::none().early("bounded 0", 1), Script::none().early("bounded 0", 2)],
        }
    }

    fn run<P: Primitives>(&self) {
        let config = Config { bounded: self.max, layout: Layout::Sharded(1), ..Config::default() };
        let pool = Pool::<P, G>::new(config);
        for _ in 0..self.jobs {
            let work = if self.hashed { Work::BOUNDED.hashed(7) } else { Work::BOUNDED };
            pool.enqueue(work, |_| (), |_| ());
        }
    }
}
