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
//! A test in kernel C is run under the kernel's own model too:
//!
//! ```
//! use reveille_model::litmus::{Model, Observation, Test};
//! use reveille_model::memory::Memory;
//!
//! let test = Test::parse(
//!     "C LB
//!      { }
//!      P0(int *x, int *y) { int r0 = READ_ONCE(*x); WRITE_ONCE(*y, 1); }
//!      P1(int *x, int *y) { int r0 = READ_ONCE(*y); WRITE_ONCE(*x, 1); }
//!      exists (0:r0=1 /\\ 1:r0=1)",
//! )?;
//! assert_eq!(test.run(Model::Lkmm)?.observation, Observation::Sometimes);
//! assert_eq!(test.run(Memory::Rc11)?.observation, Observation::Never);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Tests are in C11 or in kernel C; `calls` lists the operations. Beside them: `if`/`else`,
//! expressions, pointers, local variables, `locations`, `filter`, and `exists`, `~exists` or
//! `forall`. What is known and not modelled (RCU, loops, arrays) is an error that names it with its
//! place. Plain locations may be shared; a test with a race on one is [undefined](Observation).
//!
//! [`Test::run`] visits every execution. SC, x86-TSO and RC11 (herd's `rc11.cat`) are on the exact
//! engine; the [Linux kernel memory model](Model::Lkmm), which allows load buffering, on candidate
//! executions. [`Test::run_on_machine`] is there to calibrate the machines on which
//! [protocols](crate::protocol) are searched. Under RC11 they have no `seq_cst` accesses (under SC
//! and x86-TSO these are exact: a store is `mov; mfence`), and no shared plain locations at all.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::candidates::{self, Rules};
use crate::code::Limits;
use crate::memory::{Memory, Value};
use crate::{explore, search};

mod calls;
mod condition;
mod engine;
mod error;
mod flaws;
mod lower;
mod parse;
pub(crate) mod program;
mod resolve;
mod syntax;

pub use error::{Access, Error, Place, Race};
pub use flaws::{Example, FLAWS};
use program::{Dialect, Program, location_at};

/// A memory model that a test is run under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// One of those that the exact engine has
    Memory(Memory),
    /// The Linux kernel memory model
    Lkmm,
}

impl Model {
    /// All, the strongest first
    pub const ALL: [Model; 4] =
        [Model::Memory(Memory::Sc), Model::Memory(Memory::Tso), Model::Memory(Memory::Rc11), Model::Lkmm];

