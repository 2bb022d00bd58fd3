//! The exhibits as cells of a table.

use super::{Form, Shown};
use crate::engine::{self, Budget, Engine};
use crate::subject::{Case, Replay};
use crate::verdict::{Counterexample, Verdict};

/// How the [path](Case::path) of an exhibit begins.
pub(crate) const PREFIX: &str = "zoo/";

impl Shown {
    /// The one whose path this is, without its beginning.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn at(path: &str) -> Result<Self, String> {
        let (exhibit, form) =
            path.split_once('/').ok_or_else(|| format!("`{path}` is no exhibit with a form"))?;
        let form = Form::ALL.into_iter().find(|known| known.name() == form);
        Ok(Self {
            exhibit: exhibit.parse()?,
            form: form.ok_or_else(|| format!("`{path}` has no such form"))?,
        })
    }
}

impl Case for Shown {
    fn path(&self) -> String {
        format!("{PREFIX}{}/{}", self.exhibit, self.form.name())
    }

    fn search(&self, engine: Engine, budget: Budget) -> Verdict {
        engine::search(engine, self, budget)
    }

    fn pointless(&self, engine: Engine) -> Option<String> {
        let runs_scenarios = engine.of_the_model().is_none() && engine != Engine::Hardware;
        (!runs_scenarios).then(|| format!("{} does not run scenarios", engine.name()))
    }

    fn ends(&self, engine: Engine) -> bool {
        engine.of_the_exact_engine().is_some()
    }

    fn documented_miss(&self, engine: Engine) -> bool {
        self.needs().shows_under(engine)
    }

    /// The exact engine has to find what its memory allows, and nothing else. Of the others, whose
    /// searches are samples or leave executions out, only a miss says something.
    fn contradicts(&self, engine: Engine, verdict: &Verdict) -> Option<bool> {
        let misses = verdict.misses()?;
        let is_documented = self.documented_miss(engine);
        match engine.of_the_exact_engine() {
            Some(_) => Some(misses != is_documented),
            None => misses.then_some(!is_documented),
        }
    }
}

impl Replay for Shown {
    fn replay(&self, record: &str) -> Result<(Engine, Counterexample), String> {
        engine::replay(self, record).map_err(|error| error.to_string())
    }
}
