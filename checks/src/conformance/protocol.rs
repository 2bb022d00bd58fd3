//! The protocols of the model that code is held against, and how the code's names and theirs belong together.

use std::fmt;

use std::sync::atomic::Ordering;

use reveille_model::memory::{UnknownName, Value};
use reveille_model::program::{Kind, Program, Recorded};
use reveille_model::protocol::completion::{self, CompletionQueue};
use reveille_model::protocol::poll_wake::{self, Consumer, Gate, PollWake};

use super::Unbuilt;

/// A protocol of the model, and how its names and the code's belong together. It is displayed as reports call it.
pub trait Protocol: Clone + fmt::Display + Send + Sync + 'static {
    /// Its program, in which a sleeper may return early from so many parks.
    fn program(&self, spurious: u8) -> Result<Program, Unbuilt>;

    /// The number, in the program, of the thread that the code calls so.
    fn thread(&self, name: &str) -> Option<usize>;

    /// What the program calls an object.
    fn object(&self, object: &Object<'_>) -> Option<String>;

    /// What the program does where the code reads a cell. `load` is the load of that object, without order and values.
    fn read_cell(&self, cell: &Object<'_>, load: Recorded) -> Vec<Recorded>;

    /// What the program does where the code writes a cell. `store` is the store to that object, without order and values.
    fn write_cell(&self, cell: &Object<'_>, store: Recorded) -> Vec<Recorded>;
}

/// A shared object of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// The label it was made with
    pub label: &'a str,
    /// Which of those with this label, from 1
    pub number: usize,
    /// Whose it is
    pub owner: Owner<'a>,
}

/// Who was the first to store to an object, or to swap it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// Nobody did
    Nobody,
    /// The main thread, before it started the others
    SetUp,
    /// The thread of this name
    Thread(&'a str),
}

/// A gate with a consumer: [`PollWake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PollWakeProtocol {
    /// The gate
    pub gate: Gate,
    /// The consumer
    pub consumer: Consumer,
    /// A mistake put into it on purpose, if any
    pub mutant: Option<poll_wake::Mutant>,
}

impl PollWakeProtocol {
    /// The protocol that is called by these names.
    pub fn named(gate: &str, consumer: &str) -> Result<Self, UnknownName> {
        Ok(Self { gate: gate.parse()?, consumer: consumer.parse()?, mutant: None })
    }

    /// The number of the entry that a thread sleeps behind.
    fn entry(&self, thread: &str) -> Option<usize> {
        match (self.consumer, thread) {
            (Consumer::TwoPollers, "other poller") => Some(0),
            (Consumer::TwoPollers, "poller") => Some(1),
            (_, "poller" | "worker 1") => Some(0),
            (_, "passer-by" | "worker 2") => Some(1),
            _ => None,
        }
    }
}

impl fmt::Display for PollWakeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.gate, self.consumer)?;
        self.mutant.map_or(Ok(()), |mutant| write!(f, " with {mutant}"))
    }
}

impl Protocol for PollWakeProtocol {
    fn program(&self, spurious: u8) -> Result<Program, Unbuilt> {
        let size = poll_wake::Size { spurious, ..poll_wake::Size::of(self.consumer) };
        Ok(PollWake::new(self.gate, self.consumer, size, self.mutant)?.program().clone())
    }

    fn thread(&self, name: &str) -> Option<usize> {
        let producers = if self.consumer == Consumer::EpollLevelTwoProducers { 2 } else { 1 };
        match name {
            "producer" | "producer 1" => Some(0),
            "producer 2" => Some(1),
            poller => Some(producers + self.entry(poller)?),
        }
    }

    /// Parkers are called as who sleeps there. A mark is its owner's; what the set-up arms is the first entry.
    fn object(&self, object: &Object<'_>) -> Option<String> {
        Some(match object.label {
            label @ ("tail" | "head" | "queued" | "waiting" | "persistent" | "armed" | "activated"
            | "wait queue") => label.to_owned(),
            label @ ("mark" | "counted") => match object.owner {
                Owner::Nobody => return None,
                Owner::SetUp => format!("{label} 0"),
                Owner::Thread(name) => format!("{label} {}", self.entry(name)?),
            },
            "cqe" => "payload".to_owned(),
            "ready list" => "ready 0".to_owned(),
            "completion lock" => "commit".to_owned(),
            "task work" => "mailbox".to_owned(),
            "producer" => "submitter's parker".to_owned(),
            sleeper => format!("parker {}", self.entry(sleeper)?),
        })
    }

    /// One location stands for all completions; in it is the number of the last one written.
    fn read_cell(&self, cell: &Object<'_>, load: Recorded) -> Vec<Recorded> {
        vec![Recorded { order: Some(Ordering::Relaxed), read: Some(cell.number as Value), ..load }]
    }

    fn write_cell(&self, cell: &Object<'_>, store: Recorded) -> Vec<Recorded> {
        vec![Recorded { order: Some(Ordering::Relaxed), written: Some(cell.number as Value), ..store }]
    }
}

/// The [`CompletionQueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompletionProtocol {
    /// The ring and the batches
    pub size: completion::Size,
    /// A mistake put into it on purpose, if any
    pub mutant: Option<completion::Mutant>,
}

impl fmt::Display for CompletionProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "completion queue, {}", self.size)?;
        self.mutant.map_or(Ok(()), |mutant| write!(f, ", with {mutant}"))
    }
}

impl Protocol for CompletionProtocol {
    fn program(&self, spurious: u8) -> Result<Program, Unbuilt> {
        let size = completion::Size { spurious, ..self.size };
        Ok(CompletionQueue::new(size, self.mutant)?.program().clone())
    }

    fn thread(&self, name: &str) -> Option<usize> {
        let producers = self.size.producers.len();
        match name.strip_prefix("producer ") {
            Some(number) => number.parse().ok().filter(|&number| number < producers),
            None => (name == "consumer").then_some(producers),
        }
    }

    fn object(&self, object: &Object<'_>) -> Option<String> {
        Some(match object.label {
            label @ ("tail" | "head" | "overflowed" | "completion" | "queued" | "armed" | "wait queue") => {
                label.to_owned()
            }
            "slot" => format!("slot {}", object.number - 1),
            "mark" => "mark 0".to_owned(),
            "consumer" => "parker 0".to_owned(),
            _ => return None,
        })
    }

    /// What is read is moved out: the program leaves the slot empty.
    fn read_cell(&self, _: &Object<'_>, load: Recorded) -> Vec<Recorded> {
        let store = Recorded { kind: Kind::Store, ..load.clone() };
        vec![load, store]
    }

    /// The program looks whether the slot is empty before it writes.
    fn write_cell(&self, _: &Object<'_>, store: Recorded) -> Vec<Recorded> {
        let load = Recorded { kind: Kind::Load, ..store.clone() };
        vec![load, store]
    }
}
