//! The kernel's futex, as the exhibits from user space use it: a word, and a bucket of those that sleep on
//! it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use reveille::sync::{Atomic, Mutex, Parker, Primitives};

/// A word with the kernel's bucket for it.
pub(super) struct Futex<P: Primitives> {
    pub(super) word: P::Atomic,
    bucket: P::Mutex<VecDeque<Arc<P::Parker>>>,
}

impl<P: Primitives> Futex<P> {
    pub(super) fn new(label: &'static str, value: usize) -> Self {
        Self::slept_on(label, value, &[])
    }

    /// One on which these sleep already.
    pub(super) fn slept_on(label: &'static str, value: usize, tasks: &[Arc<P::Parker>]) -> Self {
        let bucket = P::Mutex::new("futex bucket", tasks.iter().cloned().collect());
        Self { word: P::Atomic::new(label, value), bucket }
    }

    /// `FUTEX_WAIT`: sleeps if the word, read with the bucket locked, is one to sleep on.
    pub(super) fn wait(&self, is_expected: impl FnOnce(usize) -> bool) {
        let task = Arc::new(P::Parker::new("futex"));
        // The kernel's own, between its count of waiters and the read of the word. Pairs with the one in
        // `wake`. It orders nothing that user space does before `FUTEX_WAKE`, if it does not come to that.
        P::fence(SeqCst);
        let sleeps = self.bucket.with(|tasks| {
            let sleeps = is_expected(self.word.load(Relaxed));
            if sleeps {
                tasks.push_back(task.clone());
            }
            sleeps
        });
        if sleeps {
            task.park();
        }
    }

    /// `FUTEX_WAKE`: wakes so many, the longest asleep first.
    pub(super) fn wake(&self, count: usize) {
        // Pairs with the one in `wait`.
        P::fence(SeqCst);
        self.bucket.with(|tasks| {
            let count = count.min(tasks.len());
            tasks.drain(..count).for_each(|task| task.unpark());
        });
    }
}
