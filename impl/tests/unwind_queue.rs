//! Wakers and looks unwind, and call back into the queue: no wake is lost, nobody waits for a lock that he holds.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use reveille::completion::CompletionQueue;
use reveille::wait_queue::{Kind, WaitQueue, Wakeup};

/// Counts its wakes.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// Panics when it is called.
struct Rude;

impl Wake for Rude {
    fn wake(self: Arc<Self>) {
        unwind()
    }
}

/// Unwinds without a word on the terminal.
fn unwind() -> ! {
    resume_unwind(Box::new("as was meant"))
}

fn unwinds(body: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(body)).is_err());
}

#[test]
fn wakers_after_one_that_panics_are_called_and_then_the_panic_goes_on() {
    for kind in [Kind::Shared, Kind::Exclusive, Kind::Persistent] {
        let queue = Arc::new(<WaitQueue>::new());
        let bell = Arc::new(Bell::default());
        let wakers = [bell.clone().into(), Arc::new(Rude).into(), Arc::new(Rude).into(), bell.clone().into()];
        let mut waiters = wakers.map(|waker| queue.register(kind, waker));
        waiters.iter_mut().for_each(|waiter| waiter.arm());
        unwinds(|| _ = queue.notify_all());
        assert_eq!(bell.rung(), 2, "{kind:?}");
    }
}

#[test]
fn a_wake_that_is_passed_on_to_a_waker_that_panics_reaches_the_shared_ones_as_well() {
    let queue = Arc::new(<WaitQueue>::new());
    let bell = Arc::new(Bell::default());
    let [mut told, mut rude] = [Arc::new(Bell::default()).into(), Arc::new(Rude).into()]
        .map(|waker| queue.register(Kind::Exclusive, waker));
    told.arm();
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    let mut shared =
        [bell.clone().into(), Arc::new(Rude).into()].map(|waker| queue.register(Kind::Shared, waker));
    rude.arm();
    shared.iter_mut().for_each(|waiter| waiter.arm());
    unwinds(|| drop(told));
    assert_eq!(bell.rung(), 1);
}

/// One that was told, and another behind it whose waker panics.
fn told_and_rude(queue: &Arc<WaitQueue>) -> (impl Sized, impl Sized) {
    let [mut told, mut rude] =
        [Waker::noop().clone(), Arc::new(Rude).into()].map(|waker| queue.register(Kind::Exclusive, waker));
    told.arm();
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    rude.arm();
    (told, rude)
}

/// Else the process would end: two panics on their way are one too many.
#[test]
fn a_waker_that_panics_in_a_destructor_while_another_panic_is_on_its_way_is_called_and_the_first_goes_on() {
    struct Notifies(Arc<WaitQueue>);
    impl Drop for Notifies {
        fn drop(&mut self) {
            self.0.notify_all();
        }
    }
    let queue = Arc::new(<WaitQueue>::new());
    let (told, _rude) = told_and_rude(&queue);
    unwinds(|| {
        let _told = told;
        unwind()
    });
    let (bell, _waiter) = sleeper(&queue);
    let mut rude = queue.register(Kind::Shared, Arc::new(Rude).into());
    rude.arm();
    unwinds(|| {
        let _notifies = Notifies(queue.clone());
        unwind()
    });
    assert_eq!(bell.rung(), 1);
}

#[test]
fn what_a_wait_has_found_it_returns_though_the_waker_panics_that_it_passes_a_wake_on_to() {
    let queue = Arc::new(<WaitQueue>::new());
    let mut rude = queue.register(Kind::Exclusive, Arc::new(Rude).into());
    let mut looks = 0;
    let mut look = || {
        looks += 1;
        if looks % 2 == 1 {
            return None; // it has not armed yet
        }
        assert_eq!(queue.notify_one(), Wakeup::Sent(1), "to itself");
        rude.arm();
        Some(looks)
    };
    assert_eq!(queue.wait_until(Kind::Exclusive, &mut look), 2);
    let mut future = queue.until(Kind::Exclusive, &mut look);
    let polled = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(4));
}

/// One that sleeps for a wake-one.
fn sleeper(queue: &Arc<WaitQueue>) -> (Arc<Bell>, impl Sized) {
    let bell = Arc::new(Bell::default());
    let mut waiter = queue.register(Kind::Exclusive, bell.clone().into());
    waiter.arm();
    (bell, waiter)
}

#[test]
fn a_look_of_a_future_that_panics_passes_its_wake_on_though_the_panic_is_caught_and_the_future_kept() {
    let queue = Arc::new(<WaitQueue>::new());
    let panics = Cell::new(false);
    let mut future = queue.until(Kind::Exclusive, || if panics.get() { unwind() } else { None::<()> });
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut future).poll(cx).is_pending());
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    let (bell, _waiter) = sleeper(&queue);
    panics.set(true);
    unwinds(|| _ = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())));
    assert_eq!(bell.rung(), 1, "at once, and not when the future is dropped");
    drop(future);
    assert_eq!(bell.rung(), 1);
    // The queue is as it was: a wake for nobody is for nobody, one for a sleeper is for him.
    let (bell, _waiter) = sleeper(&queue);
    assert_eq!((queue.notify_one(), bell.rung()), (Wakeup::Sent(1), 1));
}

