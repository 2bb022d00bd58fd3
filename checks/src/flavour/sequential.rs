//! [`Sequential`]: every access is an AcqRel read-modify-write.

use std::io;
use std::marker::PhantomData;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire};

use reveille::sync::{Atomic, Modify, Note, Packed, Primitives, Word};

/// `P` without weak memory: loads become `fetch_add(0)`, stores become swaps, all of them AcqRel, and fences nothing.
///
/// Every access then reads the newest value and is ordered with every other access to the same word, so loom explores
/// interleavings only. A miss that shows here is a flaw of the algorithm; one that shows only without this wrapper is a flaw of
/// its orderings, or a false alarm of loom.
#[derive(Debug, Clone, Copy)]
pub struct Sequential<P>(PhantomData<P>);

impl<P: Primitives> Primitives for Sequential<P> {
    type Atomic = SequentialAtomic<P::Atomic>;
    type AtomicOf<T: Word> = Packed<Self, T>;
    type Mutex<T: Send + 'static> = P::Mutex<T>;
    type Parker = P::Parker;
    type Cell<T: Send + 'static> = P::Cell<T>;
    type JoinHandle = P::JoinHandle;

    fn fence(_: Ordering) {}
    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> P::JoinHandle {
        P::spawn(name, body)
    }
    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<P::JoinHandle> {
        P::try_spawn(name, body)
    }
    fn thread() -> u64 {
        P::thread()
    }
    fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
        P::catch(body)
    }
    fn spin_until(condition: impl FnMut() -> bool) {
        P::spin_until(condition);
    }
    fn note(note: Note) {
        P::note(note);
    }
    fn tearing_down() -> bool {
        P::tearing_down()
    }
}

/// The atomic of [`Sequential`].
#[derive(Debug)]
pub struct SequentialAtomic<A>(A);

impl<A: Atomic> Atomic for SequentialAtomic<A> {
    fn new(label: &'static str, value: usize) -> Self {
        Self(A::new(label, value))
    }
    fn packed(label: &'static str, value: usize, bits: u32) -> Self {
        Self(A::packed(label, value, bits))
    }
    fn load(&self, _: Ordering) -> usize {
        self.0.fetch_add(0, AcqRel)
    }
    fn store(&self, value: usize, _: Ordering) {
        self.0.swap(value, AcqRel);
    }
    fn modify(&self, by: Modify<usize>, _: Ordering) -> usize {
        self.0.modify(by, AcqRel)
    }
    fn compare_exchange(&self, current: usize, new: usize, _: Ordering, _: Ordering) -> Result<usize, usize> {
        // A failing exchange only loads, and a load may be stale. So first a read-modify-write that brings us up to date.
        self.0.fetch_add(0, AcqRel);
        self.0.compare_exchange(current, new, AcqRel, Acquire)
    }
    fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        _: Ordering,
        _: Ordering,
    ) -> Result<usize, usize> {
        self.0.fetch_add(0, AcqRel);
        self.0.compare_exchange_weak(current, new, AcqRel, Acquire)
    }
}
