//! [`Weakened`]: one operation at one source line does less than the source says.
//!
//! A check that passes says something only if it would notice a mistake. This flavour makes the mistakes, without touching the
//! code: it is told a [`Mutation`], an operation by its source line and what becomes of it, and
//! passes everything else on as it is. It also keeps a list of what was executed, so that nobody has to know the lines.
//!
//! **What cannot be taken away is a lock.** Its closure is handed a `&mut` to what the lock guards; two threads that hold one at
//! the same time are undefined behaviour in the checker itself, which could then say nothing. Locks are listed only.
//!
//! **Where a wake stands.** An `unpark` has the source line of its caller. But most wakes go through a
//! [`Waker`](std::task::Waker), a table of functions that knows of no caller. Whoever calls wakers says so before with a
//! [`Note`], and that note's line is theirs.

mod plan;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::panic::{Location, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Modify, Note, Packed, Primitives, Unparked, Word};

pub(crate) use self::plan::Followed;
pub use self::plan::{Change, Executed, Mutation, Operation, Place, Strength, listing, with_mutation};
use self::plan::{change, change_at, is_active};

/// `P`, with one operation changed: the one that [`with_mutation`] names. Without one, `P`.
#[derive(Debug, Clone, Copy)]
pub struct Weakened<P>(PhantomData<P>);

thread_local! {
    /// Where each simulated thread last said that it is going to call wakers.
    static ANNOUNCED: RefCell<HashMap<u64, &'static Location<'static>>> = RefCell::default();
}

/// The part of an order that a load may have.
fn of_load(order: Ordering) -> Ordering {
    match order {
        Ordering::Release => Ordering::Relaxed,
        Ordering::AcqRel => Ordering::Acquire,
        order => order,
    }
}

/// The part of an order that a store may have.
fn of_store(order: Ordering) -> Ordering {
    match order {
        Ordering::Acquire => Ordering::Relaxed,
        Ordering::AcqRel => Ordering::Release,
        order => order,
    }
}

impl<P: Primitives> Primitives for Weakened<P> {
    type Atomic = WeakenedAtomic<P>;
    type AtomicOf<T: Word> = Packed<Self, T>;
    type Mutex<T: Send + 'static> = WeakenedMutex<P, T>;
    type Parker = WeakenedParker<P>;
    type Cell<T: Send + 'static> = P::Cell<T>;
    type JoinHandle = P::JoinHandle;

    fn fence(order: Ordering) {
        match change(Operation::Fence, "") {
            Some(Change::Dropped) => {}
            Some(Change::Order(weaker)) => P::fence(weaker.ordering()),
            _ => P::fence(order),
        }
    }

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
        match P::catch(body) {
            Err(panic) if change(Operation::Guard, "") == Some(Change::Dropped) => resume_unwind(panic),
            result => result,
        }
    }

    fn spin_until(condition: impl FnMut() -> bool) {
        P::spin_until(condition);
    }

    fn note(note: Note) {
        if is_active() {
            let at = Location::caller();
            ANNOUNCED.with_borrow_mut(|announced| announced.insert(P::thread(), at));
        }
        P::note(note);
    }

    fn tearing_down() -> bool {
        P::tearing_down()
    }
}

/// See [`Weakened`].
pub struct WeakenedAtomic<P: Primitives> {
    inner: P::Atomic,
    label: &'static str,
}

impl<P: Primitives> WeakenedAtomic<P> {
    /// The orders of an exchange, or how it ends if it is a load and a store.
    #[track_caller]
    fn exchange(
        &self,
        operation: Operation,
        [old, new]: [usize; 2],
        [ok, err]: [Ordering; 2],
    ) -> Result<[Ordering; 2], Result<usize, usize>> {
        use sync::Atomic;
        match change(operation, self.label) {
            Some(Change::Order(weaker)) => Ok([weaker.ordering(), err]),
            Some(Change::FailureOrder(weaker)) => Ok([ok, weaker.ordering()]),
            Some(Change::Split) => {
                let read = self.inner.load(of_load(ok));
                if read != old {
                    return Err(Err(read));
                }
                self.inner.store(new, of_store(ok));
                Err(Ok(read))
            }
            _ => Ok([ok, err]),
        }
    }
}

