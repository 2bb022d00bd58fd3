//! What makes an execution graph consistent: one file a memory model.
//!
//! All three models answer one question. An event is about to be added at the end of its thread, so nothing comes after it
//! in program order and nobody has read from it. The order that a model demands to be acyclic can then have a new cycle in
//! one way only: out of the new event to a write that is later in the coherence order of the same location, and from there
//! back to the event. So a model is a **floor**: the last write of the location that is already before the event. A read
//! may read that write and every later one; a write may be placed anywhere after it.
//!
//! | | before the event is |
//! |---|---|
//! | [`sc`] | what reaches it by program order, reads-from, coherence and from-read |
//! | [`tso`] | the same, without store→load program order unless there is a fence, and without reading one's own store |
//! | [`rc11`] | what happens before it, and what precedes it in the partial order of `seq_cst` |
//!
//! Atomicity is kept where writes are placed: nothing comes between a read-modify-write and what it has read. That
//! program order and reads-from together have no cycle (no load buffering) holds by construction: a read reads what is there.

pub mod rc11;
pub mod sc;
pub mod tso;

use super::{EventId, Graph, Op};
use crate::memory::Memory;

/// The place in the coherence order of the location of `op` that is already before the event `id`, which performs `op`
/// and is the last of its thread, or about to be.
pub fn floor(graph: &Graph, id: EventId, op: &Op) -> usize {
    if graph.location(op.atomic().expect("an access")).writes.len() == 1 {
        return 0;
    }
    match graph.memory {
        Memory::Sc => sc::floor(graph, id, op),
        Memory::Tso => tso::floor(graph, id, op),
        Memory::Rc11 => rc11::floor(graph, id, op),
    }
}