    /// `sc`, `tso`, `rc11` or `lkmm`.
    pub fn name(self) -> &'static str {
        match self {
            Model::Memory(memory) => memory.name(),
            Model::Lkmm => "lkmm",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Memory> for Model {
    fn from(memory: Memory) -> Self {
        Model::Memory(memory)
    }
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
    syntax: syntax::Test,
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
    /// The test has a race: what it does is undefined
    Undefined,
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Observation::Always => "Always",
            Observation::Sometimes => "Sometimes",
            Observation::Never => "Never",
            Observation::Undefined => "Undefined",
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
    /// machine does not count them, and a search that has found a race has not seen all
    pub executions: Option<u64>,
    /// A race, if there is one. The exact engine ends with it and has no final states then; under the
    /// kernel's model they are those that herd7 reports beside its flag
    pub race: Option<Race>,
    names: Vec<String>,
    values: BTreeSet<Vec<Value>>,
    /// The names of the locations, if values may be their addresses
    locations: Option<Vec<String>>,
}

impl Outcomes {
    fn new(
        program: &Program,
        values: BTreeSet<Vec<Value>>,
        executions: Option<u64>,
        race: Option<Race>,
    ) -> Self {
        let witnesses = values.iter().filter(|state| program.condition.holds(state)).count();
        let observation = match witnesses {
            _ if race.is_some() => Observation::Undefined,
            all if all == values.len() && all > 0 => Observation::Always,
            0 => Observation::Never,
            _ => Observation::Sometimes,
        };
        let names = program.variables.iter().map(|(variable, _)| variable.to_string()).collect();
        let locations = || program.locations.iter().map(|location| location.name.clone()).collect();
        let locations = program.has_addresses.then(locations);
        Outcomes { observation, witnesses, executions, race, names, values, locations }
    }

    /// The final states, each as `0:r0=1,1:r0=0,x=2`: registers by thread and number, shared locations by
    /// name, then locations that one thread keeps for itself. Sorted as tuples of integers.
    pub fn states(&self) -> impl ExactSizeIterator<Item = String> {
        self.values.iter().map(|state| {
            let pairs =
                self.names.iter().zip(state).map(|(name, value)| format!("{name}={}", self.shown(*value)));
            pairs.collect::<Vec<_>>().join(",")
        })
    }

    /// A value as text: the name of a location, if it is one's address.
    fn shown(&self, value: Value) -> String {
        let location = location_at(value).and_then(|location| self.locations.as_ref()?.get(location));
        location.cloned().unwrap_or_else(|| value.to_string())
    }
}

impl Test {
    /// Reads a file that holds one test.
    pub fn parse(text: &str) -> Result<Test, Error> {
        Ok(Test { syntax: parse::one(text)?, text: text.into() })
    }

    /// Reads a file that holds one test or more, one after the other. What is wrong in one of them is
    /// wrong in the file.
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
    /// has the values of the variables in `locations` and in the conditions.
    ///
    /// # Errors
    /// What is written has no meaning, or none under this model: C11's operations have none under the kernel's.
    pub fn run(&self, model: impl Into<Model>) -> Result<Outcomes, Error> {
        let program = resolve::resolve(&self.syntax, &self.text)?;
        match model.into() {
            // The engine has locations that are atomic and such that are not.
            Model::Memory(Memory::Rc11) if program.dialect == Dialect::C11 && program.is_mixed() => {
                self.run_on_candidates(&program, Rules::Rc11)
            }
            Model::Memory(memory) => self.run_on_engine(program, memory),
            Model::Lkmm if program.dialect == Dialect::Kernel => {
                self.run_on_candidates(&program, Rules::Lkmm { left_out: None })
            }
            Model::Lkmm => {
                Err(Error::OtherModel("the kernel's memory model says nothing of C11's operations"))
            }
        }
    }

    /// The memory models that its operations have a meaning under.
    ///
    /// # Errors
    /// As those of [`run`](Test::run).
    pub fn models(&self) -> Result<&'static [Model], Error> {
        let program = resolve::resolve(&self.syntax, &self.text)?;
        Ok(match program.dialect {
            Dialect::Kernel => &Model::ALL,
            Dialect::C11 => &Model::ALL[..Memory::ALL.len()],
        })
    }

    fn run_on_candidates(&self, program: &Program, rules: Rules) -> Result<Outcomes, Error> {
        let found = candidates::executions(program, &self.text, rules)?;
        Ok(Outcomes::new(program, found.states, Some(found.executions), found.race))
    }

    fn run_on_engine(&self, program: Program, memory: Memory) -> Result<Outcomes, Error> {
        let program = Arc::new(program);
        let runnable = Arc::new(engine::Runnable::new(program.clone(), &self.text, memory)?);
        let found = Arc::new(Mutex::new((BTreeSet::new(), 0)));
        // A test is too small to be worth a second thread, and does nothing but operations: nothing has to
        // watch over it.
        let limits = Limits { silence: None, ..Limits::default() };
        let options = explore::Options { workers: 1, limits, ..explore::Options::default() };
        let report = explore::explore(memory, options, {
            let (runnable, program, found) = (runnable, program.clone(), found.clone());
            move || {
                runnable.run(|state| {
                    if program.filter.holds(&state) {
                        let (states, executions) = &mut *found.lock().expect("no thread panics with it");
                        states.insert(state);
                        *executions += 1;
                    }
                });
            }
        });
        if let Some(failed) = report.failed {
            let race = engine::race(&self.text, &failed)?;
            return Ok(Outcomes::new(&program, BTreeSet::new(), None, Some(race)));
        }
        let (states, executions) = std::mem::take(&mut *found.lock().expect("no thread panics with it"));
        Ok(Outcomes::new(&program, states, Some(executions), None))
    }

    /// All final states that the machine of a memory model reaches, which protocols are searched on. Under RC11 it
    /// orders `seq_cst` fences in agreement with `sb ∪ rf`, so that it may have fewer than [`run`](Test::run).
    ///
    /// # Errors
    /// As those of [`run`](Test::run), and for what the machine does not have.
    pub fn run_on_machine(&self, memory: Memory, options: search::Options) -> Result<Outcomes, Error> {
        let program = resolve::resolve(&self.syntax, &self.text)?;
        let lowered = lower::lower(&program, &self.text, memory)?;
        let mut values = BTreeSet::new();
        search::check(&lowered.program, memory, options, |end| {
            let state: Vec<Value> = lowered.sources.iter().map(|source| source.value(end)).collect();
            if program.filter.holds(&state) {
                values.insert(state);
            }
            Vec::new()
        })?;
        Ok(Outcomes::new(&program, values, None, None))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates::lkmm::Axiom;
    use crate::memory::Unforgetting;
    use crate::search::{Options, explore};

    type States = BTreeSet<Vec<Value>>;

    /// The final states under RC11, and under one that forgets nothing.
    fn states(test: &Test) -> Option<(States, States)> {
        let program = resolve::resolve(&test.syntax, &test.text).ok()?;
        let lowered = lower::lower(&program, &test.text, Memory::Rc11).ok()?;
        let mut values = BTreeSet::new();
        explore::<Unforgetting>(&lowered.program, Memory::Rc11, Options::default(), |end| {
            values.insert(lowered.sources.iter().map(|source| source.value(end)).collect());
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

    /// By axioms on candidate executions, and by the clocks of the exact engine.
    #[test]
    fn rc11_is_the_same_by_candidates_and_by_the_exact_engine() {
        let tests = Test::parse_all(include_str!("../../litmus/herd.litmus")).unwrap();
        let mut executions = 0;
        for test in &tests {
            let program = resolve::resolve(&test.syntax, &test.text).unwrap();
            let found = candidates::executions(&program, &test.text, Rules::Rc11).unwrap();
            let exact = test.run(Memory::Rc11).unwrap();
            assert_eq!(
                (found.states, Some(found.executions)),
                (exact.values, exact.executions),
                "{}",
                test.name()
            );
            executions += found.executions;
        }
        assert_eq!((tests.len(), executions), (1020, 30_423));
    }

    /// Of the kernel tests those with few executions: without coherence the others have too many.
    #[test]
    fn without_any_one_of_its_axioms_the_kernels_model_allows_more() {
        let files = [
            include_str!("../../litmus/kernel.litmus"),
            include_str!("../../litmus/wakeup-core-kernel.litmus"),
        ];
        let (mut compared, mut more) = (0, [(0, 0); Axiom::ALL.len()]);
        for test in files.iter().flat_map(|file| Test::parse_all(file).unwrap()) {
            let program = resolve::resolve(&test.syntax, &test.text).unwrap();
            let found = |left_out| {
                let found = candidates::executions(&program, &test.text, Rules::Lkmm { left_out }).unwrap();
                (found.executions, found.states)
            };
            let (executions, states) = found(None);
            if executions > 4 {
                continue;
            }
            compared += 1;
            for (axiom, (with_executions, with_states)) in Axiom::ALL.into_iter().zip(&mut more) {
                let (without, allowed) = found(Some(axiom));
                assert!(without >= executions && allowed.is_superset(&states), "{} {axiom:?}", test.name());
                *with_executions += usize::from(without > executions);
                *with_states += usize::from(allowed != states);
            }
        }
        // Tests with more executions, and tests with more final states.
        assert_eq!((compared, more), (175, [(107, 89), (96, 62), (29, 29), (36, 33), (1, 1)]));
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
