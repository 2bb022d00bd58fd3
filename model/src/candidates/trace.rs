//! What one thread may do by itself, if each of its reads may read any value that some write to the location has.

use std::collections::BTreeSet;

use super::relation::{EVENTS, Set, members};
use crate::litmus::program::{Access, Action, Fence, Order, Step, Term, Thread, location_at};
use crate::memory::Value;

/// One way through a thread's code.
#[derive(Clone, Debug)]
pub struct Trace {
    pub events: Vec<Event>,
    /// The final values of its registers
    pub registers: Vec<Value>,
}

/// What happens at one point of a thread. A read-modify-write that writes is two events, one after the other.
#[derive(Clone, Debug)]
pub struct Event {
    pub what: What,
    /// The thread's reads, by the numbers of their events, that its location depends on
    pub address: Set,
    /// Those that the value it writes depends on
    pub data: Set,
    /// Those that decided that it happens
    pub control: Set,
    /// Where it stands in the text
    pub offset: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Access { location: usize, value: Value, role: Role, order: Order, part: Part },
    Fence(Fence),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Read,
    Write,
}

/// What an access is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Single,
    /// Also the read of one that fails
    ReadModifyWrite,
    /// The read and the write that take a lock
    Lock,
    /// The write that gives it back
    Unlock,
}

/// Why there is no trace.
pub enum Dead {
    /// It needs one of these values, and none was chosen yet
    Needs(BTreeSet<Value>),
    /// It waits for a lock that is held in what it reads
    Waits,
    /// It accesses what is no location
    Lost { address: Value, offset: usize },
    /// It has more events than a set has room for
    Long,
}

/// The values that a thread's reads may read, location by location.
pub struct Values {
    /// Those that other threads write
    pub foreign: Vec<BTreeSet<Value>>,
    /// Those that are there at first. The thread's own last write takes their place
    pub own: Vec<Value>,
    /// Whether a condition may turn out either way, whatever the values
    pub is_free: bool,
}

/// The ways through a thread's code in which each read reads a value that its location may have.
pub fn traces(thread: &Thread, values: &Values) -> Result<Vec<Trace>, Dead> {
    let (mut found, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(chosen) = open.pop() {
        match run(thread, values, &chosen) {
            Ok(trace) => found.push(trace),
            Err(Dead::Waits) => {}
            Err(Dead::Lost { .. }) if values.is_free => {}
            Err(Dead::Needs(values)) => {
                open.extend(values.iter().rev().map(|value| [&chosen[..], &[*value]].concat()));
            }
            Err(dead) => return Err(dead),
        }
    }
    Ok(found)
}

/// Runs a thread whose reads read these values in turn.
fn run(thread: &Thread, values: &Values, chosen: &[Value]) -> Result<Trace, Dead> {
    let mut run = Run {
        foreign: &values.foreign,
        own: values.own.clone(),
        is_free: values.is_free,
        chosen: chosen.iter(),
        events: Vec::new(),
        registers: thread.registers.iter().map(|value| (*value, 0)).collect(),
        control: 0,
    };
    run.steps(&thread.code)?;
    let registers = run.registers.into_iter().map(|(value, _)| value).collect();
    Ok(Trace { events: run.events, registers })
}

struct Run<'a> {
    foreign: &'a [BTreeSet<Value>],
    /// What each location has, as far as the thread alone is concerned
    own: Vec<Value>,
    is_free: bool,
    chosen: std::slice::Iter<'a, Value>,
    events: Vec<Event>,
    /// Their values, and the reads that these depend on
    registers: Vec<(Value, Set)>,
    /// The reads that the branches around the present step depend on
    control: Set,
}

