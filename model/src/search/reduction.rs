//! Leaving out interleavings that differ only in the order of independent steps.
//!
//! An *actor* is a thread or a store buffer. What all others may do while one actor stands still is known from their code: everything that
//! is left of it, but nothing beyond a lock that this actor holds, nor beyond a place where a value is waited for that is not there and
//! that none of them may write (`Outlooks::others`). Held against that, a step can be of two kinds (Lipton, *Reduction*, 1975):
//!
//! - It *moves left*: it can be done, and it is the same before and after whatever the others may do. The release of a lock is such a step,
//!   and under RC11 every store, since a store may be inserted anywhere. Whoever has one is the only one to move: he is *alone*.
//! - It *moves right*: it was done, and could as well be done after whatever the others may do until its actor's next step. Taking a lock
//!   is such a step, and under RC11 every load, since an old message may be read late. Its actor goes on at once, if he can and if his
//!   next step is one that nobody can take from him ([`Program::steady`](crate::program::Program::steady)).
//!
//! So one actor's *block* is a run of steps that move right, one more step, and all steps of whomever that are then done alone. Only the
//! states between blocks are remembered; out of each of them one block of every actor is tried, or only the one of somebody alone. A block
//! ends early where an actor would pass the same place in its code again. Of ways as long as each other on which the same actor goes on in
//! the same block, one whose state can do all that those of the others can is followed for them (`Reached::covers`); and of reads that lead to the same, not those
//! that teach more (`System::leave_out_the_worse`).
//!
//! Who is alone, and what the others may do, depends on no more than a `Situation`: places in the code, and whether awaited values are there. There are
//! far fewer of them than steps, so each is judged once.
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
//!
//! **Threads that end alike** ([`Builder::end_alike`](crate::program::Builder::end_alike)). Where both have come to what they have in common, what is left of the
//! program is the same for both, but for lists of their own. So if they exchange their names, with all that is theirs in memory and these
//! lists, whatever could follow still can, under the other name: of two such states one is searched (`System::name`). There is one order for both, so it is always the same
//! one, and a counterexample is found again from a state in which nobody has another's name.

use std::cell::Cell;
use std::collections::HashMap;

