//! "May this wake be skipped?"
//!
//! A producer that makes something true, a completion in a ring say, then has to wake whoever sleeps for it. Taking the
//! queue's lock for that is dear, and mostly in vain: under load the consumer is awake already. A [`Gate`] decides
//! without the lock. If it says *skip* wrongly, a consumer sleeps for ever; this is the most delicate decision in the
//! crate, and it stands in this file only.
//!
//! The [wait queue](crate::wait_queue) owns the lock, the list of entries and the order of the steps. A gate owns nothing but its mark
//! and its barriers, through the hooks of the trait:
//!
//! ```text
//! the waiter, arm()                                  the waker, notify()
//!   before_enqueue                                     (the condition was made true)
//!   lock, push the entry, unlock: the first time       admit: barrier, and then "is anybody asleep?"
//!   after_enqueue: mark, barrier                       if so: lock; take those notified; unlock; wake them
//!   look at the condition, and sleep if it is false
//! ```
//!
//! # The sound gate
//!
//! [`PerEntry`] keeps in every entry whether it is idle, armed or notified, and in the queue how many are armed.
//! The race that it has to win: *a waiter arms, looks, and finds nothing; a waker makes the condition true, asks, and finds
//! nobody armed.* Both have a full barrier between their write and their read: the waiter between "I am armed" and its
//! look ([`PerEntry::after_enqueue`]), the waker between the condition and its question ([`PerEntry::admit`]). One of the two
//! barriers comes first. If it is the waiter's, the waker sees the count raised, and takes the lock. If it is the
//! waker's, the waiter's look sees the condition true, and it does not sleep. There is no third case.
//!
//! What the waker skips beyond that are entries that *were told already and have not come back*. Such a waiter is awake,
//! or will be: its wake has been delivered. It looks again after it has armed again, and then the two barriers are
//! compared anew.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::sync::{Atomic, Primitives};

/// Decides, without the queue's lock, whether a wake may be skipped.
///
/// A gate is a type without values; what it remembers is in its [`Shared`](Gate::Shared) part, one a queue, and its
/// [`Mark`](Gate::Mark), one an entry. [`WaitQueue`](crate::wait_queue::WaitQueue) calls the hooks in the order that the
/// [module](self) shows.
pub trait Gate: Send + Sync + 'static {
    /// The name in verdicts.
    const NAME: &'static str;

    /// Whether an exclusive entry that was told and leaves hands its wake to the next one. It must, if wakes are to be
    /// counted on: the constant is there so that a checker can say what happens otherwise.
    const PASSES_ON: bool = true;

    /// What the gate remembers for the whole queue.
    type Shared<P: Primitives>: Send + Sync + 'static;
    /// What the gate remembers for each entry.
    type Mark<P: Primitives>: Send + Sync + 'static;

    /// The shared part of a new queue.
    fn shared<P: Primitives>() -> Self::Shared<P>;

    /// The mark of a new entry.
    fn mark<P: Primitives>(rearm: Rearm) -> Self::Mark<P>;

    /// The waiter arms; its entry may not be in the queue yet.
    fn before_enqueue<P: Primitives>(_: &Self::Shared<P>, _: &Self::Mark<P>) {}

    /// The waiter arms; its entry is in the queue. After this the waiter looks at its condition.
    fn after_enqueue<P: Primitives>(shared: &Self::Shared<P>, mark: &Self::Mark<P>, arm: Arm);

    /// The waker asks, having made the condition true: does anybody have to be told? `queued` is the number of entries
    /// in the queue, written under the lock and read here without it.
    fn admit<P: Primitives>(shared: &Self::Shared<P>, queued: &P::Atomic) -> bool;

    /// Under the lock: does this entry take the wake? If it does, it is woken once the lock is released.
    fn notified<P: Primitives>(_: &Self::Shared<P>, _: &Self::Mark<P>) -> bool {
        true
    }

    /// Under the lock: this entry leaves the queue.
    fn disarmed<P: Primitives>(_: &Self::Shared<P>, _: &Self::Mark<P>) {}

    /// Everybody is about to be told, whatever [`admit`](Gate::admit) would have said.
    fn reset<P: Primitives>(_: &Self::Shared<P>) {}
}

/// A gate whose mark is in the entry, so that it can tell one sleeper from another.
///
/// [`notify_one`](crate::wait_queue::WaitQueue::notify_one) asks for it. With one flag for the whole queue the first wake takes the flag and tells one
/// waiter, and the second is skipped while another still sleeps.
pub trait WakeOne: Gate {}

/// Whether an entry comes back to arm itself again after a wake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rearm {
    /// It arms again before it sleeps again.
    EachTime,
    /// It arms once and expects every wake from then on.
    Never,
}

