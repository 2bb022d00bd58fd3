//! The states seen so far, by fingerprint, and how each was reached.

use std::collections::HashSet;
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

/// About 21 bytes a state: its fingerprint twice, and the number of the state before it.
pub(super) struct Seen {
    fingerprints: HashSet<u64, BuildHasherDefault<Identity>>,
    states: Vec<(u64, u32)>,
}

impl Seen {
    /// Only the start, state 0.
    pub fn new(start: u64) -> Self {
        let mut fingerprints = HashSet::default();
        fingerprints.insert(start);
        Seen { fingerprints, states: vec![(start, 0)] }
    }

    /// The number of a state not seen before, reached from state `from`.
    pub fn insert(&mut self, fingerprint: u64, from: u32) -> Option<u32> {
        self.fingerprints.insert(fingerprint).then(|| {
            self.states.push((fingerprint, from));
            self.states.len() as u32 - 1
        })
    }

    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// The fingerprints on the way from the start to a state, without the start.
    pub fn path(&self, mut state: u32) -> Vec<u64> {
        let mut path = Vec::new();
        while state != 0 {
            let (fingerprint, from) = self.states[state as usize];
            path.push(fingerprint);
            state = from;
        }
        path.reverse();
        path
    }
}
