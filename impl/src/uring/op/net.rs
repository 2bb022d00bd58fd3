//! Sockets.
//!
//! A send to a socket whose other end is gone is an error, never a signal.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::ptr::{null, null_mut};

use io_uring::{cqueue, opcode, squeue};
use rustix::net::addr::{SocketAddrArg, SocketAddrStorage};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

use super::{Done, IoFile, Multishot, Operation, owned, with_file};
use crate::uring::buffer::{IoBuf, IoBufMut, filled, source, target};
use crate::uring::provided::{BufferRing, Provided};

/// Accepts a connection; as a [`Multishot`], one after the other.
///
/// A connection that was accepted and that nobody takes is closed: where the future was dropped, or the
/// reactor, before it was looked at. A cancellation may come too late for it. Who must not lose one has a
/// [`Request`](crate::uring::Request) make an event of it, and hears of every one by
/// [`shutdown`](crate::uring::Reactor::shutdown).
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

/// The accepted socket is not inherited by programs that this one executes.
const CLOEXEC: i32 = rustix::fs::OFlags::CLOEXEC.bits() as i32;

// SAFETY: the listener is owned, and there are no addresses in the entry.
unsafe impl<F: IoFile> Operation for Accept<F> {
    type Output = io::Result<OwnedFd>;

    fn entry(&mut self) -> squeue::Entry {
        with_file!(&self.listener, |fd| {
            opcode::Accept::new(fd, null_mut(), null_mut()).flags(CLOEXEC).build()
        })
    }

    fn finish(self, done: Done) -> Self::Output {
        owned(done)
    }
}

// SAFETY: as above.
unsafe impl<F: IoFile> Multishot for Accept<F> {
    type Item = io::Result<OwnedFd>;

    fn entry(&mut self) -> squeue::Entry {
        with_file!(&self.listener, |fd| opcode::AcceptMulti::new(fd).flags(CLOEXEC).build())
    }

    fn shot(&self, done: Done) -> Self::Item {
        owned(done)
    }
}

/// Connects a socket.
pub struct Connect<F> {
    socket: F,
    address: SocketAddrAny,
}

impl<F> Connect<F> {
    /// To an address: a `std::net::SocketAddr`, or a [`SocketAddrUnix`](rustix::net::SocketAddrUnix).
    pub fn new(socket: F, address: &impl SocketAddrArg) -> Self {
        Self { socket, address: address.as_any() }
    }
}

// SAFETY: the socket is owned, and the address is in `self`.
unsafe impl<F: IoFile> Operation for Connect<F> {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        let (address, length) = (self.address.as_ptr().cast(), self.address.addr_len());
        with_file!(&self.socket, |fd| opcode::Connect::new(fd, address, length).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        done.result.map(drop)
    }
}

/// Ends one direction of a connection, or both.
#[derive(Debug)]
pub struct Shutdown<F> {
    socket: F,
    how: std::net::Shutdown,
}

impl<F> Shutdown<F> {
    /// Of this socket.
    pub fn new(socket: F, how: std::net::Shutdown) -> Self {
        Self { socket, how }
    }
}

// SAFETY: the socket is owned, and there are no addresses in the entry.
unsafe impl<F: IoFile> Operation for Shutdown<F> {
    type Output = io::Result<()>;

    fn entry(&mut self) -> squeue::Entry {
        let how = match self.how {
            std::net::Shutdown::Read => libc::SHUT_RD,
            std::net::Shutdown::Write => libc::SHUT_WR,
            std::net::Shutdown::Both => libc::SHUT_RDWR,
        };
        with_file!(&self.socket, |fd| opcode::Shutdown::new(fd, how).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        done.result.map(drop)
    }
}

/// Sends a buffer, as far as the kernel takes it. The buffer comes back with the number of bytes sent.
#[derive(Debug)]
pub struct Send<F, B> {
    socket: F,
    buffer: B,
    flags: SendFlags,
}

impl<F, B> Send<F, B> {
    /// Through this socket.
    pub fn new(socket: F, buffer: B) -> Self {
        Self { socket, buffer, flags: SendFlags::NOSIGNAL }
    }

    /// The same, with flags: that more will follow, say.
    pub fn flags(self, flags: SendFlags) -> Self {
        Self { flags: flags | SendFlags::NOSIGNAL, ..self }
    }
}

// SAFETY: the socket and the buffer are owned, and the kernel only reads the buffer.
unsafe impl<F: IoFile, B: IoBuf> Operation for Send<F, B> {
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let (memory, length) = source(&self.buffer);
        let flags = self.flags.bits() as i32;
        with_file!(&self.socket, |fd| opcode::Send::new(fd, memory, length).flags(flags).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        (done.result.map(|n| n as usize), self.buffer)
    }
}

/// Sends a buffer without a copy (Linux 6.0). The buffer comes back when the network has done with it, which is
/// later than the send itself: with the kernel's second completion.
///
/// That may take as long as the other end does not read, and no cancellation ends it: a reactor that is dropped
/// waits for it. Not every kind of socket can: one of the local kind says `EOPNOTSUPP`.
#[derive(Debug)]
pub struct SendZc<F, B> {
    socket: F,
    buffer: B,
    flags: SendFlags,
}

impl<F, B> SendZc<F, B> {
    /// Through this socket.
    pub fn new(socket: F, buffer: B) -> Self {
        Self { socket, buffer, flags: SendFlags::NOSIGNAL }
    }

