//! Files in a ring's own table (`IOSQE_FIXED_FILE`): a request for one of them need not look its descriptor up,
//! nor count another reference to the file.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};

use io_uring::IoUring;

use super::error::Error;

/// A file in a reactor's table, for requests of that reactor: to another one it names whatever that one has
/// there. Cheap to clone. With the last clone it leaves the table, in the reactor's next turn; requests in
/// flight keep the file open.
#[derive(Debug, Clone)]
pub struct Fixed(Arc<Slot>);

impl Fixed {
    pub(super) fn index(&self) -> u32 {
        self.0.index
    }
}

#[derive(Debug)]
struct Slot {
    index: u32,
    released: Arc<Released>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.released.put(&mut vec![self.index]);
    }
}

/// Slots without a file that anybody could name.
#[derive(Debug, Default)]
struct Released {
    list: Mutex<Vec<u32>>,
    any: AtomicBool,
}

impl Released {
    fn put(&self, slots: &mut Vec<u32>) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).append(slots);
        // Unreached: an ordinary atomic. Release: pairs with the acquire swap of `any` in `sweep`, which sees the list
        // with the slots on it.
        self.any.store(true, Release);
    }
}

/// A ring's table of files.
#[derive(Debug)]
pub(super) struct Table {
    size: u32,
    spare: Vec<u32>,
    released: Arc<Released>,
}

impl Table {
    /// Registers a table of empty slots.
    pub fn new(ring: &IoUring, size: u32) -> Result<Self, Error> {
        if size > 0 {
            ring.submitter().register_files_sparse(size).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => Error::TooOld("IORING_REGISTER_FILES2 (Linux 5.13)"),
                _ => Error::Other(error),
            })?;
        }
        Ok(Self { size, spare: (0..size).rev().collect(), released: Arc::default() })
    }

    /// Puts a file into the table.
    pub fn fix(&mut self, ring: &IoUring, file: &impl AsFd) -> Result<Fixed, Error> {
        self.sweep(ring)?;
        let index = self.spare.pop().ok_or(Error::TooManyFixed(self.size))?;
        if let Err(error) = ring.submitter().register_files_update(index, &[file.as_fd().as_raw_fd()]) {
            self.spare.push(index);
            return Err(error.into());
        }
        Ok(Fixed(Arc::new(Slot { index, released: self.released.clone() })))
    }

    /// Takes the files out that nobody can name any more.
    pub fn sweep(&mut self, ring: &IoUring) -> Result<(), Error> {
        // What it overlooks comes with the next turn.
        if !self.released.any.load(Relaxed) {
            return Ok(());
        }
        // Unreached: an ordinary atomic. Acquire: pairs with the release store of `any` in `put`; without it the slots might
        // not be on the list yet.
        if !self.released.any.swap(false, Acquire) {
            return Ok(());
        }
        let mut released =
            std::mem::take(&mut *self.released.list.lock().unwrap_or_else(PoisonError::into_inner));
        while let Some(index) = released.pop() {
            const NONE: i32 = -1;
            if let Err(error) = ring.submitter().register_files_update(index, &[NONE]) {
                // Those that are left come with the next turn.
                released.push(index);
                self.released.put(&mut released);
                return Err(error.into());
            }
            self.spare.push(index);
        }
        Ok(())
    }
}
