//! `reveille litmus PATH...`.

mod expected;

use std::collections::HashSet;
use std::mem::discriminant;
use std::path::{Path, PathBuf};

use reveille_checks::names::not_among;
use reveille_checks::sheet::{Column, Sheet};
use reveille_model::litmus::{Error, Model, Observation, Outcomes, Test};
use serde::Serialize;
use walkdir::WalkDir;

use self::expected::Expected;
use super::output::page;
use super::{Ending, Format, Outcome, Unfinished, complain, names, print_json, progress, say};

/// The executions and final states of litmus tests under SC, x86-TSO, RC11 and the Linux kernel memory model.
///
/// A test is in herd's C syntax, with C11's operations or the kernel's; a file holds one or more. Every
/// execution is visited once; rc11 is herd's rc11.cat, lkmm the kernel's linux-kernel.cat without RCU,
/// for tests in kernel C. A test with a data race is undefined. What cannot be read gets a line on
/// standard error with its place, and the rest is still done. Exit status: 1 if a test differs from
/// --check, otherwise 2 if something could not be done, otherwise 0.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, and folders: of these every *.litmus in them and below
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only under these memory models [default: all that have a meaning for the test]
    #[arg(long, value_name = "MODEL", value_delimiter = ',', value_parser = names::<Asked>(Model::ALL.map(Model::name)))]
    memory: Vec<Asked>,
    /// Compare with what is expected: a tab-separated table with the column `test`, and one of these
    /// forms: a line for each memory model, with `model` (others than sc, tso, rc11 and lkmm are left
    /// out), `observation`, `states` (as --format json has them, with
    /// `;` between) and perhaps `executions`; or a line for each test, with the observations in a column
    /// named like the memory model and perhaps `executions`, `variables` and `states` of the first of
    /// them; or as the tables that come with this program
    #[arg(long, value_name = "EXPECTED.tsv")]
    check: Option<PathBuf>,
    /// What to print; with --check and json, the comparison goes to standard error
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A memory model by its name.
#[derive(Debug, Clone, Copy)]
struct Asked(Model);

impl std::str::FromStr for Asked {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Model::ALL.into_iter().find(|model| model.name() == name);
        known.map(Self).ok_or_else(|| not_among("memory model", name, Model::ALL.map(Model::name)))
    }
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
    // First: a table that is none is complained about at once.
    let expected = args.check.as_deref().map(Expected::read).transpose()?;
    let mut complaints = Vec::new();
    let tests = read(&args.paths, &mut complaints);
    let only: Vec<Model> = args.memory.iter().map(|&Asked(model)| model).collect();
    let done = run_all(tests, &only, &mut complaints);
    complaints.iter().for_each(complain);
    if args.format == Format::Json {
        print_json(None, &rows(&done))?;
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
    Ok(Ending::of(!agrees, false))
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
    let progress = progress::bar(tests.len());
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

/// The memory models to run a test under: those that are asked for, or those under which its operations
/// have a meaning.
fn models(test: &Test, only: &[Model]) -> Result<Vec<Model>, Error> {
    let all = test.models()?;
    Ok(if only.is_empty() { all } else { only }.to_vec())
}

/// What is wrong with a test, and under which memory models. The same fault is told once, as the first of
/// them has it.
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
    let columns = models.iter().map(|model| (model.name(), Column::Left));
    let mut sheet = Sheet::new([("test", Column::Name)].into_iter().chain(columns));
    for Done { test, by_model } in done {
        let found = |model: &Model| by_model.iter().find(|(known, _)| known == model).map(|(_, found)| found);
        let summary = models.iter().map(|model| match found(model) {
            Some(Ok(found)) if found.observation == Observation::Undefined => found.observation.to_string(),
            Some(Ok(found)) => format!("{} {}/{}", found.observation, found.witnesses, found.states().len()),
            Some(Err(_)) => "no answer".into(),
            None => String::new(),
        });
        sheet.row([test.clone()].into_iter().chain(summary));
        let executions = models.iter().map(|model| match found(model) {
            Some(Ok(Outcomes { executions: Some(executions), .. })) => executions.to_string(),
            _ => String::new(),
        });
        sheet.row(["  executions".into()].into_iter().chain(executions));
        let states = |model: &Model| found(model).into_iter().flatten().flat_map(Outcomes::states).collect();
        let states: Vec<Vec<String>> = models.iter().map(states).collect();
        let mut all: Vec<&String> = states.iter().flatten().collect();
        all.sort_by_cached_key(|state| values(state));
        all.dedup();
        for state in all {
            let reached =
                states.iter().map(|states| if states.contains(state) { "yes".into() } else { String::new() });
            sheet.row([format!("  {state}")].into_iter().chain(reached));
        }
        let mut races: Vec<String> = by_model
            .iter()
            .filter_map(|(_, found)| Some(found.as_ref().ok()?.race.as_ref()?.to_string()))
            .collect();
        races.sort();
        races.dedup();
        races.into_iter().for_each(|race| {
            sheet.row([format!("  {race}")]);
        });
    }
    format!("{}\n\nn/m: the condition holds in n of the m final states", sheet.on(page()))
}

/// The numbers of a state such as `0:r0=1,x=2`, by which states are sorted.
fn values(state: &str) -> Vec<i64> {
    state.split(',').filter_map(|pair| pair.split_once('=')?.1.parse().ok()).collect()
}
