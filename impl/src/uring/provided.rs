//! Buffers that the kernel takes from when something has arrived, and not before: ten thousand idle connections
//! need none.
//!
//! The buffers are on a ring that the kernel reads: an entry names one that is free. The kernel takes the next
//! entry when it has something to put into it, and its completion says which buffer that was. A [`Provided`] is
//! this buffer, until it is dropped: then it goes to the ring's end.
//!
//! *Who writes when.* The kernel writes into buffers that are on the ring only, and reads entries before the
//! tail only. A buffer is on the ring or a `Provided`, never both: it comes off with the completion that names
//! it, and goes back when the one `Provided` that was made of it is dropped. Entries are written under the
//! lock, before the tail is.
//!
//! *Whose ring.* The kernel knows it by a number, and a request brings the number only. So no two rings of this
//! process have the same: a request that goes to another reactor than its buffers finds no ring there, and
//! fails.

use std::io;
use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use slab::Slab;

use super::error::Error;
use super::support::{Support, Unsupported, explain};

/// A ring of buffers that the kernel takes from: [`Reactor::provide_buffers`](super::Reactor::provide_buffers).
/// Cheap to clone. The reactor has it as long as it lives.
#[derive(Debug, Clone)]
pub struct BufferRing(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    group: Group,
    /// The entries, and behind them the buffers.
    memory: Memory,
    /// A power of two.
    count: u16,
    size: usize,
    /// What the kernel lacks to receive into it.
    lacks: Option<Unsupported>,
    /// The tail, of which the kernel has a copy behind the first entry.
    tail: Mutex<u16>,
}

impl BufferRing {
    /// Registers a ring of so many buffers, all free.
    pub(super) fn new(ring: &IoUring, support: &Support, count: u16, size: u32) -> Result<Self, Error> {
        const MOST: u16 = 1 << 15;
        let (count, size) = (count.clamp(1, MOST).next_power_of_two(), size.max(1) as usize);
        let bytes = size.checked_mul(count.into()).and_then(|bytes| bytes.checked_add(entries(count)));
        let memory = bytes.ok_or(Errno::NOMEM).and_then(Memory::new).map_err(io::Error::from)?;
        let (group, lacks, tail) = (Group::new()?, support.lacks_multishot_recv(), Mutex::new(0));
        let buffers = Ring { group, memory, count, size, lacks, tail };
        let (address, group) = (buffers.memory.begin.as_ptr() as u64, buffers.group.0);
        // SAFETY: the memory is the ring's as long as the reactor, which keeps this; it leaks what it cannot end.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, count, group, 0) }.map_err(
            |error| match error.kind() {
                io::ErrorKind::InvalidInput => Error::TooOld("IORING_REGISTER_PBUF_RING (Linux 5.19)"),
                _ => Error::Other(error),
            },
        )?;
        let mut tail = buffers.tail();
        (0..count).for_each(|buffer| buffers.put_back(&mut tail, buffer));
        drop(tail);
        Ok(Self(Arc::new(buffers)))
    }

    pub(super) fn group(&self) -> u16 {
        self.0.group.0
    }

    /// What has arrived.
    ///
    /// # Safety
    /// It is a completion of a request that takes its buffers from this ring, and it is looked at once.
    pub(super) unsafe fn take(&self, buffer: Option<u16>, result: io::Result<u32>) -> io::Result<Provided> {
        let buffer = buffer.filter(|&buffer| buffer < self.0.count);
        let mut provided = Provided { ring: self.0.clone(), buffer, length: 0 };
        // Of an error the buffer, if there is one, goes back to the ring here.
        let length = explain(result, self.0.lacks)? as usize;
        provided.length = if buffer.is_some() { length.min(self.0.size) } else { 0 };
        Ok(provided)
    }
}

/// The bytes of all entries.
fn entries(count: u16) -> usize {
    usize::from(count) * size_of::<BufRingEntry>()
}

impl Ring {
    fn tail(&self) -> MutexGuard<'_, u16> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer(&self, buffer: u16) -> NonNull<u8> {
        // SAFETY: there are `count` buffers behind the entries.
        unsafe { self.memory.begin.add(entries(self.count) + usize::from(buffer) * self.size) }
    }

    /// Puts a free buffer to the ring's end.
    fn put_back(&self, tail: &mut u16, buffer: u16) {
        let first = self.memory.begin.cast::<BufRingEntry>();
        // SAFETY: one of the ring's entries. It is no one's now: there are not more buffers than entries, and
        // this one is off the ring. The kernel reads it when the tail says so.
        let entry = unsafe { first.add(usize::from(*tail & (self.count - 1))).as_mut() };
        entry.set_addr(self.buffer(buffer).as_ptr() as u64);
        entry.set_len(self.size as u32);
        entry.set_bid(buffer);
        *tail = tail.wrapping_add(1);
        // SAFETY: the ring's memory, aligned to a page, which is zero or has been written.
        let shared = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(first.as_ptr()).cast_mut()) };
        // Unreached: no checker runs the kernel. Release: pairs with the kernel's acquire load of the tail, which makes it see
        // the entry; and what the last reader of the buffer has read, it has read before the kernel writes there.
        shared.store(*tail, Release);
    }
}

/// A buffer with what has arrived. Dropped, it is free for the kernel again.
#[derive(Debug)]
pub struct Provided {
    ring: Arc<Ring>,
    /// None if nothing has arrived.
    buffer: Option<u16>,
    length: usize,
}

impl Deref for Provided {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.buffer {
            // SAFETY: the buffer is off the ring, so nobody writes to it; the kernel has written so many bytes,
            // or else they are zero.
            Some(buffer) => unsafe { slice::from_raw_parts(self.ring.buffer(buffer).as_ptr(), self.length) },
            None => &[],
        }
    }
}

impl AsRef<[u8]> for Provided {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.ring.put_back(&mut self.ring.tail(), buffer);
        }
    }
}

/// The number of a ring, which no other one in this process has.
#[derive(Debug)]
struct Group(u16);

static GROUPS: Mutex<Slab<()>> = Mutex::new(Slab::new());

fn groups() -> MutexGuard<'static, Slab<()>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    fn new() -> io::Result<Self> {
        let mut groups = groups();
        let group = groups.insert(());
        u16::try_from(group).map(Self).map_err(|_| {
            groups.remove(group);
            Errno::MFILE.into()
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        groups().remove(self.0.into());
    }
}

/// Pages of our own.
#[derive(Debug)]
struct Memory {
    begin: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is owned, as a box is; who may touch which part when, the ring decides.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(bytes: usize) -> Result<Self, Errno> {
        // SAFETY: a mapping of its own, at a place of the kernel's choice.
        let begin = unsafe {
            mmap_anonymous(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        Ok(Self { begin: NonNull::new(begin.cast()).ok_or(Errno::NOMEM)?, bytes })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned, and nobody uses it any more.
        let unmapped = unsafe { munmap(self.begin.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
