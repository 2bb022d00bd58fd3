//! A test that was written for loom, on this engine.

use loom::sync::Arc;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicBool, fence};
use loom::thread;

/// One thread makes `ready` true and wakes the other, but only if that has said that it is going to sleep.
fn my_protocol(barriers: bool) {
    let ready = Arc::new(AtomicBool::new(false));
    let sleeping = Arc::new(AtomicBool::new(false));
    let sleeper = thread::current();
    let waker = thread::spawn({
        let (ready, sleeping) = (ready.clone(), sleeping.clone());
        move || {
            ready.store(true, Release);
            if barriers {
                fence(SeqCst);
            }
            if sleeping.load(Relaxed) {
                sleeper.unpark();
            }
        }
    });
    sleeping.store(true, Relaxed);
    if barriers {
        fence(SeqCst);
    }
    while !ready.load(Acquire) {
        thread::park();
    }
    waker.join().unwrap();
}

#[test]
fn my_protocol_loses_no_wake() {
    loom::model(|| my_protocol(true));
}

#[test]
#[should_panic(expected = "every thread is blocked")]
fn without_its_barriers_it_does() {
    loom::model(|| my_protocol(false));
}

mod common;

const PAGE: &str = include_str!("../../../checks/YOUR_OWN.md");

#[test]
fn the_page_shows_what_comes_out() {
    let text = common::wrong(|| my_protocol(false));
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    // How long it took differs.
    for line in lines.filter(|line| !line.starts_with("found after") && !line.starts_with("LOOM_REPLAY")) {
        assert!(PAGE.lines().any(|shown| shown == line), "{line}\nof\n{text}");
    }
}

#[test]
fn the_page_shows_this_program() {
    let (program, _) = include_str!("your_own.rs").split_once("mod common;").unwrap();
    assert!(PAGE.contains(program.split_once("\n\n").unwrap().1.trim()));
}
