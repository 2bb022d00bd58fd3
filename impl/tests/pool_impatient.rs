//! A pool whose workers wait for next to no time, in a binary of its own because it asks how long a thread ran.

use std::time::Duration;

use reveille::pool::{Config, Pool, Work};

/// For how many nanoseconds this thread of this process has run.
fn ran(thread: i32) -> Option<u64> {
    let statistics = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    statistics.split(' ').next()?.parse().ok()
}

#[test]
fn the_last_worker_sleeps_however_short_the_time_is_after_which_others_leave() {
    for idle_timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1)] {
        let pool: Pool = Pool::new(Config { bounded: 1, idle_timeout, ..Config::default() });
        // SAFETY: the call has no preconditions.
        let worker = || pool.spawn(Work::BOUNDED, |_| unsafe { libc::gettid() }).wait().done().unwrap();
        let first = worker();
        if ran(first).is_none() {
            return eprintln!("INCONCLUSIVE: nobody says how long a thread ran");
        }
        // It goes to sleep sooner or later, and then runs no more: from one look to the next, at some time.
        let slept = (0..100).any(|_| {
            let before = ran(first);
            std::thread::sleep(Duration::from_millis(50));
            ran(first) == before
        });
        assert!(slept, "{idle_timeout:?}");
        assert_eq!(worker(), first, "it has stayed, and is woken");
        assert_eq!(pool.stats().started, 1);
    }
}
