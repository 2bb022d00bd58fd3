//! A program and a memory machine together: states and the moves between them.

use smallvec::SmallVec;

use super::{Error, Kind, Step};
use crate::memory::{Footprint, Foreseen, Internal, Location, Machine, Outcome, Value};
use crate::program::{Position, Program, Sequence, Settled};

/// Everything there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State<M> {
    pub memory: M,
    pub threads: SmallVec<[Position; 4]>,
    pub lists: SmallVec<[Sequence; 8]>,
}

impl<M> State<M> {
    /// The same with another memory.
    fn with(&self, memory: M) -> State<M> {
        State { memory, threads: self.threads.clone(), lists: SmallVec::from_slice(&self.lists) }
    }
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
    pub fn is_from(&self, thread: usize, position: &Position) -> bool {
        self.thread == thread && self.from == Some(position.place())
    }

    /// Did a store leave the buffer?
    pub fn is_drain(&self) -> bool {
        self.from.is_none()
    }
}

/// A program that runs on one kind of memory.
pub(super) struct System<'a> {
    pub program: &'a Program,
    /// Leave out interleavings that differ only in the order of independent steps?
    pub reduce: bool,
    /// Locations that are only locked and unlocked
    pub locks: u16,
    /// Locations for which nobody has to wait who could once have gone on without waiting
    pub steady: u16,
}

impl<'a> System<'a> {
    pub fn new(program: &'a Program, reduce: bool) -> Self {
        let all = program.threads().iter().map(|thread| thread.future(&thread.start()).all);
        let locks = !all.fold(Footprint::default(), Footprint::union).unlocked;
        System { program, reduce, locks, steady: program.steady() }
    }

    /// The state before the first step.
    pub fn start<M: Machine>(&self) -> Result<State<M>, Error> {
        let program = self.program;
        let mut state = State {
            memory: M::new(program.initial(), program.threads().len())?,
            threads: program.threads().iter().map(|thread| thread.start()).collect(),
            lists: program.lists().collect(),
        };
        for thread in 0..program.threads().len() {
            self.settle(&mut state, thread)?;
        }
        self.forget(&mut state);
        Ok(state)
    }

    fn settle<M: Machine>(&self, state: &mut State<M>, thread: usize) -> Result<(), Error> {
        match self.program.threads()[thread].settle(&mut state.threads[thread], &mut state.lists) {
            Settled::Waiting | Settled::Violated | Settled::Finished => Ok(()),
            Settled::Broken => Err(Error::Broken(self.program.threads()[thread].name().to_owned())),
        }
    }

    /// Forgets what of memory no thread can find out any more.
    pub fn forget<M: Machine>(&self, state: &mut State<M>) {
        let threads = self.program.threads().iter().zip(&state.threads);
        let foreseen: SmallVec<[Foreseen<'_>; 4]> = threads
            .map(|(code, position)| {
                let next = code.next(position).and_then(|next| next.operation(position));
                (code.future(position), next.map(|(_, operation)| operation))
            })
            .collect();
        state.memory.forget(&foreseen);
    }

    /// Appends all moves out of a state.
    pub fn all_moves<M: Machine>(
        &self,
        state: &State<M>,
        found: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        for thread in 0..self.program.threads().len() {
            self.thread_moves(state, thread, found)?;
        }
        Self::drains(state, found);
        found.iter_mut().for_each(|(_, next)| self.forget(next));
        Ok(())
    }

    /// Appends the moves of one thread.
    pub fn thread_moves<M: Machine>(
        &self,
        state: &State<M>,
        thread: usize,
        found: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        let code = &self.program.threads()[thread];
        let position = &state.threads[thread];
        let Some(next) = code.next(position) else {
            return Ok(());
        };
        let mut reached = |memory: M, mv: Move, position: Position| {
            let mut after = state.with(memory);
            after.threads[thread] = position;
            self.settle(&mut after, thread)?;
            found.push((mv, after));
            Ok::<(), Error>(())
        };
        let from = Some(position.place());
        if next.is_choice() {
            for taken in [1, 0] {
                let mv =
                    Move { thread, from, location: None, read: Some(taken), written: None, stale: false };
                reached(state.memory.clone(), mv, next.chosen(position, taken == 1))?;
            }
            return Ok(());
        }
        let Some((location, operation)) = next.operation(position) else {
            return Err(Error::Broken(code.name().to_owned()));
        };
        let mut outcomes = Vec::new();
        state.memory.outcomes(thread, operation, &mut outcomes)?;
        for Outcome { read, written, stale, machine } in outcomes {
            let mv = Move { thread, from, location, read, written, stale };
            reached(machine, mv, next.done(position, read))?;
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
