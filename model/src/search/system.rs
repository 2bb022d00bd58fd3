//! A program and a memory machine together: states and the moves between them.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use foldhash::quality;
use smallvec::SmallVec;

use super::seen::Mark;
use super::{Error, Kind, Step};
use crate::memory::{
    Footprint, Foreseen, Future, Internal, Location, Machine, Operation, Outcome, Update, Value,
};
use crate::program::{Next, Position, Program, Sequence, Settled, Twins};

/// Everything there is at one moment.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct State<M> {
    pub memory: M,
    /// By thread the number of its position
    pub threads: SmallVec<[u32; 4]>,
    pub lists: SmallVec<[Sequence; 8]>,
}

impl<M: Clone> Clone for State<M> {
    fn clone(&self) -> Self {
        self.with(self.memory.clone())
    }
}

impl<M> State<M> {
    /// The same with another memory.
    fn with(&self, memory: M) -> State<M> {
        let (threads, lists) = (SmallVec::from_slice(&self.threads), SmallVec::from_slice(&self.lists));
        State { memory, threads, lists }
    }
}

/// Positions by the value that led there.
type After = SmallVec<[(Option<Value>, u32); 2]>;

/// The positions in which a thread was ever found, by number. A search asks the same of each of them again and again.
#[derive(Default)]
struct Positions<'p> {
    numbers: HashMap<Position, u32, FixedState>,
    positions: Vec<(Position, Ahead<'p>)>,
    known: Vec<Known>,
    profiles: HashMap<(u16, Footprint), u32, FixedState>,
    /// Where a step leads, by the value read, if it touches no list before the next step
    after: Vec<After>,
    /// The number of the same position in the thread that ends like this one, once it was asked for
    twins: Vec<Option<Option<u32>>>,
}

/// What there is to know of a position, in short.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Its place in the code
    pub place: u16,
    /// The number of this place and this step
    pub profile: u32,
    /// What the thread's next step may do to memory
    pub step: Footprint,
    /// Locks that it holds
    pub holds: u16,
    /// Of the values for which it waits at one time or another, those that make a difference to what it may do before
    pub matter: u8,
    /// Is there a next step?
    pub goes_on: bool,
    /// Is that something for which it may have to wait?
    pub may_wait: bool,
    /// If it is for one of these values, which
    pub awaits: Option<u8>,
    /// Is a claim violated here?
    pub violated: bool,
    /// Is its next step one for which its turn must have come?
    pub is_turn: bool,
    /// Has it had its turn?
    pub had_turn: bool,
}

/// What comes after a position.
#[derive(Clone, Copy)]
pub(super) struct Ahead<'p> {
    /// The thread's next step
    pub next: Option<Next<'p>>,
    /// What that asks of memory, and where
    pub operation: Option<(Option<Location>, Operation)>,
    pub future: &'p Future,
}

/// What leads from one state to another: a step of a thread, from a position, or of its buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub thread: usize,
    from: Option<u16>,
    location: Option<Location>,
    read: Option<Value>,
    written: Option<Value>,
    pub stale: bool,
}

impl Move {
    /// Is it a step of this thread from the same place in its code?
    pub fn is_from(&self, thread: usize, place: u16) -> bool {
        self.thread == thread && self.from == Some(place)
    }

    /// Could this be the other move, with a memory that does not take all values that are not 0 for 1?
    pub fn may_be(&self, other: &Move) -> bool {
        let is_zero = |value: Option<Value>| value.map(|value| value == 0);
        (self.thread, self.from, is_zero(self.read)) == (other.thread, other.from, is_zero(other.read))
    }

    /// Does it read and write the same values as the other?
    pub fn is_like(&self, other: &Move) -> bool {
        (self.read, self.written) == (other.read, other.written)
    }

    /// Did a store leave the buffer?
    pub fn is_drain(&self) -> bool {
        self.from.is_none()
    }
}

