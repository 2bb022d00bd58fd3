//! The completion queue: producers, one consumer, a ring with slots, an overflow list.
//!
//! ```text
//! producer, a batch                                   consumer
//!   lock                                                head = the next to take; is the tail as last read beyond it?
//!     nothing has overflowed? read tail and head,         if not: read tail (acquire). Is it still not, and has something
//!     write slots, then tail (release)                    overflowed? lock, refill the ring from the list, unlock, read tail
//!     the rest goes to the overflow list                  something there? take it from its slot, then head (release)
//!   unlock                                              nothing? arm and look once more; still nothing? sleep
//!   one wake decision
//! ```
//!
//! Four things may go wrong, and the search looks for each of them:
//!
//! - *Asleep with something there*: nothing moves any more, and the consumer sleeps though not everything has been taken. What is owed is in
//!   the ring, in the overflow list, or lost.
//! - *Out of order*: what is taken is not the next of its producer. That is a claim in the consumer's code, and so is that nothing comes twice.
//! - *A slot read before it is written*: the consumer claims that there is something in it.
//! - *A slot written while it may still be read*: slots are plain data, for which this would be a race even if the value that
//!   is read were the right one. So whoever takes from a slot stores 0 there, and whoever writes it first claims that it sees that 0.
//!   It sees it for certain only if the taking happens before the writing.
//!
//! The wait queue, its gate and the sleep are [poll wake's](super::poll_wake).
//!
//! ```
//! use reveille_model::memory::Memory;
//! use reveille_model::protocol::completion::{CompletionQueue, Size};
//! use reveille_model::search::{Options, Verdict};
//!
//! // A batch of two and a batch of one, through a ring of one slot.
//! let size = Size { capacity: 1, producers: &[&[2], &[1]], spurious: 0 };
//! let report = CompletionQueue::new(size, None)?.check(Memory::Sc, Options::default())?;
//! assert_eq!(report.verdict, Verdict::Complete);
//! # Ok::<(), reveille_model::protocol::completion::Error>(())
//! ```

use std::fmt;
use std::ops::Range;

use super::poll_wake::{self, build};
use crate::memory::Memory;
use crate::memory::Order::{self, Acquire, Relaxed, Release};
use crate::memory::Value;
use crate::program::{
    BuildError, Builder, Code, Expr, List, Object, Place, Program, Register, Sequence, Term, Weakening,
};
use crate::search::{self, End, Options, Report, Rest};

named! {
    /// A mistake put into the queue on purpose, to show that the search rejects it.
    Mutant ("mutant") {
        /// `tail` is published by a relaxed store.
        TailPublishedRelaxed = "tail-published-relaxed",
        /// The consumer's first read of `tail` is relaxed.
        TailReadRelaxed = "tail-read-relaxed",
        /// The consumer's read of `tail` after a refill is relaxed.
        RefilledTailReadRelaxed = "refilled-tail-read-relaxed",
        /// The consumer moves `head` by a relaxed store.
        HeadPublishedRelaxed = "head-published-relaxed",
        /// Producers read `head` relaxed.
        HeadReadRelaxed = "head-read-relaxed",
        /// The ring is taken to have one slot more than it has.
        OneSlotTooMany = "one-slot-too-many",
        /// A batch goes into the ring though the overflow list is not empty.
        Overtaking = "overtaking",
        /// What overflows is not counted in `overflowed`.
        OverflowNotCounted = "overflow-not-counted",
        /// The consumer does not look at `overflowed`.
        OverflowNotLookedAt = "overflow-not-looked-at",
        /// A refill stores 0 to `overflowed` though it has left something in the list.
        RefillCountsNothing = "refill-counts-nothing",
        /// A refill does not store `overflowed`.
        RefillNotCounted = "refill-not-counted",
        /// The consumer does not read `tail` again after a refill.
        RefillNotSeen = "refill-not-seen",
        /// The consumer sleeps without a look after it has armed.
        NoLookAfterArm = "no-look-after-arm",
        /// The wake is decided before the batch is published.
        WakeBeforePublish = "wake-before-publish",
        /// The waker looks for sleepers without a full barrier before it.
        WakerWithoutBarrier = "waker-without-barrier",
        /// The consumer arms without a full barrier after it.
        SleeperWithoutBarrier = "sleeper-without-barrier",
    }
}

