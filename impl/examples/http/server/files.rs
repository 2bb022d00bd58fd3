//! Files: open → statx → splice file → pipe → socket, and who does that.
//!
//! *The directory is not left.* A path has no part that begins with a dot when it comes here, and the kernel is
//! told to resolve it beneath the directory (`openat2`, `RESOLVE_BENEATH`): a symbolic link that leads out is
//! refused by the one that follows it, at the moment that it does.
//!
//! *Slow clients hold no worker of the pool.* The socket does not block while a worker splices into it; when it
//! is full, the connection's task waits for it, in the ring. The kernel's workers do wait there: that is how
//! `IOSQE_ASYNC` is.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use reveille::pool::{Outcome, Work};
use reveille::uring::{
    AtFlags, Mode, OFlags, Openat, Poll, PollFlags, ResolveFlags, SendFlags, Splice, SpliceFlags, Statx,
    StatxFlags,
};
use rustix::fs::{openat2, statx};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::send;
use rustix::pipe::{PipeFlags, pipe_with, splice};

use super::Blocking;
use super::answer::{Answer, Asked, Body, Found};
use super::connection::Connection;

pub struct Pipe {
    reader: Arc<OwnedFd>,
    writer: Arc<OwnedFd>,
}

/// As much as a pipe holds.
const CHUNK: u64 = 64 << 10;

/// So much a worker moves before others have their turn.
const TURN: u64 = 1 << 20;

/// Pipes that are kept for the next answer.
const KEPT: usize = 256;

/// Reading does not wait for a writer, where somebody has put a FIFO; a terminal is not taken over.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

impl Connection {
    /// Answers with a file.
    pub async fn file(&self, asked: Asked) -> io::Result<()> {
        let mut path = asked.request.path.clone();
        if path.ends_with('/') {
            path.push_str("index.html");
        }
        if self.server.options.blocking == Blocking::Kernel {
            let found = self.open(&path).await;
            return self.answer_by_kernel(asked.file(&path, found)).await;
        }
        let (root, socket, pipe) = (self.server.root.clone(), self.socket.clone(), self.pipe()?);
        self.answer_by_pool(move || {
            let Answer { head, body } = asked.file(&path, open(&root, &path));
            Transfer { head, sent: 0, body, pipe, piped: 0, socket }
        })
        .await
    }

    /// Opens a file of the directory, and looks at it.
    pub async fn open(&self, path: &str) -> io::Result<Found> {
        let (root, ring) = (self.server.root.clone(), self.server.ring.in_worker());
        if self.server.options.blocking != Blocking::Kernel {
            let path = path.to_owned();
            return done(ring.offload(Work::BOUNDED, move |_| open(&root, &path)).await)?;
        }
        let opening = Openat::new(root, beneath(path)?, FLAGS, Mode::empty()).resolve(RESOLVE);
        let file = Arc::new(ring.submit(opening).await.map_err(io::Error::other)??);
        let stat = ring.submit(Statx::of(file.clone())).await.map_err(io::Error::other)??;
        Ok((file, stat))
    }

