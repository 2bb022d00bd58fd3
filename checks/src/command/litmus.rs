//! `reveille litmus PATH...`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use reveille_checks::report;
use reveille_model::litmus::{Error, Outcomes, Test};
use reveille_model::memory::Memory;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::{Format, Outcome, Unfinished, complain, say};

/// The final states of litmus tests under SC, x86-TSO and RC11.
///
/// A test is in herd's C syntax; a file holds one or more. What cannot be read, or has seq_cst or racing plain accesses, for
/// which there is no rc11 here, gets a line on standard error with its place, and the rest is still done.
/// Exit status: 1 if a test differs from --check, otherwise 2 if something could not be done, otherwise 0.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, and folders: of these every *.litmus in them and below
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Compare with what is expected: tab-separated, with the columns `test`, `model` (sc, tso, rc11-trace or else rc11), `observation`
    /// and `states` (as --format json has them, with `;` between)
    #[arg(long, value_name = "EXPECTED.tsv")]
    check: Option<PathBuf>,
    /// What to print: text or json (with --check, the comparison then goes to standard error)
    #[arg(long, default_value = "text")]
    format: Format,
}

/// A test and its final states, under those memory models that have an answer.
struct Done {
    test: String,
    by_memory: [Option<Outcomes>; Memory::ALL.len()],
}

impl Done {
    fn outcomes(&self) -> impl Iterator<Item = (Memory, &Outcomes)> {
        Memory::ALL
            .into_iter()
            .zip(&self.by_memory)
            .filter_map(|(memory, found)| Some((memory, found.as_ref()?)))
    }
}

/// A test under one memory model, in JSON.
#[derive(Serialize)]
struct Row<'a> {
    test: &'a str,
    memory: &'static str,
    observation: String,
    states: Vec<String>,
}

/// Runs `reveille litmus`.
pub fn run(args: &Args) -> Outcome {
    // First: who gives a wrong table learns it at once.
    let expected = args.check.as_deref().map(Expected::read).transpose()?;
    let mut complaints = Vec::new();
    let tests = read(&args.paths, &mut complaints);
    let done = run_all(tests, &mut complaints);
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
        Error::Syntax { .. } | Error::Meaning { .. } | Error::SeqCstAccess { .. } => "",
        Error::Search(_) | Error::Build(_) => " ",
    };
    format!("{}:{space}{error}", file.display())
}

fn run_all(tests: Vec<(PathBuf, Test)>, complaints: &mut Vec<String>) -> Vec<Done> {
    let progress = ProgressBar::new(tests.len() as u64);
    let mut done = Vec::new();
    for (file, test) in tests {
        let by_memory = Memory::ALL.map(|memory| match test.run(memory) {
            Ok(found) => Some(found),
            Err(error) => {
                let complaint = complaint(&file, &error);
                // What is wrong under all three is said once.
                if complaints.last() != Some(&complaint) {
                    complaints.push(complaint);
                }
                None
            }
        });
        if by_memory.iter().any(Option::is_some) {
            done.push(Done { test: test.name().to_owned(), by_memory });
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    done
}

fn rows(done: &[Done]) -> Vec<Row<'_>> {
    let row = |test, (memory, outcomes): (Memory, &Outcomes)| Row {
        test,
        memory: memory.name(),
        observation: outcomes.observation.to_string(),
        states: outcomes.states().collect(),
    };
    done.iter().flat_map(|done| done.outcomes().map(|found| row(&done.test, found))).collect()
}

/// For people: of each test its final states, and which model reaches which.
fn table(done: &[Done]) -> String {
    let mut table = report::plain_table();
    table.set_header(["test", "sc", "tso", "rc11"]);
    table.column_iter_mut().for_each(flush_left);
    for Done { test, by_memory } in done {
        let summary = by_memory.each_ref().map(|found| match found {
            Some(found) => format!("{} {}/{}", found.observation, found.witnesses, found.states().len()),
            None => "refused".into(),
        });
        table.add_row([test.clone()].into_iter().chain(summary));
        let states = by_memory.each_ref().map(|found| found.iter().flat_map(Outcomes::states).collect());
        let states: [Vec<String>; Memory::ALL.len()] = states;
        let mut all: Vec<&String> = states.iter().flatten().collect();
        all.sort_by_cached_key(|state| values(state));
        all.dedup();
        for state in all {
            let reached = states.each_ref().map(|states| if states.contains(state) { "yes" } else { "" });
            table.add_row([format!("  {state}")].into_iter().chain(reached.map(String::from)));
        }
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
}

/// What is expected of a test under a model.
struct Expectation {
    observation: String,
    states: BTreeSet<String>,
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
            let Line { test, model, observation, states } =
                line.map_err(|error| format!("{place}: {error}"))?;
            let states = states.split(';').map(String::from).collect();
            let of_test = by_test.entry(test.clone()).or_default();
            if of_test.insert(model.clone(), Expectation { observation, states }).is_some() {
                return Err(format!("{place}: two lines for {test} under {model}").into());
            }
        }
        Ok(Self { file: place, by_test })
    }

    /// What herd7 calls `rc11` does not order two fences that only a third thread connects; the machine here does, as `rc11-trace`.
    fn get(&self, test: &str, memory: Memory) -> Option<&Expectation> {
        let models = self.by_test.get(test)?;
        let exact = (memory == Memory::Rc11).then(|| models.get("rc11-trace")).flatten();
        exact.or_else(|| models.get(memory.name()))
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
                let Some(expected) = self.get(test, memory) else {
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
        for memory in Memory::ALL.map(Memory::name) {
            if let Some((agreed, compared)) = counts.get(memory) {
                let _ = writeln!(text, "{memory:<5}{agreed} of {compared} tests as expected");
            }
        }
        if !unknown.is_empty() {
            let _ = writeln!(text, "nothing is expected of {}", Vec::from_iter(unknown).join(", "));
        }
        let more = self.more_under_rc11(done);
        if !more.is_empty() {
            let _ = writeln!(
                text,
                "rc11 has a state more than rc11-trace, with which rc11 was compared: {}",
                more.join(", ")
            );
        }
        text.truncate(text.trim_end().len());
        Ok((agrees, text))
    }

    /// The tests that have a state in the column `rc11` that is not in `rc11-trace`.
    fn more_under_rc11<'a>(&self, done: &'a [Done]) -> Vec<&'a str> {
        let more = |test: &&str| {
            let states = |model| Some(&self.by_test.get(*test)?.get(model)?.states);
            states("rc11").zip(states("rc11-trace")).is_some_and(|(rc11, trace)| !rc11.is_subset(trace))
        };
        done.iter().map(|done| done.test.as_str()).filter(more).collect()
    }
}
