//! Locks, notifications, loops that wait: what is missed is found, and what is not is not.

mod common;

use common::{outcomes, wrong};
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Barrier, Condvar, Mutex, Notify, RwLock, mpsc};
use loom::{hint, thread};

#[test]
fn a_loop_that_waits_for_what_comes_ends() {
    let all = outcomes(|| {
        let (data, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let other = {
            let (data, ready) = (data.clone(), ready.clone());
            thread::spawn(move || {
                data.store(7, Relaxed);
                ready.store(true, Release);
            })
        };
        while !ready.load(Acquire) {
            hint::spin_loop();
        }
        let read = data.load(Relaxed);
        other.join().unwrap();
        read
    });
    assert_eq!(all, [7].into());
}

#[test]
fn a_loop_that_waits_for_what_never_comes_is_found() {
    let wrong = wrong(|| {
        let ready = Arc::new(AtomicBool::new(false));
        let other = {
            let ready = ready.clone();
            thread::spawn(move || ready.load(Relaxed))
        };
        while !ready.load(Acquire) {
            thread::yield_now();
        }
        other.join().unwrap();
    });
    assert!(wrong.contains("again and again"), "{wrong}");
}

#[test]
fn two_threads_that_wait_for_each_other_are_found() {
    let wrong = wrong(|| {
        let lock = Arc::new(AtomicBool::new(true));
        let spin = |lock: &AtomicBool| {
            while lock.swap(true, Acquire) {
                hint::spin_loop();
            }
        };
        let other = {
            let lock = lock.clone();
            thread::spawn(move || spin(&lock))
        };
        spin(&lock);
        other.join().unwrap();
    });
    assert!(wrong.contains("again and again"), "{wrong}");
}

/// A spinlock: the swap in vain changes nothing.
#[test]
fn a_spinlock_excludes() {
    let run = |acquire, release| {
        outcomes(move || {
            let shared = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
            let increment = move |(lock, count): &(AtomicBool, AtomicUsize)| {
                while lock.swap(true, acquire) {
                    hint::spin_loop();
                }
                count.store(count.load(Relaxed) + 1, Relaxed);
                lock.store(false, release);
            };
            let other = {
                let shared = shared.clone();
                thread::spawn(move || increment(&shared))
            };
            increment(&shared);
            other.join().unwrap();
            shared.1.load(Relaxed)
        })
    };
    assert_eq!(run(Acquire, Release), [2].into());
    assert_eq!(run(Relaxed, Relaxed), [1, 2].into());
}

#[test]
fn a_bounded_loop_goes_on_when_it_has_not_found_what_it_waits_for() {
    let all = outcomes(|| {
        let ready = Arc::new(AtomicBool::new(false));
        let other = {
            let ready = ready.clone();
            thread::spawn(move || ready.store(true, Relaxed))
        };
        let mut is_ready = false;
        for _ in 0..5 {
            is_ready = ready.load(Relaxed);
            if is_ready {
                break;
            }
            hint::spin_loop();
        }
        other.join().unwrap();
        is_ready
    });
    assert_eq!(all, [false, true].into());
}

#[test]
fn a_wakeup_that_is_missed_is_found() {
    // The flag is set without the lock: between the waiter's look and its wait.
    let run = |has_lock: bool| {
        move || {
            let shared = Arc::new((Mutex::new(()), Condvar::new(), AtomicBool::new(false)));
            let other = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let guard = has_lock.then(|| shared.0.lock().unwrap());
                    shared.2.store(true, SeqCst);
                    drop(guard);
                    shared.1.notify_one();
                })
            };
            let mut guard = shared.0.lock().unwrap();
            while !shared.2.load(SeqCst) {
                guard = shared.1.wait(guard).unwrap();
            }
            drop(guard);
            other.join().unwrap();
        }
    };
    loom::model(run(true));
    let wrong = wrong(run(false));
    assert!(wrong.starts_with("deadlock"), "{wrong}");
}

#[test]
fn a_park_whose_flag_is_looked_at_too_late_is_found() {
    let wrong = wrong(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let main = thread::current();
        let other = {
            let flag = flag.clone();
            thread::spawn(move || {
                main.unpark();
                flag.store(true, SeqCst);
            })
        };
        while !flag.load(SeqCst) {
            thread::park();
        }
        other.join().unwrap();
    });
    assert!(wrong.starts_with("deadlock"), "{wrong}");
}

#[test]
fn one_of_two_waiters_is_woken_whichever_it_is() {
    let all = outcomes(|| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let waiters = [1, 2].map(|number| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut turn = shared.0.lock().unwrap();
                while *turn == 0 {
                    turn = shared.1.wait(turn).unwrap();
                }
                if *turn == 9 { std::mem::replace(&mut *turn, number) } else { 0 }
            })
        });
        *shared.0.lock().unwrap() = 9;
        shared.1.notify_all();
        waiters.map(|waiter| waiter.join().unwrap())
    });
    assert_eq!(all, [[9, 0], [0, 9]].into());
}

#[test]
fn readers_share_and_writers_do_not() {
    let all = outcomes(|| {
        let lock = Arc::new(RwLock::new(0));
        let threads = [0, 1].map(|_| {
            let lock = lock.clone();
            thread::spawn(move || *lock.write().unwrap() += 1)
        });
        let read = *lock.read().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        (read, *lock.read().unwrap())
    });
    assert_eq!(all, [(0, 2), (1, 2), (2, 2)].into());
}

