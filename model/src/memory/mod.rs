//! What one memory operation may do next, under three memory models.
//!
//! A [`Machine`] is the whole shared memory of a program at one moment: not only values, also store buffers
//! ([`Tso`]) or messages and views ([`Rc11`]). It is asked one question: thread `t` executes operation `o` now,
//! what can happen? The answer is a list of [`Outcome`]s, each with the value read and the next machine. What
//! memory does on its own (a buffered store reaches memory) is asked separately: [`Machine::internal`].
//!
//! A machine knows nothing of programs: whoever holds one decides which thread moves.
//!
//! | machine | what it is | source |
//! |---|---|---|
//! | [`Sc`] | one value a location | Lamport, *How to make a multiprocessor computer …*, 1979 |
//! | [`Tso`] | and a FIFO store buffer a thread | Owens, Sarkar, Sewell, *A better x86 memory model: x86-TSO*, 2009 |
//! | [`Rc11`] | messages in modification order, views | Lahav et al., *Repairing sequential consistency in C/C++11*, PLDI 2017, in the operational form of Kang et al., POPL 2017, without promises |
//!
//! Sequentially consistent *accesses* and plain (racy) accesses have no [`Operation`]: what a machine could only
//! approximate cannot be asked of it. Sequentially consistent *fences* are exact, but for what the
//! README of this crate says of fences that only a third thread connects.
//!
//! ```
//! use reveille_model::memory::{Location, Machine, Operation, Order, Rc11};
//!
//! // One store to x by thread 0; thread 1 may read it or, not having synchronised, the initial value.
//! let x = Location(0);
//! let memory: Rc11 = Machine::new(&[0], 2)?;
//! let mut found = Vec::new();
//! memory.clone().outcomes(0, Operation::Store { location: x, order: Order::Relaxed, value: 1 }, &mut found)?;
//! let after = found.remove(0).machine;
//! after.outcomes(1, Operation::Load { location: x, order: Order::Relaxed }, &mut found)?;
//! let values: Vec<_> = found.iter().map(|outcome| (outcome.read.unwrap(), outcome.stale)).collect();
//! assert_eq!(values, [(0, true), (1, false)]);
//! # Ok::<(), reveille_model::memory::Limit>(())
//! ```

use std::cmp;
use std::fmt::{self, Debug, Display};
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::atomic::Ordering;

mod cover;
mod rc11;
mod sc;
mod tso;
#[cfg(test)]
mod unforgetting;

pub use rc11::Rc11;
pub use sc::Sc;
pub use tso::Tso;
#[cfg(test)]
pub(crate) use unforgetting::Unforgetting;

/// What a location holds.
pub type Value = i32;

/// The most locations a machine can have. Views are arrays of this many positions.
pub const LOCATIONS: usize = 16;

/// One atomic location, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location(pub u8);

impl Location {
    /// The set of only this location.
    pub(crate) fn bit(self) -> u16 {
        1 << self.0
    }
}

const _: () = assert!(LOCATIONS <= 16, "sets of locations are 16 bits");

/// The memory order of an access. There is no `SeqCst` here: see the module's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// `memory_order_relaxed`
    Relaxed,
    /// `memory_order_acquire`
    Acquire,
    /// `memory_order_release`
    Release,
    /// `memory_order_acq_rel`
    AcqRel,
}

impl Order {
    /// Is a read with this order an acquire?
    pub fn acquires(self) -> bool {
        matches!(self, Order::Acquire | Order::AcqRel)
    }

    /// Is a write with this order a release?
    pub fn releases(self) -> bool {
        matches!(self, Order::Release | Order::AcqRel)
    }
}

/// The memory order of a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Barrier {
    /// `atomic_thread_fence(memory_order_acquire)`
    Acquire,
    /// `atomic_thread_fence(memory_order_release)`
    Release,
    /// `atomic_thread_fence(memory_order_acq_rel)`
    AcqRel,
    /// `atomic_thread_fence(memory_order_seq_cst)`, the full barrier
    SeqCst,
}

impl From<Order> for Ordering {
    fn from(order: Order) -> Self {
        match order {
            Order::Relaxed => Ordering::Relaxed,
            Order::Acquire => Ordering::Acquire,
            Order::Release => Ordering::Release,
            Order::AcqRel => Ordering::AcqRel,
        }
    }
}

