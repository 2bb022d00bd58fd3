//! The server: who is connected, how long each may take, and how it all ends.
//!
//! One thread runs all connections as tasks of an executor. What may block, opening a file and moving it to a
//! socket, is done [elsewhere](files): by the kernel's workers or by the pool's.
//!
//! *One clock for all.* A connection has a deadline, which its task moves on as it makes progress: bytes by the
//! head, by the body, by the answer. A look now and then shuts the sockets whose time is over, and that ends
//! whatever their tasks wait for. So no request needs a timeout of its own, and a client that says one byte a
//! second gets no further than one that says none.

mod answer;
mod connection;
mod fastcgi;
mod files;
pub mod request;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reveille::pool::{self, Layout};
use reveille::uring::{
    Accept, AsyncHandle, Config, Counts, Error, Executor, Poll, PollFlags, Sleep, Spawner, Task, Timeout,
};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use slab::Slab;

use connection::Connection;

#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that is served, and never left.
    pub root: PathBuf,
    /// The unix socket of a FastCGI server, for `.php`.
    pub php: Option<PathBuf>,
    pub blocking: Blocking,
    pub sleep: Sleep,
    pub limits: Limits,
}

/// Who does what may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// The kernel's workers, an operation at a time (`IOSQE_ASYNC`).
    Kernel,
    /// Threads of ours.
    Pool(Layout),
}

#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// Bytes of a request's body.
    pub body: u64,
    /// For the next request to begin.
    pub idle: Duration,
    /// For a head to be complete, and for each 64 KiB of a body or an answer to get through.
    pub step: Duration,
    /// For PHP to answer.
    pub php: Duration,
    /// For what is under way when the server is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 10_000,
            head: 16 << 10,
            body: 1 << 20,
            idle: seconds(60),
            step: seconds(10),
            php: seconds(30),
            grace: seconds(5),
        }
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
    /// Pipes that nobody is using, all empty.
    pipes: RefCell<Vec<files::Pipe>>,
    stopping: Cell<bool>,
    accepting: Cell<bool>,
    /// The second, and its date.
    date: RefCell<(u64, Arc<str>)>,
}

/// Serves until `stop` is readable or hung up, and returns when the last connection has ended.
///
/// # Errors
/// If there is no ring, or no such directory.
pub fn run(
    options: Options,
    listener: TcpListener,
    stop: impl AsFd + Send + 'static,
) -> Result<Counts, Error> {
    let workers = match options.blocking {
        Blocking::Kernel => pool::Config::default(),
        Blocking::Pool(layout) => pool::Config { layout, ..pool::Config::default() },
    };
    let mut executor = Executor::new(Config::default().submissions(1024).sleep(options.sleep).pool(workers))?;
    let (sleep, options) =
        (options.sleep, Options { root: std::fs::canonicalize(&options.root)?, ..options });
    let server = Rc::new(Server {
        root: Arc::new(std::fs::File::open(&options.root)?.into()),
        ring: executor.handle(),
        spawner: executor.spawner(),
        connections: RefCell::default(),
        pipes: RefCell::default(),
        stopping: Cell::new(false),
        accepting: Cell::new(true),
        date: RefCell::new((0, "".into())),
        options,
    });
    if sleep == Sleep::InRing {
        executor.block_on(server.serve(listener, stop))?;
    } else {
        let ended = Rc::new(Cell::new(false));
        let end = ended.clone();
        drop(executor.spawner().spawn(async move {
            server.serve(listener, stop).await;
            end.set(true);
        }));
        turn_in_epoll(&mut executor, &ended)?;
    }
    Ok(executor.counts())
}

/// An executor in somebody else's loop.
fn turn_in_epoll(executor: &mut Executor, ended: &Cell<bool>) -> Result<(), Error> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
    let fd = executor.poll_fd().ok_or_else(|| io::Error::other("this ring is not to be polled"))?;
    epoll::add(&poll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(io::Error::from)?;
    let mut ready = Vec::with_capacity(1);
    while !ended.get() {
        if executor.prepare_to_sleep()? {
            ready.clear();
            match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut ready), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        executor.turn(Some(Duration::ZERO))?;
    }
    Ok(())
}

impl Server {
    async fn serve(self: Rc<Self>, listener: TcpListener, stop: impl AsFd + Send + 'static) {
        let listener = Arc::new(listener);
        drop(self.spawner.spawn(self.clone().accept(listener.clone())));
        let server = self.clone();
        drop(self.spawner.spawn(async move {
            _ = server.ring.submit(Poll::new(stop, PollFlags::IN)).await;
            server.stop(&listener);
        }));
        while self.accepting.get() || !self.connections.borrow().is_empty() {
            _ = self.ring.submit(Timeout::after(TICK)).await;
            let now = Instant::now();
            let connections = self.connections.borrow();
            connections
                .iter()
                .filter(|(_, connection)| connection.deadline() <= now)
                .for_each(|(_, late)| late.shut());
        }
    }

    async fn accept(self: Rc<Self>, listener: Arc<TcpListener>) {
        while !self.stopping.get() {
            if self.connections.borrow().len() >= self.options.limits.connections {
                _ = self.ring.submit(Timeout::after(TICK)).await;
                continue;
            }
            match self.ring.submit(Accept::new(listener.clone())).await {
                Ok(Ok(socket)) => self.connected(socket),
                // Out of descriptors or memory, which pass; or shut.
                Ok(Err(_)) => _ = self.ring.submit(Timeout::after(TICK / 10)).await,
                Err(_) => break,
            }
        }
        self.accepting.set(false);
    }

    fn connected(self: &Rc<Self>, socket: OwnedFd) {
        let (server, connection) = (self.clone(), Rc::new(Connection::new(self.clone(), socket)));
        let key = self.connections.borrow_mut().insert(connection.clone());
        drop(self.spawner.spawn(async move {
            // Its errors are the client's: it is gone, or has been shut.
            _ = connection.serve().await;
            let ended = server.connections.borrow_mut().remove(key);
            drop(ended);
        }));
    }

    /// No more connections; those that wait for a request are over, the others have some time.
    fn stop(&self, listener: &TcpListener) {
        self.stopping.set(true);
        _ = shutdown(listener, Shutdown::Both); // ends the accept
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
