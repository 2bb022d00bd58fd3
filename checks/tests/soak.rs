//! Short soaks of the worker pool and the reactor, and of all with random faults; `reveille stress pool`, `reactor` and `faults` are the
//! long ones. Their own binary, one after the other: they count the process's threads.

use std::time::Duration;

use reveille::pool::Layout;
use reveille::uring::Error;
use reveille_checks::soak::faults::{self, Subject};
use reveille_checks::soak::pool::{Report, Soak, soak, soak_without_threads};
use reveille_checks::soak::reactor::{self, End};

#[test]
fn every_job_and_every_operation_of_a_soak_is_accounted_for_and_nothing_is_left() {
    of_the_pool();
    of_the_reactor();
    of_random_faults();
}

/// A soak brings about all that it is there to balance, unless its time was over before it had done everything.
#[track_caller]
fn does_what_it_is_for(done_all: bool, complete: bool) {
    match complete {
        true => assert!(done_all, "the soak does not do what it is for"),
        false => eprintln!("INCONCLUSIVE: the machine is busy, and the soak was cut short"),
    }
}

fn of_the_pool() {
    let settings =
        [(Layout::Sharded(2), 0), (Layout::Sharded(3), 1), (Layout::LockPerAccount, 2), (Layout::OneLock, 3)];
    for (layout, seed) in settings {
        let settings = Soak { jobs: 300_000, time: Duration::from_secs(20), seed, layout };
        let report = soak(settings).unwrap();
        println!("{layout:?}, seed {seed}: {report:?}");
        assert_eq!(report.faults, [""; 0], "{settings:?}");
        let Report { submitted, done, panicked, cancelled, refused, .. } = report;
        assert_eq!(submitted, done + panicked + cancelled);
        assert_eq!(refused, 0);
        let done_all = panicked > 0 && cancelled > 0 && report.stalled > 0;
        does_what_it_is_for(done_all, submitted >= settings.jobs);
    }
    // The same where the system refuses every other thread: jobs are refused where there is no worker, and none waits for ever.
    let settings = Soak { jobs: 100_000, time: Duration::from_secs(20), seed: 4, layout: Layout::Sharded(2) };
    let report = soak_without_threads(settings).unwrap();
    println!("threads refused: {report:?}");
    assert_eq!(report.faults, [""; 0], "{settings:?}");
}

fn of_the_reactor() {
    for (end, seed) in std::iter::zip(End::ALL, 0..) {
        let settings = reactor::Soak { operations: 100_000, time: Duration::from_secs(20), seed, end };
        let report = match reactor::soak(settings) {
            Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory | Error::TooOld(_))) => {
                return eprintln!("SKIPPED: {error}");
            }
            report => report.unwrap(),
        };
        println!("{end:?}, seed {seed}: {report:?}");
        assert_eq!(report.faults, [""; 0], "{settings:?}");
        let reactor::Report { submitted, sleeps, wakes, overflows, .. } = report;
        let done_all = sleeps > 0 && wakes > 0 && overflows > 0;
        does_what_it_is_for(done_all, submitted >= settings.operations);
    }
}

fn of_random_faults() {
    for (subject, seed) in std::iter::zip(Subject::ALL, 1..) {
        let settings = faults::Soak { subject, operations: 20_000, time: Duration::from_secs(20), seed };
        let report = match faults::soak(settings) {
            Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory | Error::TooOld(_))) => {
                return eprintln!("SKIPPED: {error}");
            }
            report => report.unwrap(),
        };
        println!("{report:?}");
        assert_eq!(report.faults, [""; 0], "{settings:?}");
        let done_all = report.callbacks > 100 && report.destructors > 20;
        does_what_it_is_for(done_all, report.operations >= settings.operations);
    }
}
