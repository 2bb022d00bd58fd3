//! What a pool does, as if it did one thing at a time: programs of steps, and what is true after each of them.
//!
//! Two tests share this file: one runs the steps one by one on real threads and holds every intermediate state against the
//! specification, the other lets a checker schedule whole programs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use reveille::pool::{AccountName, Cancel, Shutdown, Work};

/// Something that is done to a pool. A number means one of the jobs enqueued so far, if there are any.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Enqueue {
        account: AccountName,
        hash: Option<u64>,
    },
    /// The job returns, if it is running and not in a blocked region.
    Finish(usize),
    Panic(usize),
    /// The job enters a blocked region, or leaves it.
    Block(usize),
    Unblock(usize),
    Cancel(usize),
    Resize {
        account: AccountName,
        max: usize,
    },
}

#[derive(Debug, Clone)]
pub struct Program {
    pub max: [usize; 2],
    pub steps: Vec<Step>,
    pub end: Shutdown,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Waiting,
    Running,
    /// In a blocked region
    Blocked,
    Done,
    Panicked,
    Cancelled,
}

/// The pool, in sequence.
#[derive(Debug)]
pub struct Specification {
    pub jobs: Vec<(Work, Place)>,
    pub told: BTreeSet<usize>,
    lists: [VecDeque<usize>; 2],
    /// The jobs that wait for one of their hash that is out, for each hash that has one out
    chains: BTreeMap<u64, VecDeque<usize>>,
    max: [usize; 2],
}

impl Specification {
    pub fn new(max: [usize; 2]) -> Self {
        let (jobs, told) = (Vec::new(), BTreeSet::new());
        Self { jobs, told, lists: Default::default(), chains: BTreeMap::new(), max }
    }

    pub fn place(&self, job: usize) -> Place {
        self.jobs[job].1
    }

    /// How many jobs are in each list, and how many hashes are busy.
    pub fn waiting(&self) -> ([usize; 2], usize) {
        (self.lists.each_ref().map(VecDeque::len), self.chains.len())
    }

    pub fn enqueue(&mut self, work: Work) {
        let job = self.jobs.len();
        self.jobs.push((work, Place::Waiting));
        match work.hash.and_then(|hash| self.chains.get_mut(&hash)) {
            Some(chain) => chain.push_back(job),
            None => {
                self.chains.extend(work.hash.map(|hash| (hash, VecDeque::new())));
                self.lists[work.account as usize].push_back(job);
            }
        }
        self.settle();
    }

    /// A running job ends.
    pub fn end(&mut self, job: usize, place: Place) {
        self.jobs[job].1 = place;
        self.over(job);
        self.settle();
    }

    pub fn block(&mut self, job: usize, place: Place) {
        self.jobs[job].1 = place;
        self.settle();
    }

    pub fn cancel(&mut self, job: usize) -> Cancel {
        match self.place(job) {
            Place::Waiting => {
                self.jobs[job].1 = Place::Cancelled; // and stays where it is until its turn
                self.settle();
                Cancel::BeforeItRan
            }
            Place::Running | Place::Blocked => {
                self.told.insert(job);
                Cancel::WhileRunning
            }
            Place::Done | Place::Panicked | Place::Cancelled => Cancel::NotFound,
        }
    }

    /// Nothing waits any more.
    pub fn cancel_all(&mut self) {
        for list in self.lists.iter_mut().chain(self.chains.values_mut()) {
            for job in list.drain(..) {
                self.jobs[job].1 = Place::Cancelled;
            }
        }
        // The hashes of those that were to run next are free; those that run keep theirs.
        let jobs = &self.jobs;
        self.chains.retain(|&hash, _| {
            let out = |&(work, place): &(Work, Place)| {
                work.hash == Some(hash) && matches!(place, Place::Running | Place::Blocked)
            };
            jobs.iter().any(out)
        });
    }

    pub fn resize(&mut self, account: AccountName, max: usize) {
        self.max[account as usize] = max;
        self.settle();
    }

    /// The jobs of an account that have a worker of their own, outside of blocked regions.
    fn running(&self, account: AccountName) -> usize {
        self.jobs.iter().filter(|(work, place)| work.account == account && *place == Place::Running).count()
    }

    /// Whoever may run does.
    fn settle(&mut self) {
        for account in AccountName::ALL {
            while self.running(account) < self.max[account as usize] {
                let Some(job) = self.lists[account as usize].pop_front() else { break };
                match self.place(job) {
                    Place::Waiting => self.jobs[job].1 = Place::Running,
                    _ => self.over(job),
                }
            }
        }
    }

    /// The next job of its hash comes out.
    fn over(&mut self, job: usize) {
        let Some(hash) = self.jobs[job].0.hash else { return };
        match self.chains.get_mut(&hash).and_then(VecDeque::pop_front) {
            Some(next) => self.lists[self.jobs[next].0.account as usize].push_back(next),
            None => drop(self.chains.remove(&hash)),
        }
        self.settle();
    }
}

pub fn program() -> impl Strategy<Value = Program> {
    let account = || prop_oneof![3 => Just(AccountName::Bounded), 1 => Just(AccountName::Unbounded)];
    let hash = prop_oneof![1 => Just(None), 1 => (0_u64..3).prop_map(Some)];
    let job = || 0_usize..16;
    let step = prop_oneof![
        6 => (account(), hash).prop_map(|(account, hash)| Step::Enqueue { account, hash }),
        4 => job().prop_map(Step::Finish),
        1 => job().prop_map(Step::Panic),
        2 => job().prop_map(Step::Block),
        2 => job().prop_map(Step::Unblock),
        2 => job().prop_map(Step::Cancel),
        1 => (account(), 1_usize..4).prop_map(|(account, max)| Step::Resize { account, max }),
    ];
    let end = prop_oneof![Just(Shutdown::Drain), Just(Shutdown::Cancel)];
    ([1_usize..3, 1_usize..3], prop::collection::vec(step, 1..40), end)
        .prop_map(|(max, steps, end)| Program { max, steps, end })
}
