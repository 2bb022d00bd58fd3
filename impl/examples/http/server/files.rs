//! Files: open → statx → splice file → pipe → socket, and who does that.
//!
//! *The directory is not left.* A path has no part that begins with a dot when it comes here, and the kernel is told to
//! resolve it beneath the directory (`openat2`, `RESOLVE_BENEATH`): a symbolic link that leads out is refused by the one that
//! follows it, at the moment that it does.
//!
//! *Slow clients hold no worker of the pool.* The socket does not block while a worker splices into it; when it is full, the
//! connection's task waits for it, in the ring. The kernel's workers do wait there: that is how `IOSQE_ASYNC` is.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use reveille::pool::Work;
use reveille::uring::{
    Mode, OFlags, Openat, Poll, PollFlags, ResolveFlags, SendFlags, Splice, SpliceFlags, Statx, StatxFlags,
};
use rustix::fs::{FileType, openat2, statx};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::send;
use rustix::pipe::{PipeFlags, pipe_with, splice};

use super::Blocking;
use super::connection::Connection;
use super::request::{Head, Request, range};

pub struct Pipe {
    reader: Arc<OwnedFd>,
    writer: Arc<OwnedFd>,
}

/// As much as a pipe holds.
const CHUNK: usize = 64 << 10;

/// So much a worker moves before others have their turn.
const TURN: usize = 1 << 20;

/// Reading does not wait for a writer, where somebody has put a FIFO; a terminal is not taken over.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

