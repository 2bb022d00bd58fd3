//! Memories under RC11 that can do all that others can.
//!
//! Who knows less may do more: a smaller view lets its thread read and overwrite older messages, a message with a smaller view teaches less, and
//! every rule of the machine ([`rc11`](super::rc11)) keeps such an order between two memories, step by step, with the same values read and
//! written. So let two memories be alike in the newest value of every location, and let *this* have the other's messages, the same
//! ones glued together, and perhaps older ones before them, and views that are nowhere larger, positions being counted from the newest
//! message. Then whatever may happen after the other may happen after this, and ends with the same values. Where
//! a thread waits for a value, less knowledge could end a waiting that otherwise never ends: so of a location that is awaited both have only
//! one message.
//!
//! A search that has seen this memory, with the threads at the same places and no more steps from the start, need not look at the other.
//!
//! What is kept of a memory is written down in bytes: the number of locations, and for each how many messages it has; where
//! there are several, their values but the newest, and which of them are glued to the one before; then all views, of which only
//! locations with several messages are kept.

use super::{LOCATIONS, Value};

/// Bytes of a value.
const VALUE: usize = size_of::<Value>();

/// What was kept of a memory, taken apart.
struct Kept<'a> {
    lengths: &'a [u8],
    values: &'a [u8],
    glued: &'a [u8],
    views: &'a [u8],
}

impl<'a> Kept<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (locations, rest) = bytes.split_first()?;
        let (lengths, rest) = rest.split_at_checked(usize::from(*locations))?;
        let older: usize = lengths.iter().map(|length| usize::from(*length) - 1).sum();
        let (values, rest) = rest.split_at_checked(VALUE * older)?;
        let (glued, views) = rest.split_at_checked(older)?;
        Some(Kept { lengths, values, glued, views })
    }
}

/// Does `this` memory cover the `other`? Both are of the same class. `awaited` are locations for whose value threads wait.
pub(super) fn covers(this: &[u8], other: &[u8], awaited: u16) -> bool {
    if this == other {
        return true;
    }
    // Most are told apart by the numbers of their messages already.
    let locations = this.first().map_or(0, |locations| usize::from(*locations));
    let lengths = this.iter().zip(other).skip(1).take(locations);
    if lengths.into_iter().any(|(mine, its)| mine < its) {
        return false;
    }
    let (Some(this), Some(other)) = (Kept::new(this), Kept::new(other)) else { return false };
    // Of each location with several messages in the other: its column in both, and how many older messages this one has.
    let mut columns = [(0, 0, 0_u8); LOCATIONS];
    let (mut several, mut wide) = (0, 0);
    for (location, (mine, its)) in this.lengths.iter().zip(other.lengths).enumerate() {
        if *mine > 1 && awaited & 1 << location != 0 {
            return false;
        }
        if *its > 1 {
            columns[several] = (wide, several, mine - its);
            several += 1;
        }
        wide += usize::from(*mine > 1);
    }
    let columns = &columns[..several];
    let no_larger = |mine: &[u8], its: &[u8]| columns.iter().all(|(a, b, shift)| mine[*a] <= its[*b] + shift);
    // The messages of one location after the other, of this memory and of the other.
    let (mut old, mut its_old, mut row, mut its_row) = (0, 0, 0, 0);
    for (mine, its) in this.lengths.iter().zip(other.lengths) {
        let (mine, its) = (usize::from(*mine), usize::from(*its));
        let more = mine - its;
        let ours = old + more..old + mine - 1;
        let theirs = its_old..its_old + its - 1;
        if this.values[VALUE * ours.start..VALUE * ours.end]
            != other.values[VALUE * theirs.start..VALUE * theirs.end]
            || this.glued[ours] != other.glued[theirs]
        {
            return false;
        }
        for message in 0..its {
            let (a, b) = (wide * (row + more + message), several * (its_row + message));
            if !no_larger(&this.views[a..a + wide], &other.views[b..b + several]) {
                return false;
            }
        }
        (old, its_old, row, its_row) = (old + mine - 1, its_old + its - 1, row + mine, its_row + its);
    }
    // What the threads know, and `sc`.
    let rest = this.views[wide * row..].chunks_exact(wide.max(1));
    let its_rest = other.views[several * its_row..].chunks_exact(several.max(1));
    several == 0 || rest.zip(its_rest).all(|(mine, its)| no_larger(mine, its))
}

