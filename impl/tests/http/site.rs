//! A directory, a server for it in a thread of its own, and a client that looks closely.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeWriter, Read as _, Write as _, pipe};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::epoll;
use crate::server::{self, Limits, Options};
use reveille::pool::{self, Layout};
use reveille::uring::{Config, Counts, Error, Executor, Sleep};

pub const SECRET: &str = "the secret of another directory";

/// A directory to be served, and beside it what must not be; and the turn of a test.
pub struct Site {
    pub directory: PathBuf,
    descriptors: BTreeSet<String>,
    _turn: MutexGuard<'static, ()>,
}

/// The descriptors of the process, by what they are of.
fn descriptors() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let paths = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    paths.map(|path| path.to_string_lossy().into_owned()).filter(|path| !path.contains("/fd")).collect()
}

/// What the server's thread is called; those that it starts inherit the name.
const THREAD: &str = "http-server";

/// Threads that a server has started, or the kernel for it.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("iou-") || name.contains("reveille") || name.contains("pool"))
        .collect()
}

impl Site {
    pub fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = std::env::temp_dir().join(format!("reveille-http-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let root = directory.join("root");
        fs::create_dir_all(root.join("dir/deep")).unwrap();
        fs::write(directory.join("secret"), SECRET).unwrap();
        fs::write(root.join("index.html"), "<h1>index</h1>").unwrap();
        fs::write(root.join("a b.txt"), "a and b").unwrap();
        fs::write(root.join("empty"), "").unwrap();
        fs::write(root.join("dir/big"), big()).unwrap();
        fs::write(root.join(".hidden"), SECRET).unwrap();
        fs::write(root.join("script.php"), "<?php").unwrap();
        let link = |to: &Path, name: &str| symlink(to, root.join(name)).unwrap();
        link(Path::new("index.html"), "inside");
        link(Path::new("../secret"), "relative");
        link(&directory.join("secret"), "absolute");
        link(Path::new(".."), "up");
        link(Path::new("/"), "slash");
        link(Path::new("/proc/self/cwd"), "magic");
        Self { directory, descriptors: descriptors(), _turn: turn }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Starts a server, or says loudly that there is no ring.
    pub fn serve(&self, blocking: Blocking, sleep: Sleep, limits: Limits) -> Option<Serving> {
        let php = Some(self.directory.join("php"));
        let (blocking, layout) = match blocking {
            Blocking::Kernel => (server::Blocking::Kernel, Layout::OneLock),
            Blocking::Pool(layout) => (server::Blocking::Pool, layout),
        };
        let options = Options { root: self.root(), php, blocking, limits };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stopped, stop) = pipe().unwrap();
        let (ready, wait) = std::sync::mpsc::channel();
        let running = std::thread::Builder::new().name(THREAD.into()).spawn(move || {
            let pool = pool::Config { layout, ..pool::Config::default() };
            let run = || {
                let mut executor = Executor::new(Config::default().sleep(sleep).pool(pool))?;
                let server = server::start(&executor, options, listener, stopped.into())?;
                match sleep {
                    Sleep::InRing => executor.block_on(server)?,
                    Sleep::Elsewhere => epoll::block_on(&mut executor, server)?,
                }
                Ok(executor.counts())
            };
            let counts = run();
            let _ = ready.send(());
            counts
        });
        let probe = TcpStream::connect(address);
        if wait.recv_timeout(Duration::from_millis(20)).is_ok() || probe.is_err() {
            match running.unwrap().join().unwrap() {
                Err(error @ (Error::Missing | Error::Forbidden | Error::LockedMemory)) => {
                    eprintln!("SKIPPED: {error}");
                    return None;
                }
                ended => panic!("{ended:?}"),
            }
        }
        Some(Serving { address, stop: Some(stop), running: Some(running.unwrap()) })
    }

    pub fn serve_default(&self) -> Option<Serving> {
        self.serve(Blocking::Pool(Layout::Sharded(4)), Sleep::InRing, Limits::default())
    }

    /// Nothing of a server is left.
    pub fn is_quiet(&self) {
        // A thread that has been joined is listed for a moment yet.
        for _ in 0..1000 {
            if threads().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(threads(), [""; 0]);
        assert_eq!(descriptors(), self.descriptors);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub fn big() -> Vec<u8> {
    (0..1_000_003_u32).map(|i| (i ^ i >> 9) as u8).collect()
}

/// Who does what may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    Kernel,
    Pool(Layout),
}

pub const EVERY_WAY: [(Blocking, Sleep); 8] = [
    (Blocking::Kernel, Sleep::InRing),
    (Blocking::Kernel, Sleep::Elsewhere),
    (Blocking::Pool(Layout::OneLock), Sleep::InRing),
    (Blocking::Pool(Layout::OneLock), Sleep::Elsewhere),
    (Blocking::Pool(Layout::LockPerAccount), Sleep::InRing),
    (Blocking::Pool(Layout::LockPerAccount), Sleep::Elsewhere),
    (Blocking::Pool(Layout::Sharded(4)), Sleep::InRing),
    (Blocking::Pool(Layout::Sharded(4)), Sleep::Elsewhere),
];

pub struct Serving {
    pub address: SocketAddr,
    stop: Option<PipeWriter>,
    running: Option<JoinHandle<Result<Counts, Error>>>,
}

impl Serving {
    pub fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Client(BufReader::new(stream))
    }

    /// One request, on a connection of its own.
    pub fn get(&self, target: &str, fields: &str) -> Answer {
        let mut client = self.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n"));
        client.answer().unwrap()
    }

    /// A hundred requests in one go, each for another part of the big file, and then nothing more.
    pub fn ask_a_hundred(&self, big: &[u8]) {
        let mut client = self.client();
        let last = |i: usize| i * 100;
        let request = |i| {
            let range = format!("Range: bytes={i}-{}", last(i));
            format!("GET /dir/big?{i} HTTP/1.1\r\nHost: x\r\n{range}\r\n\r\n")
        };
        client.send((0..100).map(request).collect::<String>());
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        for i in 0..100 {
            assert!(client.answer().unwrap().body == big[i..=last(i)], "{i}");
        }
        assert!(client.is_over());
    }

    pub fn stop(mut self) -> Counts {
        drop(self.stop.take());
        self.running.take().unwrap().join().unwrap().unwrap()
    }
}

pub struct Client(pub BufReader<TcpStream>);

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

impl Client {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if answer.field("transfer-encoding") == "chunked" {
            loop {
                let length = usize::from_str_radix(self.line()?.trim(), 16).unwrap();
                let mut chunk = vec![0; length + 2];
                self.0.read_exact(&mut chunk)?;
                answer.body.extend_from_slice(&chunk[..length]);
                if length == 0 {
                    return Ok(answer);
                }
            }
        }
        answer.body = vec![0; answer.field("content-length").parse().unwrap_or(0)];
        self.0.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    pub fn head(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some((name, value)) => fields.push((name.to_ascii_lowercase(), value.to_owned())),
                None => return Ok(Answer { status, fields, body: Vec::new() }),
            }
        }
    }

    /// The other end is closed, or has been reset.
    pub fn is_over(&mut self) -> bool {
        self.0.read_to_end(&mut Vec::new()).is_ok_and(|bytes| bytes == 0)
    }
}
