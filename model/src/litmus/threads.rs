//! A test's threads as code for the exact engine: names become numbers once, and each execution follows the statements.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::parse::{At, Name, Operand, Order as Given, Read, Statement, Test};
use super::{Access, Condition, Error, Place, Variable, mention, register_variable, resolve};
use crate::code::{self, Cell, Failure, Location, Performed};
use crate::explore::Failed;
use crate::graphs::{EventId, Modify, Op};
use crate::memory::Value;

/// A test that can be run.
pub(super) struct Runnable {
    /// What they are called, and what they do
    threads: Vec<(&'static str, Vec<Do>)>,
    /// How many registers each thread has, private locations among them, and what these begin with
    registers: Vec<Vec<Value>>,
    locations: Vec<SharedLocation>,
    /// The variables of a final state, and where their values are
    pub variables: Vec<(Variable, Where)>,
    pub condition: Condition,
}

/// A location that is atomic, or that several threads access.
struct SharedLocation {
    label: &'static str,
    initial: Value,
    is_atomic: bool,
}

/// Where the final value of a variable is.
pub(super) enum Where {
    Location(usize),
    Register(usize, usize),
    /// Nobody writes it
    Constant(Value),
}

#[derive(Clone, Copy)]
enum Term {
    Constant(Value),
    Register(usize),
}

enum Do {
    Set(usize, Term),
    Load {
        location: usize,
        order: Ordering,
        into: Option<usize>,
    },
    Store {
        location: usize,
        order: Ordering,
        value: Term,
    },
    Exchange {
        location: usize,
        order: Ordering,
        value: Term,
        into: Option<usize>,
    },
    Add {
        location: usize,
        order: Ordering,
        value: Term,
        negative: bool,
        into: Option<usize>,
    },
    CompareExchange {
        location: usize,
        expected: usize,
        new: Term,
        orders: (Ordering, Ordering),
        into: Option<usize>,
    },
    Fence(Ordering),
    /// With its place in the text
    PlainLoad {
        location: usize,
        into: Option<usize>,
        offset: usize,
    },
    PlainStore {
        location: usize,
        value: Term,
        offset: usize,
    },
    If {
        register: usize,
        equal: bool,
        value: Value,
        then: Vec<Do>,
        otherwise: Vec<Do>,
    },
}

/// One thread, while its names become numbers.
struct Naming<'a> {
    text: &'a str,
    numbers: &'a BTreeMap<&'a str, usize>,
    locations: &'a [SharedLocation],
    registers: BTreeMap<&'a str, usize>,
    initial: Vec<Value>,
}

