//! What `--check` compares with: a table of expectations, in one of three forms.
//!
//! - A line for each test and memory model: `test`, `model`, `observation`, `states`, perhaps `executions`.
//! - A line for each test, and the observation in a column that is called like its memory model.
//!   `executions`,
//!   `variables` and `states` are those of the first such column.
//! - As `herd.tsv`: `observations` and `executions` of all models, `variables`, and the states of each model
//!   that the one before does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use reveille_checks::sheet::{Column, Sheet};
use reveille_model::litmus::{Model, Observation};

use super::Done;
use crate::command::output::page;

/// What is expected of a test under a model, as far as anything is.
#[derive(Debug, Default)]
struct Expectation {
    observation: String,
    states: Option<BTreeSet<String>>,
    executions: Option<u64>,
}

/// What is expected, by test and model.
pub(super) struct Expected {
    file: String,
    by_test: BTreeMap<String, BTreeMap<String, Expectation>>,
}

/// What became of the tests under a model.
#[derive(Default)]
struct Counts {
    agreed: usize,
    compared: usize,
    /// Those of which the table says nothing under this model.
    without: usize,
}

/// The models of a table like `herd.tsv`, in the order of its columns, and those that have executions.
const IN_HERDS_ORDER: [&str; 4] = ["sc", "tso", "rc11-trace", "rc11"];
const COUNTED: [&str; 3] = ["sc", "tso", "rc11"];

/// A line with the names of its cells.
struct Line<'a> {
    names: &'a csv::StringRecord,
    cells: csv::StringRecord,
}

impl Line<'_> {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    fn get(&self, name: &str) -> Result<&str, String> {
        let place = self.names.iter().position(|known| known == name);
        let cell = place.and_then(|place| self.cells.get(place));
        cell.ok_or_else(|| format!("there is no column `{name}`"))
    }

    /// What is expected under each model that the line is about.
    fn expectations(&self) -> Result<Vec<(String, Expectation)>, String> {
        if self.has("model") {
            let states = self.get("states")?.split(';').map(String::from).collect();
            let executions = self.get("executions").ok().map(count).transpose()?;
            let observation = observation(self.get("observation")?)?;
            let expected = Expectation { observation, states: Some(states), executions };
            return Ok(vec![(self.get("model")?.to_owned(), expected)]);
        }
        if self.has("observations") {
            return self.as_herd_has_it();
        }
        let models = Model::ALL.map(Model::name);
        let columns: Vec<&str> = self.names.iter().filter(|name| models.contains(name)).collect();
        if columns.is_empty() {
            return Err(format!("there is no column `model`, and none of {}", models.join(", ")));
        }
        let of_column = |(place, &model): (usize, &&str)| {
            let mut expected =
                Expectation { observation: observation(self.get(model)?)?, ..Expectation::default() };
            if place == 0 {
                expected.executions = self.get("executions").ok().map(count).transpose()?;
                if self.has("states") {
                    expected.states = Some(self.states(self.get("states")?)?.collect());
                }
            }
            Ok((model.to_owned(), expected))
        };
        columns.iter().enumerate().map(of_column).collect()
    }

    fn as_herd_has_it(&self) -> Result<Vec<(String, Expectation)>, String> {
        let counts: Vec<&str> = self.get("executions")?.split(',').collect();
        let mut so_far = BTreeSet::new();
        let mut all = Vec::new();
        for (place, model) in IN_HERDS_ORDER.into_iter().enumerate() {
            let column = if place == 0 { model.to_owned() } else { format!("+{model}") };
            so_far.extend(self.states(self.get(&column)?)?);
            let letter = self.get("observations")?.get(place..=place).unwrap_or("-");
            if letter == "-" {
                continue;
            }
            let counted = COUNTED.iter().position(|&known| known == model);
            let executions = counted.and_then(|place| counts.get(place).copied()).map(count).transpose()?;
            let expected =
                Expectation { observation: observation(letter)?, states: Some(so_far.clone()), executions };
            all.push((model.to_owned(), expected));
        }
        Ok(all)
    }

    /// States that are given as the values of the `variables`.
    fn states(&self, text: &str) -> Result<impl Iterator<Item = String>, String> {
        let names: Vec<&str> = self.get("variables")?.split(',').collect();
        let state = move |values: &str| {
            let pairs = names.iter().zip(values.split(',')).map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join(",")
        };
        Ok(text.split(';').filter(|values| !values.is_empty()).map(state))
    }
}

