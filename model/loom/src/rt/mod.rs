//! What lies between loom's names and the exact engine.
//!
//! | file | what it is for |
//! |---|---|
//! | this one | the state of the run: of each thread of the program, and what has to be dropped at the end |
//! | [`spin`] | loops that wait |
//! | [`pointers`] | pointers as values of the graph |
//! | [`learned`] | what a search learns from run to run |
//! | [`counts`] | what is leaked, and whether the counts of `Arc`s are operations |
//! | [`memory`] | no address comes up twice in a run, and the same ones come up in each |
//! | [`rules`] | what this layer promises, and the test that leaves it out |
//!
//! The engine runs all threads of one execution on one thread of the machine, and a run again from its start
//! to go on in another way. So the state of a run is kept in a `thread_local!`, which [`begin`] clears. What
//! is in it is the running thread's own, or is used in the order of program order and reads-from: a
//! repetition comes to the same.

pub(crate) mod counts;
pub(crate) mod learned;
pub(crate) mod memory;
pub(crate) mod pointers;
pub(crate) mod rules;
pub(crate) mod spin;

use std::any::Any;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::sync::atomic::Ordering::{self, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use reveille_model::code;
use reveille_model::graphs::{Modify, Op, Until, Value};

use self::learned::Learned;
use self::rules::{Rule, without};

/// A place in the source.
pub(crate) type At = &'static Location<'static>;

/// What an execution may do besides, and how often: a thread in one execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Weak exchanges that fail for no reason
    pub weak_failures: u32,
    /// Waits of a `Condvar` and parks that return for no reason
    pub spurious_wakes: u32,
    /// Waits with a time limit whose time is over
    pub timeouts: u32,
}

/// A thread of the program in this run.
#[derive(Default)]
pub(crate) struct Own {
    pub spin: spin::Spin,
    /// How many operations it has done
    pub operations: u64,
    /// How many of the [`Bounds`] it has used
    used: Bounds,
    /// What it has of each `thread_local!`, by address, in the order in which that was made; `None` where it is gone
    pub locals: Vec<(usize, Option<Box<dyn Any>>)>,
    pub is_ending: bool,
    pub thread: Option<crate::thread::Thread>,
    /// The [uneventful](counts) `Arc`s whose values it is dropping, by their places
    pub uneventful: Vec<counts::Place>,
}

/// A run of the program.
#[derive(Default)]
pub(crate) struct Run {
    bounds: Bounds,
    pub learned: Arc<Learned>,
    pub threads: Vec<Own>,
    pub pointers: pointers::Pointers,
    pub counts: counts::Counts,
    /// The pointers into cells that are alive: the cell, whose it is, and whether it is for writes
    pub borrowed: Vec<(u32, usize, bool)>,
    /// The values of `lazy_static!`s, by address, in the order in which they were made
    pub lazies: Vec<(usize, Box<dyn Any>)>,
}

thread_local! {
    static RUN: RefCell<Run> = RefCell::default();
}

/// The state of the run. `body` must not perform operations, nor call what is the program's.
pub(crate) fn with<R>(body: impl FnOnce(&mut Run) -> R) -> R {
    memory::own(|| RUN.with_borrow_mut(body))
}

/// The state of the running thread. See [`with`].
pub(crate) fn own<R>(body: impl FnOnce(&mut Own) -> R) -> R {
    let number = code::thread();
    with(|run| {
        if run.threads.len() <= number {
            run.threads.resize_with(number + 1, Own::default);
        }
        body(&mut run.threads[number])
    })
}

/// A run begins, on its first thread.
pub(crate) fn begin(bounds: Bounds, learned: Arc<Learned>) {
    memory::begin(&learned.arenas);
    // What an unfinished run has left is not dropped: its destructors would be operations of this one.
    let before =
        with(|run| std::mem::replace(run, Run { bounds, learned: learned.clone(), ..Run::default() }));
    let Run { threads, lazies, .. } = before;
    threads.into_iter().flat_map(|own| own.locals).for_each(std::mem::forget);
    lazies.into_iter().for_each(std::mem::forget);
    with(|run| run.counts.begin(&learned.eventful));
    code::at_end(move |_| {
        memory::end(&learned.arenas);
        None
    });
    code::at_end(|is_complete| is_complete.then(|| with(|run| run.counts.leaked())).flatten());
    code::at_end(|_| {
        // In the order in which they were made, as static things are.
        let lazies = with(|run| std::mem::take(&mut run.lazies));
        drop(lazies);
        None
    });
}

