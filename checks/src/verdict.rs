//! What a checker says of a scenario.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::trace::Trace;

/// The outcome of one search. Nothing here is a pass without its bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// A wakeup is missed, or an assertion fails: here is the execution.
    Misses {
        /// The execution.
        counterexample: Counterexample,
        /// The executions looked at until then, this one included.
        explored: u64,
    },
    /// An engine reports a miss that a complete search under RC11 refutes: that of the exact engine, or the model's.
    Alarm {
        /// What the engine reports.
        counterexample: Counterexample,
        /// The executions looked at until then.
        explored: u64,
        /// Whose complete search refutes it, in words.
        refuted_by: String,
    },
    /// The search ended by itself and found nothing.
    Complete {
        /// The executions looked at.
        explored: u64,
    },
    /// Nothing was found within a bound.
    Bounded {
        /// The executions looked at.
        explored: u64,
        /// The bound, in words.
        by: String,
        /// The most preemptions that were searched to the end, if that is what bounds the search.
        preemptions: Option<usize>,
    },
    /// There was no search.
    Skipped {
        /// Why not.
        why: String,
    },
    /// There was one, and it says nothing.
    Inconclusive {
        /// Why it says nothing.
        why: String,
    },
}

/// How the bound of a search begins that came to the end in some sizes.
pub(crate) const ALL_STATES: &str = "all states with ";

/// An execution that loses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counterexample {
    /// The scenario's name.
    pub scenario: String,
    /// What the labels in it mean; may be empty.
    pub legend: String,
    /// The engine and its memory, and what it was doing when it found this: bound, script, seed.
    pub found_by: String,
    /// What is wrong at the end.
    pub end: End,
    /// The rows.
    pub trace: Trace,
    /// What made it possible.
    pub why: Why,
    /// The text from which it can be made again, if the engine has one. See
    /// [`replay`](crate::engine::replay).
    pub record: Option<String>,
}

/// What made a losing execution possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Why {
    /// The engine does not say.
    Unknown,
    /// It is an interleaving: sequential consistency allows it.
    Interleaving,
    /// These rows have no order: each comes before the next, and the last before the first.
    Cycle(Vec<Link>),
}

/// A row, and why it comes before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// An index into the [steps](Trace::steps) of the trace.
    pub row: usize,
    /// Why.
    pub then: Then,
}

/// Why a row comes before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// In its thread's program.
    ProgramOrder,
    /// By the start of a thread, or by waiting for the end of one.
    StartOrJoin,
    /// The other one reads its value.
    ReadsFrom,
    /// The other one overwrites its value.
    Coherence,
    /// It has not seen the other one's value.
    FromRead,
}

/// How a losing execution ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum End {
    /// No thread can move. What is owed, if the scenario knows.
    Stuck(Option<String>),
    /// A panic, with its message.
    Violation(String),
}

impl Verdict {
    /// Its name in JSON.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Misses { .. } => "misses",
            Self::Alarm { .. } => "alarm",
            Self::Complete { .. } => "complete",
            Self::Bounded { .. } => "bounded",
            Self::Skipped { .. } => "skipped",
            Self::Inconclusive { .. } => "inconclusive",
        }
    }

    /// This verdict of an engine that can be wrong, seen beside that of a [judge](Engine::JUDGES).
    pub fn adjudicated(self, judge: Engine, rc11: &Verdict) -> Self {
        match (self, rc11) {
            (Self::Misses { counterexample, explored }, Self::Complete { explored: refuting }) => {
                let refuted_by = match judge {
                    Engine::ExactRc11 => {
                        format!("the exact engine's complete search of the same code, {refuting} executions,")
                    }
                    _ => format!("the model's complete search under RC11, {refuting} states,"),
                };
                Self::Alarm { counterexample, explored, refuted_by }
            }
            (verdict, _) => verdict,
        }
    }

    /// Whether a miss was found; `None` where nothing was said.
    pub fn misses(&self) -> Option<bool> {
        match self {
            Self::Misses { .. } => Some(true),
            Self::Complete { .. } | Self::Bounded { .. } => Some(false),
            Self::Alarm { .. } | Self::Skipped { .. } | Self::Inconclusive { .. } => None,
        }
    }

    /// Whether a search says nothing.
    pub fn is_inconclusive(&self) -> bool {
        matches!(self, Self::Inconclusive { .. })
    }

    /// Whether the model came to the end of its states, or at least to that of some of the sizes that it searches.
    pub fn is_partly_complete(&self) -> bool {
        match self {
            Self::Complete { .. } => true,
            Self::Bounded { by, .. } => by.starts_with(ALL_STATES),
            _ => false,
        }
    }

    /// The executions looked at.
    pub fn explored(&self) -> u64 {
        match self {
            Self::Misses { explored, .. }
            | Self::Alarm { explored, .. }
            | Self::Complete { explored }
            | Self::Bounded { explored, .. } => *explored,
            Self::Skipped { .. } | Self::Inconclusive { .. } => 0,
        }
    }

    /// The bound of a pass, or why there is neither pass nor miss.
    pub fn bound(&self) -> Option<&str> {
        match self {
            Self::Bounded { by: text, .. }
            | Self::Skipped { why: text }
            | Self::Inconclusive { why: text } => Some(text),
            Self::Misses { .. } | Self::Alarm { .. } | Self::Complete { .. } => None,
        }
    }

    /// The counterexample of a miss.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        match self {
            Self::Misses { counterexample, .. } | Self::Alarm { counterexample, .. } => Some(counterexample),
            _ => None,
        }
    }
}
