//! Small programs that the engine runs as code, and the brute force as data.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use super::brute::Step;
use crate::code;
use crate::graphs::{Modify, Op, Until, Value};

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Do {
    /// An access, a fence, a choice. What it reads goes to the thread's register.
    Op(Op),
    /// Stores the register
    StoreRegister { location: u32, order: Ordering },
    /// Goes on with the first if the register has this value
    If(Value, Vec<Do>, Vec<Do>),
    /// Starts the thread with this number, which is greater than the own one
    Spawn(usize),
    /// Waits for the end of a thread that this one has started
    Join(usize),
}

/// A program: thread 0 comes first, and the numbers of the threads are in the order of their
/// [paths](crate::graphs::Thread::path).
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// What each location begins with
    pub locations: Vec<Value>,
    /// So many of them, from the first, are locks and tokens
    pub ordered: u32,
    pub threads: Vec<Vec<Do>>,
}

/// What a thread does next, and the thread that it starts if it is a [`Op::Spawn`].
#[derive(Clone, Copy, Debug)]
pub enum Next {
    Op(Op, usize),
    /// Nothing: it has ended, or has not begun
    None,
}

/// Runs statements. `perform` is asked for each operation, and ends the run with `None`.
fn run(body: &[Do], register: &mut Value, perform: &mut dyn FnMut(Op, usize) -> Option<Value>) -> Option<()> {
    for statement in body {
        match *statement {
            Do::Op(op) => {
                let value = perform(op, 0)?;
                if op.reads() || matches!(op, Op::Choose { .. }) {
                    *register = value;
                }
            }
            Do::StoreRegister { location, order } => {
                perform(Op::Store { location, order, value: *register }, 0)?;
            }
            Do::If(value, ref then, ref otherwise) => {
                run(if *register == value { then } else { otherwise }, register, perform)?;
            }
            Do::Spawn(thread) => {
                perform(Op::Spawn, thread)?;
            }
            Do::Join(thread) => {
                perform(Op::Join { thread: thread as u8 }, 0)?;
            }
        }
    }
    Some(())
}

impl Program {
    /// What the thread does after these steps.
    pub fn next(&self, thread: usize, steps: &[Step]) -> Next {
        let (mut steps, mut next) = (steps.iter(), Next::None);
        run(&self.threads[thread], &mut 0, &mut |op, started| match steps.next() {
            Some(step) => Some(step.read),
            None => {
                next = Next::Op(op, started);
                None
            }
        });
        next
    }

    /// No graph has more events, starts and ends of threads included.
    pub fn most_events(&self) -> usize {
        fn count(body: &[Do]) -> usize {
            let most = |statement: &Do| match statement {
                Do::If(_, then, otherwise) => count(then).max(count(otherwise)),
                _ => 1,
            };
            body.iter().map(most).sum()
        }
        self.threads.iter().map(|body| count(body) + 2).sum()
    }

    /// Whether it waits for another location than a lock or a token.
    pub fn waits_for_words(&self) -> bool {
        fn any(body: &[Do], first: u32) -> bool {
            body.iter().any(|statement| match statement {
                Do::Op(op) => op.until().is_some() && op.location().is_some_and(|number| number >= first),
                Do::If(_, then, otherwise) => any(then, first) || any(otherwise, first),
                _ => false,
            })
        }
        self.threads.iter().any(|body| any(body, self.ordered))
    }

    /// Whether each store to a lock comes after its thread has taken it.
    pub fn gives_back_what_it_took(&self) -> bool {
        fn check(body: &[Do], mut held: Vec<u32>, ordered: u32) -> bool {
            body.iter().enumerate().all(|(index, statement)| match statement {
                Do::Op(op @ Op::Rmw { location, .. }) if op.until().is_some() => {
                    held.push(*location);
                    true
                }
                Do::Op(Op::Store { location, .. }) if *location < ordered => {
                    let taken = held.iter().position(|held| held == location);
                    taken.map(|index| held.remove(index)).is_some()
                }
                Do::If(_, then, otherwise) => {
                    let mut then_held = held.clone();
                    if let Some(Do::Op(Op::Rmw { location, .. })) = index.checked_sub(1).map(|at| &body[at]) {
                        then_held.push(*location);
                    }
                    check(then, then_held, ordered) && check(otherwise, held.clone(), ordered)
                }
                _ => true,
            })
        }
        self.threads.iter().all(|body| check(body, Vec::new(), self.ordered))
    }