impl<P: Primitives> sync::Atomic for WeakenedAtomic<P> {
    fn new(label: &'static str, value: usize) -> Self {
        Self { inner: P::Atomic::new(label, value), label }
    }

    fn packed(label: &'static str, value: usize, bits: u32) -> Self {
        Self { inner: P::Atomic::packed(label, value, bits), label }
    }

    fn load(&self, order: Ordering) -> usize {
        match change(Operation::Load, self.label) {
            Some(Change::Order(weaker)) => self.inner.load(weaker.ordering()),
            _ => self.inner.load(order),
        }
    }

    fn store(&self, value: usize, order: Ordering) {
        match change(Operation::Store, self.label) {
            Some(Change::Order(weaker)) => self.inner.store(value, weaker.ordering()),
            Some(Change::Dropped) => {}
            _ => self.inner.store(value, order),
        }
    }

    fn modify(&self, by: Modify<usize>, order: Ordering) -> usize {
        match change(Operation::of(by), self.label) {
            Some(Change::Order(weaker)) => self.inner.modify(by, weaker.ordering()),
            Some(Change::Split) => {
                let read = self.inner.load(of_load(order));
                self.inner.store(by.apply(read), of_store(order));
                read
            }
            _ => self.inner.modify(by, order),
        }
    }

    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, err: Ordering) -> Result<usize, usize> {
        match self.exchange(Operation::CompareExchange, [old, new], [ok, err]) {
            Ok([ok, err]) => self.inner.compare_exchange(old, new, ok, err),
            Err(done) => done,
        }
    }

    fn compare_exchange_weak(
        &self,
        old: usize,
        new: usize,
        ok: Ordering,
        err: Ordering,
    ) -> Result<usize, usize> {
        match self.exchange(Operation::CompareExchangeWeak, [old, new], [ok, err]) {
            Ok([ok, err]) => self.inner.compare_exchange_weak(old, new, ok, err),
            Err(done) => done,
        }
    }
}

/// See [`Weakened`]: a lock is only listed.
pub struct WeakenedMutex<P: Primitives, T: Send + 'static> {
    inner: P::Mutex<T>,
    label: &'static str,
}

impl<P: Primitives, T: Send + 'static> sync::Mutex<T> for WeakenedMutex<P, T> {
    type Held<'a> = <P::Mutex<T> as sync::Mutex<T>>::Held<'a>;

    fn new(label: &'static str, value: T) -> Self {
        Self { inner: P::Mutex::new(label, value), label }
    }

    fn hold(&self) -> Self::Held<'_> {
        change(Operation::Lock, self.label);
        self.inner.hold()
    }

    fn try_hold(&self) -> Option<Self::Held<'_>> {
        change(Operation::Lock, self.label);
        self.inner.try_hold()
    }

    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        change(Operation::Lock, self.label);
        self.inner.with(body)
    }
}

/// See [`Weakened`].
pub struct WeakenedParker<P: Primitives> {
    inner: P::Parker,
    label: &'static str,
}

impl<P: Primitives> sync::Parker for WeakenedParker<P> {
    fn new(label: &'static str) -> Self {
        Self { inner: P::Parker::new(label), label }
    }

    fn park(&self) {
        self.inner.park();
    }

    fn park_timeout(&self, timeout: Duration) -> Unparked {
        self.inner.park_timeout(timeout)
    }

    fn unpark(&self) {
        if change(Operation::Wake, self.label) != Some(Change::Dropped) {
            self.inner.unpark();
        }
    }
}

impl<P: Primitives> Wake for WeakenedParker<P> {
    fn wake(self: Arc<Self>) {
        let announced = || ANNOUNCED.with_borrow(|announced| announced.get(&P::thread()).copied());
        let at = if is_active() { announced() } else { None };
        let change = at.and_then(|at| change_at(at, Operation::Wake, self.label));
        if change != Some(Change::Dropped) {
            sync::Parker::unpark(&self.inner);
        }
    }
}