impl Run<'_> {
    fn steps(&mut self, steps: &[Step]) -> Result<(), Dead> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<(), Dead> {
        match step {
            Step::Set { register, value } => self.registers[*register] = self.value(value),
            Step::Access(access) => self.access(access)?,
            Step::Fence(fence) => self.event(What::Fence(*fence), 0, 0, 0)?,
            // A branch decides on what is in it, and on nothing after it: both ways lead there.
            Step::If { condition, then, otherwise } => {
                let (value, reads) = self.value(condition);
                let outside = self.control;
                self.control |= reads;
                let holds = self.decide(value != 0)?;
                self.steps(if holds { then } else { otherwise })?;
                self.control = outside;
            }
        }
        Ok(())
    }

    /// How a condition turns out that is this value.
    fn decide(&mut self, is: bool) -> Result<bool, Dead> {
        if self.is_free { self.choose() } else { Ok(is) }
    }

    fn choose(&mut self) -> Result<bool, Dead> {
        let chosen = self.chosen.next().ok_or_else(|| Dead::Needs(BTreeSet::from([0, 1])))?;
        Ok(*chosen != 0)
    }

    fn value(&self, term: &Term) -> (Value, Set) {
        let mut reads = 0;
        term.registers(&mut |register| reads |= self.registers[register].1);
        (term.value(&|register| self.registers[register].0), reads)
    }

    fn event(&mut self, what: What, address: Set, data: Set, offset: usize) -> Result<(), Dead> {
        if self.events.len() == EVENTS {
            return Err(Dead::Long);
        }
        self.events.push(Event { what, address, data, control: self.control, offset });
        Ok(())
    }

    fn access(&mut self, access: &Access) -> Result<(), Dead> {
        let offset = access.offset;
        let (address, reads) = self.value(&access.location);
        let location = location_at(address)
            .filter(|location| *location < self.own.len())
            .ok_or(Dead::Lost { address, offset })?;
        let order = access.order;
        let event = |run: &mut Self, role, value, order, part, data| {
            if role == Role::Write {
                run.own[location] = value;
            }
            run.event(What::Access { location, value, role, order, part }, reads, data, offset)
        };
        match &access.action {
            Action::Store(value) => {
                let (value, data) = self.value(value);
                return event(self, Role::Write, value, order, Part::Single, data);
            }
            Action::Unlock => return event(self, Role::Write, 0, order, Part::Unlock, 0),
            _ => {}
        }
        let read = self.chosen.next().copied().ok_or_else(|| {
            let mut values = self.foreign[location].clone();
            values.insert(self.own[location]);
            Dead::Needs(values)
        })?;
        let this = 1 << self.events.len().min(EVENTS - 1);
        // What it writes, and the reads that this depends on. An exchange does not depend on its own.
        let written = match &access.action {
            Action::Load => None,
            Action::Exchange(value) => Some(self.value(value)),
            Action::Modify(operator, by) => {
                let (by, reads) = self.value(by);
                Some((operator.apply(read, by), reads | this))
            }
            Action::CompareExchange { expected, new, weak, .. } => {
                let ((expected, _), new) = (self.value(expected), self.value(new));
                let mut exchanges = self.decide(read == expected)?;
                if let Some(exchanged) = *weak {
                    exchanges = exchanges && self.choose()?;
                    self.registers[exchanged] = (exchanges.into(), this);
                }
                exchanges.then_some(new)
            }
            Action::AddUnless { by, unless } => {
                let ((by, reads), (unless, _)) = (self.value(by), self.value(unless));
                self.decide(read != unless)?.then_some((read.wrapping_add(by), reads | this))
            }
            Action::Lock if read != 0 => return Err(Dead::Waits),
            Action::Lock => Some((1, 0)),
            Action::Store(_) | Action::Unlock => unreachable!("they read nothing"),
        };
        // One that fails is next to the barriers around it all the same.
        let part = match &access.action {
            Action::Load => Part::Single,
            Action::Lock => Part::Lock,
            _ => Part::ReadModifyWrite,
        };
        // One that fails has an order of its own; in the kernel it orders nothing.
        let read_order = match (&access.action, written) {
            (Action::CompareExchange { failure, .. }, None) => *failure,
            (Action::AddUnless { .. }, None) => Order::Relaxed,
            _ => order,
        };
        event(self, Role::Read, read, read_order, part, 0)?;
        if let Some((value, data)) = written {
            event(self, Role::Write, value, order, part, data)?;
        }
        if let Some(into) = access.into {
            self.registers[into] = (read, this);
        }
        Ok(())
    }
}

impl Trace {
    /// The values that it reads, or those that it writes, by location.
    pub fn values(&self, wanted: Role) -> impl Iterator<Item = (usize, Value)> {
        self.events.iter().filter_map(move |event| match event.what {
            What::Access { location, value, role, .. } if role == wanted => Some((location, value)),
            _ => None,
        })
    }
}

impl Event {
    /// Its dependencies with the numbers of all threads' events, where this thread's begin at `first`.
    pub fn dependencies(&self, first: usize) -> [impl Iterator<Item = usize>; 3] {
        [self.address, self.data, self.control].map(|reads| members(reads).map(move |read| first + read))
    }
}
