//! [`Traced`]: every operation leaves a row in the [trace](crate::trace), with the source line that asked for it.

use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Modify, Note, Packed, Primitives, Unparked, Word};

use crate::trace::{self, Form, Object, Op, order, stale};

/// `P`, recorded.
#[derive(Debug, Clone, Copy)]
pub struct Traced<P>(PhantomData<P>);

#[track_caller]
fn record<P: Primitives>(op: impl FnOnce(&mut [Object]) -> Op) {
    record_at::<P>(Location::caller(), op);
}

fn record_at<P: Primitives>(at: &'static Location<'static>, op: impl FnOnce(&mut [Object]) -> Op) {
    if trace::is_on() {
        trace::record(P::thread(), at, op);
    }
}

#[track_caller]
fn recorded<P: Primitives>(name: &'static str, body: impl FnOnce() + Send) -> impl FnOnce() + Send {
    let spawned = Location::caller();
    move || {
        trace::name_thread(P::thread(), name);
        body();
        record_at::<P>(spawned, |_| Op::End);
    }
}

impl<P: Primitives> Primitives for Traced<P> {
    type Atomic = TracedAtomic<P>;
    type AtomicOf<T: Word> = Packed<Self, T>;
    type Mutex<T: Send + 'static> = TracedMutex<P, T>;
    type Parker = TracedParker<P>;
    type Cell<T: Send + 'static> = TracedCell<P, T>;
    type JoinHandle = P::JoinHandle;

    fn fence(ordering: Ordering) {
        P::fence(ordering);
        record::<P>(|_| Op::Fence { order: order(ordering) });
    }

    fn spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> P::JoinHandle {
        record::<P>(|_| Op::Spawn { name: name.into() });
        P::spawn(name, recorded::<P>(name, body))
    }

    fn try_spawn(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<P::JoinHandle> {
        record::<P>(|_| Op::Spawn { name: name.into() });
        P::try_spawn(name, recorded::<P>(name, body))
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
        record::<P>(|_| note.into());
    }

    fn tearing_down() -> bool {
        P::tearing_down()
    }
}

/// An object of `P` and its place in the trace.
pub struct TracedAtomic<P: Primitives> {
    inner: P::Atomic,
    object: usize,
    form: Form,
}

impl<P: Primitives> TracedAtomic<P> {
    #[track_caller]
    fn rmw(&self, ordering: Ordering, read: usize, wrote: Option<usize>) {
        let (read, wrote) = (self.form.unpacked(read), wrote.map(|wrote| self.form.unpacked(wrote)));
        record::<P>(|objects| {
            let newest = &mut objects[self.object].newest;
            let stale = stale(*newest, read);
            *newest = wrote.unwrap_or(*newest);
            Op::Rmw { object: self.object, order: order(ordering), read, wrote, stale }
        });
    }

    #[track_caller]
    fn exchanged(
        &self,
        new: usize,
        [ok, err]: [Ordering; 2],
        result: Result<usize, usize>,
    ) -> Result<usize, usize> {
        match result {
            Ok(read) => self.rmw(ok, read, Some(new)),
            Err(read) => self.rmw(err, read, None),
        }
        result
    }
}

impl<P: Primitives> sync::Atomic for TracedAtomic<P> {
    fn new(label: &'static str, value: usize) -> Self {
        let form = Form::default();
        Self { inner: P::Atomic::new(label, value), object: trace::object(label, value, form), form }
    }

    fn packed(label: &'static str, value: usize, bits: u32) -> Self {
        let form = Form { bits, ..Form::default() };
        let object = trace::object(label, form.unpacked(value), form);
        Self { inner: P::Atomic::packed(label, value, bits), object, form }
    }

    fn load(&self, ordering: Ordering) -> usize {
        let value = self.inner.load(ordering);
        let read = self.form.unpacked(value);
        record::<P>(|objects| {
            let stale = stale(objects[self.object].newest, read);
            Op::Load { object: self.object, order: order(ordering), read, stale }
        });
        value
    }

    fn store(&self, value: usize, ordering: Ordering) {
        self.inner.store(value, ordering);
        let wrote = self.form.unpacked(value);
        record::<P>(|objects| {
            objects[self.object].newest = wrote;
            Op::Store { object: self.object, order: order(ordering), wrote }
        });
    }

    fn modify(&self, by: Modify<usize>, ordering: Ordering) -> usize {
        let read = self.inner.modify(by, ordering);
        self.rmw(ordering, read, Some(by.apply(read)));
        if matches!(by, Modify::And(_) | Modify::Or(_) | Modify::Xor(_)) {
            trace::is_mask(self.object);
        }
        read
    }

    fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        ok: Ordering,
        err: Ordering,
    ) -> Result<usize, usize> {
        self.exchanged(new, [ok, err], self.inner.compare_exchange(current, new, ok, err))
    }

    fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        ok: Ordering,
        err: Ordering,
    ) -> Result<usize, usize> {
        self.exchanged(new, [ok, err], self.inner.compare_exchange_weak(current, new, ok, err))
    }
}

/// See [`Traced`].
pub struct TracedMutex<P: Primitives, T: Send + 'static> {
    inner: P::Mutex<T>,
    object: usize,
}

/// A lock of [`Traced`], held. It is given back where it was taken, as far as the trace shows: a destructor
/// has no line.
pub struct TracedHeld<'a, P: Primitives, T: Send + 'static> {
    inner: <P::Mutex<T> as sync::Mutex<T>>::Held<'a>,
    object: usize,
    at: &'static Location<'static>,
}

impl<P: Primitives, T: Send + 'static> Deref for TracedHeld<'_, P, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<P: Primitives, T: Send + 'static> DerefMut for TracedHeld<'_, P, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<P: Primitives, T: Send + 'static> Drop for TracedHeld<'_, P, T> {
    fn drop(&mut self) {
        // Still inside: nobody else can be recorded as the next owner before this.
        record_at::<P>(self.at, |_| Op::Unlock { object: self.object });
    }
}

impl<P: Primitives, T: Send + 'static> sync::Mutex<T> for TracedMutex<P, T> {
    type Held<'a> = TracedHeld<'a, P, T>;

    fn new(label: &'static str, value: T) -> Self {
        Self { inner: P::Mutex::new(label, value), object: trace::object(label, 0, Form::default()) }
    }

    fn hold(&self) -> Self::Held<'_> {
        // Only who goes on waiting for ever is shown to wait.
        record::<P>(|_| Op::Await { object: self.object });
        let inner = self.inner.hold();
        record::<P>(|_| Op::Lock { object: self.object });
        TracedHeld { inner, object: self.object, at: Location::caller() }
    }

    fn try_hold(&self) -> Option<Self::Held<'_>> {
        let Some(inner) = self.inner.try_hold() else {
            record::<P>(|_| Op::NotLocked { object: self.object });
            return None;
        };
        record::<P>(|_| Op::Lock { object: self.object });
        Some(TracedHeld { inner, object: self.object, at: Location::caller() })
    }
}

/// See [`Traced`].
pub struct TracedParker<P: Primitives> {
    inner: P::Parker,
    object: usize,
}

impl<P: Primitives> sync::Parker for TracedParker<P> {
    fn new(label: &'static str) -> Self {
        Self { inner: P::Parker::new(label), object: trace::object(label, 0, Form::default()) }
    }

    fn park(&self) {
        self.park_timeout(Duration::MAX);
    }

    fn park_timeout(&self, timeout: Duration) -> Unparked {
        let timed = timeout < Duration::MAX;
        record::<P>(|_| Op::Park { object: self.object, timed });
        let unparked = self.inner.park_timeout(timeout);
        record::<P>(|_| Op::Woken { object: self.object, early: unparked == Unparked::Early });
        unparked
    }

    fn unpark(&self) {
        // Before it takes effect, so that the row stands above what the woken thread does then.
        record::<P>(|_| Op::Unpark { object: self.object });
        self.inner.unpark();
    }
}

impl<P: Primitives> Wake for TracedParker<P> {
    fn wake(self: Arc<Self>) {
        sync::Parker::unpark(&*self);
    }
}

/// See [`Traced`].
pub struct TracedCell<P: Primitives, T: Send + 'static> {
    inner: P::Cell<T>,
    object: usize,
}

impl<P: Primitives, T: Send + 'static> sync::Cell<T> for TracedCell<P, T> {
    fn new(label: &'static str, value: T) -> Self {
        Self { inner: P::Cell::new(label, value), object: trace::object(label, 0, Form::default()) }
    }

    fn with<R>(&self, body: impl FnOnce(*const T) -> R) -> R {
        record::<P>(|_| Op::Read { object: self.object });
        self.inner.with(body)
    }

    fn with_mut<R>(&self, body: impl FnOnce(*mut T) -> R) -> R {
        record::<P>(|_| Op::Write { object: self.object });
        self.inner.with_mut(body)
    }
}
