//! `verdict --html FILE`: the table as a page, whose cells open their counterexamples.

use std::collections::HashSet;

use reveille_checks::engine::Engine;
use reveille_checks::picture::{self, ReportCell};
use reveille_checks::scenario::Consumer;
use reveille_checks::subject::{GateName, WakeCase};

use super::cells::brief;
use super::{Args, Found};

/// The page. A case has its counterexample under the strongest memory only, from the engine that is asked first.
pub(super) fn page(found: &[Found<WakeCase>], args: &Args) -> String {
    let mut shown = HashSet::new();
    let mut cell = |found: &Found<WakeCase>| {
        let case = (found.case.gate.name(), found.case.consumer.name());
        let counterexample = found.finding.verdict.counterexample().filter(|_| shown.insert(case)).cloned();
        ReportCell { text: brief(found).text, counterexample }
    };
    let mut rows = Vec::new();
    for gate in GateName::ALL {
        for engine in Engine::ALL {
            let cells = found.iter().filter(|cell| cell.case.gate == gate && cell.engine == engine);
            let cells: Vec<ReportCell> = cells.map(&mut cell).collect();
            if !cells.is_empty() {
                rows.push((format!("{gate}, {} {}", engine.name(), engine.memory()), cells));
            }
        }
    }
    let has_cells = |consumer: &Consumer| found.iter().any(|cell| cell.case.consumer == *consumer);
    let columns: Vec<String> =
        Consumer::ALL.into_iter().filter(has_cells).map(|consumer| consumer.name().into()).collect();
    let intro = format!(
        "May a poll wakeup be skipped? A row for each gate and engine, a column for each consumer, two completions. \
         MISS n: a wakeup is lost, by an execution of n steps; ok n: all n executions were visited, and none loses one; \
         a number alone, or ≤ n: nothing was lost within a bound; ?: no result; -: not asked. A linked cell opens its \
         execution. Budget {} s, seed {}.",
        args.budget.as_secs_f64(),
        args.seed
    );
    picture::report("reveille: the verdict", &intro, &columns, &rows)
}