    /// The same, with flags: that more will follow, say.
    pub fn flags(self, flags: SendFlags) -> Self {
        Self { flags: flags | SendFlags::NOSIGNAL, ..self }
    }
}

// SAFETY: as for `Send`. The request ends with the notification, if one is announced.
unsafe impl<F: IoFile, B: IoBuf> Operation for SendZc<F, B> {
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let (memory, length) = source(&self.buffer);
        let flags = self.flags.bits() as i32;
        with_file!(&self.socket, |fd| opcode::SendZc::new(fd, memory, length).flags(flags).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        (done.result.map(|n| n as usize), self.buffer)
    }
}

/// Of what a flag makes more than was received, the buffer must not be told: `MSG_TRUNC` has the kernel count
/// bytes that it has not written.
fn received(flags: RecvFlags) -> RecvFlags {
    flags.difference(RecvFlags::TRUNC)
}

/// Receives into a buffer: over what it holds, and on into its spare capacity. The buffer comes back with the
/// number of bytes received; 0 is the end of the stream, or of the room.
#[derive(Debug)]
pub struct Recv<F, B> {
    socket: F,
    buffer: B,
    flags: RecvFlags,
}

impl<F, B> Recv<F, B> {
    /// From this socket.
    pub fn new(socket: F, buffer: B) -> Self {
        Self { socket, buffer, flags: RecvFlags::empty() }
    }

    /// The same, with flags; `TRUNC` is ignored.
    pub fn flags(self, flags: RecvFlags) -> Self {
        Self { flags: received(flags), ..self }
    }
}

// SAFETY: the socket and the buffer are owned, as for `Read`.
unsafe impl<F: IoFile, B: IoBufMut> Operation for Recv<F, B> {
    type Output = (io::Result<usize>, B);

    fn entry(&mut self) -> squeue::Entry {
        let (memory, length) = target(&mut self.buffer);
        let flags = self.flags.bits() as i32;
        with_file!(&self.socket, |fd| opcode::Recv::new(fd, memory, length).flags(flags).build())
    }

    fn finish(mut self, done: Done) -> Self::Output {
        // SAFETY: the result of a receive is how much was received, as it does not count what it cuts off.
        (unsafe { filled(&mut self.buffer, done) }, self.buffer)
    }
}

/// Receives again and again (Linux 6.0), each time into a buffer that the kernel takes from a [`BufferRing`].
///
/// It ends with the stream: the last item is empty then. Without a free buffer it ends with `ENOBUFS`: submit
/// it again when some have been dropped.
#[derive(Debug)]
pub struct RecvMulti<F> {
    socket: F,
    buffers: BufferRing,
}

impl<F> RecvMulti<F> {
    /// From this socket, into buffers of the reactor that this is going to be submitted to.
    pub fn new(socket: F, buffers: &BufferRing) -> Self {
        Self { socket, buffers: buffers.clone() }
    }
}

// SAFETY: the socket is owned, and there are no addresses in the entry. The kernel finds its buffers by the
// number of a ring that no other one has in this process; they are kept as long as the reactor, and as long as
// one is taken.
unsafe impl<F: IoFile> Multishot for RecvMulti<F> {
    type Item = io::Result<Provided>;

    fn entry(&mut self) -> squeue::Entry {
        with_file!(&self.socket, |fd| opcode::RecvMulti::new(fd, self.buffers.group()).build())
    }

    fn shot(&self, done: Done) -> Self::Item {
        let buffer = cqueue::buffer_select(done.flags);
        // SAFETY: of a request that takes its buffers from this ring.
        unsafe { self.buffers.take(buffer, done.result) }
    }
}

/// The message of a `sendmsg(2)` or `recvmsg(2)`, all of whose addresses are of what the operation owns.
struct Message {
    header: libc::msghdr,
    parts: Vec<libc::iovec>,
}

// SAFETY: the addresses are used by the kernel only, from whatever thread submits the entry.
unsafe impl std::marker::Send for Message {}

impl Message {
    fn new() -> Self {
        // SAFETY: numbers and null pointers.
        Self { header: unsafe { MaybeUninit::zeroed().assume_init() }, parts: Vec::new() }
    }

