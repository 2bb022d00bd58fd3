//! From a C11 litmus test to a program for the machines.

use super::program::{
    self, Action, Binary, Dialect, Fence, Order as Given, Program as Test, Step, Term, Where,
};
use super::resolve::constant_location;
use super::{Error, Place};
use crate::memory::{Barrier, Memory, Order, Value};
use crate::program::{Builder, Code, Expr, Object, Program, Register, Term as _};
use crate::search::End;

/// A test that can be searched.
pub(super) struct Lowered {
    pub program: Program,
    /// Where the final values of the test's variables are
    pub sources: Vec<Source>,
}

/// Where the final value of a variable is.
pub(super) enum Source {
    Object(Object),
    Register(usize, Register),
}

impl Source {
    pub fn value(&self, end: &End<'_>) -> Value {
        match self {
            Source::Object(object) => end.value(*object),
            Source::Register(thread, register) => end.register(*thread, *register),
        }
    }
}

pub(super) fn lower(test: &Test, text: &str, memory: Memory) -> Result<Lowered, Error> {
    if test.dialect == Dialect::Kernel {
        return Err(Error::OtherModel("the machines have no operations of the kernel"));
    }
    let meaning = |offset, what: String| Error::Meaning { place: Place::of(text, offset), what };
    let mut builder = Builder::new();
    let mut objects = Vec::new();
    for location in &test.locations {
        if let Some(offset) = location.plain {
            let name = &location.name;
            let what =
                format!("the plain location `{name}` is shared: the machine has atomic locations only");
            return Err(meaning(offset, what));
        }
        objects.push(builder.object(&location.name, location.initial));
    }
    let mut registers = Vec::new();
    for (index, thread) in test.threads.iter().enumerate() {
        let mut code = Code::new(format!("P{index}"));
        let own: Vec<Register> = thread.registers.iter().map(|_| code.observed_register()).collect();
        for (register, value) in own.iter().zip(&thread.registers).filter(|(_, value)| **value != 0) {
            code.set(*register, *value);
        }
        let lowering = Lowering { text, memory, objects: &objects, registers: &own };
        lowering.steps(&mut code, &thread.code)?;
        builder.thread(code);
        registers.push(own);
    }
    let source = |place: &Where| match *place {
        Where::Location(location) => Source::Object(objects[location]),
        Where::Register(thread, register) => Source::Register(thread, registers[thread][register]),
    };
    let sources = test.variables.iter().map(|(_, place)| source(place)).collect();
    Ok(Lowered { program: builder.build()?, sources })
}

struct Lowering<'a> {
    text: &'a str,
    memory: Memory,
    objects: &'a [Object],
    registers: &'a [Register],
}

