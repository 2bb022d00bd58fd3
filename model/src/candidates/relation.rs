//! Sets of events and relations between them, with the operators that memory models are written in.
//!
//! | here | in `cat`, herd's language for models |
//! |---|---|
//! | `a \| b`, `a & b`, `a - b` | `a \| b`, `a & b`, `a \ b` |
//! | `a.then(b)` | `a ; b` |
//! | `a.from(s)`, `a.to(s)` | `[s] ; a`, `a ; [s]` |
//! | `a.inverse()`, `a.optional()`, `a.plus()`, `a.star()` | `a^-1`, `a?`, `a+`, `a*` |

use std::borrow::Borrow;
use std::ops::{BitAnd, BitOr, Sub};

use smallvec::SmallVec;

/// A set of events, by their numbers.
pub type Set = u64;

/// The most events that a [`Set`] can have.
pub const EVENTS: usize = Set::BITS as usize;

/// The numbers in a set.
pub fn members(mut set: Set) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (lowest < EVENTS).then_some(lowest)
    })
}

/// A relation between events: of each event the set of those that come after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    rows: SmallVec<[Set; 24]>,
}

impl Relation {
    /// No event is related to any, of so many.
    pub fn empty(events: usize) -> Self {
        Relation { rows: SmallVec::from_elem(0, events) }
    }

    /// Each member of a set to itself.
    pub fn identity(events: usize, set: Set) -> Self {
        let row = |event: usize| (1 << event) & set;
        Relation { rows: (0..events).map(row).collect() }
    }

    /// Each member of the first set to each of the second.
    pub fn product(events: usize, from: Set, to: Set) -> Self {
        // A complement has numbers beyond the last event.
        let to = members(to).take_while(|event| *event < events).fold(0, |all, event| all | 1 << event);
        let row = |event: usize| if from >> event & 1 == 1 { to } else { 0 };
        Relation { rows: (0..events).map(row).collect() }
    }

    pub fn insert(&mut self, from: usize, to: usize) {
        self.rows[from] |= 1 << to;
    }

    /// Relates one event to each of a set.
    pub fn insert_all(&mut self, from: usize, to: Set) {
        self.rows[from] |= to;
    }

    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| *row == 0)
    }

    /// The pairs, in the order of the events.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.rows.iter().enumerate().flat_map(|(from, row)| members(*row).map(move |to| (from, to)))
    }

    pub fn range(&self) -> Set {
        self.rows.iter().fold(0, |all, row| all | row)
    }

    pub fn domain(&self) -> Set {
        let related = self.rows.iter().enumerate().filter(|(_, row)| **row != 0);
        related.fold(0, |all, (event, _)| all | 1 << event)
    }

    /// Only the pairs whose first is in the set.
    pub fn from(&self, set: Set) -> Self {
        let row = |(event, row): (usize, &Set)| if set >> event & 1 == 1 { *row } else { 0 };
        Relation { rows: self.rows.iter().enumerate().map(row).collect() }
    }

    /// Only the pairs whose second is in the set.
    pub fn to(&self, set: Set) -> Self {
        Relation { rows: self.rows.iter().map(|row| row & set).collect() }
    }

    /// One step of this relation, then one of the other.
    pub fn then(&self, other: impl Borrow<Relation>) -> Self {
        let other = other.borrow();
        let row = |row: &Set| members(*row).fold(0, |all, via| all | other.rows[via]);
        Relation { rows: self.rows.iter().map(row).collect() }
    }

    pub fn inverse(&self) -> Self {
        let mut inverse = Relation::empty(self.rows.len());
        self.pairs().for_each(|(from, to)| inverse.insert(to, from));
        inverse
    }

    /// And each event to itself.
    pub fn optional(&self) -> Self {
        let row = |(event, row): (usize, &Set)| row | 1 << event;
        Relation { rows: self.rows.iter().enumerate().map(row).collect() }
    }

    /// One step or more.
    pub fn plus(&self) -> Self {
        let mut closure = self.clone();
        for via in 0..closure.rows.len() {
            let next = closure.rows[via];
            closure.rows.iter_mut().filter(|row| **row >> via & 1 == 1).for_each(|row| *row |= next);
        }
        closure
    }

    /// Any number of steps.
    pub fn star(&self) -> Self {
        self.plus().optional()
    }

    pub fn is_irreflexive(&self) -> bool {
        self.rows.iter().enumerate().all(|(event, row)| row >> event & 1 == 0)
    }

    pub fn is_acyclic(&self) -> bool {
        self.plus().is_irreflexive()
    }

    fn combine(&self, other: &Relation, rows: impl Fn(Set, Set) -> Set) -> Self {
        let pairs = self.rows.iter().zip(&other.rows);
        Relation { rows: pairs.map(|(ours, theirs)| rows(*ours, *theirs)).collect() }
    }
}

/// An operator on relations, whether they are borrowed or not.
macro_rules! operator {
    ($operator:ident, $method:ident, $rows:expr) => {
        impl<T: Borrow<Relation>> $operator<T> for Relation {
            type Output = Relation;
            fn $method(self, other: T) -> Relation {
                self.combine(other.borrow(), $rows)
            }
        }
        impl<T: Borrow<Relation>> $operator<T> for &Relation {
            type Output = Relation;
            fn $method(self, other: T) -> Relation {
                self.combine(other.borrow(), $rows)
            }
        }
    };
}

operator!(BitOr, bitor, |ours, theirs| ours | theirs);
operator!(BitAnd, bitand, |ours, theirs| ours & theirs);
operator!(Sub, sub, |ours, theirs| ours & !theirs);

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(pairs: &[(usize, usize)]) -> Relation {
        let mut relation = Relation::empty(4);
        pairs.iter().for_each(|&(from, to)| relation.insert(from, to));
        relation
    }

    #[test]
    fn composition_and_closures_follow_the_pairs() {
        let chain = relation(&[(0, 1), (1, 2)]);
        assert_eq!(chain.then(&chain), relation(&[(0, 2)]));
        assert_eq!(chain.plus(), relation(&[(0, 1), (0, 2), (1, 2)]));
        assert_eq!(chain.star(), chain.plus() | Relation::identity(4, !0));
        assert_eq!(chain.inverse(), relation(&[(1, 0), (2, 1)]));
        assert_eq!((chain.domain(), chain.range()), (0b011, 0b110));
        assert_eq!(chain.from(0b010) | chain.to(0b010), chain);
        assert!(chain.is_acyclic());
        assert!(!(&chain | relation(&[(2, 0)])).is_acyclic());
    }
}
