//! The small language that a protocol is written in.
//!
//! A [`Program`] is a set of threads over shared objects. A thread's code is built by calls that read like the Rust
//! code they model:
//!
//! ```
//! use reveille_model::program::{Builder, Code, Term};
//! use reveille_model::memory::Order::{Acquire, Release};
//!
//! let mut program = Builder::new();
//! let tail = program.object("tail", 0);
//! let parker = program.object("parker", 0);
//!
//! let mut producer = Code::new("producer");
//! producer.store("publish", tail, 1, Release);
//! producer.unpark("wake", parker);
//! program.thread(producer);
//!
//! let mut poller = Code::new("poller");
//! poller.forever(|p| {
//!     let seen = p.load("look", tail, Acquire);
//!     p.when(seen.differs(0), |p| p.leave());
//!     p.park("sleep", parker);
//! });
//! program.thread(poller);
//! assert!(program.build().is_ok());
//! ```
//!
//! **Objects** are atomic locations (or arrays of them) with a label. Every operation on one names a **site**, a short
//! stable name of the place in the code. A **lock** is a kernel spinlock: locking is an acquire read-modify-write that waits,
//! unlocking a plain release store, *not* a read-modify-write. A **parker** holds one token: `unpark` puts it there (a
//! release exchange), `park` waits for it and takes it (an acquire read-modify-write), so the waker's earlier writes
//! are ordered before what the woken thread does next, and nothing else is.
//!
//! **Lists** are plain data. A shared one belongs to a lock and is touched only while that lock is held, which the
//! builder checks: mutual exclusion and the lock's own ordering make its content the same under every memory
//! model, so it is not part of memory. A local one belongs to a thread.
//!
//! **Registers** are a thread's own variables; one that will not be read again is forgotten, so that states that differ
//! in nothing else are equal. Between two shared operations a thread runs on alone: only shared operations and choices
//! are steps.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;

use crate::memory::{Barrier, Footprint, Future, Location, Order, Update, Value};

mod alike;
mod analysis;
mod build;
mod run;
mod weaken;

pub use build::{BuildError, Builder, Code};

pub(crate) use run::{Next, Settled};
pub use run::{Position, Sequence};
pub use weaken::{Ordered, Weakening};

/// An atomic object, or an array of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    first: u8,
    length: u8,
}

impl Object {
    /// One element of an array.
    pub fn at(self, index: impl Into<Expr>) -> Place {
        Place { object: self, index: index.into() }
    }

    /// The location of one element, if there is such an element.
    pub fn location(self, index: Value) -> Option<Location> {
        let index = u8::try_from(index).ok().filter(|index| *index < self.length)?;
        Some(Location(self.first + index))
    }

    /// The set of all its locations.
    fn mask(self) -> u16 {
        (((1_u32 << self.length) - 1) << self.first) as u16
    }
}

/// Where an operation goes: an object, and which element of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    object: Object,
    index: Expr,
}

impl Place {
    /// The set of the locations that it may be.
    fn mask(&self) -> u16 {
        self.only().map_or(self.object.mask(), |location| 1 << location.0)
    }

    /// The one location that it is, if that is known.
    fn only(&self) -> Option<Location> {
        match self.index {
            Expr::Constant(index) => self.object.location(index),
            _ => None,
        }
    }
}

impl From<Object> for Place {
    fn from(object: Object) -> Self {
        object.at(0)
    }
}

/// A list of small numbers: a wait queue's entries, a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct List(u8);

impl List {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A thread's own variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register(u8);

/// An expression over registers. Comparisons give 1 or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A number
    Constant(Value),
    /// A register's value
    Register(Register),
    /// Two expressions combined
    Binary(Operator, Box<Expr>, Box<Expr>),
}

/// How two values are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Sum, wrapping
    Add,
    /// Difference, wrapping
    Subtract,
    /// Remainder, not negative; 0 if there is none
    Remainder,
    /// Equal?
    Equal,
    /// Different?
    Differ,
    /// Greater?
    Above,
    /// Both non-zero?
    Both,
    /// Any non-zero?
    Either,
}

