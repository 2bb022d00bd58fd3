//! Arguments at their ends, nested calls, and handles whose owner is gone.

use std::fs::File;
use std::io::{self, Write as _, pipe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use reveille::completion;
use reveille::parker::FutexParker;
use reveille::pool::{self, AccountName, Completion, Layout, Outcome, Pool, Shutdown, Work};
use reveille::sync::{Parker, Unparked};
use reveille::uring::{Config, Error, LinkTimeout, Nop, Reactor, Read, Request, Timeout};

/// A reactor, or a loud word that there is no io_uring.
fn reactor<T: Send + 'static>(config: Config) -> Option<Reactor<T>> {
    match Reactor::new(config) {
        Ok(reactor) => Some(reactor),
        Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory | Error::TooOld(_))) => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Times that no machine will see the end of: beyond what the kernel counts in seconds, and in nanoseconds.
const LIFETIMES: [Duration; 3] =
    [Duration::MAX, Duration::from_secs(i64::MAX as u64), Duration::from_secs(1 << 34)];

#[test]
fn a_turn_that_may_sleep_for_ever_sleeps() {
    for lifetime in LIFETIMES {
        let Some(mut reactor) = reactor(Config::default()) else { return };
        reactor.submit(Request::new(Timeout::after(Duration::from_millis(30)), |_| ())).unwrap();
        let mut events = Vec::new();
        while events.is_empty() {
            reactor.turn(&mut events, Some(lifetime)).unwrap();
        }
        assert!(reactor.counts().sleeps < 10, "{lifetime:?}: {:?}", reactor.counts());
    }
}

#[test]
fn a_timeout_of_for_ever_does_not_end_and_bounds_nothing() {
    for lifetime in LIFETIMES {
        let Some(mut reactor) = reactor(Config::default()) else { return };
        let endless = Request::new(Timeout::after(lifetime), |passed: io::Result<()>| passed.err());
        let endless = reactor.submit(endless).unwrap();
        let (reader, mut writer) = pipe().unwrap();
        let read = Request::new(Read::new(reader, vec![0; 4]), |(n, _): (io::Result<usize>, _)| n.err());
        let bound = Request::new(LinkTimeout::after(lifetime), |_| None);
        reactor.submit_linked([read, bound]).unwrap();
        let mut events = Vec::new();
        reactor.turn(&mut events, Some(Duration::from_millis(5))).unwrap();
        assert!(events.is_empty(), "{lifetime:?}: {events:?}");
        writer.write_all(b"read").unwrap();
        while events.len() < 2 {
            reactor.turn(&mut events, None).unwrap();
        }
        assert!(events.drain(..).all(|error| error.is_none()), "{lifetime:?}");
        reactor.cancel(endless).unwrap();
        while events.is_empty() {
            reactor.turn(&mut events, None).unwrap();
        }
        let errno = events[0].as_ref().and_then(io::Error::raw_os_error);
        assert_eq!(errno, Some(libc::ECANCELED), "{lifetime:?}");
    }
}

#[test]
fn a_thread_that_parks_for_ever_takes_its_token() {
    for lifetime in LIFETIMES {
        let parker = Arc::new(<FutexParker>::new("parker"));
        let waker = std::thread::spawn({
            let parker = parker.clone();
            move || {
                std::thread::sleep(Duration::from_millis(5));
                parker.unpark();
            }
        });
        let parks = (1..).find(|_| parker.park_timeout(lifetime) == Unparked::Token);
        assert!(parks.is_some_and(|parks| parks < 10), "{lifetime:?}: {parks:?}");
        waker.join().unwrap();
    }
}