use foldhash::fast::FixedState;
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
    judgements: Judgements,
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
    situation: Situation,
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
        Blocks {
            system,
            steps: Vec::new(),
            moves: Vec::new(),
            done: 0,
            any: false,
            reached: (Vec::new(), Vec::new()),
            judgements: Judgements::default(),
        }
    }

    /// Gives all states to which the blocks lead that have to be tried, each with the block that leads there; `found` says whether a
    /// state is further from the start than this one. Says whether anything can move at all.
    pub fn expand(
        &mut self,
        state: &State<M>,
        found: &mut impl FnMut(Way<'_>, State<M>) -> bool,
    ) -> Result<bool, Error> {
        self.steps.clear();
        self.any = false;
        let further = Cell::new(false);
        let mut found = |way: Way<'_>, next| further.set(further.get() | found(way, next));
        let situation = self.system.situation(state);
        if self.system.reduce
            && let Some(actor) = actors(self.judgements.of(self.system, state, &situation).alone).next()
        {
            self.run(state, &situation, actor, true, &mut found)?;
        }
        if !further.get() {
            for actor in self.system.unfinished(state) {
                self.run(state, &situation, actor, false, &mut found)?;
            }
        }
        Ok(self.any)
    }

    /// Does all blocks that begin with a step of `actor`. Ways of the same length that lead to the same are followed once.
    fn run(
        &mut self,
        state: &State<M>,
        situation: &Situation,
        actor: usize,
        alone: bool,
        found: &mut impl FnMut(Way<'_>, State<M>),
    ) -> Result<(), Error> {
        self.step(state.clone(), situation, None, actor, alone, found)?;
        while !self.reached.1.is_empty() {
            std::mem::swap(&mut self.reached.0, &mut self.reached.1);
            let mut reached = std::mem::take(&mut self.reached.0);
            for Reached { state, situation, last, actor, alone, .. } in reached.drain(..) {
                self.step(state, &situation, Some(last), actor, alone, found)?;
            }
            self.reached.0 = reached;
        }
        Ok(())
    }

    /// Does one step of `actor`, and sees who goes on in the same block. What is done alone ends a block.
    fn step(
        &mut self,
        state: State<M>,
        situation: &Situation,
        before: Option<usize>,
        actor: usize,
        alone: bool,
        found: &mut impl FnMut(Way<'_>, State<M>),
    ) -> Result<(), Error> {
        let system = self.system;
        let done = system.footprint(&state, actor);
        let early = actor < BUFFERS && system.awaits_turn(&state, actor);
        if actor < BUFFERS {
            system.thread_moves(state, actor, &mut self.moves)?;
            if system.reduce {
                system.leave_out_the_worse(&mut self.moves);
            }
        } else {
            System::drains(&state, &mut self.moves);
            self.moves.retain(|(mv, _)| mv.thread == actor - BUFFERS);
        }
        self.any |= !self.moves.is_empty();
        if early {
            self.moves.clear();
        }
        self.done += self.moves.len();
        let mut moves = std::mem::take(&mut self.moves);
        for (mv, mut state) in moves.drain(..) {
            let last = self.steps.len();
            self.steps.push((mv, before));
            if system.reduce && !system.violated_by(&state, mv.thread) {
                let situation = system.situation_after(&state, situation, actor, done);
                if let Some((actor, alone)) = self.goes_on(&state, &situation, actor, done, alone, last) {
                    let mut reached = Reached { state, last, actor, alone, situation, mark: None };
                    if !self.reached.1.iter_mut().any(|other| other.covers(&mut reached, system)) {
                        self.reached.1.push(reached);
                    }
                    continue;
                }
            }
            system.forget(&mut state);
            found(Way { steps: &self.steps, last }, state);
        }
        self.moves = moves;
        Ok(())
    }

    /// Who goes on in the same block after the step that `actor` has `done`, and is he alone? Either it moved right and he can go on, or
    /// somebody's next step is the same before and after whatever all others may do.
    fn goes_on(
        &mut self,
        state: &State<M>,
        situation: &Situation,
        actor: usize,
        done: Footprint,
        alone: bool,
        last: usize,
    ) -> Option<(usize, bool)> {
        let system = self.system;
        let judgement = self.judgements.of(system, state, situation);
        let moved_right = || {
            let known = system.known(state, actor);
            // What he does next is something for which he will never have to wait, if he does not have to now.
            let steady = !known.may_wait || known.step.reads & !system.steady == 0;
            let locks = done.reads & done.writes & system.locks != 0;
            steady && (locks || M::moves_right(done, judgement.others[actor]))
        };
        let set = judgement.alone;
        if !alone
            && actor < BUFFERS
            && judgement.can & 1 << actor != 0
            && moved_right()
            && !self.has_passed(state, actor, last)
        {
            return Some((actor, false));
        }
        actors(set).find(|actor| !self.has_passed(state, *actor, last)).map(|actor| (actor, true))
    }

    /// Has it passed this place in its code before?
    fn has_passed(&self, state: &State<M>, actor: usize, last: usize) -> bool {
        let here = |mv: &Move| mv.is_from(actor, self.system.known(state, actor).place);
        actor < BUFFERS && Way { steps: &self.steps, last }.backwards().any(here)
    }
}

/// The members of a set.
fn actors(mut set: Actors) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        first
    })
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

/// All that the following is judged by: of each thread where it is and what its step does, what its buffer holds and what is the oldest
/// of that, which of the values are there for which it waits at one time or another, and whether it has to wait.
type Situation = SmallVec<[u64; 4]>;

/// What is to be known of a situation, worked out once.
struct Judgement {
    /// Who can move, and does in his next step the same before and after whatever all others may do
    alone: Actors,
    /// Who can move
    can: Actors,
    /// What the others may do while a thread stands still, by thread
    others: SmallVec<[Footprint; 4]>,
}

/// All situations so far.
#[derive(Default)]
struct Judgements {
    numbers: HashMap<Situation, u32, FixedState>,
    judgements: Vec<Judgement>,
}

impl Judgements {
    fn of<M: Machine>(&mut self, system: &System<'_>, state: &State<M>, situation: &Situation) -> &Judgement {
        let number = match self.numbers.get(situation) {
            Some(number) => *number as usize,
            None => {
                let of = (0..state.threads.len()).map(|thread| Outlook::new(system, state, thread)).collect();
                self.judgements.push(Outlooks { system, state, of }.judge());
                let new = self.judgements.len() - 1;
                self.numbers.insert(situation.clone(), new as u32);
                new
            }
        };
        &self.judgements[number]
    }
}

impl System<'_> {
    fn situation<M: Machine>(&self, state: &State<M>) -> Situation {
        (0..state.threads.len()).map(|thread| Outlook::new(self, state, thread).bits()).collect()
    }

    /// The situation after a step of `actor`, which nobody else notices unless it writes what somebody waits for.
    fn situation_after<M: Machine>(
        &self,
        state: &State<M>,
        before: &Situation,
        actor: usize,
        done: Footprint,
    ) -> Situation {
        if done.writes & self.awaited != 0 {
            return self.situation(state);
        }
        let (mut after, thread) = (SmallVec::from_slice(before), actor % BUFFERS);
        after[thread] = Outlook::new(self, state, thread).bits();
        after
    }
}

