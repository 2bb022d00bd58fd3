//! A stack of the program that overflows: the execution ends, and not the process.
//!
//! Below each fiber's stack is a page that nobody may touch. Who does is sent a signal. The handler sees that the address is in
//! that page of the running fiber, and has the fiber return instead of going on.

use corosensei::trap::CoroutineTrapHandler;

use super::fiber::Ended;

/// A stack, and the way back from it.
pub(super) struct Guarded {
    /// Its lowest address, that of the guard page
    pub limit: usize,
    pub trap: CoroutineTrapHandler<Ended>,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) use signal::{install, watch};

/// Elsewhere an overflow ends the process, as that of any stack.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) fn install() {}

/// See [`install`].
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) fn watch(_: *const Guarded) {}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod signal {
    use std::cell::Cell;
    use std::ffi::{c_int, c_void};
    use std::mem::MaybeUninit;
    use std::sync::OnceLock;

    use super::Guarded;
    use crate::code::fiber::Ended;

    /// The page below a stack.
    const GUARD: usize = 4096;

    thread_local! {
        /// The stack of the fiber that runs on this thread of the machine. It has no destructor and is initialized at compile
        /// time, so that a signal handler may read it.
        static RUNNING: Cell<*const Guarded> = const { Cell::new(std::ptr::null()) };
    }

    /// The handler that was there before, for all faults that are none of ours: Rust's own, which tells of the overflows of other threads.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    /// Says which stack is the running one; null if none is. It stays valid until another is named.
    #[inline]
    pub(in crate::code) fn watch(stack: *const Guarded) {
        RUNNING.set(stack);
    }

    /// Installs the handler, once in the process.
    ///
    /// It runs on the alternate stack that Rust gives to the main thread and to each that it starts. On a thread without one, an overflow ends
    /// the process as ever.
    pub(in crate::code) fn install() {
        static INSTALL: std::sync::Once = std::sync::Once::new();
        INSTALL.call_once(|| {
            let mut before = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: all bits zero is a valid `sigaction`; the calls read and write those given to them. The handler is put in
            // place only after the one before it is kept, so that it always finds it.
            unsafe {
                if libc::sigaction(libc::SIGSEGV, std::ptr::null(), before.as_mut_ptr()) != 0 {
                    return;
                }
                let _ = BEFORE.set(before.assume_init());
                let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                action.sa_sigaction =
                    handle as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
            }
        });
    }

    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel hands over a valid `siginfo_t`, and that of a SIGSEGV has an address.
        let address = unsafe { (*info).si_addr() } as usize;
        // SAFETY: it is null or that of the fiber which runs on this thread.
        match unsafe { RUNNING.get().as_ref() } {
            Some(stack) if (stack.limit..stack.limit + GUARD).contains(&address) => {
                // Another fault before the fiber has returned is somebody else's.
                RUNNING.set(std::ptr::null());
                // SAFETY: the fault is in the guard page of the fiber that runs on this very thread, so the interrupted context
                // is on its stack, and the fiber is alive. Its frames are discarded, which runs no destructor: whoever resumed it gets
                // `Overflowed` and never touches again what the frames may have left half done. The context is a
                // `ucontext_t`, whose registers are set as the trap handler wants them.
                unsafe {
                    let registers = stack.trap.setup_trap_handler(|| Ended::Overflowed);
                    let context = &mut *context.cast::<libc::ucontext_t>();
                    let set = &mut context.uc_mcontext.gregs;
                    set[libc::REG_RIP as usize] = registers.rip as i64;
                    set[libc::REG_RSP as usize] = registers.rsp as i64;
                    set[libc::REG_RBP as usize] = registers.rbp as i64;
                    set[libc::REG_RDI as usize] = registers.rdi as i64;
                    set[libc::REG_RSI as usize] = registers.rsi as i64;
                }
            }
            _ => pass_on(signal, info, context),
        }
    }

    /// Leaves a fault to whoever handled faults before.
    fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        let before = BEFORE.get().expect("it is kept before this handler is in place");
        match before.sa_sigaction {
            // The faulting instruction is executed again, and the fault then ends the process.
            libc::SIG_DFL | libc::SIG_IGN => {
                // SAFETY: the default action is put back.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            // SAFETY: it is a handler of the kind that the flags say, as whoever installed it has promised.
            handler => unsafe {
                if before.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(handler);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(handler);
                    handler(signal);
                }
            },
        }
    }
}
