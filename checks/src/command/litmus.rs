//! `reveille litmus PATH...`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::mem::discriminant;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use reveille_checks::report;
use reveille_model::litmus::{Error, Model, Observation, Outcomes, Test};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::{Format, Outcome, Unfinished, complain, say};

/// The executions and final states of litmus tests under SC, x86-TSO, RC11 and the Linux kernel memory model.
///
/// A test is in herd's C syntax, with C11's operations or the kernel's; a file holds one or more. Every execution is visited once;
/// rc11 is herd's rc11.cat, lkmm the kernel's linux-kernel.cat without RCU, for tests in kernel C. A test with a data race is
/// undefined. What cannot be read gets a line on standard error with its place, and the rest is still done.
/// Exit status: 1 if a test differs from --check, otherwise 2 if something could not be done, otherwise 0.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, and folders: of these every *.litmus in them and below
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only under these memory models [default: all that have a meaning for the test]
    #[arg(long, value_name = "MODEL", value_delimiter = ',', value_parser = model)]
    memory: Vec<Model>,
    /// Compare with what is expected: tab-separated, with the columns `test`, `model` (lines of others than sc, tso, rc11 and lkmm
    /// are left out), `observation`, `states` (as --format json has them, with `;` between) and perhaps `executions`
    #[arg(long, value_name = "EXPECTED.tsv")]
    check: Option<PathBuf>,
    /// What to print: text or json (with --check, the comparison then goes to standard error)
    #[arg(long, default_value = "text")]
    format: Format,
}

fn model(name: &str) -> Result<Model, String> {
    let known = Model::ALL.into_iter().find(|model| model.name() == name);
    known.ok_or_else(|| format!("there are {}", Model::ALL.map(Model::name).join(", ")))
}

/// A test and what became of it under each memory model.
struct Done {
    test: String,
    by_model: Vec<(Model, Result<Outcomes, Error>)>,
}

impl Done {
    fn outcomes(&self) -> impl Iterator<Item = (Model, &Outcomes)> {
        self.by_model.iter().filter_map(|(model, found)| Some((*model, found.as_ref().ok()?)))
    }
}

/// A test under one memory model, in JSON.
#[derive(Serialize)]
struct Row<'a> {
    test: &'a str,
    memory: &'static str,
    observation: String,
    executions: Option<u64>,
    states: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    race: Option<String>,
}

/// Runs `reveille litmus`.
pub fn run(args: &Args) -> Outcome {
    // First: who gives a wrong table learns it at once.
    let expected = args.check.as_deref().map(Expected::read).transpose()?;
    let mut complaints = Vec::new();
    let tests = read(&args.paths, &mut complaints);
    let done = run_all(tests, &args.memory, &mut complaints);
    complaints.iter().for_each(complain);
    if args.format == Format::Json {
        say(serde_json::to_string_pretty(&rows(&done))?);
    }
    let agrees = match expected {
        Some(expected) => {
            let (agrees, text) = expected.compare(&done)?;
            match args.format {
                Format::Text => say(text),
                Format::Json => complain(text),
            }
            agrees
        }
        None => {
            if args.format == Format::Text && !done.is_empty() {
                say(table(&done));
            }
            true
        }
    };
    if agrees && !complaints.is_empty() {
        return Err(Unfinished.into());
    }
    Ok(agrees)
}

/// The tests at these paths, each with the file it is from; a file that is named twice is read once.
fn read(paths: &[PathBuf], complaints: &mut Vec<String>) -> Vec<(PathBuf, Test)> {
    let (mut tests, mut known) = (Vec::new(), HashSet::new());
    for path in paths {
        let mut any = false;
        for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
            let file = match entry {
                Err(error) => {
                    let place = error.path().unwrap_or(path).display().to_string();
                    let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    complaints.push(format!("{place}: {why}"));
                    any = true;
                    continue;
                }
                Ok(entry) if entry.file_type().is_dir() => continue,
                Ok(entry) => entry,
            };
            if file.depth() > 0 && file.path().extension().is_none_or(|extension| extension != "litmus") {
                continue;
            }
            any = true;
            if !known.insert(file.path().canonicalize().unwrap_or_else(|_| file.path().to_owned())) {
                continue;
            }
            let file = file.into_path();
            match std::fs::read_to_string(&file).map(|text| Test::parse_all(&text)) {
                Err(error) => complaints.push(format!("{}: {error}", file.display())),
                Ok(Err(error)) => complaints.push(complaint(&file, &error)),
                Ok(Ok(found)) => tests.extend(found.into_iter().map(|test| (file.clone(), test))),
            }
        }
        if !any {
            complaints.push(format!("{}: no *.litmus file in it", path.display()));
        }
    }
    tests
}

