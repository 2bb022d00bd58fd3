//! One call for an ordinary test.

use std::fmt;
use std::io::Write as _;

use reveille::gate::WakeOne;

use crate::engine::{self, Budget, Engine, ReplayError, Replayed};
use crate::report;
use crate::scenario::{Consumer, PollWake, Scenario};
use crate::verdict::Verdict;

/// What [`check`] spends on each memory model, unless `REVEILLE_BUDGET` names seconds. Most scenarios end long before.
const EXECUTIONS: u64 = 100_000;

/// The environment variable by which [`check`] shows an execution again, instead of searching.
const REPLAY: &str = "REVEILLE_REPLAY";

/// Those that [`check`] asks: the strongest memory first, so that a flaw of the algorithm is told from one of its orderings.
const EXACT: [Engine; 3] = [Engine::ExactSc, Engine::ExactTso, Engine::ExactRc11];

/// What was searched, and that nothing was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What was checked
    pub scenario: String,
    /// A search for each engine that was asked
    pub searches: Vec<Searched>,
}

/// A search that found nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Searched {
    /// Who searched
    pub engine: Engine,
    /// The executions visited
    pub executions: u64,
    /// What was not searched; `None` if nothing is left
    pub bound: Option<String>,
    /// The seed of what was random
    pub seed: u64,
}

impl Checked {
    /// Whether there is nothing left to search: every search came to its end, and one of them sees
    /// everything.
    pub fn is_complete(&self) -> bool {
        self.searches.iter().all(|search| search.bound.is_none())
            && self.searches.iter().any(|search| search.engine.blind_to().is_none())
    }

    /// Asserts that every execution was visited.
    ///
    /// # Panics
    /// With the bound, if one search has one.
    #[track_caller]
    pub fn expect_complete(&self) -> &Self {
        assert!(self.is_complete(), "not every execution was visited: {self}");
        self
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Searched { engine, executions, bound, seed }) in self.searches.iter().enumerate() {
            write!(
                f,
                "{}{}: {} {}: ",
                if i == 0 { "" } else { "\n" },
                self.scenario,
                engine.name(),
                engine.memory()
            )?;
            match (bound, engine.blind_to()) {
                (None, None) => write!(f, "every execution, {executions}, and nothing missed")?,
                (None, Some(blind)) => write!(f, "nothing missed in {executions} executions ({blind})")?,
                (Some(bound), None) => {
                    write!(f, "nothing missed in {executions} executions ({bound}; seed {seed})")?;
                }
                (Some(bound), Some(blind)) => {
                    write!(f, "nothing missed in {executions} executions ({bound}; seed {seed}; {blind})")?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a scenario of yours on the exact engine, under SC, x86-TSO and RC11, and prints what was searched:
/// every execution of the code, or where there are too many of them as many as the budget allows, depth first
/// and at random. That this was not every one is said past the test harness, which swallows what a passing
/// test prints.
///
/// # Panics
/// With the rendered counterexample, if an execution gets stuck or panics. That is its purpose. Its last line
/// says how to see it again: with the environment variable `REVEILLE_REPLAY`, nothing is searched. And if the
/// engine cannot run the scenario, with the reason: an endless loop, say, or state that is shared behind the
/// primitives' back.
#[track_caller]
pub fn check<S: Scenario>(scenario: S) -> Checked {
    check_under(&EXACT, scenario)
}

/// [`check`], with engines of your choice: loom and shuttle as second opinions, say.
///
/// # Panics
/// As [`check`].
#[track_caller]
pub fn check_under<S: Scenario>(engines: &[Engine], scenario: S) -> Checked {
    if let Ok(record) = std::env::var(REPLAY) {
        match engine::replay(&scenario, &record) {
            Ok((_, counterexample)) => panic!("\n{}", report::render(&counterexample)),
            // The text is about another check of the same test.
            Err(ReplayError::Elsewhere(name)) => {
                println!("{REPLAY}: {name} is searched, the execution is none of it")
            }
            Err(error) => panic!("{REPLAY}: {error}"),
        }
    }
    let searches = engines.iter().map(|&engine| match search(engine, &scenario) {
        Ok(searched) => searched,
        Err(why) => panic!("\n{why}"),
    });
    let checked = Checked { scenario: scenario.name(), searches: searches.collect() };
    match checked.is_complete() {
        true => println!("{checked}"),
        // `eprintln` is captured, and a green test would hide its bound.
        false => drop(writeln!(std::io::stderr(), "{checked}")),
    }
    checked
}

/// Makes an execution again that a counterexample of `scenario` has ended with (`REVEILLE_REPLAY='…'`), with
/// the code as it is now: for a test that asserts that it still loses, or that it no longer does.
///
/// It follows the same turns and choices as far as there are such; orderings and values may have changed.
/// That the execution passes, or that there is none like it any more, does not say that there is no other:
/// that is for [`check`].
///
/// # Panics
/// If the text is none, or one of another scenario, or if the engine cannot run the code.
#[track_caller]
pub fn replay<S: Scenario>(scenario: S, text: &str) -> Replayed {
    engine::follow(&scenario, text).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks a gate of yours with every consumer that this project knows and that it claims to serve: a gate that is
/// [`WakeOne`] has to serve them all.
///
/// # Panics
/// With the rendered counterexample, if a wakeup is missed. That is its purpose.
#[track_caller]
pub fn check_gate<G: WakeOne>() -> Vec<Checked> {
    check_gate_for::<G>(&Consumer::ALL)
}

/// [`check_gate`] for these consumers only.
///
/// # Panics
/// As [`check_gate`].
#[track_caller]
pub fn check_gate_for<G: WakeOne>(consumers: &[Consumer]) -> Vec<Checked> {
    consumers.iter().map(|&consumer| check(PollWake::<G>::new(consumer))).collect()
}

/// How to see an execution again. A test runs on a thread that has its name.
fn again(record: &str, thread: Option<&str>) -> String {
    let test = thread.filter(|&name| name != "main").unwrap_or_default();
    format!("See it again: {REPLAY}='{record}' cargo test {test}").trim_end().to_owned() + "\n"
}

fn search<S: Scenario>(engine: Engine, scenario: &S) -> Result<Searched, String> {
    let budget = Budget::to_pass(EXECUTIONS);
    let seed = budget.seed;
    let what = format!("{}: {} {}", scenario.name(), engine.name(), engine.memory());
    match engine::search(engine, scenario, budget) {
        Verdict::Misses { counterexample, explored } | Verdict::Alarm { counterexample, explored, .. } => {
            let mut text = format!("{}({explored} executions)\n", report::render(&counterexample));
            if let Some(record) = &counterexample.record {
                text += &again(record, std::thread::current().name());
            }
            if engine == Engine::LoomC11 {
                text += "Loom's c11 may be wrong here: ask the exact engine.\n";
            }
            Err(text)
        }
        Verdict::Complete { explored } => Ok(Searched { engine, executions: explored, bound: None, seed }),
        Verdict::Bounded { explored, by, .. } => {
            Ok(Searched { engine, executions: explored, bound: Some(by), seed })
        }
        Verdict::Skipped { why } | Verdict::Inconclusive { why } => {
            Err(format!("{what}: no result: {why}\n"))
        }
    }
}
