//! For tests: what RC11 forgets is checked against RC11 that does not.

use super::{Footprint, Internal, Limit, Location, Machine, Operation, Outcome, Rc11, Value};

/// RC11 that forgets nothing on account of what the threads will not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unforgetting(Rc11);

impl Machine for Unforgetting {
    fn new(values: &[Value], threads: usize) -> Result<Self, Limit> {
        Rc11::new(values, threads).map(Unforgetting)
    }

    fn outcomes(
        &self,
        thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        let mut plain = Vec::new();
        self.0.outcomes(thread, operation, &mut plain)?;
        found.extend(plain.into_iter().map(|Outcome { read, written, stale, machine }| Outcome {
            read,
            written,
            stale,
            machine: Unforgetting(machine),
        }));
        Ok(())
    }

    fn internal(&self, _: &mut Vec<Internal<Self>>) {}

    fn pending(&self, thread: usize) -> Footprint {
        self.0.pending(thread)
    }

    fn newest(&self, location: Location) -> Value {
        self.0.newest(location)
    }

    fn narrow(&mut self, _: usize, _: Footprint) {}

    fn private(&self, thread: usize, operation: Operation) -> bool {
        self.0.private(thread, operation)
    }
}
