//! After a burst the memory is given back. A binary of its own, because it counts what the whole process has allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Waker;

use reveille::completion;
use reveille::pool::{self, Pool, Work};
use reveille::uring::{Config, Error, Executor, Nop, Reactor, Request};
use reveille::wait_queue::{Kind, WaitQueue};

/// The system's allocator, and how much of it is in use.
struct Counting;

static IN_USE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: what is asked for is the system's to do; here it is only counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BURST: usize = 100_000;

/// What is left in use after `burst` must be small against a burst, of which an item has eight bytes at least.
fn gives_back(what: &str, burst: impl FnOnce()) -> Option<String> {
    let before = IN_USE.load(Relaxed);
    burst();
    let left = IN_USE.load(Relaxed) - before;
    println!("{what}: {} KiB left", left / 1024);
    (left > BURST as isize * 4).then(|| format!("{what}: {} KiB", left / 1024))
}

/// Runs `enqueue` while the only worker is busy, and waits until that many jobs are over.
fn behind_a_busy_worker(pool: &Pool, enqueue: impl Fn(&Pool, usize, mpsc::Sender<()>)) {
    let barrier = Arc::new(Barrier::new(2));
    let busy = barrier.clone();
    let first = pool.spawn(Work::BOUNDED, move |_| busy.wait().is_leader());
    let (over, are_over) = mpsc::channel();
    (0..BURST).for_each(|i| enqueue(pool, i, over.clone()));
    drop(over);
    barrier.wait();
    assert_eq!(are_over.iter().count(), BURST);
    assert!(first.wait().done().is_some());
}

#[test]
fn lists_that_grew_in_a_burst_give_their_memory_back() {
    let (queue, mut consumer) = completion::ring(64);
    let config = pool::Config { bounded: 1, layout: pool::Layout::Sharded(1), ..pool::Config::default() };
    let pool: Pool = Pool::new(config);
    pool.spawn(Work::BOUNDED, |_| ()).wait().done().unwrap();
    let waiters = Arc::new(<WaitQueue>::new());
    let mut kept = vec![
        gives_back("the overflow list", || {
            (0..BURST).for_each(|i| _ = queue.publish_one(i));
            (0..BURST).for_each(|i| assert_eq!(consumer.pop(), Some(i)));
        }),
        gives_back("a work list", || {
            behind_a_busy_worker(&pool, |pool, _, over| {
                pool.enqueue(Work::BOUNDED, move |_| over.send(()).unwrap_or_default(), |_| ());
            });
        }),
        gives_back("the chain of a hash", || {
            behind_a_busy_worker(&pool, |pool, _, over| {
                pool.enqueue(Work::BOUNDED.hashed(1), move |_| over.send(()).unwrap_or_default(), |_| ());
            });
        }),
        gives_back("the table of hashes", || {
            behind_a_busy_worker(&pool, |pool, i, over| {
                pool.enqueue(
                    Work::BOUNDED.hashed(i as u64),
                    move |_| over.send(()).unwrap_or_default(),
                    |_| (),
                );
            });
        }),
        gives_back("the wait queue", || {
            let mut all: Vec<_> =
                (0..BURST).map(|_| waiters.register(Kind::Shared, Waker::noop().clone())).collect();
            all.iter_mut().for_each(|waiter| waiter.arm());
            while all.pop().is_some() {}
        }),
    ];
    match Reactor::<usize>::new(Config::default()) {
        Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory | Error::TooOld(_))) => {
            eprintln!("SKIPPED: {error}");
        }
        reactor => kept.extend(of_a_reactor(reactor.unwrap())),
    }
    let kept: Vec<_> = kept.into_iter().flatten().collect();
    assert!(kept.is_empty(), "{kept:?}");
}

fn of_a_reactor(mut reactor: Reactor<usize>) -> [Option<String>; 4] {
    fn take(reactor: &mut Reactor<usize>) {
        let (mut events, mut taken) = (Vec::new(), 0);
        while taken < BURST {
            reactor.turn(&mut events, None).unwrap();
            taken += events.drain(..).count();
        }
        reactor.turn(&mut events, Some(std::time::Duration::ZERO)).unwrap();
    }
    let mut executor = Executor::new(Config::default()).unwrap();
    executor.block_on(async {}).unwrap();
    [
        gives_back("what other threads asked for", || {
            let handle = reactor.handle();
            (0..BURST).for_each(|i| drop(handle.submit(Request::new(Nop, move |_| i)).unwrap()));
            take(&mut reactor);
        }),
        gives_back("requests in flight", || {
            (0..BURST).for_each(|i| _ = reactor.submit(Request::new(Nop, move |_| i)).unwrap());
            take(&mut reactor);
        }),
        gives_back("offloaded closures", || {
            (0..BURST)
                .for_each(|i| reactor.offload(Work::BOUNDED, move |_| i, |outcome| outcome.done().unwrap()));
            take(&mut reactor);
        }),
        gives_back("tasks", || {
            let spawner = executor.spawner();
            let tasks: Vec<_> = (0..BURST).map(|_| spawner.spawn(async {})).collect();
            let all = async {
                for task in tasks {
                    task.await.unwrap();
                }
            };
            executor.block_on(all).unwrap();
        }),
    ]
}
