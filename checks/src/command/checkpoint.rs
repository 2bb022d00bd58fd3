//! The file with which a long search goes on where it was: a line for each thing that is finished.
//!
//! The first line says what the file belongs to. What another program, another seed or another command
//! has found is not taken for this one's. A line that was being written when the machine went down is
//! left out.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refused;

/// What is finished, and the file in which it is written down.
pub struct Checkpoint {
    path: PathBuf,
    known: HashMap<String, Value>,
    file: Mutex<File>,
}

/// The first line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    reveille: String,
    /// Another build may find something else.
    program: String,
    command: String,
    seed: u64,
}

impl Header {
    fn of(command: &str, seed: u64) -> Self {
        let program = std::env::current_exe().and_then(|program| program.metadata());
        let built = program.as_ref().ok().and_then(|program| program.modified().ok());
        let built = built.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            reveille: env!("CARGO_PKG_VERSION").into(),
            program: format!(
                "{} bytes of {}",
                program.map_or(0, |program| program.len()),
                built.map_or(0, |time| time.as_secs())
            ),
            command: command.into(),
            seed,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line<K, V> {
    key: K,
    value: V,
}

impl Checkpoint {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// If that fails, or if the file belongs to something else.
    pub fn open(path: &Path, command: &str, seed: u64) -> Result<Self, String> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(path).map_err(|error| named(&error))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| named(&error))?;
        let ours = Header::of(command, seed);
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        let mut lines = text[..complete].lines();
        match lines.next() {
            None if text.is_empty() => {
                let line = serde_json::to_string(&ours).map_err(|error| named(&error))?;
                writeln!(file, "{line}").map_err(|error| named(&error))?;
            }
            first => match first.and_then(|line| serde_json::from_str::<Header>(line).ok()) {
                None => return Err(named(&"no file of --resume")),
                Some(theirs) if theirs != ours => {
                    return Err(named(&format!(
                        "it belongs to another run: `{} --seed {}`, version {}, a program of {}",
                        theirs.command, theirs.seed, theirs.reveille, theirs.program
                    )));
                }
                Some(_) => {}
            },
        }
        let known = lines.filter_map(|line| {
            let Line { key, value } = serde_json::from_str(line).ok()?;
            Some((key, value))
        });
        let known = known.collect();
        if complete < text.len() {
            // What comes next is to begin on a line of its own.
            file.set_len(complete as u64).and_then(|()| file.rewind()).map_err(|error| named(&error))?;
        }
        Ok(Self { path: path.to_owned(), known, file: Mutex::new(file) })
    }

    /// What was found before.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_value(self.known.get(key)?.clone()).ok()
    }

    /// Writes down what was found.
    ///
    /// # Errors
    /// If that fails.
    pub fn put<T: Serialize>(&self, key: &str, value: &T) -> Result<(), Refused> {
        let refused = |error: &dyn std::fmt::Display| Refused(format!("{}: {error}", self.path.display()));
        let line = serde_json::to_string(&Line { key, value }).map_err(|error| refused(&error))? + "\n";
        let mut file = self.file.lock().expect("no panic inside");
        file.write_all(line.as_bytes()).map_err(|error| refused(&error))
    }
}
