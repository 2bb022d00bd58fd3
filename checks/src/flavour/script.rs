//! Which parks return early.
//!
//! Neither loom nor shuttle has a spurious wake or a timeout that could be explored in a bounded way. So early
//! returns are decided beforehand: a [`Script`] names parks, and one search is made for each script. A parker that is
//! not named never returns without its token, and a `park_timeout` that is not named never times out.

use std::cell::RefCell;
use std::fmt;

/// The parks that return early: the label of the parker, and which of its parks, counted from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script(Vec<(&'static str, usize)>);

impl Script {
    /// No park returns early.
    pub fn none() -> Self {
        Self::default()
    }

    /// The `nth` park of the parker called `label` returns early, besides those named before.
    pub fn early(mut self, label: &'static str, nth: usize) -> Self {
        self.0.push((label, nth));
        self
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no spurious wakes");
        }
        for (i, (label, nth)) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}park {nth} of {label} returns early")?;
        }
        Ok(())
    }
}

thread_local! {
    // Loom and shuttle run all simulated threads of an execution on the operating system's thread that started it.
    static SCRIPT: RefCell<Script> = RefCell::default();
}

/// Makes `script` hold for the executions that this operating system's thread starts from now on.
pub(crate) fn follow(script: &Script) {
    SCRIPT.set(script.clone());
}

/// Whether the script makes the `nth` park of `label` return early.
pub(super) fn returns_early(label: &'static str, nth: usize) -> bool {
    SCRIPT.with_borrow(|script| script.0.contains(&(label, nth)))
}
