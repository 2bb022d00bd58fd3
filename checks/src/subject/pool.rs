//! The pool's protocols and their mutants by name: what each mistake is, and what it takes for it to show.
//!
//! A mutant is the library's own code with one thing wrong. Most are made without touching it: an operation at a source line,
//! found by the function that it stands in, is [weakened](crate::flavour::weakened). Where that cannot be, another
//! gate stands in, or the pool is [misused](Misuse). Mistakes that need other code are exhibits of the [zoo](crate::zoo).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::engine::{self, Budget, Engine};
use crate::flavour::weakened::{self, Change, Mutation};
use crate::gates;
use crate::scenario::{Misuse, PoolScenario, Protocol};
use crate::source;
use crate::subject::Needs;
use crate::verdict::Verdict;

/// A protocol with one mistake.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// The protocol.
    pub protocol: Protocol,
    /// The name of the mistake.
    pub name: &'static str,
    /// What it takes for it to show.
    pub needs: Needs,
    mistake: Mistake,
}

/// How a mistake is made.
#[derive(Debug, Clone, Copy)]
enum Mistake {
    /// The operation `name` in `function` of `file`, on objects of this label if there is one.
    Weakened { file: &'static str, function: &'static str, name: &'static str, label: Option<&'static str>, change: Change },
    /// One flag for each queue: the gate [`Rearm`](gates::Rearm).
    OneFlag,
    Misuse(Misuse),
}

const fn dropped(file: &'static str, function: &'static str, name: &'static str) -> Mistake {
    Mistake::Weakened { file, function, name, label: None, change: Change::Dropped }
}

const fn wake_lost(
    file: &'static str,
    function: &'static str,
    name: &'static str,
    label: &'static str,
) -> Mistake {
    Mistake::Weakened { file, function, name, label: Some(label), change: Change::Dropped }
}

/// All mutants, in the order of their protocols.
pub const MUTANTS: &[Mutant] = {
    use Needs::{Interleaving, StoreBuffer};
    use Protocol as P;
    const fn mutant(protocol: P, name: &'static str, needs: Needs, mistake: Mistake) -> Mutant {
        Mutant { protocol, name, needs, mistake }
    }
    const NO_BARRIER_IN_ADMIT: Mistake = dropped("gate.rs", "admit", "fence");
    const NO_BARRIER_AFTER_ARM: Mistake = dropped("gate.rs", "after_enqueue", "fence");
    const NO_BARRIER_AFTER_VACANCY: Mistake = dropped("pool/mod.rs", "vacancy_opened", "fence");
    const END_NOT_TOLD: Mistake = wake_lost("pool/mod.rs", "gone", "notify_all", "sleeper");
    const WAKE_LOST: Mistake = wake_lost("pool/account.rs", "wake", "notify_many", "bounded 0");
    &[
        mutant(P::EnqueueIdle, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::EnqueueIdle, "sleeper-without-barrier", StoreBuffer, NO_BARRIER_AFTER_ARM),
        mutant(P::EnqueueIdle, "wake-lost", Interleaving, WAKE_LOST),
        mutant(P::ShardScan, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::ShardScan, "sleeper-without-barrier", StoreBuffer, NO_BARRIER_AFTER_ARM),
        mutant(P::ShardScan, "wake-lost", Interleaving, WAKE_LOST),
        mutant(P::Timeout, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::Timeout, "leave-without-barrier", StoreBuffer, dropped("pool/account.rs", "leave", "fence")),
        mutant(P::Hash, "hash-ignored", Interleaving, Mistake::Misuse(Misuse::HashIgnored)),
        mutant(P::Hash, "moved-without-activation", Interleaving, WAKE_LOST),
        mutant(P::Exit, "first-account-only", Interleaving, wake_lost("pool/mod.rs", "shutdown", "broadcast", "unbounded 0")),
        mutant(P::Exit, "broadcast-without-barrier", StoreBuffer, dropped("gate.rs", "reset", "fence")),
        mutant(P::Exit, "sleeper-without-barrier", StoreBuffer, NO_BARRIER_AFTER_ARM),
        mutant(P::Exit, "end-not-told", Interleaving, END_NOT_TOLD),
        mutant(
            P::Cancel,
            "taken-by-store",
            Interleaving,
            Mistake::Weakened {
                file: "pool/job.rs",
                function: "advance",
                name: "compare_exchange",
                label: None,
                change: Change::Split,
            },
        ),
        mutant(P::TwoIdle, "one-flag", Interleaving, Mistake::OneFlag),
        mutant(P::TwoIdle, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::Maximum, "one-too-many", Interleaving, Mistake::Misuse(Misuse::OneTooMany)),
        mutant(P::Blocking, "slot-kept", Interleaving, Mistake::Misuse(Misuse::SlotKept)),
        mutant(P::Blocking, "lend-without-barrier", StoreBuffer, NO_BARRIER_AFTER_VACANCY),
        mutant(P::Panic, "not-caught", Interleaving, Mistake::Misuse(Misuse::NotCaught)),
        mutant(P::NoThread, "refusal-not-told", Interleaving, wake_lost("pool/mod.rs", "activate", "notify_all", "sleeper")),
        mutant(P::Nested, "end-not-told", Interleaving, END_NOT_TOLD),
        mutant(P::Resize, "resize-without-barrier", StoreBuffer, NO_BARRIER_AFTER_VACANCY),
        mutant(P::Mixture, "hash-ignored", Interleaving, Mistake::Misuse(Misuse::HashIgnored)),
        mutant(P::Mixture, "wake-lost", Interleaving, WAKE_LOST),
    ]
};

impl Mutant {
    /// The mutants of a protocol.
    pub fn of(protocol: Protocol) -> impl Iterator<Item = &'static Mutant> {
        MUTANTS.iter().filter(move |mutant| mutant.protocol == protocol)
    }

    /// Searches the protocol with this mistake.
    pub fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        let scenario = PoolScenario::new(self.protocol);
        match self.mistake {
            Mistake::OneFlag => engine::search(engine, &PoolScenario::<gates::Rearm>::new(self.protocol), budget),
            Mistake::Misuse(misuse) => engine::search(engine, &<PoolScenario>::misused(scenario, misuse), budget),
            Mistake::Weakened { file, function, name, label, change } => {
                let Some(call) = source::call(file, function, name) else {
                    return Verdict::Inconclusive { why: format!("there is no `{name}` in `{function}` of {file}") };
                };
                let mutation = Mutation { place: call.place.clone(), label: label.map(Cow::from), change };
                let search = || engine::search(engine, &<PoolScenario>::new(self.protocol), budget);
                match weakened::with_mutation(&mutation, search) {
                    (verdict, 0) if verdict.misses() == Some(false) => {
                        Verdict::Inconclusive { why: format!("nobody came by {mutation}") }
                    }
                    (verdict, _) => verdict,
                }
            }
        }
    }
}
