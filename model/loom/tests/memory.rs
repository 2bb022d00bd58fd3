//! Races, leaks, values of a thread and of an execution, pointers.

mod common;

use std::ptr::null_mut;

use common::{outcomes, wrong};
use loom::alloc::{Layout, Track, alloc, dealloc};
use loom::cell::{Cell, UnsafeCell};
use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicI8, AtomicPtr, AtomicU8, AtomicUsize};
use loom::sync::{Arc, Mutex, OnceLock, Weak};
use loom::thread;

/// A cell that threads share.
struct Shared {
    cell: UnsafeCell<usize>,
    ready: AtomicBool,
}

// SAFETY: whether its accesses are ordered is what the tests are about.
unsafe impl Sync for Shared {}

fn publish(store: Ordering, load: Ordering) -> impl Fn() + Send + Sync {
    move || {
        let shared = Arc::new(Shared { cell: UnsafeCell::new(0), ready: AtomicBool::new(false) });
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                // SAFETY: nobody reads before `ready`.
                shared.cell.with_mut(|cell| unsafe { *cell = 1 });
                shared.ready.store(true, store);
            })
        };
        if shared.ready.load(load) {
            // SAFETY: it has been written.
            assert_eq!(shared.cell.with(|cell| unsafe { *cell }), 1);
        }
        other.join().unwrap();
    }
}

#[test]
fn a_race_is_found_and_what_is_ordered_is_none() {
    loom::model(publish(Release, Acquire));
    for (store, load) in [(Relaxed, Acquire), (Release, Relaxed)] {
        let wrong = wrong(publish(store, load));
        assert!(wrong.starts_with("Causality violation"), "{wrong}");
        assert!(wrong.contains("memory.rs:"), "{wrong}");
    }
}

#[test]
fn an_access_that_lasts_races_with_what_comes_before_its_end() {
    let wrong = wrong(|| {
        let shared = Arc::new(Shared { cell: UnsafeCell::new(0), ready: AtomicBool::new(false) });
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                let pointer = shared.cell.get_mut();
                shared.ready.store(true, Release);
                drop(pointer);
            })
        };
        if shared.ready.load(Acquire) {
            drop(shared.cell.get());
        }
        other.join().unwrap();
    });
    assert!(wrong.starts_with("Causality violation"), "{wrong}");
}

#[test]
fn a_thread_does_not_read_what_it_is_writing() {
    let wrong = wrong(|| {
        let cell = UnsafeCell::new(0);
        cell.with_mut(|_| cell.with(|_| ()));
    });
    assert!(wrong.starts_with("Causality violation"), "{wrong}");
}

#[test]
fn an_atomic_that_is_read_alone_races_with_writes() {
    let wrong = wrong(|| {
        let word = Arc::new(AtomicUsize::new(0));
        let other = {
            let word = word.clone();
            thread::spawn(move || word.store(1, Release))
        };
        // SAFETY: it is not safe, and that is to be found.
        unsafe { word.unsync_load() };
        other.join().unwrap();
    });
    assert!(wrong.starts_with("Causality violation"), "{wrong}");
}

#[test]
fn a_cell_is_written_and_read() {
    loom::model(|| {
        let cell = Cell::new(1);
        assert_eq!(cell.replace(2), 1);
        let other = Cell::new(5);
        cell.swap(&other);
        assert_eq!((cell.get(), other.get()), (5, 2));
    });
}

#[test]
fn a_handle_that_is_forgotten_is_a_leak() {
    let wrong = wrong(|| std::mem::forget(Arc::new(1)));
    assert!(wrong.starts_with("Arc leaked") && wrong.contains("memory.rs:"), "{wrong}");
    let wrong = common::wrong(|| std::mem::forget(Track::new(1)));
    assert!(wrong.starts_with("Track leaked"), "{wrong}");
    let layout = Layout::new::<u64>();
    let wrong = common::wrong(move || {
        // SAFETY: the layout has a size.
        unsafe { alloc(layout) };
    });
    assert!(wrong.contains("leaked"), "{wrong}");
    loom::model(move || {
        // SAFETY: the layout has a size, and the block is freed once.
        unsafe { dealloc(alloc(layout), layout) };
        drop(Track::new(1));
    });
}

#[test]
fn a_handle_that_is_leaked_in_one_execution_only_is_found() {
    let wrong = wrong(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let other = {
            let flag = flag.clone();
            thread::spawn(move || flag.store(true, Relaxed))
        };
        if flag.load(Relaxed) {
            std::mem::forget(flag.clone());
        }
        other.join().unwrap();
    });
    assert!(wrong.starts_with("Arc leaked"), "{wrong}");
}

