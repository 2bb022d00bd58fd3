//! For tests: what RC11 forgets is checked against RC11 that does not.

use super::{Footprint, Foreseen, Future, Limit, Location, Machine, Operation, Outcome, Rc11, Value};

/// RC11 that forgets nothing on account of what the threads will not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unforgetting(Rc11);

impl Machine for Unforgetting {
    const FORGETS: bool = true;

    fn new(values: &[Value], threads: usize) -> Result<Self, Limit> {
        Rc11::new(values, threads).map(Unforgetting)
    }

    fn outcomes(
        self,
        thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        let mut plain = Vec::new();
        self.0.outcomes(thread, operation, &mut plain)?;
        found.extend(plain.into_iter().map(unforgetting));
        Ok(())
    }

    fn newest(&self, location: Location) -> Value {
        self.0.newest(location)
    }

    fn forget(&mut self, futures: &[Foreseen<'_>]) {
        self.0.forget(&vec![(&Future::ANYTHING, None); futures.len()]);
    }

    fn lacks(&self, thread: usize, location: Location, value: Value) -> bool {
        self.0.lacks(thread, location, value)
    }

    fn moves_left(step: Footprint, others: Footprint) -> bool {
        Rc11::moves_left(step, others)
    }

    fn moves_right(step: Footprint, others: Footprint) -> bool {
        Rc11::moves_right(step, others)
    }
}

fn unforgetting(outcome: Outcome<Rc11>) -> Outcome<Unforgetting> {
    let Outcome { read, written, stale, machine } = outcome;
    Outcome { read, written, stale, machine: Unforgetting(machine) }
}