impl From<Barrier> for Ordering {
    fn from(barrier: Barrier) -> Self {
        match barrier {
            Barrier::Acquire => Ordering::Acquire,
            Barrier::Release => Ordering::Release,
            Barrier::AcqRel => Ordering::AcqRel,
            Barrier::SeqCst => Ordering::SeqCst,
        }
    }
}

/// What a read-modify-write does with the value it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    /// Exchange.
    Set(Value),
    /// Fetch-and-add, wrapping.
    Add(Value),
    /// Strong compare-exchange: a plain read with order `failure` if the value is another one.
    CompareExchange {
        /// The value that must be there
        expected: Value,
        /// The value that takes its place
        new: Value,
        /// The order of the read that fails
        failure: Order,
    },
    /// Wait until `expected` can be replaced by `new`: a spin lock or a one-token parker whose failing rounds are
    /// left out. A failing round is a read without consequence, so nothing is lost.
    Await {
        /// The value waited for
        expected: Value,
        /// The value that takes its place
        new: Value,
    },
}

/// What an [`Update`] does to one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Write(Value),
    FailingRead(Order),
    Wait,
}

impl Update {
    /// What is written if this value is read; nothing if a compare-exchange fails, or the value is not the one waited for.
    pub fn written(self, read: Value) -> Option<Value> {
        match self.on(read) {
            Effect::Write(value) => Some(value),
            Effect::FailingRead(_) | Effect::Wait => None,
        }
    }

    fn on(self, read: Value) -> Effect {
        match self {
            Update::Set(value) => Effect::Write(value),
            Update::Add(value) => Effect::Write(read.wrapping_add(value)),
            Update::CompareExchange { expected, new, .. } | Update::Await { expected, new }
                if read == expected =>
            {
                Effect::Write(new)
            }
            Update::CompareExchange { failure, .. } => Effect::FailingRead(failure),
            Update::Await { .. } => Effect::Wait,
        }
    }
}

/// One operation on shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An atomic load.
    Load {
        /// Where
        location: Location,
        /// Relaxed or acquire
        order: Order,
    },
    /// An atomic store.
    Store {
        /// Where
        location: Location,
        /// Relaxed or release
        order: Order,
        /// What
        value: Value,
    },
    /// An atomic read-modify-write.
    Modify {
        /// Where
        location: Location,
        /// Any order
        order: Order,
        /// What it does with the value read
        update: Update,
    },
    /// A fence.
    Fence(Barrier),
}

/// What one or more operations may do to memory, as far as others can notice. Sets of locations are sets of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Footprint {
    /// Locations read
    pub reads: u16,
    /// Locations written
    pub writes: u16,
    /// Is there a `seq_cst` fence?
    pub full_barrier: bool,
}

impl Footprint {
    /// Anything at all.
    pub const ANYTHING: Footprint = Footprint { reads: !0, writes: !0, full_barrier: true };

    /// A write to one location.
    pub fn write(location: Location) -> Footprint {
        Footprint { writes: location.bit(), ..Footprint::default() }
    }

    /// Locations read or written.
    pub fn touched(self) -> u16 {
        self.reads | self.writes
    }

    /// This or that.
    pub fn union(self, other: Footprint) -> Footprint {
        Footprint {
            reads: self.reads | other.reads,
            writes: self.writes | other.writes,
            full_barrier: self.full_barrier | other.full_barrier,
        }
    }

    /// This and that.
    pub fn intersection(self, other: Footprint) -> Footprint {
        Footprint {
            reads: self.reads & other.reads,
            writes: self.writes & other.writes,
            full_barrier: self.full_barrier & other.full_barrier,
        }
    }

    /// Does one access a location that the other writes?
    pub fn conflicts(self, other: Footprint) -> bool {
        self.writes & other.touched() != 0 || self.reads & other.writes != 0
    }
}

