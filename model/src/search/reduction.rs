//! prototype

use super::Error;
use super::system::{Move, State, System};
use crate::memory::{Done, Footprint, Internal, Machine, Stir};
use crate::program::Next;

/// Threads in the low half of the bits, buffers in the high half.
pub(super) type Actors = u32;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node<M> {
    pub state: State<M>,
    pub asleep: Actors,
    pub news: Actors,
}

impl<M: Machine> Node<M> {
    pub fn new(state: State<M>) -> Self {
        Node { state, asleep: 0, news: 0 }
    }
}

impl System<'_> {
    fn next<'b, M: Machine>(&'b self, state: &State<M>, thread: usize) -> Option<Next<'b>> {
        self.program.threads()[thread].next(&state.threads[thread])
    }

    /// What actor does next
    fn footprint<M: Machine>(&self, state: &State<M>, actor: usize) -> Footprint {
        if actor >= 16 {
            let first = state.memory.first_pending(actor - 16);
            first.map_or(Footprint::default(), |location| {
                let write = Footprint::write(location);
                Footprint { reads: write.writes, unlocks: write.writes, ..write }
            })
        } else {
            self.next(state, actor).map_or(Footprint::default(), |next| next.precise(&state.threads[actor]))
        }
    }

    /// Is somebody asleep whom nobody will ever stir?
    fn hopeless<M: Machine>(&self, state: &State<M>, asleep: Actors, awake: Actors) -> bool {
        let threads = self.program.threads().len();
        let mut alive = awake;
        let future = |thread: usize| self.program.threads()[thread].future(&state.threads[thread]);
        loop {
            let mut grown = alive;
            for sleeper in bits(asleep & !alive) {
                let next = self.footprint(state, sleeper);
                let stirs = (0..threads).filter(|thread| *thread != sleeper % 16).any(|thread| {
                    let future = if alive & (1 << thread) != 0 { future(thread) } else { Footprint::default() };
                    let pending = if alive & (0x10001 << thread) != 0 {
                        state.memory.pending(thread)
                    } else {
                        Footprint::default()
                    };
                    state.memory.may_stir(next, self.locks, future, pending)
                });
                if stirs {
                    grown |= 1 << sleeper;
                }
            }
            if grown == alive {
                break;
            }
            alive = grown;
        }
        asleep & !alive != 0
    }

    pub fn reduced_moves<M: Machine>(
        &self,
        node: &Node<M>,
        found: &mut Vec<(Move, Node<M>)>,
    ) -> Result<bool, Error> {
        let state = &node.state;
        let threads = self.program.threads().len();
        let mut drains = Vec::new();
        state.memory.internal(&mut drains);
        let mut unfinished: Actors = 0;
        for thread in 0..threads {
            if self.next(state, thread).is_some() {
                unfinished |= 1 << thread;
            }
        }
        for drain in &drains {
            unfinished |= 0x10000 << drain.thread;
        }
        // Order
        let awake: Vec<usize> = {
            let fresh = bits(node.news);
            let rest = bits(unfinished & !node.asleep);
            let mut order: Vec<usize> = fresh.chain(rest).collect();
            let single = order.iter().position(|actor| {
                node.news & (1 << actor) == 0
                    && self.hopeless(state, 1 << actor, unfinished & !(1 << actor))
                    && self.enabled(state, *actor)
            });
            if let Some(single) = single {
                order.swap(0, single);
            }
            order
        };
        let mut asleep = node.asleep & !node.news;
        let mut remaining: Actors = (unfinished & !node.asleep) | node.news;
        // news-only ones count as asleep for what they could do before; whoever is in `remaining` is alive.
        let mut any = node.asleep != 0;
        let mut moves = Vec::new();
        for actor in awake {
            if self.hopeless(state, asleep, remaining) {
                break;
            }
            let bit = 1 << actor;
            moves.clear();
            if actor >= 16 {
                let index = drains.iter().position(|drain: &Internal<M>| drain.thread == actor - 16);
                if let Some(index) = index {
                    moves.push(Self::drained(state, drains.swap_remove(index)));
                }
            } else {
                self.thread_moves(state, actor, node.news & bit != 0, &mut moves)?;
            }
            let enabled = !moves.is_empty();
            any |= enabled;
            if enabled {
                remaining &= !bit;
            }
            for (mv, next) in moves.drain(..) {
                // Everybody else who is asleep, or was before
                let sleepers = (asleep | (node.news & remaining)) & !bit;
                let done = Done {
                    thread: mv.thread,
                    drain: mv.drain,
                    location: mv.location,
                    reads: mv.read.is_some(),
                    writes: mv.written.is_some(),
                    full_barrier: !mv.drain
                        && self.next(state, mv.thread).is_some_and(|next| next.footprint().full_barrier),
                };
                let mut after = Node { state: next, asleep: 0, news: 0 };
                for sleeper in bits(sleepers) {
                    if sleeper >= 16 {
                        if !after.state.memory.buffer_stirred(&state.memory, done, sleeper - 16) {
                            after.asleep |= 1 << sleeper;
                        }
                        continue;
                    }
                    let Some(next) = self.next(state, sleeper) else { continue };
                    let stir = match next.operation(&state.threads[sleeper]) {
                        Some((_, operation)) => {
                            after.state.memory.stirred(&state.memory, done, sleeper, operation)
                        }
                        None => Stir::Nothing,
                    };
                    // One that had not taken the last news yet must still be offered them: keep it simple.
                    let stir = if node.news & remaining & (1 << sleeper) != 0 { Stir::Everything } else { stir };
                    match stir {
                        Stir::Nothing => after.asleep |= 1 << sleeper,
                        Stir::News => {
                            after.asleep |= 1 << sleeper;
                            after.news |= 1 << sleeper;
                        }
                        Stir::Everything => (),
                    }
                }
                if after.news == 0 {
                    after.state.memory.forget_news();
                }
                let mut awake = after.news;
                for thread in 0..threads {
                    awake |= (1 << thread) & !after.asleep;
                    if after.state.memory.first_pending(thread).is_some() {
                        awake |= (0x10000 << thread) & !after.asleep;
                    }
                }
                if !self.hopeless(&after.state, after.asleep & !after.news, awake) {
                    found.push((mv, after));
                }
            }
            if enabled || node.news & bit != 0 {
                asleep |= bit;
            }
        }
        Ok(any)
    }

    fn enabled<M: Machine>(&self, state: &State<M>, actor: usize) -> bool {
        if actor >= 16 {
            return true;
        }
        let Some(next) = self.next(state, actor) else { return false };
        match next.operation(&state.threads[actor]) {
            Some((_, operation)) => {
                let mut found = Vec::new();
                state.memory.outcomes(actor, operation, &mut found).is_err() || !found.is_empty()
            }
            None => true,
        }
    }
}

fn bits(set: Actors) -> impl Iterator<Item = usize> {
    (0..32).filter(move |bit| set & (1 << bit) != 0)
}
