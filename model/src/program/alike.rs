//! Threads that are alike: is their code the same, but for what is each one's own?

use super::{Action, BuildError, Expr, Instruction, List, ListAction, Object, Place, Program, Thread, Twins};

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

impl Program {
    /// Two threads and the longest part at the end of their code that is the same, up to lists of their own. Nothing jumps out of it.
    pub(super) fn ends_alike(&self, threads: [usize; 2]) -> Result<Twins, BuildError> {
        let unlike = BuildError::Ends(threads[0], threads[1]);
        let [Some(one), Some(two)] = threads.map(|thread| self.threads.get(thread)) else {
            return Err(unlike);
        };
        let free = |thread: &Thread| thread.turn.is_none() && thread.observed.registers == 0;
        if threads[0] == threads[1] || !free(one) || !free(two) {
            return Err(unlike);
        }
        let mut lists: Vec<[usize; 2]> = Vec::new();
        let mut length = 0;
        let backwards = one.code.iter().rev().zip(two.code.iter().rev());
        for (this, other) in backwards {
            let own = |list: &List| self.lists[list.index()].lock.is_none();
            let mut other = other.clone();
            if let (Instruction::List { list, .. }, Instruction::List { list: its, .. }) = (this, &mut other)
                && list.index() != its.index()
            {
                let pair = [list.index(), its.index()];
                let fits = |known: &[usize; 2]| (known[0] == pair[0]) == (known[1] == pair[1]);
                if !own(list) || !own(its) || !lists.iter().all(fits) {
                    break;
                }
                lists.push(pair);
                *its = *list;
            }
            if let Some(target) = other.target() {
                *target = (*target + one.code.len()).wrapping_sub(two.code.len());
            }
            if *this != other {
                break;
            }
            length += 1;
        }
        lists.sort_unstable();
        lists.dedup();
        let jumps_out = |length: usize| {
            let from = one.code.len() - length;
            one.code[from..]
                .iter()
                .any(|instruction| instruction.clone().target().is_some_and(|target| *target < from))
        };
        while jumps_out(length) {
            length -= 1;
        }
        let from = [one, two].map(|thread| (thread.code.len() - length) as u16);
        Ok(Twins { threads, from, lists })
    }
}

impl Instruction {
    /// Where it jumps to, if it jumps.
    fn target(&mut self) -> Option<&mut usize> {
        match self {
            Instruction::Jump(target)
            | Instruction::Unless(_, target)
            | Instruction::Choose { other: target, .. } => Some(target),
            _ => None,
        }
    }

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
