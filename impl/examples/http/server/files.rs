//! Files: open, look, send; and who does that.
//!
//! *The directory is not left.* A path has no part that begins with a dot when it comes here, and the
//! kernel resolves it beneath the directory (`openat2`, `RESOLVE_BENEATH`): a symbolic link that leads out
//! is refused by the one that follows it, at the moment that it does.
//!
//! *Slow clients hold no worker of the pool.* A socket does not block while a worker sends to it; when it
//! is full, the connection's task waits for it, in the ring. The kernel's workers do wait there: that is
//! how `IOSQE_ASYNC` is.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use reveille::pool::{Outcome, Work};
use reveille::uring::{
    AtFlags, Mode, OFlags, Openat, Poll, PollFlags, ResolveFlags, SendFlags, Splice, SpliceFlags, Statx,
    StatxFlags,
};
use rustix::fs::{openat2, sendfile, statx};
use rustix::io::{Errno, ioctl_fionbio, pread};
use rustix::net::send;
use rustix::pipe::{PipeFlags, pipe_with};

use super::Blocking;
use super::answer::{Answer, Asked, Body, Found};
use super::connection::Connection;

/// What is read from it, and what is written to it. Those that are kept are empty.
pub type Pipe = (Arc<OwnedFd>, Arc<OwnedFd>);

/// As much as a pipe holds.
const CHUNK: u64 = 64 << 10;

/// So much a worker sends before others have their turn.
const TURN: u64 = 1 << 20;

/// Up to this length a file goes with the head, in one call.
const SHORT: u64 = 8 << 10;

/// Reading does not wait for a writer, where somebody has put a FIFO; a terminal is not taken over.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

impl Connection {
    /// Answers with a file.
    pub async fn file(&self, asked: Asked) -> io::Result<()> {
        let index = if asked.request.path.ends_with('/') { "index.html" } else { "" };
        let path = format!("{}{index}", asked.request.path);
        if self.server.options.blocking == Blocking::Kernel {
            let found = self.open(&path).await;
            return self.send_by_kernel(asked.file(&path, found)).await;
        }
        let (root, socket) = (self.server.root.clone(), self.socket.clone());
        self.send_by_pool(move || {
            let Answer { head, body } = asked.file(&path, open(&root, &path));
            Transfer { head, body, sent: 0, socket }
        })
        .await
    }

    /// Opens a file of the directory, and looks at it.
    pub async fn open(&self, path: &str) -> io::Result<Found> {
        let (root, ring) = (self.server.root.clone(), self.server.ring.in_worker());
        if self.server.options.blocking == Blocking::Pool {
            let path = path.to_owned();
            return done(ring.offload(Work::BOUNDED, move |_| open(&root, &path)).await)?;
        }
        let opening = Openat::new(root, beneath(path)?, FLAGS, Mode::empty()).resolve(RESOLVE);
        let file = Arc::new(ring.submit(opening).await.map_err(io::Error::other)??);
        let stat = ring.submit(Statx::of(file.clone())).await.map_err(io::Error::other)??;
        Ok((file, stat))
    }

    async fn send_by_kernel(&self, answer: Answer) -> io::Result<()> {
        let Some(Body { file, mut offset, mut left }) = answer.body else {
            return self.send(answer.head, SendFlags::empty()).await;
        };
        self.send(answer.head, SendFlags::MORE).await?;
        let kept = self.server.pipes.borrow_mut().pop();
        let new = || pipe_with(PipeFlags::CLOEXEC).map(|(from, to)| (Arc::new(from), Arc::new(to)));
        let (ring, pipe) = (self.server.ring.in_worker(), kept.map_or_else(new, Ok)?);
        while left > 0 {
            let fill = Splice::new(file.clone(), pipe.1.clone(), left.min(CHUNK) as u32).from_offset(offset);
            let mut piped = moved(ring.submit(fill).await.map_err(io::Error::other)?)?;
            (offset, left) = (offset + piped as u64, left - piped as u64);
            let flags = if left > 0 { SpliceFlags::MORE } else { SpliceFlags::empty() };
            while piped > 0 {
                let drain = Splice::new(pipe.0.clone(), self.socket.clone(), piped as u32).flags(flags);
                piped -= moved(ring.submit(drain).await.map_err(io::Error::other)?)?;
                self.progress();
            }
        }
        self.server.pipes.borrow_mut().push(pipe);
        Ok(())
    }

    async fn send_by_pool(&self, begin: impl FnOnce() -> Transfer + Send + 'static) -> io::Result<()> {
        let ring = &self.server.ring;
        let (mut ended, mut transfer) = done(ring.offload(Work::BOUNDED, move |_| begin().run()).await)?;
        loop {
            self.progress();
            match ended {
                Ok(()) if transfer.is_over() => return Ok(()),
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    let poll = Poll::new(self.socket.clone(), PollFlags::OUT);
                    ring.submit(poll).await.map_err(io::Error::other)??;
                }
                Err(error) => return Err(error.into()),
            }
            (ended, transfer) = done(ring.offload(Work::BOUNDED, move |_| transfer.run()).await)?;
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
    socket: Arc<OwnedFd>,
}

impl Transfer {
    fn is_over(&self) -> bool {
        self.sent == self.head.len() && self.body.is_none()
    }

    /// Goes on, until it is over, or the socket is full, or others should have their turn.
    fn run(mut self) -> (Result<(), Errno>, Self) {
        let ended = match self.send_head() {
            Ok(()) if self.body.is_some() => self.send_body(),
            ended => ended,
        };
        (ended, self)
    }

    fn send_head(&mut self) -> Result<(), Errno> {
        if let Some(body) = self.body.take_if(|body| body.left <= SHORT) {
            let (begin, mut left) = (self.head.len(), body.left as usize);
            self.head.resize(begin + left, 0);
            while left > 0 {
                let part = self.head.len() - left;
                let read = pread(&body.file, &mut self.head[part..], body.offset + (part - begin) as u64)?;
                left -= if read == 0 { return Err(Errno::IO) } else { read }; // the file has become shorter
            }
        }
        let more = if self.body.is_some() { SendFlags::MORE } else { SendFlags::empty() };
        while self.sent < self.head.len() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more;
            self.sent += send(&self.socket, &self.head[self.sent..], flags)?;
        }
        Ok(())
    }

    fn send_body(&mut self) -> Result<(), Errno> {
        // Nobody else uses the socket meanwhile. A receive in the ring would fail on one that does not block.
        ioctl_fionbio(&self.socket, true)?;
        let ended = self.send_turn();
        ioctl_fionbio(&self.socket, false).and(ended)
    }

    fn send_turn(&mut self) -> Result<(), Errno> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let enough = body.left.saturating_sub(TURN);
        while body.left > enough {
            let part = (body.left - enough) as usize;
            match sendfile(&self.socket, &body.file, Some(&mut body.offset), part)? {
                0 => return Err(Errno::IO), // the file has become shorter
                sent => body.left -= sent as u64,
            }
        }
        self.body.take_if(|body| body.left == 0);
        Ok(())
    }
}

/// What a closure came to.
fn done<R>(outcome: Outcome<R>) -> io::Result<R> {
    outcome.done().ok_or_else(|| io::Error::other("a worker panicked"))
}

/// Nothing is an end that came too soon.
fn moved(bytes: io::Result<usize>) -> io::Result<usize> {
    bytes.and_then(|bytes| if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) })
}
