//! An HTTP/1.1 server for static files, and for PHP by way of FastCGI.
//!
//! `cargo run --release -p reveille --example http -- DIR [--listen ADDRESS] [--php SOCKET]`

mod server;

use std::error::Error;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use reveille::uring::{Config, Executor};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::Options;
use signal_hook::consts::{SIGINT, SIGTERM};

const USAGE: &str = "http DIR [--listen ADDRESS] [--php SOCKET]

  --listen  where clients connect; 127.0.0.1:8080
  --php     the unix socket of a FastCGI server, for .php";

fn main() -> Result<(), Box<dyn Error>> {
    let Some((options, listen)) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let (stop, stopped) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::low_level::pipe::register(signal, stop.try_clone()?)?;
    }
    // A connection takes one descriptor, and one or more while it is answered.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let mut executor = Executor::new(Config::default().submissions(1024))?;
    let listener = TcpListener::bind(listen)?;
    println!("http://{}/ is {}", listener.local_addr()?, options.root.display());
    let server = server::start(&executor, options, listener, stopped.into())?;
    executor.block_on(server)?;
    println!("{:?}", executor.counts());
    Ok(())
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<(Options, String)> {
    let (mut root, mut listen, mut php) = (None, "127.0.0.1:8080".to_owned(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--listen" => listen = arguments.next()?,
            "--php" => php = Some(arguments.next()?.into()),
            _ if argument.starts_with('-') || root.is_some() => return None,
            _ => root = Some(argument.into()),
        }
    }
    Some((Options { root: root?, php, ..Options::default() }, listen))
}
