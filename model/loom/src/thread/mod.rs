//! Threads of the program: as many as an execution has use for, up to 200.

mod local;
mod scope;

use std::cell::UnsafeCell;
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use reveille_model::code::{self, Kind, Late};

use crate::rt::rules::{Rule, without};
use crate::rt::{self, At, EndsLocals, Freak, spin};

pub use std::thread::panicking;

pub use self::local::{AccessError, LocalKey};
pub use self::scope::{Scope, ScopedJoinHandle, scope};

/// A handle of a thread.
#[derive(Clone)]
pub struct Thread {
    inner: Arc<Inner>,
}

struct Inner {
    id: ThreadId,
    name: Option<String>,
    /// What a park waits for
    token: Late,
}

/// The number of a thread in its execution.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ThreadId {
    number: usize,
}

impl fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadId({})", self.number)
    }
}

impl Thread {
    fn new(number: usize, name: Option<String>) -> Self {
        Thread { inner: Arc::new(Inner { id: ThreadId { number }, name, token: Late::new() }) }
    }

    /// Its number.
    pub fn id(&self) -> ThreadId {
        self.inner.id
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Lets the thread's park return, this one or the next.
    #[track_caller]
    pub fn unpark(&self) {
        let token = self.inner.token.location("parker", Kind::Token, |_| 0);
        if !without(Rule::UnparksArrive) {
            rt::put(token, Release, Location::caller());
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("id", &self.id()).field("name", &self.name()).finish()
    }
}

/// The running thread.
pub fn current() -> Thread {
    if let Some(known) = rt::own(|own| own.thread.clone()) {
        return known;
    }
    let made = Thread::new(code::thread(), None);
    rt::own(|own| own.thread = Some(made.clone()));
    made
}

/// Waits for an [`unpark`](Thread::unpark), if none has come since the last park.
#[track_caller]
pub fn park() {
    park_at(false, Location::caller());
}

/// The same. That the time is over happens as often as `LOOM_TIMEOUTS` says.
#[track_caller]
pub fn park_timeout(duration: Duration) {
    let _ = duration;
    park_at(true, Location::caller());
}

fn park_at(has_limit: bool, source: At) {
    if has_limit && rt::happens(Freak::Timeout, source) || rt::happens(Freak::SpuriousWake, source) {
        return;
    }
    let thread = current();
    rt::take(thread.inner.token.location("parker", Kind::Token, |_| 0), Acquire, source);
}

/// Lets others run. To the search this is a [hint](crate::hint::spin_loop): it tries all orders in any case.
#[track_caller]
pub fn yield_now() {
    spin::hint();
}

/// No time passes in an execution: the same as [`yield_now`].
#[track_caller]
pub fn sleep(duration: Duration) {
    let _ = duration;
    spin::hint();
}

/// What a thread leaves when it ends.
struct Outcome<T> {
    value: UnsafeCell<Option<T>>,
}

// SAFETY: it is written by the thread before its end, and read by who has waited for that; the engine runs
// one thread at a time.
unsafe impl<T> Sync for Outcome<T> {}
// SAFETY: the same. What a thread leaves may be of a type that is not `Send`: it stays on this thread of the machine.
unsafe impl<T> Send for Outcome<T> {}

impl<T> Outcome<T> {
    fn leave(&self, value: T) {
        // SAFETY: nobody looks at it before the thread has ended.
        unsafe { *self.value.get() = Some(value) };
    }
}

/// A thread that can be waited for.
pub struct JoinHandle<T> {
    native: code::Thread,
    thread: Thread,
    outcome: Arc<Outcome<T>>,
}

impl<T> JoinHandle<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// If the execution is being taken down. A thread that panics ends the execution, so nobody learns of that here.
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        spin::breaks();
        self.native.join();
        // SAFETY: the thread has ended, or the execution is being taken down; nobody else has a handle.
        let value = unsafe { (*self.outcome.value.get()).take() };
        value.ok_or_else(|| Box::new("the execution is taken down") as _)
    }

    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// Starts a thread.
#[track_caller]
pub fn spawn<F, T>(body: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    start(None, body, Location::caller())
}

/// Starts threads with names.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
}

impl Builder {
    /// Of a thread without a name.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Gives it a name.
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// The size of the stack is 1 MiB, whatever is asked for.
    pub fn stack_size(self, size: usize) -> Builder {
        let _ = size;
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// None: a thread can always be started.
    #[track_caller]
    pub fn spawn<F, T>(self, body: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        Ok(start(self.name, body, Location::caller()))
    }
}

fn start<T: 'static>(name: Option<String>, body: impl FnOnce() -> T + 'static, source: At) -> JoinHandle<T> {
    let outcome = Arc::new(Outcome { value: UnsafeCell::new(None) });
    let leaves = outcome.clone();
    let (native, thread) = start_code(name, Box::new(move || leaves.leave(body())), source);
    JoinHandle { native, thread, outcome }
}

fn start_code(name: Option<String>, body: Box<dyn FnOnce()>, source: At) -> (code::Thread, Thread) {
    spin::breaks();
    let label = name.as_deref().map_or("thread", rt::interned);
    // The number is known when the thread is there: the first one to have it, that thread or its starter, makes
    // the handle.
    let slot: Rc<std::cell::OnceCell<Thread>> = Rc::default();
    let native = {
        let (slot, name) = (slot.clone(), name.clone());
        let body = move || {
            let thread = slot.get_or_init(|| Thread::new(code::thread(), name)).clone();
            rt::own(|own| own.thread = Some(thread));
            let _locals = EndsLocals;
            body();
        };
        code::spawn_at(label, body, source)
    };
    let thread = slot.get_or_init(|| Thread::new(native.number(), name)).clone();
    (native, thread)
}
