//! The locations of a test, and the variables of its final states.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::calls::{self, C11};
use super::super::condition::mention;
use super::super::program::{Dialect, LOCATIONS, Location, Where, address};
use super::super::syntax::{At, Constant, Expression, Kind, Name, Statement, Term, Test};
use super::super::{Error, Place, Variable, register_variable};
use crate::memory::Value;

/// The locations that threads share, by their names.
pub(super) struct Names<'a> {
    pub text: &'a str,
    pub dialect: Dialect,
    pub numbers: BTreeMap<&'a str, usize>,
    pub locations: Vec<Location>,
    /// The parameters of all threads that are no shared locations, each with its thread
    pub private: BTreeMap<&'a str, usize>,
    pub has_addresses: Cell<bool>,
}

impl<'a> Names<'a> {
    pub fn new(test: &'a Test, text: &'a str, dialect: Dialect) -> Result<Self, Error> {
        let mut names = Names {
            text,
            dialect,
            numbers: BTreeMap::new(),
            locations: Vec::new(),
            private: BTreeMap::new(),
            has_addresses: false.into(),
        };
        // A plain location of C11 that one thread has for itself is one of its registers.
        let mut users: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        let mut is_plain: BTreeMap<&str, bool> = BTreeMap::new();
        for (index, thread) in test.threads.iter().enumerate() {
            for (kind, name) in &thread.parameters {
                users.entry(&name.it).or_default().insert(index);
                *is_plain.entry(&name.it).or_insert(true) &= *kind == Kind::Plain;
            }
        }
        let mut addressed = BTreeSet::new();
        test.threads.iter().for_each(|thread| pointers(&thread.body, &mut addressed));
        for initial in &test.initial {
            if let Constant::Address(name) = &initial.value {
                addressed.insert(name.it.as_str());
            }
        }
        for (index, thread) in test.threads.iter().enumerate() {
            for (kind, name) in &thread.parameters {
                let text = name.it.as_str();
                let is_private = dialect == Dialect::C11
                    && is_plain[text]
                    && users[text].len() == 1
                    && !addressed.contains(text);
                match is_private {
                    true => {
                        names.private.insert(text, index);
                    }
                    false => names.add(name, *kind)?,
                }
            }
        }
        for initial in &test.initial {
            let At { it: name, offset } = &initial.name;
            if name.thread.is_none() && !names.private.contains_key(name.name.as_str()) {
                names.add_text(&name.name, *offset, initial.kind.unwrap_or(Kind::Plain))?;
            }
            if let Constant::Address(name) = &initial.value {
                names.add(name, Kind::Plain)?;
            }
        }
        for initial in &test.initial {
            let value = names.constant(&initial.value)?;
            if initial.name.it.thread.is_none()
                && let Some(&number) = names.numbers.get(initial.name.it.name.as_str())
            {
                names.locations[number].initial = value;
            }
        }
        Ok(names)
    }

    pub fn error(&self, offset: usize, what: String) -> Error {
        Error::Meaning { place: Place::of(self.text, offset), what }
    }

    fn add(&mut self, name: &'a At<String>, kind: Kind) -> Result<(), Error> {
        self.add_text(&name.it, name.offset, kind)
    }

    fn add_text(&mut self, name: &'a str, offset: usize, kind: Kind) -> Result<(), Error> {
        let next = self.locations.len();
        if next == LOCATIONS {
            return Err(self.error(offset, format!("more than {LOCATIONS} locations")));
        }
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            let name = name.to_owned();
            let location = Location { name, initial: 0, plain: None, is_atomic: false, is_lock: false };
            self.locations.push(location);
        }
        self.locations[number].is_lock |= kind == Kind::Lock;
        Ok(())
    }

    pub fn constant(&self, constant: &Constant) -> Result<Value, Error> {
        match constant {
            Constant::Number(value) => Ok(*value),
            Constant::Address(name) => {
                self.has_addresses.set(true);
                let number = self.numbers.get(name.it.as_str());
                let number = number
                    .ok_or_else(|| self.error(name.offset, format!("unknown location `{}`", name.it)))?;
                Ok(address(*number))
            }
        }
    }

    /// The variables of a final state: what `locations`, the condition and the filter name.
    pub fn variables(
        &self,
        test: &Test,
        registers: &[BTreeMap<&str, usize>],
    ) -> Result<Vec<(Variable, Where)>, Error> {
        let mut mentioned: Vec<&At<Name>> = test.locations.iter().collect();
        mention(&test.condition, &mut mentioned);
        mention(&test.filter, &mut mentioned);
        let mut variables = BTreeMap::new();
        for At { it: Name { thread, name }, offset } in mentioned {
            let text = name.as_str();
            let (variable, place) = match thread {
                Some(thread) => {
                    let register = registers.get(*thread).and_then(|own| own.get(text));
                    let register = register.ok_or_else(|| {
                        self.error(*offset, format!("thread P{thread} has no register `{text}`"))
                    })?;
                    (register_variable(*thread, text), Where::Register(*thread, *register))
                }
                None => match (self.numbers.get(text), self.private.get(text)) {
                    (Some(&number), _) => (Variable::Shared(name.clone()), Where::Location(number)),
                    (None, Some(&thread)) => {
                        (Variable::Private(name.clone()), Where::Register(thread, registers[thread][text]))
                    }
                    (None, None) => return Err(self.error(*offset, format!("unknown location `{text}`"))),
                },
            };
            variables.insert(variable, place);
        }
        Ok(variables.into_iter().collect())
    }
}

/// The names that a thread uses as pointers in other ways than `*p`, or as the place of what a
/// compare-exchange expects.
fn pointers<'a>(statements: &'a [Statement], found: &mut BTreeSet<&'a str>) {
    for statement in statements {
        match statement {
            Statement::Declare(_, None) => {}
            Statement::Declare(_, Some(value)) | Statement::Assign(_, value) | Statement::Call(value) => {
                pointers_in(value, found);
            }
            Statement::Store(pointer, value) => {
                if !matches!(pointer.it, Term::Name(_)) {
                    pointers_in(pointer, found);
                }
                pointers_in(value, found);
            }
            Statement::If { condition, then, otherwise } => {
                pointers_in(condition, found);
                pointers(then, found);
                pointers(otherwise, found);
            }
        }
    }
}

fn pointers_in<'a>(expression: &'a Expression, found: &mut BTreeSet<&'a str>) {
    match &expression.it {
        Term::Number(_) => {}
        Term::Name(name) | Term::Address(name) => {
            found.insert(name);
        }
        Term::Target(pointer) if matches!(pointer.it, Term::Name(_)) => {}
        Term::Target(term) | Term::Unary(_, term) => pointers_in(term, found),
        Term::Binary(_, terms) => terms.iter().for_each(|term| pointers_in(term, found)),
        Term::Call(name, arguments) => {
            let expects = matches!(calls::c11(name), Some((C11::CompareExchange { .. }, _)));
            let is_expected = |(index, argument): &(usize, &Expression)| {
                expects && *index == 1 && matches!(argument.it, Term::Name(_))
            };
            let others = arguments.iter().enumerate().filter(|argument| !is_expected(argument));
            others.for_each(|(_, argument)| pointers_in(argument, found));
        }
    }
}