    /// Where the message is when all is in its place.
    fn lend(
        &mut self,
        parts: Vec<libc::iovec>,
        name: *mut libc::c_void,
        name_length: u32,
    ) -> *mut libc::msghdr {
        self.parts = parts;
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len() as _;
        (self.header.msg_name, self.header.msg_namelen) = (name, name_length);
        &raw mut self.header
    }
}

/// Sends several buffers as one message, as far as the kernel takes it. They come back with the number of bytes
/// sent.
pub struct SendMsg<F, B> {
    socket: F,
    buffers: Vec<B>,
    to: Option<SocketAddrAny>,
    flags: SendFlags,
    message: Message,
}

impl<F, B> SendMsg<F, B> {
    /// Through this socket.
    pub fn new(socket: F, buffers: Vec<B>) -> Self {
        Self { socket, buffers, to: None, flags: SendFlags::NOSIGNAL, message: Message::new() }
    }

    /// The same, to an address, through a socket that is not connected.
    pub fn to(self, address: &impl SocketAddrArg) -> Self {
        Self { to: Some(address.as_any()), ..self }
    }

    /// The same, with flags: that more will follow, say.
    pub fn flags(self, flags: SendFlags) -> Self {
        Self { flags: flags | SendFlags::NOSIGNAL, ..self }
    }
}

// SAFETY: the socket, the buffers and the list of them are owned; the address and the message are in `self`.
// The kernel only reads them.
unsafe impl<F: IoFile, B: IoBuf> Operation for SendMsg<F, B> {
    type Output = (io::Result<usize>, Vec<B>);

    fn entry(&mut self) -> squeue::Entry {
        let part = |buffer: &B| {
            let bytes = buffer.as_ref();
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
        };
        let parts = self.buffers.iter().map(part).collect();
        let to = self.to.as_ref().map_or((null(), 0), |to| (to.as_ptr(), to.addr_len()));
        let message = self.message.lend(parts, to.0.cast_mut().cast(), to.1);
        let flags = self.flags.bits();
        with_file!(&self.socket, |fd| opcode::SendMsg::new(fd, message).flags(flags).build())
    }

    fn finish(self, done: Done) -> Self::Output {
        (done.result.map(|n| n as usize), self.buffers)
    }
}

/// Receives a message into several buffers, one after the other, each over what it holds and on into its spare
/// capacity.
pub struct RecvMsg<F, B> {
    socket: F,
    buffers: Vec<B>,
    from: MaybeUninit<SocketAddrStorage>,
    flags: RecvFlags,
    message: Message,
}

/// What a [`RecvMsg`] received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received {
    /// So many bytes.
    pub bytes: usize,
    /// From there, if the socket is not connected.
    pub from: Option<SocketAddrAny>,
    /// The message was longer than the buffers, and its end is lost.
    pub truncated: bool,
}

impl<F, B> RecvMsg<F, B> {
    /// From this socket.
    pub fn new(socket: F, buffers: Vec<B>) -> Self {
        let (from, message) = (MaybeUninit::zeroed(), Message::new());
        Self { socket, buffers, from, flags: RecvFlags::empty(), message }
    }

    /// The same, with flags; `TRUNC` is ignored.
    pub fn flags(self, flags: RecvFlags) -> Self {
        Self { flags: received(flags), ..self }
    }
}

// SAFETY: the socket, the buffers and the list of them are owned; the address and the message are in `self`.
unsafe impl<F: IoFile, B: IoBufMut> Operation for RecvMsg<F, B> {
    type Output = (io::Result<Received>, Vec<B>);

    fn entry(&mut self) -> squeue::Entry {
        let part = |buffer: &mut B| {
            let (begin, length) = buffer.memory();
            libc::iovec { iov_base: begin.cast(), iov_len: length }
        };
        let parts = self.buffers.iter_mut().map(part).collect();
        let room = size_of::<SocketAddrStorage>() as u32;
        let message = self.message.lend(parts, self.from.as_mut_ptr().cast(), room);
        let flags = self.flags.bits();
        with_file!(&self.socket, |fd| opcode::RecvMsg::new(fd, message).flags(flags).build())
    }

    fn finish(mut self, done: Done) -> Self::Output {
        let bytes = match done.result {
            Ok(bytes) => bytes as usize,
            Err(error) => return (Err(error), self.buffers),
        };
        let mut left = bytes;
        for (buffer, part) in self.buffers.iter_mut().zip(&self.message.parts) {
            let here = left.min(part.iov_len);
            // SAFETY: the kernel has filled the buffers in their order, as far as it has received.
            unsafe { buffer.set_init(here) };
            left -= here;
        }
        let header = &self.message.header;
        let length = header.msg_namelen.min(size_of::<SocketAddrStorage>() as u32);
        let has_family = length as usize >= size_of::<libc::sa_family_t>();
        // SAFETY: the kernel has written so much of an address.
        let from = has_family.then(|| unsafe { SocketAddrAny::read(self.from.as_ptr(), length) });
        let truncated = header.msg_flags & libc::MSG_TRUNC != 0;
        (Ok(Received { bytes, from, truncated }), self.buffers)
    }
}
