//! What can go wrong with a ring, and what to do about it.

use std::io;

use rustix::io::Errno;

/// Why a ring could not be set up or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel has no io_uring.
    #[error(
        "this kernel has no io_uring (it needs Linux 5.11 or later, built with CONFIG_IO_URING), or a seccomp profile hides it"
    )]
    Missing,
    /// The kernel has it and does not let us.
    #[error(
        "io_uring is forbidden here: look at /proc/sys/kernel/io_uring_disabled and at the container's seccomp profile"
    )]
    Forbidden,
    /// The ring's memory would exceed what this user may lock.
    #[error("too little locked memory for an io_uring: raise `ulimit -l`, or ask for a smaller ring")]
    LockedMemory,
    /// The kernel's io_uring lacks something that cannot be done without.
    #[error("this kernel's io_uring has no {0}: a later Linux is needed")]
    TooOld(&'static str),
    /// A chain of linked requests goes to the kernel in one piece, and the submission queue is shorter than the chain.
    #[error(
        "a chain of {length} linked requests does not fit into a submission queue of {capacity}: set it up larger"
    )]
    ChainTooLong {
        /// So many requests are in the chain.
        length: usize,
        /// So many the submission queue holds.
        capacity: usize,
    },
    /// The table of fixed files is full.
    #[error(
        "there are {0} fixed files already: set the reactor up with a larger table (`Config::fixed_files`)"
    )]
    TooManyFixed(
        /// So many slots it has.
        u32,
    ),
    /// The kernel had completions to deliver, and no memory to keep them in. Their requests will never end.
    #[error(
        "the kernel ran out of memory and dropped completions: their requests are lost, set up a larger completion queue"
    )]
    CompletionsLost,
    /// The ring is this process's parent's.
    #[error("the ring belongs to the process that forked this one: set up another one here")]
    Forked,
    /// The reactor is gone.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Anything else.
    #[error("io_uring: {0}")]
    Other(#[from] io::Error),
}

impl Error {
    /// What a failed `io_uring_setup` means.
    pub(super) fn setup(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSYS) => Self::Missing,
            Some(Errno::PERM | Errno::ACCESS) => Self::Forbidden,
            Some(Errno::NOMEM) => Self::LockedMemory,
            _ => Self::Other(error),
        }
    }
}

/// The reactor is gone, or is shutting down: what was handed to it will not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reactor is closed")]
pub struct Closed;
