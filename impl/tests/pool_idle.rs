//! An idle pool, in a binary of its own because it asks what the whole process uses.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use reveille::pool::{Config, Pool, Shutdown, Work};
use rustix::time::{ClockId, clock_gettime};

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Longer than anything takes that is not stuck, on a machine that others use too. What waits for it has failed.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn an_idle_pool_uses_no_cpu_ends_without_a_timeout_and_leaves_no_thread() {
    let before = threads();
    let pool: Pool = Pool::new(Config { bounded: 4, unbounded: 4, idle_timeout: LONG, ..Config::default() });
    let barrier = Arc::new(Barrier::new(8));
    let jobs = [Work::BOUNDED, Work::UNBOUNDED].repeat(4).into_iter().map(|work| {
        let barrier = barrier.clone();
        pool.spawn(work, move |_| barrier.wait().is_leader())
    });
    for job in jobs.collect::<Vec<_>>() {
        assert!(job.wait().done().is_some());
    }
    assert_eq!(threads(), before + 8);
    // They go to sleep, if need be only after others have left them a CPU; and then use none.
    let half_a_second = || {
        let used = cpu_time();
        std::thread::sleep(Duration::from_millis(500));
        cpu_time() - used
    };
    let used = (0..40).map(|_| half_a_second()).find(|used| *used < Duration::from_millis(5));
    assert!(used.is_some(), "never less than 5 ms of CPU time in half a second without work");

    let start = Instant::now();
    pool.shutdown(Shutdown::Drain).unwrap();
    assert!(start.elapsed() < LONG, "the shutdown took {:?}", start.elapsed());
    println!("idle: {used:?} of CPU time; shutdown of eight sleeping workers: {:?}", start.elapsed());
    // The system lists a thread for a moment longer than somebody waits who joins it.
    while threads() > before && start.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(threads(), before);
}
