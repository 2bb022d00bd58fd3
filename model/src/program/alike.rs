//! Threads that are alike: is their code the same, but for what is each one's own?

use super::{Action, BuildError, Expr, Instruction, List, ListAction, Object, Place, Program, Thread};

impl Program {
    /// The threads that have turns.
    pub(crate) fn alike(&self) -> impl Iterator<Item = usize> {
        (0..self.threads.len()).filter(|thread| self.threads[*thread].turn.is_some())
    }

    /// Two threads that have turns and are not of the same shape, if there are any.
    pub(super) fn unlike(&self) -> Option<BuildError> {
        let mut alike = self.alike().map(|thread| &self.threads[thread]);
        let first = alike.next()?;
        alike.find_map(|other| {
            let at = self.parting(first, other)?;
            let site = other.code.iter().take(at + 1).rev().find_map(Instruction::site);
            Some(BuildError::Unlike {
                thread: first.name.clone(),
                other: other.name.clone(),
                site: site.cloned().unwrap_or_default(),
            })
        })
    }

    /// The first instruction of `other` that is not, up to numbers, what `first` does with other objects and lists for its own. What one of them
    /// is for the one thread, the other is for the other thread everywhere; and turns are taken of the same lock.
    fn parting(&self, first: &Thread, other: &Thread) -> Option<usize> {
        let initial = |mask: u16| {
            let values = self.initial.iter().enumerate();
            values.filter(move |(location, _)| mask & 1 << location != 0).map(|(_, value)| value)
        };
        let mut pairs = Vec::new();
        let parts = first.code.iter().zip(&other.code).enumerate().position(|(at, (one, two))| {
            let pair = (one.own(), two.own());
            pairs.push(pair);
            let fits = pairs.iter().all(|known| (known.0 == pair.0) == (known.1 == pair.1));
            let starts_alike = initial(pair.0.0).eq(initial(pair.1.0));
            let same_lock = first.turn != Some(at) || pair.0 == pair.1;
            one.shape() != two.shape() || !fits || !starts_alike || !same_lock
        });
        let shorter = first.code.len().min(other.code.len());
        parts.or((first.code.len() != other.code.len() || first.turn != other.turn).then_some(shorter))
    }
}

impl Instruction {
    /// The locations, or the list, that it is about.
    fn own(&self) -> (u16, Option<List>) {
        match self {
            Instruction::Access { place, .. } => (place.mask(), None),
            Instruction::List { list, .. } => (0, Some(*list)),
            _ => (0, None),
        }
    }

    /// What remains if every number is 0, and every location and list the same.
    fn shape(&self) -> Instruction {
        let mut shape = self.clone();
        match &mut shape {
            Instruction::Access { place: Place { object, index }, action, .. } => {
                *object = Object { first: 0, length: 1 };
                index.blank();
                match action {
                    Action::Store(_, value) | Action::Swap(_, value) | Action::Add(_, value) => value.blank(),
                    Action::CompareExchange { expected, new, .. } => {
                        expected.blank();
                        new.blank();
                    }
                    _ => (),
                }
            }
            Instruction::Set(_, value)
            | Instruction::Unless(value, _)
            | Instruction::Claim { holds: value, .. } => value.blank(),
            Instruction::List { list, action, .. } => {
                *list = List(0);
                match action {
                    ListAction::Push(entry)
                    | ListAction::PushFront(entry)
                    | ListAction::Remove(entry)
                    | ListAction::Contains(entry)
                    | ListAction::Get(entry) => entry.blank(),
                    ListAction::Length => (),
                }
            }
            Instruction::Fence { .. } | Instruction::Choose { .. } | Instruction::Jump(_) => (),
        }
        shape
    }
}

impl Expr {
    fn blank(&mut self) {
        match self {
            Expr::Constant(value) => *value = 0,
            Expr::Register(_) => (),
            Expr::Binary(_, left, right) => {
                left.blank();
                right.blank();
            }
        }
    }
}
