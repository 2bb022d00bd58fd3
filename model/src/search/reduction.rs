//! reduction head TODO

use super::Error;
use super::system::{Move, State, System};
use crate::memory::{Footprint, Location, Machine};
use crate::program::Next;

/// A set of actors: threads in the low half of the bits, their store buffers in the high half.
type Actors = u64;

const BUFFERS: usize = 32;

impl System<'_> {
    /// Gives all states to which one block leads, each with the steps that lead there; `found` says whether a state is further from the
    /// start than this one. Says whether anything can move at all.
    pub fn expand<M: Machine>(
        &self,
        state: &State<M>,
        found: &mut impl FnMut(&[Move], State<M>) -> bool,
    ) -> Result<bool, Error> {
        let mut blocks = Blocks { system: self, steps: Vec::new(), found, any: false, further: false };
        if self.reduce && let Some(actor) = self.alone(state, &[]) {
            blocks.run(state, actor, true)?;
        }
        if !blocks.further {
            for actor in self.unfinished(state) {
                blocks.run(state, actor, false)?;
            }
        }
        Ok(blocks.any)
    }

    /// Somebody who can move, and whose next step is the same before and after whatever all others may do.
    fn alone<M: Machine>(&self, state: &State<M>, passed: &[Move]) -> Option<usize> {
        let moves_left = |actor: &usize| {
            let step = self.before(state, *actor);
            self.moves(state, *actor, passed)
                && self.whatever_others_do(state, *actor, |others| M::moves_left(step, others))
        };
        self.unfinished(state).find(moves_left)
    }

    fn goes_on<M: Machine>(&self, before: &State<M>, after: &State<M>, actor: usize, passed: &[Move]) -> bool {
        let moves_right = || {
            let step = self.footprint(before, actor);
            let locks = step.reads & step.writes & self.locks != 0;
            locks || self.whatever_others_do(after, actor, |others| M::moves_right(step, others))
        };
        actor < BUFFERS && self.moves(after, actor, passed) && self.is_steady(after, actor) && moves_right()
    }

    /// Can it move, and has it not passed this place in its code before?
    fn moves<M: Machine>(&self, state: &State<M>, actor: usize, passed: &[Move]) -> bool {
        actor >= BUFFERS
            || self.next(state, actor).is_some()
                && !passed.iter().any(|mv| mv.is_from(actor, &state.threads[actor]))
                && !self.waits(state, actor)
    }

    /// Is what it does next something for which it will never have to wait, if it does not have to now?
    fn is_steady<M: Machine>(&self, state: &State<M>, thread: usize) -> bool {
        let Some(next) = self.next(state, thread) else { return true };
        let footprint = next.footprint(&state.threads[thread]);
        !next.may_wait() || (footprint.reads & !self.steady) == 0
    }

    /// Does this hold of what the others may do while `actor` stands still? If it holds of more, it does; if not of less, it does not.
    fn whatever_others_do<M: Machine>(&self, state: &State<M>, actor: usize, holds: impl Fn(Footprint) -> bool) -> bool {
        let threads = self.program.threads();
        let others = || (0..threads.len()).filter(|thread| *thread != actor % BUFFERS);
        let pending = others().fold(Footprint::default(), |all, thread| all.union(state.memory.pending(thread)));
        let sum = |what: &dyn Fn(usize) -> Footprint| others().fold(pending, |all, thread| all.union(what(thread)));
        if holds(sum(&|thread| threads[thread].future(&state.threads[thread]).all)) {
            return true;
        }
        let next = |thread| if self.waits(state, thread) { Footprint::default() } else { self.footprint(state, thread) };
        holds(sum(&next)) && holds(self.others(state, actor, pending))
    }

    /// What the others may do while `actor` stands still, to begin with the stores in their buffers. A lock that it holds stays held, and
    /// whoever waits goes on only if somebody writes what he waits for.
    fn others<M: Machine>(&self, state: &State<M>, actor: usize, pending: Footprint) -> Footprint {
        let (still, buffer) = (actor % BUFFERS, actor >= BUFFERS);
        let threads = self.program.threads();
        let own = state.memory.pending(still).writes;
        let held = threads[still].future(&state.threads[still]).holds | if buffer { own & self.locks } else { 0 };
        let mut written = if buffer { 0 } else { own };
        loop {
            let mut all = pending;
            for thread in (0..threads.len()).filter(|thread| *thread != still) {
                let is_there = |location: Location, value| {
                    let comes = written & !held & location.bit() != 0;
                    comes || !state.memory.lacks(thread, location, value)
                };
                all = all.union(threads[thread].future_if(&state.threads[thread], is_there));
            }
            if all.writes & !written == 0 {
                return all;
            }
            written |= all.writes;
        }
    }

    /// Does a thread wait for a value?
    fn waits<M: Machine>(&self, state: &State<M>, thread: usize) -> bool {
        let operation = self.next(state, thread).and_then(|next| next.operation(&state.threads[thread]));
        operation.is_some_and(|(_, operation)| state.memory.waits(thread, operation))
    }

    /// Everybody who has something left to do.
    fn unfinished<M: Machine>(&self, state: &State<M>) -> impl Iterator<Item = usize> {
        let set: Actors = (0..self.program.threads().len()).fold(0, |all, thread| {
            let code = u64::from(self.next(state, thread).is_some()) << thread;
            let buffer = u64::from(state.memory.oldest(thread).is_some()) << (thread + BUFFERS);
            all | code | buffer
        });
        (0..u64::BITS as usize).filter(move |actor| set & (1 << actor) != 0)
    }

    /// The next step of a thread; buffers have none.
    fn next<M: Machine>(&self, state: &State<M>, actor: usize) -> Option<Next<'_>> {
        let thread = (actor < BUFFERS).then_some(actor)?;
        self.program.threads()[thread].next(&state.threads[thread])
    }

    /// What the next step does.
    fn footprint<M: Machine>(&self, state: &State<M>, actor: usize) -> Footprint {
        if actor >= BUFFERS {
            let drained = state.memory.oldest(actor - BUFFERS).map(Footprint::write).unwrap_or_default();
            return Footprint { reads: drained.writes, ..drained };
        }
        self.next(state, actor).map(|next| next.footprint(&state.threads[actor])).unwrap_or_default()
    }

    /// The same, but for an unlock. It is independent of everything: until it is done, whoever else comes to the lock waits.
    fn before<M: Machine>(&self, state: &State<M>, actor: usize) -> Footprint {
        let step = self.footprint(state, actor);
        let unlocks = step.writes & self.locks != 0 && (actor >= BUFFERS || step.reads == 0);
        if unlocks { Footprint::default() } else { step }
    }
}

