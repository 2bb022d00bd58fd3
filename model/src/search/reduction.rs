//! Leaving out interleavings that differ only in the order of independent steps.
//!
//! An *actor* is a thread or a store buffer. What all others may do while one actor stands still is known from their code: everything that
//! is left of it, but nothing beyond a lock that this actor holds, nor beyond a place where a value is waited for that is not there and
//! that none of them may write ([`System::others`]). Held against that, a step can be of two kinds (Lipton, *Reduction*, 1975):
//!
//! - It *moves left*: it can be done, and it is the same before and after whatever the others may do. The release of a lock is such a step,
//!   and under RC11 every store, since a store may be inserted anywhere. Whoever has one is the only one to move: he is *alone*.
//! - It *moves right*: it was done, and could as well be done after whatever the others may do until its actor's next step. Taking a lock
//!   is such a step, and under RC11 every load, since an old message may be read late. Its actor goes on at once, if he can and if his
//!   next step is one that nobody can take from him ([`Program::steady`](crate::program::Program::steady)).
//!
//! So one actor's *block* is a run of steps that move right, one more step, and all steps of whomever that are then done alone. Only the
//! states between blocks are remembered; out of each of them one block of every actor is tried, or only the one of somebody alone. A block
//! ends early where an actor would pass the same place in its code again.
//!
//! **Why no end is lost, and no shortest way to one.** Claim: if an execution *E* leads from a remembered state to an *end*, in which
//! nothing can move, then that end is found, |*E*| steps further. By induction over |*E*|; executions that differ in the order of
//! independent steps are one. If somebody is alone, he moves in *E*, as nothing can move in the end, and nothing before
//! that disturbs his step, so it can be brought to the front: *E* = *p E′*. If nobody is, of the executions that are the same as *E* take one
//! in which steps of the same actor follow each other most often. Let *c* be the steps at its front that the search makes one block of, as far as
//! they move right. The actor's next step is in *E*: it can be done after *c*, nobody can take it from him, and nothing can move in the end. So it
//! follows *c* at once: otherwise everything between the two could be done before *c*, for it is independent of the last step of
//! *c* and then, the actor standing still, of the one before, and so on; and steps of the same actor would follow each other once more.
//! So *E* = *b E′* with a block *b* that is tried. That a block ends early does no harm: out of the state there everything is tried. A state is searched
//! again if a shorter way to it is found, so it has been searched on a shortest one.
//!
//! **Claims** in a thread's code are violated in states that are no ends, where somebody alone might go round for ever. So if no step that is done alone leads
//! further from the start, in the sense of shortest ways, everybody is tried. Let *E* be a shortest execution from a remembered state to a
//! violated claim. If somebody is alone and not in *E*, then *E* is still possible after his steps, either in a state further from the
//! start, of which there are finitely many, or where everybody is tried. If a step that moves right is its actor's last one in *E*, *E* without it is
//! possible too, unless it is the violation; so in every other case his next step is in *E*, and the argument above holds. The steps of those who
//! are alone are extra, so the way to a violated claim need not be the shortest.
//!
//! **Threads that are alike** ([`Code::locked_in_turn`](crate::program::Code::locked_in_turn)). If they exchange their names, an execution to an end, or to
//! a violated claim, becomes another one that is as long. So one of those that differ in nothing else is enough, and it is the one in which those that
//! have turns are the first ones, and have them in the order of their numbers: whoever comes before his turn waits. All turns are taken of one
//! lock. So no two of them are independent, executions that differ in the order of independent steps have them in the same order, and the
//! argument above stands if it is read as one of executions in that order: a turn that has come does not go away. An end is still where
//! nothing could move if there were no turns.

use std::cell::{Cell, OnceCell};

use smallvec::SmallVec;

use super::Error;
use super::seen::Mark;
use super::system::{Known, Move, State, System};
use crate::memory::{Footprint, Machine};

/// A set of actors: threads in the low half of the bits, their store buffers in the high half.
type Actors = u64;

const BUFFERS: usize = 32;

/// The blocks out of one state after another.
pub(super) struct Blocks<'a, 'p, M> {
    system: &'a System<'p>,
    /// The steps of the blocks out of one state, each with the one before it
    steps: Vec<(Move, Option<usize>)>,
    moves: Vec<(Move, State<M>)>,
    /// How many steps were done so far, out of all states
    pub done: usize,
    /// Could anything move in the last of these states?
    any: bool,
    /// Where unfinished blocks have come to, all after as many steps, and after one more
    reached: (Vec<Reached<M>>, Vec<Reached<M>>),
}

