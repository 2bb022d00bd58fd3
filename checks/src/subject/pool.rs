//! The pool's protocols and their mutants by name: what each mistake is, and what it takes for it to show.
//!
//! A mutant is the library's own code with one thing wrong. Most are made without touching it: an operation at a source line,
//! found by the function that it stands in, is [weakened]. Where that cannot be, another
//! gate stands in, or the pool is [misused](Misuse). Mistakes that need other code are exhibits of the [zoo](crate::zoo).

use std::borrow::Cow;
use std::fmt;

use crate::engine::{self, AnyScenario, Budget, Engine};
use crate::flavour::weakened::{self, Change, Mutation};
use crate::gates;
use crate::names::not_among;
use crate::scenario::{Misuse, PoolScenario, Protocol};
use crate::source;
use crate::subject::{Case, Needs, Replay};
use crate::verdict::{Counterexample, Verdict};

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
    Weakened {
        file: &'static str,
        function: &'static str,
        name: &'static str,
        label: Option<&'static str>,
        change: Change,
    },
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
    use Needs::{Interleaving, StoreBuffer, WeakerThanX86};
    use Protocol as P;
    const fn mutant(protocol: P, name: &'static str, needs: Needs, mistake: Mistake) -> Mutant {
        Mutant { protocol, name, needs, mistake }
    }
    const NO_BARRIER_IN_ADMIT: Mistake = dropped("gate.rs", "admit", "fence");
    const NO_BARRIER_AFTER_ARM: Mistake = dropped("gate.rs", "after_enqueue", "fence");
    const NO_BARRIER_AFTER_VACANCY: Mistake = dropped("pool/mod.rs", "vacancy_opened", "fence");
    const END_NOT_TOLD: Mistake = wake_lost("pool/threads.rs", "gone", "notify_all", "sleeper");
    const NO_BARRIER_AFTER_SEARCH: Mistake = dropped("pool/account.rs", "end_search", "fence");
    const WAKE_LOST: Mistake = wake_lost("pool/account.rs", "wake", "notify_many_if", "bounded 0");
    const SECOND_WAKE_LOST: Mistake = wake_lost("pool/account.rs", "wake", "notify_many_if", "bounded 1");
    &[
        mutant(P::EnqueueIdle, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::EnqueueIdle, "sleeper-without-barrier", WeakerThanX86, NO_BARRIER_AFTER_ARM),
        mutant(P::EnqueueIdle, "wake-lost", Interleaving, WAKE_LOST),
        mutant(P::ShardScan, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::ShardScan, "sleeper-without-barrier", WeakerThanX86, NO_BARRIER_AFTER_ARM),
        mutant(P::ShardScan, "wake-lost", Interleaving, WAKE_LOST),
        mutant(P::Searching, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::Searching, "not-passed-on", Interleaving, SECOND_WAKE_LOST),
        mutant(P::Sparing, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::Sparing, "spared-for-good", Interleaving, Mistake::Misuse(Misuse::SparedForGood)),
        mutant(
            P::Sparing,
            "sparing-without-barrier",
            StoreBuffer,
            dropped("pool/account.rs", "end_sparing", "fence"),
        ),
        mutant(P::Napping, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(P::Napping, "nap-kept", Interleaving, dropped("pool/account.rs", "end_sparing", "store")),
        mutant(P::Timeout, "waker-without-barrier", StoreBuffer, NO_BARRIER_IN_ADMIT),
        mutant(
            P::Timeout,
            "leave-without-barrier",
            StoreBuffer,
            dropped("pool/account.rs", "leave", "fence"),
        ),
        mutant(P::Hash, "hash-ignored", Interleaving, Mistake::Misuse(Misuse::HashIgnored)),
        mutant(P::Hash, "moved-without-activation", Interleaving, WAKE_LOST),
        mutant(
            P::Exit,
            "first-account-only",
            Interleaving,
            wake_lost("pool/end.rs", "shutdown", "broadcast", "unbounded 0"),
        ),
        mutant(P::Exit, "broadcast-without-barrier", WeakerThanX86, dropped("gate.rs", "reset", "fence")),
        mutant(P::Exit, "sleeper-without-barrier", WeakerThanX86, NO_BARRIER_AFTER_ARM),
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
        mutant(P::TwoIdle, "search-without-barrier", StoreBuffer, NO_BARRIER_AFTER_SEARCH),
        mutant(P::Maximum, "one-too-many", Interleaving, Mistake::Misuse(Misuse::OneTooMany)),
        mutant(P::Blocking, "slot-kept", Interleaving, Mistake::Misuse(Misuse::SlotKept)),
        mutant(P::Blocking, "lend-without-barrier", StoreBuffer, NO_BARRIER_AFTER_VACANCY),
        mutant(P::Panic, "not-caught", Interleaving, Mistake::Misuse(Misuse::NotCaught)),
        mutant(
            P::NoThread,
            "refusal-not-told",
            Interleaving,
            wake_lost("pool/threads.rs", "holding_jobs", "notify_all", "sleeper"),
        ),
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

    /// Asks something about the protocol with this mistake. Says how often the mistake was made, where it is
    /// made in passing.
    fn ask<R>(&self, ask: impl FnOnce(&AnyScenario) -> R) -> Result<(R, Option<u64>), String> {
        match self.mistake {
            Mistake::OneFlag => {
                let scenario = PoolScenario::<gates::Rearm>::new(self.protocol);
                Ok((ask(&AnyScenario::new(scenario)), None))
            }
            Mistake::Misuse(misuse) => {
                let scenario = <PoolScenario>::misused(PoolScenario::new(self.protocol), misuse);
                Ok((ask(&AnyScenario::new(scenario)), None))
            }
            Mistake::Weakened { file, function, name, label, change } => {
                let call = source::call(file, function, name)
                    .ok_or_else(|| format!("there is no `{name}` in `{function}` of {file}"))?;
                let mutation = Mutation { place: call.place.clone(), label: label.map(Cow::from), change };
                let scenario = AnyScenario::new(<PoolScenario>::new(self.protocol));
                let (answer, struck) = weakened::with_mutation(&mutation, || ask(&scenario));
                Ok((answer, Some(struck)))
            }
        }
    }

    /// Searches the protocol with this mistake.
    pub fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        match self.ask(|scenario| scenario.search(engine, budget)) {
            Err(why) => Verdict::Inconclusive { why },
            Ok((verdict, Some(0))) if verdict.misses() == Some(false) => {
                Verdict::Inconclusive { why: format!("nobody came by the place of {}", self.name) }
            }
            Ok((verdict, _)) => verdict,
        }
    }

    /// Whether `engine` can see the mistake.
    pub fn shows_under(&self, engine: Engine) -> bool {
        // Two threads that touch memory which one of them owns: shuttle does not watch for that.
        let race = matches!(self.mistake, Mistake::Weakened { change: Change::Split, .. });
        // Four threads, and the store of one is late over steps of three others: loom does not come by it in a minute.
        let is_deep = self.name == "sparing-without-barrier";
        self.needs.shows_under(engine)
            && !(race && engine == Engine::Shuttle)
            && !(is_deep && engine == Engine::LoomC11)
    }
}

