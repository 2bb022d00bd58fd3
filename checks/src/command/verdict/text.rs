//! The verdict for people: the table, what its cells mean, and the answer in words. Every sentence is
//! made from the cells.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reveille_checks::engine::{self, Engine};
use reveille_checks::scenario::Consumer;
use reveille_checks::sheet::{Cell, Column, Sheet};
use reveille_checks::subject::{GateName, WakeCase};
use reveille_checks::verdict::Verdict;

use super::cells::{MODEL, brief, brief_model, disagreements, marks, no_results};
use super::{Args, Found};
use crate::command::output::{page, program, say_command};

pub(super) fn table(found: &[Found<WakeCase>]) -> String {
    // Narrow columns: a name may break after its hyphens.
    let names = consumers(found).into_iter().map(|consumer| consumer.name().replace('-', "-\n"));
    let keys = ["gate", "engine"].map(|key| (key.to_owned(), Column::Name));
    let mut sheet = Sheet::new(keys.into_iter().chain(names.map(|name| (name, Column::Right))));
    for gate in GateName::ALL {
        let mut name = gate.name();
        let mut add_row = |engine: String, cells: Vec<Cell>| {
            if !cells.is_empty() {
                sheet.row([Cell::from(name), Cell::from(engine)].into_iter().chain(cells));
                name = "";
            }
        };
        let cells =
            |engine: Engine| found.iter().filter(move |cell| cell.case.gate == gate && cell.engine == engine);
        // The model's three memories share a row: it is the weakest thing needed for a miss that matters.
        let by_memory: Vec<Vec<_>> = MODEL.map(|engine| cells(engine).collect()).into();
        for engine in Engine::ALL.into_iter().filter(|engine| !MODEL.contains(engine)) {
            if engine == Engine::LoomSc {
                let model = (0..by_memory[0].len()).map(|i| brief_model(&by_memory, i));
                add_row("model".into(), model.collect());
            }
            add_row(format!("{} {}", engine.name(), engine.memory()), cells(engine).map(brief).collect());
        }
    }
    sheet.on(page())
}

/// The consumers that there are cells for.
fn consumers(found: &[Found<WakeCase>]) -> Vec<Consumer> {
    Consumer::ALL
        .into_iter()
        .filter(|&consumer| found.iter().any(|found| found.case.consumer == consumer))
        .collect()
}

pub(super) fn legend(found: &[Found<WakeCase>], args: &Args) -> String {
    let any = |engine: &str| found.iter().any(|cell| cell.engine.name() == engine);
    let mut text = String::new();
    text += &marks(found);
    if any("hardware") {
        text += "hardware  STALL: the program would have slept for ever; n: no stall in n completions, a sample; -: not \
                 asked, the consumer of `stress` is that of epoll-level\n";
    }
    let _ = writeln!(
        text,
        "2 completions; exact, loom and shuttle also with a spurious first wake. Budget {} s, seed {}, {}.",
        args.budget.as_secs_f64(),
        args.seed,
        engine::VERSIONS.map(|(name, version)| format!("{name} {version}")).join(", ")
    );
    text + &no_results(found) + &disagreements(found)
}

/// What it takes for a miss with a consumer, in the order in which it is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    AnyMachine,
    X86,
    WeakerThanX86,
    LateStores,
    NoneFound,
    NotSearched,
}

impl Need {
    /// According to the cells of one gate and consumer: the model's if there are any.
    fn of(cells: &[&Found<WakeCase>]) -> Self {
        let missed_by = |engine: Engine| cells.iter().any(|cell| cell.engine == engine && cell.misses());
        // A search of the model that was given up says nothing; a bounded one of an engine says what it says.
        let searched = |cell: &&Found<WakeCase>| match cell.finding.verdict {
            Verdict::Complete { .. } | Verdict::Alarm { .. } => true,
            Verdict::Bounded { explored, .. } => explored > 0 && !MODEL.contains(&cell.engine),
            _ => false,
        };
        if missed_by(Engine::ExactSc)
            || missed_by(Engine::ModelSc)
            || missed_by(Engine::LoomSc)
            || missed_by(Engine::Shuttle)
        {
            Self::AnyMachine
        } else if missed_by(Engine::ExactTso) || missed_by(Engine::ModelTso) {
            Self::X86
        } else if missed_by(Engine::ExactRc11) || missed_by(Engine::ModelRc11) {
            Self::WeakerThanX86
        } else if missed_by(Engine::LoomC11) {
            Self::LateStores
        } else if cells.iter().any(searched) {
            Self::NoneFound
        } else {
            Self::NotSearched
        }
    }