#[test]
fn a_look_that_panics_while_another_panic_is_on_its_way_does_not_say_that_nothing_was_found() {
    struct Looks(Arc<WaitQueue>);
    impl Drop for Looks {
        fn drop(&mut self) {
            let mut waiter = self.0.register(Kind::Exclusive, Waker::noop().clone());
            unwinds(|| _ = waiter.look(|| -> Option<()> { unwind() }));
        }
    }
    unwinds(|| {
        let _looks = Looks(Arc::new(WaitQueue::new()));
        unwind()
    });
}

#[test]
fn a_look_that_panics_after_no_wake_passes_none_on() {
    let queue = Arc::new(<WaitQueue>::new());
    let (bell, _waiter) = sleeper(&queue);
    let mut waiter = queue.register(Kind::Exclusive, Waker::noop().clone());
    unwinds(|| _ = waiter.look(|| -> Option<()> { unwind() }));
    assert_eq!(bell.rung(), 0);
    assert_eq!(waiter.look(|| Some(1)), Some(1), "it may look again");
}

#[test]
fn a_wake_that_comes_during_a_look_that_panics_is_passed_on_besides_the_one_before() {
    let queue = Arc::new(<WaitQueue>::new());
    let mut waiter = queue.register(Kind::Exclusive, Waker::noop().clone());
    waiter.arm();
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    let mut others = Vec::new();
    unwinds(|| {
        waiter.look(|| -> Option<()> {
            assert_eq!(queue.notify_one(), Wakeup::Sent(1), "it has armed");
            others = vec![sleeper(&queue), sleeper(&queue)];
            unwind()
        });
    });
    assert_eq!(others.iter().map(|(bell, _)| bell.rung()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_waker_that_cannot_be_cloned_for_the_panic_leaves_its_future_told() {
    fn raw(panics: &'static Panics) -> RawWaker {
        RawWaker::new(std::ptr::from_ref(panics).cast(), &VTABLE)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(|_| unwind(), |_| (), |_| (), |_| ());
    struct Panics;
    let queue = Arc::new(<WaitQueue>::new());
    let mut future = queue.until(Kind::Exclusive, || None::<()>);
    assert!(Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(queue.notify_one(), Wakeup::Sent(1));
    let (bell, _waiter) = sleeper(&queue);
    // SAFETY: the functions of the table use no data.
    let waker = unsafe { Waker::from_raw(raw(&Panics)) };
    unwinds(|| _ = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)));
    assert_eq!(bell.rung(), 0, "it has not looked yet");
    drop(future);
    assert_eq!(bell.rung(), 1);
}

/// What the wakers of the next tests do when they are cloned and dropped: they call into the queue.
static CALLS_BACK: OnceLock<Arc<WaitQueue>> = OnceLock::new();

/// A waker that notifies when it is cloned, called or dropped.
fn calls_back() -> Waker {
    const fn raw() -> RawWaker {
        static VTABLE: RawWakerVTable = RawWakerVTable::new(
            |_| {
                call_back();
                raw()
            },
            |_| call_back(),
            |_| call_back(),
            |_| call_back(),
        );
        RawWaker::new(std::ptr::null(), &VTABLE)
    }
    thread_local! {
        static CALLING: Cell<bool> = const { Cell::new(false) };
    }
    fn call_back() {
        if CALLING.replace(true) {
            return; // a persistent waiter, told from its own waker, would be told for ever
        }
        let queue = CALLS_BACK.get_or_init(|| Arc::new(WaitQueue::new()));
        queue.broadcast();
        CALLING.set(false);
    }
    // SAFETY: the functions of the table use no data.
    unsafe { Waker::from_raw(raw()) }
}

/// Every operation of the queue, with a waker that calls back from wherever it is cloned, called or dropped.
#[test]
fn a_waker_may_call_back_into_the_queue_when_it_is_cloned_called_or_dropped() {
    let queue = CALLS_BACK.get_or_init(|| Arc::new(WaitQueue::new()));
    for kind in [Kind::Shared, Kind::Exclusive, Kind::Persistent] {
        let mut waiter = queue.register(kind, calls_back());
        for _ in 0..2 {
            waiter.arm();
            queue.notify_one();
            waiter.woken();
            waiter.arm();
            queue.notify_all();
            waiter.arm();
            waiter.set_waker(Waker::noop());
            waiter.set_waker(&calls_back());
            waiter.disarm();
        }
        waiter.arm();
        drop(waiter);
        let mut future = queue.until(kind, || None::<()>);
        for waker in [calls_back(), Waker::noop().clone(), calls_back()] {
            assert_eq!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker)), Poll::Pending);
        }
    }
}

/// The consumer of a completion queue has a waker too, and items have destructors.
#[test]
fn a_completion_may_publish_another_when_it_is_dropped() {
    struct Again(Arc<CompletionQueue<Option<Again>>>);
    impl Drop for Again {
        fn drop(&mut self) {
            self.0.publish([None]);
        }
    }
    let (queue, mut consumer) = CompletionQueue::with_capacity(1);
    consumer.set_waker(&calls_back());
    queue.publish([Some(Again(queue.clone())), Some(Again(queue.clone()))]);
    let mut popped = 0;
    while consumer.pop().is_some() {
        assert!(consumer.prepare_to_sleep() || popped < 10);
        popped += 1;
    }
    assert_eq!(popped, 4);
}
