//! The completion queue: many producers, one consumer, nothing lost, order kept, one wake decision a batch.
//!
//! # The protocol
//!
//! A ring of slots, with `tail` written by the producers and `head` by the consumer, both counting up for ever, and an overflow
//! list for what does not fit. It is io_uring's completion ring in user space:
//!
//! ```text
//! producers, under the lock                          consumer, without it
//!   1. write the slots, tail = ... (release)           1. arm
//!   2. what does not fit goes to the overflow list     2. tail (acquire) and head differ? take a slot, head = ... (release)
//!   3. unlock, and one notify for the batch            3. the ring is empty and something overflowed? refill from the list
//!                                                      4. still nothing? sleep
//! ```
//!
//! *Order*: once the overflow list has an item, everything after it goes there as well, until the consumer, who is the one
//! to empty the list, has moved all of it into the ring. *A slot is never written while it is read*: producers write
//! slots from `tail` up to `head + capacity`, exclude each other by the lock, and read `head` with acquire, so the
//! consumer's reading of the slot is over. *The consumer never sees an unwritten slot*: it reads up to the `tail` that it
//! acquired.
//!
//! Whoever looks for work reads `tail` and the length of the overflow list, both written before the notify: the
//! [wait queue's](crate::wait_queue) argument holds for them both.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::Waker;

use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::burst::give_back;
use crate::gate::{Gate, PerEntry};
use crate::sync::{Atomic, Cell, Mutex, Native, Parker, Primitives};
use crate::unwind::{discard, discard_all};
use crate::wait_queue::{Kind, WaitQueue, Waiter, Wakeup};

/// A completion queue with the primitives and the gate of production. `capacity` is rounded up to a power of two.
///
/// ```
/// let (completions, mut consumer) = reveille::completion::ring(2);
/// completions.publish(["a", "b", "c"]); // one more than fits: it overflows, in order
/// assert_eq!([consumer.wait(), consumer.wait(), consumer.wait()], ["a", "b", "c"]);
/// assert_eq!(consumer.pop(), None);
/// ```
pub fn ring<T: Send + 'static>(capacity: usize) -> (Arc<CompletionQueue<T>>, Consumer<T>) {
    CompletionQueue::with_capacity(capacity)
}

/// The producers' side, and what both sides share.
pub struct CompletionQueue<T: Send + 'static, P: Primitives = Native, G: Gate = PerEntry> {
    slots: Box<[P::Cell<MaybeUninit<T>>]>,
    /// How many completions were ever put into the ring. Written under the lock.
    tail: CachePadded<P::Atomic>,
    /// How many completions were ever taken from the ring. Written by the consumer.
    head: CachePadded<P::Atomic>,
    /// The length of the overflow list. Written under the lock, read by the consumer without it.
    overflowed: P::Atomic,
    /// Serialises the producers, and guards what did not fit into the ring.
    overflow: P::Mutex<Overflow<T, P>>,
    wait: Arc<WaitQueue<P, G>>,
    /// Whether the consumer is gone. An ordinary atomic: nobody's sleep depends on it, only how much is kept for nobody.
    closed: AtomicBool,
}

/// Nobody is there to consume what was published.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody is there to take it")]
pub struct Gone<T>(
    /// What was published, unharmed.
    pub T,
);

impl<T> fmt::Debug for Gone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gone").finish_non_exhaustive()
    }
}

