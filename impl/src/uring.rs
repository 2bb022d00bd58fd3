//! Sleeping in `io_uring_enter`.
//!
//! [`RingParker`] owns a real io_uring with one read of an eventfd kept outstanding. Whoever holds its waker writes to the
//! eventfd; the read completes, and the thread that sleeps in the ring comes back. It is the sleeper of a reactor, with
//! nothing of a reactor yet.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use io_uring::{IoUring, opcode, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// Why a ring could not be set up or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring (it needs Linux 5.6 or later, built with CONFIG_IO_URING)")]
    Missing,
    /// The kernel has it and does not let us.
    #[error(
        "io_uring is forbidden here: look at /proc/sys/kernel/io_uring_disabled and at the container's seccomp profile"
    )]
    Forbidden,
    /// The ring's memory would exceed what this user may lock.
    #[error("too little locked memory for an io_uring: raise `ulimit -l`")]
    LockedMemory,
    /// Anything else.
    #[error("io_uring: {0}")]
    Other(#[from] io::Error),
}

impl Error {
    fn setup(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSYS) => Self::Missing,
            Some(Errno::PERM | Errno::ACCESS) => Self::Forbidden,
            Some(Errno::NOMEM) => Self::LockedMemory,
            _ => Self::Other(error),
        }
    }
}

/// A thread's bed in `io_uring_enter`, and the bell that wakes it.
///
/// ```
/// # use reveille::uring::{Error, RingParker};
/// let mut parker = match RingParker::new() {
///     Err(Error::Missing | Error::Forbidden) => return, // no io_uring on this machine
///     parker => parker.unwrap(),
/// };
/// let waker = parker.waker();
/// let other = std::thread::spawn(move || waker.wake());
/// parker.park().unwrap();
/// # other.join().unwrap();
/// ```
pub struct RingParker {
    // Dropped first: closing the ring cancels the read that is outstanding.
    ring: IoUring,
    bell: Arc<Bell>,
    /// Where the outstanding read puts the eventfd's counter. On the heap and owned by this struct, which keeps the address
    /// while the read is outstanding.
    counter: Box<u64>,
    outstanding: bool,
    heard: u64,
}

/// The eventfd that a waker writes to.
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

impl RingParker {
    /// Sets up the ring and its eventfd.
    ///
    /// # Errors
    /// [`Error`] says whether the kernel lacks io_uring, forbids it, or has too little memory for it.
    pub fn new() -> Result<Self, Error> {
        let ring = IoUring::new(4).map_err(Error::setup)?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let bell = Arc::new(Bell { eventfd });
        // The read is submitted by the first park: a request ends with the thread that submitted it.
        Ok(Self { ring, bell, counter: Box::new(0), outstanding: false, heard: 0 })
    }

    /// A waker that ends a [`park`](RingParker::park), the present one or else the next.
    pub fn waker(&self) -> Waker {
        Waker::from(self.bell.clone())
    }

    /// How many calls of its wakers this parker has woken for. One that was called and is not counted yet ends the next
    /// [`park`](RingParker::park) at once.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Sleeps until a waker is called, in one `io_uring_enter`. May return early, as every park.
    ///
    /// # Errors
    /// Of the ring; an interrupted sleep is an early return.
    pub fn park(&mut self) -> Result<(), Error> {
        self.listen()?;
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        if let Some(completion) = self.ring.completion().next() {
            self.outstanding = false;
            match completion.result() {
                result if result >= 0 => self.heard += *self.counter,
                result => match Errno::from_raw_os_error(-result) {
                    // The next park reads again. CANCELED: the thread that parked before is gone, its read with it.
                    Errno::INTR | Errno::AGAIN | Errno::CANCELED => {}
                    errno => return Err(io::Error::from(errno).into()),
                },
            }
        }
        Ok(())
    }

    /// Makes sure that a read of the eventfd is outstanding, or is going to be with the next `io_uring_enter`.
    fn listen(&mut self) -> Result<(), Error> {
        if self.outstanding {
            return Ok(());
        }
        let read = opcode::Read::new(
            types::Fd(self.bell.eventfd.as_raw_fd()),
            std::ptr::from_mut(&mut *self.counter).cast(),
            size_of::<u64>() as u32,
        )
        .build();
        // SAFETY: the buffer is on the heap and lives as long as the ring (see `Drop`); nobody touches it before the
        // read has completed. The eventfd is kept open by the bell.
        unsafe { self.ring.submission().push(&read) }
            .map_err(|_| io::Error::other("the submission queue is full"))?;
        self.outstanding = true;
        Ok(())
    }
}

impl Drop for RingParker {
    fn drop(&mut self) {
        // The kernel may still write to `counter` after the ring is closed, since closing cancels asynchronously. So the
        // read is brought to its end first; where that fails, the eight bytes are leaked.
        self.bell.clone().wake();
        while self.outstanding {
            if self.park().is_err() {
                Box::leak(std::mem::take(&mut self.counter));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The parker, or a loud word that there is none.
    fn parker() -> Option<RingParker> {
        match RingParker::new() {
            Ok(parker) => Some(parker),
            Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory)) => {
                eprintln!("SKIPPED: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_wake_before_the_park_is_not_lost() {
        let Some(mut parker) = parker() else { return };
        parker.waker().wake();
        parker.park().unwrap();
        assert_eq!(parker.heard(), 1);
    }

    #[test]
    fn a_parker_outlives_the_threads_that_made_it_and_parked_on_it() {
        let made = std::thread::spawn(parker).join().unwrap();
        let Some(mut parker) = made else { return };
        for heard in 1..=2 {
            parker = std::thread::spawn(move || {
                parker.waker().wake();
                while parker.heard() < heard {
                    parker.park().unwrap();
                }
                parker.listen().unwrap(); // leaves a read outstanding that ends with this thread
                parker.ring.submit().unwrap();
                parker
            })
            .join()
            .unwrap();
        }
    }

    #[test]
    fn a_sleeper_in_the_ring_is_woken_again_and_again() {
        let Some(mut parker) = parker() else { return };
        for _ in 0..20 {
            let waker = parker.waker();
            let ringer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(1));
                waker.wake();
            });
            parker.park().unwrap();
            ringer.join().unwrap();
        }
        assert_eq!(parker.heard(), 20);
    }
}
