//! Tasks, events in the making, operations and their destructors unwind: the reactor and the executor lose nothing of others.

mod common;

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::have;
use io_uring::squeue;
use reveille::pool::Shutdown;
use reveille::uring::{
    Config, Done, Error, Executor, IoBufMut, Nop, Operation, Reactor, Read, Request, Spawner, TaskError,
    Timeout, Write,
};

fn executor() -> Option<Executor> {
    have(Executor::new(Config::default()))
}

fn reactor<T: Send + 'static>(submissions: u32) -> Option<Reactor<T>> {
    have(Reactor::new(Config::default().submissions(submissions)))
}

/// Unwinds without a word on the terminal.
fn unwind() -> ! {
    resume_unwind(Box::new("as was meant"))
}

/// What a call came to that may panic.
fn caught<R>(body: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Unwinds when it is dropped, and counts that.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        unwind();
    }
}

impl AsMut<[u8]> for Bomb {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}

// SAFETY: no memory at all.
unsafe impl IoBufMut for Bomb {}

/// Turns until there are so many events, whatever panics meanwhile; and how often that was.
fn collect<T: Send + 'static>(reactor: &mut Reactor<T>, wanted: usize) -> (Vec<T>, usize) {
    let (mut events, mut panics) = (Vec::new(), 0);
    while events.len() < wanted {
        match caught(|| reactor.turn(&mut events, None)) {
            Some(turned) => turned.unwrap(),
            None => panics += 1,
        }
    }
    (events, panics)
}

/// A door that tasks wait at, to go on together.
#[derive(Clone, Default)]
struct Door(Rc<(Cell<bool>, RefCell<Vec<Waker>>)>);

impl Door {
    fn open(&self) {
        self.0.0.set(true);
        self.0.1.take().into_iter().for_each(Waker::wake);
    }