/// How large a configuration is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size {
    /// Slots of the ring: 1, 2 or 4
    pub capacity: u8,
    /// For every producer the sizes of its batches, in their order; 1 to 8 completions in all
    pub producers: &'static [&'static [u8]],
    /// How often the consumer may wake without having been told
    pub spurious: u8,
}

impl Size {
    /// Those that are searched in tests, the largest last. In the others every [`Mutant`] shows.
    pub const ALL: &[Size] = &[
        Size { capacity: 1, producers: &[&[2], &[1]], spurious: 0 },
        Size { capacity: 1, producers: &[&[1, 1, 1]], spurious: 0 },
        Size { capacity: 2, producers: &[&[3, 1]], spurious: 0 },
        Size { capacity: 2, producers: &[&[2], &[2]], spurious: 0 },
        Size { capacity: 2, producers: &[&[3, 1], &[1]], spurious: 0 },
    ];

    /// How many completions there are in all.
    pub fn completions(&self) -> usize {
        self.producers.iter().copied().flatten().map(|&size| usize::from(size)).sum()
    }
}

impl fmt::Display for Size {
    /// As `1 slot, batches 2+1 and 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batches = |sizes: &&[u8]| sizes.iter().map(u8::to_string).collect::<Vec<_>>().join("+");
        let producers: Vec<String> = self.producers.iter().map(batches).collect();
        write!(f, "{} slot{}", self.capacity, if self.capacity == 1 { "" } else { "s" })?;
        write!(f, ", batches {}", producers.join(" and "))
    }
}

/// A question that cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Outside of what the protocol is written for
    #[error("{0}: 1, 2 or 4 slots, 1 to 3 producers, no empty batch, 1 to 8 completions")]
    Size(Size),
    /// The program cannot be built
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The search failed
    #[error(transparent)]
    Search(#[from] search::Error),
}

/// The completion queue as a program.
#[derive(Clone, Debug)]
pub struct CompletionQueue {
    program: Program,
    size: Size,
    ring: build::Ring,
    overflow: List,
}

