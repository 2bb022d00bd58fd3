//! The completion ring of the scenarios, in the kernel's words: `tail` is the producer's, `head` the consumer's.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use reveille::sync::{Atomic, Cell, Primitives};

/// A ring with a slot for every completion in flight; it is for its user to have no more of them.
pub struct Ring<P: Primitives> {
    tail: P::Atomic,
    head: P::Atomic,
    cqes: Vec<P::Cell<usize>>,
}

impl<P: Primitives> Ring<P> {
    /// An empty ring.
    pub fn new(slots: usize) -> Self {
        Self {
            tail: P::Atomic::new("tail", 0),
            head: P::Atomic::new("head", 0),
            cqes: (0..slots).map(|_| P::Cell::new("cqe", 0)).collect(),
        }
    }

    /// Writes the next completion. Producers exclude each other.
    pub fn commit(&self) {
        let tail = self.tail.load(Relaxed);
        // SAFETY: producers exclude each other, and consumers read the slot only once `tail` has passed it; an engine
        // that watches cells reports it if that is not so.
        self.cqe(tail).with_mut(|cqe| unsafe { *cqe = tail + 1 });
        self.tail.store(tail + 1, Release); // pairs with the acquire loads of `tail` below
    }

    /// What `io_uring_poll` asks: do tail and head differ?
    pub fn readable(&self) -> bool {
        let tail = self.tail.load(Acquire);
        tail != self.head.load(Relaxed)
    }

    /// Takes what is visible and says how much that was. For a single consumer.
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

    fn cqe(&self, i: usize) -> &P::Cell<usize> {
        &self.cqes[i % self.cqes.len()]
    }

    fn read(&self, i: usize) {
        // SAFETY: `tail` was acquired and is past `i`, and nobody writes a slot twice.
        let value = self.cqe(i).with(|cqe| unsafe { *cqe });
        assert_eq!(value, i + 1, "a consumer saw the tail but not the completion");
    }
}