/// `file:line:column: what`, as compilers say it.
fn complaint(file: &Path, error: &Error) -> String {
    let space = match error {
        Error::Syntax { .. } | Error::Meaning { .. } | Error::NotRead { .. } | Error::SeqCstAccess { .. } => {
            ""
        }
        Error::OtherModel(_)
        | Error::TooMany(_)
        | Error::Execution(_)
        | Error::Search(_)
        | Error::Build(_) => " ",
    };
    format!("{}:{space}{error}", file.display())
}

fn run_all(tests: Vec<(PathBuf, Test)>, only: &[Model], complaints: &mut Vec<String>) -> Vec<Done> {
    let progress = ProgressBar::new(tests.len() as u64);
    let mut done = Vec::new();
    for (file, test) in tests {
        match models(&test, only) {
            Err(error) => complaints.push(complaint(&file, &error)),
            Ok(models) => {
                let by_model: Vec<_> = models.into_iter().map(|model| (model, test.run(model))).collect();
                complaints.extend(faults(&by_model).into_iter().map(|(error, under)| {
                    let under = match under.len() == by_model.len() {
                        true => String::new(),
                        false => format!(" (under {})", under.join(", ")),
                    };
                    format!("{}{under}", complaint(&file, error))
                }));
                if by_model.iter().any(|(_, found)| found.is_ok()) {
                    done.push(Done { test: test.name().to_owned(), by_model });
                }
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    done
}

/// The memory models to run a test under: those that are asked for, or those under which its operations have a meaning.
fn models(test: &Test, only: &[Model]) -> Result<Vec<Model>, Error> {
    let all = test.models()?;
    Ok(if only.is_empty() { all } else { only }.to_vec())
}

/// What is wrong with a test, and under which memory models. The same fault is told once, as the first of them has it.
fn faults(by_model: &[(Model, Result<Outcomes, Error>)]) -> Vec<(&Error, Vec<&'static str>)> {
    let mut faults: Vec<(&Error, Vec<&str>)> = Vec::new();
    for (model, found) in by_model {
        let Err(error) = found else { continue };
        match faults.iter_mut().find(|(known, _)| discriminant(*known) == discriminant(error)) {
            Some((_, models)) => models.push(model.name()),
            None => faults.push((error, vec![model.name()])),
        }
    }
    faults
}

fn rows(done: &[Done]) -> Vec<Row<'_>> {
    let row = |test, (model, outcomes): (Model, &Outcomes)| Row {
        test,
        memory: model.name(),
        observation: outcomes.observation.to_string(),
        executions: outcomes.executions,
        states: outcomes.states().collect(),
        race: outcomes.race.as_ref().map(ToString::to_string),
    };
    done.iter().flat_map(|done| done.outcomes().map(|found| row(&done.test, found))).collect()
}

/// For people: of each test the number of executions, its final states, and which model reaches which.
fn table(done: &[Done]) -> String {
    let is_column = |model: &Model| {
        matches!(model, Model::Memory(_))
            || done.iter().any(|done| done.outcomes().any(|(known, _)| known == *model))
    };
    let models: Vec<Model> = Model::ALL.into_iter().filter(is_column).collect();
    let mut table = report::plain_table();
    table.set_header(["test"].into_iter().chain(models.iter().map(|model| model.name())));
    table.column_iter_mut().for_each(flush_left);
    for Done { test, by_model } in done {
        let found = |model: &Model| by_model.iter().find(|(known, _)| known == model).map(|(_, found)| found);
        let summary = models.iter().map(|model| match found(model) {
            Some(Ok(found)) if found.observation == Observation::Undefined => found.observation.to_string(),
            Some(Ok(found)) => format!("{} {}/{}", found.observation, found.witnesses, found.states().len()),
            Some(Err(_)) => "no answer".into(),
            None => String::new(),
        });
        table.add_row([test.clone()].into_iter().chain(summary));
        let executions = models.iter().map(|model| match found(model) {
            Some(Ok(Outcomes { executions: Some(executions), .. })) => executions.to_string(),
            _ => String::new(),
        });
        table.add_row(["  executions".into()].into_iter().chain(executions));
        let states = |model: &Model| found(model).into_iter().flatten().flat_map(Outcomes::states).collect();
        let states: Vec<Vec<String>> = models.iter().map(states).collect();
        let mut all: Vec<&String> = states.iter().flatten().collect();
        all.sort_by_cached_key(|state| values(state));
        all.dedup();
        for state in all {
            let reached =
                states.iter().map(|states| if states.contains(state) { "yes".into() } else { String::new() });
            table.add_row([format!("  {state}")].into_iter().chain(reached));
        }
        let mut races: Vec<String> = by_model
            .iter()
            .filter_map(|(_, found)| Some(found.as_ref().ok()?.race.as_ref()?.to_string()))
            .collect();
        races.sort();
        races.dedup();
        races.into_iter().for_each(|race| {
            table.add_row([format!("  {race}")]);
        });
    }
    format!("{}\n\nn/m: the condition holds in n of the m final states", table.trim_fmt())
}

fn flush_left(column: &mut comfy_table::Column) {
    column.set_padding((0, 2));
}

/// The numbers of a state such as `0:r0=1,x=2`, by which states are sorted.
fn values(state: &str) -> Vec<i64> {
    state.split(',').filter_map(|pair| pair.split_once('=')?.1.parse().ok()).collect()
}

/// A line of the file that `--check` reads.
#[derive(Deserialize)]
struct Line {
    test: String,
    model: String,
    observation: String,
    states: String,
    executions: Option<u64>,
}

/// What is expected of a test under a model.
struct Expectation {
    observation: String,
    states: BTreeSet<String>,
    executions: Option<u64>,
}

/// What is expected, by test and model.
struct Expected {
    file: String,
    by_test: BTreeMap<String, BTreeMap<String, Expectation>>,
}

impl Expected {
    fn read(file: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let place = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{place}: {error}"))?;
        let lines = csv::ReaderBuilder::new().delimiter(b'\t').quoting(false).from_reader(text.as_bytes());
        let mut by_test: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for line in lines.into_deserialize() {
            let Line { test, model, observation, states, executions } =
                line.map_err(|error| format!("{place}: {error}"))?;
            let states = states.split(';').map(String::from).collect();
            let of_test = by_test.entry(test.clone()).or_default();
            if of_test.insert(model.clone(), Expectation { observation, states, executions }).is_some() {
                return Err(format!("{place}: two lines for {test} under {model}").into());
            }
        }
        Ok(Self { file: place, by_test })
    }

    /// Whether all is as expected, and the comparison for people.
    fn compare(&self, done: &[Done]) -> Result<(bool, String), String> {
        let mut table = report::plain_table();
        table.set_header(["test", "memory", "difference", ""]);
        table.column_iter_mut().for_each(flush_left);
        let mut unknown = BTreeSet::new();
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for done in done {
            for (memory, outcomes) in done.outcomes() {
                let test = done.test.as_str();
                let Some(expected) = self.by_test.get(test).and_then(|models| models.get(memory.name()))
                else {
                    unknown.insert(test);
                    continue;
                };
                let differences = table.row_count();
                let mut row = |what, value: &str| {
                    table.add_row([test, memory.name(), what, value]);
                };
                let observation = outcomes.observation.to_string();
                let states: BTreeSet<String> = outcomes.states().collect();
                expected.states.difference(&states).for_each(|state| row("lacks", state));
                states.difference(&expected.states).for_each(|state| row("has more", state));
                if observation != expected.observation {
                    row("is", &format!("{observation}, not {}", expected.observation));
                }
                if let (Some(executions), Some(wanted)) = (outcomes.executions, expected.executions)
                    && executions != wanted
                {
                    row("has", &format!("{executions} executions, not {wanted}"));
                }
                let (agreed, compared) = counts.entry(memory.name()).or_default();
                *agreed += usize::from(table.row_count() == differences);
                *compared += 1;
            }
        }
        if counts.is_empty() {
            return Err(format!("{}: nothing is expected of any of these tests", self.file));
        }
        let agrees = table.is_empty();
        let mut text = String::new();
        if !agrees {
            let _ = writeln!(text, "{}\n", table.trim_fmt());
        }
        for memory in Model::ALL.map(Model::name) {
            if let Some((agreed, compared)) = counts.get(memory) {
                let _ = writeln!(text, "{memory:<5}{agreed} of {compared} tests as expected");
            }
        }
        if !unknown.is_empty() {
            let _ = writeln!(text, "nothing is expected of {}", Vec::from_iter(unknown).join(", "));
        }
        text.truncate(text.trim_end().len());
        Ok((agrees, text))
    }
}
