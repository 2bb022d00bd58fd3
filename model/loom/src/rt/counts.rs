//! What is counted: handles of `Arc`s, blocks of [`alloc`](crate::alloc), [`Track`](crate::alloc::Track)ed values.
//!
//! # Leaks
//!
//! What is counted is registered. What is still there when a complete execution is over has been leaked.
//!
//! # Uneventful counts
//!
//! The count of an `Arc` is an atomic, and each clone and drop of a handle an operation on it. Their order matters to
//! hardly any program, and there are very many of them: of n threads that drop a handle at their end, n
//! factorial. So a search begins without them: counts are plain memory. That is right as long as nothing of the
//! program depends on which handle is the last one: that no destructor of what is shared performs an
//! operation, and nobody asks for a count (`try_unwrap`, `get_mut`, `strong_count`, `Weak`). When a run comes
//! to one of these, the search is given up and another one begins, in which the counts of all `Arc`s that are made at the
//! same place are operations.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc as StdArc, Mutex, MutexGuard, PoisonError};

use reveille_model::code::{self, Late};

use super::rules::{Rule, without};
use super::{At, Map, own, with};

/// The places at which `Arc`s are made whose counts are operations. There are more of them while a search runs.
#[derive(Debug, Default)]
pub(crate) struct Eventful(Mutex<Vec<Place>>);

/// A place in the source, as a number that is the same in each process.
pub(crate) type Place = u32;

fn place(at: At) -> Place {
    let numbers = [at.line(), at.column()].map(u32::to_le_bytes);
    let bytes = at.file().bytes().chain(numbers.into_iter().flatten());
    // FNV-1a.
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ Place::from(byte)).wrapping_mul(0x0100_0193))
}

impl Eventful {
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places().len()
    }

    fn add(&self, new: &[Place]) {
        let mut places = self.places();
        for place in new {
            if !places.contains(place) {
                places.push(*place);
            }
        }
    }

    /// See [`Learned`](super::learned::Learned).
    pub fn parse(text: &str) -> Option<(Eventful, &str)> {
        let Some(rest) = text.strip_prefix("counts") else { return Some((Eventful::default(), text)) };
        let (places, rest) = rest.split_once('+')?;
        let places: Result<Vec<Place>, _> =
            places.split('.').map(|place| Place::from_str_radix(place, 16)).collect();
        Some((Eventful(Mutex::new(places.ok()?)), rest))
    }
}

/// See [`Learned`](super::learned::Learned).
impl fmt::Display for Eventful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.places().iter().map(|place| format!("{place:x}")).collect();
        if places.is_empty() { Ok(()) } else { write!(f, "counts{}+", places.join(".")) }
    }
}

/// One `Arc`'s handles.
#[derive(Debug)]
pub(crate) struct Count {
    pub late: Late,
    /// How many there are; where counts are operations, that is in the graph
    handles: AtomicUsize,
    /// Whether the value has been dropped, or is being dropped
    is_gone: AtomicBool,
    made: At,
    place: Place,
}

/// What is counted in a run.
#[derive(Default)]
pub(crate) struct Counts {
    /// Of this run: those of the search when it began
    eventful: Vec<Place>,
    /// `Arc`s by the addresses of their values
    arcs: Map<usize, StdArc<Count>>,
    /// Other things, by address
    things: Map<usize, (&'static str, At)>,
}

impl Count {
    #[track_caller]
    pub fn new() -> StdArc<Count> {
        let made = Location::caller();
        StdArc::new(Count {
            late: Late::new(),
            handles: AtomicUsize::new(1),
            is_gone: AtomicBool::new(false),
            made,
            place: place(made),
        })
    }

    /// Where it was made.
    pub fn made(&self) -> At {
        self.made
    }

    /// Whether it is an operation to count its handles here.
    pub fn is_eventful(&self) -> bool {
        code::is_running() && with(|run| run.counts.eventful.contains(&self.place))
    }

    /// Somebody asks for it: it has to be an operation.
    pub fn demand(&self) {
        if !self.is_eventful() {
            demand(&[self.place]);
        }
    }

    /// Its value is dropped, in `body`, by the handle that is the last one in this run.
    pub fn uneventful<R>(&self, body: impl FnOnce() -> R) -> R {
        struct Done;
        impl Drop for Done {
            fn drop(&mut self) {
                own(|own| own.uneventful.pop());
            }
        }
        own(|own| own.uneventful.push(self.place));
        // On the way out, too.
        let _done = Done;
        body()
    }

    /// One handle more.
    pub fn add(&self) {
        self.handles.fetch_add(1, Relaxed);
    }

    /// One handle less. True for the last one.
    pub fn remove(&self) -> bool {
        self.handles.fetch_sub(1, Relaxed) == 1
    }

    /// How many there are in this run.
    pub fn handles(&self) -> usize {
        self.handles.load(Relaxed)
    }

    /// Whether there is one only.
    pub fn is_last(&self) -> bool {
        self.handles() == 1
    }

    /// The value is dropped now. False if it was before.
    pub fn set_gone(&self) -> bool {
        !self.is_gone.swap(true, Relaxed)
    }
}

impl Counts {
    pub fn begin(&mut self, eventful: &Eventful) {
        self.eventful.clone_from(&eventful.places());
    }

    /// What is still there, the first in the order of their places.
    pub fn leaked(&self) -> Option<String> {
        if without(Rule::LeaksAreTold) {
            return None;
        }
        let arcs = self.arcs.values().map(|count| ("Arc", count.made));
        let place = |at: At| (at.file(), at.line(), at.column());
        let things = self.things.values().copied();
        let (what, at) = arcs.chain(things).min_by_key(|(_, at)| place(at))?;
        let count = self.arcs.len() + self.things.len();
        let others = match count - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        Some(format!("{what} leaked: it was made at {}:{}{others}", at.file(), at.line()))
    }
}

/// Registers the `Arc` whose value is at this address.
pub(crate) fn register(address: usize, count: &StdArc<Count>) {
    with(|run| run.counts.arcs.insert(address, count.clone()));
}

/// Its last handle is gone.
pub(crate) fn unregister(address: usize) {
    with(|run| run.counts.arcs.remove(&address));
}

/// The `Arc` whose value is at this address.
pub(crate) fn find(address: usize) -> Option<StdArc<Count>> {
    with(|run| run.counts.arcs.get(&address).cloned())
}

/// Registers another thing.
pub(crate) fn register_thing(address: usize, what: &'static str, made: At) {
    with(|run| run.counts.things.insert(address, (what, made)));
}

/// It is gone. False if it was not registered.
pub(crate) fn unregister_thing(address: usize) -> bool {
    with(|run| run.counts.things.remove(&address).is_some())
}

/// These counts have to be operations.
fn demand(places: &[Place]) {
    if code::is_running() && !code::is_taken_down() && !without(Rule::CountsAreOperations) {
        with(|run| run.learned.eventful.add(places));
        give_up();
    }
}

/// An operation in a destructor of what an uneventful `Arc` shared.
#[inline]
pub(super) fn check_is_eventful() {
    if !own(|own| own.uneventful.is_empty()) {
        let places = own(|own| own.uneventful.clone());
        demand(&places);
    }
}

/// Ends the run, if that can be done here. It is no more of use in any case.
///
/// This may be in a destructor: a panic would go on through those of the fields, which may have to wait. So the thread
/// stops here, and is unwound when the run is taken down, where operations do nothing.
fn give_up() {
    if !std::thread::panicking() {
        code::go_in_circles(1);
    }
}

/// The payload by which all runs after that are given up.
pub(crate) struct GivenUp;
