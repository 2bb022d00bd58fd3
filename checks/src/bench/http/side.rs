//! What the processes that the bench starts do: serve, or load a server. Each is this program again, is
//! told in JSON what to do, and answers in JSON.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reveille::pool::{self, Layout};
use reveille::uring::{self, Executor, Wakes};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::process::{self, program};
use super::{Sleep, Way, Work};

#[path = "../../../../impl/tests/http/epoll.rs"]
mod epoll;
#[path = "../../../../impl/examples/http/load.rs"]
mod load;
#[path = "../../../../impl/examples/http/server/mod.rs"]
mod server;

/// What a process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Side {
    /// To serve a directory. It says its address in a line, and ends when its standard input does.
    Serve {
        /// The directory.
        root: PathBuf,
        /// The socket of php-fpm.
        php: Option<PathBuf>,
        /// How.
        way: Way,
    },
    /// To load a server.
    Load {
        /// Where it is.
        address: SocketAddr,
        /// What to ask for.
        path: String,
        /// A file that holds the right answer.
        file: PathBuf,
        /// How many connections to open.
        connections: usize,
        /// For how long.
        time: Duration,
    },
}

/// What a server did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Served {
    pub posted: u64,
    pub wakes: u64,
    pub worker_wakes: u64,
    /// Threads and descriptors that it has left.
    pub left: Vec<String>,
}

/// What a client did.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Loaded {
    pub requests: u64,
    pub answers: u64,
    pub compared: u64,
    pub wrong: u64,
    pub failed: u64,
    pub elapsed: Duration,
    pub cpu: Duration,
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
}

impl Side {
    /// Does it, in this process.
    ///
    /// # Errors
    /// If there is no ring, no such file, no such server.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        more_descriptors()?;
        let answer = match self {
            Self::Serve { root, php, way } => serde_json::to_string(&serve(root, php, way)?)?,
            Self::Load { address, path, file, connections, time } => {
                let plan = load::Plan { address, path, body: fs::read(file)?, connections, time };
                serde_json::to_string(&Loaded::from(load::drive(&plan)?))?
            }
        };
        Ok(writeln!(io::stdout(), "{answer}")?)
    }

    /// A process that does it.
    pub(super) fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("http").arg(serde_json::to_string(self)?);
        Ok(command)
    }

    /// Has a process load a server.
    pub(super) fn load(&self) -> io::Result<Loaded> {
        let mut command = self.command()?;
        let client = process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let output = client.wait_with_output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{} ends with {}", program(&command), output.status)));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl From<load::Load> for Loaded {
    fn from(load: load::Load) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let latency = |permille| load.latency(permille);
        Self {
            p50: latency(500),
            p99: latency(990),
            p999: latency(999),
            requests: load.requests,
            answers: load.answers,
            compared: load.compared,
            wrong: load.wrong,
            failed: load.failed,
            elapsed: load.elapsed,
            cpu: Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32),
        }
    }
}

fn serve(root: PathBuf, php: Option<PathBuf>, way: Way) -> Result<Served, Box<dyn Error>> {
    let before = descriptors()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut workers = pool::Config::default();
    let blocking = if way.work == Work::Kernel { server::Blocking::Kernel } else { server::Blocking::Pool };
    match way.work {
        Work::OneLock => workers.layout = Layout::OneLock,
        Work::LockPerAccount => workers.layout = Layout::LockPerAccount,
        Work::Kernel | Work::Sharded => {}
    }
    let (sleep, wakes) = match way.sleep {
        Sleep::Woken => (uring::Sleep::Elsewhere, Wakes::Always),
        Sleep::Epoll => (uring::Sleep::Elsewhere, Wakes::Spared),
        Sleep::Ring => (uring::Sleep::InRing, Wakes::Spared),
    };
    let config = uring::Config::default().submissions(1024).sleep(sleep).wakes(wakes).pool(workers);
    let mut executor = Executor::new(config)?;
    let options = server::Options { root, php, blocking, ..server::Options::default() };
    let server = server::start(&executor, options, listener, io::stdin().as_fd().try_clone_to_owned()?)?;
    match sleep {
        uring::Sleep::InRing => executor.block_on(server)?,
        uring::Sleep::Elsewhere => epoll::block_on(&mut executor, server)?,
    }
    let (counts, workers) = (executor.counts(), executor.pool_stats());
    drop(executor);
    Ok(Served {
        posted: counts.posted,
        wakes: counts.wakes,
        worker_wakes: workers.accounts.iter().map(|account| account.workers_woken).sum(),
        left: left(&before)?,
    })
}

/// Threads and descriptors that are there and were not before. The kernel's workers take a moment to end.
fn left(before: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let begun = Instant::now();
    loop {
        let threads = threads()?;
        if threads.len() <= 1 || begun.elapsed() > Duration::from_secs(5) {
            let others = threads.into_iter().skip(1).map(|name| format!("the thread {name}"));
            let files = descriptors()?;
            let files = files.difference(before).map(|name| format!("the descriptor of {name}"));
            return Ok(others.chain(files).collect());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Their names, the main thread's first.
fn threads() -> io::Result<Vec<String>> {
    let tasks = fs::read_dir("/proc/self/task")?;
    // One that ends meanwhile has none.
    let name = |task: io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
    Ok(tasks.filter_map(name).map(|name| name.trim().to_owned()).collect())
}

/// By number and by what they are of. The one that reads this directory has been closed by the time it is
/// looked at.
pub fn descriptors() -> io::Result<BTreeSet<String>> {
    let entries = fs::read_dir("/proc/self/fd")?;
    let name = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let of = fs::read_link(&path).ok()?;
        Some(format!("{}: {}", path.file_name()?.to_string_lossy(), of.to_string_lossy()))
    };
    Ok(entries.filter_map(name).filter(|name| !name.contains("/fd")).collect())
}

/// As many descriptors as the process may have: a connection takes one, and up to three more while it is
/// answered.
fn more_descriptors() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}
