//! Sequential consistency: memory is one value a location, every operation happens at once, fences do nothing.

use super::{Effect, Footprint, LOCATIONS, Limit, Location, Machine, Operation, Outcome, Value};

/// Memory under sequential consistency.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sc {
    /// Locations that there are not hold 0
    values: [Value; LOCATIONS],
}

impl Sc {
    pub(super) fn with(mut self, location: Location, value: Value) -> Sc {
        self.values[location.0 as usize] = value;
        self
    }
}

impl Machine for Sc {
    fn new(values: &[Value], _threads: usize) -> Result<Self, Limit> {
        if values.len() > LOCATIONS {
            return Err(Limit::Locations(values.len()));
        }
        Ok(Sc { values: std::array::from_fn(|location| values.get(location).copied().unwrap_or(0)) })
    }

    fn outcomes(
        self,
        _thread: usize,
        operation: Operation,
        found: &mut Vec<Outcome<Self>>,
    ) -> Result<(), Limit> {
        let (read, written, machine) = match operation {
            Operation::Load { location, .. } => (Some(self.newest(location)), None, self),
            Operation::Store { location, value, .. } => (None, Some(value), self.with(location, value)),
            Operation::Modify { location, update, .. } => {
                let read = self.newest(location);
                match update.on(read) {
                    Effect::Write(value) => (Some(read), Some(value), self.with(location, value)),
                    Effect::FailingRead(_) => (Some(read), None, self),
                    Effect::Wait => return Ok(()),
                }
            }
            Operation::Fence(_) => (None, None, self),
        };
        found.push(Outcome { read, written, stale: false, machine });
        Ok(())
    }

    fn newest(&self, location: Location) -> Value {
        self.values[location.0 as usize]
    }

    fn lacks(&self, _thread: usize, location: Location, value: Value) -> bool {
        self.newest(location) != value
    }

    fn moves_left(step: Footprint, others: Footprint) -> bool {
        !step.conflicts(others)
    }

    fn moves_right(step: Footprint, others: Footprint) -> bool {
        !step.conflicts(others)
    }
}
