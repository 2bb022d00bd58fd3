//! Sequential consistency: memory is one value a location, every operation happens at once, fences do nothing.

use smallvec::SmallVec;

use super::{Done, Stir, Effect, Footprint, Future, Internal, LOCATIONS, Limit, Location, Machine, Operation, Outcome, Value};

/// Memory under sequential consistency.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sc {
    values: SmallVec<[Value; LOCATIONS]>,
}

impl Sc {
    pub(super) fn with(&self, location: Location, value: Value) -> Sc {
        let mut next = self.clone();
        next.values[location.0 as usize] = value;
        next
    }
}

impl Machine for Sc {
    fn new(values: &[Value], _threads: usize) -> Result<Self, Limit> {
        if values.len() > LOCATIONS {
            return Err(Limit::Locations(values.len()));
        }
        Ok(Sc { values: values.into() })
    }

    fn outcomes(
        &self,
        _thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        let (read, written, machine) = match operation {
            Operation::Load { location, .. } => (Some(self.newest(location)), None, self.clone()),
            Operation::Store { location, value, .. } => (None, Some(value), self.with(location, value)),
            Operation::Modify { location, update, .. } => {
                let read = self.newest(location);
                match update.on(read) {
                    Effect::Write(value) => (Some(read), Some(value), self.with(location, value)),
                    Effect::FailingRead(_) => (Some(read), None, self.clone()),
                    Effect::Wait => return Ok(()),
                }
            }
            Operation::Fence(_) => (None, None, self.clone()),
        };
        found.push(Outcome { read, written, stale: false, machine });
        Ok(())
    }

    fn internal(&self, _found: &mut Vec<Internal<Self>>) {}

    fn pending(&self, _thread: usize) -> Footprint {
        Footprint::default()
    }

    fn newest(&self, location: Location) -> Value {
        self.values[location.0 as usize]
    }

    fn narrow(&mut self, _thread: usize, _future: &Future, _: Option<Operation>) {}

    fn news(&self, _: usize, _: Operation, _: &mut Vec<Outcome<Self>>) -> Result<(), Limit> {
        Ok(())
    }

    fn forget_news(&mut self) {}

    fn stirred(&self, before: &Self, step: Done, _: usize, operation: Operation) -> Stir {
        let (location, writes) = match operation {
            Operation::Load { location, .. } => (location, false),
            Operation::Store { location, .. } => (location, true),
            Operation::Modify { location, update, .. } => {
                (location, update.written(before.newest(location)).is_some())
            }
            Operation::Fence(_) => return Stir::Nothing,
        };
        let same = step.location == Some(location);
        if same && (writes || step.writes) { Stir::Everything } else { Stir::Nothing }
    }

    fn buffer_stirred(&self, _: &Self, _: Done, _: usize) -> bool {
        false
    }

    fn may_stir(&self, next: Footprint, locks: u16, others: Footprint, _: Footprint) -> bool {
        let writes = next.writes & !(next.unlocks & locks);
        writes & (others.reads | others.writes) != 0 || next.reads & others.writes != 0
    }

    fn private(&self, _thread: usize, operation: Operation) -> bool {
        matches!(operation, Operation::Fence(_))
    }
}