/// A program that runs on one kind of memory.
pub(super) struct System<'p> {
    pub program: &'p Program,
    /// Leave out interleavings that differ only in the order of independent steps?
    pub reduce: bool,
    /// Locations that are only locked and unlocked
    pub locks: u16,
    /// Locations for which nobody has to wait who could once have gone on without waiting
    pub steady: u16,
    /// Locations for whose value somebody waits
    pub awaited: u16,
    /// For every thread the one that must have had its turn before it may have its own
    pub predecessors: SmallVec<[Option<usize>; 4]>,
    /// Pairs of threads that end alike and may exchange their names
    twins: &'p [Twins],
    positions: RefCell<Vec<Positions<'p>>>,
}

impl<'p> System<'p> {
    pub fn new(program: &'p Program, reduce: bool) -> Self {
        let unlocked = program.threads().iter().map(|thread| thread.future(&thread.start()).unlocked);
        let locks = !unlocked.fold(0, |all, unlocked| all | unlocked);
        let positions = program.threads().iter().map(|_| Positions::default()).collect();
        System {
            program,
            reduce,
            locks,
            steady: program.steady(),
            awaited: program.awaited(),
            predecessors: program.threads().iter().map(|_| None).collect(),
            twins: &[],
            positions: RefCell::new(positions),
        }
    }

    /// The same, in which threads that are alike have their turns in the order of their numbers, and those that end alike exchange their names.
    pub fn in_turn(mut self) -> Self {
        self.twins = self.program.twins();
        let alike: SmallVec<[usize; 4]> = self.program.alike().collect();
        for pair in alike.windows(2) {
            self.predecessors[pair[1]] = Some(pair[0]);
        }
        self
    }

    /// Does the thread wait for its turn? A turn that has come does not go away.
    pub fn awaits_turn<M>(&self, state: &State<M>, thread: usize) -> bool {
        // Whoever has had one himself has no predecessor without.
        let comes_late = |before| self.known(state, thread).is_turn && !self.known(state, before).had_turn;
        self.predecessors[thread].is_some_and(comes_late)
    }

    /// The state before the first step.
    pub fn start<M: Machine>(&self) -> Result<State<M>, Error> {
        let mut state = self.start_of_everything()?;
        self.forget(&mut state);
        Ok(state)
    }

    /// The same, with nothing forgotten.
    pub fn start_of_everything<M: Machine>(&self) -> Result<State<M>, Error> {
        let program = self.program;
        let mut lists: SmallVec<[Sequence; 8]> = program.lists().collect();
        let mut threads = SmallVec::new();
        for (thread, code) in program.threads().iter().enumerate() {
            let mut position = code.start();
            self.settle(&mut position, &mut lists, thread)?;
            threads.push(self.number(thread, position));
        }
        let memory = M::new(program.initial(), program.threads().len())?;
        Ok(State { memory, threads, lists })
    }

    fn settle(&self, position: &mut Position, lists: &mut [Sequence], thread: usize) -> Result<bool, Error> {
        let code = &self.program.threads()[thread];
        let (settled, touched) = code.settle(position, lists);
        match settled {
            Settled::Waiting | Settled::Violated | Settled::Finished => Ok(touched),
            Settled::Broken => Err(Error::Broken(code.name().to_owned())),
        }
    }

    /// The number of a position of this thread.
    pub fn number(&self, thread: usize, position: Position) -> u32 {
        let positions = &mut self.positions.borrow_mut()[thread];
        let code = &self.program.threads()[thread];
        let number = positions.known.len() as u32;
        *positions.numbers.entry(position).or_insert_with_key(|position| {
            let next = code.next(position);
            let future = code.future(position);
            let step = next.map(|next| next.footprint(position)).unwrap_or_default();
            let profiles = positions.profiles.len() as u32;
            let operation = next.and_then(|next| next.operation(position));
            let awaits = match operation {
                Some((_, Operation::Modify { location, update: Update::Await { expected, .. }, .. })) => {
                    code.waits().iter().position(|place| *place == (location, expected))
                }
                _ => None,
            };
            positions.known.push(Known {
                place: position.place(),
                profile: *positions.profiles.entry((position.place(), step)).or_insert(profiles),
                step,
                holds: future.holds,
                matter: code.waits_that_matter(position.place()),
                goes_on: next.is_some(),
                may_wait: next.is_some_and(Next::may_wait),
                awaits: awaits.map(|stop| stop as u8),
                violated: code.violated(position).is_some(),
                is_turn: code.is_turn(position),
                had_turn: position.had_turn(),
            });
            positions.positions.push((position.clone(), Ahead { next, operation, future }));
            positions.after.push(SmallVec::new());
            positions.twins.push(None);
            number
        })
    }

