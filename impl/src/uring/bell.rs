//! The eventfd that wakes whoever sleeps in a ring.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use io_uring::{SubmissionQueue, opcode, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// An eventfd that a waker writes to.
struct Bell {
    eventfd: OwnedFd,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        loop {
            match rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes()) {
                Err(Errno::INTR) => {}
                // Nothing else can fail: the eventfd is open, and its counter is full only after 2⁶⁴ unheard wakes.
                result => return debug_assert!(result.is_ok(), "{result:?}"),
            }
        }
    }
}

/// The bell, and the read of it that is kept outstanding in a ring: when somebody rings, the read completes, and who
/// sleeps in the ring comes back.
///
/// A multishot poll of the eventfd, which need not be submitted anew, was tried in its place: 4 % less CPU time with one
/// closure in flight, a quarter more with 8, a fifth with 64.
///
/// The owner must keep this until the read has ended, or [`abandon`](Listener::abandon) it: the kernel writes into its
/// memory.
pub(super) struct Listener {
    bell: Arc<Bell>,
    /// Where the outstanding read puts the eventfd's counter. On the heap and owned by this struct, which keeps the
    /// address while the read is outstanding.
    counter: Box<u64>,
    outstanding: bool,
    /// How many calls of the wakers have been heard.
    heard: u64,
}

impl Listener {
    pub fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { bell: Arc::new(Bell { eventfd }), counter: Box::new(0), outstanding: false, heard: 0 })
    }

    pub fn waker(&self) -> Waker {
        Waker::from(self.bell.clone())
    }

    pub fn outstanding(&self) -> bool {
        self.outstanding
    }

    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Makes sure that a read is outstanding, or is going to be with the next `io_uring_enter`: its completion bears
    /// `user_data`. False if the submission queue has no room for it.
    pub fn listen(&mut self, submissions: &mut SubmissionQueue<'_>, user_data: u64) -> bool {
        if self.outstanding {
            return true;
        }
        let read = opcode::Read::new(
            types::Fd(self.bell.eventfd.as_raw_fd()),
            std::ptr::from_mut(&mut *self.counter).cast(),
            size_of::<u64>() as u32,
        )
        .build()
        .user_data(user_data);
        // SAFETY: the buffer is on the heap, and whoever owns this struct keeps it until the read has ended, or leaks
        // it; nobody touches it before. The eventfd is kept open by the bell.
        self.outstanding = unsafe { submissions.push(&read) }.is_ok();
        self.outstanding
    }

    /// The read has completed, with this result.
    pub fn completed(&mut self, result: i32) -> io::Result<()> {
        self.outstanding = false;
        if result >= 0 {
            self.heard += *self.counter;
            return Ok(());
        }
        match Errno::from_raw_os_error(-result) {
            // To be read again. CANCELED: the thread that submitted the read is gone, its read with it.
            Errno::INTR | Errno::AGAIN | Errno::CANCELED => Ok(()),
            errno => Err(errno.into()),
        }
    }

    /// Leaks the eight bytes that the kernel may still write to.
    pub fn abandon(&mut self) {
        if std::mem::take(&mut self.outstanding) {
            Box::leak(std::mem::take(&mut self.counter));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nothing to do where the owner keeps its word. If something unwound past that, eight bytes are less than what the
        // kernel might write over.
        self.abandon();
    }
}
