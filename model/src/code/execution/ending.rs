//! How a run comes to its end: what its threads are at, and what there is to do when it is over.
//!
//! # Threads that go in circles
//!
//! A loop that reads shared memory until it finds what it waits for is a wait, but nothing says so in the code. The
//! program says that a thread [goes in circles](crate::code::go_in_circles) when it has read, changed nothing, and
//! is about to read the same places again. Such a thread does no more in this execution. What it waits for is for
//! *another* graph: the write that comes later revisits the read. So no turn of the loop is in a graph but the
//! last one and the first in vain, and no graph has an endless loop.
//!
//! No execution is lost: what a turn in vain has read orders the thread after more, never after less, so
//! whatever can happen after some turns in vain can happen after none.
//!
//! At the end of the run, such a thread is one that waits for ever if each of its reads has seen the newest write.
//! A write of such a turn left the value as it was, as the swap of a spinlock does in vain: it does not count.

use std::panic::Location as Source;

use super::{Execution, State, current};
use crate::code::failure::Failure;
use crate::code::fiber;
use crate::code::object::Kind;
use crate::graphs::{Event, EventId, Op};

/// What is done when a run is over: it is told whether the execution is complete, and says what is wrong with it.
pub(in crate::code) type AtEnd = Box<dyn FnOnce(bool) -> Option<String>>;

impl Execution {
    /// Whether all threads have ended.
    pub(super) fn has_ended(&self) -> bool {
        let graph = &self.graph;
        (0..graph.threads.len())
            .filter(|&thread| graph.is_alive(thread))
            .all(|thread| graph.has_ended(thread))
    }

    /// Whether nothing has gone wrong and all threads have ended.
    pub(super) fn is_complete(&self) -> bool {
        self.failure.is_none() && !self.stopped && self.to_replay == 0 && self.has_ended()
    }

    /// Whether a thread waits for something that is there: another graph has it.
    pub(super) fn is_stale(&self) -> bool {
        let graph = &self.graph;
        let is_stale = |event: &Event| match event.op {
            Op::Choose { .. } => event.read != 0,
            Op::Load { location, .. } | Op::Rmw { location, .. } => {
                let newest = graph.newest(location);
                newest != event.reads_from
                    && self.cause(location, newest) != self.cause(location, event.reads_from)
            }
            _ => false,
        };
        let alive = (0..graph.threads.len()).filter(|&thread| graph.is_alive(thread));
        alive.into_iter().any(|thread| {
            let events = &graph.threads[thread].events;
            match self.circles.iter().find(|(number, _)| *number == thread) {
                Some(&(_, first)) => events[first..].iter().any(is_stale),
                None => events.last().is_some_and(|event| event.blocked && is_stale(event)),
            }
        })
    }

    /// The last write up to this one that is no part of a turn in vain.
    fn cause(&self, location: u32, write: EventId) -> EventId {
        let is_in_vain = |write: &&EventId| {
            self.circles.iter().any(|&(thread, first)| write.thread() == thread && write.index() >= first)
        };
        let writes = &self.graph.location(location).writes;
        let up_to = &writes[..=self.graph.position(write)];
        up_to.iter().rev().find(|write| write.is_initial() || !is_in_vain(write)).copied().unwrap_or(write)
    }

    /// Keeps which threads go in circles, before they are taken down.
    pub(super) fn keep_circles(&mut self) {
        self.circles.clear();
        for (number, thread) in self.threads.iter().enumerate() {
            if let State::Circles(turn) = thread.state {
                self.circles.push((number, self.graph.threads[number].events.len() - turn));
            }
        }
    }

    /// What is to be done when this run is over.
    pub fn at_end(&mut self, then: AtEnd) {
        self.at_end.push(then);
    }

    /// Does what is to be done now that the run is over.
    ///
    /// # Safety
    /// As [`step`](Self::step).
    pub(super) unsafe fn finish(this: *mut Execution, is_complete: bool) {
        loop {
            // SAFETY: no fiber runs; the reference ends with this statement.
            let Some(then) = (unsafe { (*this).at_end.pop() }) else { return };
            let body = std::panic::AssertUnwindSafe(move || then(is_complete));
            let wrong = match std::panic::catch_unwind(body) {
                Ok(wrong) => wrong,
                Err(payload) => is_complete.then(|| super::message(&*payload)),
            };
            if let Some(message) = wrong {
                // SAFETY: as above.
                unsafe { (*this).fail(Failure::Panic { thread: 0, message }) };
            }
        }
    }
}

/// How many operations the running thread has done.
pub(in crate::code) fn operations() -> usize {
    current().map_or(0, |execution| execution.threads[execution.running].done)
}

