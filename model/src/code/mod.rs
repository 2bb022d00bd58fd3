//! Real code as a program: closures whose operations on shared memory go through this module, run again and again.
//!
//! The operations may be used in a closure that [`explore`](crate::explore::explore) runs, and in threads that it
//! [`spawn`]s. Everything else about the code is ordinary Rust. It has to be deterministic: between two operations it depends on
//! nothing but what its operations have returned. [`Limit::Diverged`] says so if it is not.
//!
//! Objects are made in an execution and have their number from then on. A [`Late`] one can be made anywhere, in a
//! static too, and gets its number when it is used.

mod aftermath;
mod execution;
mod failure;
mod fiber;
mod late;
mod object;
mod overflow;
mod pulse;
#[cfg(test)]
mod tests;

use std::panic::Location as Source;
use std::sync::atomic::Ordering;

pub(crate) use execution::{Descent, Execution, Recorded, RunEnd, Way};
pub use failure::{Diverged, Failure, Instead, Last, Limit, Limits, Performed};
pub use late::{Late, expected};
pub(crate) use object::Numbers;
pub use object::{Kind, Named};
pub(crate) use pulse::Pulse;

use crate::graphs::{Modify, Op, Until, Value};

/// Puts the engine's panic hook in front of the process's, once, and its handler of stack overflows, if
/// another has come before it.
///
/// A search does this. Whoever else installs such things, and other engines do, lets them come first and then
/// calls this: hooks that two threads install at a time may be lost.
pub fn prepare() {
    fiber::quiet_panics();
    overflow::install();
}

/// An atomic location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    number: u32,
    generation: u64,
}

fn object(label: &'static str, kind: Kind, initial: Value) -> Location {
    match execution::current() {
        Some(execution) => {
            let number = fiber::in_engine(|| execution.object(label, kind, initial));
            Location { number, generation: execution.generation }
        }
        None => panic!("`{label}` is made outside of an execution"),
    }
}

impl Location {
    /// One of this kind. Only the program sees to it that a lock or a token is used as one: each write of it
    /// has to come after the last one in the order of program order and reads-from.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn of_kind(label: &'static str, kind: Kind) -> Self {
        object(label, kind, 0)
    }

    /// A new location.
    ///
    /// # Panics
    /// Outside of an execution, as all operations of this module.
    pub fn new(label: &'static str, initial: Value) -> Self {
        object(label, Kind::Word, initial)
    }

    /// Its number in [`Graph::locations`](crate::graphs::Graph::locations).
    #[track_caller]
    #[inline]
    pub fn number(self) -> u32 {
        if let Some(execution) = execution::current()
            && execution.generation != self.generation
            && !execution.is_taken_down()
        {
            execution.fail(Failure::Limit(Limit::Outlived { source: Source::caller() }));
        }
        self.number
    }

    /// Reads the value.
    #[track_caller]
    #[inline]
    pub fn load(self, order: Ordering) -> Value {
        perform(Op::Load { location: self.number(), order, until: None }, Source::caller())
    }

    /// Waits until a load reads such a value, and returns it.
    #[track_caller]
    #[inline]
    pub fn wait(self, until: Until, order: Ordering) -> Value {
        perform(Op::Load { location: self.number(), order, until: Some(until) }, Source::caller())
    }

    /// Writes a value.
    #[track_caller]
    #[inline]
    pub fn store(self, value: Value, order: Ordering) {
        perform(Op::Store { location: self.number(), order, value }, Source::caller());
    }

    /// Reads and writes in one step. Returns what it has read.
    #[track_caller]
    #[inline]
    pub fn modify(self, modify: Modify, order: Ordering, failure: Ordering) -> Value {
        let op = Op::Rmw { location: self.number(), order, failure, modify, until: None };
        perform(op, Source::caller())
    }

    /// Writes `new` if the value is the expected one, or fails for no reason, as a weak exchange may: both are explored. Returns what it
    /// has read, as an error if it wrote nothing.
    ///
    /// A loop around it may fail for ever, which is an execution without end: who loops bounds how often it fails for no reason.
    ///
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    /// use reveille_model::{code::Location, explore::{Options, explore}, memory::Memory};
    ///
    /// let report = explore(Memory::Rc11, Options::default(), || {
    ///     let word = Location::new("word", 0);
    ///     if word.weak_exchange(0, 1, Relaxed, Relaxed).is_err() {
    ///         assert_eq!(word.load(Relaxed), 0);
    ///     }
    /// });
    /// assert_eq!((report.complete, report.executions), (true, 2));
    /// ```
    #[track_caller]
    pub fn weak_exchange(
        self,
        expected: Value,
        new: Value,
        order: Ordering,
        failure: Ordering,
    ) -> Result<Value, Value> {
        let source = Source::caller();
        let location = self.number();
        if perform(Op::Choose { outcomes: 2 }, source) == 1 {
            return Err(perform(Op::Load { location, order: failure, until: None }, source));
        }
        let modify = Modify::CompareExchange { expected, new };
        let read = perform(Op::Rmw { location, order, failure, modify, until: None }, source);
        if read == expected { Ok(read) } else { Err(read) }
    }

    /// Waits until there is such a value, and modifies it in the same step. Returns what it has read.
    #[track_caller]
    #[inline]
    pub fn wait_modify(self, until: Until, modify: Modify, order: Ordering) -> Value {
        let failure = Ordering::Relaxed;
        let op = Op::Rmw { location: self.number(), order, failure, modify, until: Some(until) };
        perform(op, Source::caller())
    }
}