/// Which arming of an entry this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arm {
    /// It has just been put into the queue.
    First,
    /// It was in the queue already.
    Again,
}

/// The gate of production: every entry is idle, armed or notified, and the queue counts the armed ones.
///
/// Skips, without the lock, when everybody who sleeps has been told already. Sound for wake-one and wake-all. The
/// argument stands at the head of the [module](self).
#[derive(Debug)]
pub enum PerEntry {}

/// How many entries of the queue are armed; never less than there are, sometimes more: while one is arming.
pub struct ArmedCount<P: Primitives> {
    armed: P::Atomic,
}

/// Whether this entry is armed.
///
/// | state | meaning | left by |
/// |---|---|---|
/// | `IDLE` | not waiting | the owner arms |
/// | `ARMED` | asleep, or about to look and then sleep | a waker tells it, or the owner leaves |
/// | `NOTIFIED` | a wake is on its way or has arrived | the owner arms again, or leaves |
pub struct ArmedMark<P: Primitives> {
    state: P::Atomic,
    rearm: Rearm,
}

const IDLE: usize = 0;
const ARMED: usize = 1;
const NOTIFIED: usize = 2;

impl WakeOne for PerEntry {}

impl Gate for PerEntry {
    const NAME: &'static str = "per-entry";
    type Shared<P: Primitives> = ArmedCount<P>;
    type Mark<P: Primitives> = ArmedMark<P>;

    fn shared<P: Primitives>() -> ArmedCount<P> {
        ArmedCount { armed: P::Atomic::new("armed", 0) }
    }

    fn mark<P: Primitives>(rearm: Rearm) -> ArmedMark<P> {
        ArmedMark { state: P::Atomic::new("mark", IDLE), rearm }
    }

    fn after_enqueue<P: Primitives>(queue: &ArmedCount<P>, mark: &ArmedMark<P>, _: Arm) {
        // Only the owner arms. If nobody has told this entry since, it is counted still, and the barrier that followed
        // its last arming stands before this look too. If somebody has and we do not see it yet, the wake is on its way,
        // and it comes after this look. And an exclusive entry that a wake took off the list has just taken the lock
        // after that waker, to get back on it, and sees what was true then.
        if mark.state.load(Relaxed) == ARMED {
            return;
        }
        // The count first. The other way round a waker could tell this entry and lower a count that does not include
        // it, and another armed entry would be hidden.
        queue.armed.fetch_add(1, Relaxed);
        // Kept: a store would do, since nobody else writes what is not armed. It would save a locked instruction on a way
        // that leads to sleep, and leave x86 with the barrier below alone, which has the exchange's for nothing now.
        mark.state.swap(ARMED, Relaxed);
        // Full barrier between "armed" and the look at the condition that follows. Pairs with the full fences in `admit`
        // and in `reset`. Nothing weaker orders a write before a later read.
        P::fence(SeqCst);
    }

    fn admit<P: Primitives>(queue: &ArmedCount<P>, _: &P::Atomic) -> bool {
        // Full barrier between the condition, which the caller has made true, and the question. Pairs with the full
        // fence in `after_enqueue`.
        P::fence(SeqCst);
        queue.armed.load(Relaxed) > 0
    }

    fn notified<P: Primitives>(queue: &ArmedCount<P>, mark: &ArmedMark<P>) -> bool {
        if mark.rearm == Rearm::Never {
            return mark.state.load(Relaxed) == ARMED;
        }
        // Relaxed: the lock orders wakers among themselves, and the wake itself carries the order to the owner. Kept: the
        // lock keeps other wakers out, and the owner writes only what is not armed, so a load and a store would do. In one
        // step it needs no such argument.
        let told = mark.state.compare_exchange(ARMED, NOTIFIED, Relaxed, Relaxed).is_ok();
        if told {
            queue.armed.fetch_sub(1, Relaxed);
        }
        told
    }

    fn disarmed<P: Primitives>(queue: &ArmedCount<P>, mark: &ArmedMark<P>) {
        // Kept: a load and a store would do. The owner is here, and the lock keeps wakers out; in one step it needs no such
        // argument.
        if mark.state.swap(IDLE, Relaxed) == ARMED {
            queue.armed.fetch_sub(1, Relaxed);
        }
    }

    fn reset<P: Primitives>(_: &ArmedCount<P>) {
        // A delivery to everybody asks no count, but it does ask every mark: without the barrier it might miss an entry
        // that is just arming and whose look misses the news. Pairs with the full fence in `after_enqueue`.
        P::fence(SeqCst);
    }
}