impl Runnable {
    pub fn new(test: &Test, text: &str) -> Result<Self, Error> {
        let meaning = |offset, what: String| Error::Meaning { place: Place::of(text, offset), what };
        let initial: BTreeMap<&str, Value> =
            test.initial.iter().map(|(name, value)| (name.it.as_str(), *value)).collect();
        let value = |name: &str| initial.get(name).copied().unwrap_or(0);

        // A plain location that one thread has for itself is one of its registers.
        let parameters: Vec<(usize, bool, &str)> = test
            .threads
            .iter()
            .enumerate()
            .flat_map(|(t, thread)| {
                thread.parameters.iter().map(move |(atomic, name)| (t, *atomic, name.it.as_str()))
            })
            .collect();
        let is_shared = |name: &str| {
            let users: BTreeSet<usize> =
                parameters.iter().filter(|(_, _, n)| *n == name).map(|(t, ..)| *t).collect();
            users.len() > 1 || parameters.iter().any(|&(_, atomic, n)| atomic && n == name)
        };
        let mut numbers = BTreeMap::new();
        let mut locations = Vec::new();
        for &(_, _, name) in &parameters {
            if is_shared(name) && !numbers.contains_key(name) {
                let is_atomic = parameters.iter().any(|&(_, atomic, n)| atomic && n == name);
                numbers.insert(name, locations.len());
                locations.push(SharedLocation { label: label(name), initial: value(name), is_atomic });
            }
        }

        let mut threads = Vec::new();
        let mut registers: Vec<BTreeMap<&str, usize>> = Vec::new();
        let mut values = Vec::new();
        for (index, thread) in test.threads.iter().enumerate() {
            if thread.number.it != index {
                let what = format!("thread P{} where P{index} should stand", thread.number.it);
                return Err(meaning(thread.number.offset, what));
            }
            let mut naming = Naming {
                text,
                numbers: &numbers,
                locations: &locations,
                registers: BTreeMap::new(),
                initial: Vec::new(),
            };
            for (_, name) in
                thread.parameters.iter().filter(|(_, name)| !numbers.contains_key(name.it.as_str()))
            {
                naming.register(name, value(&name.it))?;
            }
            let mut declared = Vec::new();
            super::lower::declarations(&thread.body, &mut declared);
            for name in declared {
                if thread.parameters.iter().any(|(_, parameter)| parameter.it == name.it) {
                    return Err(meaning(name.offset, format!("`{}` is a location already", name.it)));
                }
                naming.register(name, 0)?;
            }
            threads.push((label(&format!("P{index}")), naming.statements(&thread.body)?));
            registers.push(naming.registers);
            values.push(naming.initial);
        }

        let mut names = BTreeMap::new();
        let mut mentioned: Vec<&At<Name>> = test.locations.iter().collect();
        mention(&test.condition, &mut mentioned);
        for At { it: name, offset } in mentioned {
            let unknown = || meaning(*offset, format!("unknown location `{}`", name.name));
            let text = name.name.as_str();
            let private = || registers.iter().enumerate().find_map(|(t, own)| Some((t, *own.get(text)?)));
            let (variable, place) = match name.thread {
                Some(thread) => {
                    let register = registers.get(thread).and_then(|own| own.get(text));
                    let register = register.ok_or_else(|| {
                        meaning(*offset, format!("thread P{thread} has no register `{text}`"))
                    })?;
                    (register_variable(thread, text), Where::Register(thread, *register))
                }
                None if numbers.contains_key(text) => {
                    (Variable::Shared(text.to_owned()), Where::Location(numbers[text]))
                }
                None if parameters.iter().any(|&(_, _, parameter)| parameter == text) => {
                    let (thread, register) = private().ok_or_else(unknown)?;
                    (Variable::Private(text.to_owned()), Where::Register(thread, register))
                }
                None if initial.contains_key(text) => {
                    (Variable::Shared(text.to_owned()), Where::Constant(value(text)))
                }
                None => return Err(unknown()),
            };
            names.insert(variable, place);
        }
        let variables: Vec<(Variable, Where)> = names.into_iter().collect();
        let variables_only: Vec<&Variable> = variables.iter().map(|(variable, _)| variable).collect();
        let condition = resolve(&test.condition, &variables_only);
        Ok(Runnable { threads, registers: values, locations, variables, condition })
    }

    /// One execution: the values of the variables at its end go to `end`.
    pub fn run(self: &std::sync::Arc<Self>, end: impl FnOnce(Vec<Value>)) {
        let shared: std::rc::Rc<[(Shared, std::cell::Cell<Value>)]> = self
            .locations
            .iter()
            .map(|&SharedLocation { label, initial, is_atomic }| {
                let shared = match is_atomic {
                    true => Shared::Atomic(Location::new(label, word(initial))),
                    false => Shared::Plain(Cell::new(label)),
                };
                (shared, std::cell::Cell::new(initial))
            })
            .collect();
        let registers: std::rc::Rc<[std::cell::RefCell<Vec<Value>>]> =
            self.registers.iter().map(|own| std::cell::RefCell::new(own.clone())).collect();
        let threads: Vec<code::Thread> = (0..self.threads.len())
            .map(|thread| {
                let (test, shared, registers) = (self.clone(), shared.clone(), registers.clone());
                code::spawn(self.threads[thread].0, move || {
                    let mut own = registers[thread].take();
                    follow(&test.threads[thread].1, &shared, &mut own);
                    *registers[thread].borrow_mut() = own;
                })
            })
            .collect();
        threads.into_iter().for_each(code::Thread::join);
        let value = |place: &Where| match *place {
            Where::Constant(value) => value,
            Where::Register(thread, register) => registers[thread].borrow()[register],
            Where::Location(location) => match shared[location].0 {
                Shared::Atomic(location) => value_of(location.load(Ordering::Relaxed)),
                Shared::Plain(_) => shared[location].1.get(),
            },
        };
        end(self.variables.iter().map(|(_, place)| value(place)).collect());
    }
}

