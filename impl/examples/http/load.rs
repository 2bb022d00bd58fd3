//! A client that asks the same thing again and again, on many connections at once, and compares what it
//! gets with what it should get. The tests of the server use it, and `reveille bench http`, where it runs
//! in a process of its own: what it costs is not the server's.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille::uring::{AsyncHandle, Config, Error, Executor, IoBufMut, Recv, SendFlags, Task};

#[derive(Debug, Clone)]
pub struct Plan {
    pub address: SocketAddr,
    /// What is asked for, `/index.html` say.
    pub path: String,
    /// What it should be.
    pub body: Vec<u8>,
    pub connections: usize,
    pub time: Duration,
}

/// What became of it.
#[derive(Debug, Default, Clone)]
pub struct Load {
    /// Requests that were sent.
    pub requests: u64,
    /// Answers that were whole, had the status 200 and a body of the right length.
    pub answers: u64,
    /// Bodies whose bytes were compared, by their hash: all short ones, and one in [`SAMPLE`] of the others.
    pub compared: u64,
    /// Those among them that were wrong.
    pub wrong: u64,
    /// Other answers, and connections that ended before their answer did.
    pub failed: u64,
    /// How long each answer took, from the request to its last byte, in nanoseconds, sorted.
    pub latencies: Vec<u64>,
    pub elapsed: Duration,
}

/// Hashing takes the client longer than sending takes the server: of the long bodies it is done to this part.
const SAMPLE: u64 = 16;

/// Up to this length a body is short.
const SHORT: usize = 4096;

impl Load {
    /// The latency that so many of a thousand do not exceed.
    pub fn latency(&self, permille: usize) -> Duration {
        let index = (self.latencies.len() * permille / 1000).min(self.latencies.len().saturating_sub(1));
        Duration::from_nanos(self.latencies.get(index).copied().unwrap_or_default())
    }
}

struct Driver {
    plan: Plan,
    request: String,
    /// Of the body.
    hash: u64,
    ring: AsyncHandle<Task>,
    load: RefCell<Load>,
}

/// # Errors
/// If there is no ring, or the server cannot be reached.
pub fn drive(plan: &Plan) -> Result<Load, Error> {
    let mut executor = Executor::new(Config::default().submissions(1024))?;
    let (ring, spawner, plan) = (executor.handle(), executor.spawner(), plan.clone());
    let connect = |_| {
        let stream = TcpStream::connect(plan.address)?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(Arc::new(OwnedFd::from(stream)))
    };
    let sockets = (0..plan.connections).map(connect).collect::<Result<Vec<_>, _>>()?;
    let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", plan.path, plan.address);
    let hash = hash(&plan.body);
    let driver = Rc::new(Driver { plan, request, hash, ring, load: RefCell::default() });
    let begun = Instant::now();
    let tasks = sockets.into_iter().map(|socket| {
        let driver = driver.clone();
        spawner.spawn(async move {
            let mut buffer = Vec::with_capacity(64 << 10);
            while begun.elapsed() < driver.plan.time {
                if driver.ask(&socket, &mut buffer).await.is_err() {
                    driver.load.borrow_mut().failed += 1;
                    break;
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    executor.block_on(async {
        for task in tasks {
            _ = task.await;
        }
    })?;
    let mut load = driver.load.take();
    load.elapsed = begun.elapsed();
    load.latencies.sort_unstable();
    Ok(load)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    hash.write(bytes);
    hash.finish()
}

impl Driver {
    async fn ask(&self, socket: &Arc<OwnedFd>, buffer: &mut Vec<u8>) -> io::Result<()> {
        let asked = Instant::now();
        let number = self.load.borrow().requests;
        self.load.borrow_mut().requests += 1;
        let sent = self.ring.send_all(socket.clone(), self.request.clone(), SendFlags::empty()).await;
        sent.map_err(io::Error::other)?.0?;
        buffer.clear();
        let (status, head, length) = loop {
            self.receive(socket, buffer).await?;
            if let Some(head) = head(buffer)? {
                break head;
            }
        };
        let compared = length <= SHORT || number.is_multiple_of(SAMPLE);
        let (mut hash, mut got) = (DefaultHasher::new(), buffer.len() - head);
        if compared {
            hash.write(&buffer[head..]);
        }
        while got < length {
            buffer.clear();
            self.receive(socket, buffer).await?;
            if compared {
                hash.write(buffer);
            }
            got += buffer.len();
        }
        let mut load = self.load.borrow_mut();
        // More than the length is an answer that nobody has asked for.
        if status == 200 && got == length && length == self.plan.body.len() {
            load.answers += 1;
            load.compared += u64::from(compared);
            load.wrong += u64::from(compared && hash.finish() != self.hash);
            load.latencies.push(asked.elapsed().as_nanos() as u64);
        } else {
            load.failed += 1;
        }
        Ok(())
    }

    async fn receive(&self, socket: &Arc<OwnedFd>, buffer: &mut Vec<u8>) -> io::Result<()> {
        let held = buffer.len();
        buffer.reserve(16 << 10);
        let receive = Recv::new(socket.clone(), std::mem::take(buffer).slice_mut(held..));
        let (received, slice) = self.ring.submit(receive).await.map_err(io::Error::other)?;
        *buffer = slice.into_inner();
        if received? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// Status, length of the head, and of the body; `None` if there is more to come.
fn head(bytes: &[u8]) -> io::Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(parsed) = response.parse(bytes) else { return Err(io::ErrorKind::InvalidData.into()) };
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let body = field.and_then(|field| str::from_utf8(field.value).ok()?.trim().parse().ok());
    let body = body.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((response.code.unwrap_or_default(), length, body)))
}
