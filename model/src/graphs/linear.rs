//! An execution graph as a sequence, for people to read.

use super::{EventId, Graph, Op};

/// The events in an order in which every read comes after what it reads from, and the writes of a location
/// come in coherence order with the reads of each before the next, as far as that is possible: under SC it
/// always is. Accesses of a cell come as they were added: what races comes last. Of all such orders one with
/// few changes between threads.
pub fn linearize(graph: &Graph) -> Vec<EventId> {
    let mut done = vec![0; graph.threads.len()];
    let mut order = Vec::with_capacity(graph.len);
    let mut last = 0;
    while order.len() < graph.len {
        let next = |thread: usize, done: &[usize]| {
            (done[thread] < graph.threads[thread].events.len()).then(|| EventId::new(thread, done[thread]))
        };
        let threads = || std::iter::once(last).chain((0..done.len()).filter(|&thread| thread != last));
        let candidate = threads()
            .filter_map(|thread| next(thread, &done))
            .filter(|&id| may_follow(graph, id, &done))
            .min_by_key(|&id| (!is_next_of_cell(graph, id, &done), !takes_effect_now(graph, id, &done)));
        let Some(id) = candidate else { break };
        last = id.thread();
        done[last] += 1;
        order.push(id);
    }
    order
}

fn is_done(id: EventId, done: &[usize]) -> bool {
    id.is_initial() || id.index() < done[id.thread()]
}

/// Whether what the event depends on has come: the start of its thread, the write that it reads from, the end that it waits for.
fn may_follow(graph: &Graph, id: EventId, done: &[usize]) -> bool {
    let event = graph.event(id);
    let start = graph.threads[id.thread()].started_by;
    start.is_none_or(|start| is_done(start, done))
        && (!event.op.reads() || is_done(event.reads_from, done))
        && match event.op {
            Op::Join { thread } => done[thread as usize] == graph.threads[thread as usize].events.len(),
            _ => true,
        }
}

/// Whether it accesses no cell, or one of which all earlier accesses have come. In a cell is real memory, so
/// that an execution with a race can only be made again in the order in which it was made.
fn is_next_of_cell(graph: &Graph, id: EventId, done: &[usize]) -> bool {
    let event = graph.event(id);
    let (Op::CellRead { location } | Op::CellWrite { location }) = event.op else { return true };
    let cell = graph.location(location);
    let is_earlier = |other: EventId| !other.is_initial() && graph.event(other).stamp < event.stamp;
    cell.reads.iter().chain(&cell.writes).all(|&other| !is_earlier(other) || is_done(other, done))
}

/// Whether all that is before it in the order of its location has come.
fn takes_effect_now(graph: &Graph, id: EventId, done: &[usize]) -> bool {
    let event = graph.event(id);
    if !event.writes {
        return true;
    }
    let location = graph.location(event.op.location().expect("a write has a location"));
    let previous = location.writes[event.position as usize - 1];
    is_done(previous, done)
        && location
            .reads
            .iter()
            .all(|&read| read == id || graph.event(read).reads_from != previous || is_done(read, done))
}
