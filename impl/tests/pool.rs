//! The worker pool with real threads.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use reveille::completion;
use reveille::pool::{
    AccountName, Cancel, Cancelled, Completion, Config, InsideJob, Layout, Outcome, Pool, Refusal, Shutdown,
    Work,
};

fn pool(bounded: usize) -> Pool {
    Pool::new(Config { bounded, ..Config::default() })
}

/// A job that runs until it is let go; and how to know that it has begun, and to let it go.
fn gate() -> (impl FnOnce() + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((begun, has_begun), (let_go, wait)) = (mpsc::channel(), mpsc::channel());
    let body = move || {
        begun.send(()).unwrap();
        let _ = wait.recv();
    };
    (body, has_begun, let_go)
}

/// Longer than anything takes that is not stuck, on a machine that others use too. What waits for it has failed.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn every_job_runs_once_in_every_layout() {
    for layout in [Layout::OneLock, Layout::LockPerAccount, Layout::Sharded(1), Layout::Sharded(3)] {
        let pool: Pool = Pool::new(Config { bounded: 3, unbounded: 2, layout, ..Config::default() });
        let ran = Arc::new(AtomicUsize::new(0));
        let mut handles = Vec::new();
        for i in 0..300 {
            let ran = ran.clone();
            let work = if i % 3 == 0 { Work::UNBOUNDED } else { Work::BOUNDED };
            handles.push(pool.spawn(work, move |_| {
                ran.fetch_add(1, Relaxed);
                i
            }));
        }
        let sum: usize = handles.into_iter().filter_map(|handle| handle.wait().done()).sum();
        assert_eq!(sum, 299 * 300 / 2, "{layout:?}");
        pool.shutdown(Shutdown::Drain).unwrap();
        assert_eq!(ran.load(Relaxed), 300);
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.done), (300, 300));
        assert_eq!(stats.accounts.map(|account| (account.waiting, account.workers)), [(0, 0); 2]);
    }
}

/// One worker is woken or started for them, and each passes that on before it runs its job; or one that naps looks soon.
#[test]
fn jobs_that_block_without_saying_so_get_all_the_workers_that_they_may_have() {
    const WORKERS: usize = 32;
    let layouts = [Layout::OneLock, Layout::LockPerAccount, Layout::Sharded(1), Layout::Sharded(3)];
    for (layout, nap_after) in layouts.into_iter().flat_map(|layout| [(layout, 0), (layout, 1)]) {
        let config = Config { bounded: WORKERS, layout, nap_after, ..Config::default() };
        let pool: Pool = Pool::new(config);
        // The workers are started, then they sleep, then perhaps they sleep.
        for pause in [0, 20, 0] {
            // What is short lets the next worker nap, if that is wanted.
            for _ in 0..10 {
                assert!(matches!(pool.spawn(Work::BOUNDED, |_| 1).wait(), Outcome::Done(1)));
            }
            std::thread::sleep(Duration::from_millis(pause));
            let all = Arc::new(Barrier::new(WORKERS));
            let mut batch = pool.batch();
            let jobs: Vec<_> = (0..WORKERS)
                .map(|_| {
                    let all = all.clone();
                    batch.spawn(Work::BOUNDED, move |_| all.wait().is_leader())
                })
                .collect();
            batch.submit();
            let leaders = jobs.into_iter().filter_map(|job| job.wait().done()).filter(|&leads| leads);
            assert_eq!(leaders.count(), 1, "{layout:?}, {nap_after}");
        }
    }
}

#[test]
fn outcomes_come_through_a_completion_queue() {
    let pool = pool(2);
    let (queue, mut consumer) = completion::ring::<Completion<u64>>(4);
    for i in 0..20 {
        pool.offload(&queue, i, Work::BOUNDED, move |_| i * i);
    }
    let mut seen = HashMap::new();
    for _ in 0..20 {
        let Completion { user_data, outcome } = consumer.wait();
        assert_eq!(seen.insert(user_data, outcome.done()), None);
    }
    assert!((0..20).all(|i| seen[&i] == Some(i * i)));
}

