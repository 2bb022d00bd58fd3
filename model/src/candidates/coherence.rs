//! One location by itself: what its reads may read from, and the orders its writes may have.
//!
//! Coherence says that program order of a location, reads-from, coherence order and from-reads have
//! no cycle. Let the place of a write be its number in coherence order, and that of a read the
//! place of the write it reads from. There is no cycle if and only if no thread goes back: from
//! each access of a thread to its next one the place stays or grows, and before a write it grows.
//! For each relation leads to the same place or a later one, and a cycle would have to stay at one
//! place, where a write comes before its reads and reads come in program order. So it is enough to
//! look at neighbours, while the orders are built.

use smallvec::SmallVec;

use super::lkmm::Axiom;

/// An access of the location.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Its number among all events
    pub event: usize,
    pub thread: usize,
    pub value: i32,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Read,
    /// The write of a read-modify-write comes right after its read
    Write {
        is_rmw: bool,
    },
}

/// A choice for one location: its writes in coherence order, the initial one first, and of each
/// read the write it reads from.
#[derive(Clone, Debug, Default)]
pub struct Order {
    pub writes: SmallVec<[usize; 6]>,
    /// The read and the write, which is a place in `writes`
    pub reads: SmallVec<[(usize, usize); 6]>,
}

/// All orders that are coherent and in which read-modify-writes are atomic. The accesses come
/// thread by thread, in program order; each reads or writes the value that it has here. The initial
/// write is the event `initial`, of the value `value`.
pub fn orders(initial: usize, value: i32, accesses: &[Access], left_out: Option<Axiom>) -> Vec<Order> {
    let writes = accesses.iter().enumerate().filter(|(_, access)| access.role != Role::Read);
    let mut search = Search {
        accesses,
        initial_value: value,
        writes: writes.map(|(index, _)| index).collect(),
        is_coherent: left_out != Some(Axiom::Coherence),
        is_atomic: left_out != Some(Axiom::Atomicity),
        places: vec![0; accesses.len()],
        order: vec![],
        found: vec![],
        initial,
    };
    search.place_writes(0);
    search.found
}

struct Search<'a> {
    accesses: &'a [Access],
    initial: usize,
    initial_value: i32,
    /// The accesses that write
    writes: Vec<usize>,
    is_coherent: bool,
    is_atomic: bool,
    /// Of each access its place, from 1; 0 is the initial write's
    places: Vec<usize>,
    /// The accesses that have a place in coherence order already
    order: Vec<usize>,
    found: Vec<Order>,
}

impl Search<'_> {
    /// Gives the next place in coherence order to each write in turn.
    fn place_writes(&mut self, placed: Set) {
        if self.order.len() == self.writes.len() {
            return self.place_reads(0, &mut Order::default());
        }
        for (number, &write) in self.writes.clone().iter().enumerate() {
            let is_next = placed >> number & 1 == 0
                // Writes of a thread are in program order.
                && (!self.is_coherent || self.writes[..number].iter().enumerate().all(|(other, &earlier)| {
                    self.accesses[earlier].thread != self.accesses[write].thread || placed >> other & 1 == 1
                }));
            if is_next {
                self.order.push(write);
                self.places[write] = self.order.len();
                self.place_writes(placed | 1 << number);
                self.order.pop();
            }
        }
    }

    /// Gives each read, from this access on, each write of its value that it may read from.
    fn place_reads(&mut self, from: usize, order: &mut Order) {
        let next = (from..self.accesses.len()).find(|&index| self.accesses[index].role == Role::Read);
        let checked = next.unwrap_or(self.accesses.len());
        // The writes on the way have their places: none may be behind the access before it.
        if self.is_coherent && !(from.max(1)..checked).all(|index| self.goes_on(index)) {
            return;
        }
        let Some(read) = next else {
            let events = self.order.iter().map(|&write| self.accesses[write].event);
            let writes = std::iter::once(self.initial).chain(events).collect();
            return self.found.push(Order { writes, reads: order.reads.clone() });
        };
        for place in 0..=self.order.len() {
            let value = match place {
                0 => self.initial_value,
                place => self.accesses[self.order[place - 1]].value,
            };
            if value != self.accesses[read].value {
                continue;
            }
            self.places[read] = place;
            if self.is_coherent && read > 0 && !self.goes_on(read)
                || self.is_atomic && !self.is_one_step(read)
            {
                continue;
            }
            order.reads.push((self.accesses[read].event, place));
            self.place_reads(read + 1, order);
            order.reads.pop();
        }
    }

    /// Whether the thread does not go back with this access.
    fn goes_on(&self, index: usize) -> bool {
        let (before, access) = (&self.accesses[index - 1], &self.accesses[index]);
        before.thread != access.thread
            || match access.role {
                Role::Read => self.places[index - 1] <= self.places[index],
                Role::Write { .. } => self.places[index - 1] < self.places[index],
            }
    }

    /// Whether no other thread writes between the read and the write, if it is a read-modify-write's.
    fn is_one_step(&self, read: usize) -> bool {
        let Some(write) = self.accesses.get(read + 1) else { return true };
        if write.role != (Role::Write { is_rmw: true }) || write.thread != self.accesses[read].thread {
            return true;
        }
        let (from, to) = (self.places[read], self.places[read + 1]);
        from >= to
            || self.order[from..to - 1].iter().all(|&between| self.accesses[between].thread == write.thread)
    }
}

type Set = u64;