struct Blocks<'a, F> {
    system: &'a System<'a>,
    steps: Vec<Move>,
    found: &'a mut F,
    any: bool,
    further: bool,
}

impl<F> Blocks<'_, F> {
    fn run<M: Machine>(&mut self, state: &State<M>, actor: usize, alone: bool) -> Result<(), Error>
    where
        F: FnMut(&[Move], State<M>) -> bool,
    {
        let mut moves = Vec::new();
        if actor < BUFFERS {
            self.system.thread_moves(state, actor, &mut moves)?;
        } else {
            System::drains(state, &mut moves);
            moves.retain(|(mv, _)| mv.thread == actor - BUFFERS);
        }
        self.any |= !moves.is_empty();
        for (mv, mut next) in moves {
            self.steps.push(mv);
            let system = self.system;
            if !system.reduce || system.violated(&next) {
                system.forget(&mut next);
                self.further |= (self.found)(&self.steps, next);
            } else if !alone && system.goes_on(state, &next, actor, &self.steps) {
                self.run(&next, actor, false)?;
            } else if let Some(actor) = system.alone(&next, &self.steps) {
                self.run(&next, actor, true)?;
            } else {
                system.forget(&mut next);
                self.further |= (self.found)(&self.steps, next);
            }
            self.steps.pop();
        }
        Ok(())
    }
}
