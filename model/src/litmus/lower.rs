//! From a parsed litmus test to a program.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{At, Name, Operand, Order as Given, Read, Statement, Test, Thread};
use super::{Condition, Error, Place, Variable, mention, register_variable, resolve};
use crate::memory::{Barrier, Memory, Order, Value};
use crate::program::{Builder, Code, Expr, Object, Program, Register, Term};
use crate::search::End;

/// A test that can be searched.
pub(super) struct Lowered {
    pub program: Program,
    /// The variables of a final state, and where their values are
    pub variables: Vec<(Variable, Source)>,
    pub condition: Condition,
}

/// Where the final value of a variable is.
pub(super) enum Source {
    Object(Object),
    Register(usize, Register),
    /// Nobody writes it
    Constant(Value),
}

impl Source {
    pub fn value(&self, end: &End<'_>) -> Value {
        match self {
            Source::Object(object) => end.value(*object),
            Source::Register(thread, register) => end.register(*thread, *register),
            Source::Constant(value) => *value,
        }
    }
}

pub(super) fn lower(test: &Test, text: &str, memory: Memory) -> Result<Lowered, Error> {
    let meaning = |offset, what: String| Error::Meaning { place: Place::of(text, offset), what };
    let initial: BTreeMap<&str, Value> =
        test.initial.iter().map(|(name, value)| (name.it.as_str(), *value)).collect();
    let value = |name: &str| initial.get(name).copied().unwrap_or(0);

    // Every parameter is atomic in all threads, or plain and in one thread only.
    let mut builder = Builder::new();
    let mut objects = BTreeMap::new();
    let mut owners: BTreeMap<&str, usize> = BTreeMap::new();
    let parameters =
        test.threads.iter().enumerate().flat_map(|(t, thread)| thread.parameters.iter().map(move |p| (t, p)));
    let atomics: BTreeSet<&str> = parameters
        .clone()
        .filter(|(_, (atomic, _))| *atomic)
        .map(|(_, (_, name))| name.it.as_str())
        .collect();
    for name in &atomics {
        objects.insert(*name, builder.object(name, value(name)));
    }
    for (thread, (atomic, name)) in parameters {
        let shared = !atomic && owners.insert(&name.it, thread).is_some_and(|owner| owner != thread);
        if shared || !atomic && atomics.contains(name.it.as_str()) {
            let what =
                format!("the plain location `{}` is shared: the machine has atomic locations only", name.it);
            return Err(meaning(name.offset, what));
        }
    }

    let mut registers = BTreeMap::new();
    for (index, thread) in test.threads.iter().enumerate() {
        if thread.number.it != index {
            return Err(meaning(
                thread.number.offset,
                format!("thread P{} where P{index} should stand", thread.number.it),
            ));
        }
        let mut code = Code::new(format!("P{index}"));
        let mut lowering =
            Lowering { text, memory, thread: index, objects: &objects, registers: &mut registers };
        lowering.declare(&mut code, thread, value)?;
        lowering.statements(&mut code, &thread.body)?;
        builder.thread(code);
    }

    let mut names = BTreeMap::new();
    let mut mentioned: Vec<&At<Name>> = test.locations.iter().collect();
    mention(&test.condition, &mut mentioned);
    for At { it: name, offset } in mentioned {
        let (variable, source) = match name.thread {
            Some(thread) => {
                let register = registers.get(&(thread, name.name.clone()));
                let register = register.ok_or_else(|| {
                    meaning(*offset, format!("thread P{thread} has no register `{}`", name.name))
                })?;
                (register_variable(thread, &name.name), Source::Register(thread, *register))
            }
            None => match (objects.get(name.name.as_str()), owners.get(name.name.as_str())) {
                (Some(object), _) => (Variable::Shared(name.name.clone()), Source::Object(*object)),
                (None, Some(thread)) => match registers.get(&(*thread, name.name.clone())) {
                    Some(register) => {
                        (Variable::Private(name.name.clone()), Source::Register(*thread, *register))
                    }
                    None => {
                        return Err(meaning(*offset, format!("unknown location `{}`", name.name)));
                    }
                },
                (None, None) if initial.contains_key(name.name.as_str()) => {
                    (Variable::Shared(name.name.clone()), Source::Constant(value(&name.name)))
                }
                (None, None) => {
                    return Err(meaning(*offset, format!("unknown location `{}`", name.name)));
                }
            },
        };
        names.insert(variable, source);
    }
    let variables: Vec<(Variable, Source)> = names.into_iter().collect();
    let names: Vec<&Variable> = variables.iter().map(|(variable, _)| variable).collect();
    let condition = resolve(&test.condition, &names);
    Ok(Lowered { program: builder.build()?, variables, condition })
}

