//! Scenarios of all types in one list.

use super::{Budget, Engine, ReplayError, replay, search};
use crate::scenario::Scenario;
use crate::verdict::{Counterexample, Verdict};

/// What [`replay`] comes to.
type Replayed = Result<(Engine, Counterexample), ReplayError>;

/// A scenario whose type does not matter any more.
pub struct AnyScenario {
    /// Its name.
    pub name: String,
    search: Box<dyn Fn(Engine, Budget) -> Verdict + Send + Sync>,
    replay: Box<dyn Fn(&str) -> Replayed + Send + Sync>,
}

impl AnyScenario {
    /// Forgets the type.
    pub fn new(scenario: impl Scenario) -> Self {
        let name = scenario.name();
        let again = scenario.clone();
        Self {
            name,
            search: Box::new(move |engine, budget| search(engine, &scenario, budget)),
            replay: Box::new(move |record| replay(&again, record)),
        }
    }

    /// As [`search`].
    pub fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        (self.search)(engine, budget)
    }

    /// As [`replay`].
    ///
    /// # Errors
    /// Those of [`replay`].
    pub fn replay(&self, record: &str) -> Result<(Engine, Counterexample), ReplayError> {
        (self.replay)(record)
    }
}
