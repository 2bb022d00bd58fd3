//! The rules by which the search finds every execution once. A test can leave one out, to see that it is missed.

/// A rule of [`revisit`](super::revisit) or of [`consistency`](super::consistency).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// A revisit deletes only what was added maximally
    Maximal,
    /// ... a read that reads the newest write
    MaximalReads,
    /// ... a write that is the newest
    MaximalWrites,
    /// ... a write that no read reads which was there before
    MaximalUnread,
    /// ... a choice with its first outcome
    MaximalChoices,
    /// ... as seen from the writes in the prefix of the revisiting write too
    MaximalPrefix,
    /// ... a look that would have been in vain without it too
    MaximalLooks,
    /// A look that stays has seen a write that stays
    LooksStay,
    /// A wait that is revisited and not ended leaves a look
    LooksAreKept,
    /// A wait that has looked looks again when there is another newest write
    LooksAgain,
    /// When nothing can move, waits try older writes
    OlderReadsOfWaits,
    /// A read keeps its stamp when it is revisited
    ReadStamp,
    /// A write may take an older place
    OlderPlaces,
    /// A write revisits, and may take an older place then
    OlderPlacesOfRevisits,
    /// A read-modify-write that does not read the newest write revisits
    RevisitsOfOlder,
    /// ... even if another one has read the same write, so that it has no place itself
    RevisitsOfHomeless,
    /// Nothing comes between a read-modify-write and what it has read
    Atomicity,
    /// RC11: the partial order of `seq_cst` has no cycle
    Psc,
    /// RC11: ... accesses included, and not only fences
    PscOfAccesses,
    /// RC11: what has been read before is as old as what has been written before
    CoherenceOfReads,
    /// RC11: a read-modify-write goes on with the release sequence that it reads from
    ReleaseSequences,
    /// RC11: an acquire fence acquires what was read before
    AcquireFences,
    /// x86-TSO: a load may pass its thread's stores
    LoadsPassStores,
    /// x86-TSO: a load may read its thread's store before others see it
    OwnStoresFirst,
    /// x86-TSO: a `seq_cst` store is a barrier
    SeqCstStores,
    /// SC: the reads of a write are before the next write
    FromRead,
}

/// Whether a test leaves the rule out. Without tests none is, at no cost.
#[inline(always)]
pub(crate) fn without(rule: Rule) -> bool {
    #[cfg(test)]
    return tests::LEFT_OUT.get() == Some(rule);
    #[cfg(not(test))]
    {
        let _ = rule;
        false
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Rule;
    use std::cell::Cell;

    impl Rule {
        pub(crate) const ALL: &[Rule] = &[
            Rule::Maximal,
            Rule::MaximalReads,
            Rule::MaximalWrites,
            Rule::MaximalUnread,
            Rule::MaximalChoices,
            Rule::MaximalPrefix,
            Rule::MaximalLooks,
            Rule::LooksStay,
            Rule::LooksAreKept,
            Rule::LooksAgain,
            Rule::OlderReadsOfWaits,
            Rule::ReadStamp,
            Rule::OlderPlaces,
            Rule::OlderPlacesOfRevisits,
            Rule::RevisitsOfOlder,
            Rule::RevisitsOfHomeless,
            Rule::Atomicity,
            Rule::Psc,
            Rule::PscOfAccesses,
            Rule::CoherenceOfReads,
            Rule::ReleaseSequences,
            Rule::AcquireFences,
            Rule::LoadsPassStores,
            Rule::OwnStoresFirst,
            Rule::SeqCstStores,
            Rule::FromRead,
        ];
    }

    thread_local! {
        /// The rule that this thread's searches leave out
        pub(crate) static LEFT_OUT: Cell<Option<Rule>> = const { Cell::new(None) };
    }
}
