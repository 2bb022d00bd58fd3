//! Memory while an execution is taken down.
//!
//! Destructors run then, and may look at what they have written: one that asserts something must not panic
//! for no reason, since a panic in a destructor of an unwinding stack ends the process. So their operations
//! find plain memory: it begins with the newest values of the execution, and nobody waits.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::graphs::{Graph, Op, Value};

/// What has been written since the execution ended.
#[derive(Default)]
pub(super) struct Aftermath {
    values: HashMap<u32, Value, FixedState>,
    /// How many objects have been made since
    objects: u32,
}

impl Aftermath {
    /// Another execution begins.
    pub fn clear(&mut self) {
        if self.objects > 0 || !self.values.is_empty() {
            self.values.clear();
            self.objects = 0;
        }
    }

    /// A new object. Its number is none of the execution's.
    pub fn object(&mut self, initial: Value) -> u32 {
        let number = u32::MAX - self.objects;
        self.objects += 1;
        self.values.insert(number, initial);
        number
    }

    /// What an operation returns. `None` for the start of a thread: none is started any more.
    pub fn perform(&mut self, graph: &Graph, op: Op) -> Option<Value> {
        let newest = |number: u32| match graph.locations.get(number as usize) {
            Some(_) => graph.value(number, graph.newest(number)),
            None => 0,
        };
        match op {
            Op::Spawn => None,
            Op::Load { location, .. } => {
                Some(*self.values.entry(location).or_insert_with(|| newest(location)))
            }
            Op::Store { location, value, .. } => {
                self.values.insert(location, value);
                Some(0)
            }
            Op::Rmw { location, modify, .. } => {
                let value = self.values.entry(location).or_insert_with(|| newest(location));
                let read = *value;
                *value = modify.apply(read).unwrap_or(read);
                Some(read)
            }
            Op::Fence { .. }
            | Op::Join { .. }
            | Op::Choose { .. }
            | Op::CellRead { .. }
            | Op::CellWrite { .. }
            | Op::End => Some(0),
        }
    }
}
