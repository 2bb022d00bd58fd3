//! A candidate execution: what the threads do, and what each read reads from.

use super::relation::{Relation, Set};

/// The sets of events that a memory model speaks of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sets {
    /// The writes that locations begin with; they are among `writes`
    pub initial: Set,
    pub reads: Set,
    pub writes: Set,
    /// Accesses that are neither atomic nor marked by `READ_ONCE()`, `WRITE_ONCE()` or the like
    pub plain: Set,
    pub acquire: Set,
    pub release: Set,
    /// C11's; those above have C11's fences in them too
    pub seq_cst: Set,
    /// Of read-modify-writes that are full barriers
    pub full: Set,
    /// Reads of read-modify-writes that return nothing
    pub no_return: Set,
    /// Reads and writes of read-modify-writes other than locks, also of those that fail
    pub atomic: Set,
    pub lock_reads: Set,
    pub lock_writes: Set,
    pub unlocks: Set,
    pub mb: Set,
    pub rmb: Set,
    pub wmb: Set,
    pub before_atomic: Set,
    pub after_atomic: Set,
    pub after_spinlock: Set,
    pub after_unlock_lock: Set,
}

/// What the threads do, once the values that they read are chosen.
#[derive(Clone, Debug)]
pub struct Skeleton {
    /// How many events there are
    pub events: usize,
    pub sets: Sets,
    /// Program order
    pub po: Relation,
    /// Events of the same thread; an initial write has a thread for itself
    pub same_thread: Relation,
    /// Accesses of the same location
    pub same_location: Relation,
    /// From the read to the write of each read-modify-write
    pub rmw: Relation,
    /// From a read to the accesses whose location depends on what it has read
    pub address: Relation,
    /// From a read to the writes whose value does
    pub data: Relation,
    /// From a read to what stands in a branch that does
    pub control: Relation,
}

/// What each read reads from, and the order of the writes to each location.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Reads-from, from the write to the read
    pub rf: Relation,
    /// Coherence order
    pub co: Relation,
    /// From-reads: from a read to each write that overwrites what it has read
    pub fr: Relation,
}
