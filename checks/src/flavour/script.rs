//! Which parks return early, and which threads cannot be started.
//!
//! Neither loom nor shuttle has a spurious wake or a timeout that could be explored in a bounded way. So early
//! returns are decided beforehand: a [`Script`] names parks, and one search is made for each script. A parker that is
//! not named never returns without its token, and a `park_timeout` that is not named never times out. In the same way
//! a script names the `try_spawn`s that fail.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

/// What goes wrong: parks that return early, threads that do not start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// The label of the parker, and which of its parks, counted from 1
    early: Vec<(&'static str, usize)>,
    /// Which `try_spawn`s of an execution fail, counted from 1
    refused: Vec<usize>,
}

impl Script {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// The `nth` park of a thread on parkers called `label` returns early, besides those named before.
    pub fn early(mut self, label: &'static str, nth: usize) -> Self {
        self.early.push((label, nth));
        self
    }

    /// The `nth` `try_spawn` of an execution fails, besides those named before.
    pub fn refuse_thread(mut self, nth: usize) -> Self {
        self.refused.push(nth);
        self
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::none() {
            return f.write_str("no spurious wakes");
        }
        let parks = self.early.iter().map(|(label, nth)| format!("park {nth} of {label} returns early"));
        let threads = self.refused.iter().map(|nth| format!("thread {nth} cannot be started"));
        f.write_str(&parks.chain(threads).collect::<Vec<_>>().join(", "))
    }
}

thread_local! {
    // Loom and shuttle run all simulated threads of an execution on the operating system's thread that started it.
    static SCRIPT: RefCell<Script> = RefCell::default();
    static SPAWNS: Cell<usize> = const { Cell::new(0) };
    /// How often each thread has parked on parkers of a label, as far as the script has something to say of
    /// that label.
    static PARKS: RefCell<HashMap<(u64, &'static str), usize>> = RefCell::default();
}

/// Makes `script` hold for the executions that this operating system's thread starts from now on.
pub(crate) fn follow(script: &Script) {
    SCRIPT.set(script.clone());
    begin();
}

/// Another execution begins.
pub(crate) fn begin() {
    SPAWNS.set(0);
    PARKS.with_borrow_mut(HashMap::clear);
}

/// A thread begins that has the number of one which has ended.
pub(super) fn begin_thread(thread: u64) {
    PARKS.with_borrow_mut(|parks| parks.retain(|&(of, _), _| of != thread));
}

/// How many threads the script refuses.
pub(crate) fn refusals() -> usize {
    SCRIPT.with_borrow(|script| script.refused.len())
}

/// Whether the script makes this park of a thread on a parker of this label, one more of the execution,
/// return early.
pub(super) fn returns_early(label: &'static str, thread: impl FnOnce() -> u64) -> bool {
    SCRIPT.with_borrow(|script| {
        let mut named = script.early.iter().filter(|(of, _)| *of == label).peekable();
        named.peek().is_some() && {
            let nth = PARKS.with_borrow_mut(|parks| {
                let parks = parks.entry((thread(), label)).or_default();
                *parks += 1;
                *parks
            });
            named.any(|&(_, early)| early == nth)
        }
    })
}

/// Whether the script makes the `nth` `try_spawn` of the execution fail.
pub(super) fn refuses(nth: usize) -> bool {
    SCRIPT.with_borrow(|script| script.refused.contains(&nth))
}

/// Whether the script makes this `try_spawn`, one more of the execution, fail.
pub(super) fn refuses_thread() -> bool {
    let nth = SPAWNS.get() + 1;
    SPAWNS.set(nth);
    refuses(nth)
}
