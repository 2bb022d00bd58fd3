//! A program and a memory machine together: states and the moves between them.

use smallvec::SmallVec;

use super::{Error, Kind, Step};
use crate::memory::{Footprint, Internal, Location, Machine, Outcome, Value};
use crate::program::{Next, Position, Program, Sequence, Settled};

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
    pub thread: usize,
    /// Does memory move, not the thread?
    pub drain: bool,
    pub location: Option<Location>,
    pub read: Option<Value>,
    pub written: Option<Value>,
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
        let all = program.threads().iter().map(|thread| thread.future(&thread.start()));
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
                state.memory.narrow(thread, code.outlook(position), next.map(|(_, operation)| operation));
            }
            Settled::Broken => {
                return Err(Error::Broken(self.program.threads()[thread].name().to_owned()));
            }
        }
        Ok(())
    }

    /// Appends the moves out of a state that have to be tried.
    ///
    /// With `reduce` these are a persistent set (Godefroid, *Partial-order methods*, 1996): if everything that one
    /// thread can do next is independent of everything that the others may still do, only that thread moves. Every
    /// state in which nothing can move is still reached, by a path of the same length. No thread is put off for
    /// ever: a thread that goes back in its code never moves alone.
    pub fn moves<M: Machine>(
        &self,
        state: &State<M>,
        found: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        let threads = 0..self.program.threads().len();
        let mut drains = Vec::new();
        state.memory.internal(&mut drains);
        if self.reduce {
            for thread in threads.clone() {
                let next = self.program.threads()[thread].next(&state.threads[thread]);
                if next.is_some_and(|next| self.alone(state, thread, &next)) {
                    self.thread_moves(state, thread, false, found)?;
                    let here = &state.threads[thread];
                    if !found.is_empty() && found.iter().all(|(_, next)| next.threads[thread].is_after(here))
                    {
                        return Ok(());
                    }
                    found.clear();
                }
            }
            let alone = drains
                .iter()
                .position(|drain| !self.conflicts(state, drain.thread, Footprint::write(drain.location)));
            if let Some(index) = alone {
                found.push(Self::drained(state, drains.swap_remove(index)));
                return Ok(());
            }
        }
        for thread in threads {
            self.thread_moves(state, thread, false, found)?;
        }
        found.extend(drains.into_iter().map(|drain| Self::drained(state, drain)));
        Ok(())
    }

    /// Is the next step of `thread` independent of all that the others may do from now on?
    fn alone<M: Machine>(&self, state: &State<M>, thread: usize, next: &Next<'_>) -> bool {
        let private = match next.operation(&state.threads[thread]) {
            Some((_, operation)) => state.memory.private(thread, operation),
            None => next.is_choice(),
        };
        private || !self.conflicts(state, thread, next.footprint())
    }

    fn conflicts<M: Machine>(&self, state: &State<M>, thread: usize, footprint: Footprint) -> bool {
        let threads = self.program.threads().iter().enumerate();
        threads.filter(|(other, _)| *other != thread).any(|(other, code)| {
            footprint.conflicts(code.future(&state.threads[other]))
                || footprint.conflicts(state.memory.pending(other))
        })
    }

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
        let quiet = Move { thread, drain: false, location: None, read: None, written: None, stale: false };
        if next.is_choice() {
            for taken in [1, 0] {
                let mv = Move { read: Some(taken), ..quiet };
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
            let mv = Move { location, read, written, stale, ..quiet };
            reached(machine, mv, next.done(position, read))?;
        }
        Ok(())
    }

    pub fn drained<M: Machine>(state: &State<M>, drain: Internal<M>) -> (Move, State<M>) {
        let Internal { thread, location, value, machine } = drain;
        let after = state.with(machine);
        let written = Some(value);
        (Move { thread, drain: true, location: Some(location), read: None, written, stale: false }, after)
    }

    /// A move in words. `from` is the state it leaves.
    pub fn step<M: Machine>(&self, from: &State<M>, mv: Move) -> Step {
        let code = &self.program.threads()[mv.thread];
        let next = if mv.drain { None } else { code.next(&from.threads[mv.thread]) };
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
