//! [`Traced`]: every operation leaves a row in the [trace](crate::trace), with the source line that asked for it.

use std::io;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Wake;
use std::time::Duration;

use reveille::sync::{self, Note, Primitives, Unparked};

use crate::trace::{self, Object, Op, order, stale};

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
}

impl<P: Primitives> TracedAtomic<P> {
    #[track_caller]
    fn rmw(&self, ordering: Ordering, read: usize, wrote: Option<usize>) {
        record::<P>(|objects| {
            let newest = &mut objects[self.object].newest;
            let stale = stale(*newest, read);
            *newest = wrote.unwrap_or(*newest);
            Op::Rmw { object: self.object, order: order(ordering), read, wrote, stale }
        });
    }
}

impl<P: Primitives> sync::Atomic for TracedAtomic<P> {
    fn new(label: &'static str, value: usize) -> Self {
        Self { inner: P::Atomic::new(label, value), object: trace::object(label, value) }
    }

    fn load(&self, ordering: Ordering) -> usize {
        let read = self.inner.load(ordering);
        record::<P>(|objects| {
            let stale = stale(objects[self.object].newest, read);
            Op::Load { object: self.object, order: order(ordering), read, stale }
        });
        read
    }

    fn store(&self, value: usize, ordering: Ordering) {
        self.inner.store(value, ordering);
        record::<P>(|objects| {
            objects[self.object].newest = value;
            Op::Store { object: self.object, order: order(ordering), wrote: value }
        });
    }

    fn swap(&self, value: usize, ordering: Ordering) -> usize {
        let read = self.inner.swap(value, ordering);
        self.rmw(ordering, read, Some(value));
        read
    }

    fn fetch_add(&self, value: usize, ordering: Ordering) -> usize {
        let read = self.inner.fetch_add(value, ordering);
        self.rmw(ordering, read, Some(read.wrapping_add(value)));
        read
    }

    fn fetch_sub(&self, value: usize, ordering: Ordering) -> usize {
        let read = self.inner.fetch_sub(value, ordering);
        self.rmw(ordering, read, Some(read.wrapping_sub(value)));
        read
    }

    fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        ok: Ordering,
        err: Ordering,
    ) -> Result<usize, usize> {
        let result = self.inner.compare_exchange(current, new, ok, err);
        match result {
            Ok(read) => self.rmw(ok, read, Some(new)),
            Err(read) => self.rmw(err, read, None),
        }
        result
    }
}

/// See [`Traced`].
pub struct TracedMutex<P: Primitives, T: Send + 'static> {
    inner: P::Mutex<T>,
    object: usize,
}

impl<P: Primitives, T: Send + 'static> sync::Mutex<T> for TracedMutex<P, T> {
    fn new(label: &'static str, value: T) -> Self {
        Self { inner: P::Mutex::new(label, value), object: trace::object(label, 0) }
    }

    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        let at = Location::caller();
        self.inner.with(|value| {
            record_at::<P>(at, |_| Op::Lock { object: self.object });
            let result = body(value);
            // Still inside: nobody else can be recorded as the next owner before this.
            record_at::<P>(at, |_| Op::Unlock { object: self.object });
            result
        })
    }
}

/// See [`Traced`].
pub struct TracedParker<P: Primitives> {
    inner: P::Parker,
    object: usize,
}

impl<P: Primitives> sync::Parker for TracedParker<P> {
    fn new(label: &'static str) -> Self {
        Self { inner: P::Parker::new(label), object: trace::object(label, 0) }
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
        Self { inner: P::Cell::new(label, value), object: trace::object(label, 0) }
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