    fn pipe(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.server.pipes.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Pipe { reader: Arc::new(reader), writer: Arc::new(writer) })
    }

    /// It is empty. After an error it may hold something, and does not come here.
    fn keep(&self, pipe: Pipe) {
        let mut pipes = self.server.pipes.borrow_mut();
        if pipes.len() < KEPT {
            pipes.push(pipe);
        }
    }

    async fn answer_by_kernel(&self, answer: Answer) -> io::Result<()> {
        let Some(Body { file, mut offset, mut left }) = answer.body else {
            return self.send(answer.head, SendFlags::empty()).await;
        };
        self.send(answer.head, SendFlags::MORE).await?;
        let (ring, pipe) = (self.server.ring.in_worker(), self.pipe()?);
        while left > 0 {
            let (from, to) = (file.clone(), pipe.writer.clone());
            let fill = Splice::new(from, to, left.min(CHUNK) as u32).from_offset(offset);
            let mut piped = moved(ring.submit(fill).await.map_err(io::Error::other)?)?;
            (offset, left) = (offset + piped as u64, left - piped as u64);
            while piped > 0 {
                let drain =
                    Splice::new(pipe.reader.clone(), self.socket.clone(), piped as u32).flags(more(left));
                let sent = moved(ring.submit(drain).await.map_err(io::Error::other)?)?;
                piped -= sent;
                self.progress(sent);
            }
        }
        self.keep(pipe);
        Ok(())
    }

    async fn answer_by_pool(&self, begin: impl FnOnce() -> Transfer + Send + 'static) -> io::Result<()> {
        let ring = &self.server.ring;
        let (mut moved, mut ended, mut transfer) =
            done(ring.offload(Work::BOUNDED, move |_| begin().run()).await)?;
        loop {
            self.progress(moved as usize);
            match ended {
                Ok(()) if transfer.left() == 0 => {
                    self.keep(transfer.pipe);
                    return Ok(());
                }
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    let poll = Poll::new(self.socket.clone(), PollFlags::OUT);
                    ring.submit(poll).await.map_err(io::Error::other)??;
                }
                Err(error) => return Err(error.into()),
            }
            (moved, ended, transfer) = done(ring.offload(Work::BOUNDED, move |_| transfer.run()).await)?;
        }
    }
}

/// A path as the kernel takes it: relative to the directory.
fn beneath(path: &str) -> io::Result<CString> {
    let path = path.trim_start_matches('/');
    Ok(CString::new(if path.is_empty() { "." } else { path })?)
}

fn open(root: &OwnedFd, path: &str) -> io::Result<Found> {
    let file = openat2(root, beneath(path)?, FLAGS, Mode::empty(), RESOLVE)?;
    let stat = statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok((Arc::new(file), stat))
}

/// An answer on its way to a socket.
struct Transfer {
    head: Vec<u8>,
    sent: usize,
    body: Option<Body>,
    pipe: Pipe,
    piped: usize,
    socket: Arc<OwnedFd>,
}

impl Transfer {
    fn left(&self) -> u64 {
        let body = self.body.as_ref().map_or(0, |body| body.left);
        body + (self.piped + self.head.len() - self.sent) as u64
    }

    /// Goes on, until it is over, or the socket is full, or others should have their turn. How much was moved.
    fn run(mut self) -> (u64, Result<(), Errno>, Self) {
        let before = self.left();
        // Nobody else uses the socket meanwhile. A receive in the ring would fail on one that does not block.
        let ended = ioctl_fionbio(&self.socket, true).and_then(|()| self.go_on(before.saturating_sub(TURN)));
        let ended = ioctl_fionbio(&self.socket, false).and(ended);
        (before - self.left(), ended, self)
    }

    fn go_on(&mut self, enough: u64) -> Result<(), Errno> {
        while self.sent < self.head.len() {
            let flags = if self.body.is_some() { SendFlags::MORE } else { SendFlags::empty() };
            self.sent += send(&self.socket, &self.head[self.sent..], flags | SendFlags::NOSIGNAL)?;
        }
        while self.left() > enough {
            let Some(body) = &mut self.body else { break };
            if self.piped == 0 {
                let chunk = body.left.min(CHUNK) as usize;
                let (offset, to) = (Some(&mut body.offset), &self.pipe.writer);
                self.piped = splice(&body.file, offset, to, None, chunk, SpliceFlags::empty())?;
                if self.piped == 0 {
                    return Err(Errno::IO); // the file has become shorter
                }
                body.left -= self.piped as u64;
            }
            self.piped -= splice(&self.pipe.reader, None, &self.socket, None, self.piped, more(body.left))?;
        }
        Ok(())
    }
}

fn more(left: u64) -> SpliceFlags {
    if left > 0 { SpliceFlags::MORE } else { SpliceFlags::empty() }
}

/// What a closure came to.
fn done<R>(outcome: Outcome<R>) -> io::Result<R> {
    outcome.done().ok_or_else(|| io::Error::other("a worker panicked"))
}

/// Nothing is an end that came too soon.
fn moved(bytes: io::Result<usize>) -> io::Result<usize> {
    bytes.and_then(|bytes| if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) })
}