#[cfg(test)]
mod tests {
    use std::hash::DefaultHasher;

    use super::super::Order::{Relaxed, Release};
    use super::super::{Location, Machine, Operation, Rc11, Update};

    const X: Location = Location(0);

    /// `x` holds `first`, then thread 0 does this.
    fn after(first: i32, operations: &[Operation]) -> Rc11 {
        let start = Rc11::new(&[first], 2).unwrap();
        operations.iter().fold(start, |memory, operation| outcomes(memory, 0, *operation).pop().unwrap())
    }

    fn outcomes(memory: Rc11, thread: usize, operation: Operation) -> Vec<Rc11> {
        let mut found = Vec::new();
        memory.outcomes(thread, operation, &mut found).unwrap();
        found.into_iter().map(|outcome| outcome.machine).collect()
    }

    fn store(value: i32) -> Operation {
        Operation::Store { location: X, order: Relaxed, value }
    }

    /// Does the one cover the other, and the other the one?
    fn covers(one: &Rc11, other: &Rc11, awaited: u16) -> (bool, bool) {
        let kept = |memory: &Rc11| {
            let mut kept = Vec::new();
            memory.keep(&mut DefaultHasher::new(), &mut kept);
            kept
        };
        let (one, other) = (kept(one), kept(other));
        (Rc11::covers(&one, &other, awaited), Rc11::covers(&other, &one, awaited))
    }

    #[test]
    fn who_has_read_an_old_message_can_do_all_that_who_has_read_a_newer_one_can() {
        let load = Operation::Load { location: X, order: Relaxed };
        let read = outcomes(after(0, &[store(1)]), 1, load);
        assert_eq!(covers(&read[0], &read[1], 0), (true, false));
        // Where somebody waits for the value, he who knows less might go on.
        assert_eq!(covers(&read[0], &read[1], 1), (false, false));
        let no_less = |awaited| {
            [read[1].knows_no_less(&read[0], 1, awaited), read[0].knows_no_less(&read[1], 1, awaited)]
        };
        assert_eq!((no_less(0), no_less(1)), ([true, false], [false, false]));
    }

    #[test]
    fn who_has_read_a_newer_message_may_have_less_to_learn_at_a_fence() {
        let y = Operation::Store { location: Location(1), order: Relaxed, value: 1 };
        let release = Operation::Store { location: X, order: Release, value: 1 };
        let start = Rc11::new(&[0, 0], 3).unwrap();
        let stores = [(0, y), (0, release), (1, store(2))];
        let memory = stores
            .iter()
            .fold(start, |memory, (thread, operation)| outcomes(memory, *thread, *operation).pop().unwrap());
        let read = outcomes(memory, 2, Operation::Load { location: X, order: Relaxed });
        let no_less = |one: usize, other: usize| read[one].knows_no_less(&read[other], 2, 0);
        assert!(no_less(1, 0) && !no_less(2, 1) && no_less(2, 0));
    }

    #[test]
    fn a_memory_with_older_messages_too_covers_one_without() {
        assert_eq!(covers(&after(0, &[store(1), store(2)]), &after(1, &[store(2)]), 0), (true, false));
    }

    #[test]
    fn what_may_be_read_or_overwritten_otherwise_is_not_covered() {
        assert_eq!(covers(&after(0, &[store(2)]), &after(1, &[store(2)]), 0), (false, false));
        let swap = Operation::Modify { location: X, order: Relaxed, update: Update::Set(2) };
        assert_eq!(covers(&after(0, &[store(2)]), &after(0, &[swap]), 0), (false, false));
    }
}