/// Ends the running thread's `thread_local!`s, when its code has returned or is unwound.
pub(crate) struct EndsLocals;

impl Drop for EndsLocals {
    fn drop(&mut self) {
        let count = own(|own| {
            own.is_ending = true;
            own.locals.len()
        });
        for nth in 0..count {
            let local = own(|own| own.locals[nth].1.take());
            drop(local);
        }
    }
}

/// Performs an operation for the code at this place.
#[inline]
pub(crate) fn perform(op: Op, source: At) -> Value {
    if let Some(value) = spin::answer(op, source) {
        return value;
    }
    counts::check_is_eventful();
    let value = code::perform_at(op, source);
    spin::keep(op, source, value);
    value
}

/// Performs one of an object that only this layer knows: loops do not repeat it.
pub(crate) fn modify(
    location: code::Location,
    modify: Modify,
    order: Ordering,
    until: Option<Until>,
    source: At,
) -> Value {
    perform(Op::Rmw { location: location.number(), order, failure: Relaxed, modify, until }, source)
}

pub(crate) fn load(location: code::Location, order: Ordering, source: At) -> Value {
    perform(Op::Load { location: location.number(), order, until: None }, source)
}

pub(crate) fn store(location: code::Location, value: Value, order: Ordering, source: At) {
    perform(Op::Store { location: location.number(), order, value }, source);
}

/// Takes a lock, a location of that kind.
pub(crate) fn acquire(lock: code::Location, order: Ordering, source: At) {
    modify(lock, Modify::Swap(1), order, Some(Until::Is(0)), source);
}

/// Waits for a token, a location of that kind, and takes it.
pub(crate) fn take(token: code::Location, order: Ordering, source: At) {
    modify(token, Modify::Swap(0), order, Some(Until::Is(1)), source);
}

/// Puts a token there, if it is not.
pub(crate) fn put(token: code::Location, order: Ordering, source: At) {
    modify(token, Modify::Swap(1), order, None, source);
}

/// Something that may happen for no reason, a bounded number of times.
#[derive(Clone, Copy)]
pub(crate) enum Freak {
    WeakFailure,
    SpuriousWake,
    Timeout,
}

/// Whether it happens here: both ways are explored.
pub(crate) fn happens(freak: Freak, source: At) -> bool {
    let count = |bounds: &mut Bounds| match freak {
        Freak::WeakFailure => std::mem::replace(&mut bounds.weak_failures, 0),
        Freak::SpuriousWake => std::mem::replace(&mut bounds.spurious_wakes, 0),
        Freak::Timeout => std::mem::replace(&mut bounds.timeouts, 0),
    };
    let rule = match freak {
        Freak::WeakFailure => Rule::WeakFailures,
        Freak::SpuriousWake | Freak::Timeout => Rule::SpuriousWakes,
    };
    let (most, used) = (count(&mut with(|run| run.bounds)), count(&mut own(|own| own.used)));
    if used >= most || without(rule) || perform(Op::Choose { outcomes: 2 }, source) == 0 {
        return false;
    }
    own(|own| match freak {
        Freak::WeakFailure => own.used.weak_failures += 1,
        Freak::SpuriousWake => own.used.spurious_wakes += 1,
        Freak::Timeout => own.used.timeouts += 1,
    });
    true
}

/// A text that stays, one for all that are alike.
pub(crate) fn interned(text: &str) -> &'static str {
    static TEXTS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    memory::own(|| {
        let texts = texts.get_or_insert_default();
        if let Some(known) = texts.get(text) {
            return *known;
        }
        let kept: &'static str = Box::leak(text.into());
        texts.insert(kept);
        kept
    })
}

/// A map whose order nobody may see.
pub(crate) type Map<K, V> = HashMap<K, V>;
