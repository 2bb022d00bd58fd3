//! For tests: what RC11 forgets is checked against RC11 that does not.

use super::{Done, Footprint, Future, Limit, Location, Machine, Operation, Outcome, Rc11, Stir, Value};

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
        found.extend(plain.into_iter().map(unforgetting));
        Ok(())
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
        found.extend(plain.into_iter().map(unforgetting));
        Ok(())
    }

    fn forget_news(&mut self) {
        self.0.forget_news();
    }

    fn stirred(&self, before: &Self, step: Done, thread: usize, operation: Option<Operation>) -> Stir {
        self.0.stirred(&before.0, step, thread, operation)
    }

    fn may_stir(next: Footprint, others: Footprint) -> bool {
        Rc11::may_stir(next, others)
    }
}

fn unforgetting(outcome: Outcome<Rc11>) -> Outcome<Unforgetting> {
    let Outcome { read, written, stale, machine } = outcome;
    Outcome { read, written, stale, machine: Unforgetting(machine) }
}