impl Connection {
    /// Answers with a file. Whether the connection stays.
    pub async fn file(&self, request: &Request) -> io::Result<bool> {
        let path = request.path.as_str();
        let wanted = if path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() };
        let (file, stat) = match self.open(&wanted).await {
            Ok(found) => found,
            Err(error) => return self.say(request, status_of(&error), &[]).await,
        };
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => {}
            FileType::Directory => {
                let query =
                    if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
                // As it was sent, but with one slash: two would name a host.
                let raw = request.target.split('?').next().unwrap_or_default().trim_start_matches('/');
                return self
                    .say(request, "301 Moved Permanently", &[("Location", &format!("/{raw}/{query}"))])
                    .await;
            }
            _ => return self.say(request, "403 Forbidden", &[]).await,
        }
        let (length, seconds) = (stat.stx_size, u64::try_from(stat.stx_mtime.tv_sec).unwrap_or_default());
        let changed = UNIX_EPOCH + Duration::from_secs(seconds);
        let modified = httpdate::fmt_http_date(changed);
        let tag = format!("\"{:x}-{:x}-{length:x}\"", stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec);
        let head = |status| {
            let head = Head::new(status, &self.server.date()).field("Last-Modified", &modified);
            head.field("ETag", &tag).field("Accept-Ranges", "bytes")
        };
        let keep_alive = self.keeps_alive(request);
        let unchanged = match (&request.if_none_match, &request.if_modified_since) {
            (Some(tags), _) => {
                tags.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag)
            }
            (None, Some(since)) => httpdate::parse_http_date(since).is_ok_and(|since| changed <= since),
            (None, None) => false,
        };
        if unchanged {
            self.send(head("304 Not Modified").end(keep_alive), SendFlags::empty()).await?;
            return Ok(keep_alive);
        }
        let same = request.if_range.as_ref().is_none_or(|version| *version == tag || *version == modified);
        let part = request.range.as_deref().filter(|_| same).and_then(|field| range(field, length));
        let (head, (offset, left)) = match part {
            None => (head("200 OK"), (0, length)),
            Some(Some((first, count))) => {
                let last = first + count - 1;
                let head = head("206 Partial Content");
                (head.field("Content-Range", format_args!("bytes {first}-{last}/{length}")), (first, count))
            }
            Some(None) => {
                let head = head("416 Range Not Satisfiable")
                    .field("Content-Range", format_args!("bytes */{length}"));
                self.send(head.field("Content-Length", 0).end(keep_alive), SendFlags::empty()).await?;
                return Ok(keep_alive);
            }
        };
        let head = head.field("Content-Type", kind(&wanted)).field("Content-Length", left).end(keep_alive);
        if request.method == "HEAD" || left == 0 {
            self.send(head, SendFlags::empty()).await?;
        } else {
            self.transfer(head, file, offset, left).await?;
        }
        Ok(keep_alive)
    }

    /// Opens a file of the directory, and looks at it.
    pub async fn open(&self, path: &str) -> io::Result<(Arc<OwnedFd>, rustix::fs::Statx)> {
        let (root, path) = (self.server.root.clone(), CString::new(path.trim_start_matches('/'))?);
        let path = if path.is_empty() { c".".into() } else { path };
        match self.server.options.blocking {
            Blocking::Kernel => {
                let ring = self.server.ring.in_worker();
                let open = Openat::new(root, path, FLAGS, Mode::empty()).resolve(RESOLVE);
                let file = Arc::new(ring.submit(open).await.map_err(io::Error::other)??);
                let stat = ring.submit(Statx::of(file.clone())).await.map_err(io::Error::other)??;
                Ok((file, stat))
            }
            Blocking::Pool(_) => {
                let open = move || -> io::Result<_> {
                    let file = openat2(root, path, FLAGS, Mode::empty(), RESOLVE)?;
                    let stat = statx(&file, c"", rustix::fs::AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
                    Ok((Arc::new(file), stat))
                };
                done(self.server.ring.offload(Work::BOUNDED, move |_| open()).await)?
            }
        }
    }

    async fn transfer(&self, head: Vec<u8>, file: Arc<OwnedFd>, offset: u64, left: u64) -> io::Result<()> {
        let pooled = self.server.pipes.borrow_mut().pop();
        let pipe = match pooled {
            Some(pipe) => pipe,
            None => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
                Pipe { reader: Arc::new(reader), writer: Arc::new(writer) }
            }
        };
        let pipe = match self.server.options.blocking {
            Blocking::Kernel => self.transfer_in_kernel(head, file, offset, left, pipe).await?,
            Blocking::Pool(_) => {
                let socket = self.socket.clone();
                self.transfer_in_pool(Transfer { head, sent: 0, file, offset, left, pipe, piped: 0, socket })
                    .await?
            }
        };
        // After an error it may hold something, and is dropped instead.
        self.server.pipes.borrow_mut().push(pipe);
        Ok(())
    }

    async fn transfer_in_kernel(
        &self,
        head: Vec<u8>,
        file: Arc<OwnedFd>,
        mut offset: u64,
        mut left: u64,
        pipe: Pipe,
    ) -> io::Result<Pipe> {
        self.send(head, SendFlags::MORE).await?;
        let ring = self.server.ring.in_worker();
        while left > 0 {
            let (from, to) = (file.clone(), pipe.writer.clone());
            let fill = Splice::new(from, to, left.min(CHUNK as u64) as u32).from_offset(offset);
            let mut piped = moved(ring.submit(fill).await.map_err(io::Error::other)?)?;
            (offset, left) = (offset + piped as u64, left - piped as u64);
            while piped > 0 {
                let flags = if left > 0 { SpliceFlags::MORE } else { SpliceFlags::empty() };
                let drain = Splice::new(pipe.reader.clone(), self.socket.clone(), piped as u32).flags(flags);
                let sent = moved(ring.submit(drain).await.map_err(io::Error::other)?)?;
                piped -= sent;
                self.progress(sent);
            }
        }
        Ok(pipe)
    }

    async fn transfer_in_pool(&self, mut transfer: Transfer) -> io::Result<Pipe> {
        loop {
            let before = transfer.remaining();
            let (ended, back) = done(self.server.ring.offload(Work::BOUNDED, move |_| transfer.run()).await)?;
            transfer = back;
            self.progress((before - transfer.remaining()) as usize);
            match ended {
                Ok(()) if transfer.remaining() == 0 => return Ok(transfer.pipe),
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    let poll = Poll::new(self.socket.clone(), PollFlags::OUT);
                    self.server.ring.submit(poll).await.map_err(io::Error::other)??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A file on its way to a socket.
struct Transfer {
    head: Vec<u8>,
    sent: usize,
    file: Arc<OwnedFd>,
    offset: u64,
    left: u64,
    pipe: Pipe,
    piped: usize,
    socket: Arc<OwnedFd>,
}

impl Transfer {
    fn remaining(&self) -> u64 {
        self.left + (self.piped + self.head.len() - self.sent) as u64
    }

    /// Goes on, until it is over, or the socket is full, or others should have their turn.
    fn run(mut self) -> (Result<(), Errno>, Self) {
        // Nobody else uses the socket meanwhile. A receive in the ring would fail on one that does not block.
        let ended = ioctl_fionbio(&self.socket, true).and_then(|()| self.go_on());
        let ended = ioctl_fionbio(&self.socket, false).and(ended);
        (ended, self)
    }

    fn go_on(&mut self) -> Result<(), Errno> {
        while self.sent < self.head.len() {
            let flags = rustix::net::SendFlags::MORE | rustix::net::SendFlags::NOSIGNAL;
            self.sent += send(&self.socket, &self.head[self.sent..], flags)?;
        }
        let enough = self.remaining().saturating_sub(TURN as u64);
        while self.remaining() > enough {
            if self.piped == 0 {
                let mut offset = self.offset;
                let chunk = self.left.min(CHUNK as u64) as usize;
                let filled = splice(
                    &self.file,
                    Some(&mut offset),
                    &self.pipe.writer,
                    None,
                    chunk,
                    SpliceFlags::empty(),
                )?;
                if filled == 0 {
                    return Err(Errno::IO); // the file has become shorter
                }
                (self.offset, self.left, self.piped) = (offset, self.left - filled as u64, filled);
            }
            let flags = if self.left > 0 { SpliceFlags::MORE } else { SpliceFlags::empty() };
            self.piped -= splice(&self.pipe.reader, None, &self.socket, None, self.piped, flags)?;
        }
        Ok(())
    }
}

/// What a closure came to.
fn done<R>(outcome: reveille::pool::Outcome<R>) -> io::Result<R> {
    outcome.done().ok_or_else(|| io::Error::other("a worker panicked"))
}

/// Nothing is an end that came too soon.
fn moved(bytes: io::Result<usize>) -> io::Result<usize> {
    bytes.and_then(|bytes| if bytes == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) })
}

pub fn status_of(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => "404 Not Found",
        // XDEV: out of the directory. AGAIN: something was moved just then, and the kernel is not sure.
        Some(Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP | Errno::NXIO | Errno::AGAIN) => {
            "403 Forbidden"
        }
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "md" | "rs" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}
