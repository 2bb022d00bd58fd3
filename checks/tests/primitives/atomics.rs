//! Atomics: every read-modify-write, of every type.

use std::sync::Arc;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use reveille::sync::{Atomic, AtomicBool, AtomicU32, Cell, JoinHandle, Primitives};
use reveille_checks::engine::Engine;
use reveille_checks::flavour::weakened::{Change, Mutation, listing, with_mutation};
use reveille_checks::scenario::Scenario;

use crate::{EXACT, loses, verdict};

/// What changes a word from [`OLD`] to another value, in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Swap,
    Or,
    And,
    Xor,
    Add,
    Sub,
    Max,
    Min,
    Update,
    Exchange,
    Weak,
    /// Of a `u32`: its greatest value, and one more
    Wrap,
    /// Of a `bool`
    Flag,
}

impl By {
    const ALL: [By; 13] = [
        By::Swap,
        By::Or,
        By::And,
        By::Xor,
        By::Add,
        By::Sub,
        By::Max,
        By::Min,
        By::Update,
        By::Exchange,
        By::Weak,
        By::Wrap,
        By::Flag,
    ];
}

const OLD: usize = 6;

/// A word of the type that the operation is of.
enum Word<P: Primitives> {
    Wide(P::Atomic),
    Narrow(AtomicU32<P>),
    Flag(AtomicBool<P>),
}

impl<P: Primitives> Word<P> {
    fn new(label: &'static str, by: By) -> Self {
        match by {
            By::Wrap => Self::Narrow(AtomicU32::<P>::new(label, u32::MAX)),
            By::Flag => Self::Flag(AtomicBool::<P>::new(label, false)),
            _ => Self::Wide(P::Atomic::new(label, OLD)),
        }
    }

    /// Changes it; says whether it was the old one.
    fn change(&self, by: By, order: Ordering) -> bool {
        let word = match self {
            Self::Wide(word) => word,
            Self::Narrow(word) => return word.fetch_add(1, order) == u32::MAX,
            Self::Flag(word) => return !word.fetch_or(true, order),
        };
        let failure = if order == SeqCst { SeqCst } else { Relaxed };
        let read = match by {
            By::Swap => word.swap(7, order),
            By::Or => word.fetch_or(1, order),
            By::And => word.fetch_and(2, order),
            By::Xor => word.fetch_xor(1, order),
            By::Add => word.fetch_add(1, order),
            By::Sub => word.fetch_sub(1, order),
            By::Max => word.fetch_max(7, order),
            By::Min => word.fetch_min(5, order),
            By::Update => word.fetch_update(order, failure, |read| (read == OLD).then_some(7)).unwrap_or(0),
            By::Exchange => word.compare_exchange(OLD, 7, order, failure).unwrap_or(0),
            By::Weak => loop {
                match word.compare_exchange_weak(OLD, 7, order, failure) {
                    Ok(read) => break read,
                    Err(OLD) => {}
                    Err(other) => break other,
                }
            },
            By::Wrap | By::Flag => unreachable!("above"),
        };
        read == OLD
    }

    fn is_old(&self, order: Ordering) -> bool {
        match self {
            Self::Wide(word) => word.load(order) == OLD,
            Self::Narrow(word) => word.load(order) == u32::MAX,
            Self::Flag(word) => !word.load(order),
        }
    }
}

/// Store buffering, with read-modify-writes in place of the stores: each thread changes its word and looks at
/// the other's.
#[derive(Clone)]
struct Buffering(By, Ordering);

impl Scenario for Buffering {
    fn name(&self) -> String {
        format!("store buffering by {:?}", self.0)
    }

