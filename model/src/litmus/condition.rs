//! Conditions over the values of a final state.

use super::program::Binary;
use super::syntax::{At, Condition as Syntax, Name};
use super::{Variable, register_variable};
use crate::memory::Value;

/// A condition, with the variables by their numbers.
pub(crate) enum Condition {
    True,
    Compare(usize, Binary, Value),
    CompareBoth(usize, Binary, usize),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    pub fn holds(&self, state: &[Value]) -> bool {
        match self {
            Condition::True => true,
            Condition::Compare(index, comparison, value) => comparison.apply(state[*index], *value) != 0,
            Condition::CompareBoth(left, comparison, right) => {
                comparison.apply(state[*left], state[*right]) != 0
            }
            Condition::Not(condition) => !condition.holds(state),
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(state)),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(state)),
        }
    }
}

/// The names in a condition, in their order.
pub(super) fn mention<'a>(condition: &'a Syntax, names: &mut Vec<&'a At<Name>>) {
    match condition {
        Syntax::True | Syntax::False => (),
        Syntax::Compare(name, ..) => names.push(name),
        Syntax::CompareBoth(left, _, right) => names.extend([left, right]),
        Syntax::Not(condition) => mention(condition, names),
        Syntax::All(conditions) | Syntax::Any(conditions) => {
            conditions.iter().for_each(|condition| mention(condition, names))
        }
    }
}

/// Every name in the condition is one of the variables: [`mention`] found it.
pub(super) fn resolve<E>(
    condition: &Syntax,
    variables: &[&Variable],
    value: &impl Fn(&super::syntax::Constant) -> Result<Value, E>,
) -> Result<Condition, E> {
    let all = |conditions: &[Syntax]| {
        conditions.iter().map(|condition| resolve(condition, variables, value)).collect::<Result<_, _>>()
    };
    Ok(match condition {
        Syntax::True => Condition::True,
        Syntax::False => Condition::Any(Vec::new()),
        Syntax::Compare(name, comparison, constant) => {
            Condition::Compare(index(name, variables), *comparison, value(constant)?)
        }
        Syntax::CompareBoth(left, comparison, right) => {
            Condition::CompareBoth(index(left, variables), *comparison, index(right, variables))
        }
        Syntax::Not(condition) => Condition::Not(Box::new(resolve(condition, variables, value)?)),
        Syntax::All(conditions) => Condition::All(all(conditions)?),
        Syntax::Any(conditions) => Condition::Any(all(conditions)?),
    })
}

fn index(At { it: Name { thread, name }, .. }: &At<Name>, variables: &[&Variable]) -> usize {
    let is = |variable: &Variable| match (thread, variable) {
        (Some(thread), variable) => *variable == register_variable(*thread, name),
        (None, Variable::Shared(known) | Variable::Private(known)) => known == name,
        (None, Variable::Register(..)) => false,
    };
    variables.iter().position(|variable| is(variable)).expect("each name was mentioned")
}