/// A lock. It protects nothing by itself: what it guards is the program's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lock(Location);

impl Lock {
    /// A new lock, which nobody has.
    pub fn new(label: &'static str) -> Self {
        Lock(object(label, Kind::Lock, 0))
    }

    /// Waits until it is free, and takes it.
    #[track_caller]
    pub fn acquire(self) {
        self.0.wait_modify(Until::Is(0), Modify::Swap(1), Ordering::Acquire);
    }

    /// Takes it, if it is free.
    #[track_caller]
    pub fn try_acquire(self) -> bool {
        let modify = Modify::CompareExchange { expected: 0, new: 1 };
        self.0.modify(modify, Ordering::Acquire, Ordering::Relaxed) == 0
    }

    /// Gives it back. Only who has taken it may.
    #[track_caller]
    pub fn release(self) {
        self.release_at(Source::caller());
    }

    /// The same, at this place in the source: a guard's destructor has no caller.
    pub fn release_at(self, source: &'static Source<'static>) {
        perform(Op::Store { location: self.0.number(), order: Ordering::Release, value: 0 }, source);
    }
}

/// A token that one thread waits for and others put there: it is there, or it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(Location);

impl Token {
    /// A new token, which is not there.
    pub fn new(label: &'static str) -> Self {
        Token(object(label, Kind::Token, 0))
    }

    /// Its number in [`Graph::locations`](crate::graphs::Graph::locations).
    #[track_caller]
    pub fn number(self) -> u32 {
        self.0.number()
    }

    /// Waits until it is there, and takes it.
    #[track_caller]
    pub fn take(self) {
        self.0.wait_modify(Until::Is(1), Modify::Swap(0), Ordering::Acquire);
    }

    /// Puts it there, if it is not.
    #[track_caller]
    pub fn put(self) {
        self.0.modify(Modify::Swap(1), Ordering::Release, Ordering::Relaxed);
    }
}

/// Memory that is not atomic. It holds nothing: accesses are announced, and races found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell(Location);

impl Cell {
    /// A new cell.
    pub fn new(label: &'static str) -> Self {
        Cell(object(label, Kind::Cell, 0))
    }

    /// Says that it is read.
    #[track_caller]
    pub fn read(self) {
        perform(Op::CellRead { location: self.0.number() }, Source::caller());
    }

    /// Says that it is written.
    #[track_caller]
    pub fn write(self) {
        perform(Op::CellWrite { location: self.0.number() }, Source::caller());
    }
}

/// A fence.
#[track_caller]
#[inline]
pub fn fence(order: Ordering) {
    perform(Op::Fence { order }, Source::caller());
}

/// One of so many outcomes, each of which is explored. At most 255.
#[track_caller]
pub fn choose(outcomes: u8) -> u8 {
    perform(Op::Choose { outcomes }, Source::caller()) as u8
}

/// A thread of the program that can be waited for.
#[derive(Clone, Debug)]
pub struct Thread(u8);

/// Starts a thread.
#[track_caller]
pub fn spawn(name: &'static str, body: impl FnOnce() + 'static) -> Thread {
    spawn_at(name, body, Source::caller())
}

