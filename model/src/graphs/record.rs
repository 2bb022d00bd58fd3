//! An execution as a line of text, from which it can be made again.
//!
//! The text is a schedule: whose turn it is, one event after the other, in the order of [`linearize`]. An
//! event that has a choice mostly makes the plain one: a read reads the newest write that is there, a write
//! becomes the newest, a choice has its first outcome, a thread gets the first number that is free. Where it
//! does not, the text has the choice: how far back the write is, or the place; which outcome; how many
//! numbers further.
//!
//! ```text
//! rc11.0f3a9b21.a12b5b1~1a7
//! ```
//!
//! This is an execution under RC11: 12 events of thread `a`, 6 of `b`, of which the last makes the choice 1
//! (it reads the write before the newest), 7 of `a`. The number in the middle is a sum over the operations
//! and the values, so that a text is not taken for an execution of another program.
//!
//! Whether the execution is consistent is judged anew with each event, so a text that somebody made up
//! invents nothing.

use std::fmt;
use std::panic::Location as Source;
use std::str::FromStr;

use super::consistency::floor;
use super::revisit::Added;
use super::{EventId, Graph, Op, Value, linearize};
use crate::memory::Memory;

/// A recorded execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The memory model under which it is one
    pub memory: Memory,
    sum: u32,
    turns: Vec<Turn>,
}

/// An event: of which thread, and which choice it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    thread: u8,
    choice: u32,
}

/// Why a text is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not one: that has a memory (sc, tso, rc11), a sum of eight digits and turns, as in `rc11.0f3a9b21.a12b5~1a7`"
)]
pub struct Malformed;

/// The most events of a text. Far more than an execution has; it keeps a typing error from filling the
/// memory.
const MOST: usize = u16::MAX as usize;

