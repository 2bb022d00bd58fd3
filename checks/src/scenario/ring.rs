//! The completion ring of the scenarios, in the kernel's words: `tail` is the producer's, `head` the consumer's.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use reveille::sync::{Atomic, Cell, Primitives};

/// A ring that never wraps: it has a slot for every completion of the scenario.
pub struct Ring<P: Primitives> {
    tail: P::Atomic,
    head: P::Atomic,
    cqes: Vec<P::Cell<usize>>,
}

impl<P: Primitives> Ring<P> {
    /// An empty ring.
    pub fn new(completions: usize) -> Self {
        Self {
            tail: P::Atomic::new("tail", 0),
            head: P::Atomic::new("head", 0),
            cqes: (0..completions).map(|_| P::Cell::new("cqe", 0)).collect(),
        }
    }

    /// Writes the next completion. Producers exclude each other.
    #[track_caller]
    pub fn commit(&self) {
        let tail = self.tail.load(Relaxed);
        // SAFETY: producers exclude each other, and consumers read the slot only once `tail` has passed it; an engine
        // that watches cells reports it if that is not so.
        self.cqes[tail].with_mut(|cqe| unsafe { *cqe = tail + 1 });
        self.tail.store(tail + 1, Release); // pairs with the acquire loads of `tail` below
    }

    /// What `io_uring_poll` asks: do tail and head differ?
    #[track_caller]
    pub fn readable(&self) -> bool {
        let tail = self.tail.load(Acquire);
        tail != self.head.load(Relaxed)
    }

    /// Takes what is visible and says how much that was. For a single consumer.
    #[track_caller]
    pub fn drain(&self) -> usize {
        let head = self.head.load(Relaxed);
        let tail = self.tail.load(Acquire);
        (head..tail).for_each(|i| self.read(i));
        if tail > head {
            self.head.store(tail, Release);
        }
        tail.saturating_sub(head)
    }

    /// Takes one completion, in competition with others. It reads `head` first: read the other way round, the pair may
    /// be torn and look empty.
    #[track_caller]
    pub fn claim(&self) -> bool {
        loop {
            let head = self.head.load(Acquire);
            if self.tail.load(Acquire) == head {
                return false;
            }
            // Release: whoever acquires this head has a tail at least as new as ours, and cannot take the pair for
            // something else than empty.
            if self.head.compare_exchange(head, head + 1, AcqRel, Relaxed).is_ok() {
                self.read(head);
                return true;
            }
        }
    }

    #[track_caller]
    fn read(&self, i: usize) {
        // SAFETY: `tail` was acquired and is past `i`, and nobody writes a slot twice.
        let value = self.cqes[i].with(|cqe| unsafe { *cqe });
        assert_eq!(value, i + 1, "a consumer saw the tail but not the completion");
    }
}