/// What a thread may still do from a place in its code on, and what it must do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Future {
    /// Everything that it may do
    pub all: Footprint,
    /// Locations written by something that is no release
    pub unreleased: u16,
    /// Locations read by something that is content with any message: a load, a compare-exchange that fails. Other
    /// read-modify-writes need one that no read-modify-write has read yet
    pub loads: u16,
    /// Locations touched by anything else than locking and unlocking
    pub unlocked: u16,
    /// Is there an acquire fence, or a stronger one?
    pub acquire_fence: bool,
    /// Is there an acquire fence that is no `seq_cst` fence?
    pub light_fence: bool,
    /// Locations read with acquire
    pub acquires: u16,
    /// Locks that it holds
    pub holds: u16,
    /// For every location the locks that it takes before it touches the location
    pub locked: [u16; LOCATIONS],
    /// Locations that it touches after a `seq_cst` fence only
    pub fenced: u16,
    /// Locations of whose value, if it is not the newest, it may find out more than whether it is 0
    pub exact: u16,
    /// Locations that it reads at most once, having neither learnt anything nor written there before, and whose value nobody asks for in
    /// the end
    pub once: u16,
}

impl Future {
    /// Nothing any more.
    pub const NOTHING: Future = Future {
        all: Footprint { reads: 0, writes: 0, full_barrier: false },
        unreleased: 0,
        loads: 0,
        unlocked: 0,
        acquire_fence: false,
        light_fence: false,
        acquires: 0,
        holds: 0,
        locked: [!0; LOCATIONS],
        fenced: !0,
        exact: 0,
        once: !0,
    };

    /// Anything at all.
    pub const ANYTHING: Future = Future {
        all: Footprint::ANYTHING,
        unreleased: !0,
        loads: !0,
        unlocked: !0,
        acquire_fence: true,
        light_fence: true,
        acquires: !0,
        holds: 0,
        locked: [0; LOCATIONS],
        fenced: 0,
        exact: !0,
        once: 0,
    };

    /// One or the other.
    pub fn or(self, other: Future) -> Future {
        Future {
            all: self.all.union(other.all),
            unreleased: self.unreleased | other.unreleased,
            loads: self.loads | other.loads,
            unlocked: self.unlocked | other.unlocked,
            acquire_fence: self.acquire_fence | other.acquire_fence,
            light_fence: self.light_fence | other.light_fence,
            acquires: self.acquires | other.acquires,
            holds: self.holds | other.holds,
            locked: std::array::from_fn(|location| self.locked[location] & other.locked[location]),
            fenced: self.fenced & other.fenced,
            exact: self.exact | other.exact,
            once: self.once & other.once,
        }
    }

    /// May the thread still touch it?
    pub fn touches(&self, location: usize) -> bool {
        self.all.touched() & 1 << location != 0
    }
}

/// What a thread may still do, and its next operation.
pub type Foreseen<'a> = (&'a Future, Option<Operation>);

/// One possible result of an operation.
#[derive(Clone, Debug)]
pub struct Outcome<M> {
    /// The value read, if the operation reads
    pub read: Option<Value>,
    /// The value written, if the operation writes
    pub written: Option<Value>,
    /// Was the value read not the newest? Under RC11: not the last in modification order. Under TSO: another
    /// thread's buffer holds a store to the location.
    pub stale: bool,
    /// Memory afterwards
    pub machine: M,
}

/// Something memory does on its own: the oldest store of `thread`'s buffer reaches memory.
#[derive(Clone, Debug)]
pub struct Internal<M> {
    /// Whose buffer
    pub thread: usize,
    /// Which location
    pub location: Location,
    /// The value that becomes visible to the others
    pub value: Value,
    /// Memory afterwards
    pub machine: M,
}

/// What a machine cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// More locations than [`LOCATIONS`]
    #[error("{0} atomic locations; the memory models take at most {LOCATIONS}")]
    Locations(usize),
    /// More messages than a position can count
    #[error("more than 255 messages that can still be read: does a loop store without end?")]
    Messages,
}

