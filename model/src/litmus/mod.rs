//! Litmus tests in herd's C syntax: reading them, and finding all their executions and final states.
//!
//! ```
//! use reveille_model::litmus::{Observation, Test};
//! use reveille_model::memory::Memory;
//!
//! let test = Test::parse(
//!     "C SB
//!      { x=0; y=0; }
//!      P0(atomic_int *x, atomic_int *y) {
//!        atomic_store_explicit(x, 1, memory_order_relaxed);
//!        int r0 = atomic_load_explicit(y, memory_order_relaxed);
//!      }
//!      P1(atomic_int *x, atomic_int *y) {
//!        atomic_store_explicit(y, 1, memory_order_relaxed);
//!        int r0 = atomic_load_explicit(x, memory_order_relaxed);
//!      }
//!      exists (0:r0=0 /\\ 1:r0=0)",
//! )?;
//! assert_eq!(test.run(Memory::Sc)?.observation, Observation::Never);
//! let tso = test.run(Memory::Tso)?;
//! assert_eq!(tso.observation, Observation::Sometimes);
//! assert_eq!(tso.states().next().as_deref(), Some("0:r0=0,1:r0=0"));
//! assert_eq!(tso.executions, Some(4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The subset: `atomic_{load,store,exchange,fetch_add,fetch_sub,compare_exchange_strong}` with and without
//! `_explicit`, `atomic_thread_fence`, `if`/`else` on a register, local variables, `locations`, and `exists`, `~exists`
//! or `forall`. Plain locations may be shared; a race on one is an error.
//!
//! [`Test::run`] visits every execution on the exact engine; its RC11 is herd's `rc11.cat`. [`Test::run_on_machine`] is
//! there to calibrate the machines on which [protocols](crate::protocol) are searched. Under RC11 they have no `seq_cst`
//! accesses (under SC and x86-TSO these are exact: a store is `mov; mfence`), and no shared plain locations at all.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::code::Limits;
use crate::memory::{Memory, Value};
use crate::{explore, search};

mod lower;
mod parse;
mod threads;

use parse::{At, Condition as Syntax, Name};

/// A place in a litmus file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line
    pub line: usize,
    /// Column, in characters
    pub column: usize,
}

impl Place {
    fn of(text: &str, offset: usize) -> Place {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// An access of a plain location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose
    pub thread: usize,
    /// Whether it writes
    pub writes: bool,
    /// Where
    pub place: Place,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Access { thread, writes, place } = self;
        write!(f, "a {} in line {} (P{thread})", if *writes { "write" } else { "read" }, place.line)
    }
}

/// A litmus test that cannot be read or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in the grammar
    #[error("{place}: expected {expected}, found {found}")]
    Syntax {
        /// Where
        place: Place,
        /// What would have been right
        expected: String,
        /// What is there
        found: String,
    },
    /// In the grammar, but without a meaning
    #[error("{place}: {what}")]
    Meaning {
        /// Where
        place: Place,
        /// What is wrong
        what: String,
    },
    /// Two accesses of a plain location, one of them a write, and neither happens before the other: what such a
    /// test does is undefined
    #[error(
        "{}: a race on `{location}`: {first} and {second}, with nothing between that orders them",
        first.place
    )]
    Race {
        /// The location
        location: String,
        /// The access that comes first in the text
        first: Access,
        /// The other
        second: Access,
    },
    /// The exact engine cannot go on
    #[error("{0}")]
    Execution(String),
    /// The machine has none under this memory model
    #[error("{place}: the machine of {memory} has no seq_cst accesses, only seq_cst fences")]
    SeqCstAccess {
        /// Where
        place: Place,
        /// The memory model
        memory: Memory,
    },
    /// The search failed
    #[error(transparent)]
    Search(#[from] search::Error),
    /// The test's program cannot be built
    #[error(transparent)]
    Build(#[from] crate::program::BuildError),
}

/// A value in the final state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Variable {
    /// A thread's register; the number at the end of its name is kept apart, so that `r10` comes after `r9`
    Register(usize, String, Option<u64>),
    /// A shared location
    Shared(String),
    /// A location that one thread keeps for itself
    Private(String),
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::Register(thread, name, number) => {
                write!(f, "{thread}:{name}")?;
                number.map_or(Ok(()), |number| write!(f, "{number}"))
            }
            Variable::Shared(name) | Variable::Private(name) => f.write_str(name),
        }
    }
}

/// A parsed test.
#[derive(Clone, Debug)]
pub struct Test {
    syntax: parse::Test,
    /// The whole file, for places in it
    text: Arc<str>,
}