/// A protocol of the pool, as it is or with a mistake. The code has most of them, the model has some of those and others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolCase {
    protocol: &'static str,
    mutant: Option<&'static str>,
}

impl PoolCase {
    /// The case of these names.
    ///
    /// # Errors
    /// A line that lists the names that there are.
    pub fn new(protocol: &str, mutant: Option<&str>) -> Result<Self, String> {
        let find = |what: &str, name: &str, names: Vec<&'static str>| {
            names.iter().copied().find(|known| *known == name).ok_or_else(|| not_among(what, name, &names))
        };
        let protocol = find("protocol", protocol, Self::protocols())?;
        let what = format!("mutant of {protocol}");
        let mutant = mutant.map(|mutant| find(&what, mutant, Self::mutants(protocol))).transpose()?;
        Ok(Self { protocol, mutant })
    }

    /// The names of the protocols.
    pub fn protocols() -> Vec<&'static str> {
        with_others(Protocol::ALL.map(Protocol::name).to_vec(), engine::model::pool_protocols())
    }

    /// The names of a protocol's mutants.
    pub fn mutants(protocol: &str) -> Vec<&'static str> {
        let code = MUTANTS.iter().filter(|mutant| mutant.protocol.name() == protocol);
        with_others(code.map(|mutant| mutant.name).collect(), engine::model::pool_mutants(protocol))
    }

    /// All cases of some protocols: the protocols as they are, and then the mutants.
    pub fn all(protocols: &[&'static str]) -> Vec<Self> {
        let mutants = |&protocol: &&'static str| {
            Self::mutants(protocol).into_iter().map(move |mutant| Self { protocol, mutant: Some(mutant) })
        };
        let sound = protocols.iter().map(|&protocol| Self { protocol, mutant: None });
        sound.chain(protocols.iter().flat_map(mutants)).collect()
    }

    /// The name of the protocol.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// The name of the mistake.
    pub fn mutant(&self) -> Option<&'static str> {
        self.mutant
    }

    fn of_the_code(&self) -> Option<(Protocol, Option<&'static Mutant>)> {
        let protocol = self.protocol.parse().ok()?;
        match self.mutant {
            None => Some((protocol, None)),
            Some(name) => {
                Mutant::of(protocol).find(|mutant| mutant.name == name).map(|mutant| (protocol, Some(mutant)))
            }
        }
    }
}