impl Thread {
    /// Its number.
    pub fn number(&self) -> usize {
        self.0.into()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn join(self) {
        perform(Op::Join { thread: self.0 }, Source::caller());
    }
}

/// The number of the run of the program that goes on here, another one for each in this process. 0 outside of all.
#[inline]
pub fn run() -> u64 {
    execution::current().map_or(0, |execution| execution.serial)
}

/// Whether an execution runs on this thread of the machine, or is being taken down there.
#[inline]
pub fn is_running() -> bool {
    execution::current().is_some()
}

/// The number of the running thread.
pub fn thread() -> usize {
    execution::current().map_or(0, |execution| execution.running())
}

/// Whether the execution is over and only being taken down: destructors run whose operations do nothing.
pub fn is_taken_down() -> bool {
    execution::current().is_some_and(|execution| execution.is_taken_down())
}

/// A remark for whoever reads the execution.
pub fn note(note: Value) {
    if let Some(execution) = execution::current() {
        execution.note(note);
    }
}

/// Says that the running thread goes in circles: so many of its last operations are one turn of a loop, which
/// has changed nothing and is about to read the same again. A change of what it reads ends the loop in *another*
/// execution; in this one the thread does no more, and is stuck if all it has read is the newest.
///
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
/// use reveille_model::{code, explore::{Options, explore}, memory::Memory};
///
/// let report = explore(Memory::Rc11, Options::default(), || {
///     let flag = code::Location::new("flag", 0);
///     code::spawn("other", move || flag.store(1, Relaxed));
///     while flag.load(Relaxed) == 0 {
///         code::go_in_circles(1);
///     }
/// });
/// assert_eq!((report.complete, report.executions), (true, 1));
/// ```
#[track_caller]
pub fn go_in_circles(turn: usize) {
    execution::go_in_circles(turn, Source::caller());
}

/// Looks until the condition is true. A look in vain is a wait: if it has changed nothing, the thread does no
/// more in this execution, and goes on in the one in which it sees more. So the condition must depend on
/// nothing but what it reads, and what it does under a lock must be nothing but a look when it says no.
///
/// ```
/// use std::sync::atomic::Ordering::Relaxed;
/// use reveille_model::{code, code::Failure, explore::{Options, explore}, memory::Memory};
///
/// let report = explore(Memory::Rc11, Options::default(), || {
///     let flag = code::Location::new("flag", 0);
///     code::spin_until(|| flag.load(Relaxed) == 1);
/// });
/// assert_eq!(report.failed.map(|failed| failed.failure), Some(Failure::Stuck));
/// ```
#[track_caller]
pub fn spin_until(mut condition: impl FnMut() -> bool) {
    let source = Source::caller();
    loop {
        let before = execution::operations();
        if condition() || is_taken_down() {
            return;
        }
        if let Some(turn) = execution::in_vain(before) {
            execution::go_in_circles(turn, source);
        }
    }
}

/// Does something when the execution that runs is over, and all its threads are gone. `then` is told whether
/// the execution is complete, and may say what is wrong with it: that something has been leaked, say. Operations that it
/// does are those of destructors while an execution is taken down.
///
/// What is asked for last is done first.
pub fn at_end(then: impl FnOnce(bool) -> Option<String> + 'static) {
    if let Some(execution) = execution::current() {
        execution.at_end(Box::new(then));
    }
}

/// Whether the code that runs on this thread of the machine is the program's, and not the engine's.
#[inline]
pub fn is_program() -> bool {
    fiber::is_program()
}

/// Whether the running thread repeats what the graph has, as opposed to what is new in this execution.
pub fn is_repeating() -> bool {
    execution::current().is_some_and(|execution| execution.expected().is_some())
}

/// Performs an operation that stands at this place in the source: for layers above this module that hand on the
/// place of their own callers.
///
/// Its locations come from [`Location::number`]; an [`Op::Spawn`] or [`Op::End`] is not for them.
///
/// # Panics
/// As all operations, outside of an execution.
#[inline]
pub fn perform_at(op: Op, source: &'static Source<'static>) -> Value {
    debug_assert!(!matches!(op, Op::Spawn | Op::End));
    perform(op, source)
}

/// [`spawn`], which stands at this place in the source.
pub fn spawn_at(
    name: &'static str,
    body: impl FnOnce() + 'static,
    source: &'static Source<'static>,
) -> Thread {
    let Some(number) = execution::perform(Op::Spawn, source) else { return Thread(0) };
    let body = Box::new(move || {
        body();
        perform(Op::End, source);
    });
    let execution = execution::current().expect("an execution runs");
    fiber::in_engine(|| execution.spawn(number, name, body));
    execution::give_way(source);
    Thread(number as u8)
}

/// Whether every write of a location happens before the last operation of the running thread, or after it, so that
/// this may be an access that is not atomic.
pub fn is_settled(location: Location) -> bool {
    execution::current().is_none_or(|execution| execution.is_settled(location.number))
}

/// What an operation returns while the execution is taken down is nobody's business.
#[inline]
fn perform(op: Op, source: &'static Source<'static>) -> Value {
    execution::perform(op, source).unwrap_or(0)
}

/// The first thread's code.
pub(crate) fn first(program: impl FnOnce() + 'static) -> Box<dyn FnOnce()> {
    let source = Source::caller();
    Box::new(move || {
        program();
        perform(Op::End, source);
    })
}
