//! Engines report by panicking. Here a panic becomes a message, and nothing is printed.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, UnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body`; a panic in it is its message.
pub(crate) fn quietly(body: impl FnOnce() + UnwindSafe) -> Result<(), String> {
    install_hook();
    QUIET.set(true);
    let result = panic::catch_unwind(body);
    QUIET.set(false);
    result.map_err(|payload| message(&*payload))
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|&message| message.into()))
        .unwrap_or_else(|| "a panic without a message".into())
}

/// Puts a hook in front that is silent for the threads that run a search, and the program's own hook for all others.
///
/// Shuttle installs its hook with the first execution of the process, for good and for all threads. So it is made to
/// do that here, and then its hook is dropped.
fn install_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let program = panic::take_hook();
        ::shuttle::check_dfs(|| (), Some(1));
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                program(info);
            }
        }));
    });
}
