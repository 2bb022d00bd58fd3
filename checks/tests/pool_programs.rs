//! Random programs on the real pool, scheduled by shuttle: the programs of the pool's own
//! specification test, here with all their steps at once.
//!
//! Shuttle's panic hook is global, so this has a test binary of its own.

#[allow(dead_code)] // the sequential specification is for the other test
#[path = "../../impl/tests/pool_specification/specification.rs"]
mod specification;

use std::sync::{Arc, Mutex, PoisonError};

use proptest::prelude::*;
use reveille::gate::PerEntry;
use reveille::pool::{Cancel, Config, Layout, Outcome, Pool, Work};
use reveille::sync::Primitives;
use reveille_checks::engine::{self, Budget, Engine};
use reveille_checks::flavour::ScriptedPanic;
use reveille_checks::report;
use reveille_checks::scenario::Scenario;
use specification::{Program, Step, program};

/// What happened to a job, in the order in which it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Begun,
    Blocked,
    Unblocked,
    Over,
    Outcome(Ending),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    Panicked,
    Cancelled,
}

#[derive(Clone)]
struct Scheduled {
    program: Arc<Program>,
    layout: Layout,
}

impl Scheduled {
    /// What the steps of the program make of its `job`th job: does it panic, and does it have a blocked region?
    fn behaviour(&self, job: usize) -> (bool, bool) {
        let mut steps = self.program.steps.iter();
        let ends = steps.clone().find_map(|step| match *step {
            Step::Finish(of) if of == job => Some(false),
            Step::Panic(of) if of == job => Some(true),
            _ => None,
        });
        (ends == Some(true), steps.any(|step| matches!(*step, Step::Block(of) if of == job)))
    }
}

impl Scenario for Scheduled {
    fn name(&self) -> String {
        format!("{:?}, {:?}", self.layout, self.program)
    }

    fn run<P: Primitives>(&self) {
        let [bounded, unbounded] = self.program.max;
        let config = Config { bounded, unbounded, layout: self.layout, ..Config::default() };
        let pool = Pool::<P, PerEntry>::new(config);
        let log: Arc<Mutex<Vec<(usize, Event)>>> = Arc::default();
        let (mut works, mut tokens, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for &step in &self.program.steps {
            match step {
                Step::Enqueue { account, hash } => {
                    let work = Work { account, hash, tag: None };
                    let (job, (panics, blocks)) = (works.len(), self.behaviour(works.len()));
                    let note = |log: &Arc<Mutex<Vec<_>>>| {
                        let log = log.clone();
                        move |event| log.lock().unwrap_or_else(PoisonError::into_inner).push((job, event))
                    };
                    let (running, delivered) = (note(&log), note(&log));
                    works.push(work);
                    tokens.push(pool.enqueue(
                        work,
                        move |context| {
                            running(Event::Begun);
                            if blocks {
                                context.blocking(|| running(Event::Blocked));
                                running(Event::Unblocked);
                            }
                            running(Event::Over);
                            if panics {
                                ScriptedPanic::panic();
                            }
                        },
                        move |outcome| {
                            delivered(Event::Outcome(match outcome {
                                Outcome::Done(()) => Ending::Done,
                                Outcome::Panicked(_) => Ending::Panicked,
                                Outcome::Cancelled => Ending::Cancelled,
                                Outcome::Refused(why) => panic!("refused before the end: {why}"),
                            }));
                        },
                    ));
                }
                Step::Cancel(job) if job < tokens.len() => found.push((job, tokens[job].cancel())),
                Step::Resize { account, max } => pool.resize(account, max),
                _ => {}
            }
        }
        pool.shutdown(self.program.end).expect("we are not inside of a job");
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        laws(&self.program, &works, &log);
        for (job, found) in found {
            let cancelled = log.contains(&(job, Event::Outcome(Ending::Cancelled)));
            match found {
                Cancel::BeforeItRan => assert!(cancelled, "job {job} was cancelled and ran"),
                Cancel::WhileRunning => assert!(!cancelled, "job {job} was running, and did not run"),
                Cancel::NotFound => {}
            }
        }
        let stats = pool.stats();
        assert_eq!(stats.submitted, works.len() as u64);
        assert_eq!(stats.submitted, stats.done + stats.panicked + stats.cancelled);
        assert_eq!(stats.accounts.map(|account| (account.waiting, account.workers)), [(0, 0); 2]);
    }
}

/// What holds of every execution of a program.
fn laws(program: &Program, works: &[Work], log: &[(usize, Event)]) {
    let at = |job, event| log.iter().position(|&entry| entry == (job, event));
    for job in 0..works.len() {
        let outcomes: Vec<_> = log
            .iter()
            .filter_map(|&(of, event)| match event {
                Event::Outcome(ending) if of == job => Some(ending),
                _ => None,
            })
            .collect();
        let [ending] = outcomes[..] else { panic!("job {job} has {} outcomes", outcomes.len()) };
        let begun = log.iter().filter(|&&entry| entry == (job, Event::Begun)).count();
        assert_eq!(begun, usize::from(ending != Ending::Cancelled), "job {job}: {ending:?}");
    }
    // Jobs of one hash: in order, and none begins before the one before it is over.
    for (job, work) in works.iter().enumerate() {
        let Some(begun) = at(job, Event::Begun) else { continue };
        for earlier in (0..job).filter(|&earlier| work.hash.is_some() && works[earlier].hash == work.hash) {
            if at(earlier, Event::Begun).is_some() {
                assert!(at(earlier, Event::Over) < Some(begun), "jobs {earlier} and {job} share a hash");
            }
        }
    }
    // The maximum, where nothing moves it.
    let steady = !program.steps.iter().any(|step| matches!(step, Step::Resize { .. } | Step::Block(_)));
    let mut running = [0_usize; 2];
    for &(job, event) in log {
        let account = works[job].account as usize;
        match event {
            Event::Begun => running[account] += 1,
            Event::Over => running[account] -= 1,
            Event::Blocked | Event::Unblocked | Event::Outcome(_) => {}
        }
        assert!(!steady || running[account] <= program.max[account], "too many run");
    }
}

proptest! {
    // `PROPTEST_CASES` makes it longer.
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_scheduled_every_job_of_a_random_program_ends_once_in_order_and_within_the_maximum(
        program in program(),
        layout in prop_oneof![Just(Layout::LockPerAccount), Just(Layout::Sharded(2))],
        seed in any::<u64>(),
    ) {
        let scheduled = Scheduled { program: Arc::new(program), layout };
        let budget = Budget { seed, ..Budget::of_executions(1_000) };
        let verdict = engine::search(Engine::Shuttle, &scheduled, budget);
        if let Some(counterexample) = verdict.counterexample() {
            prop_assert!(false, "{}", report::render(counterexample));
        }
        prop_assert!(verdict.misses() == Some(false), "no result: {:?}", verdict.bound());
        prop_assert!(verdict.explored() > 0);
    }
}
