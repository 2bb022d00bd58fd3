//! Readiness.

use std::io;

use io_uring::{opcode, squeue};
use rustix::event::PollFlags;

use super::{Done, IoFile, Multishot, Operation, with_file};

/// Waits until a file is ready; as a [`Multishot`], each time that it becomes so.
#[derive(Debug)]
pub struct Poll<F> {
    file: F,
    events: PollFlags,
}

impl<F> Poll<F> {
    /// For any of these events; errors and hang-ups are always among them.
    pub fn new(file: F, events: PollFlags) -> Self {
        Self { file, events }
    }

    fn build(&self, multishot: bool) -> squeue::Entry
    where
        F: IoFile,
    {
        let events = self.events.bits().into();
        with_file!(&self.file, |fd| opcode::PollAdd::new(fd, events).multi(multishot).build())
    }
}

fn ready(done: Done) -> io::Result<PollFlags> {
    Ok(PollFlags::from_bits_retain(done.result? as u16))
}

// SAFETY: the file is owned, and there are no addresses in the entry.
unsafe impl<F: IoFile> Operation for Poll<F> {
    type Output = io::Result<PollFlags>;

    fn entry(&mut self) -> squeue::Entry {
        self.build(false)
    }

    fn finish(self, done: Done) -> Self::Output {
        ready(done)
    }
}

// SAFETY: as above.
unsafe impl<F: IoFile> Multishot for Poll<F> {
    type Item = io::Result<PollFlags>;

    fn entry(&mut self) -> squeue::Entry {
        self.build(true)
    }

    fn shot(&self, done: Done) -> Self::Item {
        ready(done)
    }
}
