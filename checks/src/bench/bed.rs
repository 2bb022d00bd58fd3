//! Where a thread sleeps for completions: in `io_uring_enter`, or in epoll on the ring.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use io_uring::{IoUring, opcode, types};
use reveille::uring::{self, RingParker};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;

/// A bed with a bell.
pub(super) trait Bed: Sized {
    /// What the case is called.
    const NAME: &'static str;

    fn new() -> Result<Self, uring::Error>;

    /// Ends a sleep, the present one or the next, by writing to an eventfd.
    fn waker(&self) -> Waker;

    /// How many rings of the bell have been heard.
    fn heard(&self) -> u64;

    /// Sleeps until the bell is rung. How many system calls it took.
    fn sleep(&mut self) -> Result<u64, uring::Error>;
}

impl Bed for RingParker {
    const NAME: &'static str = "io_uring_enter";

    fn new() -> Result<Self, uring::Error> {
        RingParker::new()
    }
    fn waker(&self) -> Waker {
        RingParker::waker(self)
    }
    fn heard(&self) -> u64 {
        RingParker::heard(self)
    }
    fn sleep(&mut self) -> Result<u64, uring::Error> {
        self.park()?;
        Ok(1)
    }
}

/// A ring with a read of an eventfd outstanding, and an epoll that has the ring's descriptor: how a program built round epoll
/// would sleep.
pub(super) struct EpollBed {
    // Dropped first: closing the ring cancels the read.
    ring: IoUring,
    epoll: OwnedFd,
    bell: Arc<Bell>,
    /// Where the read puts the eventfd's counter. Leaked: the ring may still be writing to it while it is being closed.
    counter: &'static mut u64,
    outstanding: bool,
    heard: u64,
}

struct Bell(OwnedFd);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        while rustix::io::write(&self.0, &1_u64.to_ne_bytes()) == Err(Errno::INTR) {}
    }
}

impl Bed for EpollBed {
    const NAME: &'static str = "epoll";

    fn new() -> Result<Self, uring::Error> {
        let ring = IoUring::new(4).map_err(uring::Error::Other)?;
        let bell = Bell(eventfd(0, EventfdFlags::CLOEXEC).map_err(io::Error::from)?);
        let epoll = epoll_on(&ring)?;
        Ok(Self {
            ring,
            epoll,
            bell: Arc::new(bell),
            counter: Box::leak(Box::default()),
            outstanding: false,
            heard: 0,
        })
    }
    fn waker(&self) -> Waker {
        Waker::from(self.bell.clone())
    }
    fn heard(&self) -> u64 {
        self.heard
    }
    fn sleep(&mut self) -> Result<u64, uring::Error> {
        let mut syscalls = 0;
        if !self.outstanding {
            let (eventfd, counter) = (types::Fd(self.bell.0.as_raw_fd()), &raw mut *self.counter);
            let read = opcode::Read::new(eventfd, counter.cast(), size_of::<u64>() as u32).build();
            // SAFETY: the counter is leaked, and nobody reads it before the read has completed.
            unsafe { self.ring.submission().push(&read) }.expect("one entry fits");
            self.ring.submit()?;
            self.outstanding = true;
            syscalls += 1;
        }
        sleep_in(&self.epoll)?;
        syscalls += 1;
        if let Some(completion) = self.ring.completion().next() {
            self.outstanding = false;
            // A read that was interrupted has not filled the counter; the next sleep reads again.
            self.heard += if completion.result() > 0 { *self.counter } else { 0 };
        }
        Ok(syscalls)
    }
}

/// An epoll that watches the ring.
pub(super) fn epoll_on(ring: &IoUring) -> io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // SAFETY: the ring keeps its descriptor open for as long as this is borrowed.
    let fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
    epoll::add(&epoll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    Ok(epoll)
}

/// Sleeps until what `epoll` watches is readable.
pub(super) fn sleep_in(epoll: &OwnedFd) -> io::Result<()> {
    let mut event = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }];
    match epoll::wait(epoll, &mut event, None) {
        Err(Errno::INTR) => Ok(()), // task work of the ring does that
        result => Ok(result.map(drop)?),
    }
}
