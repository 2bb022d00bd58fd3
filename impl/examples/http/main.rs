//! An HTTP/1.1 server for static files, and for PHP by way of FastCGI.
//!
//! `cargo run --release -p reveille --example http -- DIR [--listen ADDRESS] [--php SOCKET] [--work WHO]
//! [--sleep WHERE]`

mod load;
mod server;

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use reveille::pool::Layout;
use reveille::uring::Sleep;
use server::{Blocking, Limits, Options};

const USAGE: &str = "http DIR [--listen ADDRESS] [--php SOCKET] [--work kernel|one-lock|account|sharded]
     [--sleep ring|epoll]
http --load ADDRESS PATH CONNECTIONS SECONDS

  --listen  where clients connect; 127.0.0.1:8080
  --php     the unix socket of a FastCGI server, for .php
  --work    who opens and moves files: the kernel's workers (IOSQE_ASYNC), or our pool with one lock, with a lock an
            account, or sharded; sharded
  --sleep   where the thread sleeps: in io_uring_enter, or in an epoll on the ring; ring";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match &arguments[..] {
        [load, address, path, connections, seconds] if load == "--load" => {
            drive(address, path, connections, seconds)
        }
        _ => match options(arguments.into_iter()) {
            Some((options, listen)) => serve(options, &listen),
            None => Err(USAGE.into()),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Drives a server, and prints what came of it, a name and a number a line.
fn drive(
    address: &str,
    path: &str,
    connections: &str,
    seconds: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let time = Duration::try_from_secs_f64(seconds.parse()?)?;
    let plan =
        load::Plan { address: address.parse()?, path: path.into(), connections: connections.parse()?, time };
    let load = load::drive(&plan)?;
    println!(
        "answers {}\nbytes {}\ndifferent {}\nfailed {}",
        load.answers, load.bytes, load.different, load.failed
    );
    println!("per_second {:.0}", load.per_second());
    for (name, permille) in [("p50", 500), ("p99", 990), ("p999", 999)] {
        println!("{name}_us {:.1}", load.latency(permille).as_secs_f64() * 1e6);
    }
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<(Options, String)> {
    let (mut root, mut listen, mut php) = (None, "127.0.0.1:8080".to_owned(), None);
    let (mut blocking, mut sleep) = (Blocking::Pool(Layout::Sharded(4)), Sleep::InRing);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--listen" => listen = arguments.next()?,
            "--php" => php = Some(arguments.next()?.into()),
            "--work" => {
                blocking = match arguments.next()?.as_str() {
                    "kernel" => Blocking::Kernel,
                    "one-lock" => Blocking::Pool(Layout::OneLock),
                    "account" => Blocking::Pool(Layout::LockPerAccount),
                    "sharded" => Blocking::Pool(Layout::Sharded(4)),
                    _ => return None,
                }
            }
            "--sleep" => {
                sleep = match arguments.next()?.as_str() {
                    "ring" => Sleep::InRing,
                    "epoll" => Sleep::Elsewhere,
                    _ => return None,
                }
            }
            _ if argument.starts_with('-') || root.is_some() => return None,
            _ => root = Some(argument.into()),
        }
    }
    Some((Options { root: root?, php, blocking, sleep, limits: Limits::default() }, listen))
}

fn serve(options: Options, listen: &str) -> Result<(), Box<dyn std::error::Error>> {
    let stop = signals()?; // before there are other threads, which inherit it
    more_descriptors();
    let listener = TcpListener::bind(listen)?;
    println!("http://{}/ is {}", listener.local_addr()?, options.root.display());
    let counts = server::run(options, listener, stop)?;
    println!("{counts:?}");
    Ok(())
}

/// A descriptor that is readable when the process has been told to end (SIGINT, SIGTERM).
fn signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before it is used, and the descriptor has just been opened.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGTERM);
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC) {
            ..0 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// As many descriptors as the process may have: a connection takes one, and one more while it is answered.
fn more_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a valid place.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