impl CompletionQueue {
    /// The queue, or a mutant of it.
    pub fn new(size: Size, mutant: Option<Mutant>) -> Result<CompletionQueue, Error> {
        let empty = size.producers.iter().copied().flatten().any(|&batch| batch == 0);
        if ![1, 2, 4].contains(&size.capacity)
            || !(1..=3).contains(&size.producers.len())
            || !(1..=Sequence::CAPACITY).contains(&size.completions())
            || empty
        {
            return Err(Error::Size(size));
        }
        let mut b = Builder::new();
        let slots = b.array("slot", &vec![0; usize::from(size.capacity)]);
        let ring = build::Ring { payload: slots, tail: b.object("tail", 0), head: b.object("head", 0) };
        let overflowed = b.object("overflowed", 0);
        let lock = b.lock("completion");
        let overflow = b.list("overflow", lock, &[]);
        let of_wait_queue = match mutant {
            Some(Mutant::WakerWithoutBarrier) => Some(poll_wake::Mutant::WakerWithoutBarrier),
            Some(Mutant::SleeperWithoutBarrier) => Some(poll_wake::Mutant::SleeperWithoutBarrier),
            _ => None,
        };
        let producers = size.producers.len();
        let wait = build::World::of_one_sleeper(&mut b, ring, producers, size.spurious, of_wait_queue);
        let world = World { size, mutant, ring, overflowed, lock, overflow, wait };
        let mut first = 1;
        let mut firsts = Vec::new();
        for (thread, batches) in size.producers.iter().enumerate() {
            let mut p = Code::new(format!("producer {thread}"));
            firsts.push(first);
            for &batch in *batches {
                let end = first + Value::from(batch);
                world.publish(&mut p, thread, first..end);
                first = end;
            }
            // A number is left out, so that nobody's next one is another's first.
            first += 1;
            b.thread(p);
        }
        b.thread(world.consumer(&firsts));
        Ok(CompletionQueue { program: b.build()?, size, ring, overflow })
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The program: threads `producer 0`, … and `consumer`.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The queue with one mistake more: what is done at one place of its program does less.
    pub fn weakened(&self, site: &str, weakening: Weakening) -> CompletionQueue {
        CompletionQueue { program: self.program.weakened(site, weakening), ..self.clone() }
    }

    /// Searches all states under a memory model.
    pub fn check(&self, memory: Memory, options: Options) -> Result<Report, Error> {
        Ok(search::check(&self.program, memory, options, |end| self.owed(end))?)
    }

    /// In a state in which nothing moves: what the consumer has not taken, and sleeps.
    fn owed(&self, end: &End<'_>) -> Vec<String> {
        if !matches!(end.rest(self.size.producers.len()), Rest::Parked(_)) {
            return Vec::new();
        }
        let (head, tail) = (end.value(self.ring.head), end.value(self.ring.tail));
        let overflow = end.list(self.overflow);
        let lost = self.size.completions() as Value - tail - overflow.len() as Value;
        let mut owed: Vec<String> =
            (head + 1..=tail).map(|number| format!("completion {number} is in the ring")).collect();
        owed.extend(overflow.iter().map(|item| format!("item {item} is in the overflow list")));
        if lost > 0 {
            owed.push(format!("{lost} lost"));
        }
        owed
    }
}

/// All shared objects, and the mistake in question.
struct World {
    size: Size,
    mutant: Option<Mutant>,
    /// Its payload are the slots. A slot holds an item's number, or 0 when it has been taken.
    ring: build::Ring,
    overflowed: Object,
    lock: Object,
    overflow: List,
    wait: build::World,
}

/// What the consumer remembers.
struct Memo {
    /// The tail as it was last read
    cached: Register,
    /// Of every producer the item that comes next
    next: Vec<Register>,
}

impl World {
    /// `relaxed` if the mutant is this one.
    fn order(&self, relaxed: Mutant, order: Order) -> Order {
        if self.mutant == Some(relaxed) { Relaxed } else { order }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn slot(&self, position: impl Term) -> Place {
        self.ring.payload.at(position.modulo(Value::from(self.size.capacity)))
    }

    /// Publishes a batch of items, given by their numbers.
    fn publish(&self, p: &mut Code, thread: usize, items: Range<Value>) {
        if self.is(Mutant::WakeBeforePublish) {
            self.wait.notify(p, thread);
        }
        p.locked(("publish lock", "publish unlock"), self.lock, |p| {
            let (tail, limit) = (p.compute(0), p.compute(0));
            let before = p.length(self.overflow);
            let straight = if self.is(Mutant::Overtaking) { Expr::from(true) } else { before.is(0) };
            p.when(straight, |p| self.room(p, tail, limit));
            // If something has overflowed before, `tail` and `limit` are both 0: no room.
            let any = p.compute(tail.differs(limit));
            for item in items {
                p.when_else(
                    tail.differs(limit),
                    |p| self.fill_slot(p, tail, item),
                    |p| p.push(self.overflow, item),
                );
            }
            p.when(any, |p| self.publish_tail(p, tail));
            let after = p.length(self.overflow);
            if !self.is(Mutant::OverflowNotCounted) {
                p.when(after.differs(before), |p| p.store("count overflow", self.overflowed, after, Relaxed));
            }
        });
        if !self.is(Mutant::WakeBeforePublish) {
            self.wait.notify(p, thread);
        }
    }

    /// Under the lock: from where the ring may be written, and up to where.
    fn room(&self, p: &mut Code, tail: Register, limit: Register) {
        let extra = Value::from(self.is(Mutant::OneSlotTooMany));
        let own = p.load("own tail", self.ring.tail, Relaxed);
        let head = p.load("room", self.ring.head, self.order(Mutant::HeadReadRelaxed, Acquire));
        p.set(tail, own);
        p.set(limit, head.plus(Value::from(self.size.capacity) + extra));
    }

    /// Under the lock: writes the slot at `tail`.
    fn fill_slot(&self, p: &mut Code, tail: Register, item: impl Into<Expr>) {
        p.scope(|p| {
            let there = p.load("slot free", self.slot(tail), Relaxed);
            p.claim("a slot is written only when what was in it has been taken", there.is(0));
            p.store("write slot", self.slot(tail), item, Relaxed);
            p.set(tail, tail.plus(1));
        });
    }

    fn publish_tail(&self, p: &mut Code, tail: Register) {
        p.store("publish", self.ring.tail, tail, self.order(Mutant::TailPublishedRelaxed, Release));
    }

    /// Waits for every completion, finds that there is none beyond, and leaves.
    fn consumer(&self, firsts: &[Value]) -> Code {
        let mut p = Code::new("consumer");
        let sleeper = self.wait.sleeper(&mut p, 0);
        let memo =
            Memo { cached: p.compute(0), next: firsts.iter().map(|&first| p.compute(first)).collect() };
        let enqueued = p.compute(0);
        for _ in 0..self.size.completions() {
            p.forever(|p| {
                self.pop(p, &memo, Code::leave);
                sleeper.arm(p, enqueued.is(0));
                p.set(enqueued, 1);
                if !self.is(Mutant::NoLookAfterArm) {
                    self.pop(p, &memo, Code::leave);
                }
                sleeper.sleep(p);
            });
        }
        self.pop(&mut p, &memo, |p| p.claim("there is no more", false));
        p.scope(|p| {
            let tail = p.load("drop tail", self.ring.tail, Relaxed);
            let head = p.load("drop head", self.ring.head, Relaxed);
            p.claim("nothing is left", tail.is(head));
        });
        p.when(enqueued, |p| sleeper.leave_queue(p));
        p
    }

    /// Takes the oldest completion; if there is one, `then`.
    fn pop(&self, p: &mut Code, memo: &Memo, then: impl FnOnce(&mut Code)) {
        p.scope(|p| {
            let head = p.load("own head", self.ring.head, Relaxed);
            p.when(head.is(memo.cached), |p| self.look(p, head, memo.cached));
            p.when(head.differs(memo.cached), |p| {
                self.take(p, head, &memo.next);
                then(p);
            });
        });
    }

    /// Reads the tail anew, and refills the ring from the overflow list if it is empty.
    fn look(&self, p: &mut Code, head: Register, cached: Register) {
        let tail = p.load("look tail", self.ring.tail, self.order(Mutant::TailReadRelaxed, Acquire));
        p.set(cached, tail);
        if self.is(Mutant::OverflowNotLookedAt) {
            return;
        }
        p.when(cached.is(head), |p| {
            let overflowed = p.load("look overflow", self.overflowed, Relaxed);
            p.when(overflowed.above(0), |p| {
                p.locked(("refill lock", "refill unlock"), self.lock, |p| {
                    let some = p.length(self.overflow);
                    p.claim("the lock is not taken in vain", some);
                    self.refill(p);
                });
                if !self.is(Mutant::RefillNotSeen) {
                    let order = self.order(Mutant::RefilledTailReadRelaxed, Acquire);
                    let tail = p.load("refilled tail", self.ring.tail, order);
                    p.set(cached, tail);
                }
            });
        });
    }

    /// Under the lock: moves what has overflowed into the ring, as far as there is room.
    fn refill(&self, p: &mut Code) {
        let (tail, limit) = (p.register(), p.register());
        self.room(p, tail, limit);
        let old = p.compute(tail);
        p.for_each(self.overflow, |p, item| {
            p.when(tail.is(limit), |p| p.leave());
            p.remove(self.overflow, item);
            self.fill_slot(p, tail, item);
        });
        p.when(tail.differs(old), |p| self.publish_tail(p, tail));
        let left = p.length(self.overflow);
        match self.mutant {
            Some(Mutant::RefillNotCounted) => (),
            Some(Mutant::RefillCountsNothing) => p.store("count left", self.overflowed, 0, Relaxed),
            _ => p.store("count left", self.overflowed, left, Relaxed),
        }
    }

    /// Takes what is in the slot at `head`, which must be the next item of one of the producers.
    fn take(&self, p: &mut Code, head: Register, next: &[Register]) {
        let item = p.load("read slot", self.slot(head), Relaxed);
        p.claim("whoever sees the tail sees the completion", item.differs(0));
        let is_next = next.iter().map(|&next| next.is(item)).reduce(Expr::or);
        p.claim("what is taken is the next of its producer", is_next.unwrap_or(0.into()));
        p.store("empty slot", self.slot(head), 0, Relaxed);
        p.store("take", self.ring.head, head.plus(1), self.order(Mutant::HeadPublishedRelaxed, Release));
        for &next in next {
            p.set(next, next.plus(next.is(item)));
        }
    }
}
