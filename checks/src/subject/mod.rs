//! The cells of the verdict by name: which there are, and what this project's documentation says of them.
//!
//! There are two subjects: the gates of the question with their [consumers](WakeCase), and the [pool](PoolCase). And there are
//! all [mistakes](MutantCase) that the engines are to find, and the exhibits of the [zoo].

pub mod mutant;
pub mod pool;

use std::fmt;
use std::time::Duration;

use reveille::gate::Gate;
use strum::VariantArray;

use crate::engine::{self, Budget, Engine};
use crate::names::{Named, unknown};
use crate::scenario::{self, Consumer, PollWake};
use crate::stress::{self, Report};
use crate::trace::Trace;
use crate::verdict::{Counterexample, End, Verdict, Why};
use crate::zoo::{self, Shown};

pub use mutant::{MutantCase, readme};
pub use pool::PoolCase;

/// Something that the engines are asked about.
pub trait Case: fmt::Display + Copy + PartialEq + Send + Sync {
    /// Its names, with slashes between them; [`search_path`] reads it.
    fn path(&self) -> String;

    /// Asks an engine.
    fn search(&self, engine: Engine, budget: Budget) -> Verdict;

    /// Why there is nothing to ask this engine.
    fn pointless(&self, engine: Engine) -> Option<String>;

    /// Whether the engine is expected to come to the end of its search.
    fn ends(&self, engine: Engine) -> bool {
        engine.of_the_model().is_some()
    }

    /// Whether this project documents that `engine` finds a miss. Each finds those that its memory allows.
    fn documented_miss(&self, engine: Engine) -> bool;

    /// What a verdict says beside the documentation: where that has a miss, a search that had to end [too early](Engine::enough) to see it
    /// says nothing. The hardware samples executions, and its silence says little in any case.
    fn weighed(&self, engine: Engine, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Bounded { explored, .. }
                if engine != Engine::Hardware
                    && self.documented_miss(engine)
                    && explored < engine.enough() =>
            {
                let why = format!(
                    "time was up too early: the miss that is documented may take {} executions or states, try a longer \
                     --budget",
                    engine.enough()
                );
                Verdict::Inconclusive { why }
            }
            verdict => verdict,
        }
    }

    /// Whether a verdict contradicts the documentation. `None` where it could not say anything.
    ///
    /// The hardware samples executions; that it hits no stall where one is possible contradicts nothing.
    fn contradicts(&self, engine: Engine, verdict: &Verdict) -> Option<bool> {
        let misses = verdict.misses()?;
        let possible = self.documented_miss(engine);
        Some(misses != possible && !(engine == Engine::Hardware && possible))
    }
}

/// A case whose counterexamples can be [made again](engine::replay).
pub trait Replay: Case {
    /// Makes one of them again.
    ///
    /// # Errors
    /// Why it cannot be made again, in words.
    fn replay(&self, record: &str) -> Result<(Engine, Counterexample), String>;
}

impl Replay for WakeCase {
    fn replay(&self, record: &str) -> Result<(Engine, Counterexample), String> {
        let again =
            crate::with_gate!(self.gate, G => engine::replay(&PollWake::<G>::new(self.consumer), record));
        again.map_err(|error| error.to_string())
    }
}

/// Asks an engine about the case of this [path](Case::path).
///
/// # Errors
/// If there is none; the message lists the names that there are.
pub fn search_path(path: &str, engine: Engine, budget: Budget) -> Result<Verdict, String> {
    if let Some(name) = path.strip_prefix(mutant::PREFIX) {
        return Ok(MutantCase::named(name)?.search(engine, budget));
    }
    if let Some(path) = path.strip_prefix(zoo::PREFIX) {
        return Ok(Shown::at(path)?.search(engine, budget));
    }
    match path.split('/').collect::<Vec<_>>()[..] {
        ["pool", protocol] => Ok(PoolCase::new(protocol, None)?.search(engine, budget)),
        ["pool", protocol, mutant] => Ok(PoolCase::new(protocol, Some(mutant))?.search(engine, budget)),
        [gate, consumer] => {
            Ok(WakeCase { gate: gate.parse()?, consumer: consumer.parse()? }.search(engine, budget))
        }
        _ => Err(format!("`{path}` is no cell")),
    }
}

