//! Searching all states of a program under a memory model.
//!
//! The search goes by distance from the start, so the first miss found has the fewest steps. A state is a
//! **violation** if a claim in a thread's code does not hold there; or if nothing can move any more, nor anything in
//! memory, and either a thread waits for a lock, or something is *owed*: that is the miss, and what is owed is for the
//! caller to say, by looking at the [`End`].
//!
//! Where threads retry, something may be owed for ever although something always moves: [`check_liveness`] looks for that.
//!
//! A search that ends without a violation has seen every reachable state, up to the order of independent steps and the names of threads that
//! are, or end, alike, and but for states of which another one, seen on no longer a way, can do all that they can. States are
//! compared by 64-bit hashes of what they have in common, and exactly by what else is kept of their memory: with n states the chance that two of
//! them were taken for one is about n²/2⁶⁵, one in three hundred thousand for ten million.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;

use crate::memory::{Limit, Location, Machine, Memory, Rc11, Sc, Tso, Value};
use crate::program::{Kind, List, Object, Position, Program, Register};

mod liveness;
mod reduction;
mod seen;
mod system;

pub use liveness::check_liveness;

use reduction::{Blocks, Way};
use seen::{Mark, Seen};
use system::{Ahead, Move, State, System};

/// How far to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Leave out interleavings that differ only in the order of independent steps, and states that others cover. The verdict is the same.
    pub reduce: bool,
    /// Leave out executions that differ only in the names of threads that are alike ([`Code::locked_in_turn`](crate::program::Code::locked_in_turn)) or end
    /// alike ([`Builder::end_alike`](crate::program::Builder::end_alike)), if `reduce` too. The verdict is the same, but for their names.
    pub symmetry: bool,
    /// Give up beyond so many states
    pub max_states: Option<usize>,
    /// Give up after so long
    pub max_time: Option<Duration>,
}

impl Default for Options {
    /// Reduced, and without any bound.
    fn default() -> Self {
        Options { reduce: true, symmetry: true, max_states: None, max_time: None }
    }
}

/// One step of a counterexample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who
    pub thread: String,
    /// The place in the thread's code; empty for a step of memory
    pub site: String,
    /// What was done
    pub kind: Kind,
    /// To what
    pub object: Option<String>,
    /// In which order; for a compare-exchange the order of its success
    pub order: Option<Ordering>,
    /// The value read
    pub read: Option<Value>,
    /// The value written
    pub written: Option<Value>,
    /// Was the value read not the newest? See [`Outcome::stale`](crate::memory::Outcome::stale).
    pub stale: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { thread, site, kind, object, .. } = self;
        if let (Kind::Drain, Some(object), Some(value)) = (kind, object, self.written) {
            return write!(f, "store buffer of {thread}: {object}={value} reaches memory");
        }
        write!(f, "{thread}: {site}: {kind}")?;
        if let Some(object) = object {
            write!(f, " {object}")?;
        }
        if let Some(order) = self.order {
            write!(f, " {order:?}")?;
        }
        if let Some(value) = self.read {
            write!(f, " reads {value}{}", if self.stale { " (stale)" } else { "" })?;
        }
        if let Some(value) = self.written {
            write!(f, " writes {value}")?;
        }
        Ok(())
    }
}

/// What is wrong at the end of a counterexample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Nothing can move and this is still owed
    Owed(Vec<String>),
    /// This is owed for ever, although every thread that can move does, and every buffered store reaches memory
    OwedForEver {
        /// What is owed all the time
        debts: Vec<String>,
        /// The step, counted from 0, at which the part that repeats begins
        from: usize,
    },
    /// Nothing can move and a thread waits for a lock
    Deadlock,
    /// A claim in a thread's code does not hold
    Claim {
        /// Whose
        thread: String,
        /// Which
        claim: String,
    },
}

/// A thread that waits at the end of a counterexample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleeper {
    /// Who
    pub thread: String,
    /// Where in its code
    pub site: String,
    /// For what
    pub object: String,
}

/// A shortest execution that ends in a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The memory model that allows it
    pub memory: Memory,
    /// What happens
    pub steps: Vec<Step>,
    /// What is wrong at the end
    pub violation: Violation,
    /// Who waits at the end
    pub sleepers: Vec<Sleeper>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}  {step}", number + 1)?;
        }
        for Sleeper { thread, site, object } in &self.sleepers {
            writeln!(f, "     {thread} sleeps: {site} ({object})")?;
        }
        match &self.violation {
            Violation::Owed(debts) => write!(f, "     owed: {}", debts.join("; ")),
            Violation::OwedForEver { debts, from } => {
                write!(f, "     from {} on for ever; owed: {}", from + 1, debts.join("; "))
            }
            Violation::Deadlock => write!(f, "     deadlock"),
            Violation::Claim { thread, claim } => {
                write!(f, "     {thread}: does not hold: {claim}")
            }
        }
    }
}