    /// The thread with this [path](crate::graphs::Thread::path).
    pub fn number(&self, path: &[u16]) -> usize {
        path.iter().fold(0, |parent, &nth| {
            let started = self.threads[parent].iter().filter_map(|statement| match statement {
                Do::Spawn(thread) => Some(*thread),
                _ => None,
            });
            started.clone().nth(nth as usize).expect("no other threads are started")
        })
    }

    /// The program as code for the engine.
    pub fn code(self) -> impl Fn() + Send + Sync + 'static {
        let program = Arc::new(self);
        move || {
            let locations =
                (0..).zip(&program.locations).map(|(number, &initial)| match number < program.ordered {
                    true => code::Location::of_kind("ordered", code::Kind::Lock),
                    false => code::Location::new("location", initial),
                });
            Program::thread(program.clone(), 0, locations.collect());
        }
    }

    fn thread(program: Arc<Program>, thread: usize, locations: Rc<[code::Location]>) {
        let mut started: Vec<Option<code::Thread>> = program.threads.iter().map(|_| None).collect();
        let at = |location: u32| locations[location as usize];
        run(&program.threads[thread], &mut 0, &mut |op, number| {
            Some(match op {
                Op::Load { location, order, until: None } => at(location).load(order),
                Op::Load { location, order, until: Some(until) } => at(location).wait(until, order),
                Op::Store { location, order, value } => {
                    at(location).store(value, order);
                    0
                }
                Op::Rmw { location, order, failure, modify, until: None } => {
                    at(location).modify(modify, order, failure)
                }
                Op::Rmw { location, order, modify, until: Some(until), .. } => {
                    at(location).wait_modify(until, modify, order)
                }
                Op::Fence { order } => {
                    code::fence(order);
                    0
                }
                Op::Choose { outcomes } => code::choose(outcomes).into(),
                Op::Spawn => {
                    let (program, locations) = (program.clone(), locations.clone());
                    let body = move || Program::thread(program, number, locations);
                    started[number] = Some(code::spawn("thread", body));
                    0
                }
                Op::Join { thread } => {
                    started[thread as usize].take().expect("it was started here, once").join();
                    0
                }
                Op::CellRead { .. } | Op::CellWrite { .. } | Op::End => unreachable!("no statement does it"),
            })
        });
    }

    /// The program with one statement less, or one branch instead of an `if`: in all ways.
    pub fn smaller(&self) -> Vec<Program> {
        self.changed(&|statement| match statement {
            Do::Spawn(_) | Do::Join(_) => Vec::new(),
            Do::If(_, then, otherwise) => vec![Vec::new(), then.clone(), otherwise.clone()],
            _ => vec![Vec::new()],
        })
    }

    /// The program with one order stronger, or with one more fence: in all ways.
    pub fn stronger(&self) -> Vec<Program> {
        self.changed(&|statement| {
            let with = |op: Op| vec![Do::Op(op)];
            let mut all: Vec<Vec<Do>> = match *statement {
                Do::Op(Op::Load { location, order, until }) => {
                    stronger(order, Acquire).map(|order| with(Op::Load { location, order, until })).collect()
                }
                Do::Op(Op::Store { location, order, value }) => {
                    stronger(order, Release).map(|order| with(Op::Store { location, order, value })).collect()
                }
                Do::Op(Op::Rmw { location, order, failure, modify, until }) => {
                    let success = stronger(order, AcqRel).map(|order| (order, failure));
                    let failure = stronger(failure, Acquire).map(|failure| (order, failure));
                    let both = success.chain(failure.filter(|_| until.is_none()));
                    both.map(|(order, failure)| with(Op::Rmw { location, order, failure, modify, until }))
                        .collect()
                }
                Do::Op(Op::Fence { order }) => {
                    stronger(order, AcqRel).map(|order| with(Op::Fence { order })).collect()
                }
                Do::StoreRegister { location, order } => stronger(order, Release)
                    .map(|order| vec![Do::StoreRegister { location, order }])
                    .collect(),
                _ => Vec::new(),
            };
            for order in [Acquire, Release, AcqRel, SeqCst] {
                all.push(vec![Do::Op(Op::Fence { order }), statement.clone()]);
            }
            all
        })
    }

    /// The program with one statement replaced by others, in all ways that `change` names.
    fn changed(&self, change: &dyn Fn(&Do) -> Vec<Vec<Do>>) -> Vec<Program> {
        fn bodies(body: &[Do], change: &dyn Fn(&Do) -> Vec<Vec<Do>>) -> Vec<Vec<Do>> {
            let mut all = Vec::new();
            for (index, statement) in body.iter().enumerate() {
                let mut instead = change(statement);
                if let Do::If(value, then, otherwise) = statement {
                    let then_changed = bodies(then, change).into_iter();
                    instead.extend(then_changed.map(|then| vec![Do::If(*value, then, otherwise.clone())]));
                    let otherwise_changed = bodies(otherwise, change).into_iter();
                    instead.extend(otherwise_changed.map(|other| vec![Do::If(*value, then.clone(), other)]));
                }
                let around = (&body[..index], &body[index + 1..]);
                all.extend(instead.into_iter().map(|instead| [around.0, &instead, around.1].concat()));
            }
            all
        }
        let mut all = Vec::new();
        for thread in 0..self.threads.len() {
            for body in bodies(&self.threads[thread], change) {
                let mut changed = self.clone();
                changed.threads[thread] = body;
                all.push(changed);
            }
        }
        all
    }

    /// The program with each order replaced by `seq_cst`.
    pub fn seq_cst(mut self) -> Program {
        fn body(statements: &mut [Do]) {
            for statement in statements {
                match statement {
                    Do::Op(op) => *op = with_order(*op, SeqCst),
                    Do::StoreRegister { order, .. } => *order = SeqCst,
                    Do::If(_, then, otherwise) => {
                        body(then);
                        body(otherwise);
                    }
                    Do::Spawn(_) | Do::Join(_) => {}
                }
            }
        }
        self.threads.iter_mut().for_each(|thread| body(thread));
        self
    }
}

