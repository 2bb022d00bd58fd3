//! The parker of the library's own, on a futex that the checker simulates.

use std::sync::Arc;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::time::Duration;

use reveille::parker::{Futex, FutexParker};
use reveille::sync::{Atomic, Cell, JoinHandle, Mutex, Parker, Primitives, Unparked};

use super::Scenario;
use crate::flavour::script::Script;

/// A futex of `P`: the kernel's bucket with its lock, and a bed for one.
struct SimulatedFutex<P: Primitives> {
    word: P::Atomic,
    asleep: P::Mutex<bool>,
    bed: P::Parker,
}

impl<P: Primitives> Futex for SimulatedFutex<P> {
    fn new(label: &'static str, value: u32) -> Self {
        Self {
            word: P::Atomic::new(label, value as usize),
            asleep: P::Mutex::new("futex", false),
            bed: P::Parker::new("bed"),
        }
    }

    fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        self.word.fetch_sub(value as usize, order) as u32
    }

    fn swap(&self, value: u32, order: Ordering) -> u32 {
        self.word.swap(value as usize, order) as u32
    }

    fn wait(&self, expected: u32, _: Option<Duration>) {
        // The kernel reads the word with its bucket's lock held, and orders nothing by it.
        let sleep = self.asleep.with(|asleep| {
            *asleep = self.word.load(Relaxed) as u32 == expected;
            *asleep
        });
        if sleep {
            self.bed.park();
        }
    }

    fn wake(&self) {
        if self.asleep.with(std::mem::take) {
            self.bed.unpark();
        }
    }
}

/// One thread leaves a message and unparks the other, which parks until it has the token, and reads the message.
#[derive(Debug, Clone, Copy, Default)]
pub struct HandingOver;

impl Scenario for HandingOver {
    fn name(&self) -> String {
        "a parker that hands something over".into()
    }

    fn main_thread(&self) -> &'static str {
        "sleeper"
    }

    fn run<P: Primitives>(&self) {
        let shared = Arc::new((FutexParker::<SimulatedFutex<P>>::new("parker"), P::Cell::new("message", 0)));
        let waker = P::spawn("waker", {
            let shared = shared.clone();
            move || {
                // SAFETY: the sleeper reads it only with the token that is left afterwards; an engine that watches cells
                // reports it if that is not so.
                shared.1.with_mut(|message| unsafe { *message = 1 });
                shared.0.unpark();
            }
        });
        while shared.0.park_timeout(Duration::MAX) != Unparked::Token {}
        // SAFETY: the token says that the waker has written, and it does not write again.
        let message = shared.1.with(|message| unsafe { *message });
        assert_eq!(message, 1, "awake, and no message");
        waker.join().expect("no panic");
    }

    fn scripts(&self) -> Vec<Script> {
        vec![Script::none(), Script::none().early("bed", 1)]
    }
}