/// Why a search gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// [`Options::max_states`]
    States(usize),
    /// [`Options::max_time`]
    Time(Duration),
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every reachable state was seen, none is a violation
    Complete,
    /// There is a violation
    Violated(Box<Counterexample>),
    /// No violation up to the bound
    Bounded(Bound),
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it found
    pub verdict: Verdict,
    /// Different states remembered; with reduction, those between two blocks of steps that no other one known then covered
    pub states: usize,
    /// Steps tried
    pub moves: usize,
    /// The most steps from the start to any state seen
    pub depth: usize,
    /// How long it took
    pub time: Duration,
}

/// A search that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The memory model cannot hold the program
    #[error(transparent)]
    Limit(#[from] Limit),
    /// A thread loops without end, overflows a list, or goes outside an array
    #[error("thread `{0}` loops without touching memory, overflows a list, or goes outside an array")]
    Broken(String),
    /// A mistake in the search: what it found is no execution of the memory model
    #[error(
        "the search found a violation that it cannot show: a mistake of its own, please report it with the program"
    )]
    Lost,
}

/// What a thread is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest<'a> {
    /// It executed its last instruction, or violated a claim
    Finished,
    /// It waits for a parker's token, at this site
    Parked(&'a str),
    /// It waits for a lock, at this site
    Blocked(&'a str),
    /// Something that needs nobody else, at this site
    Running(&'a str),
}

/// A state, to be looked at: one in which nothing can move, or for [`check_liveness`] any.
pub struct End<'a> {
    program: &'a Program,
    newest: &'a dyn Fn(Location) -> Value,
    threads: &'a [Position],
    lists: &'a [crate::program::Sequence],
}

impl End<'_> {
    /// The newest value of an object, if the program [observes](crate::program::Builder::observe_only) it; 0 otherwise.
    pub fn value(&self, object: Object) -> Value {
        let observed = object.location(0).filter(|location| self.program.observes(*location));
        observed.map_or(0, self.newest)
    }

    /// The value of a thread's register.
    pub fn register(&self, thread: usize, register: Register) -> Value {
        self.threads[thread].register(register)
    }

    /// The content of a list.
    pub fn list(&self, list: List) -> Vec<Value> {
        self.lists[list.index()].iter().collect()
    }

    /// What a thread is doing.
    pub fn rest(&self, thread: usize) -> Rest<'_> {
        match self.program.threads()[thread].next(&self.threads[thread]) {
            None => Rest::Finished,
            Some(next) => match next.kind() {
                Kind::Park => Rest::Parked(next.site()),
                Kind::Lock => Rest::Blocked(next.site()),
                _ => Rest::Running(next.site()),
            },
        }
    }

    fn deadlock(&self) -> bool {
        (0..self.threads.len()).any(|thread| matches!(self.rest(thread), Rest::Blocked(_)))
    }
}

/// Searches all states of `program` under `memory`. `owed` says what is owed in a state in which nothing moves.
pub fn check(
    program: &Program,
    memory: Memory,
    options: Options,
    mut owed: impl FnMut(&End<'_>) -> Vec<String>,
) -> Result<Report, Error> {
    let judge = |end: &End<'_>| {
        if end.deadlock() {
            return Some(Violation::Deadlock);
        }
        let debts = owed(end);
        (!debts.is_empty()).then_some(Violation::Owed(debts))
    };
    match memory {
        Memory::Sc => explore::<Sc>(program, memory, options, judge),
        Memory::Tso => explore::<Tso>(program, memory, options, judge),
        Memory::Rc11 => explore::<Rc11>(program, memory, options, judge),
    }
}

