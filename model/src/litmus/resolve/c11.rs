//! Operations of C11.

use super::super::calls::{self, C11};
use super::super::program::{Action, Binary, Fence, Order, Step, Term};
use super::super::syntax::{Expression, Term as Syntax};
use super::super::{Error, Place};
use super::Resolver;

impl<'a> Resolver<'a, '_> {
    /// What a call gives, if it gives something.
    pub(super) fn c11_call(
        &mut self,
        name: &'a str,
        arguments: &'a [Expression],
        offset: usize,
        into: Option<usize>,
    ) -> Result<Option<Term>, Error> {
        let (call, explicit) = calls::c11(name).ok_or_else(|| self.not_read(name, offset))?;
        let (values, orders) = match call {
            C11::Fence => (0, 1),
            C11::Load => (1, 1),
            C11::Store | C11::Exchange | C11::Fetch(_) => (2, 1),
            C11::CompareExchange { .. } => (3, 2),
        };
        self.count(name, arguments, if explicit { values + orders } else { values }, offset)?;
        let (arguments, given) = arguments.split_at(values);
        let mut orders = Vec::new();
        for order in given {
            orders.push(self.order(order)?);
        }
        orders.resize(2, Order::SeqCst);
        let order = orders[0];
        match call {
            C11::Fence if order == Order::Relaxed => Ok(None),
            C11::Fence => {
                self.steps.push(Step::Fence(Fence::C11(order)));
                Ok(None)
            }
            C11::Load => {
                let order = self.read_order(order, offset)?;
                self.access(&arguments[0], Action::Load, order, into, offset)
            }
            C11::Store => {
                if matches!(order, Order::Acquire | Order::AcqRel) {
                    return Err(self.error(offset, "a store cannot be an acquire"));
                }
                let value = self.value(&arguments[1], None)?;
                self.access(&arguments[0], Action::Store(value), order, None, offset)
            }
            C11::Exchange => {
                let value = self.value(&arguments[1], None)?;
                self.access(&arguments[0], Action::Exchange(value), order, into, offset)
            }
            C11::Fetch(operator) => {
                let value = self.value(&arguments[1], None)?;
                self.access(&arguments[0], Action::Modify(operator, value), order, into, offset)
            }
            C11::CompareExchange { is_weak } => {
                let failure = self.read_order(orders[1], offset)?;
                self.compare_exchange(arguments, (order, failure), is_weak, offset).map(Some)
            }
        }
    }

    /// A compare-exchange reads what it expects by a plain access, and where it fails writes there what it has read.
    fn compare_exchange(
        &mut self,
        arguments: &'a [Expression],
        (order, failure): (Order, Order),
        is_weak: bool,
        offset: usize,
    ) -> Result<Term, Error> {
        let [location, expected, new] = arguments else { unreachable!("they were counted") };
        let new = self.value(new, None)?;
        let own = match &expected.it {
            Syntax::Address(name) => self.registers.get(name.as_str()).copied(),
            _ => self.private(expected),
        };
        let wanted = match own {
            Some(register) => register,
            None => {
                let wanted = self.register(0);
                self.plain(expected, Action::Load, Some(wanted))?;
                wanted
            }
        };
        let expects = Term::Register(wanted);
        // Whether a weak one has exchanged, the value that it read does not say.
        let weak = is_weak.then(|| self.register(0));
        let action = Action::CompareExchange { expected: expects.clone(), new, failure, weak };
        let read = self.access(location, action, order, None, offset)?.expect("it reads");
        let exchanged = match weak {
            Some(exchanged) => Term::Register(exchanged),
            None => Term::Binary(Binary::Equal, Box::new([read.clone(), expects])),
        };
        let result = self.register(0);
        self.steps.push(Step::Set { register: result, value: exchanged });
        match own {
            Some(register) => self.steps.push(Step::Set { register, value: read }),
            None => {
                let before = std::mem::take(&mut self.steps);
                self.plain(expected, Action::Store(read), None)?;
                let otherwise = std::mem::replace(&mut self.steps, before);
                let condition = Term::Register(result);
                self.steps.push(Step::If { condition, then: Vec::new(), otherwise });
            }
        }
        Ok(Term::Register(result))
    }

    fn read_order(&self, order: Order, offset: usize) -> Result<Order, Error> {
        match order {
            Order::Release | Order::AcqRel => Err(self.error(offset, "a read cannot be a release")),
            order => Ok(order),
        }
    }

    fn order(&self, argument: &Expression) -> Result<Order, Error> {
        let name = match &argument.it {
            Syntax::Name(name) => name.as_str(),
            _ => "",
        };
        Ok(match name {
            "memory_order_relaxed" => Order::Relaxed,
            "memory_order_acquire" => Order::Acquire,
            "memory_order_release" => Order::Release,
            "memory_order_acq_rel" => Order::AcqRel,
            "memory_order_seq_cst" => Order::SeqCst,
            _ => {
                let wanted = "`memory_order_relaxed`, `_acquire`, `_release`, `_acq_rel` or `_seq_cst`";
                return Err(Error::expected(self.names.text, argument.offset, wanted));
            }
        })
    }

    pub(super) fn not_read(&self, name: &str, offset: usize) -> Error {
        let place = Place::of(self.names.text, offset);
        Error::NotRead { place, what: calls::not_read(name), name: name.to_owned() }
    }
}