impl Record {
    /// The record of an execution.
    pub fn of(graph: &Graph) -> Self {
        let order = linearize(graph);
        let mut copy = Graph::new(graph.memory);
        for (number, location) in graph.locations.iter().enumerate() {
            copy.declare(number as u32, location.initial, location.ordered);
        }
        let mut turns = Vec::with_capacity(order.len());
        for id in order {
            let choice = choice(graph, &copy, id);
            copy_event(graph, &mut copy, id);
            turns.push(Turn { thread: id.thread() as u8, choice });
        }
        Record { memory: graph.memory, sum: sum(graph), turns }
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whose turn it is when so many events have taken place.
    pub fn thread(&self, done: usize) -> Option<usize> {
        self.turns.get(done).map(|turn| turn.thread as usize)
    }

    /// Adds the event that is next, an operation of the thread whose turn it is, to a graph that has those
    /// before it.
    ///
    /// `None` if it has not the choice that is recorded, or if the memory model forbids that.
    pub fn extend(&self, graph: &mut Graph, op: Op, source: &'static Source<'static>) -> Option<Added> {
        let Turn { thread, choice } = self.turns[graph.len];
        let (thread, choice) = (thread as usize, choice as usize);
        let id = EventId::new(thread, graph.threads[thread].events.len());
        match op {
            Op::Load { location, .. } | Op::Rmw { location, .. } => {
                let newest = graph.location(location).writes.len() - 1;
                let position = newest.checked_sub(choice)?;
                let write = graph.location(location).writes[position];
                let value = graph.value(location, write);
                let judged = if op.writes_after(value) { op } else { op.failed().unwrap_or(op) };
                if position < floor(graph, id, &judged) {
                    return None;
                }
                graph.push(thread, op, source, write, value, None);
                if graph.event(id).blocked {
                    return Some(Added::Blocked);
                }
                if graph.event(id).will_write().is_some() {
                    let next = graph.location(location).writes.get(position + 1);
                    if next.is_some_and(|&next| graph.is_rmw(next)) {
                        return None;
                    }
                    graph.place(id, position + 1, graph.event(id).stamp);
                }
                Some(Added::Value(value))
            }
            Op::Store { location, .. } => {
                graph.push(thread, op, source, EventId::INITIAL, 0, None);
                let place = graph.location(location).writes.len().checked_sub(choice)?;
                let next = graph.location(location).writes.get(place);
                if place <= floor(graph, id, &op) || next.is_some_and(|&next| graph.is_rmw(next)) {
                    return None;
                }
                graph.place(id, place, graph.event(id).stamp);
                Some(Added::Value(0))
            }
            Op::Spawn => {
                let number = graph.first_free() + choice;
                if graph.is_alive(number) || number > MOST_THREADS {
                    return None;
                }
                graph.start_as(thread, source, number);
                Some(Added::Value(number as Value))
            }
            Op::Choose { outcomes } => {
                if choice >= outcomes as usize {
                    return None;
                }
                graph.push(thread, op, source, EventId::INITIAL, choice as Value, None);
                Some(Added::Value(choice as Value))
            }
            Op::Fence { .. } | Op::Join { .. } | Op::CellRead { .. } | Op::CellWrite { .. } | Op::End => {
                if choice != 0 {
                    return None;
                }
                graph.push(thread, op, source, EventId::INITIAL, 0, None);
                Some(Added::Value(0))
            }
        }
    }

    /// Whether this is the graph that was recorded.
    pub fn is_of(&self, graph: &Graph) -> bool {
        self.len() == graph.len && self.sum == sum(graph)
    }
}

/// Numbers of threads are bytes; the last one stands for no thread.
const MOST_THREADS: usize = u8::MAX as usize - 1;

/// The choice that an event made, in the graph as far as it had come then.
fn choice(graph: &Graph, before: &Graph, id: EventId) -> u32 {
    let event = graph.event(id);
    let choice = match event.op {
        Op::Load { location, .. } | Op::Rmw { location, .. } => {
            before.location(location).writes.len() - 1 - before.position(event.reads_from)
        }
        Op::Store { location, .. } => {
            let is_later = |write: &&EventId| graph.position(**write) > event.position as usize;
            before.location(location).writes.iter().filter(is_later).count()
        }
        Op::Spawn => event.read as usize - before.first_free(),
        Op::Choose { .. } => event.read as usize,
        _ => 0,
    };
    choice as u32
}

/// Repeats an event in a graph that has those before it.
fn copy_event(graph: &Graph, copy: &mut Graph, id: EventId) {
    let event = graph.event(id);
    if event.op == Op::Spawn {
        copy.start_as(id.thread(), event.source, event.read as usize);
        return;
    }
    copy.push(id.thread(), event.op, event.source, event.reads_from, event.read, None);
    if event.writes {
        let location = event.op.location().expect("a write has a location");
        let is_earlier = |write: &&EventId| graph.position(**write) < event.position as usize;
        let place = copy.location(location).writes.iter().filter(is_earlier).count();
        copy.place(id, place, event.stamp);
    }
}

/// A sum over what the threads did, in program order. Numbers of locations are left out: they depend on what
/// was searched before.
fn sum(graph: &Graph) -> u32 {
    // FNV-1a: its values are the same on every machine and in every version.
    let mut sum = 0x811c_9dc5_u32;
    let mut add = |text: &str| {
        for byte in text.bytes() {
            sum = (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    };
    for (number, thread) in graph.threads.iter().enumerate() {
        for event in &thread.events {
            let mut op = event.op;
            if let Op::Load { location, .. }
            | Op::Store { location, .. }
            | Op::Rmw { location, .. }
            | Op::CellRead { location }
            | Op::CellWrite { location } = &mut op
            {
                let is_named = graph.location(*location).named;
                *location = 0;
                if is_named {
                    // Its values may be others in another run.
                    add(&format!("{number} {op} {};", event.writes));
                    continue;
                }
            }
            add(&format!("{number} {op:?} {} {};", event.read, event.wrote));
        }
    }
    sum
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}.", self.memory.name(), self.sum)?;
        let mut rest = &self.turns[..];
        while let Some(&Turn { thread, .. }) = rest.first() {
            // As far as it is the same thread's turn, and to the first choice that is not plain.
            let same = rest.iter().take_while(|turn| turn.thread == thread).count();
            let plain = rest[..same].iter().position(|turn| turn.choice != 0);
            let run = plain.map_or(same, |choice| choice + 1);
            f.write_str(&letters(thread))?;
            if run > 1 {
                write!(f, "{run}")?;
            }
            if plain.is_some() {
                write!(f, "~{}", rest[run - 1].choice)?;
            }
            rest = &rest[run..];
        }
        Ok(())
    }
}

const LETTERS: u8 = 26;

/// `a` to `z`, and further ones from `Aa`.
fn letters(thread: u8) -> String {
    let small = char::from(b'a' + thread % LETTERS);
    match thread / LETTERS {
        0 => small.into(),
        large => [char::from(b'A' + large - 1), small].iter().collect(),
    }
}

impl FromStr for Record {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.trim().split('.');
        let (memory, sum, mut rest) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(memory), Some(sum), Some(turns), None) => (memory, sum, turns),
            _ => return Err(Malformed),
        };
        let memory = Memory::ALL.into_iter().find(|known| known.name() == memory).ok_or(Malformed)?;
        if sum.len() != 8 {
            return Err(Malformed);
        }
        let sum = u32::from_str_radix(sum, 16).map_err(|_| Malformed)?;
        let mut turns = Vec::new();
        while !rest.is_empty() {
            let thread = thread(&mut rest).ok_or(Malformed)?;
            let run = match taken(&mut rest, |c| c.is_ascii_digit()) {
                "" => 1,
                digits => digits.parse::<usize>().map_err(|_| Malformed)?,
            };
            let choice = match rest.strip_prefix('~') {
                None => 0,
                Some(after) => {
                    rest = after;
                    let digits = taken(&mut rest, |c| c.is_ascii_digit());
                    digits.parse::<u32>().map_err(|_| Malformed)?
                }
            };
            if run == 0 || turns.len() + run > MOST {
                return Err(Malformed);
            }
            turns.extend(std::iter::repeat_n(Turn { thread, choice: 0 }, run - 1));
            turns.push(Turn { thread, choice });
        }
        Ok(Record { memory, sum, turns })
    }
}

/// The characters at the beginning that are such ones, which are taken away.
fn taken<'a>(text: &mut &'a str, is_one: impl Fn(char) -> bool) -> &'a str {
    let end = text.find(|c| !is_one(c)).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

/// See [`letters`].
fn thread(text: &mut &str) -> Option<u8> {
    let mut letters = text.bytes();
    let mut letter = letters.next()?;
    let mut thread = 0;
    if letter.is_ascii_uppercase() {
        thread = usize::from(letter - b'A' + 1) * usize::from(LETTERS);
        letter = letters.next()?;
    }
    if !letter.is_ascii_lowercase() {
        return None;
    }
    thread += usize::from(letter - b'a');
    *text = &text[text.len() - letters.len()..];
    (thread <= MOST_THREADS).then_some(thread as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_many_threads_is_read_as_it_was_written() {
        let turns: Vec<Turn> = (0..=MOST_THREADS)
            .flat_map(|thread| {
                let turn = |choice| Turn { thread: thread as u8, choice };
                [turn(0), turn(thread as u32 % 3), turn(0)]
            })
            .collect();
        let record = Record { memory: Memory::Rc11, sum: 7, turns };
        assert_eq!(record.to_string().parse(), Ok(record));
    }
}
