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

#[test]
fn an_idle_pool_uses_no_cpu_ends_in_milliseconds_and_leaves_no_thread() {
    let before = threads();
    let pool: Pool = Pool::new(Config { bounded: 4, unbounded: 4, ..Config::default() });
    let barrier = Arc::new(Barrier::new(8));
    let jobs = [Work::BOUNDED, Work::UNBOUNDED].repeat(4).into_iter().map(|work| {
        let barrier = barrier.clone();
        pool.spawn(work, move |_| barrier.wait().is_leader())
    });
    for job in jobs.collect::<Vec<_>>() {
        assert!(job.wait().done().is_some());
    }
    assert_eq!(threads(), before + 8);
    std::thread::sleep(Duration::from_millis(50)); // they go to sleep
    let used = cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu_time() - used;
    assert!(used < Duration::from_millis(5), "{used:?} of CPU time in half a second without work");

    let start = Instant::now();
    pool.shutdown(Shutdown::Drain).unwrap();
    // An idle timeout would be five seconds; the rest is patience with a busy machine.
    assert!(start.elapsed() < Duration::from_secs(1), "the shutdown took {:?}", start.elapsed());
    println!("idle: {used:?} of CPU time; shutdown of eight sleeping workers: {:?}", start.elapsed());
    assert_eq!(threads(), before);
}
