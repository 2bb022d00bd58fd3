//! A program and a memory machine together: states and the moves between them.

use smallvec::SmallVec;

use super::{Error, Kind, Step};
use std::sync::atomic::Ordering;

use crate::memory::{Done, Footprint, Internal, Machine, Outcome};
use crate::program::{Position, Program, Sequence, Settled};

/// Everything there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State<M> {
    pub memory: M,
    pub threads: SmallVec<[Position; 4]>,
    pub lists: SmallVec<[Sequence; 6]>,
}

impl<M> State<M> {
    /// The same with another memory.
    fn with(&self, memory: M) -> State<M> {
        State { memory, threads: self.threads.clone(), lists: SmallVec::from_slice(&self.lists) }
    }
}

/// What leads from one state to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub done: Done,
    pub stale: bool,
}

/// A program that runs on one kind of memory.
pub(super) struct System<'a> {
    pub program: &'a Program,
    /// Leave out interleavings that differ only in the order of independent steps?
    pub reduce: bool,
    /// Locations that are only locked and unlocked
    pub locks: u16,
}

impl<'a> System<'a> {
    pub fn new(program: &'a Program, reduce: bool) -> Self {
        let all = program.threads().iter().map(|thread| thread.future(&thread.start()).all);
        let locks = !all.fold(Footprint::default(), Footprint::union).unlocked;
        System { program, reduce, locks }
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
        Ok(state)
    }

    fn settle<M: Machine>(&self, state: &mut State<M>, thread: usize) -> Result<(), Error> {
        match self.program.threads()[thread].settle(&mut state.threads[thread], &mut state.lists) {
            Settled::Waiting | Settled::Violated | Settled::Finished => {
                let code = &self.program.threads()[thread];
                let position = &state.threads[thread];
                let next = code.next(position).and_then(|next| next.operation(position));
                state.memory.narrow(thread, code.future(position), next.map(|(_, operation)| operation));
            }
            Settled::Broken => {
                return Err(Error::Broken(self.program.threads()[thread].name().to_owned()));
            }
        }
        Ok(())
    }

    /// Appends all moves out of a state.
    pub fn moves<M: Machine>(
        &self,
        state: &State<M>,
        found: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        for thread in 0..self.program.threads().len() {
            self.thread_moves(state, thread, false, found)?;
        }
        let mut drains = Vec::new();
        state.memory.internal(&mut drains);
        found.extend(drains.into_iter().map(|drain| Self::drained(state, drain)));
        found.iter_mut().for_each(|(_, next)| next.memory.forget_news());
        Ok(())
    }

    /// Appends the moves of one thread, or if `news` only those that read the message that was just written.
    pub fn thread_moves<M: Machine>(
        &self,
        state: &State<M>,
        thread: usize,
        news: bool,
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
        let full_barrier = next.order() == Some(Ordering::SeqCst);
        let quiet = Done { thread, drain: false, location: None, read: None, written: None, full_barrier };
        if next.is_choice() {
            for taken in [1, 0] {
                let mv = Move { done: Done { read: Some(taken), ..quiet }, stale: false };
                reached(state.memory.clone(), mv, next.chosen(position, taken == 1))?;
            }
            return Ok(());
        }
        let Some((location, operation)) = next.operation(position) else {
            return Err(Error::Broken(code.name().to_owned()));
        };
        let mut outcomes = Vec::new();
        if news {
            state.memory.news(thread, operation, &mut outcomes)?;
        } else {
            state.memory.outcomes(thread, operation, &mut outcomes)?;
        }
        for Outcome { read, written, stale, machine } in outcomes {
            let mv = Move { done: Done { location, read, written, ..quiet }, stale };
            reached(machine, mv, next.done(position, read))?;
        }
        Ok(())
    }

    pub fn drained<M: Machine>(state: &State<M>, drain: Internal<M>) -> (Move, State<M>) {
        let Internal { thread, location, value, machine } = drain;
        let after = state.with(machine);
        let (location, written) = (Some(location), Some(value));
        let done = Done { thread, drain: true, location, read: None, written, full_barrier: false };
        (Move { done, stale: false }, after)
    }

    /// A move in words. `from` is the state it leaves.
    pub fn step<M: Machine>(&self, from: &State<M>, Move { done, stale }: Move) -> Step {
        let code = &self.program.threads()[done.thread];
        let next = if done.drain { None } else { code.next(&from.threads[done.thread]) };
        Step {
            thread: code.name().to_owned(),
            site: next.map(|next| next.site().to_owned()).unwrap_or_default(),
            kind: next.map_or(Kind::Drain, |next| next.kind()),
            object: done.location.map(|location| self.program.label(location).to_owned()),
            order: next.and_then(|next| next.order()),
            read: done.read,
            written: done.written,
            stale,
        }
    }
}
