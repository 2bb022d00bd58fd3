//! Is each order and each fence of a sound gate's programs good for something? One at a time is made weaker, and the consumers that
//! the gate serves are searched for one who misses a wakeup then.
//!
//! What nobody needs stays for a reason that [`Need::why_kept`] gives, or goes. A reason for something that is needed is a mistake
//! in the list, and so is nothing needed without a reason: [`Need::is_explained`].

use std::collections::BTreeMap;

use super::{Consumer, Error, Gate, PollWake, Size};
use crate::memory::Memory;
use crate::program::{Ordered, Site, Weakening};
use crate::search::{Options, Verdict};

/// The gates that serve some consumers without a miss.
pub const SOUND: [Gate; 5] =
    [Gate::HasSleeper, Gate::Rearm, Gate::RearmByStore, Gate::RearmOptIn, Gate::PerEntry];

/// The consumers, those whose programs have few states first.
pub const CHEAPEST_FIRST: [Consumer; 9] = [
    Consumer::EpollLevel,
    Consumer::EpollEdge,
    Consumer::PollOnce,
    Consumer::Persistent,
    Consumer::TwoPollers,
    Consumer::Activation,
    Consumer::EpollLevelTwoProducers,
    Consumer::ExclusivePair,
    Consumer::PasserBy,
];

/// A place in a gate's programs, one way to do less there, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The gate
    pub gate: Gate,
    /// The place
    pub place: Ordered,
    /// What is done instead
    pub weakening: Weakening,
    /// The first consumer who misses something then
    pub needed_by: Option<NeededBy>,
    /// The states that were searched in all
    pub states: usize,
}

/// Who misses a wakeup, and after how many steps in a shortest execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededBy {
    /// Who
    pub consumer: Consumer,
    /// The length of a shortest execution that loses
    pub steps: usize,
}

impl Need {
    /// Why it stays although nobody needs it.
    pub fn why_kept(&self) -> Option<&'static str> {
        why_kept(self.gate, &self.place.site, self.weakening)
    }

    /// Whether it is needed or there is a reason, and not both.
    pub fn is_explained(&self) -> bool {
        self.needed_by.is_some() != self.why_kept().is_some()
    }
}

/// Why something stays that nobody needs, by its place.
fn why_kept(gate: Gate, site: &str, weakening: Weakening) -> Option<&'static str> {
    Some(match (site, weakening) {
        ("take", _) => {
            "the ring here is unbounded; in a ring of slots it keeps a producer from a slot that is being read"
        }
        ("look tail", _) if gate != Gate::HasSleeper && gate != Gate::PerEntry => {
            "the kernel's look; whoever takes acquires the tail once more, and the one who looks first matters to rivals only"
        }
        ("take flag", Weakening::Order(_)) => {
            "the patch has it; beside the full barriers RC11 does not need it"
        }
        ("reset", _) => {
            "the patch has it: the flag is cleared as the waker clears it, in one step and with the same order"
        }
        ("arm", Weakening::Split) if gate == Gate::PerEntry => {
            "a store would do: nobody else writes what is not armed"
        }
        ("arm", Weakening::Split) => {
            "a store would do; loom mistakes one that only fences order (see `rearm-by-store`)"
        }
        ("disarm", Weakening::Split) => "no other thread writes the mark meanwhile: the lock is held",
        ("notify", Weakening::Split) => {
            "the lock keeps other wakers out, and the owner writes only what is not armed; in one step it needs no such argument"
        }
        ("count persistent" | "count left", Weakening::Split) => {
            "only with more than one persistent entry do two count at once"
        }
        ("was counted", Weakening::Split) => "only the owner and, under the lock, its leaving touch it",
        _ => return None,
    })
}

/// Weakens each place of the programs of `gate`, one at a time, and searches all consumers that the gate serves under `memory`.
///
/// # Errors
/// Those of a search.
pub fn necessity(gate: Gate, memory: Memory) -> Result<Vec<Need>, Error> {
    let mut served = Vec::new();
    let mut places: BTreeMap<Site, Ordered> = BTreeMap::new();
    for consumer in CHEAPEST_FIRST {
        let protocol = PollWake::new(gate, consumer, Size::of(consumer), None)?;
        if protocol.check(memory, Options::default())?.verdict == Verdict::Complete {
            places.extend(protocol.program().ordered().into_iter().map(|place| (place.site.clone(), place)));
            served.push((consumer, protocol));
        }
    }
    let mut needs = Vec::new();
    for place in places.into_values() {
        for &weakening in &place.weakenings {
            let (needed_by, states) = who_misses(&served, &place.site, weakening, memory)?;
            needs.push(Need { gate, place: place.clone(), weakening, needed_by, states });
        }
    }
    Ok(needs)
}

fn who_misses(
    served: &[(Consumer, PollWake)],
    site: &str,
    weakening: Weakening,
    memory: Memory,
) -> Result<(Option<NeededBy>, usize), Error> {
    let mut states = 0;
    for (consumer, protocol) in served {
        let report = protocol.weakened(site, weakening).check(memory, Options::default())?;
        states += report.states;
        if let Verdict::Violated(found) = report.verdict {
            return Ok((Some(NeededBy { consumer: *consumer, steps: found.steps.len() }), states));
        }
    }
    Ok((None, states))
}
