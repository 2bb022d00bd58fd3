//! All mistakes that the engines can be shown, by name: what the checks are worth.
//!
//! | mistake | made in |
//! |---|---|
//! | a gate of the question with a consumer that it loses | the code and the model |
//! | the gate of production with [one thing wrong](crate::mutants) | the code, and in the model where that has it |
//! | a guard round foreign code that is not there, an executor that forgets its batch | the code |
//! | an ordering of the library [one step weaker](crate::orderings), an exchange in two steps, a wake that is lost | the code, and in the model where that has the place |
//! | a mistake in the completion queue | the model |
//! | a protocol of the [pool](super::PoolCase) with one thing wrong | the code, the model, or both |
//!
//! An ordering that its comment says is kept although nothing needs it makes no mutant: without it the code would be right.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use reveille::gate::PerEntry;
use reveille_model::memory::Memory;
use reveille_model::program::Weakening;
use reveille_model::protocol::{completion, poll_wake};

use super::{Case, GateName, PoolCase, WakeCase, hardware};
use crate::engine::{self, AnyScenario, Budget, Engine};
use crate::flavour::weakened::{Change, Mutation, Operation, with_mutation};
use crate::mutants::{self, Mutant};
use crate::orderings::{self, InTheModel};
use crate::scenario::{Consumer, Held, PollWake, ReactorSleep, Unwinding, unwinding};
use crate::source::{self, Use};
use crate::verdict::Verdict;

/// A mistake, by its number in [`MutantCase::all`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MutantCase(usize);

/// A mistake with all that it can be shown to.
struct Entry {
    name: String,
    search: Search<Engine>,
    /// Why there is nothing to ask this engine.
    pointless: Box<dyn Fn(Engine) -> Option<String> + Send + Sync>,
    /// The engines that catch it, where a test besides that of this table says so.
    documented: Option<Vec<Engine>>,
}

type Search<E> = Box<dyn Fn(E, Budget) -> Verdict + Send + Sync>;

impl Entry {
    /// A mistake that is made in the code, in the model, on the machine, or in several of them.
    fn made(
        name: String,
        code: Option<Search<Engine>>,
        model: Option<Search<Memory>>,
        hardware: Option<fn(Budget) -> Verdict>,
    ) -> Self {
        let missing = [
            code.is_none().then_some("the model only has this"),
            model.is_none().then_some("the model has no program for this"),
            hardware.is_none().then_some("stress runs gates only"),
        ];
        let pointless = move |engine: Engine| {
            let [code, model, hardware] = missing;
            let why = match (engine, engine.of_the_model()) {
                (Engine::Hardware, _) => hardware,
                (_, Some(_)) => model,
                (_, None) => code,
            };
            why.map(str::to_owned)
        };
        let search = move |engine: Engine, budget: Budget| {
            let verdict = match (engine, engine.of_the_model()) {
                (Engine::Hardware, _) => hardware.map(|stress| stress(budget)),
                (_, Some(memory)) => model.as_ref().map(|search| search(memory, budget)),
                (_, None) => code.as_ref().map(|search| search(engine, budget)),
            };
            match (verdict, &model) {
                // Loom may be wrong, and the model, where it has the same, is not.
                (Some(verdict @ Verdict::Misses { .. }), Some(model)) if engine == Engine::LoomC11 => {
                    verdict.adjudicated(Engine::ModelRc11, &model(Memory::Rc11, budget))
                }
                (Some(verdict), _) => verdict,
                (None, _) => Verdict::Skipped { why: "there is no such thing".into() },
            }
        };
        Self { name, search: Box::new(search), pointless: Box::new(pointless), documented: None }
    }

    /// A case of the verdict that has a mistake.
    fn of(case: impl Case + 'static) -> Self {
        let documented = Engine::ALL.into_iter().filter(|&engine| case.documented_miss(engine));
        Self {
            name: case.path().replace('/', " × "),
            documented: Some(documented.filter(|&engine| case.pointless(engine).is_none()).collect()),
            search: Box::new(move |engine, budget| case.search(engine, budget)),
            pointless: Box::new(move |engine| case.pointless(engine)),
        }
    }
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let mut entries: Vec<Entry> = UNSOUND.into_iter().map(Entry::of).collect();
    entries.extend(of_the_gate());
    entries.extend(of_the_orderings());
    entries.extend(WAKES.into_iter().map(lost_wake));
    entries.extend(of_the_guards());
    entries.extend(
        completion::Mutant::ALL.iter().copied().filter(|mutant| !has_a_twin(*mutant)).map(of_the_queue),
    );
    let pool = PoolCase::all(&PoolCase::protocols()).into_iter().filter(|case| case.mutant().is_some());
    entries.extend(pool.map(Entry::of));
    entries
});

