//! [`Current`]: the primitives of the engine that runs the current execution.
//!
//! Code that is generic over primitives is compiled anew for each of them, and a scenario holds the whole library. So all
//! engines share one flavour, whose objects are of one engine or another. What knows no object (a fence, a thread) asks
//! which engine it is that runs on this thread of the machine: each of them runs all threads of an execution on one.
//!
//! A lock is an engine's lock around nothing, beside the value that it guards, and what is done under it is called through
//! a pointer: that too is compiled once.

use std::cell::{self, UnsafeCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Modify, Note, Packed, Primitives, Unparked, Word};

use super::engines::only_scripted;
use super::{Exact, Loom, Sequential, Shuttle, Traced};

type TracedLoom = Traced<Loom>;
type SequentialLoom = Traced<Sequential<Loom>>;
type TracedShuttle = Traced<Shuttle>;

/// The primitives of the engine that runs the current execution.
#[derive(Debug, Clone, Copy)]
pub enum Current {}

/// An engine that runs scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runner {
    /// The exact one.
    Exact,
    /// Loom, with a trace.
    Loom,
    /// Loom without weak memory, with a trace.
    SequentialLoom,
    /// Shuttle, with a trace.
    Shuttle,
}

thread_local! {
    static RUNNER: cell::Cell<Runner> = const { cell::Cell::new(Runner::Exact) };
}

/// The execution that begins on this thread of the machine is run by this engine.
pub(crate) fn run_on(runner: Runner) {
    RUNNER.set(runner);
}

/// The same of each engine, behind one type.
#[derive(Debug)]
pub enum Of<E, L, Q, S> {
    /// The exact engine's
    Exact(E),
    /// Loom's
    Loom(L),
    /// That of loom without weak memory
    SequentialLoom(Q),
    /// Shuttle's
    Shuttle(S),
}

macro_rules! each {
    ($of:expr, $inner:pat => $value:expr) => {
        match $of {
            Of::Exact($inner) => $value,
            Of::Loom($inner) => $value,
            Of::SequentialLoom($inner) => $value,
            Of::Shuttle($inner) => $value,
        }
    };
}

macro_rules! make {
    ($P:ident => $value:expr) => {
        match RUNNER.get() {
            Runner::Exact => Of::Exact({
                type $P = Exact;
                $value
            }),
            Runner::Loom => Of::Loom({
                type $P = TracedLoom;
                $value
            }),
            Runner::SequentialLoom => Of::SequentialLoom({
                type $P = SequentialLoom;
                $value
            }),
            Runner::Shuttle => Of::Shuttle({
                type $P = TracedShuttle;
                $value
            }),
        }
    };
}

macro_rules! made {
    ($make:ident($($argument:expr),*)) => {
        match RUNNER.get() {
            Runner::Exact => Of::Exact(E::$make($($argument),*)),
            Runner::Loom => Of::Loom(L::$make($($argument),*)),
            Runner::SequentialLoom => Of::SequentialLoom(Q::$make($($argument),*)),
            Runner::Shuttle => Of::Shuttle(S::$make($($argument),*)),
        }
    };
}

macro_rules! call {
    ($P:ident => $value:expr) => {
        each!(make!($P => $value), value => value)
    };
}

macro_rules! of_each {
    ($name:ident $(<$T:ty>)?) => {
        Of<
            <Exact as Primitives>::$name $(<$T>)?,
            <TracedLoom as Primitives>::$name $(<$T>)?,
            <SequentialLoom as Primitives>::$name $(<$T>)?,
            <TracedShuttle as Primitives>::$name $(<$T>)?,
        >
    };
}

impl Primitives for Current {
    type Atomic = of_each!(Atomic);
    type AtomicOf<T: Word> = Packed<Self, T>;
    type Mutex<T: Send + 'static> = CurrentMutex<T>;
    type Parker = of_each!(Parker);
    type Cell<T: Send + 'static> = CurrentCell<T>;
    type JoinHandle = of_each!(JoinHandle);

    fn fence(order: Ordering) {
        call!(P => P::fence(order));
    }

    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> Self::JoinHandle {
        let body: Box<dyn FnOnce() + Send> = Box::new(body);
        make!(P => P::spawn(name, body))
    }

    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<Self::JoinHandle> {
        let body: Box<dyn FnOnce() + Send> = Box::new(body);
        Ok(make!(P => P::try_spawn(name, body)?))
    }

    fn thread() -> u64 {
        call!(P => P::thread())
    }

    /// As every engine's does.
    fn catch<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
        panic::catch_unwind(AssertUnwindSafe(body)).or_else(only_scripted)
    }

    fn spin_until(mut condition: impl FnMut() -> bool) {
        let condition: &mut dyn FnMut() -> bool = &mut condition;
        call!(P => P::spin_until(condition));
    }

    fn note(note: Note) {
        call!(P => P::note(note));
    }

    fn tearing_down() -> bool {
        call!(P => P::tearing_down())
    }
}

impl<E: sync::Atomic, L: sync::Atomic, Q: sync::Atomic, S: sync::Atomic> sync::Atomic for Of<E, L, Q, S> {
    fn new(label: &'static str, value: usize) -> Self {
        made!(new(label, value))
    }
    fn packed(label: &'static str, value: usize, bits: u32) -> Self {
        made!(packed(label, value, bits))
    }
    fn load(&self, order: Ordering) -> usize {
        each!(self, atomic => atomic.load(order))
    }
    fn store(&self, value: usize, order: Ordering) {
        each!(self, atomic => atomic.store(value, order));
    }
    fn modify(&self, by: Modify<usize>, order: Ordering) -> usize {
        each!(self, atomic => atomic.modify(by, order))
    }
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, err: Ordering) -> Result<usize, usize> {
        each!(self, atomic => atomic.compare_exchange(old, new, ok, err))
    }
    fn compare_exchange_weak(
        &self,
        old: usize,
        new: usize,
        ok: Ordering,
        err: Ordering,
    ) -> Result<usize, usize> {
        each!(self, atomic => atomic.compare_exchange_weak(old, new, ok, err))
    }
}

