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
        self.released.list.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
        // Pairs with the reactor's swap: it sees the list with the slot on it.
        self.released.any.store(true, Release);
    }
}

/// Slots without a file that anybody could name.
#[derive(Debug, Default)]
struct Released {
    list: Mutex<Vec<u32>>,
    any: AtomicBool,
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
        // Relaxed: what it overlooks comes with the next turn. Acquire: pairs with the drop of a slot.
        if !self.released.any.load(Relaxed) || !self.released.any.swap(false, Acquire) {
            return Ok(());
        }
        let released =
            std::mem::take(&mut *self.released.list.lock().unwrap_or_else(PoisonError::into_inner));
        for index in released {
            const NONE: i32 = -1;
            ring.submitter().register_files_update(index, &[NONE])?;
            self.spare.push(index);
        }
        Ok(())
    }
}
