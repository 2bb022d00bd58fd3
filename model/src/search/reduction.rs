//! Leaving out interleavings that differ only in the order of independent steps.
//!
//! **Sleeping** (Godefroid, *Partial-order methods*, 1996). Out of a state every actor (a thread, or a store buffer) is tried in turn. Whoever
//! was tried sleeps in what the later ones lead to, for as long as the others' steps are independent of what it could have
//! done: all executions in which it does that next have been covered where it was tried. A step that is not independent stirs
//! it ([`Stir`]). Under RC11 hardly anything does: a store may be inserted anywhere, so it commutes with everything that others do,
//! and a reader is stirred by a new message only, and then only to read that one ([`Stir::News`]): that it reads an old one late is the
//! same as that it read it early.
//!
//! **Hopeless states.** If a sleeper is never stirred by anything that those who are awake may still do, nor by a sleeper whom they may
//! stir, and so on, it sleeps for ever: it can move, so nothing that follows is an end. Such states are left out. So an actor whose next step is
//! independent of all that the others may still do is the only one to move.
//!
//! **Why no end is lost, and no shortest way to one.** Claim: let execution *E* lead from a node to a state in which nothing can move, and let no
//! execution that differs from *E* only in the order of independent steps begin with a step that sleeps there; then the
//! end of *E* is found, |*E*| steps from the node. By induction over |*E*|. Of the actors whose first step in *E* can be brought to its front, none sleeps;
//! let *p* be the one that is tried first, and *E* = *p E′* without loss of generality. Behind *p*'s step, if a step of *q* sleeps and could be brought to the
//! front of *E′*, then also to the front of *E*, for it is independent of *p*'s; so *q* slept before, or was tried before *p*: both
//! are excluded. So the claim's premise holds for *E′*. Nor is the node behind *p*'s step hopeless: a sleeper that
//! can move must move in *E′*, since in the end nothing can; if nothing before that in *E′* stirs it, its step can be brought to the front, which
//! was just excluded. A node is not searched again if it was seen, the same state with the same sleepers, at most as many steps from the start. Nothing here counts on the graph of states being without cycles.
//!
//! **Claims** in a thread's code are violated in states that are no ends, where others might go round for ever. So nothing is hopeless on
//! account of a sleeper whose step may go back in its code. Then a violation is still found: to an execution with one
//! add forward steps of threads on which nothing in it depends until there are none, which ends; now every sleeper that counts moves in
//! it, and the argument above holds. These steps are added, so the way to a violated claim need not be the shortest.

use super::Error;
use super::system::{Move, State, System};
use crate::memory::{Footprint, Machine, Stir};
use crate::program::Next;

/// A set of actors: threads in the low half of the bits, their store buffers in the high half.
type Actors = u64;

const BUFFERS: usize = 32;

/// A state, and who sleeps there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node<M> {
    pub state: State<M>,
    asleep: Actors,
    /// Those who sleep but for reading the message that was just written
    news: Actors,
}

impl<M: Machine> Node<M> {
    /// Nobody sleeps.
    pub fn new(state: State<M>) -> Self {
        Node { state, asleep: 0, news: 0 }
    }
}

