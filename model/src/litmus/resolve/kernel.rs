//! Operations of the kernel.

use super::super::Error;
use super::super::calls::{self, Call, Gives};
use super::super::program::{Action, Binary, Fence, Order, Step, Term};
use super::super::syntax::{Expression, Term as Syntax};
use super::Resolver;

impl<'a> Resolver<'a, '_> {
    /// What a call gives, if it gives something.
    pub(super) fn kernel_call(
        &mut self,
        name: &'a str,
        arguments: &'a [Expression],
        offset: usize,
        into: Option<usize>,
    ) -> Result<Option<Term>, Error> {
        let call = calls::kernel(name).ok_or_else(|| self.not_read(name, offset))?;
        let wanted = match call {
            Call::Fence(_) | Call::CompilerBarrier => 0,
            Call::ReadOnce | Call::Load(_) | Call::Lock | Call::Unlock | Call::TryLock | Call::IsLocked => 1,
            Call::WriteOnce(_) | Call::StoreMb | Call::Store(_) | Call::Exchange(_) => 2,
            Call::Atomic { by_one, .. } => {
                if by_one {
                    1
                } else {
                    2
                }
            }
            Call::CompareExchange(_) | Call::AddUnless => 3,
        };
        self.count(name, arguments, wanted, offset)?;
        match call {
            Call::Fence(fence) => self.steps.push(Step::Fence(fence)),
            Call::CompilerBarrier => {}
            Call::ReadOnce => {
                let pointer = self.target(name, &arguments[0])?;
                return self.access(pointer, Action::Load, Order::Relaxed, into, offset);
            }
            Call::WriteOnce(order) => {
                let value = self.value(&arguments[1], None)?;
                let pointer = self.target(name, &arguments[0])?;
                self.access(pointer, Action::Store(value), order, None, offset)?;
            }
            Call::StoreMb => {
                let value = self.value(&arguments[1], None)?;
                let pointer = self.target(name, &arguments[0])?;
                self.access(pointer, Action::Store(value), Order::Relaxed, None, offset)?;
                self.steps.push(Step::Fence(Fence::Mb));
            }
            Call::Load(order) => return self.access(&arguments[0], Action::Load, order, into, offset),
            Call::Store(order) => {
                let value = self.value(&arguments[1], None)?;
                self.access(&arguments[0], Action::Store(value), order, None, offset)?;
            }
            Call::Exchange(order) => {
                let value = self.value(&arguments[1], None)?;
                return self.access(&arguments[0], Action::Exchange(value), order, into, offset);
            }
            Call::CompareExchange(order) => {
                let (expected, new) = (self.value(&arguments[1], None)?, self.value(&arguments[2], None)?);
                let action = Action::CompareExchange { expected, new, failure: Order::Relaxed, weak: None };
                return self.access(&arguments[0], action, order, into, offset);
            }
            Call::Atomic { operator, by_one, order, gives } => {
                let (by, location) = match by_one {
                    true => (Term::Constant(1), &arguments[0]),
                    false => (self.value(&arguments[0], None)?, &arguments[1]),
                };
                let into = into.filter(|_| gives == Gives::Old);
                let old = self.access(location, Action::Modify(operator, by.clone()), order, into, offset)?;
                let old = old.expect("it reads");
                let new = |old| Term::Binary(operator, Box::new([old, by]));
                return Ok(match gives {
                    Gives::Nothing => None,
                    Gives::Old => Some(old),
                    Gives::New => Some(new(old)),
                    Gives::NewIs(comparison) => {
                        Some(Term::Binary(comparison, Box::new([new(old), Term::Constant(0)])))
                    }
                });
            }
            Call::AddUnless => {
                let (by, unless) = (self.value(&arguments[1], None)?, self.value(&arguments[2], None)?);
                let action = Action::AddUnless { by, unless: unless.clone() };
                let old = self.access(&arguments[0], action, Order::Full, None, offset)?.expect("it reads");
                return Ok(Some(Term::Binary(Binary::Differs, Box::new([old, unless]))));
            }
            Call::Lock => {
                self.access(&arguments[0], Action::Lock, Order::Acquire, None, offset)?;
            }
            Call::Unlock => {
                self.access(&arguments[0], Action::Unlock, Order::Release, None, offset)?;
            }
            Call::TryLock => {
                let (expected, new) = (Term::Constant(0), Term::Constant(1));
                let action = Action::CompareExchange { expected, new, failure: Order::Relaxed, weak: None };
                let old =
                    self.access(&arguments[0], action, Order::Acquire, None, offset)?.expect("it reads");
                return Ok(Some(Term::Binary(Binary::Equal, Box::new([old, Term::Constant(0)]))));
            }
            Call::IsLocked => return self.access(&arguments[0], Action::Load, Order::Relaxed, into, offset),
        }
        Ok(None)
    }

    pub(super) fn count(
        &self,
        name: &str,
        arguments: &[Expression],
        wanted: usize,
        offset: usize,
    ) -> Result<(), Error> {
        match arguments.len() == wanted {
            true => Ok(()),
            false => {
                let what = format!("`{name}` has {wanted} arguments, and here {}", arguments.len());
                Err(self.error(offset, what))
            }
        }
    }

    /// What the `*` of `READ_ONCE(*x)` is before.
    fn target(&self, name: &str, argument: &'a Expression) -> Result<&'a Expression, Error> {
        match &argument.it {
            Syntax::Target(pointer) => Ok(pointer),
            _ => Err(Error::expected(self.names.text, argument.offset, &format!("`*` (`{name}(*x, ..)`)"))),
        }
    }
}
