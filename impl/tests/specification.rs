//! The wait queue and the completion queue against specifications of a few lines, over random sequences of operations.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use proptest::prelude::*;
use reveille::completion::ring;
use reveille::wait_queue::{Kind, WaitQueue, Waiter, Wakeup};

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Away,
    Armed { since: usize },
    Told,
}

/// The wait queue, by its specification: a kind and a state for each waiter, and how often each was woken.
struct Specification {
    waiters: Vec<(Kind, State)>,
    woken: Vec<usize>,
    time: usize,
}

impl Specification {
    fn arm(&mut self, i: usize) {
        self.time += 1;
        if !matches!(self.waiters[i].1, State::Armed { .. }) {
            self.waiters[i].1 = State::Armed { since: self.time };
        }
    }

    fn disarm(&mut self, i: usize) {
        let (kind, state) = self.waiters[i];
        self.waiters[i].1 = State::Away;
        if kind == Kind::Exclusive && state == State::Told {
            self.tell(1);
        }
    }

    /// Tells everybody who is armed, of the exclusive ones only the first `exclusive` in the order of their arming.
    fn tell(&mut self, exclusive: usize) -> usize {
        let mut armed: Vec<_> = (0..self.waiters.len())
            .filter_map(|i| match self.waiters[i] {
                (Kind::Exclusive, State::Armed { since }) => Some((since, i)),
                (_, State::Armed { .. }) => Some((0, i)),
                _ => None,
            })
            .collect();
        armed.sort_unstable();
        let (first, shared) = (armed.partition_point(|&(since, _)| since == 0), armed.len());
        armed.truncate(first.saturating_add(exclusive).min(shared));
        for &(_, i) in &armed {
            self.woken[i] += 1;
            if self.waiters[i].0 != Kind::Persistent {
                self.waiters[i].1 = State::Told;
            }
        }
        armed.len()
    }

    fn notify(&mut self, exclusive: usize) -> Wakeup {
        match self.waiters.iter().any(|(_, state)| matches!(state, State::Armed { .. })) {
            true => Wakeup::Sent(self.tell(exclusive)),
            false => Wakeup::Skipped,
        }
    }
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Arm(usize),
    Disarm(usize),
    NotifyOne,
    NotifyMany(usize),
    NotifyAll,
    Broadcast,
}

const WAITERS: usize = 5;

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..WAITERS).prop_map(Operation::Arm),
        2 => (0..WAITERS).prop_map(Operation::Disarm),
        2 => Just(Operation::NotifyOne),
        1 => (0..4_usize).prop_map(Operation::NotifyMany),
        1 => Just(Operation::NotifyAll),
        1 => Just(Operation::Broadcast),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Shared), Just(Kind::Exclusive), Just(Kind::Persistent)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_wait_queue_wakes_whom_its_specification_wakes(
        kinds in prop::collection::vec(kind(), WAITERS),
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        let queue: Arc<WaitQueue> = Arc::new(WaitQueue::new());
        let counters: Vec<_> = kinds.iter().map(|_| Arc::new(Counter::default())).collect();
        let mut waiters: Vec<Waiter> = kinds
            .iter()
            .zip(&counters)
            .map(|(&kind, counter)| queue.register(kind, Waker::from(counter.clone())))
            .collect();
        let mut specification = Specification {
            waiters: kinds.into_iter().map(|kind| (kind, State::Away)).collect(),
            woken: vec![0; WAITERS],
            time: 0,
        };
        for operation in operations {
            match operation {
                Operation::Arm(i) => {
                    waiters[i].arm();
                    specification.arm(i);
                }
                Operation::Disarm(i) => {
                    waiters[i].disarm();
                    specification.disarm(i);
                }
                Operation::NotifyOne => prop_assert_eq!(queue.notify_one(), specification.notify(1)),
                Operation::NotifyMany(n) => prop_assert_eq!(queue.notify_many(n), specification.notify(n)),
                Operation::NotifyAll => prop_assert_eq!(queue.notify_all(), specification.notify(usize::MAX)),
                Operation::Broadcast => {
                    prop_assert_eq!(queue.broadcast(), Wakeup::Sent(specification.tell(usize::MAX)));
                }
            }
            let woken: Vec<_> = counters.iter().map(|counter| counter.0.load(Relaxed)).collect();
            prop_assert_eq!(&woken, &specification.woken);
        }
    }

    #[test]
    fn the_completion_queue_is_a_fifo_that_loses_nothing(
        capacity in 0..6_usize,
        // A batch to publish, or as many to take.
        operations in prop::collection::vec((any::<bool>(), 0..7_usize), 1..60),
    ) {
        let (queue, mut consumer) = ring(capacity);
        let mut specification = VecDeque::new();
        let mut next = 0;
        for (publish, n) in operations {
            if publish {
                queue.publish((next..next + n).map(Box::new));
                specification.extend(next..next + n);
                next += n;
            } else {
                for _ in 0..n {
                    prop_assert_eq!(consumer.pop().map(|item| *item), specification.pop_front());
                }
            }
        }
        while let Some(expected) = specification.pop_front() {
            prop_assert_eq!(consumer.pop().map(|item| *item), Some(expected));
        }
        prop_assert_eq!(consumer.pop(), None);
    }
}
