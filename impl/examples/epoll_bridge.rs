//! A program that is built round epoll takes a reactor into its loop, as one file descriptor among others.
//!
//! Here the loop has a pipe, in which another thread writes lines, and a reactor, which brings a timeout of the
//! kernel's and closures from the pool. The rule is: [`prepare_to_sleep`](Reactor::prepare_to_sleep) before every
//! `epoll_wait`, and a turn without sleep after it.
//!
//! `cargo run --release -p reveille --example epoll_bridge`

use std::error::Error;
use std::io::{Read as _, Write as _, pipe};
use std::process::ExitCode;
use std::time::Duration;

use reveille::pool::Work;
use reveille::uring::{Config, Reactor, Request, Sleep, Timeout};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;

const PIPE: u64 = 0;
const REACTOR: u64 = 1;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("epoll_bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::<String>::new(Config::default().sleep(Sleep::Elsewhere))?;
    let (mut reader, mut writer) = pipe()?;

    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &reader, epoll::EventData::new_u64(PIPE), epoll::EventFlags::IN)?;
    let fd = reactor.poll_fd().ok_or("this ring is not to be polled")?;
    epoll::add(&poll, fd, epoll::EventData::new_u64(REACTOR), epoll::EventFlags::IN)?;

    let writing = std::thread::spawn(move || {
        for line in ["one", "two", "three"] {
            std::thread::sleep(Duration::from_millis(20));
            writeln!(writer, "the pipe: {line}")?;
        }
        Ok::<(), std::io::Error>(())
    });
    for n in [10_u64, 20, 30] {
        reactor.offload(
            Work::BOUNDED,
            move |_| fibonacci(n),
            move |outcome| match outcome.done() {
                Some(value) => format!("the pool: fibonacci({n}) = {value}"),
                None => format!("the pool: fibonacci({n}) came to nothing"),
            },
        );
    }
    let timeout = Timeout::after(Duration::from_millis(50));
    reactor.submit(Request::new(timeout, |passed| format!("the kernel: 50 ms have passed ({passed:?})")))?;

    let mut events = Vec::new();
    let mut ready = Vec::with_capacity(8);
    let mut buffer = [0; 256];
    let (mut expected, mut open) = (4, true);
    while expected > 0 || open {
        if reactor.prepare_to_sleep()? {
            ready.clear();
            match epoll::wait(&poll, spare_capacity(&mut ready), None) {
                Ok(_) => {}
                // A signal, or the kernel doing its part of a completion in this thread.
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        // Whatever it was: what the reactor has is taken without a system call, if it has anything.
        reactor.turn(&mut events, Some(Duration::ZERO))?;
        for event in events.drain(..) {
            println!("{event}");
            expected -= 1;
        }
        if ready.iter().any(|event| event.data.u64() == PIPE) {
            ready.clear();
            let read = reader.read(&mut buffer)?;
            print!("{}", String::from_utf8_lossy(&buffer[..read]));
            open = read > 0;
            if !open {
                epoll::delete(&poll, &reader)?;
            }
        }
    }
    writing.join().map_err(|_| "the writer panicked")??;
    Ok(())
}

fn fibonacci(n: u64) -> u64 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}
