//! From a parsed test to a program: names become numbers, and calls become operations.

mod c11;
mod kernel;
mod names;

use std::collections::{BTreeMap, BTreeSet};

use self::names::Names;
use super::program::{Access, Action, Dialect, Order, Program, Step, Term, Thread, address, location_at};
use super::syntax::{At, Expression, Initial, Kind, Statement, Term as Syntax, Test};
use super::{Error, Variable, calls, condition};
use crate::memory::Value;

pub(super) fn resolve(test: &Test, text: &str) -> Result<Program, Error> {
    let dialect = dialect(test);
    let mut names = Names::new(test, text, dialect)?;
    let mut threads = Vec::new();
    let mut registers: Vec<BTreeMap<&str, usize>> = Vec::new();
    for (index, thread) in test.threads.iter().enumerate() {
        if thread.number.it != index {
            let what = format!("thread P{} where P{index} should stand", thread.number.it);
            return Err(names.error(thread.number.offset, what));
        }
        let mut resolver = Resolver {
            thread: index,
            parameters: thread.parameters.iter().map(|(kind, name)| (name.it.as_str(), *kind)).collect(),
            registers: BTreeMap::new(),
            private: BTreeMap::new(),
            initial: Vec::new(),
            steps: Vec::new(),
            names: &mut names,
        };
        resolver.declare(test)?;
        resolver.statements(&thread.body)?;
        let Resolver { registers: mut own, private, initial, steps, .. } = resolver;
        own.extend(private);
        registers.push(own);
        threads.push(Thread { registers: initial, code: steps });
    }
    let variables = names.variables(test, &registers)?;
    let only: Vec<&Variable> = variables.iter().map(|(variable, _)| variable).collect();
    let condition = condition::resolve(&test.condition, &only, &|constant| names.constant(constant))?;
    let filter = condition::resolve(&test.filter, &only, &|constant| names.constant(constant))?;
    let Names { locations, has_addresses, .. } = names;
    Ok(Program {
        dialect,
        threads,
        locations,
        variables,
        condition,
        filter,
        has_addresses: has_addresses.get(),
    })
}

/// A test is one of the kernel's if it has operations that only the kernel has, and none that only C11 has.
fn dialect(test: &Test) -> Dialect {
    let mut called = BTreeSet::new();
    for thread in &test.threads {
        thread.body.iter().for_each(|statement| statement_calls(statement, &mut called));
    }
    let kinds = || test.threads.iter().flat_map(|thread| &thread.parameters).map(|(kind, _)| *kind);
    let is_c11 = |name: &&str| calls::c11(name).is_some() && calls::kernel(name).is_none();
    let is_kernel = |name: &&str| calls::c11(name).is_none() && calls::kernel(name).is_some();
    if called.iter().any(is_c11) || kinds().any(|kind| kind == Kind::Atomic) {
        return Dialect::C11;
    }
    let has_kernel_types = kinds().any(|kind| matches!(kind, Kind::KernelAtomic | Kind::Lock));
    match called.iter().any(is_kernel) || has_kernel_types {
        true => Dialect::Kernel,
        false => Dialect::C11,
    }
}

fn statement_calls<'a>(statement: &'a Statement, called: &mut BTreeSet<&'a str>) {
    match statement {
        Statement::Declare(_, None) => {}
        Statement::Declare(_, Some(value)) | Statement::Assign(_, value) | Statement::Call(value) => {
            expression_calls(value, called);
        }
        Statement::Store(pointer, value) => {
            expression_calls(pointer, called);
            expression_calls(value, called);
        }
        Statement::If { condition, then, otherwise } => {
            expression_calls(condition, called);
            then.iter().chain(otherwise).for_each(|statement| statement_calls(statement, called));
        }
    }
}

fn expression_calls<'a>(expression: &'a Expression, called: &mut BTreeSet<&'a str>) {
    match &expression.it {
        Syntax::Number(_) | Syntax::Name(_) | Syntax::Address(_) => {}
        Syntax::Target(term) | Syntax::Unary(_, term) => expression_calls(term, called),
        Syntax::Binary(_, terms) => terms.iter().for_each(|term| expression_calls(term, called)),
        Syntax::Call(name, arguments) => {
            called.insert(name);
            arguments.iter().for_each(|argument| expression_calls(argument, called));
        }
    }
}

/// One thread, while its names become numbers.
struct Resolver<'a, 'n> {
    thread: usize,
    parameters: BTreeMap<&'a str, Kind>,
    registers: BTreeMap<&'a str, usize>,
    /// The thread's own locations, as registers
    private: BTreeMap<&'a str, usize>,
    initial: Vec<Value>,
    steps: Vec<Step>,
    names: &'n mut Names<'a>,
}

