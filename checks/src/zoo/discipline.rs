//! What code must not forget if its sleepers are to be woken: one rule for each way in which an exhibit lost.

/// A rule that wakeup code keeps, or loses by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// Its name.
    pub name: &'static str,
    /// What to ask of the code.
    pub ask: &'static str,
}

const fn rule(name: &'static str, ask: &'static str) -> Discipline {
    Discipline { name, ask }
}

/// The sleeper looks too early.
pub const LOOK_AGAIN: Discipline = rule(
    "look again after arming",
    "Does the sleeper look at the condition once more when wakers can see it already, and under the \
     same lock if there is one?",
);
/// The sleeper looks at too little.
pub const ONE_LOOK: Discipline = rule(
    "look at all of it, at one moment",
    "Does that look cover everything that a wake may announce, and does it read one state rather than \
     pieces of two?",
);
/// Two stores, each followed by a load of the other's.
pub const BARRIER_BETWEEN: Discipline = rule(
    "barrier between",
    "Is there a full barrier between \"I sleep\" and the look, and another between the condition and \
     \"who sleeps?\"? A seq_cst load is none.",
);
/// A token is consumed by a store that is still on its way.
pub const TAKE_THEN_LOOK: Discipline = rule(
    "take, barrier, look",
    "Whoever takes a token or clears a pending mark, and then looks for work: does the taking reach \
     memory before the look?",
);
/// A store over what another thread may have just written.
pub const NO_BLIND_STORE: Discipline = rule(
    "no blind store",
    "Is every word that holds a token changed by read-modify-write, so that no store goes over a \
     token that has just come?",
);
/// The wake that is saved leaves nothing behind.
pub const SKIP_THE_CALL_ONLY: Discipline = rule(
    "skip the call, not the mark",
    "Where a wake is saved, is the word written all the same: so that a late sleeper does not sleep \
     on it, and what came before is published?",
);
/// The wake comes before what it announces.
pub const CONDITION_FIRST: Discipline = rule(
    "condition first, then wake",
    "Is everything that the sleeper looks at true before the wake is sent?",
);
/// A mark of which two sides disagree when it is set.
pub const FLAGS_PLACE: Discipline = rule(
    "the flag's place",
    "Is the flag that wakers take set where its meaning is decided: after the entry is queued, in the \
     critical section that found nothing?",
);
/// One mark stands for several sleepers.
pub const ONE_FLAG_FOR_MANY: Discipline = rule(
    "one flag for many",
    "Where several sleep and one is woken: is the mark the sleeper's own? One for the queue is taken \
     for the first and missing for the second.",
);
/// A wake ends with a thread that does nothing about it.
pub const TELL_THE_NEXT: Discipline = rule(
    "who tells the next",
    "A waiter that was told and leaves, is killed, or takes over from the dead: does it pass on the \
     wake, and the mark that others wait?",
);
/// A wake that cannot be used.
pub const WHO_CAN: Discipline = rule(
    "wake one that can",
    "Can each thread that a wake-one may reach do what the wake is for? If not, is there a queue for \
     each kind?",
);
/// An end that concerns everybody.
pub const EXIT_WAKES_ALL: Discipline = rule(
    "exit wakes all",
    "At exit, close and change of mode: is everybody told, in every list, exclusive or not, whatever \
     the first of them answers?",
);
/// Before or after.
pub const OLD_VALUE: Discipline = rule(
    "before or after",
    "Is the value that decides whether to wake the one before the operation or after it, and does the \
     test know which?",
);

/// All of them, in the order of the page.
pub const ALL: [Discipline; 13] = [
    LOOK_AGAIN,
    ONE_LOOK,
    BARRIER_BETWEEN,
    TAKE_THEN_LOOK,
    NO_BLIND_STORE,
    SKIP_THE_CALL_ONLY,
    CONDITION_FIRST,
    FLAGS_PLACE,
    ONE_FLAG_FOR_MANY,
    TELL_THE_NEXT,
    WHO_CAN,
    EXIT_WAKES_ALL,
    OLD_VALUE,
];