/// What expressions are made of, with the ways to combine them.
pub trait Term: Into<Expr> {
    /// `self + other`
    fn plus(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Add, other)
    }
    /// `self - other`
    fn minus(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Subtract, other)
    }
    /// `self` modulo `other`
    fn modulo(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Remainder, other)
    }
    /// `self == other`
    fn is(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Equal, other)
    }
    /// `self != other`
    fn differs(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Differ, other)
    }
    /// `self > other`
    fn above(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Above, other)
    }
    /// `self != 0 && other != 0`
    fn and(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Both, other)
    }
    /// `self != 0 || other != 0`
    fn or(self, other: impl Into<Expr>) -> Expr {
        self.combine(Operator::Either, other)
    }
    /// Two expressions with an operator between them.
    fn combine(self, operator: Operator, other: impl Into<Expr>) -> Expr {
        Expr::Binary(operator, Box::new(self.into()), Box::new(other.into()))
    }
}

impl Term for Expr {}
impl Term for Register {}

impl From<Value> for Expr {
    fn from(value: Value) -> Self {
        Expr::Constant(value)
    }
}

impl From<bool> for Expr {
    fn from(condition: bool) -> Self {
        Expr::Constant(condition.into())
    }
}

impl From<Register> for Expr {
    fn from(register: Register) -> Self {
        Expr::Register(register)
    }
}

impl Expr {
    fn value(&self, registers: &[Value]) -> Value {
        match self {
            Expr::Constant(value) => *value,
            Expr::Register(register) => registers[usize::from(register.0)],
            Expr::Binary(operator, left, right) => {
                let (left, right) = (left.value(registers), right.value(registers));
                match operator {
                    Operator::Add => left.wrapping_add(right),
                    Operator::Subtract => left.wrapping_sub(right),
                    Operator::Remainder => left.checked_rem_euclid(right).unwrap_or(0),
                    Operator::Equal => Value::from(left == right),
                    Operator::Differ => Value::from(left != right),
                    Operator::Above => Value::from(left > right),
                    Operator::Both => Value::from(left != 0 && right != 0),
                    Operator::Either => Value::from(left != 0 || right != 0),
                }
            }
        }
    }

    /// Of the registers it reads those of which it asks more than whether they are 0.
    fn exact_uses(&self) -> u32 {
        match self {
            Expr::Constant(_) => 0,
            Expr::Register(register) => 1 << register.0,
            Expr::Binary(Operator::Equal | Operator::Differ, value, zero) if **zero == Expr::Constant(0) => {
                value.exact_uses_of_condition()
            }
            Expr::Binary(Operator::Both | Operator::Either, left, right) => {
                left.exact_uses_of_condition() | right.exact_uses_of_condition()
            }
            Expr::Binary(_, left, right) => left.exact_uses() | right.exact_uses(),
        }
    }

    /// The same, if nobody asks more of its value than whether it is 0.
    fn exact_uses_of_condition(&self) -> u32 {
        match self {
            Expr::Register(_) => 0,
            _ => self.exact_uses(),
        }
    }

    /// The registers it reads, as a set of bits.
    fn uses(&self) -> u32 {
        match self {
            Expr::Constant(_) => 0,
            Expr::Register(register) => 1 << register.0,
            Expr::Binary(_, left, right) => left.uses() | right.uses(),
        }
    }
}

/// The name of a place in the code.
pub type Site = Cow<'static, str>;

