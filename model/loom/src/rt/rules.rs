//! What this layer promises. A test can leave a rule out, to see that it is missed.

/// A rule of this layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Rule {
    /// A fence is an operation
    Fences,
    /// `unpark` puts the token there
    UnparksArrive,
    /// `notify_one` wakes a thread
    OneIsWoken,
    /// `notify_all` wakes all threads
    AllAreWoken,
    /// `Notify` keeps a notification
    NotificationsStay,
    /// Giving a `Mutex` back releases
    UnlocksRelease,
    /// Taking a `Mutex` acquires
    LocksAcquire,
    /// A writer waits for the readers of a `RwLock`
    WritersWait,
    /// The drop of a handle of an `Arc` releases
    DropsRelease,
    /// The last handle acquires what the others have released
    LastDropAcquires,
    /// A program that depends on the last handle has counts that are operations
    CountsAreOperations,
    /// What is still there at the end is reported
    LeaksAreTold,
    /// The end of an access of a cell is an operation, where others lie between
    AccessesLast,
    /// Weak exchanges fail
    WeakFailures,
    /// Waits end for no reason, where that is asked for
    SpuriousWakes,
    /// A loop with hints is a wait
    LoopsAreWaits,
}

/// Whether a test leaves the rule out. Without tests none is, at no cost.
#[inline(always)]
pub(crate) fn without(rule: Rule) -> bool {
    #[cfg(test)]
    return tests::LEFT_OUT.load(std::sync::atomic::Ordering::Relaxed) == rule as u8;
    #[cfg(not(test))]
    {
        let _ = rule;
        false
    }
}

#[cfg(test)]
mod tests;