/// Where an unfinished block has come to.
struct Reached<M> {
    state: State<M>,
    /// The last of its steps
    last: usize,
    /// Who goes on
    actor: usize,
    /// Is what he does next done alone?
    alone: bool,
    /// By what the state is compared, once it was, having forgotten what it can
    mark: Option<Mark>,
}

/// One block.
pub(super) struct Way<'a> {
    steps: &'a [(Move, Option<usize>)],
    last: usize,
}

impl Way<'_> {
    /// Its steps, the last first.
    fn backwards(&self) -> impl Iterator<Item = &Move> {
        let last = Some(&self.steps[self.last]);
        std::iter::successors(last, |(_, before)| before.map(|before| &self.steps[before])).map(|(mv, _)| mv)
    }

    /// How many steps it has.
    pub fn len(&self) -> usize {
        self.backwards().count()
    }

    /// Its steps.
    pub fn steps(&self) -> Vec<Move> {
        let mut steps: Vec<Move> = self.backwards().copied().collect();
        steps.reverse();
        steps
    }
}

impl<'a, 'p, M: Machine> Blocks<'a, 'p, M> {
    pub fn new(system: &'a System<'p>) -> Self {
        Blocks { system, steps: Vec::new(), moves: Vec::new(), done: 0, any: false, reached: (Vec::new(), Vec::new()) }
    }