impl Lowering<'_> {
    fn error(&self, offset: usize, what: String) -> Error {
        Error::Meaning { place: Place::of(self.text, offset), what }
    }

    fn term(&self, term: &Term, offset: usize) -> Result<Expr, Error> {
        Ok(match term {
            Term::Constant(value) => (*value).into(),
            Term::Register(register) => self.registers[*register].into(),
            Term::Unary(..) => return Err(self.unknown(offset)),
            Term::Binary(operator, terms) => {
                let (a, b) = (self.term(&terms[0], offset)?, self.term(&terms[1], offset)?);
                match operator {
                    Binary::Add => a.plus(b),
                    Binary::Subtract => a.minus(b),
                    Binary::Equal => a.is(b),
                    Binary::Differs => a.differs(b),
                    Binary::And => a.and(b),
                    Binary::Or => a.or(b),
                    _ => return Err(self.unknown(offset)),
                }
            }
        })
    }

    fn unknown(&self, offset: usize) -> Error {
        self.error(offset, "an operator that the machine does not have".to_owned())
    }

    fn site(&self, offset: usize) -> String {
        format!("line {}", Place::of(self.text, offset).line)
    }

    /// The order of a read-modify-write. `seq_cst` is `acq_rel` where every read-modify-write is a full barrier.
    fn order(&self, given: Given, offset: usize) -> Result<Order, Error> {
        match given {
            Given::Acquire => Ok(Order::Acquire),
            Given::Release => Ok(Order::Release),
            Given::AcqRel => Ok(Order::AcqRel),
            Given::SeqCst if self.memory == Memory::Rc11 => {
                Err(Error::SeqCstAccess { place: Place::of(self.text, offset), memory: self.memory })
            }
            Given::SeqCst => Ok(Order::AcqRel),
            Given::Relaxed | Given::Plain | Given::Full | Given::NoReturn => Ok(Order::Relaxed),
        }
    }

    fn read_order(&self, given: Given, offset: usize) -> Result<Order, Error> {
        self.order(given, offset).map(|order| if given == Given::SeqCst { Order::Acquire } else { order })
    }

    fn steps(&self, code: &mut Code, steps: &[Step]) -> Result<(), Error> {
        steps.iter().try_for_each(|step| self.step(code, step))
    }

    fn step(&self, code: &mut Code, step: &Step) -> Result<(), Error> {
        match step {
            Step::Set { register, value } => code.set(self.registers[*register], self.term(value, 0)?),
            Step::Access(access) => self.access(code, access)?,
            Step::Fence(fence) => code.fence(
                "fence",
                match fence {
                    Fence::C11(Given::Acquire) => Barrier::Acquire,
                    Fence::C11(Given::Release) => Barrier::Release,
                    Fence::C11(Given::AcqRel) => Barrier::AcqRel,
                    _ => Barrier::SeqCst,
                },
            ),
            Step::If { condition, then, otherwise } => {
                let condition = self.term(condition, 0)?;
                let (mut first, mut second) = (Ok(()), Ok(()));
                code.when_else(
                    condition,
                    |code| first = self.steps(code, then),
                    |code| second = self.steps(code, otherwise),
                );
                first?;
                second?;
            }
        }
        Ok(())
    }

    fn access(&self, code: &mut Code, access: &program::Access) -> Result<(), Error> {
        let offset = access.offset;
        let site = self.site(offset);
        let location = constant_location(&access.location)
            .ok_or_else(|| self.error(offset, "the machine has no pointers".to_owned()))?;
        let object = self.objects[location];
        let read = |code: &mut Code, read: Register| {
            access.into.into_iter().for_each(|into| code.set(self.registers[into], read));
        };
        match &access.action {
            Action::Load => {
                let order = self.read_order(access.order, offset)?;
                code.scope(|code| {
                    let value = code.load(site, object, order);
                    read(code, value);
                });
            }
            Action::Store(value) => {
                let order = self.order(access.order, offset)?;
                let order = if access.order == Given::SeqCst { Order::Release } else { order };
                code.store(site, object, self.term(value, offset)?, order);
                if access.order == Given::SeqCst {
                    code.fence(self.site(offset), Barrier::SeqCst);
                }
            }
            Action::Exchange(value) => {
                let (order, value) = (self.order(access.order, offset)?, self.term(value, offset)?);
                code.scope(|code| {
                    let value = code.swap(site, object, value, order);
                    read(code, value);
                });
            }
            Action::Modify(operator @ (Binary::Add | Binary::Subtract), by) => {
                let (order, by) = (self.order(access.order, offset)?, self.term(by, offset)?);
                let by = if *operator == Binary::Subtract { Expr::from(0).minus(by) } else { by };
                code.scope(|code| {
                    let value = code.add(site, object, by, order);
                    read(code, value);
                });
            }
            Action::CompareExchange { expected, new, failure, weak: None } => {
                let orders = (self.order(access.order, offset)?, self.read_order(*failure, offset)?);
                let (expected, new) = (self.term(expected, offset)?, self.term(new, offset)?);
                code.scope(|code| {
                    let value = code.compare_exchange(site, object, (expected, new), orders);
                    read(code, value);
                });
            }
            _ => return Err(self.error(offset, "an operation that the machine does not have".to_owned())),
        }
        Ok(())
    }
}
