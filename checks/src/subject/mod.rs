//! The cells of the verdict by name: which gates there are, and what this project's documentation says of them.

pub mod pool;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reveille_model::memory::Memory;

use crate::engine::{self, Budget, Engine};
use crate::scenario::{self, Consumer, PollWake};
use crate::stress::{self, Report};
use crate::verdict::Verdict;

/// A gate by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the types of the same names have the documentation
pub enum GateName {
    HasSleeper,
    HasSleeperNoBarrier,
    Posted,
    PostedFenced,
    ArmedLate,
    Rearm,
    RearmByStore,
    RearmOptIn,
    PerEntry,
}

/// Evaluates `$body` with `$G` being the type of the gate that `$gate` names.
#[macro_export]
macro_rules! with_gate {
    ($gate:expr, $G:ident => $body:expr) => {
        $crate::with_gate!(@match $gate, $G => $body,
            HasSleeper HasSleeperNoBarrier Posted PostedFenced ArmedLate Rearm RearmByStore RearmOptIn PerEntry)
    };
    (@match $gate:expr, $G:ident => $body:expr, $($Name:ident)*) => {
        match $gate {
            $($crate::subject::GateName::$Name => {
                type $G = $crate::gates::$Name;
                $body
            })*
        }
    };
}

impl GateName {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::HasSleeper,
        Self::HasSleeperNoBarrier,
        Self::Posted,
        Self::PostedFenced,
        Self::ArmedLate,
        Self::Rearm,
        Self::RearmByStore,
        Self::RearmOptIn,
        Self::PerEntry,
    ];

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        with_gate!(self, G => <G as reveille::gate::Gate>::NAME)
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for GateName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|gate| gate.name() == name).ok_or_else(|| {
            format!("no gate is called `{name}`; there are {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

/// Searches a cell of the verdict.
pub fn search(gate: GateName, consumer: Consumer, engine: Engine, budget: Budget) -> Verdict {
    let memory = match engine {
        Engine::ModelSc => Memory::Sc,
        Engine::ModelTso => Memory::Tso,
        Engine::ModelRc11 => Memory::Rc11,
        Engine::LoomSc | Engine::LoomC11 | Engine::Shuttle | Engine::Hardware => {
            return with_gate!(gate, G => engine::search(engine, &PollWake::<G>::new(consumer), budget));
        }
    };
    engine::model::search(gate.name(), consumer.name(), scenario::POLL_WAKE_LEGEND, memory, budget)
}

/// Stresses a gate on the machine.
///
/// # Errors
/// Those of [`stress`](stress::stress).
pub fn stress(gate: GateName, completions: u64, time: Duration) -> Result<Report, stress::Error> {
    with_gate!(gate, G => stress::stress::<G>(completions, time))
}

/// The weakest thing that it takes for a miss, as this project documents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Interleavings alone: any machine.
    Interleaving,
    /// A store that is seen late, as on x86 and weaker machines.
    StoreBuffer,
    /// There is no miss.
    Nothing,
}

/// What this project's documentation says of a gate with a consumer: the table in the README.
pub fn documented(gate: GateName, consumer: Consumer) -> Needs {
    use Consumer as C;
    use GateName as G;
    use Needs::{Interleaving, Nothing, StoreBuffer};
    match (gate, consumer) {
        (G::HasSleeper | G::PerEntry, _) => Nothing,
        (G::HasSleeperNoBarrier, _) => StoreBuffer,
        // One flag for the queue is an idea for wake-all, …
        (_, C::ExclusivePair) => Interleaving,
        // … for consumers that come back …
        (G::RearmOptIn, _) => Nothing,
        (_, C::Persistent) => Interleaving,
        (G::Rearm | G::RearmByStore, _) => Nothing,
        // … and that enqueue before they arm.
        (G::Posted | G::PostedFenced, C::PollOnce | C::TwoPollers | C::Activation) => Interleaving,
        (G::Posted | G::ArmedLate, _) => StoreBuffer,
        (G::PostedFenced, _) => Nothing,
    }
}

/// Whether this project documents that `engine` finds a miss. Each finds those that its memory allows.
pub fn documented_miss(gate: GateName, consumer: Consumer, engine: Engine) -> bool {
    match engine {
        Engine::ModelSc | Engine::LoomSc | Engine::Shuttle => {
            documented(gate, consumer) == Needs::Interleaving
        }
        Engine::ModelTso | Engine::ModelRc11 | Engine::LoomC11 | Engine::Hardware => {
            documented(gate, consumer) != Needs::Nothing
        }
    }
}

/// Whether a verdict contradicts the documentation. `None` where it could not say anything.
///
/// The hardware samples executions; that it hits no stall where one is possible contradicts nothing.
pub fn contradicts(gate: GateName, consumer: Consumer, engine: Engine, verdict: &Verdict) -> Option<bool> {
    let misses = verdict.misses()?;
    let possible = documented_miss(gate, consumer, engine);
    Some(misses != possible && !(engine == Engine::Hardware && possible))
}
