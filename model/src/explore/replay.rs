//! One execution, made again from its [record](Record).

use std::fmt;
use std::sync::Arc;

use super::{Failed, Program, body};
use crate::code::{Execution, Failure, Limits, Performed, Recorded, RunEnd};
use crate::graphs::record::Malformed;
use crate::graphs::wait::Waits;
use crate::graphs::{Graph, Record};

/// Why an execution cannot be made again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The text is no record.
    #[error("`{0}` is no execution: {1}")]
    Malformed(String, Malformed),
    /// It is one of another program, or this program has been changed.
    #[error("this execution is none of this program: {0}")]
    Differs(Difference),
    /// It is one, and nothing goes wrong in it.
    #[error("nothing goes wrong in this execution")]
    Succeeds,
    /// The engine cannot run it.
    #[error("{0}")]
    Limit(Box<Failure>),
}

/// How an execution differs from its record.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// Here a thread does what the record has no choice for, or what the memory model forbids.
    At(Performed),
    /// The program has come to its end, or cannot move, after so many of the recorded operations.
    Ends(usize, usize),
    /// The program goes on where the record ends.
    GoesOn,
    /// Operations or values are not those that were recorded.
    Others,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::At(performed) => write!(f, "here it would come to {performed}, which it did not"),
            Difference::Ends(done, all) => write!(f, "it comes to an end after {done} operations of {all}"),
            Difference::GoesOn => f.write_str("it goes on where that ended"),
            Difference::Others => f.write_str("it does other operations, or reads and writes other values"),
        }
    }
}

/// A recorded execution that was made again, maybe with other code.
#[derive(Clone, Debug)]
pub struct Followed {
    /// What goes wrong in it. `None`: nothing does, or it could not be followed to its end
    pub failed: Option<Failed>,
    /// How it differs from what was recorded. With [`Difference::Others`] it was followed to its end all the
    /// same
    pub difference: Option<Difference>,
}

/// Makes a recorded execution again: the `record` of one that [went wrong](Failed::record).
///
/// # Errors
/// If the text is no record, if the program has no such execution, or if nothing goes wrong in it.
pub fn replay(
    limits: Limits,
    record: &str,
    program: impl Fn() + Send + Sync + 'static,
) -> Result<Failed, ReplayError> {
    match follow(limits, record, program)? {
        Followed { difference: Some(difference), .. } => Err(ReplayError::Differs(difference)),
        Followed { failed: Some(failed), .. } => Ok(failed),
        Followed { .. } => Err(ReplayError::Succeeds),
    }
}

/// Makes a recorded execution again with code that may have been changed since: the same turns of the threads
/// and the same choices, as far as there are such.
///
/// # Errors
/// If the text is no record, or if the engine cannot run the program.
pub fn follow(
    limits: Limits,
    record: &str,
    program: impl Fn() + Send + Sync + 'static,
) -> Result<Followed, ReplayError> {
    let record: Record = record.parse().map_err(|error| ReplayError::Malformed(record.to_owned(), error))?;
    let program: Program = Arc::new(program);
    // A record has a wait that does not end as the event that it is in the plain form.
    let mut execution = Execution::new(limits, Waits::Plain, Arc::default());
    let (end, difference) = again(&mut execution, record, &program);
    let failure = match end {
        RunEnd::Failed(failure) if matches!(*failure, Failure::Limit(_)) => {
            return Err(ReplayError::Limit(failure));
        }
        _ if difference.as_ref().is_some_and(|difference| *difference != Difference::Others) => None,
        RunEnd::Failed(failure) => Some(*failure),
        RunEnd::Stuck => Some(Failure::Stuck),
        // No execution: a thread waits for what is there.
        RunEnd::Stale => {
            let difference = Some(Difference::Ends(execution.graph.len, execution.graph.len));
            return Ok(Followed { failed: None, difference });
        }
        RunEnd::Complete => None,
    };
    let failed = failure.map(|failure| Failed::new(&mut execution, failure, &program));
    Ok(Followed { failed, difference })
}

/// Makes a recorded execution again, as far as it goes. Says how it ends, and how it differs from the record.
pub(crate) fn again(
    execution: &mut Execution,
    record: Record,
    program: &Program,
) -> (RunEnd, Option<Difference>) {
    let graph = Graph::new(record.memory);
    execution.recorded = Some(Recorded { record, differs: None, goes_on: false });
    let end = execution.run(graph, body(program));
    let Recorded { record, differs, goes_on } = execution.recorded.take().expect("it was given");
    let difference = match (differs, &end) {
        (Some(performed), _) => Some(Difference::At(performed)),
        _ if execution.graph.len < record.len() => Some(Difference::Ends(execution.graph.len, record.len())),
        // Where one thread has failed the others are stopped in the middle.
        (_, end) if goes_on && !matches!(end, RunEnd::Failed(_)) => Some(Difference::GoesOn),
        _ if !record.is_of(&execution.graph) => Some(Difference::Others),
        _ => None,
    };
    (end, difference)
}

impl Failed {
    /// The execution as a line of text, for [`replay`].
    pub fn record(&self) -> String {
        Record::of(&self.graph).to_string()
    }
}