pub(crate) fn explore<M: Machine>(
    program: &Program,
    memory: Memory,
    options: Options,
    mut judge: impl FnMut(&End<'_>) -> Option<Violation>,
) -> Result<Report, Error> {
    let begun = Instant::now();
    let system = System::new(program, options.reduce);
    let system = if options.reduce && options.symmetry { system.in_turn() } else { system };
    let start: State<M> = system.start()?;
    let mut blocks = Blocks::new(&system);
    let (mut seen, mut mark) = (Seen::default(), Mark::default());
    system.mark_in(&start, &mut mark);
    seen.insert(&mark, 0, 0, |_, _| true);
    // By distance from the start; a state to which a shorter way was found is in it twice.
    let mut levels = VecDeque::from([vec![(0, start.clone())]]);
    let mut depth = 0;
    let report = |verdict, seen: &Seen, moves, depth| Report {
        verdict,
        states: seen.count(),
        moves,
        depth,
        time: begun.elapsed(),
    };
    let mut distance = 0;
    while let Some(level) = levels.pop_front() {
        for (index, state) in level {
            if seen.depth(index) != Some(distance) {
                continue;
            }
            depth = distance;
            let mut found = |way: Way<'_>, mut next: State<M>| {
                let length = way.len();
                system.name(&mut next);
                system.mark_in(&next, &mut mark);
                let covers = |this: &[u8], other: &[u8]| M::covers(this, other, system.awaited);
                let (number, new) = seen.insert(&mark, index, distance + length, covers);
                if new {
                    if levels.len() < length {
                        levels.resize_with(length, Vec::new);
                    }
                    levels[length - 1].push((number, next));
                }
                seen.depth(number) > Some(distance)
            };
            let stuck = !blocks.expand(&state, &mut found)?;
            if system.violation(&state, stuck, &mut judge).is_some() {
                let counterexample = replay(&system, start, memory, &seen.path(index), &mut judge)?;
                return Ok(report(Verdict::Violated(Box::new(counterexample)), &seen, blocks.done, depth));
            }
            let bound = options.max_states.filter(|most| seen.count() > *most).map(Bound::States);
            // A look at the clock is dear beside a state.
            let look = index % 1024 == 0;
            let late = options.max_time.filter(|most| look && begun.elapsed() > *most).map(Bound::Time);
            if let Some(bound) = bound.or(late) {
                return Ok(report(Verdict::Bounded(bound), &seen, blocks.done, depth));
            }
        }
        distance += 1;
    }
    Ok(report(Verdict::Complete, &seen, blocks.done, depth))
}

impl System<'_> {
    /// What is wrong in a state, in which nothing can move if it is `stuck`.
    fn violation<M: Machine>(
        &self,
        state: &State<M>,
        stuck: bool,
        judge: &mut impl FnMut(&End<'_>) -> Option<Violation>,
    ) -> Option<Violation> {
        match self.claim_violated(state) {
            None if stuck => judge(&End {
                program: self.program,
                newest: &|location| state.memory.newest(location),
                threads: &self.positions(state),
                lists: &state.lists,
            }),
            violated => violated,
        }
    }

    fn claim_violated<M>(&self, state: &State<M>) -> Option<Violation> {
        let thread = (0..state.threads.len()).find(|thread| self.violated_by(state, *thread))?;
        let code = &self.program.threads()[thread];
        let claim = code.violated(&self.positions(state)[thread])?.to_owned();
        Some(Violation::Claim { thread: code.name().to_owned(), claim })
    }

    fn sleepers<M: Machine>(&self, state: &State<M>) -> Vec<Sleeper> {
        let asleep = self.program.threads().iter().enumerate().filter_map(|(thread, code)| {
            let Ahead { next, operation, .. } = self.ahead(state, thread);
            let (next, (location, _)) = (next?, operation?);
            next.may_wait().then(|| Sleeper {
                thread: code.name().to_owned(),
                site: next.site().to_owned(),
                object: location.map(|location| self.program.label(location).to_owned()).unwrap_or_default(),
            })
        });
        asleep.collect()
    }
}

/// The counterexample at the end of a path of marks.
fn replay<M: Machine>(
    system: &System<'_>,
    mut start: State<M>,
    memory: Memory,
    path: &[Mark],
    judge: &mut impl FnMut(&End<'_>) -> Option<Violation>,
) -> Result<Counterexample, Error> {
    let moves = walk(system, &mut start, path)?;
    let mut execution = Execution { system, judge, tried: HashSet::new(), done: Vec::new() };
    let end = execution.follow(system.start_of_everything::<M>()?, &moves)?;
    let (violation, sleepers) = end.ok_or(Error::Lost)?;
    let steps = execution.done.iter().map(|mv| system.step(mv)).collect();
    Ok(Counterexample { memory, steps, violation, sleepers })
}

/// Goes from a state along a path of marks, and says by which moves.
fn walk<M: Machine>(system: &System<'_>, state: &mut State<M>, path: &[Mark]) -> Result<Vec<Move>, Error> {
    let mut blocks = Blocks::new(system);
    let (mut all, mut mark) = (Vec::new(), Mark::default());
    for goal in path {
        let mut shortest: Option<(Vec<Move>, State<M>)> = None;
        blocks.expand(state, &mut |way: Way<'_>, next: State<M>| {
            let mut named = next.clone();
            system.name(&mut named);
            system.mark_in(&named, &mut mark);
            if mark == *goal && shortest.as_ref().is_none_or(|(known, _)| way.len() < known.len()) {
                shortest = Some((way.steps(), next));
            }
            false
        })?;
        if let Some((moves, next)) = shortest {
            all.extend(moves);
            *state = next;
        }
    }
    Ok(all)
}

/// What a search found, done with a memory that forgets nothing. The search knows who does what and whether he reads 0; which of several
/// messages is read, and where in modification order a store goes, is chosen so that it comes to the violation.
struct Execution<'a, 'p, J> {
    system: &'a System<'p>,
    judge: &'a mut J,
    /// States from which it did not, and how many moves were left
    tried: HashSet<(usize, u64)>,
    done: Vec<Move>,
}