/// How many operations the running thread has done since it had done so many, if they have changed nothing:
/// they were reads, failed exchanges, writes that left the value as it was, and sections of a lock. `None` if
/// one has.
pub(in crate::code) fn in_vain(since: usize) -> Option<usize> {
    let execution = current()?;
    let Execution { graph, threads, running, names, .. } = execution;
    let events = &graph.threads[*running].events[since..threads[*running].done];
    let is_lock = |location: u32| names[location as usize].kind == Kind::Lock;
    let is_in_vain = |event: &Event| match event.op {
        Op::Load { .. } | Op::Fence { .. } | Op::Choose { .. } | Op::CellRead { .. } => true,
        Op::Rmw { location, .. } => !event.writes || event.wrote == event.read || is_lock(location),
        Op::Store { location, .. } => is_lock(location),
        Op::Spawn | Op::Join { .. } | Op::CellWrite { .. } | Op::End => false,
    };
    (!events.is_empty() && events.iter().all(is_in_vain)).then_some(events.len())
}

/// The running thread goes in circles: so many of its last events are one turn.
pub(in crate::code) fn go_in_circles(turn: usize, source: &'static Source<'static>) {
    loop {
        let Some(execution) = current() else { return };
        if execution.taken_down {
            execution.tell_taken_down();
            return;
        }
        let number = execution.running;
        let turn = turn.min(execution.threads[number].done);
        execution.pulse.asks(source);
        execution.threads[number].state = State::Circles(turn);
        execution.pause(source);
        fiber::suspend();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::ops::ControlFlow::Continue;
    use std::rc::Rc;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::sync::{Arc, Mutex};

    use super::super::RunEnd;
    use crate::code::{Failure, Location, Lock, at_end, go_in_circles, is_taken_down, spawn, spin_until};
    use crate::explore::{Options, explore, explore_with};
    use crate::graphs::{Graph, Modify, Until};
    use crate::memory::Memory;

    /// What a thread does: a store of a value, a load, or a wait for a value.
    #[derive(Clone, Copy, Debug)]
    enum Do {
        Store(usize, u64),
        Load(usize),
        Wait(usize, u64),
        Add(usize),
    }

    /// How a run ends, with what its threads have read: how often it comes up.
    type Ends = BTreeMap<(bool, Vec<Vec<u64>>), u64>;

    fn ends(memory: Memory, threads: &[Vec<Do>], is_loop: bool) -> (Ends, bool) {
        let all: Arc<Mutex<Ends>> = Arc::default();
        let (seen, threads) = (all.clone(), threads.to_vec());
        // What a thread has read, without what it has read in vain.
        let read = |graph: &Graph, thread: usize| -> Vec<u64> {
            let events = &graph.threads[thread].events;
            let mut read: Vec<u64> = Vec::new();
            for (nth, event) in events.iter().enumerate() {
                let is_again = events.get(nth + 1).is_some_and(|next| next.source == event.source);
                if event.op.reads() && !event.blocked && !is_again {
                    read.push(event.read);
                }
            }
            read
        };
        let options = Options { workers: 1, more_after_failure: u64::MAX, ..Options::default() };
        let program = move || {
            let words = [Location::new("x", 0), Location::new("y", 0)];
            for body in threads.clone() {
                spawn("thread", move || {
                    for step in body {
                        match step {
                            Do::Store(word, value) => words[word].store(value, Release),
                            Do::Load(word) => {
                                words[word].load(Relaxed);
                            }
                            Do::Add(word) => {
                                words[word].modify(Modify::Add(1), Relaxed, Relaxed);
                            }
                            Do::Wait(word, value) if is_loop => {
                                while words[word].load(Acquire) != value {
                                    go_in_circles(1);
                                }
                            }
                            Do::Wait(word, value) => {
                                words[word].wait(Until::Is(value), Acquire);
                            }
                        }
                    }
                });
            }
        };
        let report = explore_with(memory, options, program, move |graph, end| {
            let is_stuck = match end {
                RunEnd::Stale => return Continue(()),
                RunEnd::Complete => false,
                _ => true,
            };
            let mut key: Vec<Vec<u64>> = (1..graph.threads.len()).map(|thread| read(graph, thread)).collect();
            if is_stuck {
                // What it has read in vain is an event in both, and blocked in one.
                key.clear();
            }
            *seen.lock().unwrap().entry((is_stuck, key)).or_default() += 1;
            Continue(())
        });
        let is_stuck = matches!(report.failed.map(|failed| failed.failure), Some(Failure::Stuck));
        (std::mem::take(&mut *all.lock().unwrap()), is_stuck)
    }

    #[test]
    fn a_loop_that_goes_in_circles_is_a_wait() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut stuck, mut complete) = (0, 0);
        for _ in 0..400 {
            let threads: Vec<Vec<Do>> = (0..random.usize(2..=3))
                .map(|_| {
                    let step = |random: &mut fastrand::Rng| {
                        let (word, value) = (random.usize(..2), random.u64(1..=2));
                        match random.usize(..5) {
                            0 | 1 => Do::Store(word, value),
                            2 => Do::Load(word),
                            3 => Do::Add(word),
                            _ => Do::Wait(word, value),
                        }
                    };
                    (0..random.usize(2..=3)).map(|_| step(&mut random)).collect()
                })
                .collect();
            let memory = [Memory::Sc, Memory::Tso, Memory::Rc11][random.usize(..3)];
            let (by_loop, by_wait) = (ends(memory, &threads, true), ends(memory, &threads, false));
            assert_eq!(by_loop, by_wait, "{memory:?} {threads:?}");
            stuck += u64::from(by_loop.1);
            complete +=
                by_loop.0.iter().filter(|((is_stuck, _), _)| !is_stuck).map(|(_, count)| count).sum::<u64>();
        }
        assert!(stuck > 50 && complete > 1_000, "{stuck} {complete}");
    }

    #[test]
    fn spinlocks_that_swap_in_vain_wait_for_each_other_for_ever() {
        let report = explore(Memory::Rc11, Options::default(), || {
            let lock = Location::new("lock", 1);
            for _ in 0..2 {
                spawn("thread", move || {
                    while lock.modify(Modify::Swap(1), Acquire, Relaxed) == 1 {
                        go_in_circles(1);
                    }
                });
            }
        });
        let failed = report.failed.expect("nobody gives the lock back");
        assert_eq!(failed.failure, Failure::Stuck);
        assert_eq!(failed.circles.len(), 2);
    }

    #[test]
    fn a_condition_that_never_holds_is_stuck_whatever_it_looks_at() {
        let lock = || {
            let lock = Lock::new("lock");
            let value = Rc::new(Cell::new(0));
            let other = value.clone();
            spawn("other", move || {
                lock.acquire();
                other.set(1);
                lock.release();
            });
            spin_until(move || {
                lock.acquire();
                let read = value.get();
                lock.release();
                read == 2
            });
        };
        let exchange = || {
            let word = Location::new("word", 1);
            spin_until(move || word.weak_exchange(0, 1, Acquire, Relaxed).is_ok());
        };
        for report in [
            explore(Memory::Rc11, Options::default(), lock),
            explore(Memory::Rc11, Options::default(), exchange),
        ] {
            let failed = report.failed.expect("it never holds");
            assert_eq!((failed.failure, failed.circles.len()), (Failure::Stuck, 1));
        }
    }

    #[test]
    fn a_condition_that_another_thread_makes_true_holds_in_the_end() {
        // A spinlock, in which two threads count.
        let report = explore(Memory::Rc11, Options::default(), || {
            let (lock, count) = (Location::new("lock", 0), Location::new("count", 0));
            let threads = [(); 2].map(|()| {
                spawn("thread", move || {
                    spin_until(|| lock.modify(Modify::Swap(1), Acquire, Relaxed) == 0);
                    count.store(count.load(Relaxed) + 1, Relaxed);
                    lock.store(0, Release);
                })
            });
            threads.into_iter().for_each(|thread| thread.join());
            assert_eq!(count.load(Relaxed), 2);
        });
        assert_eq!((report.failed.is_none(), report.complete, report.executions), (true, true, 2));
    }

    #[test]
    fn a_condition_that_changes_something_in_vain_is_no_wait() {
        // It takes a ticket each time, and the third one will do.
        let report = explore(Memory::Rc11, Options::default(), || {
            let word = Location::new("word", 0);
            spin_until(move || word.modify(Modify::Add(1), Relaxed, Relaxed) == 2);
            assert_eq!(word.load(Relaxed), 3);
        });
        assert_eq!((report.failed.is_none(), report.complete, report.executions), (true, true, 1));
    }

    #[test]
    fn what_is_wrong_at_the_end_of_a_complete_execution_fails_it() {
        let report = explore(Memory::Rc11, Options::default(), || {
            at_end(|is_complete| is_complete.then(|| "left over".to_owned()));
        });
        let failure = report.failed.expect("it is wrong").failure;
        assert_eq!(failure, Failure::Panic { thread: 0, message: "left over".to_owned() });
    }

    #[test]
    fn threads_are_taken_down_before_those_that_started_them() {
        struct Says(&'static str, Rc<Cell<String>>);
        impl Drop for Says {
            fn drop(&mut self) {
                assert!(is_taken_down());
                self.1.set(self.1.take() + self.0);
            }
        }
        let order: Arc<Mutex<String>> = Arc::default();
        let seen = order.clone();
        let report = explore(Memory::Rc11, Options { workers: 1, ..Options::default() }, move || {
            let never = Location::new("never", 0);
            let said = Rc::new(Cell::new(String::new()));
            let (seen, in_the_end) = (seen.clone(), said.clone());
            at_end(move |_| {
                *seen.lock().unwrap() = in_the_end.take();
                None
            });
            let _first = Says("a", said.clone());
            spawn("b", move || {
                let _second = Says("b", said);
                never.wait(Until::Is(1), Relaxed);
            });
            never.wait(Until::Is(1), Relaxed);
        });
        assert_eq!(report.failed.map(|failed| failed.failure), Some(Failure::Stuck));
        assert_eq!(*order.lock().unwrap(), "ba");
    }
}
