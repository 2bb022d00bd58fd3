//! What a thread asks for, and what became of it.

use std::fmt;
use std::panic::Location as Source;
use std::sync::atomic::Ordering;

use super::Clock;

/// A value of a location. Narrower types are kept in its low bits.
pub type Value = u64;

/// An event by its place: the thread and its number there. Or the initial write of any location.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    thread: u8,
    index: u16,
}

impl EventId {
    /// The write that a location begins with. It belongs to no thread and happens before everything.
    pub const INITIAL: Self = Self { thread: u8::MAX, index: 0 };

    /// The event with this number of this thread.
    pub fn new(thread: usize, index: usize) -> Self {
        debug_assert!(thread < u8::MAX as usize && index <= u16::MAX as usize);
        Self { thread: thread as u8, index: index as u16 }
    }

    /// Its thread.
    #[inline]
    pub fn thread(self) -> usize {
        self.thread as usize
    }

    /// Its number in the thread, from 0.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Whether it is an initial write.
    #[inline]
    pub fn is_initial(self) -> bool {
        self.thread == u8::MAX
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_initial() {
            true => f.write_str("initial"),
            false => write!(f, "{}.{}", self.thread, self.index),
        }
    }
}

/// How a read-modify-write changes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Modify {
    /// Another value.
    Swap(Value),
    /// A sum, modulo 2⁶⁴.
    Add(Value),
    /// Bits that stay.
    And(Value),
    /// Bits that are set.
    Or(Value),
    /// Bits that change.
    Xor(Value),
    /// Of these bits, those that were not set in both.
    Nand {
        /// What the value is combined with
        with: Value,
        /// The bits that the type has
        bits: Value,
    },
    /// The greater one.
    Max(Value),
    /// The lesser one.
    Min(Value),
    /// The greater one of two signed numbers.
    MaxSigned(Value),
    /// The lesser one of two signed numbers.
    MinSigned(Value),
    /// Another value, if it was the expected one.
    CompareExchange {
        /// The expected value
        expected: Value,
        /// The other one
        new: Value,
    },
}

impl Modify {
    /// The new value; `None` if nothing is written.
    pub fn apply(self, old: Value) -> Option<Value> {
        match self {
            Modify::Swap(new) => Some(new),
            Modify::Add(by) => Some(old.wrapping_add(by)),
            Modify::And(mask) => Some(old & mask),
            Modify::Or(mask) => Some(old | mask),
            Modify::Xor(mask) => Some(old ^ mask),
            Modify::Nand { with, bits } => Some(!(old & with) & bits),
            Modify::Max(other) => Some(old.max(other)),
            Modify::Min(other) => Some(old.min(other)),
            Modify::MaxSigned(other) => Some((old as i64).max(other as i64) as Value),
            Modify::MinSigned(other) => Some((old as i64).min(other as i64) as Value),
            Modify::CompareExchange { expected, new } => (old == expected).then_some(new),
        }
    }
}

/// What a waiting read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Until {
    /// This value.
    Is(Value),
    /// Any other value.
    Differs(Value),
}

impl Until {
    /// Whether the wait ends with this value.
    #[inline]
    pub fn satisfied(self, value: Value) -> bool {
        match self {
            Until::Is(wanted) => value == wanted,
            Until::Differs(unwanted) => value != unwanted,
        }
    }
}

/// An operation of a thread. A location or a cell is named by its number in [`Graph::locations`](super::Graph::locations).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the fields are what their types say
pub enum Op {
    Load {
        location: u32,
        order: Ordering,
        until: Option<Until>,
    },
    Store {
        location: u32,
        order: Ordering,
        value: Value,
    },
    Rmw {
        location: u32,
        order: Ordering,
        /// The order of the read if nothing is written
        failure: Ordering,
        modify: Modify,
        until: Option<Until>,
    },
    Fence {
        order: Ordering,
    },
    /// Starts a thread, which is given the lowest free number.
    Spawn,
    /// Waits for the end of a thread.
    Join {
        thread: u8,
    },
    /// One of so many outcomes, which no memory decides.
    Choose {
        outcomes: u8,
    },
    /// Reads a cell: memory that is not atomic.
    CellRead {
        location: u32,
    },
    /// Writes a cell.
    CellWrite {
        location: u32,
    },
    /// The thread has ended.
    End,
}

impl Op {
    /// The location or cell that is accessed.
    #[inline]
    pub fn location(&self) -> Option<u32> {
        match *self {
            Op::Load { location, .. }
            | Op::Store { location, .. }
            | Op::Rmw { location, .. }
            | Op::CellRead { location }
            | Op::CellWrite { location } => Some(location),
            _ => None,
        }
    }