impl<'a> Resolver<'a, '_> {
    fn error(&self, offset: usize, what: impl Into<String>) -> Error {
        self.names.error(offset, what.into())
    }

    fn register(&mut self, value: Value) -> usize {
        self.initial.push(value);
        self.initial.len() - 1
    }

    /// Gives every local variable and every private location a register.
    fn declare(&mut self, test: &'a Test) -> Result<(), Error> {
        let thread = &test.threads[self.thread];
        let initial = |wanted: Option<usize>, name: &str| {
            let mut all = test.initial.iter().rev();
            all.find(|initial| initial.name.it.thread == wanted && initial.name.it.name == name)
        };
        for (_, name) in &thread.parameters {
            if self.names.private.get(name.it.as_str()) != Some(&self.thread) {
                continue;
            }
            let value = initial(None, &name.it).map(|initial| self.names.constant(&initial.value));
            let register = self.register(value.transpose()?.unwrap_or(0));
            if self.private.insert(&name.it, register).is_some() {
                return Err(self.error(name.offset, format!("`{}` is declared twice", name.it)));
            }
        }
        let mut declared = Vec::new();
        declarations(&thread.body, &mut declared);
        let mut declared: Vec<_> = declared.into_iter().map(|name| (name.it.as_str(), name.offset)).collect();
        let of_thread = |initial: &&'a Initial| initial.name.it.thread == Some(self.thread);
        let given = test.initial.iter().filter(of_thread).map(|initial| &initial.name);
        declared.extend(given.map(|name| (name.it.name.as_str(), name.offset)));
        for (text, offset) in declared {
            if self.parameters.contains_key(text) {
                return Err(self.error(offset, format!("`{text}` is a location already")));
            }
            if !self.registers.contains_key(text) {
                let value =
                    initial(Some(self.thread), text).map(|initial| self.names.constant(&initial.value));
                let register = self.register(value.transpose()?.unwrap_or(0));
                self.registers.insert(text, register);
            }
        }
        Ok(())
    }

    fn named(&self, name: &str, offset: usize) -> Result<usize, Error> {
        let register = self.registers.get(name).copied();
        register.ok_or_else(|| self.error(offset, format!("`{name}` is not a variable of this thread")))
    }

    fn statements(&mut self, statements: &'a [Statement]) -> Result<(), Error> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &'a Statement) -> Result<(), Error> {
        match statement {
            Statement::Declare(_, None) => Ok(()),
            Statement::Declare(name, Some(value)) | Statement::Assign(name, value) => {
                let register = self.named(&name.it, name.offset)?;
                let value = self.value(value, Some(register))?;
                if value != Term::Register(register) {
                    self.steps.push(Step::Set { register, value });
                }
                Ok(())
            }
            Statement::Store(pointer, value) => {
                let value = self.value(value, None)?;
                match self.private(pointer) {
                    Some(register) => self.steps.push(Step::Set { register, value }),
                    None => self.plain(pointer, Action::Store(value), None)?,
                }
                Ok(())
            }
            Statement::Call(call) => self.value_or_none(call, None).map(|_| ()),
            Statement::If { condition, then, otherwise } => {
                let condition = self.value(condition, None)?;
                let then = self.branch(then)?;
                let otherwise = self.branch(otherwise)?;
                self.steps.push(Step::If { condition, then, otherwise });
                Ok(())
            }
        }
    }

    fn branch(&mut self, statements: &'a [Statement]) -> Result<Vec<Step>, Error> {
        let before = std::mem::take(&mut self.steps);
        self.statements(statements)?;
        Ok(std::mem::replace(&mut self.steps, before))
    }

    /// The register of a private location, if a pointer is to one.
    fn private(&self, pointer: &Expression) -> Option<usize> {
        match &pointer.it {
            Syntax::Name(name) => self.private.get(name.as_str()).copied(),
            _ => None,
        }
    }

    /// The value of an expression. One that is the result of an access may go `into` a register directly.
    fn value(&mut self, expression: &'a Expression, into: Option<usize>) -> Result<Term, Error> {
        let value = self.value_or_none(expression, into)?;
        value.ok_or_else(|| self.error(expression.offset, "this operation has no value"))
    }

    fn value_or_none(
        &mut self,
        expression: &'a Expression,
        into: Option<usize>,
    ) -> Result<Option<Term>, Error> {
        let offset = expression.offset;
        Ok(Some(match &expression.it {
            Syntax::Number(value) => Term::Constant(*value),
            Syntax::Name(name) => match (self.registers.get(name.as_str()), self.location(name)) {
                (Some(register), _) => Term::Register(*register),
                (None, Some(location)) => {
                    self.names.has_addresses.set(true);
                    Term::Constant(address(location))
                }
                (None, None) if name == "true" => Term::Constant(1),
                (None, None) if matches!(name.as_str(), "false" | "NULL") => Term::Constant(0),
                (None, None) => {
                    return Err(self.error(offset, format!("`{name}` is not a variable of this thread")));
                }
            },
            Syntax::Address(name) => match self.names.numbers.get(name.as_str()) {
                Some(&location) => {
                    self.names.has_addresses.set(true);
                    Term::Constant(address(location))
                }
                None => return Err(self.error(offset, format!("unknown location `{name}`"))),
            },
            Syntax::Target(pointer) => match self.private(pointer) {
                Some(register) => Term::Register(register),
                None => {
                    let into = into.unwrap_or_else(|| self.register(0));
                    self.plain(pointer, Action::Load, Some(into))?;
                    Term::Register(into)
                }
            },
            Syntax::Unary(operator, term) => Term::Unary(*operator, Box::new(self.value(term, None)?)),
            Syntax::Binary(operator, terms) => {
                let [a, b] = &**terms;
                Term::Binary(*operator, Box::new([self.value(a, None)?, self.value(b, None)?]))
            }
            Syntax::Call(name, arguments) => {
                return match self.names.dialect {
                    Dialect::C11 => self.c11_call(name, arguments, offset, into),
                    Dialect::Kernel => self.kernel_call(name, arguments, offset, into),
                };
            }
        }))
    }

    /// A parameter that is a shared location.
    fn location(&self, name: &str) -> Option<usize> {
        self.parameters.get(name).and_then(|_| self.names.numbers.get(name)).copied()
    }

    /// The address that an access goes to.
    fn pointer(&mut self, pointer: &'a Expression) -> Result<Term, Error> {
        match &pointer.it {
            Syntax::Name(name) | Syntax::Address(name) if !self.registers.contains_key(name.as_str()) => {
                let location = match pointer.it {
                    Syntax::Address(_) => self.names.numbers.get(name.as_str()).copied(),
                    _ => self.location(name),
                };
                let unknown =
                    || self.error(pointer.offset, format!("`{name}` is not a variable of this thread"));
                location.map(|location| Term::Constant(address(location))).ok_or_else(unknown)
            }
            _ => {
                self.names.has_addresses.set(true);
                self.value(pointer, None)
            }
        }
    }

    fn plain(&mut self, pointer: &'a Expression, action: Action, into: Option<usize>) -> Result<(), Error> {
        let location = self.pointer(pointer)?;
        if let Some(number) = constant_location(&location) {
            let known = &mut self.names.locations[number];
            known.plain.get_or_insert(pointer.offset);
        } else {
            // It may be any.
            self.names.locations.iter_mut().for_each(|known| {
                known.plain.get_or_insert(pointer.offset);
            });
        }
        self.steps.push(Step::Access(Access {
            location,
            action,
            order: Order::Plain,
            into,
            offset: pointer.offset,
        }));
        Ok(())
    }

    /// An access that is not plain. What it reads goes into a register, if it reads.
    fn access(
        &mut self,
        pointer: &'a Expression,
        action: Action,
        order: Order,
        into: Option<usize>,
        offset: usize,
    ) -> Result<Option<Term>, Error> {
        let location = self.pointer(pointer)?;
        match constant_location(&location) {
            Some(number) => {
                self.names.locations[number].is_atomic = true;
            }
            // It may be any.
            None => self.names.locations.iter_mut().for_each(|known| known.is_atomic |= !known.is_lock),
        }
        let reads = !matches!(action, Action::Store(_) | Action::Lock | Action::Unlock);
        let into = reads.then(|| into.unwrap_or_else(|| self.register(0)));
        self.steps.push(Step::Access(Access { location, action, order, into, offset }));
        Ok(into.map(Term::Register))
    }
}

/// The location of an access, if it does not depend on what the thread has read.
pub(super) fn constant_location(term: &Term) -> Option<usize> {
    match term {
        Term::Constant(address) => location_at(*address),
        _ => None,
    }
}

fn declarations<'a>(statements: &'a [Statement], names: &mut Vec<&'a At<String>>) {
    for statement in statements {
        match statement {
            // As for herd, an assignment declares too.
            Statement::Declare(name, _) | Statement::Assign(name, _) => names.push(name),
            Statement::If { then, otherwise, .. } => {
                declarations(then, names);
                declarations(otherwise, names);
            }
            _ => (),
        }
    }
}
