//! A stack of the program that overflows: the execution ends, and not the process.
//!
//! Below each fiber's stack is a page that nobody may touch. Who does is sent a signal. The handler sees that
//! the address is in that page of the running fiber, and has the fiber return instead of going on.

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
    use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::Guarded;
    use crate::code::fiber::Ended;

    /// The page below a stack.
    const GUARD: usize = 4096;

    thread_local! {
        /// The stack of the fiber that runs on this thread of the machine. It has no destructor and is
        /// initialized at compile time, so that a signal handler may read it.
        static RUNNING: Cell<*const Guarded> = const { Cell::new(std::ptr::null()) };
    }

    /// What was there before this handler came for the first time: Rust's own handler, which tells of the
    /// overflows of other threads.
    static FIRST: OnceLock<libc::sigaction> = OnceLock::new();

    /// What was there before it came for the last time: maybe that of a library which came in between. It is
    /// never freed.
    static LATEST: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

    /// How many faults were left to others since then.
    static PASSED_ON: AtomicU32 = AtomicU32::new(0);

    /// Says which stack is the running one; null if none is. It stays valid until another is named.
    #[inline]
    pub(in crate::code) fn watch(stack: *const Guarded) {
        RUNNING.set(stack);
    }

    /// Installs the handler, if it is not the one that is asked first.
    ///
    /// It runs on the alternate stack that Rust gives to the main thread and to each that it starts. On a
    /// thread without one, an overflow ends the process as ever.
    pub(in crate::code) fn install() {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = handle as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
        let mut before = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all bits zero is a valid `sigaction`; the calls read and write those given to them. The
        // handler is put in place only after what was before it is kept, so that it always finds that.
        unsafe {
            let is_known = libc::sigaction(libc::SIGSEGV, std::ptr::null(), before.as_mut_ptr()) == 0;
            let before = before.assume_init();
            if !is_known || before.sa_sigaction == ours {
                return;
            }
            let _ = FIRST.set(before);
            LATEST.store(Box::leak(Box::new(before)), SeqCst);
            PASSED_ON.store(0, SeqCst);
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = ours;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        }
    }

    extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        // SAFETY: the kernel hands over a valid `siginfo_t`, and that of a SIGSEGV has an address.
        let address = unsafe { (*info).si_addr() } as usize;
        // SAFETY: it is null or that of the fiber which runs on this thread.
        match unsafe { RUNNING.get().as_ref() } {
            Some(stack) if (stack.limit..stack.limit + GUARD).contains(&address) => {
                // Another fault before the fiber has returned is somebody else's.
                RUNNING.set(std::ptr::null());
                // SAFETY: the fault is in the guard page of the fiber that runs on this very thread, so the
                // interrupted context is on its stack, and the fiber is alive. Its frames are discarded,
                // which runs no destructor: whoever resumed it gets `Overflowed` and never touches again what
                // the frames may have left half done. The context is a `ucontext_t`, whose registers are set
                // as the trap handler wants them.
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
            _ => pass_on(signal),
        }
    }

    /// Leaves a fault to whoever handled faults before: puts that handler in place, and the faulting
    /// instruction is executed again. One that does not want the fault either may put this one back in turn;
    /// then it goes to the first.
    fn pass_on(signal: c_int) {
        let latest = LATEST.load(SeqCst).cast_const();
        let first = FIRST.get().map_or(latest, std::ptr::from_ref);
        let before = if PASSED_ON.fetch_add(1, SeqCst) == 0 { latest } else { first };
        // SAFETY: both were kept before this handler was in place, and are never freed.
        unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
    }
}
