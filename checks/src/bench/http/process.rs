//! Processes of the bench: started, timed, ended.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

use super::perf::Watch;
use super::side::{Served, Side};

/// How long a process may take to be there, or to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a process that ends with the thread that starts it, at the latest.
pub(super) fn start(command: &mut Command) -> io::Result<Child> {
    // SAFETY: the child makes one system call, and allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?)) };
    command.spawn()
}

pub(super) fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Waits until `ready`, for as long as the process lives.
pub(super) fn wait_until(child: &mut Child, ready: impl Fn() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while !ready() {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("it ends with {status}")));
        }
        if begun.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The CPU time of a process so far, of all its threads, the kernel's for it included.
pub(super) fn cpu_time(process: u32) -> io::Result<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: it is given a valid place.
    let refused = unsafe { libc::clock_getcpuclockid(process.cast_signed(), &raw mut clock) };
    if refused != 0 {
        return Err(io::Error::from_raw_os_error(refused));
    }
    // SAFETY: it is given a valid place.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32))
}

/// A server in a process of its own. Dropped, it is killed.
pub(super) struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Its report, if it is ours.
    output: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// One of ours, under a watch perhaps.
    pub fn ours(side: Side, watch: Option<&Watch>) -> io::Result<Self> {
        let mut command = watch.map_or_else(|| side.command(), |watch| Ok(watch.around(&side.command()?)))?;
        let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut output = child.stdout.take().map(BufReader::new);
        let mut line = String::new();
        output.as_mut().map_or(Ok(0), |output| output.read_line(&mut line))?;
        let mut server = Self { child, address: SocketAddr::from(([0; 4], 0)), output };
        // It has said on its standard error why it ends.
        server.address = line.trim().parse().map_err(|_| io::Error::other("it says no address"))?;
        Ok(server)
    }

    /// Somebody else's, which listens there soon.
    pub fn of_others(mut child: Child, address: SocketAddr) -> io::Result<Self> {
        let ready = wait_until(&mut child, || TcpStream::connect(address).is_ok());
        let server = Self { child, address, output: None };
        ready.map(|()| server)
    }

    pub fn cpu_time(&self) -> io::Result<Duration> {
        cpu_time(self.child.id())
    }

    /// Has it end, and report.
    pub fn stop(mut self) -> io::Result<Served> {
        let Some(mut output) = self.output.take() else { return Ok(Served::default()) };
        drop(self.child.stdin.take());
        let mut report = String::new();
        output.read_to_string(&mut report)?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("it ends with {status}")));
        }
        Ok(serde_json::from_str(&report)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
