//! For tests: what RC11 forgets is checked against RC11 that does not.

use super::{Done, Stir, Footprint, Future, Internal, Limit, Location, Machine, Operation, Outcome, Rc11, Value};

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

    fn narrow(&mut self, thread: usize, _: &Future, _: Option<Operation>) {
        self.0.narrow(thread, &Future::ANYTHING, None);
    }

    fn news(&self, thread: usize, operation: Operation, found: &mut Vec<Outcome<Self>>) -> Result<(), Limit> {
        let mut plain = Vec::new();
        self.0.news(thread, operation, &mut plain)?;
        found.extend(plain.into_iter().map(|Outcome { read, written, stale, machine }| Outcome {
            read,
            written,
            stale,
            machine: Unforgetting(machine),
        }));
        Ok(())
    }

    fn forget_news(&mut self) {
        self.0.forget_news();
    }

    fn stirred(&self, before: &Self, step: Done, thread: usize, operation: Operation) -> Stir {
        self.0.stirred(&before.0, step, thread, operation)
    }

    fn buffer_stirred(&self, _: &Self, _: Done, _: usize) -> bool {
        false
    }

    fn may_stir(&self, next: Footprint, locks: u16, others: Footprint, pending: Footprint) -> bool {
        self.0.may_stir(next, locks, others, pending)
    }

    fn private(&self, thread: usize, operation: Operation) -> bool {
        self.0.private(thread, operation)
    }
}