/// What a shared operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Load(Order),
    Store(Order, Expr),
    Swap(Order, Expr),
    Add(Order, Expr),
    CompareExchange { expected: Expr, new: Expr, success: Order, failure: Order },
    Lock,
    Unlock,
    Park,
    Unpark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ListAction {
    /// To the end
    Push(Expr),
    /// To the front
    PushFront(Expr),
    /// The first of this value; 1 if there was one
    Remove(Expr),
    /// 1 if this value is there
    Contains(Expr),
    /// The element at this index, -1 if there is none
    Get(Expr),
    Length,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Instruction {
    Access {
        site: Site,
        place: Place,
        action: Action,
        into: Option<Register>,
    },
    Fence {
        site: Site,
        barrier: Barrier,
    },
    /// Goes on, or jumps
    Choose {
        site: Site,
        other: usize,
    },
    Set(Register, Expr),
    /// Jumps if the expression is 0
    Unless(Expr, usize),
    Jump(usize),
    List {
        list: List,
        action: ListAction,
        into: Option<Register>,
    },
    /// The claim must hold
    Claim {
        holds: Expr,
        claim: Site,
    },
}

/// The operation of a step, without its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An atomic load
    Load,
    /// An atomic store
    Store,
    /// An atomic exchange
    Swap,
    /// An atomic fetch-and-add (or -sub: the addend is negative)
    Add,
    /// An atomic strong compare-exchange
    CompareExchange,
    /// A fence
    Fence,
    /// Takes a lock
    Lock,
    /// Releases a lock
    Unlock,
    /// Takes a parker's token, having waited for it
    Park,
    /// Gives a parker its token
    Unpark,
    /// A nondeterministic choice; the value read is 1 if it was taken
    Choice,
    /// Memory moves: the oldest store in the thread's store buffer reaches memory
    Drain,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Load => "load",
            Kind::Store => "store",
            Kind::Swap => "swap",
            Kind::Add => "fetch_add",
            Kind::CompareExchange => "compare_exchange",
            Kind::Fence => "fence",
            Kind::Lock => "lock",
            Kind::Unlock => "unlock",
            Kind::Park => "park",
            Kind::Unpark => "unpark",
            Kind::Choice => "choice",
            Kind::Drain => "store buffer",
        })
    }
}

impl Instruction {
    fn site(&self) -> Option<&Site> {
        match self {
            Instruction::Access { site, .. }
            | Instruction::Fence { site, .. }
            | Instruction::Choose { site, .. } => Some(site),
            _ => None,
        }
    }
}

impl Action {
    fn kind(&self) -> Kind {
        match self {
            Action::Load(_) => Kind::Load,
            Action::Store(..) => Kind::Store,
            Action::Swap(..) => Kind::Swap,
            Action::Add(..) => Kind::Add,
            Action::CompareExchange { .. } => Kind::CompareExchange,
            Action::Lock => Kind::Lock,
            Action::Unlock => Kind::Unlock,
            Action::Park => Kind::Park,
            Action::Unpark => Kind::Unpark,
        }
    }

    fn order(&self) -> Order {
        match self {
            Action::Load(order)
            | Action::Store(order, _)
            | Action::Swap(order, _)
            | Action::Add(order, _) => *order,
            Action::CompareExchange { success, .. } => *success,
            Action::Lock | Action::Park => Order::Acquire,
            Action::Unlock | Action::Unpark => Order::Release,
        }
    }

    /// In which order it fails, if it can.
    fn failure(&self) -> Option<Ordering> {
        match self {
            Action::CompareExchange { failure, .. } => Some((*failure).into()),
            _ => None,
        }
    }

    fn writes(&self) -> bool {
        !matches!(self, Action::Load(_))
    }

    /// What memory is asked to do.
    fn operation(&self, location: Location, registers: &[Value]) -> crate::memory::Operation {
        use crate::memory::Operation::{Load, Modify, Store};
        let order = self.order();
        let modify = |update| Modify { location, order, update };
        match self {
            Action::Load(_) => Load { location, order },
            Action::Store(_, value) => Store { location, order, value: value.value(registers) },
            Action::Unlock => Store { location, order, value: 0 },
            Action::Swap(_, value) => modify(Update::Set(value.value(registers))),
            Action::Add(_, value) => modify(Update::Add(value.value(registers))),
            Action::CompareExchange { expected, new, failure, .. } => modify(Update::CompareExchange {
                expected: expected.value(registers),
                new: new.value(registers),
                failure: *failure,
            }),
            Action::Lock => modify(Update::Await { expected: 0, new: 1 }),
            Action::Park => modify(Update::Await { expected: 1, new: 0 }),
            Action::Unpark => modify(Update::Set(1)),
        }
    }
}

/// One thread's code.
#[derive(Clone, Debug)]
pub struct Thread {
    name: String,
    code: Vec<Instruction>,
    registers: usize,
    /// Before each instruction, and at the end: the registers that may still be read
    live: Vec<u32>,
    /// Before each instruction: what may still be touched
    future: Vec<Future>,
    /// What it may do before it waits
    until: analysis::Until,
    /// What each instruction may do to memory
    footprints: Vec<Footprint>,
    /// The instruction that takes a lock in its turn
    turn: Option<usize>,
    observed: Observed,
}