#[test]
fn a_job_that_panics_is_an_outcome_and_its_worker_lives_on() {
    let pool = pool(1);
    let panics = pool.spawn(Work::BOUNDED, |_| -> u8 { std::panic::resume_unwind(Box::new("no")) });
    let Outcome::Panicked(payload) = panics.wait() else { panic!("it panicked") };
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"no"));
    assert_eq!(pool.spawn(Work::BOUNDED, |_| 1).wait().done(), Some(1));
    assert_eq!(pool.stats().started, 1);
}

#[test]
fn the_maximum_of_an_account_holds() {
    let pool: Pool = Pool::new(Config { bounded: 2, unbounded: 3, ..Config::default() });
    let running = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let handles: Vec<_> = (0..200)
        .map(|i| {
            let (running, account) = (running.clone(), AccountName::ALL[i % 2]);
            pool.spawn(Work { account, ..Work::BOUNDED }, move |_| {
                let now = running[account as usize].fetch_add(1, Relaxed) + 1;
                std::thread::yield_now();
                running[account as usize].fetch_sub(1, Relaxed);
                (account, now)
            })
        })
        .collect();
    for handle in handles {
        let (account, running) = handle.wait().done().unwrap();
        assert!(running <= [2, 3][account as usize]);
    }
}

#[test]
fn jobs_of_one_hash_run_in_order_and_one_at_a_time() {
    let pool = pool(4);
    // While the first of a hash runs, those after it stall.
    let (body, has_begun, let_go) = gate();
    let first = pool.spawn(Work::BOUNDED.hashed(0), move |_| body());
    has_begun.recv().unwrap();
    let order = Arc::new(Mutex::new(vec![Vec::new(); 3]));
    let busy: Arc<[AtomicUsize; 3]> = Arc::default();
    let handles: Vec<_> = (0..600)
        .map(|i| {
            let (order, busy, hash) = (order.clone(), busy.clone(), i % 3);
            let account = AccountName::ALL[i / 3 % 2]; // a hash is one for the whole pool
            pool.spawn(Work { account, ..Work::BOUNDED }.hashed(hash as u64), move |_| {
                assert_eq!(busy[hash].fetch_add(1, Relaxed), 0, "another of this hash is running");
                order.lock().unwrap()[hash].push(i);
                busy[hash].fetch_sub(1, Relaxed);
            })
        })
        .collect();
    let_go.send(()).unwrap();
    first.wait().done().unwrap();
    for handle in handles {
        handle.wait().done().unwrap();
    }
    assert!(order.lock().unwrap().iter().all(|hash| hash.len() == 200 && hash.is_sorted()));
    assert!(pool.stats().stalled > 0);
}

#[test]
fn a_blocked_region_lends_the_slot() {
    let pool = pool(1);
    let outer = pool.spawn(Work::BOUNDED, |context| {
        let inner = context.submitter().spawn(Work::BOUNDED, |_| 5);
        context.blocking(|| inner.wait()).done()
    });
    assert_eq!(outer.wait().done(), Some(Some(5)));
    // The one too many leaves.
    let start = Instant::now();
    while pool.stats().accounts[0].workers > 1 && start.elapsed() < LONG {
        pool.spawn(Work::BOUNDED, |_| ()).wait().done().unwrap();
    }
    assert_eq!(pool.stats().accounts[0].workers, 1);
}

#[test]
fn a_cancellation_says_what_it_found() {
    let pool = pool(1);
    let (body, has_begun, let_go) = gate();
    let running = pool.spawn(Work::BOUNDED, move |context| {
        body();
        context.cancelled()
    });
    has_begun.recv().unwrap();
    let waiting = pool.spawn(Work::BOUNDED, |_| ());
    assert_eq!(waiting.cancel(), Cancel::BeforeItRan);
    assert_eq!(waiting.cancel(), Cancel::NotFound);
    assert_eq!(running.cancel(), Cancel::WhileRunning);
    assert!(matches!(waiting.wait(), Outcome::Cancelled));
    let token = running.token();
    let_go.send(()).unwrap();
    assert_eq!(running.wait().done(), Some(true), "it has been told");
    assert_eq!(token.cancel(), Cancel::NotFound);
}

