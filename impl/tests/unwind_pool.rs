//! Jobs, their destructors, and the receivers of their outcomes unwind: no outcome and no worker is lost.

use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use reveille::completion;
use reveille::pool::{Cancelled, Completion, Config, Layout, Outcome, Pool, Shutdown, Submitter, Work};

/// Of one worker and one list: its jobs run in the order in which they come.
fn pool() -> Pool {
    Pool::new(Config { bounded: 1, layout: Layout::LockPerAccount, ..Config::default() })
}

/// Unwinds without a word on the terminal.
fn unwind() {
    resume_unwind(Box::new("as was meant"));
}

/// Unwinds when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        unwind();
    }
}

/// Holds the pool's only bounded worker until the sender is dropped.
fn occupy(pool: &Submitter) -> mpsc::Sender<()> {
    let ((begun, has_begun), (let_go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    drop(pool.spawn(Work::BOUNDED, move |_| {
        begun.send(()).unwrap();
        let _ = wait.recv();
    }));
    has_begun.recv().unwrap();
    let_go
}

/// The pool has an account of everything, and a worker that works.
fn is_alive(pool: &Pool) {
    assert_eq!(pool.spawn(Work::BOUNDED, |_| 1).wait().done(), Some(1));
}

/// It comes to its end, and every job has had one.
fn ends(pool: &Pool) {
    pool.shutdown(Shutdown::Drain).unwrap();
    let stats = pool.stats();
    assert_eq!(stats.submitted, stats.done + stats.panicked + stats.cancelled + stats.refused, "{stats:?}");
    assert_eq!(stats.accounts.map(|account| account.workers), [0, 0]);
}

#[test]
fn a_cancelled_job_whose_closure_panics_when_it_is_dropped_takes_no_outcome_of_others_with_it() {
    for work in [Work::BOUNDED, Work::BOUNDED.tagged(1), Work::BOUNDED.hashed(1)] {
        let pool = pool();
        let let_go = occupy(&pool);
        let (queue, mut outcomes) = completion::ring::<Completion<()>>(8);
        for i in 0..3 {
            let bomb = Bomb;
            pool.offload(&queue, i, work, move |_| drop(bomb));
        }
        let ended = std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| pool.shutdown(Shutdown::Cancel));
            let ended: Vec<_> = (0..3).map(|_| outcomes.wait().outcome).collect();
            drop(let_go);
            shutdown.join().expect("a shutdown does not panic").unwrap();
            ended
        });
        assert!(ended.iter().all(|outcome| matches!(outcome, Outcome::Cancelled)), "{ended:?}");
        ends(&pool);
    }
}

#[test]
fn a_token_that_cancels_such_a_job_says_so() {
    let pool = pool();
    let let_go = occupy(&pool);
    let bomb = Bomb;
    let handle = pool.spawn(Work::BOUNDED, move |_| drop(bomb));
    handle.cancel();
    assert!(matches!(handle.wait(), Outcome::Cancelled));
    drop(let_go);
    ends(&pool);
}

#[test]
fn jobs_that_are_refused_may_panic_when_they_are_dropped() {
    let pool = pool();
    pool.shutdown(Shutdown::Drain).unwrap();
    let mut batch = pool.batch();
    let handles = [0, 1].map(|_| {
        let bomb = Bomb;
        batch.spawn(Work::BOUNDED, move |_| drop(bomb))
    });
    batch.submit();
    assert!(handles.into_iter().all(|handle| matches!(handle.wait(), Outcome::Refused(_))));
    ends(&pool);
}

#[test]
fn a_worker_outlives_a_panic_whose_payload_panics_when_it_is_dropped() {
    let pool = pool();
    let detached = pool.spawn(Work::BOUNDED, |_| resume_unwind(Box::new(Bomb)));
    // So that the worker drops the payload, or, if it was fast, we do.
    _ = catch_unwind(AssertUnwindSafe(|| drop(detached)));
    is_alive(&pool);
    pool.enqueue(Work::BOUNDED, |_| (), |_| resume_unwind(Box::new(Bomb)));
    is_alive(&pool);
    ends(&pool);
}

