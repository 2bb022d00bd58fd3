//! What a search learns of its program from run to run, and what it gives to each.

use std::fmt;

use super::counts::Eventful;
use super::memory::Arenas;
use super::spin::Turns;

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub eventful: Eventful,
    pub turns: Turns,
    pub arenas: Arenas,
}

/// What stands before a record, by which an execution is made again: nothing, mostly.
impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.eventful.fmt(f)?;
        self.turns.fmt(f)
    }
}

impl Learned {
    /// From that text, with the record that comes after it.
    pub fn parse(text: &str) -> Option<(Learned, &str)> {
        let (eventful, text) = Eventful::parse(text)?;
        let (turns, text) = Turns::parse(text)?;
        Some((Learned { eventful, turns, ..Learned::default() }, text))
    }
}
