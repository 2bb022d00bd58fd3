//! The Linux kernel memory model, to be read beside the paper and the kernel's own definition.
//!
//! Alglave, Maranget, McKenney, Parri and Stern, *Frightening Small Children and Disconcerting
//! Grown-ups*, ASPLOS 2018; and what the kernel's `tools/memory-model` has added since: a critical
//! section is ordered before the next one of any lock in the same thread, and of the same lock in
//! another (`po-unlock-lock-po`); read-modify-writes carry a release on (`rmw-sequence`); plain
//! accesses and data races. RCU and SRCU are left out: no test that uses them gets here.
//!
//! An execution is forbidden if it breaks one of the [axioms](Axiom). They say, from the bottom up:
//!
//! * **coherence** and **atomicity**: each location by itself is sequentially consistent, and a
//!   read-modify-write is one step (both are checked [location by location](super::coherence),
//!   before anything here is built);
//! * **happens-before**: time has no circles. It passes along dependencies and fences within a
//!   thread (*ppo*), from a write to another thread's read of it, and where a write must have
//!   *propagated* to a thread before that thread went on;
//! * **propagation**: the order in which writes have reached all threads, at strong fences, has no circles either;
//! * **plain coherence**: a plain access obeys the order that the marked accesses around it enforce.
//!
//! Load buffering without a dependency breaks none of these. That is why no engine that executes
//! one operation after the other has this model: a read may read from a write that its own thread
//! has yet to cause.

use super::execution::{Sets, Skeleton, Witness};
use super::relation::Relation;

/// What an execution has to fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axiom {
    /// Program order of one location, reads-from, coherence order and from-reads have no cycle
    Coherence,
    /// No other thread writes between the read and the write of a read-modify-write
    Atomicity,
    /// `hb` has no cycle
    HappensBefore,
    /// `pb` has no cycle
    Propagation,
    /// No plain access is read from, overwritten or reads against an order that is enforced
    PlainCoherence,
}

impl Axiom {
    /// All of them
    #[cfg(test)]
    pub const ALL: [Axiom; 5] =
        [Axiom::Coherence, Axiom::Atomicity, Axiom::HappensBefore, Axiom::Propagation, Axiom::PlainCoherence];
}

/// Whether an execution is allowed. If it is: two accesses that race, the first in the order of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Forbidden,
    Allowed { race: Option<(usize, usize)> },
}

/// The barriers of a test's threads. What they order does not depend on what is read from where.
pub struct Barriers {
    /// `smp_mb()` and what is as strong, but for `smp_mb__after_unlock_lock()`
    mb: Relation,
    rmb: Relation,
    wmb: Relation,
    acquire: Relation,
    release: Relation,
    /// As `rmb`, for the plain reads around one that counts
    after_rmb: Relation,
    before_rmb: Relation,
}

impl Barriers {
    pub fn new(threads: &Skeleton) -> Self {
        let Skeleton { po, sets, .. } = threads;
        let Sets { reads, writes, .. } = *sets;
        let accesses = reads | writes;
        let around = |fences| po.to(fences).then(po);
        let po_or_same = po.optional();
        // A read-modify-write without a suffix is a full barrier before its read and after its write. The
        // barriers that go with an atomic operation or a lock are full ones if they stand next to one.
        let mb = around(sets.mb)
            | po.to(sets.full & reads)
            | po.from(sets.full & writes)
            | around(sets.before_atomic).to(sets.atomic).then(&po_or_same)
            | po_or_same.to(sets.atomic).then(around(sets.after_atomic))
            | po_or_same.to(sets.lock_writes).then(around(sets.after_spinlock));
        // The read of an operation that returns nothing is not held by `smp_rmb()`.
        let counts = !sets.no_return;
        let rmb = around(sets.rmb);
        Barriers {
            mb: mb.from(accesses).to(accesses),
            rmb: rmb.from(reads & counts).to(reads & counts),
            wmb: around(sets.wmb).from(writes).to(writes),
            acquire: po.from(sets.acquire).to(accesses),
            release: po.from(accesses).to(sets.release),
            after_rmb: rmb.from(reads & counts).to(counts),
            before_rmb: rmb.from(counts).to(reads & counts),
        }
    }
}