/// Gates of the question, each with consumers that show a flaw of it.
const UNSOUND: [WakeCase; 14] = {
    const fn with(gate: GateName, consumer: Consumer) -> WakeCase {
        WakeCase { gate, consumer }
    }
    [
        with(GateName::HasSleeperNoBarrier, Consumer::EpollLevel),
        with(GateName::Posted, Consumer::EpollLevel),
        with(GateName::Posted, Consumer::PollOnce),
        with(GateName::Posted, Consumer::TwoPollers),
        with(GateName::Posted, Consumer::Activation),
        with(GateName::Posted, Consumer::Persistent),
        // Rearm with arm and enqueue swapped.
        with(GateName::PostedFenced, Consumer::PollOnce),
        with(GateName::PostedFenced, Consumer::TwoPollers),
        with(GateName::PostedFenced, Consumer::Activation),
        with(GateName::ArmedLate, Consumer::EpollLevel),
        with(GateName::Rearm, Consumer::Persistent),
        with(GateName::Rearm, Consumer::ExclusivePair),
        with(GateName::RearmByStore, Consumer::Persistent),
        with(GateName::RearmOptIn, Consumer::ExclusivePair),
    ]
};

/// The gate of production with one thing wrong.
fn of_the_gate() -> Vec<Entry> {
    use poll_wake::Mutant as Mistake;
    fn code<const M: u8>(consumer: Consumer) -> Option<Search<Engine>> {
        let scenario = PollWake::<Mutant<M>>::new(consumer);
        Some(Box::new(move |engine, budget| engine::search(engine, &scenario, budget)))
    }
    fn stress<const M: u8>(budget: Budget) -> Verdict {
        hardware::<Mutant<M>>("per-entry with a mistake".into(), budget)
    }
    let model = |consumer: Consumer, mutant: Mistake| -> Option<Search<Memory>> {
        Some(Box::new(move |memory, budget| {
            engine::model::poll_wake_mutant(consumer.name(), Some(mutant), None, memory, budget)
        }))
    };
    let without = |consumer: Consumer, site: &'static str| -> Option<Search<Memory>> {
        Some(Box::new(move |memory, budget| {
            let place = Some((site, Weakening::Dropped));
            engine::model::poll_wake_mutant(consumer.name(), None, place, memory, budget)
        }))
    };
    let entry =
        |name: &str, code, model, hardware| Entry::made(format!("per-entry: {name}"), code, model, hardware);
    let reactor = |engine, budget| {
        engine::search(engine, &ReactorSleep::<Mutant<{ mutants::LEAVES_ARMED }>>::default(), budget)
    };
    vec![
        entry(
            "counted after it is armed",
            code::<{ mutants::COUNTED_LATE }>(Consumer::PasserBy),
            model(Consumer::PasserBy, Mistake::CountAfterArmed),
            None,
        ),
        entry(
            "no barrier after arming",
            code::<{ mutants::NO_BARRIER_AFTER_ARM }>(Consumer::EpollLevel),
            without(Consumer::EpollLevel, "arm barrier"),
            Some(stress::<{ mutants::NO_BARRIER_AFTER_ARM }>),
        ),
        entry(
            "no barrier before the question",
            code::<{ mutants::NO_BARRIER_BEFORE_QUESTION }>(Consumer::EpollLevel),
            model(Consumer::EpollLevel, Mistake::WakerWithoutBarrier),
            Some(stress::<{ mutants::NO_BARRIER_BEFORE_QUESTION }>),
        ),
        entry(
            "no barrier before a delivery to everybody",
            code::<{ mutants::NO_BARRIER_BEFORE_BROADCAST }>(Consumer::Activation),
            model(Consumer::Activation, Mistake::DeliveryWithoutBarrier),
            None,
        ),
        entry(
            "a told entry that leaves keeps the wake",
            code::<{ mutants::KEEPS_THE_WAKE }>(Consumer::ExclusivePair),
            model(Consumer::ExclusivePair, Mistake::WakeNotPassedOn),
            None,
        ),
        entry(
            "a persistent entry is told once",
            code::<{ mutants::PERSISTENT_IS_TOLD_ONCE }>(Consumer::Persistent),
            None,
            None,
        ),
        entry("an entry that leaves looks armed", Some(Box::new(reactor)), None, None),
        entry("tail published relaxed", None, model(Consumer::EpollLevel, Mistake::RelaxedTail), None),
    ]
}

