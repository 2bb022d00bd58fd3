//! An executor with one task, and two wakers of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use reveille::run_queue::Queued;
use reveille::sync::{Atomic, JoinHandle, Mutex, Parker, Primitives};

use super::Scenario;
use crate::flavour::script::Script;
use crate::trace::Trace;

/// Two threads each make something true and wake the task; the executor polls it until it has seen both, and sleeps while the run
/// queue is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Executing;

/// What the threads share.
struct Shared<P: Primitives> {
    queued: Queued<P>,
    /// How often the task is in it.
    run_queue: P::Mutex<usize>,
    parker: P::Parker,
    news: [P::Atomic; 2],
}

impl Scenario for Executing {
    fn name(&self) -> String {
        "an executor's run queue".into()
    }

    fn main_thread(&self) -> &'static str {
        "executor"
    }

    fn run<P: Primitives>(&self) {
        let shared = Arc::new(Shared::<P> {
            queued: Queued::new(),
            run_queue: P::Mutex::new("run queue", 0),
            parker: P::Parker::new("executor"),
            news: ["first", "second"].map(|label| P::Atomic::new(label, 0)),
        });
        let wakers = [("waker 1", 0), ("waker 2", 1)].map(|(name, which)| {
            let shared = shared.clone();
            P::spawn(name, move || {
                shared.news[which].store(1, Relaxed);
                if shared.queued.woken() {
                    shared.run_queue.with(|tasks| *tasks += 1);
                    shared.parker.unpark();
                }
            })
        });
        let both = || shared.news.iter().all(|news| news.load(Relaxed) == 1);
        loop {
            let taken = shared.run_queue.with(|tasks| {
                assert!(*tasks <= 1, "the task is in the run queue twice");
                std::mem::take(tasks)
            });
            if taken == 0 {
                shared.parker.park();
                continue;
            }
            shared.queued.running();
            if both() {
                break;
            }
        }
        for waker in wakers {
            waker.join().expect("no panic");
        }
    }

    fn owed(&self, trace: &Trace) -> Option<String> {
        let there = ["first", "second"].iter().filter(|label| trace.newest(label) == Some(1)).count();
        (there == 2).then(|| "a poll: the task was woken for both".into())
    }

    fn scripts(&self) -> Vec<Script> {
        vec![Script::none(), Script::none().early("executor", 1)]
    }
}