/// An observation by its name, or by the first letter of that.
fn observation(name: &str) -> Result<String, String> {
    let all = [Observation::Always, Observation::Sometimes, Observation::Never, Observation::Undefined];
    let known = all.iter().map(ToString::to_string).find(|known| *known == name || known[..1] == *name);
    known.ok_or_else(|| format!("`{name}` is no observation"))
}

/// A number of executions, perhaps behind that of those in which the condition holds: `1/4`.
fn count(text: &str) -> Result<u64, String> {
    let number = text.rsplit('/').next().unwrap_or(text);
    number.parse().map_err(|_| format!("`{text}` is no number of executions"))
}

impl Expected {
    /// Reads a table.
    ///
    /// # Errors
    /// If there is none of the forms; with the place.
    pub(super) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        let place = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{place}: {error}"))?;
        let mut reader =
            csv::ReaderBuilder::new().delimiter(b'\t').quoting(false).from_reader(text.as_bytes());
        let names = reader.headers().map_err(|error| format!("{place}: {error}"))?.clone();
        let mut by_test: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for cells in reader.into_records() {
            let cells = cells.map_err(|error| format!("{place}: {error}"))?;
            let number = cells.position().map_or(0, csv::Position::line);
            let line = Line { names: &names, cells };
            let at = |why: String| format!("{place}: line {number}: {why}");
            let test = line.get("test").map_err(at)?.to_owned();
            for (model, expected) in line.expectations().map_err(at)? {
                let of_test = by_test.entry(test.clone()).or_default();
                if of_test.insert(model.clone(), expected).is_some() {
                    return Err(format!("{place}: two lines for {test} under {model}").into());
                }
            }
        }
        Ok(Self { file: place, by_test })
    }

    /// Whether all is as expected, and the comparison for people.
    ///
    /// # Errors
    /// If nothing is expected of any of these tests.
    pub(super) fn compare(&self, done: &[Done]) -> Result<(bool, String), String> {
        let mut sheet = Sheet::new([
            ("test", Column::Name),
            ("memory", Column::Left),
            ("difference", Column::Left),
            ("", Column::Text),
        ]);
        let mut unknown = BTreeSet::new();
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        for done in done {
            let test = done.test.as_str();
            let Some(expected) = self.by_test.get(test) else {
                unknown.insert(test);
                continue;
            };
            for (memory, outcomes) in done.outcomes() {
                let counts = counts.entry(memory.name()).or_default();
                let Some(expected) = expected.get(memory.name()) else {
                    counts.without += 1;
                    continue;
                };
                let differences = sheet.len();
                let mut row = |what, value: &str| sheet.row([test, memory.name(), what, value]);
                let observation = outcomes.observation.to_string();
                if let Some(expected) = &expected.states {
                    let states: BTreeSet<String> = outcomes.states().collect();
                    expected.difference(&states).for_each(|state| row("lacks", state));
                    states.difference(expected).for_each(|state| row("has more", state));
                }
                if observation != expected.observation {
                    row("is", &format!("{observation}, not {}", expected.observation));
                }
                if let (Some(executions), Some(wanted)) = (outcomes.executions, expected.executions)
                    && executions != wanted
                {
                    row("has", &format!("{executions} executions, not {wanted}"));
                }
                counts.agreed += usize::from(sheet.len() == differences);
                counts.compared += 1;
            }
        }
        if counts.values().all(|counts| counts.compared == 0) {
            return Err(format!("{}: nothing is expected of any of these tests", self.file));
        }
        let agrees = sheet.is_empty();
        let mut text = String::new();
        if !agrees {
            let _ = writeln!(text, "{}\n", sheet.on(page()));
        }
        for memory in Model::ALL.map(Model::name) {
            let _ = match counts.get(memory) {
                None => Ok(()),
                Some(Counts { compared: 0, .. }) => writeln!(text, "{memory:<5}nothing is expected"),
                Some(Counts { agreed, compared, without: 0 }) => {
                    writeln!(text, "{memory:<5}{agreed} of {compared} tests as expected")
                }
                Some(Counts { agreed, compared, without }) => writeln!(
                    text,
                    "{memory:<5}{agreed} of {compared} tests as expected, and of {without} nothing is expected"
                ),
            };
        }
        if !unknown.is_empty() {
            let _ = writeln!(text, "nothing is expected of {}", Vec::from_iter(unknown).join(", "));
        }
        text.truncate(text.trim_end().len());
        Ok((agrees, text))
    }
}
