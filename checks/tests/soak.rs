//! A short soak of the worker pool; `reveille stress pool` is the long one. Its own binary: it counts the process's threads.

use std::time::Duration;

use reveille::pool::Layout;
use reveille_checks::soak::{Report, Soak, soak, soak_without_threads};

#[test]
fn every_job_of_a_soak_is_accounted_for_and_no_thread_is_left() {
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
        assert!(panicked > 0 && cancelled > 0 && report.stalled > 0, "the soak does not do what it is for");
    }
    // The same where the system refuses every other thread: jobs are refused where there is no worker, and none waits for ever.
    let settings = Soak { jobs: 100_000, time: Duration::from_secs(20), seed: 4, layout: Layout::Sharded(2) };
    let report = soak_without_threads(settings).unwrap();
    println!("threads refused: {report:?}");
    assert_eq!(report.faults, [""; 0], "{settings:?}");
}
