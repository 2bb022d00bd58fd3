//! A failure prints a line by which the execution is made again.

use std::process::Command;

use loom::sync::Arc;
use loom::sync::atomic::AtomicPtr;
use loom::sync::atomic::Ordering::{Acquire, Relaxed};
use loom::thread;

/// A pointer is published by a store that should release.
#[test]
#[ignore = "it fails: the other test runs it"]
fn publishes_too_weakly() {
    loom::model(|| {
        let place: Arc<AtomicPtr<loom::cell::UnsafeCell<i32>>> = Arc::default();
        let other = {
            let place = place.clone();
            thread::spawn(move || {
                let cell = Box::into_raw(Box::new(loom::cell::UnsafeCell::new(0)));
                // SAFETY: it is not shared yet.
                unsafe { (*cell).with_mut(|cell| *cell = 1) };
                place.store(cell, Relaxed);
            })
        };
        let cell = place.load(Acquire);
        if !cell.is_null() {
            // SAFETY: it is never freed.
            unsafe { (*cell).with(|cell| *cell) };
        }
        other.join().unwrap();
    });
}

/// Runs the test in a process of its own, which fails. What it has printed.
fn run(record: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this test has a program"));
    command.args(["--exact", "publishes_too_weakly", "--ignored", "--nocapture"]).env_remove("LOOM_REPLAY");
    if let Some(record) = record {
        command.env("LOOM_REPLAY", record);
    }
    let output = command.output().expect("it can be run");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of the table.
fn table(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.contains("replay.rs:") && !line.contains("panicked")).collect()
}

#[test]
fn an_execution_is_made_again_from_its_line() {
    let first = run(None);
    let record = first.lines().find_map(|line| line.strip_prefix("LOOM_REPLAY=")).expect("it is printed");
    let (record, _) = record.split_once(' ').expect("the command comes after it");
    let again = run(Some(record));
    assert!(again.contains("made again from LOOM_REPLAY"), "{again}");
    assert!(table(&first).len() > 5);
    assert_eq!(table(&first), table(&again));
}

#[test]
fn a_line_of_another_program_is_refused() {
    let mut command = Command::new(std::env::current_exe().expect("this test has a program"));
    command
        .args(["--exact", "publishes_too_weakly", "--ignored", "--nocapture"])
        .env("LOOM_REPLAY", "rc11.00000000.a9");
    let output = command.output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("LOOM_REPLAY is not for this model"), "{text}");
}