/// A gate with a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the types have the documentation
pub struct WakeCase {
    pub gate: GateName,
    pub consumer: Consumer,
}

impl fmt::Display for WakeCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.gate, self.consumer)
    }
}

impl Case for WakeCase {
    fn path(&self) -> String {
        format!("{}/{}", self.gate, self.consumer)
    }

    fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        match (engine, self.pointless(engine)) {
            (_, Some(why)) => Verdict::Skipped { why },
            (Engine::Hardware, None) => {
                crate::with_gate!(self.gate, G => hardware::<G>(self.to_string(), budget))
            }
            (engine, None) => search(self.gate, self.consumer, engine, budget),
        }
    }

    fn ends(&self, engine: Engine) -> bool {
        engine.of_the_model().or(engine.of_the_exact_engine()).is_some()
    }

    fn pointless(&self, engine: Engine) -> Option<String> {
        (engine == Engine::Hardware && self.consumer != Consumer::EpollLevel)
            .then(|| "the consumer of `stress` re-polls after each wake, as epoll-level does".into())
    }

    fn documented_miss(&self, engine: Engine) -> bool {
        documented_miss(self.gate, self.consumer, engine)
    }
}

/// A stress run as a verdict.
fn hardware<G: Gate>(scenario: String, budget: Budget) -> Verdict {
    let report = match stress::stress::<G>(budget.executions, budget.time) {
        Ok(report) => report,
        // In short for a cell, and in full for the line under the table.
        Err(error) => return Verdict::Skipped { why: format!("{}: {error}", error.in_short()) },
    };
    if let Some(first) = report.first_stall {
        let counterexample = Counterexample {
            scenario,
            legend: String::new(),
            found_by: "real threads and a real io_uring".into(),
            end: End::Stuck(Some(format!(
                "{} of {} completions, the first of them number {first}",
                report.stalls, report.completions
            ))),
            trace: Trace::default(),
            why: Why::Unknown,
            record: None,
        };
        return Verdict::Misses { counterexample, explored: report.completions };
    }
    if report.cpu_share < stress::ALONE {
        let share = report.cpu_share * 100.0;
        return Verdict::Inconclusive {
            why: format!("the machine is busy: the producer had {share:.0} % of a CPU"),
        };
    }
    let by = format!("a sample of {} completions", report.completions);
    Verdict::Bounded { explored: report.completions, by, preemptions: None }
}

/// A gate by its name.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown::<Self>)]
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
    pub const ALL: [Self; Self::VARIANTS.len()] =
        *Self::VARIANTS.first_chunk().expect("the length is that of the list");

    /// The name in tables and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Named for GateName {
    const WHAT: &'static str = "gate";
}

/// Searches a cell of the verdict.
pub fn search(gate: GateName, consumer: Consumer, engine: Engine, budget: Budget) -> Verdict {
    let Some(memory) = engine.of_the_model() else {
        return with_gate!(gate, G => engine::search(engine, &PollWake::<G>::new(consumer), budget));
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
    /// A machine weaker than x86, which orders this without being told.
    WeakerThanX86,
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

impl Needs {
    /// Whether `engine` can show a miss that takes this.
    pub fn shows_under(self, engine: Engine) -> bool {
        match engine {
            Engine::ExactSc | Engine::ModelSc | Engine::LoomSc | Engine::Shuttle => {
                self == Needs::Interleaving
            }
            Engine::ExactTso | Engine::ModelTso | Engine::Hardware => self <= Needs::StoreBuffer,
            Engine::ExactRc11 | Engine::ModelRc11 | Engine::LoomC11 => self <= Needs::WeakerThanX86,
        }
    }
}

/// Whether this project documents that `engine` finds a miss. Each finds those that its memory allows.
pub fn documented_miss(gate: GateName, consumer: Consumer, engine: Engine) -> bool {
    documented(gate, consumer).shows_under(engine)
}

/// [`Case::contradicts`] for a gate with a consumer.
pub fn contradicts(gate: GateName, consumer: Consumer, engine: Engine, verdict: &Verdict) -> Option<bool> {
    WakeCase { gate, consumer }.contradicts(engine, verdict)
}