impl<J: FnMut(&End<'_>) -> Option<Violation>> Execution<'_, '_, J> {
    /// What is wrong after these moves, and who sleeps then; nothing if they cannot be done, or nothing is wrong.
    fn follow<M: Machine>(
        &mut self,
        state: State<M>,
        moves: &[Move],
    ) -> Result<Option<(Violation, Vec<Sleeper>)>, Error> {
        let system = self.system;
        let mut possible = Vec::new();
        let Some((goal, rest)) = moves.split_first() else {
            for thread in 0..state.threads.len() {
                system.thread_moves(state.clone(), thread, &mut possible)?;
            }
            System::drains(&state, &mut possible);
            let violation = system.violation(&state, possible.is_empty(), self.judge);
            return Ok(violation.map(|violation| (violation, system.sleepers(&state))));
        };
        if !self.tried.insert((moves.len(), FixedState::default().hash_one(&state))) {
            return Ok(None);
        }
        if goal.is_drain() {
            System::drains(&state, &mut possible);
        } else {
            system.thread_moves(state, goal.thread, &mut possible)?;
        }
        possible.retain(|(mv, _)| mv.may_be(goal));
        possible.sort_by_key(|(mv, _)| !mv.is_like(goal));
        for (mv, next) in possible {
            self.done.push(mv);
            let found = self.follow(next, rest)?;
            if found.is_some() {
                return Ok(found);
            }
            self.done.pop();
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    //! The search itself, against one that nobody here wrote: stateright's.

    use stateright::{Checker, Model, Property};

    use super::*;
    use crate::protocol::poll_wake::{Consumer, Gate, PollWake, Size};

    /// The same states and moves, for stateright.
    struct Stateright {
        protocol: PollWake,
    }

    /// A state in which positions have no numbers.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Plain {
        memory: Tso,
        threads: Vec<Position>,
        lists: Vec<crate::program::Sequence>,
    }

    impl Plain {
        fn of(system: &System<'_>, state: State<Tso>) -> Plain {
            let threads = system.positions(&state).into_vec();
            Plain { memory: state.memory, threads, lists: state.lists.into_vec() }
        }
    }

    impl Stateright {
        fn moves(&self, state: &Plain) -> Vec<Plain> {
            let system = System::new(self.protocol.program(), false);
            let Plain { memory, threads, lists } = state.clone();
            let numbered =
                threads.into_iter().enumerate().map(|(thread, position)| system.number(thread, position));
            let state = State { memory, threads: numbered.collect(), lists: lists.into() };
            let mut found = Vec::new();
            system.all_moves(&state, &mut found).unwrap();
            found.into_iter().map(|(_, next)| Plain::of(&system, next)).collect()
        }
    }

    impl Model for Stateright {
        type State = Plain;
        type Action = usize;

        fn init_states(&self) -> Vec<Plain> {
            let system = System::new(self.protocol.program(), false);
            vec![Plain::of(&system, system.start().unwrap())]
        }

        fn actions(&self, state: &Plain, actions: &mut Vec<usize>) {
            actions.extend(0..self.moves(state).len());
        }

        fn next_state(&self, state: &Plain, action: usize) -> Option<Plain> {
            self.moves(state).into_iter().nth(action)
        }

        fn properties(&self) -> Vec<Property<Self>> {
            vec![Property::always("nothing is owed", |model: &Stateright, state: &Plain| {
                let end = End {
                    program: model.protocol.program(),
                    newest: &|location| state.memory.newest(location),
                    threads: &state.threads,
                    lists: &state.lists,
                };
                !model.moves(state).is_empty() || model.protocol.owed(&end).is_empty()
            })]
        }
    }

    #[test]
    fn stateright_sees_the_same_states_and_the_same_shortest_misses() {
        for &gate in Gate::ALL {
            for &consumer in
                &[Consumer::EpollLevel, Consumer::PollOnce, Consumer::TwoPollers, Consumer::Activation]
            {
                let protocol = PollWake::new(gate, consumer, Size::of(consumer), None).unwrap();
                let all = Options { reduce: false, ..Options::default() };
                let ours = protocol.check(Memory::Tso, all).unwrap();
                let checker = Stateright { protocol }.checker().threads(1).spawn_bfs().join();
                let path = checker.discovery("nothing is owed").map(|path| path.into_actions().len());
                match ours.verdict {
                    Verdict::Violated(miss) => assert_eq!(path, Some(miss.steps.len()), "{gate} {consumer}"),
                    _ => assert_eq!(
                        (path, checker.unique_state_count()),
                        (None, ours.states),
                        "{gate} {consumer}"
                    ),
                }
            }
        }
    }
}