/// How often the condition of a test holds in its final states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// In all
    Always,
    /// In some
    Sometimes,
    /// In none
    Never,
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Observation::Always => "Always",
            Observation::Sometimes => "Sometimes",
            Observation::Never => "Never",
        })
    }
}

/// What became of a test under one memory model: its final states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// How often the condition holds
    pub observation: Observation,
    /// In how many final states the condition holds
    pub witnesses: usize,
    /// How many executions there are: choices of what each read reads, and of each location's coherence order. A
    /// machine does not count them
    pub executions: Option<u64>,
    names: Vec<String>,
    values: BTreeSet<Vec<Value>>,
}

impl Outcomes {
    fn new<'a>(
        names: impl Iterator<Item = &'a Variable>,
        values: BTreeSet<Vec<Value>>,
        condition: &Condition,
        executions: Option<u64>,
    ) -> Self {
        let witnesses = values.iter().filter(|state| condition.holds(state)).count();
        let observation = match witnesses {
            0 => Observation::Never,
            all if all == values.len() => Observation::Always,
            _ => Observation::Sometimes,
        };
        let names = names.map(Variable::to_string).collect();
        Outcomes { observation, witnesses, executions, names, values }
    }

    /// The final states, each as `0:r0=1,1:r0=0,x=2`: registers by thread and number, shared locations by
    /// name, then locations that one thread keeps for itself. Sorted as tuples of integers.
    pub fn states(&self) -> impl ExactSizeIterator<Item = String> {
        self.values.iter().map(|state| {
            let pairs = self.names.iter().zip(state).map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        })
    }
}

impl Test {
    /// Reads a file that holds one test.
    pub fn parse(text: &str) -> Result<Test, Error> {
        Ok(Test { syntax: parse::one(text)?, text: text.into() })
    }

    /// Reads a file that holds one test or more, one after the other. What is wrong in one of them is wrong in the file.
    pub fn parse_all(text: &str) -> Result<Vec<Test>, Error> {
        let tests = parse::all(text)?;
        let text: Arc<str> = text.into();
        Ok(tests.into_iter().map(|syntax| Test { syntax, text: Arc::clone(&text) }).collect())
    }

    /// The name in the test's first line.
    pub fn name(&self) -> &str {
        &self.syntax.name
    }

    /// All final states under a memory model, and the number of executions, each of which is visited once. A state
    /// has the values of the variables in `locations` and in the condition.
    pub fn run(&self, memory: Memory) -> Result<Outcomes, Error> {
        let runnable = Arc::new(threads::Runnable::new(&self.syntax, &self.text)?);
        let values = Arc::new(Mutex::new(BTreeSet::new()));
        // A test is too small to be worth a second thread.
        // A litmus test does nothing but operations, so nobody has to watch over it.
        let limits = Limits { silence: None, ..Limits::default() };
        let options = explore::Options { workers: 1, limits, ..explore::Options::default() };
        let report = explore::explore(memory, options, {
            let (runnable, values) = (runnable.clone(), values.clone());
            move || {
                runnable.run(|state| {
                    values.lock().expect("nobody panics with it").insert(state);
                });
            }
        });
        if let Some(failed) = report.failed {
            return Err(threads::error(&self.text, &failed));
        }
        let values = std::mem::take(&mut *values.lock().expect("nobody panics with it"));
        let names = runnable.variables.iter().map(|(variable, _)| variable);
        Ok(Outcomes::new(names, values, &runnable.condition, Some(report.executions)))
    }

    /// All final states that the machine of a memory model reaches, which protocols are searched on. Under RC11 it
    /// orders `seq_cst` fences in agreement with `sb ∪ rf`, so that it may have fewer than [`run`](Test::run).
    pub fn run_on_machine(&self, memory: Memory, options: search::Options) -> Result<Outcomes, Error> {
        let lowered = lower::lower(&self.syntax, &self.text, memory)?;
        let mut values = BTreeSet::new();
        search::check(&lowered.program, memory, options, |end| {
            values.insert(lowered.variables.iter().map(|(_, source)| source.value(end)).collect());
            Vec::new()
        })?;
        let names = lowered.variables.iter().map(|(variable, _)| variable);
        Ok(Outcomes::new(names, values, &lowered.condition, None))
    }
}

