//! The sleep of a reactor without the reactor: one thread in `io_uring_enter`, one read of an eventfd.
use std::io;
use std::task::Waker;

use io_uring::IoUring;

use super::Error;
use super::bell::Listener;
use super::process;

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
    listener: Listener,
    /// Whose ring it is.
    process: u32,
}

impl RingParker {
    /// Sets up the ring and its eventfd.
    ///
    /// # Errors
    /// [`Error`] says whether the kernel lacks io_uring, forbids it, or has too little memory for it.
    pub fn new() -> Result<Self, Error> {
        let ring = IoUring::new(4).map_err(Error::setup)?;
        // The read is submitted by the first park: a request ends with the thread that submitted it.
        Ok(Self { ring, listener: Listener::new()?, process: process::current() })
    }

    /// A waker that ends a [`park`](RingParker::park), the present one or else the next.
    pub fn waker(&self) -> Waker {
        self.listener.waker()
    }

    /// How many calls of its wakers this parker has woken for. One that was called and is not counted yet ends the next
    /// [`park`](RingParker::park) at once.
    pub fn heard(&self) -> u64 {
        self.listener.heard()
    }

    /// Sleeps until a waker is called, in one `io_uring_enter`. May return early, as every park.
    ///
    /// # Errors
    /// Of the ring; an interrupted sleep is an early return.
    pub fn park(&mut self) -> Result<(), Error> {
        if process::current() != self.process {
            return Err(Error::Forked);
        }
        self.listen()?;
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        if let Some(completion) = self.ring.completion().next() {
            self.listener.completed(completion.result())?;
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Error> {
        match self.listener.listen(&mut self.ring.submission(), 0) {
            true => Ok(()),
            false => Err(io::Error::other("the submission queue is full").into()),
        }
    }
}

impl Drop for RingParker {
    fn drop(&mut self) {
        // The kernel may still write to the counter after the ring is closed, since closing cancels asynchronously. So
        // the read is brought to its end first; where that fails, the counter is leaked.
        if process::current() != self.process {
            return; // the listener leaks what the kernel writes to, which is its parent's anyway
        }
        self.waker().wake();
        while self.listener.outstanding() {
            if self.park().is_err() {
                self.listener.abandon();
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