    fn clause(self) -> &'static str {
        match self {
            Self::AnyMachine => "loses wakeups on any machine with",
            Self::X86 => "loses wakeups on x86 and weaker machines with",
            Self::WeakerThanX86 => "loses wakeups on machines weaker than x86 with",
            Self::LateStores => "loses wakeups where stores are seen late with",
            Self::NoneFound => "nothing missed with",
            Self::NotSearched => "not searched with",
        }
    }
}

/// The table in words. Every sentence is made from the cells.
pub(super) fn answer(found: &[Found<WakeCase>]) -> String {
    let mut text = String::new();
    let mut sound = Vec::new();
    for gate in GateName::ALL {
        let cells: Vec<_> = found.iter().filter(|cell| cell.case.gate == gate).collect();
        if cells.is_empty() {
            continue;
        }
        let mut by_need: BTreeMap<Need, Vec<Consumer>> = BTreeMap::new();
        for consumer in consumers(found) {
            let here: Vec<_> = cells.iter().copied().filter(|cell| cell.case.consumer == consumer).collect();
            by_need.entry(Need::of(&here)).or_default().push(consumer);
        }
        let mut clauses: Vec<_> = by_need
            .iter()
            .map(|(need, consumers)| format!("{} {}", need.clause(), names(consumers)))
            .collect();
        let stalled = cells.iter().any(|cell| cell.engine == Engine::Hardware && cell.misses());
        if stalled {
            clauses.push("stalled on this machine's io_uring".into());
        }
        let name = format!("`{gate}`");
        let _ = writeln!(text, "{name:24} {}", clauses.join(";\n                         "));
        if by_need.keys().all(|need| *need == Need::NoneFound) && !stalled {
            sound.push(gate.name());
        }
    }
    if !sound.is_empty() {
        let searched = match every_execution(found, &sound) {
            true => "in any execution of the code under SC, x86-TSO and RC11",
            false => "as far as was searched",
        };
        let _ = writeln!(text, "\nNothing was missed with {}, {searched}.", sound.join(" and "));
    }
    let posted = found.iter().filter(|cell| cell.case.gate == GateName::Posted);
    let valid = if posted.clone().any(Found::misses) {
        "Is the optimisation valid? No: as posted it can miss a wakeup, and then its consumer sleeps for ever.\n\n"
    } else if sound.contains(&GateName::Posted.name()) {
        "Is the optimisation valid? In what was searched here `posted` missed nothing.\n\n"
    } else {
        ""
    };
    valid.to_owned() + &text
}

/// Whether the exact engine came to the end of all cells of these gates.
fn every_execution(found: &[Found<WakeCase>], gates: &[&str]) -> bool {
    let of = |engine: Engine| {
        let cells = found.iter().filter(move |cell| cell.engine == engine);
        cells.filter(|cell| gates.contains(&cell.case.gate.name()))
    };
    [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11].into_iter().all(|engine| {
        of(engine).next().is_some()
            && of(engine).all(|cell| matches!(cell.finding.verdict, Verdict::Complete { .. }))
    })
}

fn names(consumers: &[Consumer]) -> String {
    match consumers {
        all if all.len() == Consumer::ALL.len() => "every consumer".into(),
        some => some.iter().map(|consumer| consumer.name()).collect::<Vec<_>>().join(", "),
    }
}

/// Prints how to see a cell again.
pub(super) fn reproduce(found: &[Found<WakeCase>]) {
    let miss = found.iter().find(|found| found.misses() && found.case.gate == GateName::Posted);
    let Some(cell) = miss.or(found.first()) else { return };
    let WakeCase { gate, consumer } = cell.case;
    for (label, command) in [
        ("See how:              ", format!("explain {gate} {consumer}")),
        ("On real hardware:     ", format!("stress {gate}")),
        ("What that is worth:   ", "mutants".into()),
    ] {
        say_command(label, &format!("{} {command}", program()));
    }
}
