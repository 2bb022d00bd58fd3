//! What the cells of a table say, whatever they are about: in a few letters, and in the lines under the
//! table.

use std::fmt::Write as _;

use reveille_checks::engine::Engine;
use reveille_checks::sheet::Cell;
use reveille_checks::subject::Case;
use reveille_checks::verdict::Verdict;

use super::{Found, cell_of};
use crate::command::cell::Finding;

/// The model's memories, the strongest first.
pub(super) const MODEL: [Engine; 3] = [Engine::ModelSc, Engine::ModelTso, Engine::ModelRc11];

/// The model's cells of one case: the strongest memory under which something is missed.
pub(super) fn brief_model<C: Case>(by_memory: &[Vec<&Found<C>>], i: usize) -> Cell {
    let cells: Vec<_> = by_memory.iter().map(|cells| cells[i]).collect();
    let mark = if cells.iter().any(|cell| cell.contradicts()) { "!" } else { "" };
    if let Some(miss) = cells.iter().find(|cell| cell.misses()) {
        return Cell::bad(format!("{mark}MISS {}", miss.engine.memory()));
    }
    match cells.iter().find(|cell| !matches!(cell.finding.verdict, Verdict::Complete { .. })) {
        None => Cell::good(format!("{mark}ok")),
        Some(Found { finding: Finding { verdict: Verdict::Skipped { .. }, .. }, .. }) => "-".into(),
        Some(_) if cells.iter().all(|cell| cell.finding.verdict.is_partly_complete()) => {
            Cell::good(format!("{mark}part"))
        }
        Some(_) => Cell::odd("?"),
    }
}

/// A cell in a few letters; the legend says what they mean.
pub(super) fn brief<C: Case>(found: &Found<C>) -> Cell {
    let mark = if found.contradicts() { "!" } else { "" };
    match &found.finding.verdict {
        Verdict::Misses { .. } if found.engine == Engine::Hardware => Cell::bad(format!("{mark}STALL")),
        Verdict::Misses { counterexample, .. } => {
            Cell::bad(format!("{mark}MISS {}", counterexample.trace.steps.len()))
        }
        Verdict::Alarm { .. } => Cell::odd("ALARM"),
        Verdict::Complete { explored } if found.engine.of_the_exact_engine().is_some() => {
            Cell::good(format!("{mark}ok {explored}"))
        }
        Verdict::Complete { explored } => Cell::good(format!("{mark}all {}", short(*explored))),
        Verdict::Bounded { preemptions: Some(bound), .. } => Cell::good(format!("{mark}≤{bound}")),
        Verdict::Bounded { explored, .. } => Cell::good(format!("{mark}{}", short(*explored))),
        // The cause in a word, where the machine has no io_uring for us.
        Verdict::Skipped { why } if found.case.pointless(found.engine).is_none() => {
            Cell::odd(why.split(':').next().unwrap_or(why))
        }
        Verdict::Skipped { .. } => "-".into(),
        Verdict::Inconclusive { .. } => Cell::odd("?"),
    }
}

/// A count in at most four characters.
pub(super) fn short(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

/// What the letters mean, for the engines that there are cells of.
pub(super) fn marks<C>(found: &[Found<C>]) -> String {
    let any = |engine: &str| found.iter().any(|cell| cell.engine.name() == engine);
    let mut text = String::new();
    if any("exact") {
        text += "exact     ok n: every execution of the code under this memory, each once, n of them, nothing missed; \
                 MISS n: a counterexample of n steps; n alone: nothing missed in n executions, then time was up\n";
    }
    if any("model") {
        text += "model     ok: all states searched under sc, tso (x86) and rc11, nothing missed; MISS m: under m and all \
                 weaker; part: not in all sizes, then time was up\n";
    }
    if any("loom") {
        text += "loom      MISS n: a counterexample of n steps; ≤b: nothing missed with at most b preemptions, then time \
                 was up; all n: the search ended after n executions. sc: interleavings only; c11: stale reads too\n";
    }
    if any("shuttle") {
        text += "shuttle   MISS n: a counterexample of n steps; n: nothing missed in n schedules, a sample of \
                 interleavings. It sees no late stores, so it cannot see the misses that need them\n";
    }
    text += "?         no result, for the reason given below; !: not what this project documents\n";
    text
}

/// So many cells without a result are named, where several have the same reason.
const NAMED: usize = 3;

/// Why cells have no result.
pub(in crate::command) fn no_results<C: Case>(found: &[Found<C>]) -> String {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for Found { case, engine, finding } in found {
        let why = match &finding.verdict {
            Verdict::Inconclusive { why } => why,
            Verdict::Skipped { why } if case.pointless(*engine).is_none() => why,
            _ => continue,
        };
        let cell = format!("{case}, {} {}", engine.name(), engine.memory());
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, cells)) => cells.push(cell),
            None => reasons.push((why, vec![cell])),
        }
    }
    let mut text = String::new();
    for (why, cells) in reasons {
        let more = match cells.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let cells = cells[..cells.len().min(NAMED)].join("; ");
        let _ = writeln!(text, "no result: {cells}{more}: {why}");
    }
    text
}

/// Where loom under c11 and a search under RC11 say different things.
pub(super) fn disagreements<C: Case>(found: &[Found<C>]) -> String {
    let mut text = String::new();
    for loom in found.iter().filter(|cell| cell.engine == Engine::LoomC11) {
        let Found { case, finding, .. } = loom;
        let exact = cell_of(found, *case, Engine::ExactRc11);
        let rc11 = exact.or_else(|| cell_of(found, *case, Engine::ModelRc11));
        let _ = match &finding.verdict {
            Verdict::Alarm { explored, refuted_by, .. } => writeln!(
                text,
                "ALARM: {case}: loom c11 reports a miss after {explored} executions. It is a false one: {refuted_by} \
                 has none."
            ),
            verdict if verdict.misses() == Some(false) && rc11.is_some_and(|rc11| rc11.misses()) => {
                writeln!(text, "missed by loom: {case}: there is a miss under RC11, and loom c11 found none.")
            }
            Verdict::Misses { .. } if rc11.is_some_and(|rc11| !rc11.misses() && !rc11.was_skipped()) => {
                writeln!(
                    text,
                    "not adjudicated: {case}: loom c11 reports a miss, and no search under RC11 came to its end."
                )
            }
            _ => Ok(()),
        };
    }
    text
}
