//! One connection: requests in, answers out, in their order.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille::uring::{IoBuf, IoBufMut, Recv, SendFlags};
use rustix::net::{Shutdown, shutdown, sockopt};

use super::Server;
use super::answer::Asked;
use super::request::{Parsed, Request, parse};

pub struct Connection {
    pub server: Rc<Server>,
    pub socket: Arc<OwnedFd>,
    /// The FastCGI server's side, while it is asked: that is who is late then.
    pub upstream: RefCell<Option<Arc<OwnedFd>>>,
    deadline: Cell<Instant>,
    /// What got through since the deadline was moved.
    moved: Cell<usize>,
    /// Between two requests.
    idle: Cell<bool>,
}

/// How much has to get through for the deadline to move.
const STEP: usize = 64 << 10;

impl Connection {
    pub fn new(server: Rc<Server>, socket: OwnedFd) -> Self {
        _ = sockopt::set_tcp_nodelay(&socket, true); // slower without, and no worse
        Self {
            deadline: Cell::new(Instant::now() + server.options.limits.idle),
            server,
            socket: Arc::new(socket),
            upstream: RefCell::default(),
            moved: Cell::new(0),
            idle: Cell::new(true),
        }
    }

    pub fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// So much time from now on.
    pub fn allow(&self, time: Duration) {
        self.moved.set(0);
        // Once the server is stopping there is no more than it has set.
        if !self.server.stopping.get() {
            self.deadline.set(Instant::now() + time);
        }
    }

    /// Moves the deadline, if enough has got through.
    pub fn progress(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes);
        if self.moved.get() >= STEP {
            self.allow(self.server.options.limits.step);
        }
    }

    /// Ends what it waits for.
    pub fn shut(&self) {
        let upstream = self.upstream.borrow_mut().take();
        _ = shutdown(upstream.as_ref().unwrap_or(&self.socket), Shutdown::Both);
    }

    /// The server stops: it has until `last`, or not at all if it does nothing.
    pub fn stop(&self, last: Instant) {
        self.deadline.set(last.min(self.deadline.get()));
        if self.idle.get() {
            self.shut();
        }
    }

    pub async fn serve(&self) -> io::Result<()> {
        let limits = self.server.options.limits.clone();
        let mut buffer = Vec::with_capacity(2048);
        loop {
            let (request, length) = loop {
                match parse(&buffer) {
                    Parsed::Head(request, length) if length <= limits.head => break (request, length),
                    Parsed::Refused(status) => return self.refuse(status).await,
                    _ if buffer.len() >= limits.head => {
                        return self.refuse("431 Request Header Fields Too Large").await;
                    }
                    _ => {}
                }
                if buffer.is_empty() {
                    self.allow(limits.idle);
                    self.idle.set(true);
                    if self.server.stopping.get() {
                        return Ok(());
                    }
                }
                let began = self.idle.get();
                if !self.receive(&mut buffer).await? {
                    return Ok(());
                }
                self.idle.set(false);
                if began {
                    self.allow(limits.step); // for all of the head
                }
            };
            buffer.drain(..length);
            if request.body > limits.body {
                return self.refuse("413 Content Too Large").await;
            }
            let body = request.body as usize;
            if request.expects_continue && buffer.len() < body {
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), SendFlags::empty()).await?;
            }
            while buffer.len() < body {
                let before = buffer.len();
                if !self.receive(&mut buffer).await? {
                    return Ok(());
                }
                self.progress(buffer.len() - before);
            }
            self.allow(limits.step);
            let keep_alive = self.answer(request, &buffer[..body]).await?;
            if !keep_alive {
                return self.close().await;
            }
            buffer.drain(..body);
        }
    }

    /// Takes what has come. False at the end of the stream.
    async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.reserve(1024);
        let held = buffer.len();
        let slice = std::mem::take(buffer).slice_mut(held..);
        let (received, slice) =
            self.server.ring.submit(Recv::new(self.socket.clone(), slice)).await.map_err(io::Error::other)?;
        *buffer = slice.into_inner();
        Ok(received? > 0)
    }

    fn asked(&self, request: Arc<Request>) -> Asked {
        let keep_alive = request.keep_alive && !self.server.stopping.get();
        Asked { request, date: self.server.date(), keep_alive }
    }

    /// Whether the connection stays.
    async fn answer(&self, request: Arc<Request>, body: &[u8]) -> io::Result<bool> {
        let asked = self.asked(request);
        let keep_alive = asked.keep_alive;
        if self.server.options.php.is_some() && asked.request.path.ends_with(".php") {
            return self.run(&asked, body).await;
        }
        match asked.request.method.as_str() {
            "GET" | "HEAD" => self.file(asked).await?,
            _ => {
                self.send(asked.status("405 Method Not Allowed", "Allow: GET, HEAD\r\n"), SendFlags::empty())
                    .await?
            }
        }
        Ok(keep_alive)
    }

    /// An answer to what was not understood, which is the last one.
    async fn refuse(&self, status: &str) -> io::Result<()> {
        let asked = self.asked(Arc::default());
        self.send(asked.status(status, ""), SendFlags::empty()).await?;
        self.close().await
    }

    /// Has the client see the end of the last answer: a socket that is closed with bytes unread resets the
    /// connection, and that overtakes what was sent. So what it still says is read, for a while.
    async fn close(&self) -> io::Result<()> {
        _ = shutdown(&self.socket, Shutdown::Write);
        self.allow(self.server.options.limits.step.min(Duration::from_secs(2)));
        for _ in 0..64 {
            let mut ignored = Vec::with_capacity(16 << 10);
            if !self.receive(&mut ignored).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends all of it, a step at a time.
    pub async fn send(&self, bytes: Vec<u8>, flags: SendFlags) -> io::Result<()> {
        let (mut bytes, mut sent) = (bytes, 0);
        while sent < bytes.len() {
            let end = bytes.len().min(sent + STEP);
            let part = bytes.slice(sent..end);
            let all = self.server.ring.send_all(self.socket.clone(), part, flags).await;
            let (result, part) = all.map_err(io::Error::other)?;
            result?;
            bytes = part.into_inner();
            self.progress(end - sent);
            sent = end;
        }
        Ok(())
    }
}
