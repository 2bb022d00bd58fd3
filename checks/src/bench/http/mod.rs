//! The letter's other two workloads: an HTTP server that sends static files, and the same server running PHP.
//!
//! The server is the library's example, `impl/examples/http`. It, the client that loads it and php-fpm are
//! processes of their own, so that it is known which of them took how much CPU time. All of them are on this
//! machine and share its CPUs: what is compared is what the server needs of them.
//!
//! A run is the whole life of a server: it starts, the client opens all its connections and asks for the
//! same file on each of them again and again, the server is told to end. CPU time is what the server took
//! while the client ran, accepting included. *It balances* if every request had one answer of the right
//! length, the bytes of a sample were those of the file, and the server leaves no thread and no descriptor.
//!
//! # The contenders
//!
//! The letter has two axes: who does what may block (the kernel's io-wq or our pool, by its layout), and
//! how the thread sleeps and is woken. All twelve combinations would take too long. These are a way through
//! them, on which one thing changes at a time:
//!
//! | contender | opens and sends files | sleeps in | is woken |
//! |---|---|---|---|
//! | `kernel` | io-wq, `IOSQE_ASYNC` | epoll on the ring | by each completion, as the kernel does it |
//! | `kernel-ring` | io-wq | `io_uring_enter` | by the kernel |
//! | `one-lock` | our pool, one lock | epoll on the ring | each time that something is posted: `has-sleeper` |
//! | `lock-per-account` | a lock an account: the letter's patch 3 | epoll | the same |
//! | `skipping` | the same | epoll | `per-entry`: its patch 8 |
//! | `sharded` | work lists with a lock each | epoll | `per-entry` |
//! | `reveille` | the same: the default | `io_uring_enter` | `per-entry` |
//! | `nginx` | nginx, one process, as a yardstick | | |
//!
//! # What is counted
//!
//! *Wakes* are writes to the eventfd of the server's reactor; everything that was posted to it without one
//! was spared a wake. The kernel's own wakes nobody counts. With `perf` and at 64 connections a second
//! server in each round is watched: its *system calls* are counted, of all of its threads, and the shares of
//! its CPU time are sampled that the letter gives: in the slow path of the kernel's spin locks, in
//! `ep_poll_callback`, in `try_to_wake_up`. How long threads wait for locks of our own is not seen from
//! outside; where they do they sleep, which is a system call.

mod nginx;
#[doc(hidden)]
pub mod perf;
mod php;
mod process;
#[doc(hidden)]
pub mod side;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::nginx::Nginx;
use self::perf::Watch;
use self::php::Fpm;
use self::process::Server;
pub use self::side::Side;
use self::side::{Loaded, Served};
use self::site::Site;
use super::{Apart, Contender, Counts, Error, Latency, Line};

/// How a server of ours works.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Way {
    work: Work,
    sleep: Sleep,
}

/// Who does what may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    Kernel,
    OneLock,
    LockPerAccount,
    Sharded,
}

/// Where the thread sleeps, and when it is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Sleep {
    /// In epoll, and is woken each time.
    Woken,
    Epoll,
    Ring,
}

#[doc(hidden)]
pub const WAYS: [(&str, Way); 7] = [
    (super::BASELINE, Way { work: Work::Kernel, sleep: Sleep::Epoll }),
    ("kernel-ring", Way { work: Work::Kernel, sleep: Sleep::Ring }),
    ("one-lock", Way { work: Work::OneLock, sleep: Sleep::Woken }),
    ("lock-per-account", Way { work: Work::LockPerAccount, sleep: Sleep::Woken }),
    ("skipping", Way { work: Work::LockPerAccount, sleep: Sleep::Epoll }),
    ("sharded", Way { work: Work::Sharded, sleep: Sleep::Epoll }),
    ("reveille", Way { work: Work::Sharded, sleep: Sleep::Ring }),
];

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(hidden)]
pub enum Target {
    Small,
    Big,
    Php,
}

impl Target {
    fn case(self) -> &'static str {
        match self {
            Self::Small => "14 bytes",
            Self::Big => "1 MB",
            Self::Php => "php",
        }
    }
}

/// At this number of connections a server is watched too.
const WATCHED: usize = 64;

/// Static files.
pub(super) fn lines() -> Vec<Line> {
    lines_of(&[Target::Small, Target::Big], &[1, 8, 64, 256])
}

/// PHP.
pub(super) fn php_lines() -> Vec<Line> {
    lines_of(&[Target::Php], &[1, 8, 64])
}

fn lines_of(targets: &[Target], connections: &[usize]) -> Vec<Line> {
    let (watched, nginx) = (perf::is_there(), nginx::program().is_some());
    let mut lines = Vec::new();
    for &target in targets {
        for &n in connections {
            for (name, way) in WAYS {
                let make = move |watch| Serving::new(name, Some(way), target, n, watch);
                let line = Line::new(name, n, move || make(false)).in_case(target.case()).of_processes();
                let watches = watched && n == WATCHED;
                lines.push(if watches { line.watched(move || make(true)) } else { line });
            }
            if nginx {
                let make = move || Serving::new("nginx", None, target, n, false);
                lines.push(Line::new("nginx", n, make).in_case(target.case()).of_processes());
            }
        }
    }
    lines
}

