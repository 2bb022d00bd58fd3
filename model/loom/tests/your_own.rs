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

mod page {
    use std::process::Command;

    const PAGE: &str = include_str!("../../../checks/YOUR_OWN.md");

    #[test]
    fn the_page_shows_what_comes_out() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "without_its_barriers_it_does", "--nocapture"]);
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let is_row =
            |line: &&str| line.split_whitespace().next().is_some_and(|first| first.parse::<u32>().is_ok());
        let rows: Vec<_> = text.lines().map(str::trim_end).filter(is_row).collect();
        assert!(rows.len() >= 7, "{text}");
        for row in rows {
            assert!(PAGE.lines().any(|shown| shown == row), "{row}\nof\n{text}");
        }
    }

    #[test]
    fn the_page_shows_this_program() {
        let (program, _) = include_str!("your_own.rs").split_once("\n\nmod page").unwrap();
        assert!(PAGE.contains(program.split_once("\n\n").unwrap().1));
    }
}