/// What is wrong with an execution of the test, by places in its text.
pub(super) fn error(text: &str, failed: &Failed) -> Error {
    let Failure::Race { cell, first, second } = &failed.failure else {
        return Error::Execution(failed.to_string());
    };
    let access = |(event, performed): &(EventId, Performed)| {
        let note = failed.notes.iter().find(|(at, _)| at == event);
        let offset = note.expect("a plain access says where it stands").1 as usize;
        let writes = matches!(performed.op, Op::CellWrite { .. });
        // The engine's first thread is the one that starts the test's.
        Access { thread: event.thread() - 1, writes, place: Place::of(text, offset) }
    };
    let mut accesses = [access(first), access(second)];
    // Which of them came first in this execution says nothing.
    accesses.sort_by_key(|access| access.place);
    let [first, second] = accesses;
    Error::Race { location: failed.names[*cell as usize].label.to_owned(), first, second }
}

/// A name for the engine, where names live as long as the program. Tests have few different ones; each is kept once.
fn label(name: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().expect("nobody panics with it");
    match known.get(name) {
        Some(label) => label,
        None => {
            let label: &'static str = String::leak(name.to_owned());
            known.insert(label);
            label
        }
    }
}

/// A value as the engine has it: in the upper half, so that its sums modulo 2⁶⁴ are sums modulo 2³².
fn word(value: Value) -> u64 {
    u64::from(value as u32) << 32
}

fn value_of(word: u64) -> Value {
    (word >> 32) as Value
}

enum Shared {
    Atomic(Location),
    Plain(Cell),
}

fn follow(code: &[Do], shared: &[(Shared, std::cell::Cell<Value>)], own: &mut Vec<Value>) {
    let atomic = |location: usize| match shared[location].0 {
        Shared::Atomic(location) => location,
        Shared::Plain(_) => unreachable!("names were resolved"),
    };
    let plain = |location: usize| match shared[location].0 {
        Shared::Plain(cell) => (cell, &shared[location].1),
        Shared::Atomic(_) => unreachable!("names were resolved"),
    };
    for statement in code {
        let term = |term: Term| match term {
            Term::Constant(value) => value,
            Term::Register(register) => own[register],
        };
        let (value, into) = match *statement {
            Do::Set(register, value) => (term(value), Some(register)),
            Do::Load { location, order, into } => (value_of(atomic(location).load(order)), into),
            Do::Store { location, order, value } => {
                atomic(location).store(word(term(value)), order);
                continue;
            }
            Do::Exchange { location, order, value, into } => {
                let modify = Modify::Swap(word(term(value)));
                (value_of(atomic(location).modify(modify, order, Ordering::Relaxed)), into)
            }
            Do::Add { location, order, value, negative, into } => {
                let value = if negative { term(value).wrapping_neg() } else { term(value) };
                (value_of(atomic(location).modify(Modify::Add(word(value)), order, Ordering::Relaxed)), into)
            }
            Do::CompareExchange { location, expected, new, orders, into } => {
                let modify = Modify::CompareExchange { expected: word(own[expected]), new: word(term(new)) };
                let read = value_of(atomic(location).modify(modify, orders.0, orders.1));
                let exchanged = read == own[expected];
                own[expected] = read;
                (Value::from(exchanged), into)
            }
            Do::Fence(order) => {
                code::fence(order);
                continue;
            }
            Do::PlainLoad { location, into, offset } => {
                let (cell, value) = plain(location);
                code::note(offset as u64);
                cell.read();
                (value.get(), into)
            }
            Do::PlainStore { location, value, offset } => {
                let (cell, place) = plain(location);
                code::note(offset as u64);
                cell.write();
                place.set(term(value));
                continue;
            }
            Do::If { register, equal, value, ref then, ref otherwise } => {
                let branch = if (own[register] == value) == equal { then } else { otherwise };
                follow(branch, shared, own);
                continue;
            }
        };
        if let Some(into) = into {
            own[into] = value;
        }
    }
}

impl<'a> Naming<'a> {
    fn error(&self, offset: usize, what: String) -> Error {
        Error::Meaning { place: Place::of(self.text, offset), what }
    }

    fn register(&mut self, name: &'a At<String>, value: Value) -> Result<(), Error> {
        let number = self.initial.len();
        self.initial.push(value);
        match self.registers.insert(&name.it, number) {
            None => Ok(()),
            Some(_) => Err(self.error(name.offset, format!("`{}` is declared twice", name.it))),
        }
    }

    fn named(&self, name: &At<String>) -> Result<usize, Error> {
        let register = self.registers.get(name.it.as_str()).copied();
        register
            .ok_or_else(|| self.error(name.offset, format!("`{}` is not a variable of this thread", name.it)))
    }