/// Judges an execution that is coherent and whose read-modify-writes are atomic. One axiom may be
/// left out, to see what it is for.
pub fn judge(
    threads: &Skeleton,
    barriers: &Barriers,
    witness: &Witness,
    left_out: Option<Axiom>,
) -> Judgement {
    let Skeleton { po, sets, rmw, .. } = threads;
    let Witness { rf, co, fr } = witness;
    let Barriers { rmb, wmb, acquire, release, .. } = barriers;
    let accesses = sets.reads | sets.writes;
    let plain = accesses & sets.plain;
    let marked = !plain;
    let internal = |relation: &Relation| relation & &threads.same_thread;
    let external = |relation: &Relation| relation - &threads.same_thread;
    let is_left_out = |axiom| left_out == Some(axiom);

    // What a lock's release is to its next acquisition, by this thread or another one.
    let unlock_lock = po.to(sets.unlocks).then(po | rf).to(sets.lock_reads).then(po);
    let after_unlock_lock = unlock_lock.to(sets.after_unlock_lock).then(po);
    let strong_fence = &barriers.mb | after_unlock_lock.from(accesses).to(accesses);
    let unlock_lock = unlock_lock.from(accesses).to(accesses);
    let read_write_fence = &strong_fence | release | acquire;
    let fence = &read_write_fence | wmb | rmb;

    // A dependency may go through memory of the thread's own: what it wrote there, it reads again.
    let carried = threads.data.then(internal(rf)).star();
    let [address, data, control] =
        [&threads.address, &threads.data, &threads.control].map(|d| carried.then(d));

    // Preserved program order (ppo).
    let dependency = &address | &data;
    let overwrite = co | fr;
    let to_write =
        (&dependency | &control).to(sets.writes) | internal(&overwrite) | address.to(plain).then(wmb);
    let to_read = address.to(sets.reads) | dependency.to(marked).then(internal(rf));
    let preserved = to_read | to_write | internal(&fence) | internal(&unlock_lock);

    // Propagation of writes: `prop` holds from one access to another if what the first has seen, or
    // overwrites, has reached the thread of the second one.
    let rfe = external(rf);
    let read_first = rfe.to(marked).optional();
    let rmw_sequence = rf.then(rmw).star();
    let cumulative = read_first.then(&strong_fence | release) | wmb | &unlock_lock;
    let cumulative = cumulative.from(marked).to(marked).then(&rmw_sequence);
    let propagated =
        external(&overwrite).optional().then(cumulative.star()).from(marked).to(marked).then(rfe.optional());
    let propagated = propagated.to(marked);

    let distinct = |relation: &Relation| relation - Relation::identity(threads.events, !0);
    let happens_before = preserved | &rfe | internal(&distinct(&propagated));
    let happens_before = happens_before.from(marked).to(marked);
    if !happens_before.is_acyclic() && !is_left_out(Axiom::HappensBefore) {
        return Judgement::Forbidden;
    }
    let propagates_before = propagated.then(&strong_fence).then(happens_before.star()).to(marked);
    if !propagates_before.is_acyclic() && !is_left_out(Axiom::Propagation) {
        return Judgement::Forbidden;
    }
    if plain & !sets.initial == 0 {
        return Judgement::Allowed { race: None };
    }

    // Plain accesses: a compiler may tear, repeat and move them within the bounds that marked accesses
    // set. One is seen by another, or executes before it, only by way of these.
    let executes_before = (&happens_before | &propagates_before).star();
    let visible = cumulative
        .star()
        .then(rfe.optional())
        .to(marked)
        .then(strong_fence.to(marked).then(&executes_before) | internal(&executes_before));
    let before_write = (&address | &fence).optional().from(marked);
    let before_read = (&address | &read_write_fence | &barriers.after_rmb).optional().from(marked);
    let after_write = fence.optional().to(marked).then(&rmw_sequence);
    let after_read = (&read_write_fence | &barriers.before_rmb).optional().to(marked);
    let strongly = strong_fence.then(&executes_before);
    let write_seen_by_write =
        &fence | strongly.then(&before_write) | after_write.then(&visible).then(&before_write);
    let write_seen_by_read =
        &fence | strongly.then(&before_read) | after_write.then(&visible).then(&before_read);
    let read_before_write = &fence | after_read.then(&executes_before).then(&before_write);

    let all = |from, to| Relation::product(threads.events, from, to);
    let may_race = external(&(all(plain, accesses) | all(accesses & !sets.initial, plain)));
    let against = (rf & read_before_write.inverse())
        | (fr & write_seen_by_read.inverse())
        | (co & write_seen_by_write.inverse());
    if !(against & &may_race).is_empty() && !is_left_out(Axiom::PlainCoherence) {
        return Judgement::Forbidden;
    }

    let ordered_writes = write_seen_by_write
        & (all(marked, sets.writes) | &read_before_write)
        & (all(sets.writes, marked) | &write_seen_by_read);
    let races = (co - ordered_writes)
        | (co.optional().then(rf) - write_seen_by_read - read_before_write.inverse())
        | (fr - read_before_write);
    let race = (races & may_race).pairs().next();
    Judgement::Allowed { race }
}
