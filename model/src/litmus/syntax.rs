//! What a litmus file says, before its names have a meaning.

use super::program::{Binary, Unary};
use crate::memory::Value;

/// Something and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub it: T,
    pub offset: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Test {
    pub name: String,
    pub initial: Vec<Initial>,
    pub threads: Vec<Thread>,
    pub locations: Vec<At<Name>>,
    pub filter: Condition,
    /// After `exists`, `~exists` or `forall`. Nothing is said where it is missing: it holds nowhere
    pub condition: Condition,
}

/// What a location begins with.
#[derive(Clone, Debug)]
pub(super) struct Initial {
    pub name: At<Name>,
    /// If it is given
    pub kind: Option<Kind>,
    pub value: Constant,
}

/// What a location is declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// `atomic_int`, of C11
    Atomic,
    /// `atomic_t`, of the kernel
    KernelAtomic,
    /// `spinlock_t`, of the kernel
    Lock,
}

/// A number, or a location's address.
#[derive(Clone, Debug)]
pub(super) enum Constant {
    Number(Value),
    Address(At<String>),
}

#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub number: At<usize>,
    pub parameters: Vec<(Kind, At<String>)>,
    pub body: Vec<Statement>,
}

/// A register of a thread, or a location.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub thread: Option<usize>,
    pub name: String,
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    True,
    False,
    Compare(At<Name>, Binary, Constant),
    /// With a register, instead of a constant
    CompareBoth(At<Name>, Binary, At<Name>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Clone, Debug)]
pub(super) enum Statement {
    /// `int r;` or `int r = ..;`
    Declare(At<String>, Option<Expression>),
    Assign(At<String>, Expression),
    /// `*p = ..;`
    Store(Expression, Expression),
    /// A call whose result is not used
    Call(Expression),
    If {
        condition: Expression,
        then: Vec<Statement>,
        otherwise: Vec<Statement>,
    },
}

/// An expression and where it stands.
pub(super) type Expression = At<Term>;

#[derive(Clone, Debug)]
pub(super) enum Term {
    Number(Value),
    Name(String),
    /// `&x`
    Address(String),
    /// `*p`
    Target(Box<Expression>),
    Unary(Unary, Box<Expression>),
    Binary(Binary, Box<[Expression; 2]>),
    Call(String, Vec<Expression>),
}