/// Shared memory at one moment, under one memory model. Equal machines have equal futures.
pub trait Machine: Clone + Eq + Hash + Debug + Send + Sync + 'static {
    /// Memory before the first operation: `values[i]` at `Location(i)`, seen by all threads.
    fn new(values: &[Value], threads: usize) -> Result<Self, Limit>;

    /// Appends everything that can happen if `thread` executes `operation` now. Nothing is appended if the thread
    /// has to wait: for the value of an [`Update::Await`], or for its store buffer to drain.
    fn outcomes(
        self,
        thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit>;

    /// Appends everything that memory can do on its own.
    fn internal(&self, _found: &mut Vec<Internal<Self>>) {}

    /// The stores that `thread` has executed and that have not reached memory.
    fn pending(&self, _thread: usize) -> Footprint {
        Footprint::default()
    }

    /// The location of the oldest store in `thread`'s buffer.
    fn oldest(&self, _thread: usize) -> Option<Location> {
        None
    }

    /// The newest value of a location: the last in modification order that has reached memory.
    fn newest(&self, location: Location) -> Value;

    /// Is there anything that it can forget?
    const FORGETS: bool = false;

    /// From now on each thread does nothing but this, and this operation first. What only other doings could find out may be
    /// forgotten, so that memories that differ in nothing else are equal.
    fn forget(&mut self, _futures: &[Foreseen<'_>]) {}

    /// Two threads exchange their names.
    fn exchange(&mut self, _one: usize, _other: usize) {}

    /// An order between two threads that is the reverse once they have exchanged their names; equal only if that changes nothing.
    fn order(&self, _one: usize, _other: usize) -> cmp::Ordering {
        cmp::Ordering::Equal
    }

    /// Of memories that may be compared hashes what they have in common, and keeps what tells them apart.
    fn keep(&self, class: &mut impl Hasher, _kept: &mut Vec<u8>) {
        self.hash(class);
    }

    /// Is everything that may happen after the `other` memory possible after `this`, both of one class, and does nobody wait in vain for
    /// the value of an `awaited` location in only one of them?
    fn covers(this: &[u8], other: &[u8], _awaited: u16) -> bool {
        this == other
    }

    /// After a read: does `thread` know no less than in the `other` memory, which another outcome of the same read has left, and of the `awaited`
    /// locations the same? Then that one covers this one.
    fn knows_no_less(&self, _other: &Self, _thread: usize, _awaited: u16) -> bool {
        false
    }

    /// Is this value nowhere where a read-modify-write of `thread` could read it now?
    fn lacks(&self, thread: usize, location: Location, value: Value) -> bool;

    /// Must `thread` wait, for a value or for its own store buffer, before it can execute `operation`?
    fn waits(&self, thread: usize, operation: Operation) -> bool {
        let Operation::Modify { location, update: Update::Await { expected, .. }, .. } = operation else {
            return false;
        };
        self.lacks(thread, location, expected)
    }

    /// Does `step`, which can be done, do the same after anything that the others may do as before it, and they too? A store
    /// leaving a buffer reads and writes.
    fn moves_left(step: Footprint, others: Footprint) -> bool;

    /// Could `step`, which was done, as well be done after anything that the others may do next?
    fn moves_right(step: Footprint, others: Footprint) -> bool;
}

/// The memory models by name: `sc`, `tso`, `rc11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Memory {
    /// Sequential consistency
    Sc,
    /// x86-TSO
    Tso,
    /// RC11, by a view machine
    Rc11,
}

impl Memory {
    /// All of them, the strongest first.
    pub const ALL: [Memory; 3] = [Memory::Sc, Memory::Tso, Memory::Rc11];

    /// The name used in tables and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Memory::Sc => "sc",
            Memory::Tso => "tso",
            Memory::Rc11 => "rc11",
        }
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of those expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`; known are {known}")]
pub struct UnknownName {
    /// What kind of thing was to be named
    pub what: &'static str,
    /// The name given
    pub name: String,
    /// The names that would have been understood
    pub known: String,
}

impl UnknownName {
    /// The value whose name is `name`, or an error that lists them all.
    pub(crate) fn find<T: Copy + Display>(
        what: &'static str,
        name: &str,
        all: &[T],
    ) -> Result<T, UnknownName> {
        let names: Vec<String> = all.iter().map(T::to_string).collect();
        match names.iter().position(|known| known == name) {
            Some(index) => Ok(all[index]),
            None => Err(UnknownName { what, name: name.to_owned(), known: names.join(", ") }),
        }
    }
}

impl FromStr for Memory {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        UnknownName::find("memory model", name, &Memory::ALL)
    }
}