    /// The atomic location that is accessed.
    #[inline]
    pub fn atomic(&self) -> Option<u32> {
        match *self {
            Op::Load { location, .. } | Op::Store { location, .. } | Op::Rmw { location, .. } => {
                Some(location)
            }
            _ => None,
        }
    }

    /// Whether it reads an atomic location.
    #[inline]
    pub fn reads(&self) -> bool {
        matches!(self, Op::Load { .. } | Op::Rmw { .. })
    }

    /// A compare-exchange as it is when it fails: with its failure order. `None` if that makes no difference to what
    /// it may read, as it does for `seq_cst` only.
    pub fn failed(&self) -> Option<Op> {
        match *self {
            Op::Rmw { location, order, failure, modify: modify @ Modify::CompareExchange { .. }, until } => {
                let differs = (order == Ordering::SeqCst) != (failure == Ordering::SeqCst);
                differs.then_some(Op::Rmw { location, order: failure, failure, modify, until })
            }
            _ => None,
        }
    }

    /// Whether a read that reads this value writes too.
    #[inline]
    pub fn writes_after(&self, read: Value) -> bool {
        matches!(self, Op::Rmw { modify, .. } if modify.apply(read).is_some())
    }

    /// What a read waits for.
    #[inline]
    pub fn until(&self) -> Option<Until> {
        match *self {
            Op::Load { until, .. } | Op::Rmw { until, .. } => until,
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Load { until: None, .. } => "a load",
            Op::Load { until: Some(_), .. } => "a wait",
            Op::Store { .. } => "a store",
            Op::Rmw { until: None, .. } => "a read-modify-write",
            Op::Rmw { until: Some(_), .. } => "a wait",
            Op::Fence { .. } => "a fence",
            Op::Spawn => "the start of a thread",
            Op::Join { .. } => "a join",
            Op::Choose { .. } => "a choice",
            Op::CellRead { .. } => "a read of a cell",
            Op::CellWrite { .. } => "a write of a cell",
            Op::End => "the end of a thread",
        })
    }
}

/// An operation that has taken place.
#[derive(Clone, Debug)]
pub struct Event {
    /// What was asked for
    pub op: Op,
    /// Where it stands in the source
    pub source: &'static Source<'static>,
    /// The write that a read reads from
    pub reads_from: EventId,
    /// The value read, or the outcome of a choice, or the number of a started thread
    pub read: Value,
    /// The value written, if `writes`
    pub wrote: Value,
    /// Whether it has a place in the coherence order
    pub writes: bool,
    /// Whether it waits for another value than it has read
    pub blocked: bool,
    /// Its place in the coherence order of its location, if `writes`
    pub position: u16,
    /// When it was added
    pub stamp: u32,
    /// When its write part was added: later than the rest for a read-modify-write whose read was revisited
    pub write_stamp: u32,
    /// Its prefix under program order and reads-from, itself included
    pub porf: Clock,
    /// What happens before it, itself included
    pub happens_before: Clock,
    /// What happens before a read that acquires this write
    pub message: Clock,
    /// What is before it under SC and x86-TSO, itself included, if the graph [keeps](super::Graph) that
    pub before: Clock,
    /// ... and under x86-TSO so many events of each thread, but of those beyond `before` only the loads
    pub loads_before: Clock,
}

impl Event {
    /// The order that took effect: that of a failed exchange is its failure order.
    #[inline]
    pub fn order(&self) -> Ordering {
        match self.op {
            Op::Load { order, .. } | Op::Store { order, .. } | Op::Fence { order } => order,
            Op::Rmw { order, failure, .. } => {
                if self.will_write().is_some() {
                    order
                } else {
                    failure
                }
            }
            _ => Ordering::Relaxed,
        }
    }

    /// What a store or a read-modify-write writes, given what it has read.
    #[inline]
    pub fn will_write(&self) -> Option<Value> {
        match self.op {
            Op::Store { value, .. } => Some(value),
            Op::Rmw { modify, .. } if !self.blocked => modify.apply(self.read),
            _ => None,
        }
    }
}

/// Whether the order includes an acquire.
#[inline]
pub(crate) fn acquires(order: Ordering) -> bool {
    matches!(order, Ordering::Acquire | Ordering::AcqRel | Ordering::SeqCst)
}

/// Whether the order includes a release.
#[inline]
pub(crate) fn releases(order: Ordering) -> bool {
    matches!(order, Ordering::Release | Ordering::AcqRel | Ordering::SeqCst)
}