#[test]
fn a_handle_is_used_by_its_address() {
    loom::model(|| {
        let pointer = Arc::into_raw(Arc::new(7));
        // SAFETY: it is from `into_raw`, and each handle is given up once.
        unsafe {
            Arc::increment_strong_count(pointer);
            Arc::decrement_strong_count(pointer);
            assert_eq!(*Arc::from_raw(pointer), 7);
        }
    });
}

/// Adds to the word when it is dropped.
struct Adds(std::sync::Arc<AtomicUsize>);

impl Drop for Adds {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_destructor_runs_once_whichever_handle_is_the_last() {
    let all = outcomes(|| {
        let count = std::sync::Arc::new(AtomicUsize::new(0));
        let shared = Arc::new(Adds(count.clone()));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || drop(shared))
        };
        drop(shared);
        let before = count.load(Relaxed);
        other.join().unwrap();
        (before, count.load(Relaxed))
    });
    assert_eq!(all, [(0, 1), (1, 1)].into());
}

#[test]
fn the_only_handle_gives_its_value_back() {
    let all = outcomes(|| {
        let shared = Arc::new(3);
        let other = {
            let shared = shared.clone();
            thread::spawn(move || Arc::try_unwrap(shared).is_ok())
        };
        let own = Arc::try_unwrap(shared).is_ok();
        (own, other.join().unwrap())
    });
    assert_eq!(all, [(true, false), (false, true), (false, false)].into());
}

#[test]
fn a_weak_handle_finds_the_value_or_none() {
    let all = outcomes(|| {
        let shared = Arc::new(3);
        let weak: Weak<i32> = Arc::downgrade(&shared);
        let other = thread::spawn(move || weak.upgrade().map(|shared| *shared));
        drop(shared);
        other.join().unwrap()
    });
    assert_eq!(all, [None, Some(3)].into());
}

/// A stack of nodes.
struct Stack {
    head: AtomicPtr<Node>,
}

struct Node {
    value: usize,
    next: *mut Node,
}

impl Stack {
    fn push(&self, value: usize) {
        let node = Box::into_raw(Box::new(Node { value, next: null_mut() }));
        let mut head = self.head.load(Relaxed);
        loop {
            // SAFETY: the node is not published yet.
            unsafe { (*node).next = head };
            match self.head.compare_exchange(head, node, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(newer) => head = newer,
            }
        }
    }

    fn take(&self) -> Vec<usize> {
        let mut values = Vec::new();
        let mut node = self.head.swap(null_mut(), AcqRel);
        while !node.is_null() {
            // SAFETY: it was taken off the list, so it is ours.
            let taken = unsafe { Box::from_raw(node) };
            values.push(taken.value);
            node = taken.next;
        }
        values
    }
}

#[test]
fn pointers_are_followed_in_every_execution() {
    let all = outcomes(|| {
        let stack = Arc::new(Stack { head: AtomicPtr::default() });
        let threads = [1, 2].map(|value| {
            let stack = stack.clone();
            thread::spawn(move || stack.push(value))
        });
        let mut values = stack.take();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let first = values.len();
        values.extend(stack.take());
        (first, values)
    });
    let both = |first| [(first, vec![1, 2]), (first, vec![2, 1])];
    assert_eq!(all, both(0).into_iter().chain(both(1)).chain(both(2)).collect());
}

/// A stack whose head is an address in a number, with a tag in its lowest bit.
struct Tagged {
    head: AtomicUsize,
}

impl Tagged {
    fn push(&self, value: usize) {
        let mut head = self.head.load(Acquire);
        let mut node = Box::into_raw(Box::new((value, 0)));
        loop {
            // SAFETY: it is not shared yet.
            unsafe { (*node).1 = head };
            match self.head.compare_exchange(head, node.expose_provenance() | 1, AcqRel, Acquire) {
                Ok(_) => return,
                Err(newer) => head = newer,
            }
            // SAFETY: the same. A thread that has to try again has another block, and frees this one.
            drop(unsafe { Box::from_raw(node) });
            drop(Box::new([value; 6]));
            node = Box::into_raw(Box::new((value, 0)));
        }
    }

    fn take(&self) -> Vec<usize> {
        let mut values = Vec::new();
        let mut head = self.head.swap(0, AcqRel);
        while head & 1 == 1 {
            // SAFETY: it was taken off the list, so it is ours.
            let node =
                unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut::<(usize, usize)>(head & !1)) };
            values.push(node.0);
            head = node.1;
        }
        values
    }
}

