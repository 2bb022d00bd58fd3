//! Timeouts.

use std::io;
use std::time::Duration;

use io_uring::{opcode, squeue, types};
use rustix::io::Errno;

use super::{Done, Multishot, Operation};

/// A century: what is to take longer never ends, as far as anybody will see. The kernel takes seconds as a
/// signed number, and adds them to its clock in nanoseconds, which overflows after less than three; not every
/// kernel looks out for that.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A time as the kernel takes it.
pub(in crate::uring) fn timespec(duration: Duration) -> types::Timespec {
    duration.min(CENTURY).into()
}

/// Lets time pass; as a [`Multishot`] (Linux 6.4), again and again.
///
/// `Ok` if the time has passed; cancelled before that, `ECANCELED`.
#[derive(Debug)]
pub struct Timeout {
    after: types::Timespec,
}

impl Timeout {
    /// This long from when the request is handed to the kernel; a century at most, which is to say never.
    pub fn after(duration: Duration) -> Self {
        Self { after: timespec(duration) }
    }
}

/// For the kernel the end of a timeout is an error.
fn timed(done: Done) -> io::Result<()> {
    match done.result {
        Err(error) if error.raw_os_error() == Some(Errno::TIME.raw_os_error()) => Ok(()),
        result => result.map(drop),
    }
}

// SAFETY: the time is in `self`.
unsafe impl Operation for Timeout {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        opcode::Timeout::new(&raw const self.after).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        timed(done)
    }
}

// SAFETY: as above.
unsafe impl Multishot for Timeout {
    type Item = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        opcode::Timeout::new(&raw const self.after).flags(types::TimeoutFlags::MULTISHOT).build()
    }

    fn shot(&self, done: Done) -> Self::Item {
        timed(done)
    }
}

/// Bounds the request before it in a chain: if that has not ended when the time is over, it is cancelled.
///
/// `Ok` if the time has passed; if the request ended before that, `ECANCELED`.
#[derive(Debug)]
pub struct LinkTimeout {
    after: types::Timespec,
}

impl LinkTimeout {
    /// This long from when the request before it starts; a century at most, which is to say never.
    pub fn after(duration: Duration) -> Self {
        Self { after: timespec(duration) }
    }
}

// SAFETY: the time is in `self`.
unsafe impl Operation for LinkTimeout {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        opcode::LinkTimeout::new(&raw const self.after).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        timed(done)
    }
}
