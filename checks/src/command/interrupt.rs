//! Ctrl-C: the commands that print tables print what is finished, instead of throwing it away.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C is noted, and a second one ends the program at once.
pub fn listen() {
    extern "C" fn note(_: libc::c_int) {
        REQUESTED.store(true, Relaxed);
    }
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| handle(note as *const () as libc::sighandler_t));
}

/// For a child: its parent ends it when it is time.
pub fn ignore() {
    handle(libc::SIG_IGN);
}

/// Whether there was a Ctrl-C.
pub fn requested() -> bool {
    REQUESTED.load(Relaxed)
}

fn handle(handler: libc::sighandler_t) {
    // SAFETY: `action` is initialised; `handler` is `SIG_IGN` or a function that is safe in a signal
    // handler: it stores to an atomic and nothing else.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESETHAND;
        libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
    }
}