impl<T: Send + 'static, P: Primitives, G: Gate> CompletionQueue<T, P, G> {
    /// An empty queue and its only consumer. The ring holds `capacity` completions, rounded up to a power of two; 1 at least
    /// and 2³⁰ at most.
    pub fn with_capacity(capacity: usize) -> (Arc<Self>, Consumer<T, P, G>) {
        let capacity = capacity.clamp(1, 1 << 30).next_power_of_two();
        let queue = Arc::new(Self {
            slots: (0..capacity).map(|_| P::Cell::new("slot", MaybeUninit::uninit())).collect(),
            tail: CachePadded::new(P::Atomic::new("tail", 0)),
            head: CachePadded::new(P::Atomic::new("head", 0)),
            overflowed: P::Atomic::new("overflowed", 0),
            overflow: P::Mutex::new("completion", Overflow::new()),
            wait: Arc::new(WaitQueue::new()),
            closed: AtomicBool::new(false),
        });
        let parker = Arc::new(P::Parker::new("consumer"));
        let waiter = queue.wait.register(Kind::Shared, Waker::from(parker.clone()));
        (queue.clone(), Consumer { queue, waiter, parker, cached_tail: 0 })
    }

    /// Appends a batch, and wakes the consumer if it has to be woken: one decision for the whole batch.
    ///
    /// Never waits for room: what does not fit into the ring goes to the overflow list. An empty batch wakes nobody. The
    /// iterator is drained before the lock is taken, so it may do what it likes. If the consumer is gone the batch is dropped.
    pub fn publish(&self, batch: impl IntoIterator<Item = T>) -> Wakeup {
        self.append_all(batch).unwrap_or(Wakeup::Skipped)
    }

    /// The same, if the consumer is still there.
    ///
    /// # Errors
    /// [`Gone`], with the batch.
    pub fn try_publish(&self, batch: impl IntoIterator<Item = T>) -> Result<Wakeup, Gone<Vec<T>>> {
        self.append_all(batch).map_err(|Gone(batch)| Gone(batch.into_vec()))
    }

    fn append_all(&self, batch: impl IntoIterator<Item = T>) -> Result<Wakeup, Gone<Batch<T>>> {
        let batch: Batch<T> = batch.into_iter().collect();
        let published = self.overflow.with(|overflow| {
            if self.is_closed() {
                return Err(Gone(batch));
            }
            Ok(self.append(&mut overflow.items, batch.into_iter()))
        })?;
        Ok(if published { self.wait.notify_all() } else { Wakeup::Skipped })
    }

    /// Whether the consumer is gone. Asked under the lock, where [`Consumer::close`] says so.
    fn is_closed(&self) -> bool {
        // Unreached: an ordinary atomic. Relaxed: where it matters the lock orders it.
        self.closed.load(Relaxed)
    }

    /// [`publish`](CompletionQueue::publish) for a batch of one, which is moved straight into its slot.
    #[inline]
    pub fn publish_one(&self, item: T) -> Wakeup {
        self.try_publish_one(item).unwrap_or(Wakeup::Skipped)
    }

    /// The same, if the consumer is still there.
    ///
    /// # Errors
    /// [`Gone`], with the item.
    #[inline]
    pub fn try_publish_one(&self, item: T) -> Result<Wakeup, Gone<T>> {
        self.overflow.with(|overflow| {
            if self.is_closed() {
                return Err(Gone(item));
            }
            if overflow.items.is_empty() {
                let (tail, limit) = self.room();
                if tail != limit {
                    self.write(tail, item);
                    self.advance(tail.wrapping_add(1));
                    return Ok(());
                }
            }
            overflow.items.push_back(item);
            self.overflowed.store(overflow.items.len(), Relaxed); // as in `append`
            Ok(())
        })?;
        Ok(self.wait.notify_all())
    }

    fn append(&self, overflow: &mut VecDeque<T>, mut batch: impl Iterator<Item = T>) -> bool {
        let written = overflow.is_empty() && self.fill_ring(&mut batch);
        let before = overflow.len();
        overflow.extend(batch);
        let overflowed = overflow.len() != before;
        if overflowed {
            // Relaxed: it only says "lock and look"; the lock orders the items, and the notify's barrier orders this
            // store before the wake decision.
            self.overflowed.store(overflow.len(), Relaxed);
        }
        written || overflowed
    }

    /// Under the lock: moves items into the ring while there are any and there is room. True if it moved one.
    fn fill_ring(&self, items: &mut impl Iterator<Item = T>) -> bool {
        let (old, limit) = self.room();
        let mut tail = old;
        while tail != limit {
            let Some(item) = items.next() else { break };
            self.write(tail, item);
            tail = tail.wrapping_add(1);
        }
        if tail != old {
            self.advance(tail);
        }
        tail != old
    }

    /// Under the lock: the tail, and how far it may advance.
    #[inline]
    fn room(&self) -> (usize, usize) {
        let tail = self.tail.load(Relaxed); // only written under the lock, which we hold
        // Acquire: pairs with the release store of `head` in `pop`; the consumer has done with the slots below.
        (tail, self.head.load(Acquire).wrapping_add(self.slots.len()))
    }

    /// Under the lock: writes a slot from the tail on, where there is [room](CompletionQueue::room).
    #[inline]
    fn write(&self, position: usize, item: T) {
        // SAFETY: the position is below `head + capacity`, so the slot is free; producers exclude each other by the lock;
        // the consumer does not read it until `tail` says so.
        self.slot(position).with_mut(|slot| unsafe { (*slot).write(item) });
    }

    /// Under the lock: the slots below are written.
    #[inline]
    fn advance(&self, tail: usize) {
        // Release: pairs with the acquire load of `tail` in `look`; without it the consumer might read a slot
        // before it is written.
        self.tail.store(tail, Release);
    }

    fn slot(&self, position: usize) -> &P::Cell<MaybeUninit<T>> {
        &self.slots[position & (self.slots.len() - 1)]
    }
}

/// What is published together.
type Batch<T> = SmallVec<[T; 16]>;

/// What did not fit into the ring.
struct Overflow<T, P: Primitives> {
    items: VecDeque<T>,
    primitives: PhantomData<P>,
}

impl<T, P: Primitives> Overflow<T, P> {
    fn new() -> Self {
        Self { items: VecDeque::new(), primitives: PhantomData }
    }
}

impl<T, P: Primitives> Drop for Overflow<T, P> {
    fn drop(&mut self) {
        discard_all::<P, _>("the destructor of a completion", self.items.drain(..));
    }
}