/// The orders that are stronger by one step, of those of an operation that has `pair` and `seq_cst`.
fn stronger(order: Ordering, pair: Ordering) -> impl Iterator<Item = Ordering> {
    let stronger: &[Ordering] = match order {
        Relaxed if pair == AcqRel => &[Acquire, Release],
        Relaxed if pair == Acquire => &[Acquire],
        Relaxed => &[Release],
        Acquire | Release if pair == AcqRel => &[AcqRel],
        SeqCst => &[],
        _ => &[SeqCst],
    };
    stronger.iter().copied()
}

/// The operation with this order wherever it has one.
pub fn with_order(op: Op, order: Ordering) -> Op {
    match op {
        Op::Load { location, until, .. } => Op::Load { location, order, until },
        Op::Store { location, value, .. } => Op::Store { location, order, value },
        Op::Rmw { location, modify, until, .. } => Op::Rmw { location, order, failure: order, modify, until },
        Op::Fence { .. } => Op::Fence { order },
        op => op,
    }
}

/// One line a thread.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  locations begin with {:?}", self.locations)?;
        for (thread, body) in self.threads.iter().enumerate() {
            writeln!(f, "  thread {thread}: {}", Body(body))?;
        }
        Ok(())
    }
}

struct Body<'a>(&'a [Do]);

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, statement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            match statement {
                Do::Op(op) => write_op(f, op)?,
                Do::StoreRegister { location, order } => write!(f, "x{location}.store(r, {order:?})")?,
                Do::If(value, then, otherwise) => {
                    write!(f, "if r == {value} {{ {} }} else {{ {} }}", Body(then), Body(otherwise))?;
                }
                Do::Spawn(thread) => write!(f, "spawn {thread}")?,
                Do::Join(thread) => write!(f, "join {thread}")?,
            }
        }
        Ok(())
    }
}

fn write_op(f: &mut fmt::Formatter<'_>, op: &Op) -> fmt::Result {
    let modification = |modify: Modify| match modify {
        Modify::CompareExchange { expected, new } => format!("{expected} to {new}"),
        modify => format!("{modify:?}"),
    };
    let condition = |until: Until| match until {
        Until::Is(value) => format!("== {value}"),
        Until::Differs(value) => format!("!= {value}"),
    };
    match *op {
        Op::Load { location, order, until: None } => write!(f, "r = x{location}.load({order:?})"),
        Op::Load { location, order, until: Some(until) } => {
            write!(f, "r = x{location}.wait({}, {order:?})", condition(until))
        }
        Op::Store { location, order, value } => write!(f, "x{location}.store({value}, {order:?})"),
        Op::Rmw { location, order, failure, modify, until: None } => {
            write!(f, "r = x{location}.modify({}, {order:?}, {failure:?})", modification(modify))
        }
        Op::Rmw { location, order, modify, until: Some(until), .. } => {
            write!(
                f,
                "r = x{location}.wait_modify({}, {}, {order:?})",
                condition(until),
                modification(modify)
            )
        }
        Op::Fence { order } => write!(f, "fence({order:?})"),
        Op::Choose { outcomes } => write!(f, "r = choose({outcomes})"),
        ref other => write!(f, "{other}"),
    }
}