/// A condition over the values of a final state, by index.
enum Condition {
    True,
    Equal(usize, Value),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

impl Condition {
    fn holds(&self, state: &[Value]) -> bool {
        match self {
            Condition::True => true,
            Condition::Equal(index, value) => state[*index] == *value,
            Condition::Not(condition) => !condition.holds(state),
            Condition::All(conditions) => conditions.iter().all(|condition| condition.holds(state)),
            Condition::Any(conditions) => conditions.iter().any(|condition| condition.holds(state)),
        }
    }
}

fn register_variable(thread: usize, name: &str) -> Variable {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match name[letters.len()..].parse() {
        Ok(number) if !name[letters.len()..].starts_with('0') || name.len() == letters.len() + 1 => {
            Variable::Register(thread, letters.to_owned(), Some(number))
        }
        _ => Variable::Register(thread, name.to_owned(), None),
    }
}

fn mention<'a>(condition: &'a Syntax, names: &mut Vec<&'a At<Name>>) {
    match condition {
        Syntax::True => (),
        Syntax::Equal(name, _) => names.push(name),
        Syntax::Not(condition) => mention(condition, names),
        Syntax::All(conditions) | Syntax::Any(conditions) => {
            conditions.iter().for_each(|condition| mention(condition, names))
        }
    }
}

/// Every name in the condition is one of the variables: [`mention`] found it.
fn resolve(condition: &Syntax, variables: &[&Variable]) -> Condition {
    let all =
        |conditions: &[Syntax]| conditions.iter().map(|condition| resolve(condition, variables)).collect();
    match condition {
        Syntax::True => Condition::True,
        Syntax::Equal(name, value) => {
            let wanted = Name { thread: name.it.thread, name: name.it.name.clone() };
            let is = |variable: &Variable| match wanted.thread {
                Some(thread) => *variable == register_variable(thread, &wanted.name),
                None => {
                    matches!(variable, Variable::Shared(name) | Variable::Private(name) if *name == wanted.name)
                }
            };
            let index = variables.iter().position(|variable| is(variable));
            index.map_or(Condition::Any(Vec::new()), |index| Condition::Equal(index, *value))
        }
        Syntax::Not(condition) => Condition::Not(Box::new(resolve(condition, variables))),
        Syntax::All(conditions) => Condition::All(all(conditions)),
        Syntax::Any(conditions) => Condition::Any(all(conditions)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Unforgetting;
    use crate::search::{Options, explore};

    type States = BTreeSet<Vec<Value>>;

    /// The final states under RC11, and under one that forgets nothing.
    fn states(test: &Test) -> Option<(States, States)> {
        let lowered = lower::lower(&test.syntax, &test.text, Memory::Rc11).ok()?;
        let mut values = BTreeSet::new();
        explore::<Unforgetting>(&lowered.program, Memory::Rc11, Options::default(), |end| {
            values.insert(lowered.variables.iter().map(|(_, source)| source.value(end)).collect());
            None
        })
        .unwrap();
        Some((test.run_on_machine(Memory::Rc11, Options::default()).unwrap().values, values))
    }

    #[test]
    fn what_rc11_forgets_changes_no_final_state_of_any_test() {
        let file = include_str!("../../litmus/herd.litmus");
        let tests = Test::parse_all(file).unwrap();
        let compared = tests.iter().filter_map(|test| Some((test.name(), states(test)?)));
        let compared =
            compared.inspect(|(name, (forgetting, all))| assert_eq!(forgetting, all, "{name}")).count();
        assert_eq!(compared, 915);
    }

    #[test]
    fn a_weaker_acquire_fence_learns_nothing_from_what_seq_cst_fences_know() {
        let test = Test::parse(
            "C fence-before-relay
            { }
            P0 (atomic_int* y, atomic_int* z, atomic_int* w, atomic_int* x) {
              atomic_store_explicit(y, 1, memory_order_relaxed);
              atomic_thread_fence(memory_order_seq_cst);
              atomic_store_explicit(z, 1, memory_order_relaxed);
              int r0 = atomic_load_explicit(w, memory_order_relaxed);
              atomic_store_explicit(x, 2, memory_order_relaxed);
            }
            P1 (atomic_int* z, atomic_int* x) {
              int r0 = atomic_load_explicit(z, memory_order_relaxed);
              atomic_store_explicit(x, 1, memory_order_relaxed);
            }
            P2 (atomic_int* x, atomic_int* y, atomic_int* w) {
              int r0 = atomic_load_explicit(x, memory_order_relaxed);
              atomic_thread_fence(memory_order_acquire);
              int r1 = atomic_load_explicit(y, memory_order_relaxed);
              atomic_thread_fence(memory_order_seq_cst);
              atomic_store_explicit(w, 1, memory_order_relaxed);
            }
            exists (1:r0=1 /\\ 2:r0=1 /\\ 2:r1=0)",
        )
        .unwrap();
        let (forgetting, all) = states(&test).unwrap();
        assert_eq!(forgetting, all);
        let exact = test.run(Memory::Rc11).unwrap();
        assert_eq!((exact.observation, exact.values), (Observation::Sometimes, all));
    }
}