#[test]
fn two_readers_are_in_at_a_time() {
    // Each waits in the lock for the other.
    loom::model(|| {
        let shared = Arc::new((RwLock::new(()), AtomicUsize::new(0)));
        let meet = |(lock, count): &(RwLock<()>, AtomicUsize)| {
            let _guard = lock.read().unwrap();
            count.fetch_add(1, Relaxed);
            while count.load(Relaxed) < 2 {
                thread::yield_now();
            }
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || meet(&shared))
        };
        meet(&shared);
        other.join().unwrap();
    });
}

#[test]
fn a_notify_is_kept_for_who_waits_later() {
    loom::model(|| {
        let notify = Arc::new(Notify::new());
        let other = {
            let notify = notify.clone();
            thread::spawn(move || notify.notify())
        };
        notify.wait();
        other.join().unwrap();
    });
}

#[test]
fn messages_of_a_sender_come_in_order_and_those_of_two_in_any() {
    let all = outcomes(|| {
        let (sender, receiver) = mpsc::channel();
        let other = sender.clone();
        let thread = thread::spawn(move || {
            other.send(1).unwrap();
            other.send(2).unwrap();
        });
        sender.send(3).unwrap();
        drop(sender);
        thread.join().unwrap();
        let received: Vec<i32> = std::iter::from_fn(|| receiver.recv().ok()).collect();
        received
    });
    assert_eq!(all, [vec![1, 2, 3], vec![1, 3, 2], vec![3, 1, 2]].into());
}

#[test]
fn a_receiver_waits_for_a_message() {
    loom::model(|| {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!(receiver.recv(), Ok(1));
        assert!(receiver.recv().is_err());
        thread.join().unwrap();
    });
}

#[test]
fn a_barrier_has_one_leader() {
    let all = outcomes(|| {
        let barrier = Arc::new((Barrier::new(3), AtomicUsize::new(0)));
        let threads = [0, 1, 2].map(|_| {
            let barrier = barrier.clone();
            thread::spawn(move || {
                barrier.1.fetch_add(1, Relaxed);
                let is_leader = barrier.0.wait().is_leader();
                assert_eq!(barrier.1.load(Relaxed), 3);
                is_leader
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|leaders| leaders.iter().filter(|leader| **leader).count() == 1));
}

#[test]
fn threads_of_a_scope_borrow() {
    let all = outcomes(|| {
        let word = AtomicUsize::new(0);
        let mut local = 1;
        thread::scope(|scope| {
            scope.spawn(|| word.fetch_add(1, Relaxed));
            let other = scope.spawn(|| word.fetch_add(1, Relaxed));
            local += other.join().unwrap();
        });
        (local, word.load(Relaxed))
    });
    assert_eq!(all, [(1, 2), (2, 2)].into());
}

#[test]
fn a_loop_around_a_lock_is_a_wait() {
    let run = |sets: bool| {
        move || {
            let flag = Arc::new(Mutex::new(false));
            let other = {
                let flag = flag.clone();
                thread::spawn(move || *flag.lock().unwrap() = sets)
            };
            while !*flag.lock().unwrap() {
                thread::yield_now();
            }
            other.join().unwrap();
        }
    };
    loom::model(run(true));
    let wrong = wrong(run(false));
    assert!(wrong.contains("again and again"), "{wrong}");
}

/// A loop that takes a word as a lock, looks into a cell, and gives it back.
#[test]
fn a_loop_around_a_word_is_a_wait() {
    let run = |sets: bool| {
        move || {
            let shared = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
            let other = {
                let shared = shared.clone();
                thread::spawn(move || shared.1.store(sets, Release))
            };
            loop {
                assert!(shared.0.compare_exchange(false, true, Acquire, Relaxed).is_ok());
                let is_set = shared.1.load(Acquire);
                shared.0.store(false, Release);
                if is_set {
                    break;
                }
                thread::yield_now();
            }
            other.join().unwrap();
        }
    };
    loom::model(run(true));
    let wrong = wrong(run(false));
    assert!(wrong.contains("again and again"), "{wrong}");
}

/// It looks at one word more in every second turn.
#[test]
fn a_loop_of_two_kinds_of_turns_is_a_wait() {
    let run = |sets: bool| {
        move || {
            let words = Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
            let other = {
                let words = words.clone();
                thread::spawn(move || words.0.store(sets, Release))
            };
            let mut nth = 0;
            while !words.0.load(Acquire) {
                if nth % 2 == 1 {
                    assert!(!words.1.load(Acquire));
                }
                nth += 1;
                thread::yield_now();
            }
            other.join().unwrap();
        }
    };
    loom::model(run(true));
    let wrong = wrong(run(false));
    assert!(wrong.contains("again and again"), "{wrong}");
}

#[test]
fn a_bounded_loop_around_a_lock_goes_on_after_its_last_turn() {
    loom::model(|| {
        let lock = Mutex::new(());
        for _ in 0..10 {
            drop(lock.lock().unwrap());
            thread::yield_now();
        }
    });
}

/// Each turn writes the same, and each has been waited for.
#[test]
fn a_loop_whose_words_others_change_goes_on() {
    loom::model(|| {
        let word = Arc::new(AtomicBool::new(false));
        let other = {
            let word = word.clone();
            thread::spawn(move || {
                for _ in 0..5 {
                    while word.swap(true, Acquire) {
                        thread::yield_now();
                    }
                    thread::yield_now();
                }
            })
        };
        for _ in 0..5 {
            while !word.swap(false, Acquire) {
                thread::yield_now();
            }
            thread::yield_now();
        }
        other.join().unwrap();
    });
}

#[test]
fn a_loop_without_an_end_is_said_to_be_one() {
    let wrong = wrong(|| {
        let flag = AtomicBool::new(false);
        while !flag.load(Relaxed) {}
    });
    assert!(wrong.contains("yield_now"), "{wrong}");
}
