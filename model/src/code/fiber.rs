//! Coroutines that threads of the program run on. A fiber is used again for the next thread: making a stack is dear.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Once;

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::overflow::{self, Guarded};

/// A thread's code.
pub(super) type Body = Box<dyn FnOnce() + 'static>;

/// How a thread's code came to its end.
pub(super) enum Ended {
    /// It returned
    Returned,
    /// It panicked, with this payload
    Panicked(Box<dyn Any + Send>),
    /// It was taken down
    TakenDown,
    /// Its stack overflowed, and has been given up
    Overflowed,
}

/// The payload by which a thread is taken down.
pub(super) struct TakeDown;

/// A stack with a thread's code on it, or none.
pub(super) struct Fiber {
    coroutine: Coroutine<(), Option<Ended>, Ended>,
    body: Rc<Cell<Option<Body>>>,
    yielder: Rc<Cell<*const Yielder<(), Option<Ended>>>>,
    guarded: Guarded,
}

thread_local! {
    /// The yielder of the fiber that runs on this thread of the machine; null outside of all.
    static RUNNING: Cell<*const Yielder<(), Option<Ended>>> = const { Cell::new(std::ptr::null()) };
}

thread_local! {
    /// Whether the engine's own code runs on the fiber, or ran when it panicked.
    static IN_ENGINE: Cell<bool> = const { Cell::new(false) };

    /// The text of the last panic of the program.
    static MESSAGE: Cell<Option<String>> = const { Cell::new(None) };
}

thread_local! {
    /// Fibers without a thread. Searches of a few executions would spend most of their time on making some.
    /// Boxed: a fiber must not move while it runs, and it goes from here to a thread and back.
    #[expect(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Fiber>>> = const { RefCell::new(Vec::new()) };
}

/// A fiber without a thread, one of those that this thread of the machine has if there is one.
pub(super) fn take() -> Box<Fiber> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new(Fiber::new()))
}

/// Keeps a fiber for the next thread.
pub(super) fn keep(fiber: Box<Fiber>) {
    SPARE.with_borrow_mut(|spare| spare.push(fiber));
}

/// The size of a stack. What a thread does not use of it costs addresses only.
pub(super) const STACK: usize = 1024 * 1024;

/// So much of it is for the engine: a thread that has less left may not ask for an operation.
const ENGINE: usize = 128 * 1024;

impl Fiber {
    pub fn new() -> Self {
        let body: Rc<Cell<Option<Body>>> = Rc::default();
        let yielder = Rc::new(Cell::new(std::ptr::null()));
        let stack = DefaultStack::new(STACK).expect("memory for the stack of a thread of the program");
        let limit = stack.limit().get();
        let coroutine = Coroutine::with_stack(stack, {
            let (body, own) = (body.clone(), yielder.clone());
            move |yielder: &Yielder<(), Option<Ended>>, ()| {
                own.set(yielder);
                RUNNING.set(yielder);
                loop {
                    if let Some(body) = body.take() {
                        let ended = match panic::catch_unwind(AssertUnwindSafe(body)) {
                            Ok(()) => Ended::Returned,
                            Err(payload) if payload.is::<TakeDown>() => Ended::TakenDown,
                            Err(payload) => Ended::Panicked(payload),
                        };
                        yielder.suspend(Some(ended));
                    } else {
                        yielder.suspend(None);
                    }
                }
            }
        });
        let guarded = Guarded { limit, trap: coroutine.trap_handler() };
        Fiber { coroutine, body, yielder, guarded }
    }

    /// The lowest address of the stack at which an operation may be asked for.
    #[inline]
    pub fn floor(&self) -> usize {
        self.guarded.limit + ENGINE
    }

    /// Gives it a thread's code, which the next resume starts.
    pub fn start(&mut self, body: Body) {
        self.body.set(Some(body));
    }

    /// Goes on until the code suspends itself or ends. After an overflow it is of no more use, and must not
    /// be dropped.
    pub fn resume(&mut self) -> Option<Ended> {
        RUNNING.set(self.yielder.get());
        overflow::watch(&raw const self.guarded);
        let result = self.coroutine.resume(());
        overflow::watch(std::ptr::null());
        RUNNING.set(std::ptr::null());
        match result {
            CoroutineResult::Yield(ended) => ended,
            CoroutineResult::Return(ended) => Some(ended),
        }
    }

    /// Takes back code that was not started.
    pub fn take(&mut self) -> Option<Body> {
        self.body.take()
    }
}

/// Suspends the fiber that runs, until it is resumed.
pub(super) fn suspend() {
    let yielder = RUNNING.get();
    assert!(!yielder.is_null(), "an operation outside of a thread of the program");
    // SAFETY: the yielder lives on the stack of its coroutine, whose body never returns, and RUNNING is that of the
    // coroutine we run on: `resume` sets it before it switches, and resets it after.
    unsafe { &*yielder }.suspend(None);
}

/// Keeps the panics of programs quiet: they are part of what the search reports. All others go to the hook
/// that was there.
pub(super) fn quiet_panics() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !is_running() || IN_ENGINE.get() {
                others(info);
            } else {
                if super::is_taken_down() {
                    // On an unwinding stack this is the last that the process says.
                    eprintln!(
                        "A destructor panics while an execution that cannot go on is taken down. If nothing catches \
                         that, the process ends here: {info}"
                    );
                }
                MESSAGE.set(info.payload_as_str().map(str::to_owned));
            }
        }));
    });
}

/// Runs the engine's own code, on a fiber. If it panics, that is not the program's panic: it is shown, and
/// ends the search.
#[inline]
pub(super) fn in_engine<R>(body: impl FnOnce() -> R) -> R {
    IN_ENGINE.set(true);
    let result = body();
    IN_ENGINE.set(false);
    result
}

/// Whether [`in_engine`] did not come to its end.
#[inline]
pub(super) fn has_engine_panicked() -> bool {
    IN_ENGINE.get()
}

/// Forgets that it did not.
pub(super) fn forget_engine_panic() {
    IN_ENGINE.set(false);
}

/// About where the running stack ends.
#[inline(always)]
pub(super) fn stack_pointer() -> usize {
    let here = 0u8;
    (&raw const here).addr()
}

/// The text of the last panic of the program, if it had one, which is then forgotten.
pub(super) fn last_message() -> Option<String> {
    MESSAGE.take()
}

/// Whether a fiber runs.
pub(super) fn is_running() -> bool {
    !RUNNING.get().is_null()
}

/// Whether a fiber runs, and the program's code on it.
#[inline]
pub(super) fn is_program() -> bool {
    !RUNNING.get().is_null() && !IN_ENGINE.get()
}
