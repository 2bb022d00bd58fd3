//! A test's threads as code for the exact engine: each execution follows the steps.
//!
//! Kernel operations are mapped as usual. A full read-modify-write is a relaxed one between two
//! `seq_cst` fences; `smp_mb()` is a `seq_cst` fence, `smp_rmb()` an acquire fence, `smp_wmb()` a
//! release fence. The barriers that go with atomic operations and locks are `seq_cst` fences under
//! RC11, and nothing under SC and x86-TSO, where every read-modify-write is a full barrier. A
//! spinlock is taken by an acquire read-modify-write that waits for 0, and given back by a release
//! store of 0.

use std::cell::{self, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::program::{self, Action, Binary, Dialect, Fence, Order, Program, Step, Term, Where, location_at};
use super::{Access, Error, Place, Race};
use crate::code::{self, Cell, Failure, Location, Lock, Performed};
use crate::explore::Failed;
use crate::graphs::{EventId, Modify, Op};
use crate::memory::{Memory, Value};

/// A test that can be run under one memory model.
pub(super) struct Runnable {
    program: Arc<Program>,
    memory: Memory,
    /// What the engine calls the threads and locations
    threads: Vec<&'static str>,
    locations: Vec<(&'static str, Role)>,
}

/// What a location is to the engine.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Atomic,
    Plain,
    Lock,
}

enum Shared {
    Atomic(Location),
    /// What is in it the engine does not keep
    Plain(Cell, cell::Cell<Value>),
    Lock(Lock),
}

/// One execution.
struct Execution {
    kernel_on: Option<Memory>,
    shared: Vec<Shared>,
    /// Whether another execution is the same: a weak exchange that was to succeed has failed
    is_redundant: cell::Cell<bool>,
}

impl Runnable {
    pub fn new(program: Arc<Program>, text: &str, memory: Memory) -> Result<Self, Error> {
        let meaning = |offset, what: String| Error::Meaning { place: Place::of(text, offset), what };
        for thread in &program.threads {
            if let Some((offset, name)) = without_counterpart(&thread.code, &program) {
                return Err(meaning(offset, format!("`{name}` has no counterpart under {memory}")));
            }
        }
        let role = |location: &program::Location| match location {
            program::Location { is_lock: true, .. } => Role::Lock,
            program::Location { is_atomic: false, .. } => Role::Plain,
            _ => Role::Atomic,
        };
        for location in &program.locations {
            // x86 does not tell a marked access from a plain one; in C11 no location has both.
            if let (Some(offset), Role::Atomic, Memory::Rc11) = (location.plain, role(location), memory) {
                let what = format!("`{}` has plain and marked accesses, which C11 has not", location.name);
                return Err(meaning(offset, what));
            }
        }
        let locations =
            program.locations.iter().map(|location| (label(&location.name), role(location))).collect();
        let threads = (0..program.threads.len()).map(|thread| label(&format!("P{thread}"))).collect();
        Ok(Runnable { program, memory, threads, locations })
    }

    /// One execution: the values of the variables at its end go to `end`, unless another one is the same.
    pub fn run(self: &Arc<Self>, end: impl FnOnce(Vec<Value>)) {
        let shared = self.locations.iter().zip(&self.program.locations);
        let shared = shared.map(|(&(label, role), location)| match role {
            Role::Atomic => Shared::Atomic(Location::new(label, word(location.initial))),
            Role::Plain => Shared::Plain(Cell::new(label), location.initial.into()),
            Role::Lock => Shared::Lock(Lock::new(label)),
        });
        let execution = Rc::new(Execution {
            kernel_on: (self.program.dialect == Dialect::Kernel).then_some(self.memory),
            shared: shared.collect(),
            is_redundant: false.into(),
        });
        let initial = self.program.threads.iter().map(|thread| RefCell::new(thread.registers.clone()));
        let registers: Rc<[RefCell<Vec<Value>>]> = initial.collect();
        let threads: Vec<code::Thread> = (0..self.threads.len())
            .map(|thread| {
                let (test, execution, registers) = (self.clone(), execution.clone(), registers.clone());
                code::spawn(self.threads[thread], move || {
                    let mut own = registers[thread].take();
                    execution.follow(&test.program.threads[thread].code, &mut own);
                    *registers[thread].borrow_mut() = own;
                })
            })
            .collect();
        threads.into_iter().for_each(code::Thread::join);
        if execution.is_redundant.get() {
            return;
        }
        let value = |place: &Where| match *place {
            Where::Register(thread, register) => registers[thread].borrow()[register],
            Where::Location(location) => match &execution.shared[location] {
                Shared::Atomic(location) => value_of(location.load(Ordering::Relaxed)),
                Shared::Plain(_, value) => value.get(),
                Shared::Lock(_) => 0,
            },
        };
        end(self.program.variables.iter().map(|(_, place)| value(place)).collect());
    }
}

impl Execution {
    fn follow(&self, code: &[Step], own: &mut Vec<Value>) {
        for step in code {
            let value = |term: &Term| term.value(&|register| own[register]);
            match step {
                Step::Set { register, value: term } => own[*register] = value(term),
                Step::Fence(fence) => {
                    if let Some(order) = self.fence(*fence) {
                        code::fence(order);
                    }
                }
                Step::Access(access) => {
                    let read = self.access(access, own);
                    if let (Some(read), Some(into)) = (read, access.into) {
                        own[into] = read;
                    }
                }
                Step::If { condition, then, otherwise } => {
                    self.follow(if value(condition) != 0 { then } else { otherwise }, own);
                }
            }
        }
    }

    fn fence(&self, fence: Fence) -> Option<Ordering> {
        match fence {
            Fence::C11(order) => Some(ordering(order)),
            Fence::Mb => Some(Ordering::SeqCst),
            Fence::Rmb => Some(Ordering::Acquire),
            Fence::Wmb => Some(Ordering::Release),
            Fence::BeforeAtomic | Fence::AfterAtomic | Fence::AfterSpinlock | Fence::AfterUnlockLock => {
                (self.kernel_on == Some(Memory::Rc11)).then_some(Ordering::SeqCst)
            }
        }
    }

    /// Performs an access, and returns what it has read.
    fn access(&self, access: &program::Access, own: &mut [Value]) -> Option<Value> {
        let evaluate = |term: &Term| term.value(&|register| own[register]);
        let at = evaluate(&access.location);
        let shared = location_at(at).and_then(|location| self.shared.get(location));
        let location = match shared.unwrap_or_else(|| panic!("{at} is not the address of a location")) {
            Shared::Atomic(location) => *location,
            Shared::Plain(cell, value) => {
                code::note(access.offset as u64);
                return match &access.action {
                    Action::Load => {
                        cell.read();
                        Some(value.get())
                    }
                    Action::Store(new) => {
                        cell.write();
                        value.set(evaluate(new));
                        None
                    }
                    _ => unreachable!("a plain access reads or writes"),
                };
            }
            Shared::Lock(lock) => {
                return match &access.action {
                    Action::Lock => {
                        lock.acquire();
                        None
                    }
                    Action::Unlock => {
                        lock.release();
                        None
                    }
                    Action::CompareExchange { .. } => Some(Value::from(!lock.try_acquire())),
                    _ => panic!("a lock is only taken and given back"),
                };
            }
        };
        let is_full = access.order == Order::Full && self.kernel_on == Some(Memory::Rc11);
        let order = ordering(access.order);
        let modify = |modify| {
            if is_full {
                code::fence(Ordering::SeqCst);
            }
            let read = location.modify(modify, order, Ordering::Relaxed);
            if is_full {
                code::fence(Ordering::SeqCst);
            }
            Some(value_of(read))
        };
        match &access.action {
            Action::Load => Some(value_of(location.load(order))),
            Action::Store(value) => {
                location.store(word(evaluate(value)), order);
                None
            }
            Action::Exchange(value) => modify(Modify::Swap(word(evaluate(value)))),
            Action::Modify(operator, by) => {
                let by = evaluate(by);
                modify(match operator {
                    Binary::Add => Modify::Add(word(by)),
                    Binary::Subtract => Modify::Add(word(by.wrapping_neg())),
                    Binary::BitAnd => Modify::And(word(by)),
                    Binary::BitOr => Modify::Or(word(by)),
                    Binary::BitXor => Modify::Xor(word(by)),
                    _ => unreachable!("there is no such operation"),
                })
            }
            Action::CompareExchange { expected, new, failure, weak } => {
                let (expected, new) = (evaluate(expected), evaluate(new));
                if is_full {
                    code::fence(Ordering::SeqCst);
                }
                let fails = weak.is_some() && code::choose(2) == 1;
                let exchange = Modify::CompareExchange { expected: word(expected), new: word(new) };
                let read = value_of(match fails {
                    true => location.load(ordering(*failure)),
                    false => location.modify(exchange, order, ordering(*failure)),
                });
                if is_full {
                    code::fence(Ordering::SeqCst);
                }
                if let Some(exchanged) = *weak {
                    // That one fails which finds another value is said by the choice to fail already.
                    self.is_redundant.set(self.is_redundant.get() || !fails && read != expected);
                    own[exchanged] = (!fails && read == expected).into();
                }
                Some(read)
            }
            Action::AddUnless { .. } | Action::Lock | Action::Unlock => {
                unreachable!("`without_counterpart` has found it")
            }
        }
    }
}

/// An operation that the engine does not have: where it stands, and its name.
fn without_counterpart(code: &[Step], program: &Program) -> Option<(usize, &'static str)> {
    code.iter().find_map(|step| match step {
        Step::Access(access) => {
            let location = super::resolve::constant_location(&access.location);
            let is_lock = location.is_some_and(|location| program.locations[location].is_lock);
            match &access.action {
                Action::AddUnless { .. } => Some((access.offset, "atomic_add_unless")),
                Action::Lock | Action::Unlock if !is_lock => {
                    Some((access.offset, "a lock that is not declared as `spinlock_t`"))
                }
                Action::Load if is_lock => Some((access.offset, "spin_is_locked")),
                _ => None,
            }
        }
        Step::If { then, otherwise, .. } => {
            without_counterpart(then, program).or_else(|| without_counterpart(otherwise, program))
        }
        Step::Set { .. } | Step::Fence(_) => None,
    })
}

fn ordering(order: Order) -> Ordering {
    match order {
        Order::Plain | Order::Relaxed | Order::Full | Order::NoReturn => Ordering::Relaxed,
        Order::Acquire => Ordering::Acquire,
        Order::Release => Ordering::Release,
        Order::AcqRel => Ordering::AcqRel,
        Order::SeqCst => Ordering::SeqCst,
    }
}

/// The race that has ended a search, by places in the test's text.
pub(super) fn race(text: &str, failed: &Failed) -> Result<Race, Error> {
    let Failure::Race { cell, first, second } = &failed.failure else {
        return Err(Error::Execution(failed.to_string()));
    };
    let access = |(event, performed): &(EventId, Performed)| {
        let note = failed.notes.iter().find(|(at, _)| at == event);
        let offset = note.expect("a plain access says where it stands").1 as usize;
        let writes = matches!(performed.op, Op::CellWrite { .. });
        // The engine's first thread is the one that starts the test's.
        Access { thread: event.thread() - 1, writes, place: Place::of(text, offset) }
    };
    Ok(Race::new(failed.names[*cell as usize].label.to_owned(), [access(first), access(second)]))
}

/// A name for the engine, where names live as long as the program. Tests have few different ones; each is kept once.
fn label(name: &str) -> &'static str {
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().expect("no thread panics with it");
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