/// `names`, and after them those of `others` that are not among them.
fn with_others(mut names: Vec<&'static str>, others: Vec<&'static str>) -> Vec<&'static str> {
    for other in others {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    names
}

impl fmt::Display for PoolCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutant {
            None => f.write_str(self.protocol),
            Some(mutant) => write!(f, "{}, {mutant}", self.protocol),
        }
    }
}

impl Case for PoolCase {
    fn path(&self) -> String {
        match self.mutant {
            None => format!("pool/{}", self.protocol),
            Some(mutant) => format!("pool/{}/{mutant}", self.protocol),
        }
    }

    fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        if let Some(why) = self.pointless(engine) {
            return Verdict::Skipped { why };
        }
        if let Some(memory) = engine.of_the_model() {
            return engine::model::pool(self.protocol, self.mutant, memory, budget);
        }
        match self.of_the_code() {
            Some((_, Some(mutant))) => mutant.search(engine, budget),
            Some((protocol, None)) => engine::search(engine, &<PoolScenario>::new(protocol), budget),
            None => Verdict::Skipped { why: "the code has no such thing".into() },
        }
    }

    fn ends(&self, engine: Engine) -> bool {
        let is_small = ["enqueue-idle", "shard-scan", "exit", "maximum", "panic"].contains(&self.protocol);
        engine.of_the_model().is_some() || engine.of_the_exact_engine().is_some() && is_small
    }

    fn pointless(&self, engine: Engine) -> Option<String> {
        let why = match (engine, self.of_the_code()) {
            (Engine::Hardware, _) => "the pool on real threads is the business of its own tests",
            (Engine::ModelSc | Engine::ModelTso | Engine::ModelRc11, _) => {
                let known = engine::model::pool_protocols().contains(&self.protocol)
                    && self
                        .mutant
                        .is_none_or(|mutant| engine::model::pool_mutants(self.protocol).contains(&mutant));
                if known {
                    return None;
                }
                "the model has no program for this"
            }
            (_, None) => "the model only has this",
            (Engine::LoomSc | Engine::LoomC11, Some((protocol, _))) if !protocol.fits_loom() => {
                "loom has at most five threads"
            }
            (_, Some((_, Some(mutant)))) if !mutant.shows_under(engine) => {
                "this engine cannot see the mistake"
            }
            _ => return None,
        };
        Some(why.into())
    }

    fn documented_miss(&self, engine: Engine) -> bool {
        match (self.mutant, engine.of_the_model()) {
            (None, _) => false,
            (Some(mutant), Some(memory)) => engine::model::pool_mutant_misses(self.protocol, mutant, memory),
            (Some(_), None) => self
                .of_the_code()
                .is_some_and(|(_, mutant)| mutant.is_some_and(|mutant| mutant.shows_under(engine))),
        }
    }
}

impl Replay for PoolCase {
    fn replay(&self, record: &str) -> Result<(Engine, Counterexample), String> {
        let again = match self.of_the_code() {
            Some((_, Some(mutant))) => mutant.ask(|scenario| scenario.replay(record))?.0,
            Some((protocol, None)) => engine::replay(&<PoolScenario>::new(protocol), record),
            None => return Err("the code has no such thing".into()),
        };
        again.map_err(|error| error.to_string())
    }
}
