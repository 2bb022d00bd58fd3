//! RC11 (Lahav et al., *Repairing Sequential Consistency in C/C++11*, PLDI 2017), as axioms on candidate executions.
//!
//! The exact engine has it too, by clocks, and is faster. It is here for tests that access one
//! location both atomically and plainly, which that engine does not have; and as a second opinion
//! on the first, by other means.

use super::execution::{Sets, Skeleton, Witness};
use super::lkmm::Judgement;
use super::relation::Relation;

/// Judges an execution that is coherent location by location and whose read-modify-writes are atomic.
pub fn judge(threads: &Skeleton, witness: &Witness) -> Judgement {
    let Skeleton { po, sets, rmw, same_location, .. } = threads;
    let Witness { rf, co, fr } = witness;
    let Sets { reads, writes, plain, initial, seq_cst, .. } = *sets;
    let accesses = reads | writes;
    let (atomic, fences) = (accesses & !plain, !accesses);
    let all = |from, to| Relation::product(threads.events, from, to);
    let sequenced = po | all(initial, !initial);

    // Synchronizes-with: from a release, or a fence before a write, by way of what carries the release
    // on, to an acquire, or a fence after the read.
    let release_sequence = (&sequenced & same_location).optional().from(writes & atomic).to(writes & atomic);
    let release_sequence = release_sequence.then(rf.then(rmw).star());
    let synchronizes = sequenced.from(fences).optional().then(release_sequence).then(rf.to(reads & atomic));
    let synchronizes = synchronizes.then(sequenced.to(fences).optional());
    let synchronizes = synchronizes.from(sets.release).to(sets.acquire);
    let happens_before = (&sequenced | synchronizes).plus();

    let extended_coherence = (rf | co | fr).plus();
    let is_coherent = happens_before.then(extended_coherence.optional()).is_irreflexive();
    if !is_coherent || !(&sequenced | rf).is_acyclic() {
        return Judgement::Forbidden;
    }

    // The partial order of all that is seq_cst.
    let elsewhere = &sequenced - same_location;
    let before = &sequenced
        | elsewhere.then(&happens_before).then(&elsewhere)
        | (&happens_before & same_location)
        | co
        | fr;
    let access = Relation::identity(threads.events, seq_cst & accesses);
    let fence = seq_cst & fences;
    let base = (&access | happens_before.optional().from(fence))
        .then(before)
        .then(&access | happens_before.optional().to(fence));
    let between_fences = &happens_before | happens_before.then(extended_coherence).then(&happens_before);
    if !(base | between_fences.from(fence).to(fence)).is_acyclic() {
        return Judgement::Forbidden;
    }

    let conflict = all(accesses, writes) | all(writes, accesses);
    let may_race = conflict & (all(plain, accesses) | all(accesses, plain)) & same_location;
    let may_race = may_race.from(!initial).to(!initial) - &threads.same_thread;
    let races = may_race - &happens_before - happens_before.inverse();
    Judgement::Allowed { race: races.pairs().next() }
}