/// It works, and starts a second worker for a second job.
fn runs_two_at_once(pool: &Pool) {
    let ((begun, has_begun), (let_go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let first = pool.spawn(Work::BOUNDED, move |_| {
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    has_begun.recv_timeout(Duration::from_secs(120)).expect("a worker was started");
    assert_eq!(pool.spawn(Work::BOUNDED, |_| 7).wait().done(), Some(7));
    drop(let_go);
    first.wait().done().unwrap();
}

#[test]
fn a_pool_may_have_as_many_workers_as_can_be_said() {
    for most in [usize::MAX, usize::MAX / 2, isize::MAX as usize + 1] {
        let config = pool::Config { bounded: most, unbounded: most, ..pool::Config::default() };
        runs_two_at_once(&Pool::new(config.clone()));
        let pool = Pool::new(pool::Config { bounded: 1, ..config });
        pool.resize(AccountName::Bounded, most);
        runs_two_at_once(&pool);
        pool.resize(AccountName::Bounded, 0);
        assert_eq!(pool.spawn(Work::BOUNDED, |_| 7).wait().done(), Some(7), "1 at least");
    }
}

#[test]
fn a_pool_takes_any_number_of_lists_any_patience_and_any_time() {
    for layout in [Layout::Sharded(usize::MAX), Layout::Sharded(0)] {
        let (bounded, yields) = (2, usize::MAX);
        for (idle_timeout, most) in [(Duration::MAX, usize::MAX), (Duration::ZERO, 0), (Duration::ZERO, 1)] {
            runs_two_at_once(&Pool::new(pool::Config {
                layout,
                bounded,
                yields,
                idle_timeout,
                at_once: most,
                nap_after: most,
                unbounded: 0,
            }));
        }
    }
}

#[test]
fn a_ring_may_be_asked_to_be_as_large_as_can_be_said() {
    for (submissions, completions) in
        [(u32::MAX, None), (u32::MAX, Some(u32::MAX)), (0, Some(0)), (4, Some(u32::MAX))]
    {
        let mut config = Config::default().submissions(submissions).yields(usize::MAX);
        config.completions = completions;
        let Some(mut reactor) = reactor(config) else { return };
        reactor.submit(Request::new(Nop, |_| ())).unwrap();
        reactor.offload(Work::BOUNDED, |_| (), drop);
        let mut events = Vec::new();
        while events.len() < 2 {
            reactor.turn(&mut events, None).unwrap();
        }
    }
}

#[test]
fn the_last_position_of_a_file_is_not_where_the_file_stands() {
    let Some(mut reactor) = reactor(Config::default()) else { return };
    let file = File::open("/proc/self/exe").unwrap();
    reactor.submit(Request::new(Read::at(file, vec![0; 4], u64::MAX), |(n, _)| n)).unwrap();
    let mut events = Vec::new();
    while events.is_empty() {
        reactor.turn(&mut events, None).unwrap();
    }
    assert!(matches!(&events[0], Ok(0) | Err(_)), "nothing is there: {events:?}");
}

/// How many slots of bounded workers are lent.
fn lent(context: &pool::Context<'_>) -> usize {
    context.submitter().stats().accounts[AccountName::Bounded as usize].blocked
}

#[test]
fn a_job_that_blocks_while_it_blocks_lends_its_slot_once() {
    let pool: Pool = Pool::new(pool::Config { bounded: 1, ..pool::Config::default() });
    let seen = pool.spawn(Work::BOUNDED, |context| {
        let nested = context.blocking(|| context.blocking(|| context.blocking(|| lent(context))));
        let between = context.blocking(|| {
            context.blocking(|| ());
            lent(context)
        });
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            context.blocking(|| context.blocking(|| std::panic::resume_unwind(Box::new("as was meant"))))
        }));
        (nested, between, panicked.is_err(), lent(context))
    });
    assert_eq!(seen.wait().done(), Some((1, 1, true, 0)));
}

#[test]
fn threads_that_share_a_jobs_context_and_block_at_once_lend_its_slot_once() {
    let pool: Pool = Pool::new(pool::Config { bounded: 1, ..pool::Config::default() });
    let seen = pool.spawn(Work::BOUNDED, |context| {
        let (most, all) = (AtomicUsize::new(0), std::sync::Barrier::new(3));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    context.blocking(|| {
                        all.wait();
                        most.fetch_max(lent(context), SeqCst);
                        all.wait();
                    })
                });
            }
        });
        (most.into_inner(), lent(context))
    });
    assert_eq!(seen.wait().done(), Some((1, 0)));
}

#[test]
fn what_is_posted_to_a_reactor_that_is_gone_comes_back() {
    let Some(reactor) = reactor::<Arc<()>>(Config::default()) else { return };
    let (handle, event) = (reactor.handle(), Arc::new(()));
    handle.post(event.clone()).unwrap();
    drop(reactor);
    let back = handle.post(event.clone()).unwrap_err();
    assert!(Arc::ptr_eq(&back.0, &event));
    let back = handle.post_all(vec![event.clone(); 20]).unwrap_err();
    assert_eq!(back.0.len(), 20);
    drop(back);
    assert_eq!(Arc::strong_count(&event), 2, "nothing is kept, not of before either");
    assert!(handle.submit(Request::new(Nop, |_| unreachable!())).is_err());
}

#[test]
fn what_was_taken_before_the_end_of_a_shutdown_is_handed_out_and_what_was_not_comes_back() {
    const POSTERS: usize = 2;
    for _ in 0..50 {
        let Some(reactor) = reactor::<usize>(Config::default()) else { return };
        let taken = Arc::new(AtomicUsize::new(0));
        let posters = [0; POSTERS].map(|_| {
            let (handle, taken) = (reactor.handle(), taken.clone());
            std::thread::spawn(move || {
                while handle.post(1).is_ok() {
                    taken.fetch_add(1, SeqCst);
                }
            })
        });
        let mut events = Vec::new();
        reactor.shutdown(Shutdown::Drain, &mut events).unwrap();
        posters.into_iter().for_each(|poster| poster.join().unwrap());
        assert_eq!(events.len(), taken.load(SeqCst));
    }
}

#[test]
fn an_outcome_for_a_reactor_or_a_consumer_that_is_gone_is_dropped() {
    let pool: Pool = Pool::new(pool::Config::default());
    let (outcome, (let_go, wait)) = (Arc::new(()), mpsc::channel::<()>());
    let (queue, consumer) = completion::ring(4);
    let (kept, first) = (outcome.clone(), Arc::new(std::sync::Mutex::new(wait)));
    let other = (kept.clone(), first.clone());
    pool.offload(&queue, 1, Work::BOUNDED, move |_| {
        let _ = first.lock().unwrap().recv();
        kept
    });
    match Reactor::with_pool(Config::default(), pool.submitter()) {
        Ok(mut reactor) => {
            reactor.offload(Work::BOUNDED, move |_| other.1.lock().unwrap().recv().map(|()| other.0), |_| ());
            reactor.turn(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        }
        Err(error) => eprintln!("SKIPPED: {error}"),
    }
    drop((consumer, let_go));
    pool.shutdown(Shutdown::Drain).unwrap();
    assert_eq!(Arc::strong_count(&outcome), 1);
    assert!(queue.try_publish_one(Completion { user_data: 2, outcome: Outcome::Done(outcome) }).is_err());
}