    async fn passed(self) {
        std::future::poll_fn(|cx| {
            if self.0.0.get() {
                return Poll::Ready(());
            }
            self.0.1.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[test]
fn tasks_that_were_woken_together_with_one_that_panics_are_polled_all_the_same() {
    let Some(mut executor) = executor() else { return };
    let (door, done, spawner) = (Door::default(), Rc::new(Cell::new(0)), executor.spawner());
    for i in 0..4 {
        let (door, done) = (door.clone(), done.clone());
        _ = spawner.spawn(async move {
            door.passed().await;
            if i % 2 == 0 {
                unwind();
            }
            done.set(done.get() + 1);
        });
    }
    let opening = door.clone();
    _ = spawner.spawn(async move { opening.open() });
    caught(|| executor.block_on(door.passed()).unwrap());
    caught(|| executor.block_on(async {}).unwrap());
    assert_eq!(done.get(), 2);
}

#[test]
fn tasks_that_were_woken_together_with_a_main_future_that_panics_are_polled_before_that_goes_on() {
    let Some(mut executor) = executor() else { return };
    let (door, done, spawner) = (Door::default(), Rc::new(Cell::new(false)), executor.spawner());
    let (open, opening, passed) = (door.clone(), door.clone(), done.clone());
    _ = spawner.spawn(async move {
        open.passed().await;
        passed.set(true);
    });
    _ = spawner.spawn(async move { opening.open() });
    let main = async {
        door.passed().await;
        unwind()
    };
    let ended: Option<Result<(), Error>> = caught(|| executor.block_on(main));
    assert!(ended.is_none(), "its panic is the caller's");
    assert!(done.get());
    assert_eq!(executor.block_on(async { 7 }).unwrap(), 7);
}

#[test]
fn a_main_future_that_panics_when_it_is_dropped_takes_no_output_with_it() {
    struct Ends(#[expect(dead_code, reason = "it panics when it is dropped")] Bomb);
    impl Future for Ends {
        type Output = Arc<()>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Arc<()>> {
            Poll::Ready(Arc::new(()))
        }
    }
    let Some(mut executor) = executor() else { return };
    let dropped = Arc::new(AtomicUsize::new(0));
    let output = caught(|| executor.block_on(Ends(Bomb(dropped.clone()))).unwrap());
    assert!(output.is_some());
    assert_eq!(dropped.load(SeqCst), 1);
}

#[test]
fn a_task_may_panic_when_it_is_dropped() {
    let Some(mut executor) = executor() else { return };
    let (dropped, spawner) = (Arc::new(AtomicUsize::new(0)), executor.spawner());
    let bomb = || Bomb(dropped.clone());
    let ends = bomb();
    _ = spawner.spawn(async move { drop(ends) });
    let outlives = (0..3).map(|_| bomb()).collect::<Vec<_>>();
    for bomb in outlives {
        _ = spawner.spawn(async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
    }
    assert_eq!(caught(|| executor.block_on(async { 7 }).unwrap()), Some(7));
    assert_eq!(dropped.load(SeqCst), 1);
    // One that has not begun.
    let bomb = bomb();
    _ = spawner.spawn(async move { drop(bomb) });
    assert!(caught(|| drop(executor)).is_some());
    assert_eq!(dropped.load(SeqCst), 5);
}

#[test]
fn whoever_awaits_a_task_hears_how_it_ended_and_those_who_await_others_do_too() {
    let Some(mut executor) = executor() else { return };
    let spawner = executor.spawner();
    let never = spawner.spawn(std::future::pending::<()>());
    let tasks = [0, 1, 2].map(|i| spawner.spawn(async move { if i == 1 { unwind() } else { i } }));
    let ended = executor.block_on(async move {
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(task.await);
        }
        ended
    });
    let ended = ended.unwrap();
    assert!(matches!(&ended[..], [Ok(0), Err(TaskError::Panicked(_)), Ok(2)]), "{ended:?}");
    drop(executor);
    let late = spawner.spawn(async { 7 });
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(pin!(never).poll(cx), Poll::Ready(Err(TaskError::Dropped))));
    assert!(matches!(pin!(late).poll(cx), Poll::Ready(Err(TaskError::Dropped))));
}

#[test]
fn a_task_that_is_dropped_may_spawn_another_and_that_is_dropped_too() {
    struct Spawns(Spawner, Arc<AtomicUsize>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            if self.1.fetch_add(1, SeqCst) < 3 {
                let next = Spawns(self.0.clone(), self.1.clone());
                _ = self.0.spawn(async move { drop(next) });
            }
        }
    }
    let Some(executor) = executor() else { return };
    let dropped = Arc::new(AtomicUsize::new(0));
    let first = Spawns(executor.spawner(), dropped.clone());
    _ = first.0.clone().spawn(async move { drop(first) });
    drop(executor);
    assert_eq!((dropped.load(SeqCst), Arc::strong_count(&dropped)), (4, 1));
}

#[test]
fn a_waker_that_panics_disturbs_neither_the_reactor_nor_the_result() {
    struct Rude;
    impl Wake for Rude {
        fn wake(self: Arc<Self>) {
            unwind()
        }
    }
    let Some(mut reactor) = reactor::<()>(16) else { return };
    let mut future = pin!(reactor.handle().into_async().submit(Nop));
    let rude = Waker::from(Arc::new(Rude));
    assert!(future.as_mut().poll(&mut Context::from_waker(&rude)).is_pending());
    reactor.handle().post(()).unwrap();
    assert_eq!(collect(&mut reactor, 1).1, 0);
    while reactor.in_flight() > 0 {
        reactor.turn(&mut Vec::new(), None).unwrap();
    }
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn tasks_that_can_go_on_outlast_an_operation_that_panics_in_the_same_turn() {
    struct Broken;
    // SAFETY: there are no addresses in the entry.
    unsafe impl Operation for Broken {
        type Output = ();
        fn entry(&mut self) -> squeue::Entry {
            Nop.entry()
        }
        fn finish(self, _: Done) {
            unwind()
        }
    }
    let Some(mut executor) = executor() else { return };
    let (door, done, spawner) = (Door::default(), Rc::new(Cell::new(false)), executor.spawner());
    let (passing, passed, ring) = (door.clone(), done.clone(), executor.handle());
    _ = spawner.spawn(async move {
        passing.passed().await;
        passed.set(true);
    });
    executor.block_on(async {}).unwrap(); // it waits at the door
    let main = async {
        let _broken = ring.submit(Broken);
        door.open();
        std::future::pending::<()>().await;
    };
    assert!(caught(|| executor.block_on(main).unwrap()).is_none());
    executor.block_on(async {}).unwrap();
    assert!(done.get());
}

#[test]
fn an_event_whose_making_panics_takes_no_other_event_with_it() {
    let Some(mut reactor) = reactor::<usize>(16) else { return };
    for i in 0..10 {
        reactor.submit(Request::new(Nop, move |_| if i % 3 == 1 { unwind() } else { i })).unwrap();
    }
    reactor.handle().post_all([10, 11]).unwrap();
    let (mut events, panics) = collect(&mut reactor, 9);
    events.sort();
    assert_eq!((events, panics), (vec![0, 2, 3, 5, 6, 8, 9, 10, 11], 3));
    assert_eq!(reactor.in_flight(), 0);
}

#[test]
fn what_other_threads_asked_for_is_done_though_an_event_panics_in_between() {
    let Some(mut reactor) = reactor::<usize>(2) else { return };
    let handle = reactor.handle();
    for i in 0..20 {
        handle.submit(Request::new(Nop, move |_| if i % 3 == 1 { unwind() } else { i })).unwrap();
    }
    let (mut events, panics) = collect(&mut reactor, 13);
    events.sort();
    assert_eq!((events.len(), panics), (13, 7));
}

#[test]
fn of_a_chain_with_an_operation_that_cannot_be_submitted_nothing_is() {
    struct Broken(#[expect(dead_code, reason = "it tells when it is dropped")] Arc<()>);
    impl AsMut<[u8]> for Broken {
        fn as_mut(&mut self) -> &mut [u8] {
            unwind()
        }
    }
    // SAFETY: it never lends any memory.
    unsafe impl IoBufMut for Broken {}
    let Some(mut reactor) = reactor::<u8>(16) else { return };
    let held = Arc::new(());
    let chain = |held: &Arc<()>| {
        let broken = Request::new(Read::new(io::stdin(), Broken(held.clone())), |_| 1);
        [Request::new(Timeout::after(Duration::from_secs(3600)), |_| 0), broken, Request::new(Nop, |_| 2)]
    };
    assert!(caught(|| reactor.submit_linked(chain(&held))).is_none());
    assert_eq!(reactor.in_flight(), 0);
    // Else this one would be linked to the timeout, and wait for it.
    reactor.submit(Request::new(Nop, |_| 3)).unwrap();
    assert_eq!(collect(&mut reactor, 1), (vec![3], 0));
    let handle = reactor.handle();
    handle.submit_linked(chain(&held)).unwrap();
    handle.submit(Request::new(Nop, |_| 4)).unwrap();
    assert_eq!(collect(&mut reactor, 1), (vec![4], 1));
    assert_eq!(Arc::strong_count(&held), 1, "nothing is kept of what was not submitted");
}

#[test]
fn a_reactor_that_is_dropped_brings_all_to_its_end_whatever_panics_meanwhile() {
    let Some(mut reactor) = reactor::<Bomb>(16) else { return };
    let dropped = Arc::new(AtomicUsize::new(0));
    let bomb = || Bomb(dropped.clone());
    let (reader, _writer) = io::pipe().unwrap();
    for _ in 0..3 {
        let (reader, kept) = (reader.try_clone().unwrap(), bomb());
        reactor.submit(Request::new(Read::new(reader, bomb()), |(_, buffer)| buffer)).unwrap();
        reactor.submit(Request::new(Nop, move |_| kept)).unwrap();
    }
    assert!(!reactor.prepare_to_sleep().unwrap(), "three have ended");
    let handle = reactor.handle();
    handle.post_all([bomb(), bomb()]).unwrap();
    let kept = bomb();
    handle.submit(Request::new(Nop, move |_| kept)).unwrap();
    assert!(caught(|| drop(reactor)).is_some());
    drop(handle);
    assert_eq!(dropped.load(SeqCst), 9);
}

#[test]
fn a_shutdown_out_of_which_an_event_panics_ends_all_the_same() {
    let Some(mut reactor) = reactor::<usize>(16) else { return };
    let dropped = Arc::new(AtomicUsize::new(0));
    let (reader, _writer) = io::pipe().unwrap();
    let read = Read::new(reader, Bomb(dropped.clone()));
    reactor.submit(Request::new(Nop, |_| unwind())).unwrap();
    reactor.submit(Request::new(read, |(n, _)| n.unwrap_or(0))).unwrap();
    let ended = caught(|| reactor.shutdown(Shutdown::Cancel, &mut Vec::new()));
    assert!(ended.is_none(), "the panic is the caller's");
    assert_eq!(dropped.load(SeqCst), 1);
}

/// Panics when it is told what it holds, as a buffer whose length is not its own may.
struct Untold(Vec<u8>, #[expect(dead_code, reason = "it tells when it is dropped")] Arc<()>);

impl AsMut<[u8]> for Untold {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

// SAFETY: no spare capacity.
unsafe impl IoBufMut for Untold {
    unsafe fn set_init(&mut self, _: usize) {
        unwind()
    }
}

#[test]
fn a_buffer_that_panics_when_it_is_filled_is_freed_and_disturbs_no_other_request() {
    let Some(mut reactor) = reactor::<usize>(16) else { return };
    let held = Arc::new(());
    let zero = Arc::new(std::fs::File::open("/dev/zero").unwrap());
    let read = |i| {
        let buffers = [Untold(vec![1; 8], held.clone()), Untold(vec![1; 8], held.clone())];
        let [one, two] = buffers;
        match i % 2 {
            0 => Request::new(Read::new(zero.clone(), one), move |_| i),
            _ => Request::new(Read::new(zero.clone(), two.slice_mut(4..)), move |_| i),
        }
    };
    for i in 0..4 {
        reactor.submit(read(i)).unwrap();
        reactor
            .submit(Request::new(Read::new(zero.clone(), vec![1; 8]), move |(n, _)| i + n.unwrap()))
            .unwrap();
    }
    let (mut events, panics) = collect(&mut reactor, 4);
    let mut more = 0;
    while reactor.in_flight() > 0 {
        more += usize::from(caught(|| reactor.turn(&mut events, None).unwrap()).is_none());
    }
    events.sort();
    assert_eq!((events, panics + more), (vec![8, 9, 10, 11], 4));
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_buffer_that_panics_when_it_is_lent_is_the_callers_affair_and_a_dropped_future_frees_it() {
    struct Unlent(#[expect(dead_code, reason = "it tells when it is dropped")] Arc<()>);
    impl AsRef<[u8]> for Unlent {
        fn as_ref(&self) -> &[u8] {
            unwind()
        }
    }
    let Some(mut reactor) = reactor::<usize>(16) else { return };
    let held = Arc::new(());
    let write = || Write::new(io::stdout(), Unlent(held.clone()));
    assert!(caught(|| reactor.submit(Request::new(write(), |_| 0))).is_none());
    // From a future it is the turn that panics, and the future hears that nothing will come.
    let ring = reactor.handle().into_async();
    let mut future = pin!(ring.submit(write()));
    assert!(caught(|| reactor.turn(&mut Vec::new(), Some(Duration::ZERO))).is_none());
    assert!(matches!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_))));
    assert_eq!((reactor.in_flight(), Arc::strong_count(&held)), (0, 1));
}