/// What is missing on this machine, and how to get it.
pub fn missing() -> Vec<String> {
    let lacks = |there: bool, what: &str| (!there).then(|| what.to_owned());
    let perf = "system calls and spinning are not measured: perf is not there, or may not count (Debian: \
                apt-get install linux-perf; as root, mount -t tracefs tracefs /sys/kernel/tracing)";
    let nginx = "nginx is not there to compare with (Debian: apt-get install nginx-light)";
    [lacks(perf::is_there(), perf), lacks(nginx::program().is_some(), nginx)].into_iter().flatten().collect()
}

/// A server that is made anew for each run, and its client.
#[doc(hidden)]
pub struct Serving {
    who: String,
    way: Option<Way>,
    target: Target,
    connections: usize,
    watches: bool,
    // Before the site: it uses it.
    php: Option<Fpm>,
    site: Site,
}

impl Serving {
    /// A server with a directory of its own.
    pub fn new(
        name: &str,
        way: Option<Way>,
        target: Target,
        connections: usize,
        watches: bool,
    ) -> Result<Self, Error> {
        let who = format!("{}, {name} at {connections}", target.case());
        let site = Site::new()?;
        let php = if target == Target::Php { Some(Fpm::start(&site)?) } else { None };
        Ok(Self { who, way, target, connections, watches, php, site })
    }

    /// How the file is asked for, and where its bytes are.
    fn asked(&self) -> (&'static str, PathBuf) {
        match self.target {
            Target::Small => ("/small.html", self.site.root().join("small.html")),
            Target::Big => ("/big", self.site.root().join("big")),
            Target::Php => ("/hello.php", self.site.path("hello")),
        }
    }

    /// Whether every answer was the right one, as far as they were compared, and nothing of the server is
    /// left. That there was one for every request is for the counts to say.
    pub fn check(&self, load: &Loaded, served: &Served) -> Result<(), Error> {
        let Loaded { failed, wrong, compared, .. } = load;
        if failed + wrong > 0 || *compared == 0 {
            let what = format!(
                "{failed} answers failed, and of {compared} bodies that were compared {wrong} were wrong"
            );
            return Err(self.faulty(what));
        }
        match &served.left[..] {
            [] => Ok(()),
            left => Err(self.faulty(format!("it LEFT {}", left.join(", ")))),
        }
    }

    fn faulty(&self, what: impl Into<String>) -> Error {
        Error::Faulty { who: self.who.clone(), what: what.into() }
    }
}

impl Contender for Serving {
    fn run(&mut self, time: Duration) -> Result<Counts, Error> {
        let socket = self.php.as_ref().map(|php| php.socket().to_owned());
        let watch = self.watches.then(|| Watch::new(&self.site));
        let server = match self.way {
            Some(way) => {
                let side = Side::Serve { root: self.site.root(), php: socket, way };
                Server::ours(side, watch.as_ref())
            }
            None => Nginx::start(&self.site, socket.as_deref()),
        };
        let server = server.map_err(|error| self.faulty(format!("it does not start: {error}")))?;
        let (path, file) = self.asked();
        let (address, connections) = (server.address, self.connections);
        let backend = || self.php.as_ref().map(Fpm::cpu_time).transpose();
        let (cpu, cpu_behind) = (server.cpu_time()?, backend()?);
        let load = Side::Load { address, path: path.into(), file, connections, time }.load();
        let load = load.map_err(|error| self.faulty(format!("its client failed: {error}")))?;
        let cpu = server.cpu_time()?.saturating_sub(cpu);
        let cpu_behind = backend()?.zip(cpu_behind).map(|(now, before)| now.saturating_sub(before));
        let served = server.stop().map_err(|error| self.faulty(format!("it does not end: {error}")))?;
        self.check(&load, &served)?;
        let (syscalls, profile) = watch.map_or(Ok((None, None)), |watch| watch.read())?;
        let ours = self.way.filter(|way| way.work != Work::Kernel);
        Ok(Counts {
            submitted: load.requests,
            completed: load.answers,
            wakes: ours.map(|_| served.wakes),
            skipped: ours.map(|_| served.posted.saturating_sub(served.wakes)),
            worker_wakes: ours.map(|_| served.worker_wakes),
            syscalls,
            profile,
            latency: Some(Latency { p50: load.p50, p99: load.p99, p999: load.p999 }),
            apart: Some(Apart { wall: load.elapsed, cpu, cpu_behind, cpu_of_clients: load.cpu }),
            ..Counts::default()
        })
    }
}