struct Lowering<'a> {
    text: &'a str,
    memory: Memory,
    thread: usize,
    objects: &'a BTreeMap<&'a str, Object>,
    registers: &'a mut BTreeMap<(usize, String), Register>,
}

impl Lowering<'_> {
    fn error(&self, offset: usize, what: String) -> Error {
        Error::Meaning { place: Place::of(self.text, offset), what }
    }

    /// Gives every local variable and every private location a register.
    fn declare(
        &mut self,
        code: &mut Code,
        thread: &Thread,
        value: impl Fn(&str) -> Value,
    ) -> Result<(), Error> {
        let mut declared = Vec::new();
        declarations(&thread.body, &mut declared);
        for name in declared {
            if self.objects.contains_key(name.it.as_str())
                && thread.parameters.iter().any(|(_, p)| p.it == name.it)
            {
                return Err(self.error(name.offset, format!("`{}` is a location already", name.it)));
            }
            let register = code.observed_register();
            if self.registers.insert((self.thread, name.it.clone()), register).is_some() {
                return Err(self.error(name.offset, format!("`{}` is declared twice", name.it)));
            }
        }
        let private: Vec<_> =
            thread.parameters.iter().filter(|(atomic, _)| !atomic).map(|(_, name)| name).collect();
        for name in &private {
            let register = code.observed_register();
            if self.registers.insert((self.thread, name.it.clone()), register).is_some() {
                return Err(self.error(name.offset, format!("`{}` is declared twice", name.it)));
            }
        }
        for name in private {
            code.set(self.register(name)?, value(&name.it));
        }
        Ok(())
    }

    fn register(&self, name: &At<String>) -> Result<Register, Error> {
        let register = self.registers.get(&(self.thread, name.it.clone())).copied();
        register
            .ok_or_else(|| self.error(name.offset, format!("`{}` is not a variable of this thread", name.it)))
    }

    fn location(&self, name: &At<String>) -> Result<Object, Error> {
        let object = self.objects.get(name.it.as_str()).copied();
        object.ok_or_else(|| self.error(name.offset, format!("`{}` is not an atomic location", name.it)))
    }

    fn operand(&self, operand: &Operand) -> Result<Expr, Error> {
        match operand {
            Operand::Constant(value) => Ok((*value).into()),
            Operand::Register(name) => Ok(self.register(name)?.into()),
        }
    }

    fn site(&self, offset: usize) -> String {
        format!("line {}", Place::of(self.text, offset).line)
    }

    /// The order of a read-modify-write. `seq_cst` is `acq_rel` where every read-modify-write is a full barrier.
    fn order(&self, given: Given, offset: usize) -> Result<Order, Error> {
        match given {
            Given::Relaxed => Ok(Order::Relaxed),
            Given::Acquire => Ok(Order::Acquire),
            Given::Release => Ok(Order::Release),
            Given::AcqRel => Ok(Order::AcqRel),
            Given::SeqCst if self.memory == Memory::Rc11 => {
                Err(Error::SeqCstAccess { place: Place::of(self.text, offset), memory: self.memory })
            }
            Given::SeqCst => Ok(Order::AcqRel),
        }
    }

    /// The order of a load, or of the read of a compare-exchange that fails.
    fn read_order(&self, given: Given, offset: usize) -> Result<Order, Error> {
        match (given, self.order(given, offset)?) {
            (Given::Release | Given::AcqRel, _) => {
                Err(self.error(offset, "a read cannot be a release".to_owned()))
            }
            (Given::SeqCst, _) => Ok(Order::Acquire),
            (_, order) => Ok(order),
        }
    }

    fn statements(&self, code: &mut Code, statements: &[Statement]) -> Result<(), Error> {
        statements.iter().try_for_each(|statement| self.statement(code, statement))
    }

    fn statement(&self, code: &mut Code, statement: &Statement) -> Result<(), Error> {
        match statement {
            Statement::Declare(_, None) => (),
            Statement::Declare(name, Some(read)) | Statement::Assign(name, read) => {
                let register = self.register(name)?;
                self.read(code, read, Some(register))?;
            }
            Statement::Discard(read) => self.read(code, read, None)?,
            Statement::Store { location, value, order, offset } => {
                let (object, value) = (self.location(location)?, self.operand(value)?);
                let store_order = match (order, self.order(*order, *offset)?) {
                    (Given::Acquire | Given::AcqRel, _) => {
                        return Err(self.error(*offset, "a store cannot be an acquire".to_owned()));
                    }
                    (Given::SeqCst, _) => Order::Release,
                    (_, order) => order,
                };
                code.store(self.site(*offset), object, value, store_order);
                if *order == Given::SeqCst {
                    code.fence(self.site(*offset), Barrier::SeqCst);
                }
            }
            Statement::PlainStore(name, value) => code.set(self.register(name)?, self.operand(value)?),
            Statement::Fence { order, offset } => {
                let barrier = match order {
                    Given::Relaxed => return Ok(()),
                    Given::Acquire => Barrier::Acquire,
                    Given::Release => Barrier::Release,
                    Given::AcqRel => Barrier::AcqRel,
                    Given::SeqCst => Barrier::SeqCst,
                };
                code.fence(self.site(*offset), barrier);
            }
            Statement::If { register, equal, value, then, otherwise } => {
                let register = self.register(register)?;
                let condition = if *equal { register.is(*value) } else { register.differs(*value) };
                let (mut first, mut second) = (Ok(()), Ok(()));
                code.when_else(
                    condition,
                    |code| first = self.statements(code, then),
                    |code| second = self.statements(code, otherwise),
                );
                first?;
                second?;
            }
        }
        Ok(())
    }

    fn read(
        &self,
        code: &mut Code,
        At { it: read, offset }: &At<Read>,
        into: Option<Register>,
    ) -> Result<(), Error> {
        let site = self.site(*offset);
        let give = |code: &mut Code, value: Expr| {
            into.into_iter().for_each(|register| code.set(register, value.clone()))
        };
        match read {
            Read::Operand(operand) => give(code, self.operand(operand)?),
            Read::Plain(name) => give(code, self.register(name)?.into()),
            Read::Load { location, order } => {
                let (object, order) = (self.location(location)?, self.read_order(*order, *offset)?);
                code.scope(|code| {
                    let read = code.load(site, object, order);
                    give(code, read.into());
                });
            }
            Read::Exchange { location, value, order } => {
                let (object, order) = (self.location(location)?, self.order(*order, *offset)?);
                let value = self.operand(value)?;
                code.scope(|code| {
                    let read = code.swap(site, object, value, order);
                    give(code, read.into());
                });
            }
            Read::FetchAdd { location, value, negative, order } => {
                let (object, order) = (self.location(location)?, self.order(*order, *offset)?);
                let value = self.operand(value)?;
                let value = if *negative { Expr::from(0).minus(value) } else { value };
                code.scope(|code| {
                    let read = code.add(site, object, value, order);
                    give(code, read.into());
                });
            }
            Read::CompareExchange { location, expected, new, success, failure } => {
                let object = self.location(location)?;
                let orders = (self.order(*success, *offset)?, self.read_order(*failure, *offset)?);
                let (expected, new) = (self.register(expected)?, self.operand(new)?);
                code.scope(|code| {
                    let read = code.compare_exchange(site, object, (expected, new), orders);
                    give(code, read.is(expected));
                    code.set(expected, read);
                });
            }
        }
        Ok(())
    }
}

pub(super) fn declarations<'a>(statements: &'a [Statement], names: &mut Vec<&'a At<String>>) {
    for statement in statements {
        match statement {
            Statement::Declare(name, _) => names.push(name),
            Statement::If { then, otherwise, .. } => {
                declarations(then, names);
                declarations(otherwise, names);
            }
            _ => (),
        }
    }
}
