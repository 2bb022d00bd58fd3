//! Operations that own what the kernel reads and writes.
//!
//! A submission queue entry is full of addresses: of the buffer, of a time, of a path. The kernel uses them
//! until the request has ended, whatever has become of the code that asked for it. So an [`Operation`] owns all
//! of it, the file included, and the reactor owns the operation until the request has ended.

mod file;
mod net;
mod poll;
mod time;

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{cqueue, opcode, squeue, types};

pub use file::{Close, Fsync, Openat, Read, Splice, Statx, Write};
pub use net::{Accept, Connect, Received, Recv, RecvMsg, RecvMulti, Send, SendMsg, SendZc, Shutdown};
pub use poll::Poll;
pub(super) use time::timespec;
pub use time::{LinkTimeout, Timeout};

use super::fixed::Fixed;
use super::support::{Unsupported, explain};

/// What the kernel says of a request in a completion queue entry.
#[derive(Debug)]
pub struct Done {
    /// The result: the number that the system call of the same name returns, or its error. If the kernel lacks
    /// the operation, the error holds an [`Unsupported`].
    pub result: io::Result<u32>,
    /// The flags of the entry, `IORING_CQE_F_...`.
    pub flags: u32,
}

impl Done {
    pub(super) fn new(entry: &cqueue::Entry, lacks: Option<Unsupported>) -> Self {
        let result = u32::try_from(entry.result())
            .map_err(|_| io::Error::from_raw_os_error(entry.result().wrapping_neg()));
        Self { result: explain(result, lacks), flags: entry.flags() }
    }
}

/// What the kernel is to do, once.
///
/// # Safety
/// Every address in the entry that [`entry`](Operation::entry) returns must stay valid as long as `self` exists
/// and is not moved and not touched, and the kernel must be free to read or write there. Every descriptor in it
/// stays open as long. The entry must not ask for `IOSQE_CQE_SKIP_SUCCESS` (its request would never end), nor
/// for `IOSQE_IO_DRAIN` (it would wait for the reactor's own read of its eventfd).
pub unsafe trait Operation: std::marker::Send + 'static {
    /// What it comes to: the result, and what was lent to the kernel.
    type Output;

    /// The submission queue entry. Called once, when `self` is where it will stay until the request has ended.
    fn entry(&mut self) -> squeue::Entry;

    /// The request has ended, and the kernel uses nothing of `self` any more.
    fn finish(self, done: Done) -> Self::Output;
}

/// What the kernel is to do again and again, one completion a time (`IORING_CQE_F_MORE`), until it fails or is
/// cancelled.
///
/// # Safety
/// As for [`Operation`].
pub unsafe trait Multishot: std::marker::Send + 'static {
    /// What one completion comes to.
    type Item;

    /// The submission queue entry. Called once, when `self` is where it will stay until the request has ended.
    fn entry(&mut self) -> squeue::Entry;

    /// One completion, the last one too. The kernel may be using `self`.
    fn shot(&self, done: Done) -> Self::Item;
}

/// What an operation is about: an open file, kept open until the operation has ended.
///
/// Anything with a descriptor: an `Arc<File>`, to keep it; the file itself, to have it closed then. Or a
/// [`Fixed`] file.
pub trait IoFile: Target + std::marker::Send + 'static {}

impl<F: Target + std::marker::Send + 'static> IoFile for F {}

/// Where the kernel finds a file. Not to be named outside: that is what seals [`IoFile`].
pub trait Target {
    fn place(&self) -> Place;
}

#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// Among the descriptors of the process.
    Fd(RawFd),
    /// In the ring's own table.
    Fixed(u32),
}

impl<F: AsFd> Target for F {
    fn place(&self) -> Place {
        Place::Fd(self.as_fd().as_raw_fd())
    }
}

impl Target for Fixed {
    fn place(&self) -> Place {
        Place::Fixed(self.index())
    }
}

/// An entry for a file, wherever the kernel finds it.
macro_rules! with_file {
    ($file:expr, |$fd:ident| $entry:expr) => {
        match $crate::uring::op::Target::place($file) {
            $crate::uring::op::Place::Fd(fd) => {
                let $fd = io_uring::types::Fd(fd);
                $entry
            }
            $crate::uring::op::Place::Fixed(index) => {
                let $fd = io_uring::types::Fixed(index);
                $entry
            }
        }
    };
}
use with_file;

/// The descriptor of a directory, of which the kernel takes no fixed files.
fn directory(file: &impl AsFd) -> types::Fd {
    types::Fd(file.as_fd().as_raw_fd())
}

/// The descriptor that a request came to, which nobody else knows of.
fn owned(done: Done) -> io::Result<OwnedFd> {
    let fd = done.result?;
    // SAFETY: the kernel has just opened it for this request.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `IORING_OP_NOP`: nothing, through the kernel and back.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nop;

// SAFETY: there are no addresses in the entry.
unsafe impl Operation for Nop {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        opcode::Nop::new().build()
    }

    fn finish(self, done: Done) -> Self::Output {
        done.result.map(drop)
    }
}

/// Any entry, with whatever has to stay alive until its request has ended. The way to the operations that are
/// not here.
#[derive(Debug)]
pub struct Raw<P> {
    entry: squeue::Entry,
    payload: P,
}

impl<P> Raw<P> {
    /// This entry, whose user data is the reactor's to choose.
    ///
    /// # Safety
    /// What [`Operation`] demands of the entry: its addresses and descriptors stay valid as long as `payload`
    /// exists, be it moved. And the completions of a multishot request come to a [`Multishot`] request only.
    pub unsafe fn new(entry: squeue::Entry, payload: P) -> Self {
        Self { entry, payload }
    }
}

// SAFETY: by the contract of `new`.
unsafe impl<P: std::marker::Send + 'static> Operation for Raw<P> {
    type Output = (Done, P);

    fn entry(&mut self) -> squeue::Entry {
        self.entry.clone()
    }

    fn finish(self, done: Done) -> Self::Output {
        (done, self.payload)
    }
}

// SAFETY: by the contract of `new`.
unsafe impl<P: std::marker::Send + 'static> Multishot for Raw<P> {
    type Item = Done;

    fn entry(&mut self) -> squeue::Entry {
        self.entry.clone()
    }

    fn shot(&self, done: Done) -> Done {
        done
    }
}
