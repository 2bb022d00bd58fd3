//! Pointers as values of the graph.
//!
//! The engine runs the program again and again and compares what it does with what it did: the operations and
//! their values. Addresses are others each time. So the graph has *names* of pointers: small numbers, of
//! which only equality counts, as of pointers. A run knows which pointer has which name.
//!
//! Whether a pointer gets the same name in a repetition does not depend on who comes first: in the
//! repetition a thread that writes a pointer without a name does what stands in the graph, and the name stands there
//! too ([`code::expected`]). A pointer that is read has a name: its writer has come before. Only a pointer that
//! comes up after the repetition gets a new name, one that no pointer of this run has.
//!
//! That two pointers have one name if and only if they are equal counts on one thing: an address is not given to
//! another object in the same run. [`memory`](super::memory) sees to that.

use reveille_model::code;
use reveille_model::graphs::{Modify, Op, Value};

use super::{Map, with};

/// The pointers of this run.
#[derive(Default)]
pub(crate) struct Pointers {
    names: Map<usize, Value>,
    /// By name, from 1; 0 where a name is free. The null pointer is 0.
    addresses: Vec<usize>,
}

impl Pointers {
    fn name(&mut self, address: usize, expected: Option<Value>) -> Value {
        if address == 0 {
            return 0;
        }
        if let Some(&name) = self.names.get(&address) {
            return name;
        }
        let is_free =
            |name: &Value| *name > 0 && self.addresses.get(*name as usize - 1).is_none_or(|&at| at == 0);
        let name = expected.filter(is_free).unwrap_or_else(|| {
            let free = self.addresses.iter().position(|&address| address == 0);
            free.unwrap_or(self.addresses.len()) as Value + 1
        });
        if self.addresses.len() < name as usize {
            self.addresses.resize(name as usize, 0);
        }
        self.addresses[name as usize - 1] = address;
        self.names.insert(address, name);
        name
    }
}

/// The name of a pointer that an operation writes or compares with. `which` finds it in the operation of the
/// graph that this one repeats.
pub(crate) fn name(address: usize, which: impl FnOnce(Op) -> Option<Value>) -> Value {
    let expected = code::expected().and_then(which);
    with(|run| run.pointers.name(address, expected))
}

/// The name of a pointer that a location begins with, where it has this value in the graph.
pub(crate) fn initial(address: usize, recorded: Option<Value>) -> Value {
    with(|run| run.pointers.name(address, recorded))
}

/// The pointer with this name.
pub(crate) fn address(name: Value) -> usize {
    if name == 0 {
        return 0;
    }
    with(|run| run.pointers.addresses.get(name as usize - 1).copied().unwrap_or(0))
}

/// What an operation writes.
pub(crate) fn written(op: Op) -> Option<Value> {
    match op {
        Op::Store { value, .. } => Some(value),
        Op::Rmw { modify: Modify::Swap(new) | Modify::CompareExchange { new, .. }, .. } => Some(new),
        _ => None,
    }
}

/// What an exchange expects.
pub(crate) fn compared(op: Op) -> Option<Value> {
    match op {
        Op::Rmw { modify: Modify::CompareExchange { expected, .. }, .. } => Some(expected),
        _ => None,
    }
}
