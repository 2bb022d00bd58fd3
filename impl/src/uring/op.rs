//! Operations that own what the kernel reads and writes.
//!
//! A submission queue entry is full of addresses: of the buffer, of a time, of a path. The kernel uses them until the
//! request has ended, whatever has become of the code that asked for it. So an [`Operation`] owns all of it, the file
//! included, and the reactor owns the operation until the request has ended.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{cqueue, opcode, squeue, types};
pub use rustix::event::PollFlags;
use rustix::io::Errno;

/// What the kernel says of a request in a completion queue entry.
#[derive(Debug)]
pub struct Done {
    /// The result: the number that the system call of the same name returns, or its error.
    pub result: io::Result<u32>,
    /// The flags of the entry, `IORING_CQE_F_...`.
    pub flags: u32,
}

impl Done {
    pub(super) fn new(entry: &cqueue::Entry) -> Self {
        let result = u32::try_from(entry.result())
            .map_err(|_| io::Error::from_raw_os_error(entry.result().wrapping_neg()));
        Self { result, flags: entry.flags() }
    }
}

/// What the kernel is to do, once.
///
/// # Safety
/// Every address in the entry that [`entry`](Operation::entry) returns must stay valid as long as `self` exists and is
/// not moved and not touched, and the kernel must be free to read or write there. Every descriptor in it stays open as
/// long. The entry must not ask for `IOSQE_CQE_SKIP_SUCCESS` (its request would never end), nor for `IOSQE_IO_DRAIN`
/// (it would wait for the reactor's own read of its eventfd).
pub unsafe trait Operation: Send + 'static {
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
pub unsafe trait Multishot: Send + 'static {
    /// What one completion comes to.
    type Item;

    /// The submission queue entry. Called once, when `self` is where it will stay until the request has ended.
    fn entry(&mut self) -> squeue::Entry;

    /// One completion, the last one too. The kernel may be using `self`.
    fn shot(&self, done: Done) -> Self::Item;
}

/// A century: what is to take longer never ends, as far as anybody will see. The kernel takes seconds as a signed number, and
/// adds them to its clock in nanoseconds, which overflows after less than three; not every kernel looks out for that.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A time as the kernel takes it.
pub(super) fn timespec(duration: Duration) -> types::Timespec {
    duration.min(CENTURY).into()
}

fn fd(file: &impl AsFd) -> types::Fd {
    types::Fd(file.as_fd().as_raw_fd())
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

/// Reads into a buffer, over what it holds, from a file, a pipe or a socket. The buffer comes back with the number of
/// bytes read.
///
/// The file is kept open until the read has ended: give an `Arc<File>`, or the file itself to have it closed then.
#[derive(Debug)]
pub struct Read<F, B> {
    file: F,
    buffer: B,
    offset: u64,
}

/// The offset that means "where the file stands", for files that have no positions as well.
const CURRENT: u64 = u64::MAX;

/// A position, which is never taken for [`CURRENT`]: for the kernel the one before the last is as impossible as the last.
fn position(offset: u64) -> u64 {
    offset.min(CURRENT - 1)
}

impl<F, B> Read<F, B> {
    /// From where the file stands, as `read(2)`.
    pub fn new(file: F, buffer: B) -> Self {
        Self { file, buffer, offset: CURRENT }
    }

    /// From a position, as `pread(2)`.
    pub fn at(file: F, buffer: B, offset: u64) -> Self {
        Self { file, buffer, offset: position(offset) }
    }
}

// SAFETY: the file and the buffer are owned. The slice is valid while the buffer is borrowed, and nobody but the kernel
// touches the buffer between `entry` and `finish`, which is as good.
unsafe impl<F, B> Operation for Read<F, B>
where
    F: AsFd + Send + 'static,
    B: AsMut<[u8]> + Send + 'static,
{
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let buffer = self.buffer.as_mut();
        opcode::Read::new(fd(&self.file), buffer.as_mut_ptr(), length(buffer)).offset(self.offset).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        (done.result.map(|n| n as usize), self.buffer)
    }
}

/// Writes a buffer to a file, a pipe or a socket, as far as the kernel takes it. The buffer comes back with the number
/// of bytes written.
///
/// The file is kept open until the write has ended, as for [`Read`].
#[derive(Debug)]
pub struct Write<F, B> {
    file: F,
    buffer: B,
    offset: u64,
}

impl<F, B> Write<F, B> {
    /// To where the file stands, as `write(2)`.
    pub fn new(file: F, buffer: B) -> Self {
        Self { file, buffer, offset: CURRENT }
    }

    /// To a position, as `pwrite(2)`.
    pub fn at(file: F, buffer: B, offset: u64) -> Self {
        Self { file, buffer, offset: position(offset) }
    }
}

