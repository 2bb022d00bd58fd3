//! The pool's verdict for people.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Table};
use reveille_checks::engine::{self, Engine};
use reveille_checks::report;
use reveille_checks::subject::PoolCase;

use super::cells::{MODEL, brief, brief_model, disagreements, marks, no_results};
use super::{Args, Found};

/// The table of the protocols, that of their mutants, and what they mean.
pub(super) fn report(found: &[Found<PoolCase>], args: &Args) -> String {
    let mut text = format!("{}\n\n", table(found, false).trim_fmt());
    let _ = writeln!(
        text,
        "The same with a mistake each, which has to be found:\n\n{}\n",
        table(found, true).trim_fmt()
    );
    text += &marks(found);
    let _ = writeln!(
        text,
        "-         not asked: the engine does not have this, or cannot see it. Budget {} s, seed {}, {}.",
        args.budget.as_secs_f64(),
        args.seed,
        engine::VERSIONS.map(|(name, version)| format!("{name} {version}")).join(", ")
    );
    text += &no_results(found);
    text += &disagreements(found);
    let _ = writeln!(text, "\n{}", summary(found).trim_end());
    if let Some(miss) = found.iter().find(|cell| cell.misses()) {
        let mutant = miss.case.mutant().unwrap_or_default();
        let _ = write!(text, "\nSee how: cargo run --release -- explain {} {mutant}", miss.case.protocol());
    }
    text
}

/// A row for each case: the protocols as they are, or those with a mistake.
fn table(found: &[Found<PoolCase>], mutants: bool) -> Table {
    let mut table = report::plain_table();
    let found: Vec<_> = found.iter().filter(|cell| cell.case.mutant().is_some() == mutants).collect();
    let engines: Vec<_> =
        Engine::ALL.into_iter().filter(|&engine| found.iter().any(|cell| cell.engine == engine)).collect();
    let code = engines.iter().copied().filter(|engine| !MODEL.contains(engine));
    let code = code.filter(|&engine| engine != Engine::Hardware).collect::<Vec<_>>();
    let by_model = MODEL.iter().all(|engine| engines.contains(engine));
    let names = if mutants { &["protocol", "mutant"][..] } else { &["protocol"] };
    let header = names.iter().map(|name| name.to_string());
    let header = header.chain(by_model.then(|| "model".into()));
    table
        .set_header(header.chain(code.iter().map(|engine| format!("{} {}", engine.name(), engine.memory()))));
    let cases = cases(found.iter().copied());
    let mut above = "";
    for case in cases {
        let cells = |engine: Engine| {
            found.iter().copied().filter(move |cell| cell.case == case && cell.engine == engine)
        };
        let protocol = if above == case.protocol() { "" } else { case.protocol() };
        above = case.protocol();
        let mut row = vec![Cell::new(protocol)];
        row.extend(case.mutant().map(Cell::new));
        if by_model {
            row.push(brief_model(&MODEL.map(|engine| cells(engine).collect::<Vec<_>>()), 0));
        }
        row.extend(code.iter().flat_map(|&engine| cells(engine).map(brief)));
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i >= names.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
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
            clauses.push(("model".to_owned(), brief_model(&by_memory, 0).content()));
        }
        for engine in Engine::ALL.into_iter().filter(|engine| !MODEL.contains(engine)) {
            let name = format!("{} {}", engine.name(), engine.memory());
            clauses.extend(here(engine).map(|cell| (name, brief(cell).content())));
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
        let caught = mutants.iter().filter(|(_, caught)| *caught).count();
        let _ = writeln!(
            text,
            "`{}`{:width$}{}; {caught} of {} mutants found",
            case.protocol(),
            "",
            clauses.join(", "),
            mutants.len(),
            width = 15_usize.saturating_sub(case.protocol().len())
        );
    }
    text
}