#[test]
fn a_predicate_finds_jobs_that_run_wait_and_are_stalled() {
    let pool = pool(1);
    let (body, has_begun, let_go) = gate();
    let running = pool.spawn(Work::BOUNDED.tagged(1).hashed(7), move |context| {
        body();
        context.cancelled()
    });
    has_begun.recv().unwrap();
    let stalled = pool.spawn(Work::BOUNDED.tagged(2).hashed(7), |_| ());
    let waiting = pool.spawn(Work::BOUNDED.tagged(3), |_| ());
    let spared = pool.spawn(Work::BOUNDED.tagged(4), |_| ());
    let untagged = pool.spawn(Work::BOUNDED, |_| ());
    let cancelled = pool.cancel_where(|work| work.tag < Some(4));
    assert_eq!(cancelled, Cancelled { before_they_ran: 2, while_running: 1 });
    let_go.send(()).unwrap();
    assert_eq!(running.wait().done(), Some(true));
    assert!(matches!((stalled.wait(), waiting.wait()), (Outcome::Cancelled, Outcome::Cancelled)));
    assert!(matches!((spared.wait(), untagged.wait()), (Outcome::Done(()), Outcome::Done(()))));
    // A cancelled job of a hash does not keep the hash.
    assert!(pool.spawn(Work::BOUNDED.hashed(7), |_| ()).wait().done().is_some());
}

#[test]
fn an_idle_worker_leaves_after_its_time_and_the_last_one_stays() {
    let idle_timeout = Duration::from_millis(20);
    let pool: Pool = Pool::new(Config { bounded: 4, idle_timeout, ..Config::default() });
    let barrier = Arc::new(Barrier::new(4));
    let handles: Vec<_> = (0..4)
        .map(|_| {
            let barrier = barrier.clone();
            pool.spawn(Work::BOUNDED, move |_| barrier.wait().is_leader())
        })
        .collect();
    handles.into_iter().for_each(|handle| assert!(handle.wait().done().is_some()));
    assert_eq!(pool.stats().started, 4);
    let start = Instant::now();
    while pool.stats().accounts[0].workers > 1 && start.elapsed() < LONG {
        std::thread::sleep(idle_timeout);
    }
    std::thread::sleep(3 * idle_timeout);
    assert_eq!(pool.stats().accounts[0].workers, 1);
}

#[test]
fn shutdown_of_an_idle_pool_waits_for_no_timeout_and_leaves_no_thread() {
    for layout in [Layout::OneLock, Layout::LockPerAccount, Layout::Sharded(2)] {
        let pool: Pool =
            Pool::new(Config { bounded: 3, unbounded: 3, idle_timeout: LONG, layout, ..Config::default() });
        let barrier = Arc::new(Barrier::new(6));
        let handles: Vec<_> = [Work::BOUNDED, Work::UNBOUNDED]
            .iter()
            .cycle()
            .take(6)
            .map(|&work| {
                let barrier = barrier.clone();
                pool.spawn(work, move |_| barrier.wait().is_leader())
            })
            .collect();
        handles.into_iter().for_each(|handle| assert!(handle.wait().done().is_some()));
        std::thread::sleep(Duration::from_millis(20)); // they go to sleep
        let start = Instant::now();
        pool.shutdown(Shutdown::Drain).unwrap();
        assert!(start.elapsed() < LONG, "{layout:?}: {:?}", start.elapsed());
        assert_eq!(pool.stats().started, 6);
        assert!(pool.stats().accounts.iter().all(|account| account.workers == 0));
    }
}

#[test]
fn a_shutdown_that_drains_runs_what_waits_and_refuses_what_comes() {
    let pool = pool(1);
    let submitter = pool.submitter();
    let (body, has_begun, let_go) = gate();
    let nested = pool.spawn(Work::BOUNDED, move |context| {
        body();
        context.submitter().spawn(Work::BOUNDED, |_| ()).wait()
    });
    has_begun.recv().unwrap();
    let waiting: Vec<_> = (0..10).map(|i| pool.spawn(Work::BOUNDED.hashed(i % 2), |_| ())).collect();
    let ender = std::thread::spawn(move || pool.shutdown(Shutdown::Drain).map(|()| pool.stats()));
    while !matches!(submitter.spawn(Work::UNBOUNDED, |_| ()).wait(), Outcome::Refused(Refusal::ShuttingDown))
    {
    }
    let_go.send(()).unwrap();
    let nested = nested.wait().done().unwrap();
    assert!(matches!(nested, Outcome::Refused(Refusal::ShuttingDown)));
    waiting.into_iter().for_each(|handle| assert!(handle.wait().done().is_some()));
    let stats = ender.join().unwrap().unwrap();
    assert_eq!(stats.submitted, stats.done + stats.refused);
    assert!(stats.refused >= 2);
}

