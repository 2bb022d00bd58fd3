//! Programs with one mistake: what a place's order, its fence, or its being one step is good for.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{Action, Expr, Instruction, Kind, Operator, Program, Site, Thread};
use crate::memory::{Barrier, Order};

/// What becomes of the operations at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weakening {
    /// They have this order.
    Order(Order),
    /// A compare-exchange that fails has this order.
    FailureOrder(Order),
    /// The fence is this one.
    Barrier(Barrier),
    /// The fence is not there.
    Dropped,
    /// The read-modify-write is a load and then a store.
    Split,
}

/// A place in a program at which something is ordered, or done in one step. Locks and parkers are not among them: their
/// orders are what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Its name, which it may share with others that are the same place in the code
    pub site: Site,
    /// What is done there
    pub kind: Kind,
    /// In which order; for a compare-exchange that of its success
    pub order: Ordering,
    /// Of what there is, the ways to do one step less
    pub weakenings: Vec<Weakening>,
}

fn weaker(order: Order) -> &'static [Order] {
    match order {
        Order::AcqRel => &[Order::Acquire, Order::Release],
        Order::Acquire | Order::Release => &[Order::Relaxed],
        Order::Relaxed => &[],
    }
}

fn lower(barrier: Barrier) -> &'static [Weakening] {
    match barrier {
        Barrier::SeqCst => &[Weakening::Barrier(Barrier::AcqRel)],
        Barrier::AcqRel => &[Weakening::Barrier(Barrier::Acquire), Weakening::Barrier(Barrier::Release)],
        Barrier::Acquire | Barrier::Release => &[Weakening::Dropped],
    }
}

impl Action {
    /// The ways to do one step less.
    fn weakenings(&self) -> Vec<Weakening> {
        let (Action::Load(order)
        | Action::Store(order, _)
        | Action::Swap(order, _)
        | Action::Add(order, _)
        | Action::CompareExchange { success: order, .. }) = self
        else {
            return Vec::new();
        };
        let mut ways: Vec<_> = weaker(*order).iter().copied().map(Weakening::Order).collect();
        if let Action::CompareExchange { failure, .. } = self {
            ways.extend(weaker(*failure).iter().copied().map(Weakening::FailureOrder));
        }
        if !matches!(self, Action::Load(_) | Action::Store(..)) {
            ways.push(Weakening::Split);
        }
        ways
    }

    fn with_order(&self, new: Order) -> Action {
        let mut action = self.clone();
        match &mut action {
            Action::Load(order)
            | Action::Store(order, _)
            | Action::Swap(order, _)
            | Action::Add(order, _)
            | Action::CompareExchange { success: order, .. } => *order = new,
            Action::Lock | Action::Unlock | Action::Park | Action::Unpark => (),
        }
        action
    }
}

impl Program {
    /// The places at which something is ordered or done in one step, each with the ways to do less.
    pub fn ordered(&self) -> Vec<Ordered> {
        let mut found = BTreeMap::new();
        for instruction in self.threads.iter().flat_map(|thread| &thread.code) {
            let (site, kind, order, weakenings) = match instruction {
                Instruction::Access { site, action, .. } => {
                    (site, action.kind(), action.order().into(), action.weakenings())
                }
                Instruction::Fence { site, barrier } => {
                    (site, Kind::Fence, (*barrier).into(), lower(*barrier).to_vec())
                }
                _ => continue,
            };
            if !weakenings.is_empty() {
                let place = Ordered { site: site.clone(), kind, order, weakenings };
                found.entry(site.clone()).or_insert(place);
            }
        }
        found.into_values().collect()
    }

    /// This program with all operations at one place changed. A place that does not exist, or that cannot be changed in this way, changes
    /// nothing.
    pub fn weakened(&self, site: &str, weakening: Weakening) -> Program {
        let threads = self.threads.iter().map(|thread| thread.weakened(site, weakening)).collect();
        Program { threads, ..self.clone() }
    }
}

impl Thread {
    fn weakened(&self, site: &str, weakening: Weakening) -> Thread {
        let changed: Vec<Vec<Instruction>> =
            self.code.iter().map(|instruction| instruction.weakened(site, weakening)).collect();
        // Where each instruction has gone, and the end.
        let mut moved = vec![0];
        for instructions in &changed {
            moved.push(moved[moved.len() - 1] + instructions.len());
        }
        let mut code = Vec::new();
        for (at, instructions) in changed.into_iter().enumerate() {
            let own = instructions.len() > 1;
            for mut instruction in instructions {
                match &mut instruction {
                    // A split exchange that fails goes to what follows it.
                    Instruction::Unless(_, target) if own => *target = moved[at + 1],
                    Instruction::Jump(target)
                    | Instruction::Unless(_, target)
                    | Instruction::Choose { other: target, .. } => *target = moved[*target],
                    _ => (),
                }
                code.push(instruction);
            }
        }
        let turn = self.turn.map(|turn| moved[turn]);
        Thread::new(self.name.clone(), code, self.registers, self.observed, turn)
    }
}

impl Instruction {
    /// What it becomes if it stands at `site`.
    fn weakened(&self, site: &str, weakening: Weakening) -> Vec<Instruction> {
        match (self, weakening) {
            (Instruction::Fence { site: here, .. }, Weakening::Barrier(barrier)) if here == site => {
                vec![Instruction::Fence { site: here.clone(), barrier }]
            }
            (Instruction::Fence { site: here, .. }, Weakening::Dropped) if here == site => Vec::new(),
            (Instruction::Access { site: here, place, action, into }, _) if here == site => {
                let access = |action, into| Instruction::Access {
                    site: here.clone(),
                    place: place.clone(),
                    action,
                    into,
                };
                match (weakening, action) {
                    (Weakening::Order(order), _) => vec![access(action.with_order(order), *into)],
                    (
                        Weakening::FailureOrder(failure),
                        Action::CompareExchange { expected, new, success, .. },
                    ) => {
                        let (expected, new, success) = (expected.clone(), new.clone(), *success);
                        vec![access(Action::CompareExchange { expected, new, success, failure }, *into)]
                    }
                    (Weakening::Split, _) => self.split(),
                    _ => vec![self.clone()],
                }
            }
            _ => vec![self.clone()],
        }
    }

    /// A read-modify-write as a load and a store.
    fn split(&self) -> Vec<Instruction> {
        let Instruction::Access { site, place, action, into: Some(read) } = self else {
            return vec![self.clone()];
        };
        let order = action.order();
        let of_load = if order.acquires() { Order::Acquire } else { Order::Relaxed };
        let of_store = if order.releases() { Order::Release } else { Order::Relaxed };
        let access =
            |action, into| Instruction::Access { site: site.clone(), place: place.clone(), action, into };
        let combine = |operator, with: &Expr| {
            Expr::Binary(operator, Box::new(Expr::Register(*read)), Box::new(with.clone()))
        };
        let load = access(Action::Load(of_load), Some(*read));
        let store = |value: Expr| access(Action::Store(of_store, value), None);
        match action {
            Action::Swap(_, value) => vec![load, store(value.clone())],
            Action::Add(_, value) => vec![load, store(combine(Operator::Add, value))],
            Action::CompareExchange { expected, new, .. } => {
                vec![load, Instruction::Unless(combine(Operator::Equal, expected), 0), store(new.clone())]
            }
            _ => vec![self.clone()],
        }
    }
}
