//! Poll wake: a producer of completions, pollers that sleep, and the question which wakes may be skipped.
//!
//! ```text
//! poller                                              producer, once per completion
//!   arm: enqueue (the first time), the gate's mark      write the completion, then tail (release)
//!   look at tail and head; if they differ, take         may the wake be skipped? (the gate, no lock)
//!   sleep until woken, and again                        if not: lock, tell the entries, unlock, wake those told
//! ```
//!
//! The race to be won is named by two events, *the poller looks and sees nothing* and *the producer decides
//! that nobody needs the wake*: if both happen for one completion, the poller sleeps while the ring holds
//! something. That is the **miss**: nothing can move any more, every wake that was sent is delivered, a consumer sleeps, and the ring
//! holds a completion that nobody awake will take. A second kind of violation is a poller that sees a `tail` but not the
//! completion it stands for.
//!
//! Which wake may be skipped is the [`Gate`]'s affair, and who polls and what is done when woken the [`Consumer`]'s. A
//! gate, a consumer and a [`Size`] make a [`Program`]; [`check`] searches it under a memory model.
//!
//! ```
//! use reveille_model::memory::Memory;
//! use reveille_model::protocol::poll_wake::{self, Consumer, Gate, Size};
//! use reveille_model::search::Verdict;
//!
//! let size = Size::of(Consumer::EpollLevel);
//! let report = poll_wake::check(Gate::Posted, Consumer::EpollLevel, Memory::Sc, size)?;
//! assert_eq!(report.verdict, Verdict::Complete);
//! // The store buffer that nobody noticed in review:
//! let report = poll_wake::check(Gate::Posted, Consumer::EpollLevel, Memory::Tso, size)?;
//! let Verdict::Violated(miss) = report.verdict else { panic!() };
//! assert_eq!(miss.sleepers[0].thread, "poller 0");
//! # Ok::<(), poll_wake::Error>(())
//! ```

use crate::memory::Memory;
use crate::program::{BuildError, Program, Weakening};
use crate::search::{self, End, Options, Report, Rest};

pub(super) mod build;
pub(super) mod consumer;
mod gate;
pub mod necessity;

named! {
    /// How it is decided whether a wake may be skipped.
    Gate ("gate") {
        /// No mark; a full barrier after the enqueue. The kernel today.
        HasSleeper = "has-sleeper",
        /// No mark, no barrier after the enqueue. The kernel before 6.14.
        HasSleeperNoBarrier = "has-sleeper-no-barrier",
        /// A flag, set by a relaxed store before the enqueue. The patch under question.
        Posted = "posted",
        /// The same, with a full barrier after the store.
        PostedFenced = "posted-fenced",
        /// The flag set after the enqueue, by a relaxed store with no barrier after it.
        ArmedLate = "armed-late",
        /// The flag set after the enqueue by an exchange, then a full barrier, on every poll.
        Rearm = "rearm",
        /// The same by stores: the flag is set by one, and cleared by one on activation.
        RearmByStore = "rearm-by-store",
        /// As `rearm`; while an entry that never polls again is queued, nothing is skipped.
        RearmOptIn = "rearm-opt-in",
        /// A mark in every entry, and a count of the armed ones.
        PerEntry = "per-entry",
    }
}

named! {
    /// Who calls the poller, and what is done when woken.
    Consumer ("consumer") {
        /// An epoll item, level triggered: polled again after each wake, and put back while it is readable.
        EpollLevel = "epoll-level",
        /// An epoll item, edge triggered: polled again once after each wake; the user drains the ring.
        EpollEdge = "epoll-edge",
        /// `poll(2)` in a loop: enqueues, polls until readable, leaves the queue, drains, and so on.
        PollOnce = "poll-once",
        /// One consumer, queued and armed, leaves for good when woken; others poll for the first time; the producer's
        /// thread drains the ring once, after the first completion.
        TwoPollers = "two-pollers",
        /// An entry queued once; each wake reads the ring and never calls the poller again.
        Persistent = "persistent",
        /// The first poll of a ring whose completions belong to one submitter.
        Activation = "activation",
        /// `epoll-level` with two producers.
        EpollLevelTwoProducers = "epoll-level-2p",
        /// Exclusive waiters, wake-one; each takes one completion and does not come back.
        ExclusivePair = "exclusive-pair",
        /// A poller that polls again when woken, and beside it others that poll once, take nothing and leave, as one does
        /// whose time is up.
        PasserBy = "passer-by",
    }
}

impl Consumer {
    /// Is the number of pollers at least two?
    fn is_pair(self) -> bool {
        matches!(self, Consumer::TwoPollers | Consumer::ExclusivePair | Consumer::PasserBy)
    }
}

named! {
    /// A mistake put into the protocol on purpose, to show that the search rejects it.
    Mutant ("mutant") {
        /// `per-entry` marks the entry armed before it raises the count of armed entries.
        CountAfterArmed = "count-after-armed",
        /// `per-entry` delivers to everybody (activation) without a full barrier before it.
        DeliveryWithoutBarrier = "delivery-without-barrier",
        /// An exclusive waiter that was told and leaves keeps the wake to itself.
        WakeNotPassedOn = "wake-not-passed-on",
        /// `tail` is published by a relaxed store.
        RelaxedTail = "relaxed-tail",
        /// The waker looks for sleepers without a full barrier before it.
        WakerWithoutBarrier = "waker-without-barrier",
        /// `per-entry` arms without a full barrier after it.
        SleeperWithoutBarrier = "sleeper-without-barrier",
    }
}