#[test]
fn an_address_in_a_number_comes_up_again() {
    let all = outcomes(|| {
        let stack = Arc::new(Tagged { head: AtomicUsize::new(0) });
        let threads = [1, 2].map(|value| {
            let stack = stack.clone();
            thread::spawn(move || stack.push(value))
        });
        let mut values = stack.take();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let first = values.len();
        values.extend(stack.take());
        (first, values)
    });
    let both = |first| [(first, vec![1, 2]), (first, vec![2, 1])];
    assert_eq!(all, both(0).into_iter().chain(both(1)).chain(both(2)).collect());
}

static COUNT: AtomicUsize = AtomicUsize::new(5);

#[test]
fn a_static_begins_anew_in_each_execution() {
    let all = outcomes(|| {
        let other = thread::spawn(|| COUNT.fetch_add(1, Relaxed));
        let own = COUNT.fetch_add(1, Relaxed);
        (own, other.join().unwrap())
    });
    assert_eq!(all, [(5, 6), (6, 5)].into());
}

loom::lazy_static! {
    static ref WORD: AtomicUsize = AtomicUsize::new(1);
    static ref LIST: Mutex<Vec<usize>> = Mutex::new(vec![]);
}

loom::thread_local! {
    static OWN: std::cell::Cell<usize> = std::cell::Cell::new(1);
}

#[test]
fn a_lazy_static_is_made_once_in_each_execution() {
    let all = outcomes(|| {
        let other = thread::spawn(|| {
            LIST.lock().unwrap().push(1);
            WORD.fetch_add(1, Relaxed)
        });
        LIST.lock().unwrap().push(2);
        let own = WORD.fetch_add(1, Relaxed);
        let other = other.join().unwrap();
        assert_eq!(LIST.lock().unwrap().len(), 2);
        (own, other)
    });
    assert_eq!(all, [(1, 2), (2, 1)].into());
}

/// Its destructor asks for a lazy static.
struct Asks;

impl Drop for Asks {
    fn drop(&mut self) {
        WORD.load(Relaxed);
    }
}

/// A search at random stops in the middle of a run, before it has come to where the value was made.
#[test]
fn a_lazy_static_is_there_for_destructors_of_a_run_that_is_stopped() {
    let mut builder = loom::model::Builder::new();
    builder.max_permutations = Some(10_500);
    builder.check(|| {
        let _asks = Asks;
        let threads = [1, 2, 3].map(|value| {
            thread::spawn(move || {
                let _asks = Asks;
                for _ in 0..3 {
                    WORD.swap(value, Relaxed);
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn each_thread_has_its_own_value() {
    loom::model(|| {
        OWN.with(|own| own.set(2));
        let other = thread::spawn(|| OWN.with(|own| own.replace(3)));
        assert_eq!(other.join().unwrap(), 1);
        assert_eq!(OWN.with(std::cell::Cell::get), 2);
    });
}

#[test]
fn a_value_is_written_once() {
    let all = outcomes(|| {
        let cell = Arc::new(OnceLock::new());
        let other = {
            let cell = cell.clone();
            thread::spawn(move || *cell.get_or_init(|| 1))
        };
        let own = *cell.get_or_init(|| 2);
        assert_eq!(own, other.join().unwrap());
        own
    });
    assert_eq!(all, [1, 2].into());
}

#[test]
fn narrow_numbers_wrap_and_signed_ones_compare_as_such() {
    loom::model(|| {
        let byte = AtomicU8::new(255);
        assert_eq!(byte.fetch_add(2, Relaxed), 255);
        assert_eq!(byte.load(Relaxed), 1);
        assert_eq!(byte.fetch_sub(2, Relaxed), 1);
        assert_eq!(byte.load(Relaxed), 255);
        byte.fetch_nand(0x0f, Relaxed);
        assert_eq!(byte.load(Relaxed), 0xf0);
        assert_eq!(byte.compare_exchange(0xf0, 3, Relaxed, Relaxed), Ok(0xf0));
        let signed = AtomicI8::new(-1);
        signed.fetch_max(1, Relaxed);
        assert_eq!(signed.fetch_min(-128, Relaxed), 1);
        assert_eq!(signed.load(Relaxed), -128);
        let flag = AtomicBool::new(true);
        assert!(flag.fetch_nand(true, Relaxed));
        assert!(!flag.fetch_xor(true, Relaxed) && flag.load(Relaxed));
    });
}

#[test]
fn a_guard_that_touches_an_atomic_is_no_end_of_the_process() {
    let wrong = wrong(|| {
        let word = Arc::new(AtomicUsize::new(0));
        let _adds = Adds(std::sync::Arc::new(AtomicUsize::new(0)));
        let other = {
            let word = word.clone();
            thread::spawn(move || word.load(Relaxed))
        };
        other.join().unwrap();
        thread::park();
    });
    assert!(wrong.starts_with("deadlock"), "{wrong}");
}