impl<T: Send + 'static, P: Primitives, G: Gate> Drop for CompletionQueue<T, P, G> {
    fn drop(&mut self) {
        if P::tearing_down() {
            return; // a search has failed: the items leak, and the search is over
        }
        let tail = self.tail.load(Relaxed);
        let mut head = self.head.load(Relaxed);
        while head != tail {
            // SAFETY: nobody else is left, and the slots from `head` to `tail` are written and not taken.
            let item = self.slot(head).with_mut(|slot| unsafe { (*slot).assume_init_read() });
            discard::<P>("the destructor of a completion", item);
            head = head.wrapping_add(1);
        }
    }
}

/// The one consumer of a [`CompletionQueue`].
pub struct Consumer<T: Send + 'static, P: Primitives = Native, G: Gate = PerEntry> {
    queue: Arc<CompletionQueue<T, P, G>>,
    waiter: Waiter<P, G>,
    parker: Arc<P::Parker>,
    /// The tail as it was last read: while it is ahead of the head there is no need to read it again.
    cached_tail: usize,
}

impl<T: Send + 'static, P: Primitives, G: Gate> Consumer<T, P, G> {
    /// Takes the oldest completion, if there is one.
    pub fn pop(&mut self) -> Option<T> {
        let head = self.queue.head.load(Relaxed); // only written by us
        if head == self.cached_tail && !self.look(head) {
            return None;
        }
        // SAFETY: `head` is below the tail that was acquired, so the slot is written; the one consumer is us, by
        // `&mut self`; producers do not write it before `head` has passed it. Reading moves the item out, and the
        // store below makes it the only time.
        let item = self.queue.slot(head).with(|slot| unsafe { (*slot).assume_init_read() });
        // Release: pairs with the acquire load of `head` in `room`; without it a producer might overwrite the slot
        // while it is being read.
        self.queue.head.store(head.wrapping_add(1), Release);
        Some(item)
    }

    /// Reads the tail anew, and refills the ring from the overflow list if it is empty. True if there is something.
    fn look(&mut self, head: usize) -> bool {
        let queue = &self.queue;
        // Acquire: pairs with the release store of `tail` in `advance`.
        self.cached_tail = queue.tail.load(Acquire);
        if self.cached_tail == head && queue.overflowed.load(Relaxed) > 0 {
            queue.overflow.with(|overflow| {
                queue.fill_ring(&mut std::iter::from_fn(|| overflow.items.pop_front()));
                queue.overflowed.store(overflow.items.len(), Relaxed);
                give_back(&mut overflow.items);
            });
            // Acquire: pairs with the release store of `tail` in `advance`. What we have just moved we know, but
            // another producer may have come after us, and its slots are read on the strength of this.
            self.cached_tail = queue.tail.load(Acquire);
        }
        self.cached_tail != head
    }

    /// Takes the oldest completion, sleeping until there is one: for ever, if nobody publishes any more.
    pub fn wait(&mut self) -> T {
        loop {
            if let Some(item) = self.pop() {
                return item;
            }
            self.waiter.set_waker(&Waker::from(self.parker.clone()));
            self.waiter.arm();
            if let Some(item) = self.pop() {
                return item;
            }
            self.parker.park();
        }
    }

    /// Takes nothing more from now on: what is published comes back, or is dropped. What was before can still be
    /// [popped](Consumer::pop). Dropping the consumer does the same, but for what is published at the same moment.
    pub fn close(&mut self) {
        // Unreached: an ordinary atomic. Relaxed: the lock orders it with what is published.
        self.queue.overflow.with(|_| self.queue.closed.store(true, Relaxed));
    }

    /// Announces that the consumer is going to sleep in a way of its own, to be woken by the waker that it
    /// [was given](Consumer::set_waker). If this returns false there is something to [`pop`](Consumer::pop): do not sleep.
    pub fn prepare_to_sleep(&mut self) -> bool {
        self.waiter.arm();
        self.is_empty()
    }

    /// Whether there is nothing to [`pop`](Consumer::pop).
    pub fn is_empty(&mut self) -> bool {
        let head = self.queue.head.load(Relaxed); // only written by us
        head == self.cached_tail && !self.look(head)
    }

    /// Announces that the consumer is awake though nobody told it: until it [prepares to sleep](Consumer::prepare_to_sleep) again,
    /// publishing wakes nobody.
    pub fn awake(&mut self) {
        self.waiter.disarm();
    }

    /// From now on everything that is published calls `waker`, whether or not the consumer sleeps: what the kernel's
    /// `wq_has_sleeper` does with an entry that stays queued. It is what sparing wakes is measured against.
    pub fn wake_always(&mut self, waker: &Waker) {
        self.waiter = self.queue.wait.register(Kind::Persistent, waker.clone());
    }

    /// From now on a wake calls `waker`, until the next [`wait`](Consumer::wait).
    pub fn set_waker(&mut self, waker: &Waker) {
        self.waiter.set_waker(waker);
    }
}

impl<T: Send + 'static, P: Primitives, G: Gate> Drop for Consumer<T, P, G> {
    fn drop(&mut self) {
        // Unreached: an ordinary atomic. Relaxed, and without the lock: it comes too late for nobody but those who are just
        // publishing, and what they have published goes with the queue.
        self.queue.closed.store(true, Relaxed);
    }
}