/// What somebody looks at in the end.
#[derive(Clone, Copy, Debug)]
struct Observed {
    /// Of the thread
    registers: u32,
    /// Locations
    objects: u16,
}

impl Thread {
    fn new(
        name: String,
        code: Vec<Instruction>,
        registers: usize,
        observed: Observed,
        turn: Option<usize>,
    ) -> Self {
        let live = analysis::live(&code, observed.registers);
        let future = analysis::future(&code, observed);
        let until = analysis::Until::new(&code);
        let footprints = code.iter().map(analysis::footprint).collect();
        Self { name, code, registers, live, future, until, footprints, turn, observed }
    }

    /// The thread's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A list of a program.
#[derive(Clone, Debug)]
struct ListDeclaration {
    label: String,
    initial: Sequence,
    /// A list without a lock belongs to one thread
    lock: Option<Object>,
}

/// Threads over shared objects. Made by a [`Builder`].
#[derive(Clone, Debug)]
pub struct Program {
    labels: Vec<String>,
    initial: Vec<Value>,
    lists: Vec<ListDeclaration>,
    threads: Vec<Thread>,
    /// Locations whose value somebody asks for in the end
    observed: u16,
    twins: Vec<Twins>,
}

/// Two threads that end alike.
#[derive(Clone, Debug)]
pub(crate) struct Twins {
    pub threads: [usize; 2],
    /// Where in the code of each the part begins that both have
    pub from: [u16; 2],
    /// Lists of their own
    pub lists: Vec<[usize; 2]>,
}

impl Program {
    /// The pairs of threads that end alike.
    pub(crate) fn twins(&self) -> &[Twins] {
        &self.twins
    }

    /// The threads.
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// The label of a location.
    pub fn label(&self, location: Location) -> &str {
        &self.labels[usize::from(location.0)]
    }

    /// The same program, of which somebody may ask for the value of every object.
    pub(crate) fn observed(&self) -> Program {
        let observed = |thread: &Thread| {
            let all = Observed { objects: !0, ..thread.observed };
            let Thread { name, code, registers, turn, .. } = thread.clone();
            Thread::new(name, code, registers, all, turn)
        };
        Program { threads: self.threads.iter().map(observed).collect(), observed: !0, ..self.clone() }
    }

    /// May somebody ask for the value of this location in the end?
    pub(crate) fn observes(&self, location: Location) -> bool {
        self.observed & location.bit() != 0
    }

    /// The values of all locations at the start.
    pub fn initial(&self) -> &[Value] {
        &self.initial
    }

    /// Where nobody who could once go on without waiting has to wait for ever: at a parker whose token only one thread takes, and at a
    /// lock that is free again in the end, since whoever holds it waits for nothing but such locks, and violates no claim.
    pub(crate) fn steady(&self) -> u16 {
        let places = |what: fn(&Action) -> bool| {
            let places = self.threads.iter().map(|thread| analysis::places(&thread.code, what));
            places.fold((0, 0), |(once, twice), place| (once | place, twice | once & place))
        };
        let (parkers, rivals) = places(|action| *action == Action::Park);
        let (no_parkers, _) = places(|action| !matches!(action, Action::Park | Action::Unpark));
        let (no_locks, _) = places(|action| !matches!(action, Action::Lock | Action::Unlock));
        let mut long = !0;
        loop {
            let held = |thread: &Thread| analysis::held_long(&thread.code, &thread.future, long);
            let less = self.threads.iter().map(held).fold(no_locks, |all, held| all | held);
            if less == long {
                return parkers & !rivals & !no_parkers | !long;
            }
            long = less;
        }
    }

    /// Where anybody waits for a value.
    pub(crate) fn awaited(&self) -> u16 {
        let waits = |action: &Action| matches!(action, Action::Lock | Action::Park);
        self.threads.iter().fold(0, |all, thread| all | analysis::places(&thread.code, waits))
    }

    /// The contents of all lists at the start.
    pub fn lists(&self) -> impl Iterator<Item = Sequence> {
        self.lists.iter().map(|list| list.initial)
    }
}
