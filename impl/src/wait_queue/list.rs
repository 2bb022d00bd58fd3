//! The list of a wait queue: doubly linked, its nodes in one slab. An entry that knows its place leaves at once, however many
//! there are.

use slab::Slab;

use crate::burst::give_back;

/// No place.
pub(super) const NOWHERE: usize = usize::MAX;

pub(super) struct List<E> {
    nodes: Slab<Node<E>>,
    first: usize,
    last: usize,
}

struct Node<E> {
    entry: E,
    before: usize,
    after: usize,
}

impl<E> List<E> {
    pub fn new() -> Self {
        Self { nodes: Slab::new(), first: NOWHERE, last: NOWHERE }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Puts an entry in front of all others, and says where it is: until it is removed.
    pub fn push_front(&mut self, entry: E) -> usize {
        let place = self.nodes.insert(Node { entry, before: NOWHERE, after: self.first });
        match self.nodes.get_mut(self.first) {
            Some(first) => first.before = place,
            None => self.last = place,
        }
        self.first = place;
        place
    }

    /// The same, behind all others.
    pub fn push_back(&mut self, entry: E) -> usize {
        let place = self.nodes.insert(Node { entry, before: self.last, after: NOWHERE });
        match self.nodes.get_mut(self.last) {
            Some(last) => last.after = place,
            None => self.first = place,
        }
        self.last = place;
        place
    }

    /// The entry in this place, which may be another one than was put there once.
    pub fn get(&self, place: usize) -> Option<&E> {
        self.nodes.get(place).map(|node| &node.entry)
    }

    pub fn get_mut(&mut self, place: usize) -> Option<&mut E> {
        self.nodes.get_mut(place).map(|node| &mut node.entry)
    }

    /// Where the first entry is.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Where the next one is.
    pub fn after(&self, place: usize) -> usize {
        self.nodes.get(place).map_or(NOWHERE, |node| node.after)
    }

    /// Takes out the entry in this place.
    pub fn remove(&mut self, place: usize) -> Option<E> {
        let Node { entry, before, after } = self.nodes.try_remove(place)?;
        match self.nodes.get_mut(before) {
            Some(node) => node.after = after,
            None => self.first = after,
        }
        match self.nodes.get_mut(after) {
            Some(node) => node.before = before,
            None => self.last = before,
        }
        give_back(&mut self.nodes);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn entries(list: &List<u32>) -> Vec<u32> {
        let places = std::iter::successors(Some(list.first()), |&place| Some(list.after(place)));
        places.map_while(|place| list.get(place)).copied().collect()
    }

    #[test]
    fn it_holds_what_a_deque_holds_whatever_is_done_to_both() {
        let (mut list, mut deque) = (List::new(), VecDeque::new());
        let mut places = Vec::new();
        // Any numbers that jump about.
        let mut random = 7_u32;
        for entry in 0..10_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match random >> 28 {
                0..4 => {
                    places.push((entry, list.push_front(entry)));
                    deque.push_front(entry);
                }
                4..9 => {
                    places.push((entry, list.push_back(entry)));
                    deque.push_back(entry);
                }
                _ if places.is_empty() => {}
                chosen => {
                    let (entry, place) = places.swap_remove((chosen as usize * 31) % places.len());
                    assert_eq!(list.remove(place), Some(entry));
                    deque.retain(|&other| other != entry);
                }
            }
            assert_eq!(list.len(), deque.len());
        }
        assert!(!deque.is_empty());
        assert_eq!(entries(&list), Vec::from(deque));
        assert_eq!(list.remove(NOWHERE), None);
    }
}
