//! The worker pool does what the model's program of its life does, and whoever does something else is caught.

use std::collections::BTreeSet;
use std::time::Duration;

use reveille_checks::conformance::{self, Bound, Departure, Error, PoolProtocol, Protocol};
use reveille_checks::engine::Engine;
use reveille_checks::gates::PerEntry;
use reveille_checks::scenario::PoolLife;
use reveille_model::protocol::pool::{Life, Mutant};

const ENQUEUE_IDLE: Life = Life { max: 1, jobs: 2, hashed: false, timeouts: 0 };
const EXIT: Life = Life { max: 1, jobs: 1, hashed: false, timeouts: 0 };
const HASH: Life = Life { max: 1, jobs: 2, hashed: true, timeouts: 0 };
const TIMEOUT: Life = Life { max: 2, jobs: 2, hashed: false, timeouts: 1 };

/// All executions with at most three preemptions; with two workers, which are many more, with at most one.
fn bound(life: Life) -> Bound {
    Bound { preemptions: if life.max == 1 { 3 } else { 1 }, extra: Duration::ZERO }
}

fn scenario(life: Life) -> PoolLife<PerEntry> {
    let scenario = PoolLife::new(life.max.into(), life.jobs.into());
    let scenario = if life.hashed { scenario.hashed() } else { scenario };
    if life.timeouts > 0 { scenario.with_timeout() } else { scenario }
}

/// The places of the programs that no execution comes by, the workers that are started later taken together.
///
/// A choice leaves no record. With one submitter that is alone, no worker has another one to wake (`notify` to `wake`) and no job of a hash
/// comes out while other work waits (`push`). A worker that was started later finds no work on its way out, and is not told twice.
const NOT_COME_BY: &[(&str, &str)] = &[
    ("first worker", "count notified"),
    ("first worker", "deliver lock"),
    ("first worker", "deliver unlock"),
    ("first worker", "idle timeout"),
    ("first worker", "notify"),
    ("first worker", "push lock"),
    ("first worker", "push unlock"),
    ("first worker", "wake"),
    ("later workers", "anybody armed"),
    ("later workers", "count notified"),
    ("later workers", "deliver lock"),
    ("later workers", "deliver unlock"),
    ("later workers", "notify"),
    ("later workers", "push lock"),
    ("later workers", "push unlock"),
    ("later workers", "reserve"),
    ("later workers", "reserve lock"),
    ("later workers", "reserve unlock"),
    ("later workers", "surplus before the next"),
    ("later workers", "vacancy"),
    ("later workers", "wake"),
    ("later workers", "waker barrier"),
    ("later workers", "woken lock"),
    ("later workers", "woken unlock"),
];

#[test]
fn every_thread_of_a_pool_does_what_its_program_in_the_model_does() {
    let role = |thread| ["submitter", "first worker", "later workers"][std::cmp::min(thread, 2)];
    let (mut all, mut come_by) = (BTreeSet::new(), BTreeSet::new());
    for life in [EXIT, ENQUEUE_IDLE, HASH, TIMEOUT] {
        let protocol = PoolProtocol { life, mutant: None };
        for (thread, program) in protocol.program(1).unwrap().threads().iter().enumerate() {
            all.extend(program.sites().into_iter().map(|site| (role(thread), site)));
        }
        for engine in [Engine::LoomSc, Engine::LoomC11] {
            match conformance::check(engine, &scenario(life), &protocol, bound(life)) {
                Ok(report) => {
                    println!("{protocol}, loom {}: {report}", engine.memory());
                    assert!(report.executions > 1 && !report.stuck);
                    for (thread, sites) in report.taken {
                        come_by.extend(sites.into_iter().map(|site| (role(thread), site)));
                    }
                }
                Err(error) => panic!("{protocol}, loom {}:\n{error}", engine.memory()),
            }
        }
    }
    let never: Vec<_> = all.difference(&come_by).map(|(role, site)| (*role, &**site)).collect();
    assert_eq!(never, NOT_COME_BY);
}

#[track_caller]
fn departure(life: Life, mutant: Mutant) -> Departure {
    let protocol = PoolProtocol { life, mutant: Some(mutant) };
    match conformance::check(Engine::LoomC11, &scenario(life), &protocol, bound(life)) {
        Err(Error::Departs(departure)) => *departure,
        other => panic!("the code does what the mutant does: {other:?}"),
    }
}

/// The code does not do what the program with this mistake does: this thread departs from it, where the program expects this.
#[track_caller]
fn departs(life: Life, mutant: Mutant, thread: &str, expected: &str) {
    let departure = departure(life, mutant);
    assert_eq!(departure.thread, thread, "{departure}");
    assert!(departure.expected.iter().any(|other| other == expected), "{departure}");
}

#[test]
fn a_wake_and_a_push_swapped_in_the_program_are_caught() {
    departs(ENQUEUE_IDLE, Mutant::WakeBeforePush, "submitter", "waker barrier: fence");
}

#[test]
fn a_look_before_leaving_and_not_after_is_caught() {
    departs(EXIT, Mutant::LookBeforeLeaving, "bounded 0", "look for waiting: load work");
}

#[test]
fn a_barrier_that_the_program_lacks_is_caught() {
    departs(EXIT, Mutant::LeaveWithoutBarrier, "bounded 0", "look for waiting: load work");
    departs(EXIT, Mutant::BroadcastWithoutBarrier, "submitter", "deliver lock: lock wait queue");
}

#[test]
fn a_worker_that_stays_on_the_free_list_when_it_wakes_is_caught() {
    departs(ENQUEUE_IDLE, Mutant::BusyWhileArmed, "bounded 0", "surplus: load vacant");
}

#[test]
fn an_exit_that_is_not_looked_at_is_caught() {
    departs(EXIT, Mutant::ExitNotLookedAt, "bounded 0", "look at surplus: load vacant");
}

#[test]
fn a_job_that_goes_to_its_chain_in_a_second_step_is_caught() {
    departs(HASH, Mutant::StalledOutsideTheLock, "submitter", "close chains lock: lock chains");
}