    /// Where the threads are.
    pub fn positions<M>(&self, state: &State<M>) -> SmallVec<[Position; 4]> {
        let positions = self.positions.borrow();
        let threads = state.threads.iter().zip(&*positions);
        threads.map(|(number, positions)| positions.positions[*number as usize].0.clone()).collect()
    }

    /// What there is to know of where a thread is.
    pub fn known<M>(&self, state: &State<M>, thread: usize) -> Known {
        self.positions.borrow()[thread].known[state.threads[thread] as usize]
    }

    /// What comes after it.
    pub fn ahead<M>(&self, state: &State<M>, thread: usize) -> Ahead<'p> {
        self.positions.borrow()[thread].positions[state.threads[thread] as usize].1
    }

    /// Brings a thread to where it is after its next step, having read this value.
    fn go_on<M>(&self, state: &mut State<M>, thread: usize, read: Option<Value>) -> Result<(), Error> {
        let from = state.threads[thread] as usize;
        let (mut position, next) = {
            let positions = &self.positions.borrow()[thread];
            if let Some((_, to)) = positions.after[from].iter().find(|(value, _)| *value == read) {
                state.threads[thread] = *to;
                return Ok(());
            }
            let (position, ahead) = &positions.positions[from];
            (position.clone(), ahead.next)
        };
        if let Some(next) = next {
            // Nobody asks whether the last one has had its turn.
            if self.program.threads()[thread].is_turn(&position) && self.predecessors.contains(&Some(thread))
            {
                position.have_turn();
            }
            next.done(&mut position, read);
        }
        let touched = self.settle(&mut position, &mut state.lists, thread)?;
        let to = self.number(thread, position);
        state.threads[thread] = to;
        if !touched {
            self.positions.borrow_mut()[thread].after[from].push((read, to));
        }
        Ok(())
    }

    /// Of states that differ only in the names of threads that end alike, takes one.
    pub fn name<M: Machine>(&self, state: &mut State<M>) {
        for Twins { threads: [one, other], from, lists } in self.twins {
            let (one, other) = (*one, *other);
            let (Some(other_as_one), Some(one_as_other)) =
                (self.twin(state, other, [from[1], from[0]], one), self.twin(state, one, *from, other))
            else {
                continue;
            };
            let order = state.threads[one].cmp(&other_as_one);
            let order = lists.iter().fold(order, |order, pair| {
                order.then_with(|| state.lists[pair[0]].cmp(&state.lists[pair[1]]))
            });
            if order.then_with(|| state.memory.order(one, other)) == Ordering::Greater {
                (state.threads[one], state.threads[other]) = (other_as_one, one_as_other);
                state.memory.exchange(one, other);
                lists.iter().for_each(|pair| state.lists.swap(pair[0], pair[1]));
            }
        }
    }

    /// Where a thread is, as the number of a position of the `other`, if both do the same from there on.
    fn twin<M>(&self, state: &State<M>, thread: usize, from: [u16; 2], other: usize) -> Option<u32> {
        let number = state.threads[thread] as usize;
        let known = self.positions.borrow()[thread].twins[number];
        known.unwrap_or_else(|| {
            let code = &self.program.threads()[other];
            let position = self.positions.borrow()[thread].positions[number].0.moved(from[0], code, from[1]);
            let twin = position.map(|position| self.number(other, position));
            self.positions.borrow_mut()[thread].twins[number] = Some(twin);
            twin
        })
    }

    /// Forgets what of memory no thread can find out any more.
    pub fn forget<M: Machine>(&self, state: &mut State<M>) {
        if !M::FORGETS {
            return;
        }
        let foreseen: SmallVec<[Foreseen<'_>; 4]> = (0..state.threads.len())
            .map(|thread| {
                let Ahead { future, operation, .. } = self.ahead(state, thread);
                (future, operation.map(|(_, operation)| operation))
            })
            .collect();
        state.memory.forget(&foreseen);
    }

    /// Is a claim violated by the last step of this thread?
    pub fn violated_by<M>(&self, state: &State<M>, thread: usize) -> bool {
        self.known(state, thread).violated
    }

    /// By what a state is compared. Without reduction it is only the same as itself.
    pub fn mark<M: Machine>(&self, state: &State<M>) -> Mark {
        let mut mark = Mark::default();
        self.mark_in(state, &mut mark);
        mark
    }

    /// The same, in the place of another.
    pub fn mark_in<M: Machine>(&self, state: &State<M>, mark: &mut Mark) {
        mark.kept.clear();
        let mut class = quality::FixedState::default().build_hasher();
        if self.reduce {
            (&state.threads, &state.lists).hash(&mut class);
            state.memory.keep(&mut class, &mut mark.kept);
        } else {
            state.hash(&mut class);
        }
        mark.class = class.finish();
    }

    /// Of reads that lead to the same, leaves out those after which the thread knows no less than after another.
    pub fn leave_out_the_worse<M: Machine>(&self, moves: &mut Vec<(Move, State<M>)>) {
        moves.dedup_by(|(mv, later), (before, earlier)| {
            (mv.written, before.written) == (None, None)
                && later.threads == earlier.threads
                && later.lists == earlier.lists
                && later.memory.knows_no_less(&earlier.memory, mv.thread, self.awaited)
        });
    }

    /// Appends all moves out of a state.
    pub fn all_moves<M: Machine>(
        &self,
        state: &State<M>,
        found: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        for thread in 0..self.program.threads().len() {
            self.thread_moves(state.clone(), thread, found)?;
        }
        Self::drains(state, found);
        found.iter_mut().for_each(|(_, next)| self.forget(next));
        Ok(())
    }

    /// Appends the moves of one thread.
    pub fn thread_moves<M: Machine>(
        &self,
        state: State<M>,
        thread: usize,
        found: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        let Ahead { next, operation, .. } = self.ahead(&state, thread);
        let Some(next) = next else {
            return Ok(());
        };
        let from = Some(self.known(&state, thread).place);
        let State { memory, threads, lists } = state;
        let mut reached = |memory: M, mv: Move| {
            let (threads, lists) = (SmallVec::from_slice(&threads), SmallVec::from_slice(&lists));
            let mut after = State { memory, threads, lists };
            self.go_on(&mut after, thread, mv.read)?;
            found.push((mv, after));
            Ok::<(), Error>(())
        };
        if next.is_choice() {
            for taken in [1, 0] {
                let mv =
                    Move { thread, from, location: None, read: Some(taken), written: None, stale: false };
                reached(memory.clone(), mv)?;
            }
            return Ok(());
        }
        let Some((location, operation)) = operation else {
            return Err(Error::Broken(self.program.threads()[thread].name().to_owned()));
        };
        let mut outcomes = Vec::new();
        memory.outcomes(thread, operation, &mut outcomes)?;
        for Outcome { read, written, stale, machine } in outcomes {
            reached(machine, Move { thread, from, location, read, written, stale })?;
        }
        Ok(())
    }

    /// Appends what the buffers do.
    pub fn drains<M: Machine>(state: &State<M>, found: &mut Vec<(Move, State<M>)>) {
        let mut drains = Vec::new();
        state.memory.internal(&mut drains);
        found.extend(drains.into_iter().map(|Internal { thread, location, value, machine }| {
            let (location, written) = (Some(location), Some(value));
            (Move { thread, from: None, location, read: None, written, stale: false }, state.with(machine))
        }));
    }

    /// A move in words.
    pub fn step(&self, mv: &Move) -> Step {
        let code = &self.program.threads()[mv.thread];
        let next = mv.from.and_then(|place| code.next_at(place));
        Step {
            thread: code.name().to_owned(),
            site: next.map(|next| next.site().to_owned()).unwrap_or_default(),
            kind: next.map_or(Kind::Drain, |next| next.kind()),
            object: mv.location.map(|location| self.program.label(location).to_owned()),
            order: next.and_then(|next| next.order()),
            read: mv.read,
            written: mv.written,
            stale: mv.stale,
        }
    }
}