// SAFETY: as for `Read`; the kernel only reads the buffer.
unsafe impl<F, B> Operation for Write<F, B>
where
    F: AsFd + Send + 'static,
    B: AsRef<[u8]> + Send + 'static,
{
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let buffer = self.buffer.as_ref();
        opcode::Write::new(fd(&self.file), buffer.as_ptr(), length(buffer)).offset(self.offset).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        (done.result.map(|n| n as usize), self.buffer)
    }
}

/// What one request can carry. A longer buffer is read or written in part, as the kernel does it too.
fn length(buffer: &[u8]) -> u32 {
    u32::try_from(buffer.len()).unwrap_or(u32::MAX)
}

/// Accepts a connection; as a [`Multishot`], one after the other.
///
/// A connection that was accepted and that nobody takes is closed: where the future was dropped, or the reactor, before it
/// was looked at. A cancellation may come too late for it. Who must not lose one has a [`Request`](super::Request) make an
/// event of it, and hears of every one by [`shutdown`](super::Reactor::shutdown).
#[derive(Debug)]
pub struct Accept<F> {
    listener: F,
}

impl<F> Accept<F> {
    /// From this listening socket.
    pub fn new(listener: F) -> Self {
        Self { listener }
    }
}

/// The descriptor that a request came to, which nobody else knows of.
fn owned(done: Done) -> io::Result<OwnedFd> {
    let fd = done.result?;
    // SAFETY: the kernel has just opened it for this request.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The accepted socket is not inherited by programs that this one executes.
const CLOEXEC: i32 = rustix::fs::OFlags::CLOEXEC.bits() as i32;

// SAFETY: the listener is owned, and there are no addresses in the entry.
unsafe impl<F: AsFd + Send + 'static> Operation for Accept<F> {
    type Output = io::Result<OwnedFd>;

    fn entry(&mut self) -> squeue::Entry {
        let (no_address, no_length) = (std::ptr::null_mut(), std::ptr::null_mut());
        opcode::Accept::new(fd(&self.listener), no_address, no_length).flags(CLOEXEC).build()
    }

    fn finish(self, done: Done) -> Self::Output {
        owned(done)
    }
}

// SAFETY: as above.
unsafe impl<F: AsFd + Send + 'static> Multishot for Accept<F> {
    type Item = io::Result<OwnedFd>;

    fn entry(&mut self) -> squeue::Entry {
        opcode::AcceptMulti::new(fd(&self.listener)).flags(CLOEXEC).build()
    }

    fn shot(&self, done: Done) -> Self::Item {
        owned(done)
    }
}

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
        F: AsFd,
    {
        opcode::PollAdd::new(fd(&self.file), self.events.bits().into()).multi(multishot).build()
    }
}

fn ready(done: Done) -> io::Result<PollFlags> {
    Ok(PollFlags::from_bits_retain(done.result? as u16))
}

// SAFETY: the file is owned, and there are no addresses in the entry.
unsafe impl<F: AsFd + Send + 'static> Operation for Poll<F> {
    type Output = io::Result<PollFlags>;

    fn entry(&mut self) -> squeue::Entry {
        self.build(false)
    }

    fn finish(self, done: Done) -> Self::Output {
        ready(done)
    }
}

// SAFETY: as above.
unsafe impl<F: AsFd + Send + 'static> Multishot for Poll<F> {
    type Item = io::Result<PollFlags>;

    fn entry(&mut self) -> squeue::Entry {
        self.build(true)
    }

    fn shot(&self, done: Done) -> Self::Item {
        ready(done)
    }
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

/// Any entry, with whatever has to stay alive until its request has ended. The way to the operations that are not here.
#[derive(Debug)]
pub struct Raw<P> {
    entry: squeue::Entry,
    payload: P,
}

impl<P> Raw<P> {
    /// This entry, whose user data is the reactor's to choose.
    ///
    /// # Safety
    /// What [`Operation`] demands of the entry: its addresses and descriptors stay valid as long as `payload` exists,
    /// be it moved. And the completions of a multishot request come to a [`Multishot`] request only.
    pub unsafe fn new(entry: squeue::Entry, payload: P) -> Self {
        Self { entry, payload }
    }
}

// SAFETY: by the contract of `new`.
unsafe impl<P: Send + 'static> Operation for Raw<P> {
    type Output = (Done, P);

    fn entry(&mut self) -> squeue::Entry {
        self.entry.clone()
    }

    fn finish(self, done: Done) -> Self::Output {
        (done, self.payload)
    }
}

// SAFETY: by the contract of `new`.
unsafe impl<P: Send + 'static> Multishot for Raw<P> {
    type Item = Done;

    fn entry(&mut self) -> squeue::Entry {
        self.entry.clone()
    }

    fn shot(&self, done: Done) -> Done {
        done
    }
}