/// Every ordering of the library that is not kept for another reason, one step weaker or in two steps.
fn of_the_orderings() -> Vec<Entry> {
    let all = source::uses();
    let needed = all.iter().filter(|used| used.why_kept().is_none() && used.why_unreached().is_none());
    let mut entries = Vec::new();
    for used in needed {
        let mut changes = orderings::changes(used);
        if used.operation == Operation::Fence {
            changes.push(Change::Dropped);
        }
        for change in changes {
            let mutation = Mutation { place: used.place.clone(), label: None, change };
            let twin = InTheModel::of(&used.place);
            let code: Search<Engine> = Box::new(move |engine, budget| search_code(&mutation, engine, budget));
            let model = twin.map(|twin| -> Search<Memory> {
                Box::new(move |memory, budget| twin.search(change, memory, budget))
            });
            let name = format!("{}: {change}", place_by_name(used, &all));
            entries.push(Entry::made(name, Some(code), model, None));
        }
    }
    entries
}

/// A place by what does not move when a line is added above it.
fn place_by_name(used: &Use, all: &[Use]) -> String {
    let same = |other: &&Use| {
        (&other.place.file, &other.function, other.operation, &other.object, other.on_failure)
            == (&used.place.file, &used.function, used.operation, &used.object, used.on_failure)
    };
    let before = all.iter().filter(same).take_while(|other| other.place != used.place).count();
    let nth = if before > 0 { format!(" ({})", before + 1) } else { String::new() };
    let object = if used.object.is_empty() { String::new() } else { format!(" {}", used.object) };
    format!("{} {}, {}{object}{nth}", used.place.file, used.function, used.operation.name())
}

/// Wakes of the library, by file, function and call. Those of the pool are among the pool's mutants.
const WAKES: [(&str, &str, &str); 2] =
    [("completion.rs", "append_all", "notify_all"), ("wait_queue.rs", "disarm", "note")];

