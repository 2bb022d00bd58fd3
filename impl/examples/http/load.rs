//! A client that asks the same thing again and again, on many connections at once, and compares every answer
//! with the first.
//!
//! It is to be run in a process of its own: what it costs is not the server's.

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
    pub connections: usize,
    pub time: Duration,
}

/// What became of it.
#[derive(Debug, Default, Clone)]
pub struct Load {
    /// Answers that were whole, and had the status 200.
    pub answers: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Bodies that were another one than the first.
    pub different: u64,
    /// Answers with another status, and connections that ended before their answer did.
    pub failed: u64,
    /// How long each answer took, from the request to its last byte, in nanoseconds, sorted.
    pub latencies: Vec<u64>,
    pub elapsed: Duration,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that so many of a thousand do not exceed.
    pub fn latency(&self, permille: usize) -> Duration {
        let index = (self.latencies.len() * permille / 1000).min(self.latencies.len().saturating_sub(1));
        Duration::from_nanos(self.latencies.get(index).copied().unwrap_or_default())
    }
}

struct Driver {
    plan: Plan,
    ring: AsyncHandle<Task>,
    begun: Instant,
    load: RefCell<Load>,
    /// The hash of the first body.
    body: RefCell<Option<u64>>,
}

/// # Errors
/// If there is no ring, or the server cannot be reached.
pub fn drive(plan: &Plan) -> Result<Load, Error> {
    let mut executor = Executor::new(Config::default().submissions(1024))?;
    let (ring, spawner, begun) = (executor.handle(), executor.spawner(), Instant::now());
    let (load, body) = (RefCell::default(), RefCell::default());
    let driver = Rc::new(Driver { plan: plan.clone(), ring, begun, load, body });
    let connect = |_| {
        let stream = TcpStream::connect(plan.address)?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(Arc::new(OwnedFd::from(stream)))
    };
    let sockets = (0..plan.connections).map(connect).collect::<Result<Vec<_>, _>>()?;
    let tasks = sockets.into_iter().map(|socket| {
        let driver = driver.clone();
        spawner.spawn(async move {
            while driver.begun.elapsed() < driver.plan.time {
                if driver.ask(&socket).await.is_err() {
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

impl Driver {
    async fn ask(&self, socket: &Arc<OwnedFd>) -> io::Result<()> {
        let asked = Instant::now();
        let Plan { path, address, .. } = &self.plan;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let sent = self.ring.send_all(socket.clone(), request, SendFlags::empty()).await;
        sent.map_err(io::Error::other)?.0?;
        let mut buffer = Vec::with_capacity(64 << 10);
        let (status, head, length) = loop {
            self.receive(socket, &mut buffer).await?;
            if let Some(head) = head(&buffer)? {
                break head;
            }
        };
        let (mut hash, mut got) = (DefaultHasher::new(), buffer.len() - head);
        hash.write(&buffer[head..]);
        while got < length {
            buffer.clear();
            self.receive(socket, &mut buffer).await?;
            hash.write(&buffer);
            got += buffer.len();
        }
        let hash = hash.finish();
        let mut load = self.load.borrow_mut();
        if status == 200 && got == length {
            load.answers += 1;
            load.bytes += length as u64;
            load.different += u64::from(*self.body.borrow_mut().get_or_insert(hash) != hash);
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