    /// Gives all states to which the blocks lead that have to be tried, each with the block that leads there; `found` says whether a
    /// state is further from the start than this one. Says whether anything can move at all.
    pub fn expand(
        &mut self,
        state: &State<M>,
        found: &mut impl FnMut(Way<'_>, State<M>) -> bool,
    ) -> Result<bool, Error> {
        self.steps.clear();
        let outlooks = Outlooks::new(self.system, state);
        self.any = false;
        let further = Cell::new(false);
        let mut found = |way: Way<'_>, next| further.set(further.get() | found(way, next));
        if self.system.reduce
            && let Some(actor) = outlooks.alone(None)
        {
            self.run(state, actor, true, &mut found)?;
        }
        if !further.get() {
            for actor in outlooks.unfinished() {
                self.run(state, actor, false, &mut found)?;
            }
        }
        Ok(self.any)
    }

    /// Does all blocks that begin with a step of `actor`. Ways of the same length that lead to the same are followed once.
    fn run(
        &mut self,
        state: &State<M>,
        actor: usize,
        alone: bool,
        found: &mut impl FnMut(Way<'_>, State<M>),
    ) -> Result<(), Error> {
        self.step(state, None, actor, alone, found)?;
        while !self.reached.1.is_empty() {
            std::mem::swap(&mut self.reached.0, &mut self.reached.1);
            let mut reached = std::mem::take(&mut self.reached.0);
            for Reached { state, last, actor, alone, .. } in reached.drain(..) {
                self.step(&state, Some(last), actor, alone, found)?;
            }
            self.reached.0 = reached;
        }
        Ok(())
    }

    /// Does one step of `actor`, and sees who goes on in the same block. What is done alone ends a block.
    fn step(
        &mut self,
        state: &State<M>,
        before: Option<usize>,
        actor: usize,
        alone: bool,
        found: &mut impl FnMut(Way<'_>, State<M>),
    ) -> Result<(), Error> {
        let system = self.system;
        let done = system.footprint(state, actor);
        if actor < BUFFERS {
            system.thread_moves(state, actor, &mut self.moves)?;
        } else {
            System::drains(state, &mut self.moves);
            self.moves.retain(|(mv, _)| mv.thread == actor - BUFFERS);
        }
        self.any |= !self.moves.is_empty();
        if actor < BUFFERS && system.awaits_turn(state, actor) {
            self.moves.clear();
        }
        self.done += self.moves.len();
        for (mv, mut state) in self.moves.drain(..) {
            let last = self.steps.len();
            self.steps.push((mv, before));
            let way = Way { steps: &self.steps, last };
            let goes_on = if system.reduce && !system.violated_by(&state, mv.thread) {
                let outlooks = Outlooks::new(system, &state);
                if !alone && outlooks.goes_on(actor, done, &way) {
                    Some((actor, false))
                } else {
                    outlooks.alone(Some(&way)).map(|actor| (actor, true))
                }
            } else {
                None
            };
            let Some((actor, alone)) = goes_on else {
                system.forget(&mut state);
                found(way, state);
                continue;
            };
            let mut reached = Reached { state, last, actor, alone, mark: None };
            if !self.reached.1.iter_mut().any(|other| other.covers(&mut reached, system)) {
                self.reached.1.push(reached);
            }
        }
        Ok(())
    }
}

impl<M: Machine> Reached<M> {
    /// Is everything that may happen from there possible from here?
    fn covers(&mut self, other: &mut Self, system: &System<'_>) -> bool {
        let alike = (self.actor, self.alone) == (other.actor, other.alone)
            && self.state.threads == other.state.threads
            && self.state.lists == other.state.lists;
        alike && {
            let (this, other) = (self.mark(system), other.mark(system));
            this.class == other.class && M::covers(&this.kept, &other.kept, system.awaited)
        }
    }

    fn mark(&mut self, system: &System<'_>) -> &Mark {
        self.mark.get_or_insert_with(|| {
            system.forget(&mut self.state);
            system.mark(&self.state)
        })
    }
}

/// What a thread and its buffer do next and later.
#[derive(Clone, Copy)]
struct Outlook {
    known: Known,
    /// Does the thread have to wait?
    waits: bool,
    /// What the buffer holds
    pending: Footprint,
}

/// What a thread may still do if nobody else moves.
#[derive(Clone, Copy)]
struct Alone {
    all: Footprint,
    /// Of the values for which it waits at one time or another, those that are there
    there: u32,
    /// Where the others are awaited
    stops: u16,
}

/// The same for everybody in one state.
struct Outlooks<'a, 'p, M> {
    system: &'a System<'p>,
    state: &'a State<M>,
    of: SmallVec<[Outlook; 4]>,
    alone: OnceCell<SmallVec<[Alone; 4]>>,
}

impl<'a, 'p, M: Machine> Outlooks<'a, 'p, M> {
    fn new(system: &'a System<'p>, state: &'a State<M>) -> Self {
        let mut of = SmallVec::new();
        for (thread, known) in system.all_known(state).into_iter().enumerate() {
            let pending = state.memory.pending(thread);
            // Whoever does anything else, with an empty buffer, never has to wait.
            let waits = (known.may_wait || pending.writes != 0)
                && (system.awaits_turn(state, thread)
                    || system.ahead(state, thread).operation.is_some_and(|(_, operation)| state.memory.waits(thread, operation)));
            of.push(Outlook { known, waits, pending });
        }
        Outlooks { system, state, of, alone: OnceCell::new() }
    }

    /// Everybody who has something left to do.
    fn unfinished(&self) -> impl Iterator<Item = usize> + use<M> {
        let mut left: Actors = self.of.iter().enumerate().fold(0, |all, (thread, outlook)| {
            let code = u64::from(outlook.known.goes_on) << thread;
            let buffer = u64::from(outlook.pending.writes != 0) << (thread + BUFFERS);
            all | code | buffer
        });
        std::iter::from_fn(move || {
            let first = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            first
        })
    }

    /// Somebody who can move, and whose next step is the same before and after whatever all others may do.
    fn alone(&self, way: Option<&Way<'_>>) -> Option<usize> {
        let step = |actor| {
            let step = self.step(actor);
            let unlocks = step.writes & self.system.locks != 0 && (actor >= BUFFERS || step.reads == 0);
            // It is independent of everything: until it is done, whoever else comes to the lock waits.
            if unlocks { Footprint::default() } else { step }
        };
        let can = |actor| self.moves(actor) && !self.has_passed(actor, way);
        let always = |actor: &usize| M::moves_left(step(*actor), Footprint::ANYTHING) && can(*actor);
        let now = |actor: &usize| {
            self.whatever_others_do(*actor, |others| M::moves_left(step(*actor), others)) && can(*actor)
        };
        self.unfinished().find(always).or_else(|| self.unfinished().find(now))
    }

    /// Did the step that `actor` has `done` move right, and can he go on?
    fn goes_on(&self, actor: usize, done: Footprint, way: &Way<'_>) -> bool {
        let locks = done.reads & done.writes & self.system.locks != 0;
        actor < BUFFERS
            && self.is_steady(actor)
            && self.moves(actor)
            && (locks || self.whatever_others_do(actor, |others| M::moves_right(done, others)))
            && !self.has_passed(actor, Some(way))
    }

    /// What the next step of an actor does.
    fn step(&self, actor: usize) -> Footprint {
        if actor < BUFFERS { self.of[actor].known.step } else { self.system.footprint(self.state, actor) }
    }

    /// Can it move?
    fn moves(&self, actor: usize) -> bool {
        actor >= BUFFERS || self.of[actor].known.goes_on && !self.of[actor].waits
    }

    /// Has it passed this place in its code before?
    fn has_passed(&self, actor: usize, way: Option<&Way<'_>>) -> bool {
        let here = |mv: &Move| mv.is_from(actor, self.of[actor].known.place);
        actor < BUFFERS && way.is_some_and(|way| way.backwards().any(here))
    }

    /// Is what it does next something for which it will never have to wait, if it does not have to now?
    fn is_steady(&self, thread: usize) -> bool {
        let Known { may_wait, step, .. } = self.of[thread].known;
        !may_wait || step.reads & !self.system.steady == 0
    }

    /// Does this hold of what the others may do while `actor` stands still? If it holds of more, it does; if not of less, it does not.
    fn whatever_others_do(&self, actor: usize, holds: impl Fn(Footprint) -> bool) -> bool {
        let (mut all, mut soon, mut pending) = (Footprint::default(), Footprint::default(), Footprint::default());
        for (thread, outlook) in self.of.iter().enumerate() {
            if thread != actor % BUFFERS {
                all = all.union(outlook.known.all);
                soon = if outlook.waits { soon } else { soon.union(outlook.known.step) };
                pending = pending.union(outlook.pending);
            }
        }
        holds(all.union(pending)) || holds(soon.union(pending)) && holds(self.others(actor, pending))
    }

    /// What the others may do while `actor` stands still, to begin with the stores in their buffers. A lock that it holds stays held, and
    /// whoever waits goes on only if somebody writes what he waits for.
    fn others(&self, actor: usize, pending: Footprint) -> Footprint {
        let (still, buffer) = (actor % BUFFERS, actor >= BUFFERS);
        let Outlook { known, pending: own, .. } = self.of[still];
        let held = known.holds | if buffer { own.writes & self.system.locks } else { 0 };
        let alone = self.alone.get_or_init(|| (0..self.of.len()).map(|thread| self.without_others(thread)).collect());
        let mut written = if buffer { 0 } else { own.writes };
        loop {
            let comes = written & !held;
            let mut all = pending;
            for (thread, alone) in alone.iter().enumerate() {
                if thread != still {
                    let more = comes & alone.stops != 0;
                    all = all.union(if more { self.if_there(thread, alone.there, comes) } else { alone.all });
                }
            }
            if all.writes & !written == 0 {
                return all;
            }
            written |= all.writes;
        }
    }

    fn without_others(&self, thread: usize) -> Alone {
        let waits = self.system.program.threads()[thread].waits();
        let (mut there, mut stops) = (0, 0);
        for (stop, (location, value)) in waits.iter().enumerate() {
            if self.state.memory.lacks(thread, *location, *value) {
                stops |= location.bit();
            } else {
                there |= 1 << stop;
            }
        }
        Alone { all: self.if_there(thread, there, 0), there, stops }
    }

    /// What a thread may still do if these values are there, and whatever is awaited at those locations.
    fn if_there(&self, thread: usize, mut there: u32, comes: u16) -> Footprint {
        let code = &self.system.program.threads()[thread];
        if comes != 0 {
            for (stop, (location, _)) in code.waits().iter().enumerate() {
                there |= u32::from(comes & location.bit() != 0) << stop;
            }
        }
        code.future_if(self.of[thread].known.place, there)
    }
}

impl System<'_> {
    /// What the next step of an actor does.
    fn footprint<M: Machine>(&self, state: &State<M>, actor: usize) -> Footprint {
        if actor >= BUFFERS {
            let drained = state.memory.oldest(actor - BUFFERS).map(Footprint::write).unwrap_or_default();
            return Footprint { reads: drained.writes, ..drained };
        }
        self.known(state, actor).step
    }
}

#[cfg(test)]
mod tests {
    //! What the argument relies on is needed: without it something is lost.

    use std::collections::HashSet;

    use super::*;
    use crate::memory::Order::Relaxed;
    use crate::memory::{Limit, Location, Operation, Outcome, Sc, Value};
    use crate::program::{Builder, Code, Program, Term};

    /// SC in which every step is said to move left, or right.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Careless<const LEFT: bool>(Sc);

    impl<const LEFT: bool> Machine for Careless<LEFT> {
        fn new(values: &[Value], threads: usize) -> Result<Self, Limit> {
            Sc::new(values, threads).map(Self)
        }

        fn outcomes(
            &self,
            thread: usize,
            operation: Operation,
            found: &mut Vec<Outcome<Self>>,
        ) -> Result<(), Limit> {
            let mut plain = Vec::new();
            self.0.outcomes(thread, operation, &mut plain)?;
            found.extend(plain.into_iter().map(|Outcome { read, written, stale, machine }| Outcome {
                read,
                written,
                stale,
                machine: Self(machine),
            }));
            Ok(())
        }

        fn newest(&self, location: Location) -> Value {
            self.0.newest(location)
        }

        fn lacks(&self, thread: usize, location: Location, value: Value) -> bool {
            self.0.lacks(thread, location, value)
        }

        fn moves_left(step: Footprint, others: Footprint) -> bool {
            LEFT || Sc::moves_left(step, others)
        }

        fn moves_right(step: Footprint, others: Footprint) -> bool {
            !LEFT || Sc::moves_right(step, others)
        }
    }

    /// How many ends are found, and whether a violated claim is. `further` says in place of the search whether a state is further from
    /// the start.
    fn search<M: Machine>(system: &System<'_>, further: Option<bool>) -> (usize, bool) {
        let start: State<M> = system.start().unwrap();
        let mut blocks = Blocks::new(system);
        let (mut seen, mut queue) = (HashSet::from([start.clone()]), vec![start]);
        let (mut ends, mut violated) = (0, false);
        while let Some(state) = queue.pop() {
            let mut found = |_: Way<'_>, next: State<M>| {
                let new = seen.insert(next.clone());
                if new {
                    queue.push(next);
                }
                further.unwrap_or(new)
            };
            let movable = blocks.expand(&state, &mut found).unwrap();
            violated |= (0..state.threads.len()).any(|thread| system.violated_by(&state, thread));
            ends += usize::from(!movable);
        }
        (ends, violated)
    }

    fn program(threads: impl IntoIterator<Item = Code>, mut b: Builder) -> Program {
        threads.into_iter().for_each(|code| b.thread(code));
        b.build().unwrap()
    }

    #[test]
    fn a_step_that_does_not_move_left_or_right_must_not_be_said_to() {
        let mut b = Builder::new();
        let places = [b.object("x", 0), b.object("y", 0)];
        let threads = [0, 1].map(|thread| {
            let mut code = Code::new(format!("P{thread}"));
            let seen = code.observed_register();
            code.store("store", places[thread], 1, Relaxed);
            let read = code.load("load", places[1 - thread], Relaxed);
            code.set(seen, read);
            code
        });
        let program = program(threads, b);
        assert_eq!(search::<Sc>(&System::new(&program, false), None).0, 3);
        assert_eq!(search::<Sc>(&System::new(&program, true), None).0, 3);
        assert_eq!(search::<Careless<true>>(&System::new(&program, true), None).0, 1);
        assert_eq!(search::<Careless<false>>(&System::new(&program, true), None).0, 2);
    }

    #[test]
    fn a_lock_that_somebody_waits_with_may_be_taken_from_whoever_could_have_had_it() {
        let mut b = Builder::new();
        let locks = [b.lock("a"), b.lock("b")];
        let threads = [0, 1].map(|thread| {
            let mut code = Code::new(format!("P{thread}"));
            code.locked(("lock", "unlock"), locks[thread], |code| {
                code.locked(("lock", "unlock"), locks[1 - thread], |_| ());
            });
            code
        });
        let program = program(threads, b);
        assert_eq!(search::<Sc>(&System::new(&program, true), None).0, 2);
        let mut careless = System::new(&program, true);
        careless.steady = !0;
        assert_eq!(search::<Sc>(&careless, None).0, 1);
    }

    #[test]
    fn somebody_who_goes_round_alone_hides_no_claim_of_another() {
        let mut b = Builder::new();
        let (own, shared) = (b.object("own", 0), b.object("shared", 0));
        let mut round = Code::new("goes round");
        round.forever(|p| {
            p.load("look", own, Relaxed);
        });
        let threads = [0, 1].map(|thread| {
            let mut code = Code::new(format!("P{thread}"));
            let read = code.swap("swap", shared, 1, Relaxed);
            code.claim("nobody was here", read.is(0));
            code
        });
        let program = program(threads.into_iter().chain([round]), b);
        let system = System::new(&program, true);
        assert!(search::<Sc>(&system, None).1);
        assert!(!search::<Sc>(&system, Some(true)).1);
    }
}
