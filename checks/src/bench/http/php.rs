//! A php-fpm of our own, on a unix socket in a directory of its own.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::Error;
use super::process::{cpu_time, start, wait_until};
use super::site::{Site, find};

/// Scripts run in as many processes as there are CPUs. Dropped, all of them end.
pub(super) struct Fpm {
    child: Child,
    socket: PathBuf,
}

impl Fpm {
    pub fn start(site: &Site) -> Result<Self, Error> {
        // Debian calls it by its version.
        let program = find(|name| name.starts_with("php-fpm"))
            .ok_or(Error::Absent { what: "php-fpm", install: "apt-get install php-fpm" })?;
        let (socket, config) = (site.path("php"), site.path("fpm.conf"));
        let processes = std::thread::available_parallelism()?;
        let is_root = rustix::process::geteuid().is_root();
        let user = if is_root { "user = root\ngroup = root\n" } else { "" };
        fs::write(
            &config,
            format!(
                "[global]\nerror_log = {}\n[www]\n{user}listen = {}\npm = static\n\
                 pm.max_children = {processes}\n",
                site.path("fpm.log").display(),
                socket.display()
            ),
        )?;
        let mut command = Command::new(program);
        // It refuses to run scripts as root unless it is told to.
        command.args(if is_root { &["-R"][..] } else { &[] }).args(["-F", "-n", "-y"]).arg(&config);
        let child = start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        let mut fpm = Self { child, socket };
        let ready = wait_until(&mut fpm.child, || UnixStream::connect(&fpm.socket).is_ok());
        ready.map_err(|error| {
            let log = fs::read_to_string(site.path("fpm.log")).unwrap_or_default();
            io::Error::other(format!("php-fpm does not start: {error}: {}", log.trim()))
        })?;
        Ok(fpm)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Of all its processes.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let children = children.split_ascii_whitespace().filter_map(|id| id.parse().ok());
        std::iter::once(master).chain(children).map(cpu_time).sum()
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        // Not killed: it would not end its children.
        if let Some(id) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
