//! Objects that get their number when they are first used in an execution.

use std::panic::Location as Source;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::object::{Kind, Named};
use super::{Location, execution, fiber};
use crate::graphs::{Op, Value};

/// An object that can be made anywhere, at compile time too. In each execution it begins anew.
///
/// It is used by value of its [`Location`], which is good for one run of the program. An object may be moved;
/// one in a static may be used by several searches at a time.
#[derive(Debug)]
pub struct Late {
    /// The run that has last used it, and its number there. 0 before the first one.
    last: AtomicU64,
    source: &'static Source<'static>,
}

/// The numbers of runs are kept in the high bits.
const NUMBER: u32 = 24;

impl Late {
    /// A new one.
    #[track_caller]
    pub const fn new() -> Self {
        Self::made_at(Source::caller())
    }

    /// A new one that a layer above makes for the code at this place.
    pub const fn made_at(source: &'static Source<'static>) -> Self {
        Late { last: AtomicU64::new(0), source }
    }

    /// Where it was made.
    pub fn source(&self) -> &'static Source<'static> {
        self.source
    }

    /// The location that it is in the execution that runs. At its first use it gets a number and `initial` is
    /// called: with the value that it had in the beginning in an earlier run of the same execution, if this
    /// is a repetition.
    ///
    /// It is for the thread's **next** operation, which has to be one on this object: that is how a repetition
    /// knows which number it has.
    ///
    /// # Panics
    /// Outside of an execution.
    #[inline]
    pub fn location(
        &self,
        label: &'static str,
        kind: Kind,
        initial: impl FnOnce(Option<Value>) -> Value,
    ) -> Location {
        let Some(execution) = execution::current() else {
            panic!("`{label}` ({}) is used outside of an execution", self.source)
        };
        // Only threads of a search write, each the runs of its own: another number is that of another run.
        let last = self.last.load(Relaxed);
        let generation = execution.generation;
        if last >> NUMBER == execution.serial {
            let number = (last & ((1 << NUMBER) - 1)) as u32;
            return Location { number: number_of(number), generation };
        }
        let address = std::ptr::from_ref(self).addr();
        // An object that had been used before is one of an earlier run, or one in a static that another
        // search has used meanwhile. Then the address tells.
        let known = (last != 0).then(|| execution.places.get(&address).copied()).flatten();
        let number = known.unwrap_or_else(|| {
            let named = Named { label, kind, source: Some(self.source) };
            // The program's own: what it calls may be the program's too.
            let number = execution.late_object(named, initial);
            execution.places.insert(address, number);
            number
        });
        self.last.store(execution.serial << NUMBER | u64::from(number & ((1 << NUMBER) - 1)), Relaxed);
        Location { number, generation }
    }
}

impl Default for Late {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers of objects that were made while an execution is taken down count downwards from the greatest.
fn number_of(kept: u32) -> u32 {
    const TOP: u32 = 1 << NUMBER;
    if kept >= TOP / 2 { kept | !(TOP - 1) } else { kept }
}

/// The operation that the running thread does next, if this is a repetition of what it has done.
pub fn expected() -> Option<Op> {
    execution::current().and_then(|execution| fiber::in_engine(|| execution.expected()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

    use super::*;
    use crate::code::spawn;
    use crate::explore::{Options, Report, explore};
    use crate::graphs::{Modify, Until};
    use crate::memory::Memory;

    fn word(late: &Late, initial: Value) -> Location {
        late.location("word", Kind::Word, |_| initial)
    }

    /// Two threads use the same objects, and either may be the first.
    fn run(x: &'static Late, y: &'static Late) -> Report {
        explore(Memory::Rc11, Options { workers: 2, ..Options::default() }, move || {
            let other = spawn("other", move || {
                word(y, 5).store(1, Release);
                word(x, 3).load(Acquire);
            });
            word(x, 3).store(1, Release);
            let read = word(y, 5).load(Acquire);
            assert!(read == 1 || read == 5);
            other.join();
        })
    }

    #[test]
    fn late_objects_are_the_same_ones_whoever_comes_first() {
        static OBJECTS: [Late; 2] = [Late::new(), Late::new()];
        let report = run(&OBJECTS[0], &OBJECTS[1]);
        assert!(report.complete, "{:?}", report.failed);
        assert_eq!(report.executions, 4);
    }

    #[test]
    fn a_static_is_used_by_two_searches_at_a_time() {
        static OBJECTS: [Late; 2] = [Late::new(), Late::new()];
        std::thread::scope(|scope| {
            let searches =
                [0, 1].map(|_| scope.spawn(|| (0..20).map(|_| run(&OBJECTS[0], &OBJECTS[1])).collect()));
            for search in searches {
                let reports: Vec<Report> = search.join().unwrap();
                assert!(reports.iter().all(|report| report.complete && report.executions == 4));
            }
        });
    }

    #[test]
    fn a_late_lock_excludes() {
        let report = explore(Memory::Rc11, Options::default(), || {
            let objects = std::sync::Arc::new([Late::new(), Late::new()]);
            let increment = |objects: &[Late; 2]| {
                let lock = || objects[0].location("lock", Kind::Lock, |_| 0);
                lock().wait_modify(Until::Is(0), Modify::Swap(1), Acquire);
                let value = word(&objects[1], 0).load(Relaxed);
                word(&objects[1], 0).store(value + 1, Relaxed);
                lock().store(0, Release);
            };
            let others = [0, 1].map(|_| {
                let objects = objects.clone();
                spawn("other", move || increment(&objects))
            });
            others.into_iter().for_each(|other| other.join());
            assert_eq!(word(&objects[1], 0).load(Relaxed), 2);
        });
        assert!(report.complete && report.stale == 0, "{:?}", report.failed);
        assert_eq!(report.executions, 2);
    }
}