    fn atomic(&self, name: &At<String>) -> Result<usize, Error> {
        let location = self.numbers.get(name.it.as_str()).copied();
        location
            .filter(|&location| self.locations[location].is_atomic)
            .ok_or_else(|| self.error(name.offset, format!("`{}` is not an atomic location", name.it)))
    }

    /// The shared location of a plain access, if it is not one of the thread's own.
    fn plain(&self, name: &At<String>) -> Result<Option<usize>, Error> {
        match self.numbers.get(name.it.as_str()) {
            Some(&location) if self.locations[location].is_atomic => {
                let what = format!("a plain access of the atomic location `{}`", name.it);
                Err(self.error(name.offset, what))
            }
            location => Ok(location.copied()),
        }
    }

    fn term(&self, operand: &Operand) -> Result<Term, Error> {
        match operand {
            Operand::Constant(value) => Ok(Term::Constant(*value)),
            Operand::Register(name) => Ok(Term::Register(self.named(name)?)),
        }
    }

    fn read_order(&self, given: Given, offset: usize) -> Result<Ordering, Error> {
        match given {
            Given::Release | Given::AcqRel => {
                Err(self.error(offset, "a read cannot be a release".to_owned()))
            }
            given => Ok(ordering(given)),
        }
    }

    fn statements(&self, statements: &[Statement]) -> Result<Vec<Do>, Error> {
        let mut code = Vec::new();
        for statement in statements {
            match statement {
                Statement::Declare(_, None) => {}
                Statement::Declare(name, Some(read)) | Statement::Assign(name, read) => {
                    code.push(self.read(read, Some(self.named(name)?))?);
                }
                Statement::Discard(read) => code.push(self.read(read, None)?),
                Statement::Store { location, value, order, offset } => {
                    if matches!(order, Given::Acquire | Given::AcqRel) {
                        return Err(self.error(*offset, "a store cannot be an acquire".to_owned()));
                    }
                    let (location, value) = (self.atomic(location)?, self.term(value)?);
                    code.push(Do::Store { location, order: ordering(*order), value });
                }
                Statement::PlainStore(name, value) => {
                    let value = self.term(value)?;
                    code.push(match self.plain(name)? {
                        Some(location) => Do::PlainStore { location, value, offset: name.offset },
                        None => Do::Set(self.named(name)?, value),
                    });
                }
                Statement::Fence { order: Given::Relaxed, .. } => {}
                Statement::Fence { order, .. } => code.push(Do::Fence(ordering(*order))),
                Statement::If { register, equal, value, then, otherwise } => code.push(Do::If {
                    register: self.named(register)?,
                    equal: *equal,
                    value: *value,
                    then: self.statements(then)?,
                    otherwise: self.statements(otherwise)?,
                }),
            }
        }
        Ok(code)
    }

    fn read(&self, At { it: read, offset }: &At<Read>, into: Option<usize>) -> Result<Do, Error> {
        Ok(match read {
            Read::Operand(operand) => match into {
                Some(into) => Do::Set(into, self.term(operand)?),
                None => return Err(self.error(*offset, "a value that nobody takes".to_owned())),
            },
            Read::Plain(name) => match (self.plain(name)?, into) {
                (Some(location), into) => Do::PlainLoad { location, into, offset: name.offset },
                (None, Some(into)) => Do::Set(into, Term::Register(self.named(name)?)),
                (None, None) => return Err(self.error(*offset, "a value that nobody takes".to_owned())),
            },
            Read::Load { location, order } => {
                Do::Load { location: self.atomic(location)?, order: self.read_order(*order, *offset)?, into }
            }
            Read::Exchange { location, value, order } => Do::Exchange {
                location: self.atomic(location)?,
                order: ordering(*order),
                value: self.term(value)?,
                into,
            },
            Read::FetchAdd { location, value, negative, order } => Do::Add {
                location: self.atomic(location)?,
                order: ordering(*order),
                value: self.term(value)?,
                negative: *negative,
                into,
            },
            Read::CompareExchange { location, expected, new, success, failure } => Do::CompareExchange {
                location: self.atomic(location)?,
                expected: self.named(expected)?,
                new: self.term(new)?,
                orders: (ordering(*success), self.read_order(*failure, *offset)?),
                into,
            },
        })
    }
}

fn ordering(given: Given) -> Ordering {
    match given {
        Given::Relaxed => Ordering::Relaxed,
        Given::Acquire => Ordering::Acquire,
        Given::Release => Ordering::Release,
        Given::AcqRel => Ordering::AcqRel,
        Given::SeqCst => Ordering::SeqCst,
    }
}