#[test]
fn a_shutdown_that_cancels_cancels_what_waits_and_tells_what_runs() {
    let pool = pool(1);
    let (body, has_begun, let_go) = gate();
    let running = pool.spawn(Work::BOUNDED.hashed(1), move |context| {
        body();
        while !context.cancelled() {
            std::thread::yield_now();
        }
    });
    has_begun.recv().unwrap();
    let waiting: Vec<_> = [Work::BOUNDED, Work::BOUNDED.hashed(1), Work::BOUNDED.hashed(2)]
        .map(|work| pool.spawn(work, |_| ()))
        .into();
    let_go.send(()).unwrap();
    pool.shutdown(Shutdown::Cancel).unwrap();
    assert!(running.wait().done().is_some());
    waiting.into_iter().for_each(|handle| assert!(matches!(handle.wait(), Outcome::Cancelled)));
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.done, stats.cancelled), (4, 1, 3));
}

#[test]
fn a_job_cannot_wait_for_the_end_of_its_own_pool() {
    let pool = Arc::new(pool(1));
    let job = pool.spawn(Work::BOUNDED, {
        let pool = pool.clone();
        move |_| pool.shutdown(Shutdown::Drain)
    });
    assert_eq!(job.wait().done(), Some(Err(InsideJob)));
    assert_eq!(pool.shutdown(Shutdown::Drain), Ok(()));
}

#[test]
fn a_pool_may_be_dropped_by_its_own_last_job() {
    let (ended, end) = mpsc::channel();
    let pool = Arc::new(pool(1));
    let (body, has_begun, let_go) = gate();
    let job = pool.spawn(Work::BOUNDED, {
        let pool = pool.clone();
        move |_| {
            body();
            drop(pool);
            ended.send(()).unwrap();
        }
    });
    has_begun.recv().unwrap();
    drop(pool);
    let_go.send(()).unwrap();
    assert!(job.wait().done().is_some());
    end.recv_timeout(LONG).unwrap();
}

#[test]
fn several_threads_may_shut_down_at_once_and_each_returns_after_the_last_worker() {
    for _ in 0..200 {
        let pool = Arc::new(pool(2));
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let ran = ran.clone();
            pool.enqueue(Work::BOUNDED, move |_| ran.fetch_add(1, Relaxed), drop);
        }
        let enders: Vec<_> = (0..3)
            .map(|_| {
                let (pool, ran) = (pool.clone(), ran.clone());
                std::thread::spawn(move || {
                    pool.shutdown(Shutdown::Drain).unwrap();
                    ran.load(Relaxed)
                })
            })
            .collect();
        enders.into_iter().for_each(|ender| assert_eq!(ender.join().unwrap(), 10));
    }
}

#[test]
fn an_account_gets_larger_and_smaller_while_it_works() {
    let pool = pool(1);
    let (body, has_begun, let_go) = gate();
    let first = pool.spawn(Work::BOUNDED, move |_| body());
    has_begun.recv().unwrap();
    let second = pool.spawn(Work::BOUNDED, |_| 2);
    pool.resize(AccountName::Bounded, 2);
    assert_eq!(second.wait().done(), Some(2), "a second worker runs it");
    pool.resize(AccountName::Bounded, 1);
    let_go.send(()).unwrap();
    assert!(first.wait().done().is_some());
    let start = Instant::now();
    while pool.stats().accounts[0].workers > 1 && start.elapsed() < LONG {
        std::thread::yield_now();
    }
    assert_eq!(pool.stats().accounts[0].workers, 1);
}

#[test]
fn a_handle_is_a_future() {
    use std::task::{Context, Poll, Waker};
    let pool = pool(1);
    let mut handle = Box::pin(pool.spawn(Work::BOUNDED, |_| 3));
    let start = Instant::now();
    let outcome = loop {
        match handle.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => break outcome,
            Poll::Pending => assert!(start.elapsed() < LONG),
        }
    };
    assert_eq!(outcome.done(), Some(3));
}