/// What a thread and its buffer do next and later.
#[derive(Clone, Copy)]
struct Outlook {
    known: Known,
    /// What the buffer holds
    pending: Footprint,
    /// The location of its oldest store, counted from 1
    oldest: u8,
    /// Of the values for which it waits at one time or another, those that are there
    there: u8,
    /// Does the thread have to wait?
    waits: bool,
}

impl Outlook {
    fn new<M: Machine>(system: &System<'_>, state: &State<M>, thread: usize) -> Self {
        let known = system.known(state, thread);
        let pending = state.memory.pending(thread);
        let mut there = 0;
        let waits = if known.matter == 0 { &[] } else { system.program.threads()[thread].waits() };
        for (stop, (location, value)) in waits.iter().enumerate() {
            if known.matter & 1 << stop != 0 {
                there |= u8::from(!state.memory.lacks(thread, *location, *value)) << stop;
            }
        }
        let waits = match known.awaits {
            Some(stop) if known.matter & there & 1 << stop != 0 && pending.writes == 0 => {
                system.awaits_turn(state, thread)
            }
            // Whoever does anything else, with an empty buffer, never has to wait.
            _ => (known.may_wait || pending.writes != 0) && system.waits(state, thread),
        };
        let oldest = state.memory.oldest(thread).map_or(0, |location| location.0 + 1);
        Outlook { known, pending, oldest, there, waits }
    }

    fn bits(self) -> u64 {
        let Outlook { known, pending, oldest, there, waits } = self;
        u64::from(known.profile) << 32
            | u64::from(pending.writes) << 16
            | u64::from(there) << 8
            | u64::from(oldest) << 1
            | u64::from(waits)
    }
}

/// The same for everybody in one state.
struct Outlooks<'a, 'p, M> {
    system: &'a System<'p>,
    state: &'a State<M>,
    of: SmallVec<[Outlook; 4]>,
}

impl<M: Machine> Outlooks<'_, '_, M> {
    fn judge(&self) -> Judgement {
        let others: SmallVec<[Footprint; 4]> = (0..self.of.len()).map(|thread| self.others(thread)).collect();
        let (mut alone, mut can) = (0, 0);
        for actor in self.system.unfinished(self.state) {
            let thread = actor < BUFFERS;
            if thread && self.of[actor].waits {
                continue;
            }
            let mut step = self.system.footprint(self.state, actor);
            let unlocks = step.writes & self.system.locks != 0 && (!thread || step.reads == 0);
            if unlocks {
                // It is independent of everything: until it is done, whoever else comes to the lock waits.
                step = Footprint::default();
            }
            let left = M::moves_left(step, if thread { others[actor] } else { self.others(actor) });
            alone |= u64::from(left) << actor;
            can |= 1 << actor;
        }
        Judgement { alone, can, others }
    }

    /// What the others may do while `actor` stands still, to begin with the stores in their buffers. A lock that it holds stays held, and
    /// whoever waits goes on only if somebody writes what he waits for.
    fn others(&self, actor: usize) -> Footprint {
        let (still, buffer) = (actor % BUFFERS, actor >= BUFFERS);
        let Outlook { known, pending: own, .. } = self.of[still];
        let held = known.holds | if buffer { own.writes & self.system.locks } else { 0 };
        let others = || self.of.iter().enumerate().filter(|(thread, _)| *thread != still);
        let mut written = if buffer { 0 } else { own.writes };
        loop {
            let comes = written & !held;
            let all = others().fold(Footprint::default(), |all, (thread, outlook)| {
                all.union(outlook.pending).union(self.if_there(thread, comes))
            });
            if all.writes & !written == 0 {
                return all;
            }
            written |= all.writes;
        }
    }

    /// What a thread may still do if it goes no further than where it waits for a value that is not there, nor comes to be there.
    fn if_there(&self, thread: usize, comes: u16) -> Footprint {
        let code = &self.system.program.threads()[thread];
        let waits = code.waits().iter().enumerate();
        let there = waits.fold(self.of[thread].there, |there, (stop, (location, _))| {
            there | u8::from(comes & location.bit() != 0) << stop
        });
        code.future_if(self.of[thread].known.place, there)
    }
}

impl System<'_> {
    /// Everybody who has something left to do.
    fn unfinished<M: Machine>(&self, state: &State<M>) -> impl Iterator<Item = usize> + use<M> {
        actors((0..state.threads.len()).fold(0, |all, thread| {
            let code = u64::from(self.known(state, thread).goes_on) << thread;
            let buffer = u64::from(state.memory.oldest(thread).is_some()) << (thread + BUFFERS);
            all | code | buffer
        }))
    }

    /// Does the thread have to wait?
    fn waits<M: Machine>(&self, state: &State<M>, thread: usize) -> bool {
        let operation = self.ahead(state, thread).operation;
        operation.is_some_and(|(_, operation)| state.memory.waits(thread, operation))
            || self.awaits_turn(state, thread)
    }

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
            self,
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
