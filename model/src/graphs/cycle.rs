//! Why an execution is none of sequential consistency: a cycle of events, each of which comes before the
//! next.
//!
//! Under sequential consistency program order, reads-from, coherence and from-read have no cycle together
//! ([Shasha and Snir](super::consistency::sc)). Where a weaker memory has let one through, a shortest one
//! says what it takes: two threads that each do not see the other's store, say.

use std::collections::VecDeque;

use super::{Clock, EventId, Graph, Op, linearize};

/// Why an event comes before another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Its thread does the one first.
    ProgramOrder,
    /// By the start of a thread, or by waiting for the end of one.
    StartOrJoin,
    /// The other one reads what it has written.
    ReadsFrom,
    /// The other one overwrites what it has written, at once or later.
    Coherence,
    /// The other one overwrites what it has read, at once or later: it has not seen that.
    FromRead,
}

/// A shortest cycle, each event with why it comes before the next one, and the last before the first. `None`
/// if there is no cycle: then the execution is an interleaving.
///
/// Of several it is one in which few threads take part. It begins with the event that [`linearize`] has
/// first.
pub fn cycle(graph: &Graph) -> Option<Vec<(EventId, Relation)>> {
    let order = linearize(graph);
    let sequenced = sequenced(graph, &order);
    let accesses: Vec<EventId> =
        order.iter().copied().filter(|&id| graph.event(id).op.atomic().is_some()).collect();
    let before = |a: usize, b: usize| relation(graph, &sequenced, accesses[a], accesses[b]);
    let next: Vec<Vec<usize>> = (0..accesses.len())
        .map(|a| (0..accesses.len()).filter(|&b| before(a, b).is_some()).collect())
        .collect();
    let mut shortest: Option<Vec<usize>> = None;
    for start in 0..accesses.len() {
        // Of the cycles through this event, and through none that comes before it.
        let most = shortest.as_ref().map_or(usize::MAX, Vec::len);
        if let Some(found) = through(start, &next, most) {
            let effort = |cycle: &[usize]| (cycle.len(), threads(cycle.iter().map(|&i| accesses[i])));
            if shortest.as_ref().is_none_or(|shortest| effort(&found) < effort(shortest)) {
                shortest = Some(found);
            }
        }
    }
    let cycle = shortest?;
    let relation = |i: usize| before(cycle[i], cycle[(i + 1) % cycle.len()]).expect("it is an edge");
    Some((0..cycle.len()).map(|i| (accesses[cycle[i]], relation(i))).collect())
}

/// A shortest cycle through `start`, and through none that is before it, of at most so many events.
fn through(start: usize, next: &[Vec<usize>], most: usize) -> Option<Vec<usize>> {
    let mut from: Vec<Option<(usize, usize)>> = vec![None; next.len()];
    let mut queue = VecDeque::from([(start, 1)]);
    while let Some((at, length)) = queue.pop_front() {
        for &to in next[at].iter().filter(|&&to| to >= start) {
            if to == start {
                let mut cycle = vec![at];
                while let Some((earlier, _)) = from[cycle[cycle.len() - 1]] {
                    cycle.push(earlier);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if from[to].is_none() && length < most {
                from[to] = Some((at, length));
                queue.push_back((to, length + 1));
            }
        }
    }
    None
}

fn threads(events: impl Iterator<Item = EventId>) -> usize {
    let mut threads: Vec<usize> = events.map(EventId::thread).collect();
    threads.sort_unstable();
    threads.dedup();
    threads.len()
}

/// Why the one access comes before the other, if it does. Of several reasons the first.
fn relation(graph: &Graph, sequenced: &[Vec<Clock>], a: EventId, b: EventId) -> Option<Relation> {
    if a == b {
        return None;
    }
    if sequenced[b.thread()][b.index()].contains(a) {
        let is_own = a.thread() == b.thread();
        return Some(if is_own { Relation::ProgramOrder } else { Relation::StartOrJoin });
    }
    let (first, second) = (graph.event(a), graph.event(b));
    if first.op.location() != second.op.location() {
        return None;
    }
    if second.op.reads() && second.reads_from == a {
        return Some(Relation::ReadsFrom);
    }
    if !second.writes {
        return None;
    }
    if first.writes && first.position < second.position {
        return Some(Relation::Coherence);
    }
    let is_overwritten = first.op.reads() && graph.position(first.reads_from) < second.position as usize;
    is_overwritten.then_some(Relation::FromRead)
}

/// For each event what comes before it by program order, starts and joins, itself included.
fn sequenced(graph: &Graph, order: &[EventId]) -> Vec<Vec<Clock>> {
    let mut clocks: Vec<Vec<Clock>> = graph.threads.iter().map(|_| Vec::new()).collect();
    for &id in order {
        let own = &clocks[id.thread()];
        let mut clock = match (own.last(), graph.threads[id.thread()].started_by) {
            (Some(previous), _) => previous.clone(),
            (None, Some(start)) => clocks[start.thread()][start.index()].clone(),
            (None, None) => Clock::default(),
        };
        if let Op::Join { thread } = graph.event(id).op
            && let Some(end) = clocks[thread as usize].last()
        {
            clock.join(end);
        }
        clock.include(id.thread(), id.index() + 1);
        clocks[id.thread()].push(clock);
    }
    clocks
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{Relaxed, SeqCst};

    use super::*;
    use crate::code::{Location, fence, spawn};
    use crate::explore::{Failed, Options, explore};
    use crate::memory::Memory;

    /// Two threads that each store and then load the other's word; it fails if neither sees the store.
    fn store_buffering(fences: bool, memory: Memory) -> Option<Failed> {
        let program = move || {
            let (x, y, seen) = (Location::new("x", 0), Location::new("y", 0), Location::new("seen", 0));
            let other = spawn("other", move || {
                y.store(1, Relaxed);
                if fences {
                    fence(SeqCst);
                }
                seen.store(x.load(Relaxed), Relaxed);
            });
            x.store(1, Relaxed);
            if fences {
                fence(SeqCst);
            }
            let first = y.load(Relaxed);
            other.join();
            assert!(first + seen.load(Relaxed) > 0, "nobody has seen a store");
        };
        explore(memory, Options { workers: 1, ..Options::default() }, program).failed
    }

    #[test]
    fn store_buffering_is_explained_by_two_stores_that_are_not_seen() {
        assert!(store_buffering(false, Memory::Sc).is_none());
        for memory in [Memory::Tso, Memory::Rc11] {
            let failed = store_buffering(false, memory).expect("the stores may be late");
            let cycle = cycle(&failed.graph).expect("it is no interleaving");
            let relations: Vec<Relation> = cycle.iter().map(|(_, relation)| *relation).collect();
            use Relation::{FromRead, ProgramOrder};
            assert_eq!(relations, [ProgramOrder, FromRead, ProgramOrder, FromRead], "{cycle:?}");
            assert_eq!(threads(cycle.iter().map(|(id, _)| *id)), 2);
            assert!(store_buffering(true, memory).is_none());
        }
    }

    #[test]
    fn an_interleaving_has_no_cycle() {
        let program = || {
            let x = Location::new("x", 0);
            let other = spawn("other", move || x.store(1, Relaxed));
            assert_eq!(x.load(Relaxed), 0);
            other.join();
        };
        for memory in Memory::ALL {
            let failed = explore(memory, Options { workers: 1, ..Options::default() }, program).failed;
            assert_eq!(cycle(&failed.expect("it fails").graph), None);
        }
    }
}