#[test]
fn a_worker_outlives_an_outcome_and_a_receiver_that_panic_when_they_are_dropped() {
    let pool = pool();
    pool.enqueue(Work::BOUNDED, |_| Bomb, drop);
    is_alive(&pool);
    let bomb = Bomb;
    pool.enqueue(Work::BOUNDED.tagged(1), |_| (), move |_| drop(bomb));
    is_alive(&pool);
    ends(&pool);
    assert_eq!(pool.stats().done, 4, "what they returned, they returned");
}

#[test]
fn a_predicate_that_panics_cancels_what_it_had_picked_and_loses_nothing() {
    let pool = pool();
    let let_go = occupy(&pool);
    let handles = [1, 2, 3].map(|tag| pool.spawn(Work::BOUNDED.tagged(tag), move |_| tag));
    let mut asked = Vec::new();
    let cancelled = catch_unwind(AssertUnwindSafe(|| {
        pool.cancel_where(|work| {
            asked.extend(work.tag);
            if asked.len() == 2 {
                unwind();
            }
            true
        })
    }));
    assert!(cancelled.is_err());
    let [picked, unwound] = asked[..] else { panic!("{asked:?}") };
    let third = 6 - picked - unwound;
    let cancelled = pool.cancel_where(|work| work.tag == Some(third));
    assert_eq!(cancelled, Cancelled { before_they_ran: 1, while_running: 0 });
    drop(let_go);
    let ended: Vec<_> = handles.into_iter().filter_map(|handle| handle.wait().done()).collect();
    assert_eq!(ended, [unwound]);
    ends(&pool);
}

#[test]
fn a_waker_that_panics_takes_neither_the_outcome_nor_the_worker_with_it() {
    struct Rude;
    impl Wake for Rude {
        fn wake(self: Arc<Self>) {
            unwind();
        }
    }
    let pool = pool();
    let let_go = occupy(&pool);
    let mut handle = pool.spawn(Work::BOUNDED, |_| 7);
    let waker = Waker::from(Arc::new(Rude));
    assert!(std::pin::Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(let_go);
    is_alive(&pool);
    let Poll::Ready(outcome) = std::pin::Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it is over")
    };
    assert_eq!(outcome.done(), Some(7));
    ends(&pool);
}

#[test]
fn a_completion_queue_that_is_dropped_drops_all_that_is_in_it_whatever_panics() {
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
            unwind();
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let (queue, consumer) = completion::ring(2);
    queue.publish((0..5).map(|_| Counted(dropped.clone())));
    let _ = catch_unwind(AssertUnwindSafe(|| drop((consumer, queue))));
    assert_eq!(dropped.load(SeqCst), 5);
}

#[test]
fn a_waker_that_panics_when_it_is_dropped_takes_no_outcome_with_it() {
    const fn raw() -> RawWaker {
        static VTABLE: RawWakerVTable = RawWakerVTable::new(|_| raw(), |_| {}, |_| {}, |_| unwind());
        RawWaker::new(std::ptr::null(), &VTABLE)
    }
    // SAFETY: the functions of the table use no data.
    let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw()) });
    let cx = &mut Context::from_waker(&waker);
    let pool = pool();
    let let_go = occupy(&pool);
    let mut handle = pin!(pool.spawn(Work::BOUNDED, |_| 7));
    for _ in 0..2 {
        assert!(handle.as_mut().poll(cx).is_pending(), "and the waker of before is dropped");
    }
    drop(let_go);
    let outcome = loop {
        match handle.as_mut().poll(cx) {
            Poll::Ready(outcome) => break outcome,
            Poll::Pending => std::thread::yield_now(),
        }
    };
    assert!(matches!(outcome, Outcome::Done(7)), "{outcome:?}");
}
