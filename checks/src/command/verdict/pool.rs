//! The pool's verdict for people.

use std::fmt::Write as _;

use reveille_checks::engine::{self, Engine};
use reveille_checks::sheet::{Cell, Column, Sheet};
use reveille_checks::subject::PoolCase;

use super::cells::{MODEL, brief, brief_model, disagreements, marks, no_results};
use super::{Args, Found};
use crate::command::output::{page, program, say, say_command, tell};

/// Prints the table of the protocols, that of their mutants, and what they mean.
pub(super) fn report(found: &[Found<PoolCase>], args: &Args) {
    say(format_args!("{}\n", table(found, false)));
    if found.iter().any(|cell| cell.case.mutant().is_some()) {
        say(format_args!("The same with a mistake each, which has to be found:\n\n{}\n", table(found, true)));
    }
    let mut text = marks(found);
    let _ = writeln!(
        text,
        "-         not asked: the engine does not have this, or cannot see it. Budget {} s, seed {}, {}.",
        args.budget.as_secs_f64(),
        args.seed,
        engine::VERSIONS.map(|(name, version)| format!("{name} {version}")).join(", ")
    );
    text += &no_results(found);
    text += &disagreements(found);
    let _ = write!(text, "\n{}", summary(found).trim_end());
    tell(text);
    if let Some(miss) = found.iter().find(|cell| cell.misses()) {
        let mutant = miss.case.mutant().unwrap_or_default();
        say("");
        say_command("See how: ", &format!("{} explain {} {mutant}", program(), miss.case.protocol()));
    }
}

/// A row for each case: the protocols as they are, or those with a mistake.
fn table(found: &[Found<PoolCase>], mutants: bool) -> String {
    let found: Vec<_> = found.iter().filter(|cell| cell.case.mutant().is_some() == mutants).collect();
    let engines: Vec<_> =
        Engine::ALL.into_iter().filter(|&engine| found.iter().any(|cell| cell.engine == engine)).collect();
    let code = engines.iter().copied().filter(|engine| !MODEL.contains(engine));
    let code = code.filter(|&engine| engine != Engine::Hardware).collect::<Vec<_>>();
    let by_model = MODEL.iter().all(|engine| engines.contains(engine));
    let names = if mutants { &["protocol", "mutant"][..] } else { &["protocol"] };
    let names = names.iter().map(|name| (name.to_string(), Column::Name));
    let model = by_model.then(|| ("model".to_owned(), Column::Right));
    let columns =
        code.iter().map(|engine| (format!("{}\n{}", engine.name(), engine.memory()), Column::Right));
    let mut sheet = Sheet::new(names.chain(model).chain(columns));
    let cases = cases(found.iter().copied());
    let mut above = "";
    for case in cases {
        let cells = |engine: Engine| {
            found.iter().copied().filter(move |cell| cell.case == case && cell.engine == engine)
        };
        let protocol = if above == case.protocol() { "" } else { case.protocol() };
        above = case.protocol();
        let mut row = vec![Cell::from(protocol)];
        row.extend(case.mutant().map(Cell::from));
        if by_model {
            row.push(brief_model(&MODEL.map(|engine| cells(engine).collect::<Vec<_>>()), 0));
        }
        row.extend(code.iter().flat_map(|&engine| cells(engine).map(brief)));
        sheet.row(row);
    }
    sheet.on(page())
}

/// The cases that there are cells of, in their order.
fn cases<'a>(found: impl Iterator<Item = &'a Found<PoolCase>>) -> Vec<PoolCase> {
    let mut cases = Vec::new();
    for cell in found {
        if !cases.contains(&cell.case) {
            cases.push(cell.case);
        }
    }
    cases
}

/// A line for each protocol: what was searched, and how many of its mutants were found.
pub(super) fn summary(found: &[Found<PoolCase>]) -> String {
    let mut text = String::from("The worker pool, whose wakes are decided by `per-entry`:\n\n");
    let mut cases = cases(found.iter());
    cases.retain(|case| case.mutant().is_none());
    for case in cases {
        let here = |engine: Engine| found.iter().find(move |cell| cell.case == case && cell.engine == engine);
        let mut clauses = Vec::new();
        let by_memory: Vec<Vec<_>> = MODEL.iter().map(|&engine| here(engine).into_iter().collect()).collect();
        if by_memory.iter().all(|cells| !cells.is_empty()) {
            clauses.push(("model".to_owned(), brief_model(&by_memory, 0).text));
        }
        for engine in Engine::ALL.into_iter().filter(|engine| !MODEL.contains(engine)) {
            let name = format!("{} {}", engine.name(), engine.memory());
            clauses.extend(here(engine).map(|cell| (name, brief(cell).text)));
        }
        clauses.retain(|(_, content)| content != "-");
        let clauses: Vec<_> = clauses.iter().map(|(engine, content)| format!("{engine} {content}")).collect();
        let mut mutants: Vec<(&str, bool)> = Vec::new();
        let asked = found.iter().filter(|cell| !cell.was_skipped());
        for cell in asked.filter(|cell| cell.case.protocol() == case.protocol()) {
            let Some(name) = cell.case.mutant() else { continue };
            match mutants.iter_mut().find(|(known, _)| *known == name) {
                Some((_, caught)) => *caught |= cell.misses(),
                None => mutants.push((name, cell.misses())),
            }
        }
        // Nothing is said of mutants that were not searched.
        let caught = mutants.iter().filter(|(_, caught)| *caught).count();
        let caught = match mutants.len() {
            0 => String::new(),
            all => format!("; {caught} of {all} mutants found"),
        };
        let name = format!("`{}`", case.protocol());
        let _ = writeln!(text, "{name:15}  {}{caught}", clauses.join(", "));
    }
    text
}
