//! What a worker of a search tells about itself while it runs, for whoever watches over it from another
//! thread.

use std::panic::Location as Source;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use super::failure::Last;

/// The signs of life of one worker. Only the worker writes, so an increment need not be one step; and who
/// reads while it writes sees at worst the thread of one operation with the place of the next.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    /// The program's thread that runs
    thread: AtomicUsize,
    /// Where its last operation stands; null before it has done one
    source: AtomicPtr<Source<'static>>,
    /// Whether it has nothing to do: then its silence says nothing
    is_idle: AtomicBool,
    /// What the program calls its threads
    names: Mutex<Vec<&'static str>>,
}

impl Pulse {
    /// Another thread of the program goes on, or the first of another execution.
    #[inline]
    pub(super) fn goes_on(&self, thread: usize) {
        self.thread.store(thread, Relaxed);
        self.source.store(std::ptr::null_mut(), Relaxed);
        self.beat();
    }

    /// The running thread asks for an operation.
    #[inline]
    pub(super) fn asks(&self, source: &'static Source<'static>) {
        self.source.store(std::ptr::from_ref(source).cast_mut(), Relaxed);
        self.beat();
    }

    #[inline]
    fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// What a thread is called. Names rarely change from one execution to the next, so the worker keeps those
    /// that it has `told`.
    pub(super) fn name(&self, thread: usize, name: &'static str, told: &mut Vec<&'static str>) {
        if told.len() <= thread {
            told.resize(thread + 1, "");
        }
        if told[thread] != name {
            told[thread] = name;
            told.clone_into(&mut self.names.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Whether the worker has no graph to visit.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        self.is_idle.store(is_idle, Relaxed);
        self.beat();
    }

    /// How often it has given a sign; `None` while it has nothing to do.
    pub(crate) fn beats(&self) -> Option<u64> {
        (!self.is_idle.load(Relaxed)).then(|| self.beats.load(Relaxed))
    }

    /// What it does.
    pub(crate) fn last(&self) -> Last {
        let thread = self.thread.load(Relaxed);
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: it is null, or was made from a reference that is valid for ever.
        let source = unsafe { self.source.load(Relaxed).as_ref() };
        Last { thread, name: names.get(thread).copied().unwrap_or_default(), source }
    }
}
