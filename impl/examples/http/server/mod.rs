//! The server: who is connected, how long each may take, and how it all ends.
//!
//! One thread runs all connections as tasks of an executor. What may block is done [elsewhere](files), by the
//! kernel's workers or by the pool's.
//!
//! *One clock for all.* A connection has a deadline, which its task moves on as it makes progress. A look
//! now and then shuts the sockets whose time is over, which ends whatever their tasks wait for. So no
//! request needs a timeout of its own, and a client that says one byte a second gets no further than one
//! that says none.

mod answer;
mod connection;
mod fastcgi;
mod files;
mod request;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reveille::uring::{Accept, AsyncHandle, Executor, Poll, PollFlags, Spawner, Task, Timeout};
use rustix::net::{Shutdown, listen, shutdown};
use slab::Slab;

use connection::Connection;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The directory that is served, and never left.
    pub root: PathBuf,
    /// The unix socket of a FastCGI server, for `.php`.
    pub php: Option<PathBuf>,
    pub blocking: Blocking,
    pub limits: Limits,
}

/// Who does what may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Blocking {
    /// Threads of ours.
    #[default]
    Pool,
    /// The kernel's workers, an operation at a time (`IOSQE_ASYNC`).
    Kernel,
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    /// Bytes of a request's head, and of its body.
    pub head: usize,
    pub body: usize,
    /// For the next request to begin.
    pub idle: Duration,
    /// For a head or a body to be complete, and for some of an answer to get through.
    pub step: Duration,
    /// For PHP to go on.
    pub php: Duration,
    /// For what is under way when the server is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let [idle, step, php, grace] = [60, 20, 30, 5].map(Duration::from_secs);
        Self { connections: 10_000, head: 16 << 10, body: 1 << 20, idle, step, php, grace }
    }
}

/// How often the clock looks.
const TICK: Duration = Duration::from_millis(100);

/// What all connections share.
struct Server {
    options: Options,
    root: Arc<OwnedFd>,
    ring: AsyncHandle<Task>,
    spawner: Spawner,
    connections: RefCell<Slab<Rc<Connection>>>,
    pipes: RefCell<Vec<files::Pipe>>,
    stopping: Cell<bool>,
    accepting: Cell<bool>,
    /// The second, and its date.
    date: RefCell<(u64, Arc<str>)>,
}

/// What serves until `stop` is readable or hung up, and ends when the last connection has.
pub fn start(
    executor: &Executor,
    options: Options,
    listener: TcpListener,
    stop: OwnedFd,
) -> io::Result<impl Future<Output = ()> + use<>> {
    listen(&listener, 4096)?; // more may wait to be accepted than std thinks
    let options = Options { root: std::fs::canonicalize(&options.root)?, ..options };
    let server = Rc::new(Server {
        root: Arc::new(std::fs::File::open(&options.root)?.into()),
        options,
        ring: executor.handle(),
        spawner: executor.spawner(),
        connections: RefCell::default(),
        pipes: RefCell::default(),
        stopping: Cell::new(false),
        accepting: Cell::new(true),
        date: RefCell::new((0, "".into())),
    });
    Ok(server.serve(Arc::new(listener), stop))
}

impl Server {
    async fn serve(self: Rc<Self>, listener: Arc<TcpListener>, stop: OwnedFd) {
        drop(self.spawner.spawn(self.clone().accept(listener.clone())));
        drop(self.spawner.spawn(self.clone().stop(listener, stop)));
        while self.accepting.get() || !self.connections.borrow().is_empty() {
            _ = self.ring.submit(Timeout::after(TICK)).await;
            let now = Instant::now();
            let connections = self.connections.borrow();
            connections.iter().filter(|(_, one)| one.deadline.get() <= now).for_each(|(_, late)| late.shut());
        }
    }

    async fn accept(self: Rc<Self>, listener: Arc<TcpListener>) {
        while !self.stopping.get() {
            let is_full = self.connections.borrow().len() >= self.options.limits.connections;
            let accept = || self.ring.submit(Accept::new(listener.clone()));
            match if is_full { None } else { accept().await.ok() } {
                Some(Ok(socket)) => self.connected(socket),
                // Full; or out of descriptors or memory, which passes; or shut.
                _ => _ = self.ring.submit(Timeout::after(TICK / 10)).await,
            }
        }
        self.accepting.set(false);
    }

    fn connected(self: &Rc<Self>, socket: OwnedFd) {
        let (server, connection) = (self.clone(), Rc::new(Connection::new(self.clone(), socket)));
        let key = self.connections.borrow_mut().insert(connection.clone());
        drop(self.spawner.spawn(async move {
            _ = connection.serve().await; // errors are the client's: it is gone, or has been shut
            let ended = server.connections.borrow_mut().remove(key);
            drop(ended);
        }));
    }

    /// No more connections; those that wait for a request are over, the others have some time.
    async fn stop(self: Rc<Self>, listener: Arc<TcpListener>, stop: OwnedFd) {
        _ = self.ring.submit(Poll::new(stop, PollFlags::IN)).await;
        self.stopping.set(true);
        _ = shutdown(&listener, Shutdown::Both); // ends the accept
        let last = Instant::now() + self.options.limits.grace;
        self.connections.borrow().iter().for_each(|(_, connection)| connection.stop(last));
    }

    /// The present time as HTTP has it, made once a second.
    fn date(&self) -> Arc<str> {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, httpdate::fmt_http_date(now).into());
        }
        date.1.clone()
    }
}