/// How large a configuration is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Completions that are produced, 1 to 4
    pub completions: u8,
    /// Threads that may sleep, 1 to 3; at least 2 for `two-pollers`, `exclusive-pair` and `passer-by`
    pub pollers: u8,
    /// How often each poller may wake without having been told
    pub spurious: u8,
}

impl Size {
    /// The size in which every known miss shows: two completions, no spurious wakes, and as few pollers as the
    /// consumer has.
    pub fn of(consumer: Consumer) -> Size {
        Size { completions: 2, pollers: if consumer.is_pair() { 2 } else { 1 }, spurious: 0 }
    }
}

/// A question that cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Outside of what the protocol is written for
    #[error("{consumer} with {} completions and {} pollers: 1 to 4 completions, {} to 3 pollers", size.completions, size.pollers, if consumer.is_pair() { 2 } else { 1 })]
    Size {
        /// The consumer
        consumer: Consumer,
        /// The size asked for
        size: Size,
    },
    /// The program cannot be built
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The search failed
    #[error(transparent)]
    Search(#[from] search::Error),
}

/// One gate with one consumer, as a program.
#[derive(Clone, Debug)]
pub struct PollWake {
    program: Program,
    ring: build::Ring,
    consumer: Consumer,
    /// The numbers of the threads that may sleep
    pollers: std::ops::Range<usize>,
}

impl PollWake {
    /// The protocol, or a mutant of it.
    pub fn new(
        gate: Gate,
        consumer: Consumer,
        size: Size,
        mutant: Option<Mutant>,
    ) -> Result<PollWake, Error> {
        let least = if consumer.is_pair() { 2 } else { 1 };
        if !(1..=4).contains(&size.completions) || !(least..=3).contains(&size.pollers) {
            return Err(Error::Size { consumer, size });
        }
        build::protocol(gate, consumer, size, mutant)
    }

    /// The program: threads `producer` (or two of them) and `poller 0`, ….
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The protocol with one mistake more: what is done at one place of its program does less.
    pub fn weakened(&self, site: &str, weakening: Weakening) -> PollWake {
        PollWake { program: self.program.weakened(site, weakening), ..self.clone() }
    }

    /// Searches all states under a memory model.
    pub fn check(&self, memory: Memory, options: Options) -> Result<Report, Error> {
        Ok(search::check(&self.program, memory, options, |end| self.owed(end))?)
    }

    /// In a state in which nothing moves: the completions that a sleeper waits for and nobody awake will take.
    pub(crate) fn owed(&self, end: &End<'_>) -> Vec<String> {
        let (head, tail) = (end.value(self.ring.head), end.value(self.ring.tail));
        let asleep = |poller: usize| matches!(end.rest(poller), Rest::Parked(_));
        let mut pollers = self.pollers.clone();
        let missed = match self.consumer {
            // The one that was armed leaves when woken and takes nothing; the others take what they see.
            Consumer::TwoPollers => pollers.skip(1).all(asleep),
            // A poller that has finished took one and does not come back, or has seen that everything is taken.
            _ => pollers.any(asleep),
        };
        let held = (head + 1..=tail).filter(|_| missed);
        held.map(|number| format!("completion {number} is in the ring")).collect()
    }
}

/// Searches all states of one cell: a gate with a consumer under a memory model.
pub fn check(gate: Gate, consumer: Consumer, memory: Memory, size: Size) -> Result<Report, Error> {
    PollWake::new(gate, consumer, size, None)?.check(memory, Options::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Unforgetting;
    use crate::search::{Verdict, Violation, explore};

    #[test]
    fn what_rc11_forgets_changes_no_verdict_and_no_length_of_a_shortest_miss() {
        let length = |verdict| match verdict {
            Verdict::Violated(miss) => Some(miss.steps.len()),
            _ => None,
        };
        for &gate in Gate::ALL {
            for consumer in
                [Consumer::EpollLevel, Consumer::PollOnce, Consumer::TwoPollers, Consumer::Activation]
            {
                let protocol = PollWake::new(gate, consumer, Size::of(consumer), None).unwrap();
                let owed = |end: &End<'_>| Some(protocol.owed(end)).filter(|debts| !debts.is_empty());
                let judge = |end: &End<'_>| owed(end).map(Violation::Owed);
                let options = Options::default();
                let full = explore::<Unforgetting>(&protocol.program, Memory::Rc11, options, judge).unwrap();
                let ours = protocol.check(Memory::Rc11, options).unwrap();
                // How far the last level before a miss was searched depends on the order of its states.
                if ours.verdict == Verdict::Complete {
                    assert!(ours.states <= full.states, "{gate} {consumer}");
                }
                assert_eq!(length(ours.verdict), length(full.verdict), "{gate} {consumer}");
            }
        }
    }
}
