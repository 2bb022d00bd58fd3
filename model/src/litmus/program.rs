//! A litmus test with its names resolved: what the engines run, whichever dialect it was written in.

use super::Variable;
use super::condition::Condition;
use crate::memory::Value;

/// A test that can be run.
pub(crate) struct Program {
    pub dialect: Dialect,
    pub threads: Vec<Thread>,
    pub locations: Vec<Location>,
    /// The variables of a final state, and where their values are
    pub variables: Vec<(Variable, Where)>,
    pub condition: Condition,
    /// Only executions whose final state fulfils this count
    pub filter: Condition,
    /// Whether locations have their addresses in it: only then is a value shown as one
    pub has_addresses: bool,
}

impl Program {
    /// Whether a location has both plain and other accesses.
    pub fn is_mixed(&self) -> bool {
        self.locations.iter().any(|location| location.is_atomic && location.plain.is_some())
    }
}

/// Whose operations a test uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `atomic_load_explicit(x, memory_order_relaxed)`
    C11,
    /// `READ_ONCE(*x)`
    Kernel,
}

pub(crate) struct Thread {
    /// The initial values of its registers. Private locations are among them
    pub registers: Vec<Value>,
    pub code: Vec<Step>,
}

/// A location that threads share.
pub(crate) struct Location {
    pub name: String,
    pub initial: Value,
    /// Where a plain access of it stands first in the text, if there is one
    pub plain: Option<usize>,
    /// Whether there are atomic or marked accesses of it
    pub is_atomic: bool,
    pub is_lock: bool,
}

/// Where the final value of a variable is.
pub(crate) enum Where {
    Location(usize),
    Register(usize, usize),
}

/// A value that a thread computes from its registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    Constant(Value),
    Register(usize),
    Unary(Unary, Box<Term>),
    Binary(Binary, Box<[Term; 2]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    /// `!`
    Not,
    /// `-`
    Minus,
    /// `~`
    Complement,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Differs,
    BitAnd,
    BitXor,
    BitOr,
    And,
    Or,
}

impl Unary {
    pub fn apply(self, value: Value) -> Value {
        match self {
            Unary::Not => Value::from(value == 0),
            Unary::Minus => value.wrapping_neg(),
            Unary::Complement => !value,
        }
    }
}

impl Binary {
    /// Values wrap at 32 bits; what divides by 0 gives 0.
    pub fn apply(self, a: Value, b: Value) -> Value {
        match self {
            Binary::Multiply => a.wrapping_mul(b),
            Binary::Divide => a.checked_div(b).unwrap_or(0),
            Binary::Remainder => a.checked_rem(b).unwrap_or(0),
            Binary::Add => a.wrapping_add(b),
            Binary::Subtract => a.wrapping_sub(b),
            Binary::ShiftLeft => a.wrapping_shl(b as u32),
            Binary::ShiftRight => a.wrapping_shr(b as u32),
            Binary::Less => (a < b).into(),
            Binary::LessOrEqual => (a <= b).into(),
            Binary::Greater => (a > b).into(),
            Binary::GreaterOrEqual => (a >= b).into(),
            Binary::Equal => (a == b).into(),
            Binary::Differs => (a != b).into(),
            Binary::BitAnd => a & b,
            Binary::BitXor => a ^ b,
            Binary::BitOr => a | b,
            Binary::And => (a != 0 && b != 0).into(),
            Binary::Or => (a != 0 || b != 0).into(),
        }
    }
}

impl Term {
    pub fn value(&self, registers: &impl Fn(usize) -> Value) -> Value {
        match self {
            Term::Constant(value) => *value,
            Term::Register(register) => registers(*register),
            Term::Unary(operator, term) => operator.apply(term.value(registers)),
            Term::Binary(operator, terms) => {
                operator.apply(terms[0].value(registers), terms[1].value(registers))
            }
        }
    }

    /// Calls back with each register in it, whether or not the value depends on that register's.
    pub fn registers(&self, found: &mut impl FnMut(usize)) {
        match self {
            Term::Constant(_) => {}
            Term::Register(register) => found(*register),
            Term::Unary(_, term) => term.registers(found),
            Term::Binary(_, terms) => terms.iter().for_each(|term| term.registers(found)),
        }
    }
}

pub(crate) enum Step {
    Set { register: usize, value: Term },
    Access(Access),
    Fence(Fence),
    If { condition: Term, then: Vec<Step>, otherwise: Vec<Step> },
}

/// An access of a location.
pub(crate) struct Access {
    /// Its address
    pub location: Term,
    pub action: Action,
    pub order: Order,
    /// Where the value that was read goes
    pub into: Option<usize>,
    /// Where it stands in the text
    pub offset: usize,
}

pub(crate) enum Action {
    Load,
    Store(Term),
    Exchange(Term),
    /// `fetch_add` and the like
    Modify(Binary, Term),
    CompareExchange {
        expected: Term,
        new: Term,
        /// The order of a failure
        failure: Order,
        /// If it may fail for no reason: where it goes whether it has exchanged
        weak: Option<usize>,
    },
    /// Adds, unless the value is that one
    AddUnless {
        by: Term,
        unless: Term,
    },
    /// Waits for the lock to be free, and takes it
    Lock,
    Unlock,
}

/// How an access orders others around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// An access that is not atomic, or in kernel C one that is not marked
    Plain,
    /// `memory_order_relaxed`, `READ_ONCE`, `_relaxed`
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
    /// A kernel read-modify-write without a suffix: a full barrier before and after it, unless it fails
    Full,
    /// A kernel read-modify-write that returns nothing: relaxed, and `smp_rmb` does not see its read
    NoReturn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// `atomic_thread_fence`
    C11(Order),
    /// `smp_mb`
    Mb,
    /// `smp_rmb`
    Rmb,
    /// `smp_wmb`
    Wmb,
    /// `smp_mb__before_atomic`
    BeforeAtomic,
    /// `smp_mb__after_atomic`
    AfterAtomic,
    /// `smp_mb__after_spinlock`
    AfterSpinlock,
    /// `smp_mb__after_unlock_lock`
    AfterUnlockLock,
}

/// The addresses of locations, far from the numbers that tests count with, and far from each other:
/// what is computed from one is not by chance another one.
const ADDRESSES: Value = Value::MIN;
const STRIDE: u32 = 1 << 16;

/// The most locations that a test can have.
pub(crate) const LOCATIONS: usize = 1 << 12;

/// The address of the location with this number.
pub(crate) fn address(location: usize) -> Value {
    ADDRESSES.wrapping_add((location as u32 * STRIDE) as Value)
}

/// The location that has this address.
pub(crate) fn location_at(address: Value) -> Option<usize> {
    let distance = address.wrapping_sub(ADDRESSES) as u32;
    let location = (distance / STRIDE) as usize;
    (distance.is_multiple_of(STRIDE) && location < LOCATIONS).then_some(location)
}