    fn run<P: Primitives>(&self) {
        let Buffering(by, order) = *self;
        let look = if order == SeqCst { SeqCst } else { Relaxed };
        let words = Arc::new(["x", "y"].map(|label| Word::<P>::new(label, by)));
        let seen = Arc::new(P::Atomic::new("saw the old one", 0));
        let threads = [0, 1].map(|own| {
            let (words, seen) = (words.clone(), seen.clone());
            P::spawn("thread", move || {
                words[own].change(by, order);
                if words[1 - own].is_old(look) {
                    seen.fetch_add(1, AcqRel);
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(seen.load(Relaxed) < 2, "each thread saw the other's old value");
    }
}

/// One thread writes and publishes by a read-modify-write; the other looks by one that changes nothing.
#[derive(Clone)]
struct Publishing(By, Ordering);

impl Scenario for Publishing {
    fn name(&self) -> String {
        format!("publishing by {:?}", self.0)
    }

    fn run<P: Primitives>(&self) {
        let Publishing(by, order) = *self;
        let shared = Arc::new((P::Cell::new("data", 0), Word::<P>::new("word", by)));
        let other = P::spawn("publisher", {
            let shared = shared.clone();
            move || {
                // SAFETY: nobody reads before the word has changed; that is what is checked.
                shared.0.with_mut(|data| unsafe { *data = 1 });
                shared.1.change(by, order);
            }
        });
        if !shared.1.is_old(Acquire) {
            // SAFETY: the word has changed.
            shared.0.with(|data| assert_eq!(unsafe { *data }, 1));
        }
        other.join().unwrap();
    }
}

/// Two threads do it at a time. One of them is the first.
#[derive(Clone)]
struct Racing(By);

impl Scenario for Racing {
    fn name(&self) -> String {
        format!("racing by {:?}", self.0)
    }

    fn run<P: Primitives>(&self) {
        let by = self.0;
        let shared = Arc::new((Word::<P>::new("word", by), P::Atomic::new("first", 0)));
        let threads = [0, 1].map(|_| {
            let shared = shared.clone();
            P::spawn("thread", move || {
                if shared.0.change(by, Relaxed) {
                    shared.1.fetch_add(1, Relaxed);
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(shared.1.load(Relaxed), 1, "so many found the old value");
    }
}

/// The mistake that the operation on `label` is a load and a store.
fn split(scenario: &impl Scenario, label: &str) -> Mutation {
    let (_, executed) = listing(|| verdict(Engine::ExactSc, scenario.clone()));
    let places: Vec<_> =
        executed.iter().filter(|seen| seen.label == label && seen.operation.is_rmw()).collect();
    assert_eq!(places.len(), 1, "{}: {places:?}", scenario.name());
    Mutation { place: places[0].place.clone(), label: None, change: Change::Split }
}

#[test]
fn a_read_modify_write_is_a_barrier_on_x86_and_none_in_rc11_unless_it_is_seq_cst() {
    for by in By::ALL {
        assert_eq!(loses(Buffering(by, Relaxed)), [false, false, true], "{by:?}");
        assert_eq!(loses(Buffering(by, SeqCst)), [false; 3], "{by:?}");
        let mistake = split(&Buffering(by, Relaxed), "x");
        let (lost, struck) = with_mutation(&mistake, || loses(Buffering(by, Relaxed)));
        assert_eq!((lost, struck > 0), ([false, true, true], true), "{by:?} in two steps");
    }
}

#[test]
fn a_read_modify_write_publishes_if_it_releases_and_not_otherwise() {
    for by in By::ALL {
        assert_eq!(loses(Publishing(by, Release)), [false; 3], "{by:?}");
        assert_eq!(loses(Publishing(by, Relaxed)), [false, false, true], "{by:?}");
    }
}

#[test]
fn of_two_read_modify_writes_one_is_the_first_in_every_flavour_and_split_ones_are_found_out() {
    for by in By::ALL {
        assert_eq!(loses(Racing(by)), [false; 3], "{by:?}");
        let mistake = split(&Racing(by), "word");
        for engine in EXACT.into_iter().chain([Engine::LoomSc, Engine::LoomC11, Engine::Shuttle]) {
            let whole = verdict(engine, Racing(by));
            assert_eq!(whole.misses(), Some(false), "{by:?}, {engine:?}: {whole:?}");
            let (split, struck) = with_mutation(&mistake, || verdict(engine, Racing(by)));
            assert!(split.misses() == Some(true) && struck > 0, "{by:?} in two steps, {engine:?}: {split:?}");
        }
    }
}
