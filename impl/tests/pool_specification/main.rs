//! The pool against its specification: random programs, one step at a time, on real threads.
//!
//! A job is a gate that the program opens, so nothing happens but what a step brings about. After each step the pool must
//! come to the very state that the specification is in: the same jobs have begun, the same have ended, and in the same
//! way, as many wait in each list, and as many hashes are busy.

mod specification;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use reveille::pool::{Config, Layout, Outcome, Pool, Shutdown, Token, Work};
use specification::{Place, Program, Specification, Step, program};

/// What the jobs report, and what they are told to do.
#[derive(Default)]
struct Stage {
    state: Mutex<State>,
    change: Condvar,
}

#[derive(Default)]
struct State {
    places: Vec<Place>,
    orders: Vec<Option<Order>>,
    told: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Finish,
    Panic,
    Block,
    Unblock,
}

impl Stage {
    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.change.notify_all();
    }

    fn next_order(&self, job: usize) -> Order {
        let mut state = self.state.lock().unwrap();
        loop {
            match state.orders[job].take() {
                Some(order) => return order,
                None => state = self.change.wait(state).unwrap(),
            }
        }
    }

    /// Waits until the pool is where it is to be.
    fn settles(&self, pool: &Pool, specified: &Specification) -> Result<(), String> {
        let places: Vec<_> = specified.jobs.iter().map(|&(_, place)| place).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = pool.stats();
            let waiting = (stats.accounts.map(|account| account.waiting), stats.busy_hashes);
            let state = self.state.lock().unwrap();
            if state.places == places && waiting == specified.waiting() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (is, specified) = ((&state.places, waiting), (places, specified.waiting()));
                return Err(format!("the pool is at    {is:?},\nspecified is      {specified:?}"));
            }
            // What is behind the last change of a place is seen by looking again.
            drop(self.change.wait_timeout(state, Duration::from_micros(100)).unwrap());
        }
    }
}

/// How long a pool may take to do what it has to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job that does as it is told.
fn enqueue(pool: &Pool, stage: &Arc<Stage>, job: usize, work: Work) -> Token {
    stage.update(|state| {
        state.places.push(Place::Waiting);
        state.orders.push(None);
        state.told.push(false);
    });
    let ended = stage.clone();
    let stage = stage.clone();
    pool.enqueue(
        work,
        move |context| {
            stage.update(|state| state.places[job] = Place::Running);
            loop {
                match stage.next_order(job) {
                    Order::Finish => break stage.update(|state| state.told[job] = context.cancelled()),
                    Order::Panic => std::panic::resume_unwind(Box::new("told to")),
                    Order::Block => context.blocking(|| {
                        stage.update(|state| state.places[job] = Place::Blocked);
                        assert_eq!(stage.next_order(job), Order::Unblock);
                    }),
                    Order::Unblock => unreachable!("only a job that is blocked is told so"),
                }
                stage.update(|state| state.places[job] = Place::Running);
            }
        },
        move |outcome| {
            let place = match outcome {
                Outcome::Done(()) => Place::Done,
                Outcome::Panicked(_) => Place::Panicked,
                Outcome::Cancelled => Place::Cancelled,
                Outcome::Refused(why) => panic!("{why}"),
            };
            ended.update(|state| state.places[job] = place);
        },
    )
}

/// Runs a program; an error if the pool is not where the specification is.
fn run(program: &Program, layout: Layout) -> Result<(), String> {
    let [bounded, unbounded] = program.max;
    let pool: Arc<Pool> = Arc::new(Pool::new(Config { bounded, unbounded, layout, ..Config::default() }));
    let stage = Arc::new(Stage::default());
    let mut specified = Specification::new(program.max);
    let mut tokens = Vec::new();
    let order = |job: usize, order| stage.update(|state| state.orders[job] = Some(order));
    let unblock_all = |specified: &mut Specification| {
        for job in 0..specified.jobs.len() {
            if specified.place(job) == Place::Blocked {
                order(job, Order::Unblock);
                specified.block(job, Place::Running);
            }
        }
    };
    let settles = |specified: &Specification| stage.settles(&pool, specified);
    for &step in &program.steps {
        let is = |job: usize, place| job < specified.jobs.len() && specified.place(job) == place;
        match step {
            Step::Enqueue { account, hash } => {
                let work = Work { account, hash, tag: None };
                tokens.push(enqueue(&pool, &stage, tokens.len(), work));
                specified.enqueue(work);
            }
            Step::Finish(job) if is(job, Place::Running) => {
                order(job, Order::Finish);
                specified.end(job, Place::Done);
            }
            Step::Panic(job) if is(job, Place::Running) => {
                order(job, Order::Panic);
                specified.end(job, Place::Panicked);
            }
            Step::Block(job) if is(job, Place::Running) => {
                order(job, Order::Block);
                specified.block(job, Place::Blocked);
            }
            Step::Unblock(job) if is(job, Place::Blocked) => {
                order(job, Order::Unblock);
                specified.block(job, Place::Running);
            }
            Step::Cancel(job) if job < tokens.len() => {
                let (found, expected) = (tokens[job].cancel(), specified.cancel(job));
                if found != expected {
                    return Err(format!("cancelling job {job} found {found:?}, specified is {expected:?}"));
                }
            }
            Step::Resize { account, max } => {
                pool.resize(account, max);
                specified.resize(account, max);
            }
            _ => {}
        }
        settles(&specified).map_err(|error| format!("after {step:?}:\n{error}"))?;
    }
    unblock_all(&mut specified);
    settles(&specified)?;

    // The end: whoever runs is told to finish, again and again, until nobody is left.
    if program.end == Shutdown::Cancel {
        specified.cancel_all();
    }
    let ender = std::thread::spawn({
        let (pool, end) = (pool.clone(), program.end);
        move || pool.shutdown(end).map(|()| pool.stats())
    });
    settles(&specified)?;
    while let Some(job) = (0..specified.jobs.len()).find(|&job| specified.place(job) == Place::Running) {
        order(job, Order::Finish);
        specified.end(job, Place::Done);
        settles(&specified)?;
    }
    let stats = ender.join().map_err(|_| "the shutdown panicked")?.map_err(|error| error.to_string())?;
    let count = |which| specified.jobs.iter().filter(|&&(_, place)| place == which).count() as u64;
    let counted = [stats.submitted, stats.done, stats.panicked, stats.cancelled, stats.refused];
    let expected =
        [specified.jobs.len() as u64, count(Place::Done), count(Place::Panicked), count(Place::Cancelled), 0];
    if counted != expected {
        return Err(format!("{stats:?}, specified are {expected:?}"));
    }
    let told = &stage.state.lock().unwrap().told;
    match program.end {
        Shutdown::Drain => {
            let wrong = specified.told.iter().find(|&&job| specified.place(job) == Place::Done && !told[job]);
            wrong.map_or(Ok(()), |job| Err(format!("job {job} was told, and did not see it")))
        }
        Shutdown::Cancel => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_is_always_where_its_specification_is(program in program()) {
        for layout in [Layout::OneLock, Layout::LockPerAccount, Layout::Sharded(1)] {
            if let Err(error) = run(&program, layout) {
                prop_assert!(false, "{layout:?}: {error}");
            }
        }
    }
}
