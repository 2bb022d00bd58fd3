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

use smallvec::SmallVec;

use super::Error;
use super::system::{Move, State, System};
use crate::memory::{Footprint, Location, Machine};
use crate::program::Next;

/// A set of actors: threads in the low half of the bits, their store buffers in the high half.
type Actors = u64;

const BUFFERS: usize = 32;

/// What a thread and its buffer do next and later.
struct Outlook {
    /// Does the thread have to wait?
    waits: bool,
    pending: Footprint,
    next: Footprint,
    all: Footprint,
}

type Outlooks = SmallVec<[Outlook; 4]>;

impl System<'_> {
    /// Gives all states to which the blocks lead that have to be tried, each with the steps that lead there; `found` says whether a
    /// state is further from the start than this one. Says whether anything can move at all.
    pub fn expand<M: Machine>(
        &self,
        state: &State<M>,
        found: &mut impl FnMut(&[Move], State<M>) -> bool,
    ) -> Result<bool, Error> {
        let mut blocks = Blocks { system: self, steps: Vec::new(), found, any: false, further: false };
        if self.reduce
            && let Some(actor) = self.alone(state, &[])
        {
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
        let outlooks = self.outlooks(state);
        let moves_left = |actor: &usize| {
            let step = self.before(state, *actor);
            self.moves(state, &outlooks, *actor, passed)
                && self.whatever_others_do(state, &outlooks, *actor, |others| M::moves_left(step, others))
        };
        self.unfinished(state).find(moves_left)
    }

    /// Did the step move right with which `actor` came from one state to the other, and can he go on?
    fn goes_on<M: Machine>(
        &self,
        before: &State<M>,
        after: &State<M>,
        actor: usize,
        passed: &[Move],
    ) -> bool {
        let step = self.footprint(before, actor);
        let locks = step.reads & step.writes & self.locks != 0;
        if actor >= BUFFERS || !self.is_steady(after, actor) {
            return false;
        }
        let outlooks = self.outlooks(after);
        let moves_right = |others| locks || M::moves_right(step, others);
        self.moves(after, &outlooks, actor, passed)
            && self.whatever_others_do(after, &outlooks, actor, moves_right)
    }

    /// Can it move, and has it not passed this place in its code before?
    fn moves<M>(&self, state: &State<M>, outlooks: &Outlooks, actor: usize, passed: &[Move]) -> bool {
        let place = || &state.threads[actor];
        actor >= BUFFERS
            || !outlooks[actor].waits
                && self.next(state, actor).is_some()
                && !passed.iter().any(|mv| mv.is_from(actor, place()))
    }

    /// What everybody does next and later.
    fn outlooks<M: Machine>(&self, state: &State<M>) -> Outlooks {
        let threads = self.program.threads().iter().zip(&state.threads).enumerate();
        let outlook = threads.map(|(thread, (code, position))| {
            let pending = state.memory.pending(thread);
            let next = code.next(position);
            let waits = next.is_some_and(|next| {
                // Whoever does anything else, with an empty buffer, never has to.
                let may = next.may_wait() || pending.writes != 0;
                let operation = if may { next.operation(position) } else { None };
                operation.is_some_and(|(_, operation)| state.memory.waits(thread, operation))
            });
            let next =
                next.filter(|_| !waits).map_or(pending, |next| next.footprint(position).union(pending));
            Outlook { waits, pending, next, all: code.future(position).all.union(pending) }
        });
        outlook.collect()
    }

    /// Is what it does next something for which it will never have to wait, if it does not have to now?
    fn is_steady<M: Machine>(&self, state: &State<M>, thread: usize) -> bool {
        let Some(next) = self.next(state, thread) else { return true };
        let footprint = next.footprint(&state.threads[thread]);
        !next.may_wait() || (footprint.reads & !self.steady) == 0
    }

    /// Does this hold of what the others may do while `actor` stands still? If it holds of more, it does; if not of less, it does not.
    fn whatever_others_do<M: Machine>(
        &self,
        state: &State<M>,
        outlooks: &Outlooks,
        actor: usize,
        holds: impl Fn(Footprint) -> bool,
    ) -> bool {
        let sum = |what: fn(&Outlook) -> Footprint| {
            let others = outlooks.iter().enumerate().filter(|(thread, _)| *thread != actor % BUFFERS);
            others.fold(Footprint::default(), |sum, (_, outlook)| sum.union(what(outlook)))
        };
        holds(sum(|outlook| outlook.all))
            || holds(sum(|outlook| outlook.next))
                && holds(self.others(state, actor, sum(|outlook| outlook.pending)))
    }

    /// What the others may do while `actor` stands still, to begin with the stores in their buffers. A lock that it holds stays held, and
    /// whoever waits goes on only if somebody writes what he waits for.
    fn others<M: Machine>(&self, state: &State<M>, actor: usize, pending: Footprint) -> Footprint {
        let (still, buffer) = (actor % BUFFERS, actor >= BUFFERS);
        let threads = self.program.threads();
        let own = state.memory.pending(still).writes;
        let held =
            threads[still].future(&state.threads[still]).holds | if buffer { own & self.locks } else { 0 };
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
    fn next<M>(&self, state: &State<M>, actor: usize) -> Option<Next<'_>> {
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

/// The blocks out of one state.
struct Blocks<'a, F> {
    system: &'a System<'a>,
    /// Of the block being tried
    steps: Vec<Move>,
    found: &'a mut F,
    /// Could anything move?
    any: bool,
    /// Did anything lead further from the start?
    further: bool,
}

impl<F> Blocks<'_, F> {
    /// Does a step of `actor` and what belongs to the same block. What is done alone ends a block.
    fn run<M: Machine>(&mut self, state: &State<M>, actor: usize, alone: bool) -> Result<(), Error>
    where
        F: FnMut(&[Move], State<M>) -> bool,
    {
        let system = self.system;
        let mut moves = Vec::new();
        if actor < BUFFERS {
            system.thread_moves(state, actor, &mut moves)?;
        } else {
            System::drains(state, &mut moves);
            moves.retain(|(mv, _)| mv.thread == actor - BUFFERS);
        }
        self.any |= !moves.is_empty();
        for (mv, mut next) in moves {
            self.steps.push(mv);
            let stays = !system.reduce || system.violated(&next);
            if !stays && !alone && system.goes_on(state, &next, actor, &self.steps) {
                self.run(&next, actor, false)?;
            } else if !stays && let Some(actor) = system.alone(&next, &self.steps) {
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

#[cfg(test)]
mod tests {
    //! What the argument relies on is needed: without it something is lost.

    use std::collections::HashSet;

    use super::*;
    use crate::memory::Order::Relaxed;
    use crate::memory::{Limit, Operation, Outcome, Sc, Value};
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
        let (mut seen, mut queue) = (HashSet::from([start.clone()]), vec![start]);
        let (mut ends, mut violated) = (0, false);
        while let Some(state) = queue.pop() {
            let mut found = |_: &[Move], next: State<M>| {
                let new = seen.insert(next.clone());
                if new {
                    queue.push(next);
                }
                further.unwrap_or(new)
            };
            let movable = system.expand(&state, &mut found).unwrap();
            violated |= system.violated(&state);
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
        let careless = System { steady: !0, ..System::new(&program, true) };
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
