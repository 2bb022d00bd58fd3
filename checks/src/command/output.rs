//! What the commands print, and what became of it.
//!
//! A reader that has gone away, as `head` does, is no error. Every other output that is not written is one:
//! who redirects a verdict into a file on a full disk has no verdict.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use reveille_checks::engine;
use reveille_checks::page::{Page, wrap};
use serde::Serialize;

/// The first output that was not written.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// The page on standard output.
pub fn page() -> Page {
    Page::of(&io::stdout())
}

/// Prints lines, which only the edge of a terminal breaks.
pub fn say(text: impl Display) {
    verbatim(page().fit(&text.to_string()));
}

/// Prints prose, which is wrapped wherever it goes.
pub fn tell(text: impl Display) {
    verbatim(page().prose(&text.to_string()));
}

/// Prints a command that is to be typed. Where it is too long for the terminal it is broken as a shell
/// wants it, and a text in quotes anywhere: the commands that take one do not mind spaces in it.
pub fn say_command(label: &str, command: &str) {
    let line = format!("{label}{command}");
    match page().width {
        Some(width) if line.chars().count() > width => {
            verbatim(format_args!("{}\n{}", label.trim_end(), continued(command, width)));
        }
        _ => verbatim(line),
    }
}

/// A command in several lines that a shell takes for one.
fn continued(command: &str, width: usize) -> String {
    const CONTINUES: &str = " \\";
    let room = width - CONTINUES.len();
    let mut lines: Vec<String> = Vec::new();
    for word in command.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let lines: Vec<String> = lines.iter().map(|line| wrap(line, room)).collect();
    lines.join(&format!("{CONTINUES}\n"))
}

/// Prints what no terminal may break: JSON, say.
pub fn verbatim(text: impl Display) {
    let mut stdout = io::stdout().lock();
    note(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Prints lines to standard error.
pub fn complain(text: impl Display) {
    let text = Page::of(&io::stderr()).fit(&text.to_string());
    // Where it cannot be written there is no other place to say so.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Notes an error of writing.
fn note(result: io::Result<()>) {
    if let Err(error) = result {
        FAILED.lock().expect("no panic inside").get_or_insert(error);
    }
}

/// How the printing went.
///
/// # Errors
/// Why something that was to be read by somebody is not there.
pub fn written() -> io::Result<()> {
    match FAILED.lock().expect("no panic inside").take() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// What every command prints for machines.
#[derive(Serialize)]
struct Document<'a, R> {
    version: &'static str,
    engines: serde_json::Map<String, serde_json::Value>,
    /// Of everything random; null where nothing is.
    seed: Option<u64>,
    machine: Machine,
    rows: &'a [R],
}

/// Where it was run.
#[derive(Serialize)]
struct Machine {
    system: String,
    architecture: &'static str,
    cpu: Option<String>,
    cpus: usize,
}

impl Machine {
    fn this() -> Self {
        let of_kernel = |name: &str| {
            let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name));
            text.map_or_else(|_| "?".into(), |text| text.trim().to_owned())
        };
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            system: format!("{} {}", of_kernel("ostype"), of_kernel("osrelease")),
            architecture: env::consts::ARCH,
            cpu: model.map(|(_, name)| name.trim().to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Prints rows for machines.
///
/// # Errors
/// If a row cannot be written as JSON.
pub fn print_json<R: Serialize>(seed: Option<u64>, rows: &[R]) -> Result<(), serde_json::Error> {
    let engines = engine::VERSIONS.map(|(name, version)| (name.to_owned(), version.into()));
    let document = Document {
        version: env!("CARGO_PKG_VERSION"),
        engines: engines.into_iter().collect(),
        seed,
        machine: Machine::this(),
        rows,
    };
    verbatim(serde_json::to_string_pretty(&document)?);
    Ok(())
}

/// How this program was started, for a hint that can be typed.
pub fn program() -> String {
    // Cargo tells the programs that it runs.
    if env::var_os("CARGO_MANIFEST_DIR").is_some() {
        return "cargo run --release --".into();
    }
    let name = env::args_os().next().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "reveille".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_the_lines_of_a_broken_command_for_one() {
        let command = "reveille explain posted epoll-level --replay 'abcdefghijklmnopqrstuvwxyz0123456789'";
        let broken = continued(command, 30);
        assert!(broken.lines().all(|line| line.len() <= 30), "{broken}");
        let (before, quoted) = broken.split_once('\'').unwrap();
        assert_eq!(before.replace(" \\\n", " "), "reveille explain posted epoll-level --replay ");
        assert_eq!(quoted.replace('\n', ""), "abcdefghijklmnopqrstuvwxyz0123456789'");
    }
}
