//! The states seen so far, by fingerprint, and how each was reached.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Fingerprints are hashes already.
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

/// About 34 bytes a state: its fingerprint twice, its number, how far it is from the start, and the number of the state before it.
pub(super) struct Seen {
    numbers: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    states: Vec<Known>,
}

struct Known {
    fingerprint: u64,
    from: u32,
    depth: u32,
}

impl Seen {
    /// Only the start, state 0.
    pub fn new(start: u64) -> Self {
        let numbers = HashMap::from_iter([(start, 0)]);
        Seen { numbers, states: vec![Known { fingerprint: start, from: 0, depth: 0 }] }
    }

    /// A state was reached from state `from`. Its number, and whether it had not been seen before, or not on so short a way.
    pub fn insert(&mut self, fingerprint: u64, from: u32, depth: usize) -> (u32, bool) {
        let known = Known { fingerprint, from, depth: depth as u32 };
        let new = self.states.len() as u32;
        let number = *self.numbers.entry(fingerprint).or_insert(new);
        match self.states.get_mut(number as usize) {
            None => self.states.push(known),
            Some(before) if before.depth > known.depth => *before = known,
            Some(_) => return (number, false),
        }
        (number, true)
    }

    /// How far a state is from the start, by the shortest way known.
    pub fn depth(&self, state: u32) -> usize {
        self.states[state as usize].depth as usize
    }

    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// The fingerprints on the way from the start to a state, without the start.
    pub fn path(&self, mut state: u32) -> Vec<u64> {
        let mut path = Vec::new();
        while state != 0 {
            let Known { fingerprint, from, .. } = self.states[state as usize];
            path.push(fingerprint);
            state = from;
        }
        path.reverse();
        path
    }
}