impl System<'_> {
    /// Appends the moves out of a node that have to be tried. Says whether anything can move at all, be it asleep.
    pub fn expand<M: Machine>(
        &self,
        node: &Node<M>,
        found: &mut Vec<(Move, Node<M>)>,
    ) -> Result<bool, Error> {
        let state = &node.state;
        let mut moves = Vec::new();
        if !self.reduce {
            self.moves(state, &mut moves)?;
            found.extend(moves.into_iter().map(|(mv, next)| (mv, Node::new(next))));
            return Ok(!found.is_empty());
        }
        let mut movable = node.asleep != 0;
        // Who has been tried or slept all along; and everybody else who has not come to an end.
        let mut asleep = node.asleep & !node.news;
        let mut awake = self.unfinished(state) & !asleep;
        for actor in self.order(node) {
            if self.hopeless(state, asleep, awake) {
                break;
            }
            let bit = 1 << actor;
            self.actor_moves(state, actor, node.news & bit != 0, &mut moves)?;
            if moves.is_empty() && node.news & bit == 0 {
                // It waits.
                continue;
            }
            movable = true;
            awake &= !bit;
            for (mv, next) in moves.drain(..) {
                let after = self.put_to_sleep(state, &mv, next, asleep);
                let awake = self.unfinished(&after.state) & !after.asleep | after.news;
                if !self.hopeless(&after.state, after.asleep & !after.news, awake) {
                    found.push((mv, after));
                }
            }
            asleep |= bit;
        }
        Ok(movable)
    }

    /// Whom to try, the first first: whoever is independent of all others, then those who have news.
    fn order<M: Machine>(&self, node: &Node<M>) -> Vec<usize> {
        let state = &node.state;
        let unfinished = self.unfinished(state);
        let rest = unfinished & !node.asleep;
        let mut order: Vec<usize> = actors(node.news).chain(actors(rest)).collect();
        let alone = |actor: &usize| {
            let bit = 1 << actor;
            rest & bit != 0 && self.hopeless(state, bit, unfinished & !bit) && self.can_move(state, *actor)
        };
        if let Some(index) = order.iter().position(alone) {
            order.swap(0, index);
        }
        order
    }

    /// The state after a step, and who of the sleepers sleeps on.
    fn put_to_sleep<M: Machine>(
        &self,
        before: &State<M>,
        mv: &Move,
        after: State<M>,
        sleepers: Actors,
    ) -> Node<M> {
        let mut node = Node::new(after);
        for sleeper in actors(sleepers) {
            let thread = sleeper % BUFFERS;
            let operation = match self.next(before, sleeper) {
                Some(next) => next.operation(&before.threads[thread]).map(|(_, operation)| operation),
                None => None,
            };
            let choice = sleeper < BUFFERS && operation.is_none();
            let stir = match choice {
                true => Stir::Nothing,
                false => node.state.memory.stirred(&before.memory, mv.done, thread, operation),
            };
            if stir != Stir::Everything {
                node.asleep |= 1 << sleeper;
            }
            if stir == Stir::News {
                node.news |= 1 << sleeper;
            }
        }
        if node.news == 0 {
            node.state.memory.forget_news();
        }
        node
    }

    /// Is there a sleeper whom nobody will ever stir?
    fn hopeless<M: Machine>(&self, state: &State<M>, asleep: Actors, mut awake: Actors) -> bool {
        let threads = 0..self.program.threads().len();
        loop {
            let stirred = actors(asleep & !awake).filter(|sleeper| {
                let next = self.footprint(state, *sleeper);
                threads.clone().filter(|thread| *thread != sleeper % BUFFERS).any(|thread| {
                    let mut others = Footprint::default();
                    if awake & (1 << thread) != 0 {
                        others = self.program.threads()[thread].future(&state.threads[thread]).all;
                    }
                    if awake & (1 << thread | 1 << (thread + BUFFERS)) != 0 {
                        others = others.union(state.memory.pending(thread));
                    }
                    M::may_stir(next, others)
                })
            });
            let stirred = stirred.fold(0, |all, sleeper| all | 1 << sleeper);
            if stirred == 0 {
                return actors(asleep & !awake).any(|sleeper| !self.may_return(state, sleeper));
            }
            awake |= stirred;
        }
    }

    /// Everybody who has something left to do.
    fn unfinished<M: Machine>(&self, state: &State<M>) -> Actors {
        (0..self.program.threads().len()).fold(0, |all, thread| {
            let code = u64::from(self.next(state, thread).is_some()) << thread;
            let buffer = u64::from(state.memory.oldest(thread).is_some()) << (thread + BUFFERS);
            all | code | buffer
        })
    }

    /// The next step of a thread; buffers have none.
    fn next<M: Machine>(&self, state: &State<M>, actor: usize) -> Option<Next<'_>> {
        let thread = (actor < BUFFERS).then_some(actor)?;
        self.program.threads()[thread].next(&state.threads[thread])
    }

    /// What the next step does. An unlock is independent of everything: until it is done, whoever else comes to the lock waits.
    fn footprint<M: Machine>(&self, state: &State<M>, actor: usize) -> Footprint {
        if actor >= BUFFERS {
            let location = state.memory.oldest(actor - BUFFERS).map(Footprint::write).unwrap_or_default();
            let writes = location.writes & !self.locks;
            return Footprint { reads: writes, writes, ..location };
        }
        let Some(next) = self.next(state, actor) else { return Footprint::default() };
        let footprint = next.footprint(&state.threads[actor]);
        let unlocks = footprint.reads == 0 && footprint.writes & self.locks != 0;
        if unlocks { Footprint::default() } else { footprint }
    }

    fn may_return<M: Machine>(&self, state: &State<M>, actor: usize) -> bool {
        actor < BUFFERS && self.program.threads()[actor].may_return(&state.threads[actor])
    }

    fn can_move<M: Machine>(&self, state: &State<M>, actor: usize) -> bool {
        let mut moves = Vec::new();
        self.actor_moves(state, actor, false, &mut moves).is_ok() && !moves.is_empty()
    }

    fn actor_moves<M: Machine>(
        &self,
        state: &State<M>,
        actor: usize,
        news: bool,
        moves: &mut Vec<(Move, State<M>)>,
    ) -> Result<(), Error> {
        if actor < BUFFERS {
            return self.thread_moves(state, actor, news, moves);
        }
        let mut drains = Vec::new();
        state.memory.internal(&mut drains);
        let own = drains.into_iter().filter(|drain| drain.thread == actor - BUFFERS);
        moves.extend(own.map(|drain| Self::drained(state, drain)));
        Ok(())
    }
}

fn actors(set: Actors) -> impl Iterator<Item = usize> {
    (0..u64::BITS as usize).filter(move |actor| set & (1 << actor) != 0)
}
