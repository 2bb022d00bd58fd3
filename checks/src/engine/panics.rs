//! Engines report by panicking. Here a panic becomes a message and who raised it, and nothing is printed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, UnwindSafe};
use std::sync::Once;

/// A panic that ended a search.
#[derive(Debug)]
pub struct Panic {
    /// What it says. Whoever raised it chose the text, so the text alone tells nothing.
    pub message: String,
    /// By whom.
    pub raised: Raised,
}

/// In whose source a panic was raised; of an engine's, the file below its `src`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raised {
    /// The code that is searched.
    Program,
    /// Loom.
    Loom(String),
    /// Shuttle.
    Shuttle(String),
    /// The stack of a coroutine of loom's has overflowed
    Overflow,
}

impl Raised {
    /// Cargo keeps the source of a crate in a directory `name-version`, or, vendored, in `name`.
    pub fn within(path: &str) -> Self {
        let Some((before, file)) = path.rsplit_once("/src/") else { return Self::Program };
        let directory = before.rsplit('/').next().unwrap_or_default();
        let name = match directory.rsplit_once('-') {
            Some((name, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => name,
            _ => directory,
        };
        match name {
            "loom" => Self::Loom(file.into()),
            "shuttle" | "shuttle-engine" | "shuttle-schedulers" | "shuttle-std" => Self::Shuttle(file.into()),
            _ => Self::Program,
        }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    /// The panics of the running execution. The program may catch some of them, and engines unwind the other
    /// threads' stacks after the first, so neither the first nor the last has to be the one that ends the
    /// search.
    static SEEN: RefCell<Vec<Panic>> = const { RefCell::new(Vec::new()) };
}

/// Another execution begins.
pub(super) fn begin() {
    SEEN.with_borrow_mut(Vec::clear);
}

/// Whether the running execution is dead: a panic has ended it, which is no
/// [scripted](crate::flavour::ScriptedPanic) one, and unwinds the stack. What destructors do then is no part
/// of it, and the engine would panic at it, which ends the process.
pub(crate) fn is_dead() -> bool {
    std::thread::panicking() && SEEN.with_borrow(|seen| !seen.is_empty())
}

/// Runs `body`, and returns the panic that it ends with, if it does.
pub fn quietly(body: impl FnOnce() + UnwindSafe) -> Result<(), Panic> {
    install_hook();
    begin();
    QUIET.set(true);
    let result = panic::catch_unwind(body);
    QUIET.set(false);
    result.map_err(|payload| {
        if matches!(payload.downcast_ref(), Some(generator::Error::StackErr)) {
            return Panic { message: String::new(), raised: Raised::Overflow };
        }
        let message = message(&*payload);
        let seen = SEEN.take().into_iter().rev().find(|seen| seen.message == message);
        // The hook does not see what is raised by `resume_unwind`. Engines only hand on with it what they
        // have caught.
        seen.unwrap_or(Panic { message, raised: Raised::Program })
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|&message| message.into()))
        .unwrap_or_else(|| "a panic without a message".into())
}

/// Puts a hook in front that for the threads that run a search notes who panics and is silent, and for all
/// others is the program's own hook.
///
/// Shuttle and the exact engine install their hooks with the first execution of the process, for good and for
/// all threads. So they are made to do that here. Shuttle's is dropped; the exact engine's lets the panics of
/// others through. Loom installs a handler of stack overflows in the same way, which does not expect those of
/// other engines; so the exact engine's comes after it.
fn install_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let _ = panic::catch_unwind(|| ::loom::model::Builder::new().check(|| ()));
        reveille_model::code::prepare();
        let program = panic::take_hook();
        ::shuttle::check_dfs(|| (), Some(1));
        panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                let raised = info.location().map_or(Raised::Program, |at| Raised::within(at.file()));
                let seen = Panic { message: message(info.payload()), raised };
                SEEN.with_borrow_mut(|all| all.push(seen));
            } else {
                program(info);
            }
        }));
    });
}
