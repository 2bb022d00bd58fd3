//! The states seen so far, and how each was reached.
//!
//! States are compared by class: the members of one have the same hash of whatever states must have in common to be compared. What tells
//! them apart is kept; and where one [covers](crate::memory::Machine::covers) another, on no longer a way, only the one is looked at. Where
//! memory keeps nothing, the class is the state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

/// Classes are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// What a state is compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub class: u64,
    pub kept: Vec<u8>,
}

/// About 60 bytes a state, and what is kept of its memory.
#[derive(Default)]
pub(super) struct Seen {
    /// The first member of each class
    classes: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    states: Vec<Known>,
    /// What is kept of all states, one after the other
    kept: Vec<u8>,
}

struct Known {
    class: u64,
    /// Where what is kept of it ends
    end: usize,
    /// The next member of its class, or `NOBODY`
    next: u32,
    from: u32,
    /// How far it is from the start, or `COVERED`
    depth: u32,
}

const NOBODY: u32 = u32::MAX;
const COVERED: u32 = u32::MAX;

impl Seen {
    /// A state was reached from state `from`. The number of the state that stands for it, and whether that is new, or was not reached on
    /// so short a way before. The first is reached from itself.
    pub fn insert(
        &mut self,
        mark: &Mark,
        from: u32,
        depth: usize,
        covers: impl Fn(&[u8], &[u8]) -> bool,
    ) -> (u32, bool) {
        let (depth, number) = (depth as u32, self.states.len() as u32);
        let first = match self.classes.entry(mark.class) {
            Entry::Occupied(first) => *first.get(),
            Entry::Vacant(first) => {
                first.insert(number);
                NOBODY
            }
        };
        let (mut member, mut before) = (first, NOBODY);
        while member != NOBODY {
            let Known { next, depth: known, .. } = self.states[member as usize];
            if known <= depth {
                if covers(self.kept(member), &mark.kept) {
                    // It will cover the next one, too.
                    if before != NOBODY {
                        self.states[before as usize].next = next;
                        self.states[member as usize].next = first;
                        self.classes.insert(mark.class, member);
                    }
                    return (member, false);
                }
            } else if self.kept(member) == mark.kept {
                let known = &mut self.states[member as usize];
                (known.from, known.depth) = (from, depth);
                return (member, true);
            }
            (before, member) = (member, next);
        }
        let next = self.leave(first, depth, |kept| covers(&mark.kept, kept));
        if first != NOBODY {
            self.classes.insert(mark.class, number);
        }
        self.kept.extend_from_slice(&mark.kept);
        self.states.push(Known { class: mark.class, end: self.kept.len(), next, from, depth });
        (number, true)
    }

    /// Those members leave their class that are covered on no longer a way, which nobody has looked at yet. The first of the others.
    fn leave(&mut self, mut first: u32, depth: u32, covered: impl Fn(&[u8]) -> bool) -> u32 {
        let (mut member, mut before) = (first, NOBODY);
        while member != NOBODY {
            let Known { next, depth: known, .. } = self.states[member as usize];
            if known < depth || !covered(self.kept(member)) {
                before = member;
            } else {
                self.states[member as usize].depth = COVERED;
                match self.states.get_mut(before as usize) {
                    Some(before) => before.next = next,
                    None => first = next,
                }
            }
            member = next;
        }
        first
    }

    fn kept(&self, state: u32) -> &[u8] {
        let begin = state.checked_sub(1).map_or(0, |before| self.states[before as usize].end);
        &self.kept[begin..self.states[state as usize].end]
    }

    /// How far a state is from the start, by the shortest way known; nothing if another covers it.
    pub fn depth(&self, state: u32) -> Option<usize> {
        let depth = self.states[state as usize].depth;
        (depth != COVERED).then_some(depth as usize)
    }

    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// The marks on the way from the start to a state, without the start.
    pub fn path(&self, mut state: u32) -> Vec<Mark> {
        let mut path = Vec::new();
        while state != 0 {
            let Known { class, from, .. } = self.states[state as usize];
            path.push(Mark { class, kept: self.kept(state).to_vec() });
            state = from;
        }
        path.reverse();
        path
    }
}