impl<E: sync::Parker, L: sync::Parker, Q: sync::Parker, S: sync::Parker> sync::Parker for Of<E, L, Q, S> {
    fn new(label: &'static str) -> Self {
        made!(new(label))
    }

    fn park(&self) {
        each!(self, parker => parker.park());
    }

    fn park_timeout(&self, timeout: Duration) -> Unparked {
        each!(self, parker => parker.park_timeout(timeout))
    }

    fn unpark(&self) {
        each!(self, parker => parker.unpark());
    }
}

impl<E: sync::Parker, L: sync::Parker, Q: sync::Parker, S: sync::Parker> Wake for Of<E, L, Q, S> {
    fn wake(self: Arc<Self>) {
        sync::Parker::unpark(&*self);
    }
}

impl<E: sync::JoinHandle, L: sync::JoinHandle, Q: sync::JoinHandle, S: sync::JoinHandle> sync::JoinHandle
    for Of<E, L, Q, S>
{
    fn join(self) -> std::thread::Result<()> {
        each!(self, thread => thread.join())
    }
}

/// See [`Current`].
pub struct CurrentMutex<T> {
    lock: of_each!(Mutex<()>),
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached under the engine's lock, by one thread at a time.
unsafe impl<T: Send> Sync for CurrentMutex<T> {}

/// A lock of [`Current`], held.
pub struct CurrentHeld<'a, T> {
    value: &'a UnsafeCell<T>,
    _held: Held<'a>,
}

type Held<'a> = Of<
    <<Exact as Primitives>::Mutex<()> as sync::Mutex<()>>::Held<'a>,
    <<TracedLoom as Primitives>::Mutex<()> as sync::Mutex<()>>::Held<'a>,
    <<SequentialLoom as Primitives>::Mutex<()> as sync::Mutex<()>>::Held<'a>,
    <<TracedShuttle as Primitives>::Mutex<()> as sync::Mutex<()>>::Held<'a>,
>;

impl<T> Deref for CurrentHeld<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for CurrentHeld<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this is the only way to the value.
        unsafe { &mut *self.value.get() }
    }
}

/// The same of the engine that an object is of.
macro_rules! of_its {
    ($of:expr, $inner:pat => $value:expr) => {
        match $of {
            Of::Exact($inner) => Of::Exact($value),
            Of::Loom($inner) => Of::Loom($value),
            Of::SequentialLoom($inner) => Of::SequentialLoom($value),
            Of::Shuttle($inner) => Of::Shuttle($value),
        }
    };
}

impl<T: Send + 'static> sync::Mutex<T> for CurrentMutex<T> {
    type Held<'a> = CurrentHeld<'a, T>;

    fn new(label: &'static str, value: T) -> Self {
        Self {
            lock: make!(P => <<P as Primitives>::Mutex<()> as sync::Mutex<()>>::new(label, ())),
            value: UnsafeCell::new(value),
        }
    }

    fn hold(&self) -> CurrentHeld<'_, T> {
        CurrentHeld { value: &self.value, _held: of_its!(&self.lock, lock => sync::Mutex::hold(lock)) }
    }

    fn try_hold(&self) -> Option<CurrentHeld<'_, T>> {
        let held = of_its!(&self.lock, lock => sync::Mutex::try_hold(lock)?);
        Some(CurrentHeld { value: &self.value, _held: held })
    }

    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        let (mut body, mut result) = (Some(body), None);
        let mut locked = || {
            let body = body.take().expect("a lock calls it once");
            // SAFETY: the lock is held, and nothing else reaches the value.
            result = Some(body(unsafe { &mut *self.value.get() }));
        };
        let locked: &mut dyn FnMut() = &mut locked;
        each!(&self.lock, lock => sync::Mutex::with(lock, |_: &mut ()| locked()));
        result.expect("a lock calls it")
    }
}

/// See [`Current`].
pub struct CurrentCell<T> {
    cell: of_each!(Cell<()>),
    value: UnsafeCell<T>,
}

// SAFETY: as for the native cell: it hands out raw pointers only, and the engines report the races.
unsafe impl<T: Send> Sync for CurrentCell<T> {}

impl<T: Send + 'static> sync::Cell<T> for CurrentCell<T> {
    fn new(label: &'static str, value: T) -> Self {
        Self {
            cell: make!(P => <<P as Primitives>::Cell<()> as sync::Cell<()>>::new(label, ())),
            value: UnsafeCell::new(value),
        }
    }

    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
        let (mut body, mut result) = (Some(body), None);
        let mut access = || result = body.take().map(|body| body(self.value.get()));
        let access: &mut dyn FnMut() = &mut access;
        each!(&self.cell, cell => sync::Cell::with(cell, |_: *const ()| access()));
        result.expect("a cell calls it")
    }

    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
        let (mut body, mut result) = (Some(body), None);
        let mut access = || result = body.take().map(|body| body(self.value.get()));
        let access: &mut dyn FnMut() = &mut access;
        each!(&self.cell, cell => sync::Cell::with_mut(cell, |_: *mut ()| access()));
        result.expect("a cell calls it")
    }
}
