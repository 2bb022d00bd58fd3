//! One connection: requests in, answers out, in their order.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille::uring::{IoBufMut, Recv, SendFlags};
use rustix::net::{Shutdown, shutdown, sockopt};

use super::Server;
use super::answer::Asked;
use super::request::{Parsed, Request, TOO_LONG, parse};

pub struct Connection {
    pub server: Rc<Server>,
    pub socket: Arc<OwnedFd>,
    /// The FastCGI server's side, while it is asked: that is who is late then.
    pub upstream: RefCell<Option<Arc<OwnedFd>>>,
    pub deadline: Cell<Instant>,
    /// Between two requests.
    idle: Cell<bool>,
}

impl Connection {
    pub fn new(server: Rc<Server>, socket: OwnedFd) -> Self {
        _ = sockopt::set_tcp_nodelay(&socket, true); // slower without, and no worse
        let deadline = Cell::new(Instant::now() + server.options.limits.idle);
        Self {
            server,
            socket: Arc::new(socket),
            upstream: RefCell::default(),
            deadline,
            idle: Cell::new(true),
        }
    }

    /// So much time from now on. Once the server is stopping there is no more than it has set.
    pub fn allow(&self, time: Duration) {
        if !self.server.stopping.get() {
            self.deadline.set(Instant::now() + time);
        }
    }

    /// Something got through.
    pub fn progress(&self) {
        self.allow(self.server.options.limits.step);
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
        let limits = &self.server.options.limits;
        let mut buffer = Vec::with_capacity(2048);
        loop {
            let (request, length) = loop {
                match parse(&buffer) {
                    Parsed::Head(request, length) if length <= limits.head => break (request, length),
                    Parsed::Refused(status) => return self.refuse(status).await,
                    _ if buffer.len() >= limits.head => return self.refuse(TOO_LONG).await,
                    _ => {}
                }
                let begins = buffer.is_empty();
                if begins {
                    if self.server.stopping.get() {
                        return Ok(());
                    }
                    self.allow(limits.idle);
                    self.idle.set(true);
                }
                if !self.receive(&self.socket, &mut buffer).await? {
                    return Ok(());
                }
                self.idle.set(false);
                if begins {
                    self.progress(); // for all of the head
                }
            };
            buffer.drain(..length);
            if request.body > limits.body {
                return self.refuse("413 Content Too Large").await;
            }
            if request.field("expect").is_some() && buffer.len() < request.body {
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), SendFlags::empty()).await?;
            }
            self.progress(); // for all of the body
            while buffer.len() < request.body {
                if !self.receive(&self.socket, &mut buffer).await? {
                    return Ok(());
                }
            }
            let length = request.body;
            if !self.answer(request, &buffer[..length]).await? {
                return self.close().await;
            }
            buffer.drain(..length);
        }
    }

    /// Appends what has come. False at the end of the stream.
    pub async fn receive(&self, socket: &Arc<OwnedFd>, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.reserve(1024);
        let held = buffer.len();
        let receive = Recv::new(socket.clone(), std::mem::take(buffer).slice_mut(held..));
        let (received, slice) = self.server.ring.submit(receive).await.map_err(io::Error::other)?;
        *buffer = slice.into_inner();
        Ok(received? > 0)
    }

    /// Sends all of it.
    pub async fn send(&self, bytes: Vec<u8>, flags: SendFlags) -> io::Result<()> {
        self.progress();
        self.server.ring.send_all(self.socket.clone(), bytes, flags).await.map_err(io::Error::other)?.0
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
        if matches!(asked.request.method.as_str(), "GET" | "HEAD") {
            self.file(asked).await?;
        } else {
            let answer = asked.status("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
            self.send(answer, SendFlags::empty()).await?;
        }
        Ok(keep_alive)
    }

    /// An answer to what was not understood, which is the last one.
    async fn refuse(&self, status: &str) -> io::Result<()> {
        self.send(self.asked(Arc::default()).status(status, ""), SendFlags::empty()).await?;
        self.close().await
    }

    /// Has the client see the end of the last answer: a socket that is closed with bytes unread resets the
    /// connection, and that overtakes what was sent. So what it still says is read, for a while.
    async fn close(&self) -> io::Result<()> {
        _ = shutdown(&self.socket, Shutdown::Write);
        self.allow(self.server.options.limits.step.min(Duration::from_secs(2)));
        while self.receive(&self.socket, &mut Vec::with_capacity(16 << 10)).await? {}
        Ok(())
    }
}