fn lost_wake((file, function, name): (&'static str, &'static str, &'static str)) -> Entry {
    let code: Search<Engine> = Box::new(move |engine, budget| {
        let Some(call) = source::call(file, function, name) else {
            return Verdict::Inconclusive { why: format!("there is no `{name}` in `{function}` of {file}") };
        };
        let mutation = Mutation { place: call.place.clone(), label: None, change: Change::Dropped };
        search_code(&mutation, engine, budget)
    });
    Entry::made(format!("{file} {function}: the wake is lost"), Some(code), None, None)
}

/// Every guard round foreign code taken out, but those that are kept for another reason.
fn of_the_guards() -> Vec<Entry> {
    let guards = source::calls().iter().filter(|call| call.is_guard());
    let needed = guards.filter(|call| call.why_kept().is_none() && call.why_unreached().is_none());
    let mut names = HashMap::new();
    let mut entries: Vec<_> = needed
        .map(|call| {
            let name = format!("{} {}, {}", call.place.file, call.function, call.name);
            let nth = names.entry(name.clone()).and_modify(|nth| *nth += 1).or_insert(1);
            let nth = if *nth > 1 { format!(" ({nth})") } else { String::new() };
            let mutation = Mutation { place: call.place.clone(), label: None, change: Change::Dropped };
            let code: Search<Engine> =
                Box::new(move |engine, budget| search_for(&mutation, &unwinding(), engine, budget));
            Entry::made(format!("{name}{nth}: taken out"), Some(code), None, None)
        })
        .collect();
    let on_stack: Search<Engine> =
        Box::new(|engine, budget| engine::search(engine, &Unwinding::Task(Held::OnStack), budget));
    entries.push(Entry::made("executor: a batch of tasks on the stack".into(), Some(on_stack), None, None));
    entries
}

/// Which scenarios a file's code is run in.
fn scenarios_of(file: &str) -> Vec<AnyScenario> {
    let mut scenarios = orderings::scenarios();
    let words: &[&str] = match file {
        "completion.rs" => &["completion queue", "reactor"],
        "parker.rs" => &["parker"],
        "run_queue.rs" => &["run queue"],
        file if file.starts_with("pool/") => &["pool"],
        _ => &[PER_ENTRY, "future"],
    };
    scenarios.retain(|scenario| words.iter().any(|word| scenario.name.contains(word)));
    scenarios
}

const PER_ENTRY: &str = <PerEntry as reveille::gate::Gate>::NAME;

/// Searches the scenarios that come by a place.
fn search_code(mutation: &Mutation, engine: Engine, budget: Budget) -> Verdict {
    search_for(mutation, &scenarios_of(&mutation.place.file), engine, budget)
}

/// Searches scenarios for an execution in which a mistake in the code loses something; a little in each, and then more.
fn search_for(mutation: &Mutation, scenarios: &[AnyScenario], engine: Engine, budget: Budget) -> Verdict {
    let mut explored = 0;
    let mut comes_by = false;
    for round in [0.1, 0.9] {
        let share = budget.part(round / scenarios.len().max(1) as f64);
        for scenario in scenarios {
            let search = || scenario.search(engine, share);
            let (verdict, struck) = with_mutation(mutation, search);
            comes_by |= struck > 0;
            explored += verdict.explored();
            if let Verdict::Misses { counterexample, .. } = verdict {
                return Verdict::Misses { counterexample, explored };
            }
        }
    }
    match comes_by {
        false => Verdict::Inconclusive { why: format!("nobody came by {mutation}") },
        true => {
            let by = format!("a share of the budget in each of {} scenarios", scenarios.len());
            Verdict::Bounded { explored, by, preemptions: None }
        }
    }
}

/// Mistakes of the model's completion queue that are made in the code too, by a weaker ordering.
fn has_a_twin(mutant: completion::Mutant) -> bool {
    use completion::Mutant as M;
    matches!(
        mutant,
        M::TailPublishedRelaxed
            | M::TailReadRelaxed
            | M::RefilledTailReadRelaxed
            | M::HeadPublishedRelaxed
            | M::HeadReadRelaxed
    )
}

fn of_the_queue(mutant: completion::Mutant) -> Entry {
    let model: Search<Memory> =
        Box::new(move |memory, budget| engine::model::completion_mutant(mutant, memory, budget));
    Entry::made(format!("completion queue: {mutant}"), None, Some(model), None)
}

/// What the path of a mistake begins with.
pub(super) const PREFIX: &str = "mutant:";

impl MutantCase {
    /// All mistakes.
    pub fn all() -> Vec<Self> {
        (0..ENTRIES.len()).map(Self).collect()
    }

    /// The mistake of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = ENTRIES.iter().position(|entry| entry.name == name);
        found
            .map(Self)
            .ok_or_else(|| format!("no mutant is called `{name}`; `reveille mutants` lists them all"))
    }

    /// What it is.
    pub fn name(self) -> &'static str {
        &ENTRIES[self.0].name
    }

    /// The engines that catch it, where a test besides that of this table says so.
    pub fn documented(self) -> Option<&'static [Engine]> {
        ENTRIES[self.0].documented.as_deref()
    }
}

impl fmt::Display for MutantCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Case for MutantCase {
    fn path(&self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        match self.pointless(engine) {
            Some(why) => Verdict::Skipped { why },
            None => (ENTRIES[self.0].search)(engine, budget),
        }
    }

    fn pointless(&self, engine: Engine) -> Option<String> {
        (ENTRIES[self.0].pointless)(engine)
    }

    fn documented_miss(&self, engine: Engine) -> bool {
        self.documented().is_some_and(|engines| engines.contains(&engine))
    }
}

/// A row of the table in the README of this crate: who catches a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadmeRow {
    /// The mistake.
    pub name: String,
    /// What each engine makes of it, in the order of [`Engine::ALL`]: `Some(true)` for caught, `Some(false)` for blind, `None`
    /// where it is not asked.
    pub caught: Vec<Option<bool>>,
}

/// The table in the README of this crate, as `reveille mutants --readme` printed it.
pub fn readme() -> Vec<ReadmeRow> {
    let text = include_str!("../../README.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| mutant |")).skip(2);
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap_or_default().to_owned();
        let caught = cells.map(|mark| match mark {
            "✓" => Some(true),
            "–" => Some(false),
            _ => None,
        });
        ReadmeRow { name, caught: caught.collect() }
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}
