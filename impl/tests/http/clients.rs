//! Clients that vanish, stall, talk nonsense or never stop; and many at once.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use reveille::pool::Layout;
use reveille::uring::Sleep;

use crate::load::{Plan, drive};
use crate::server::Limits;
use crate::site::{Blocking, EVERY_WAY, Site, big};

/// Limits that are over soon.
fn short() -> Limits {
    let time = Duration::from_millis(300);
    Limits { idle: time, step: time, php: time, grace: time, ..Limits::default() }
}

/// The socket's end is a reset, as when a client's machine has gone.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the socket is open, and the option is a `linger`.
    let set = unsafe {
        let size = size_of::<libc::linger>() as u32;
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&stream),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    assert_eq!(set, 0);
}

#[test]
fn clients_that_stall_are_let_go_whatever_they_are_in_the_middle_of() {
    let site = Site::new();
    for blocking in [Blocking::Kernel, Blocking::Pool(Layout::Sharded(4))] {
        let Some(serving) = site.serve(blocking, Sleep::InRing, short()) else { return };
        let mut silent = serving.client();
        let mut half = serving.client();
        half.send("GET / HTTP/1.1\r\nHo");
        let mut body = serving.client();
        body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfour");
        // Enough answers that the socket is full, and none is read.
        let mut deaf = serving.client();
        deaf.send("GET /dir/big HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50));
        // A byte now and then is no progress.
        let mut slow = serving.client();
        let dripping = std::thread::spawn(move || {
            for byte in "GET / HTTP/1.1\r\nHost: x\r\n".repeat(1000).bytes() {
                std::thread::sleep(Duration::from_millis(20));
                if slow.0.get_mut().write_all(&[byte]).is_err() {
                    return;
                }
            }
            panic!("it was heard to the end");
        });
        for client in [&mut silent, &mut half, &mut body] {
            assert!(client.is_over());
        }
        dripping.join().unwrap();
        let mut some = Vec::new();
        _ = deaf.0.read_to_end(&mut some); // what had been sent, and then the end or a reset
        assert!(some.len() < 50 * 1_000_003);
        // Others are served meanwhile and after.
        assert_eq!(serving.get("/", "").body, b"<h1>index</h1>");
        drop((silent, half, body, deaf));
        serving.stop();
        site.is_quiet();
    }
}

#[test]
fn ten_thousand_requests_beside_clients_that_vanish_stall_or_talk_nonsense_are_answered_and_nothing_is_left()
{
    const CLIENTS: usize = 1_000;
    let limits = Limits { grace: short().grace, ..Limits::default() };
    let (site, big, mut answered) = (Site::new(), big(), 0);
    for (blocking, sleep) in [EVERY_WAY[0], EVERY_WAY[3], EVERY_WAY[6]] {
        let Some(serving) = site.serve(blocking, sleep, limits.clone()) else { return };
        let mut kept = Vec::new();
        for i in 0..CLIENTS {
            let mut client = serving.client();
            let stream = client.0.get_mut();
            // What they say may come too late.
            _ = match i % 8 {
                0 => Ok(()),
                1 => stream.write_all(b"GET /dir/big HT"),
                2 => stream.write_all(b"GET /dir/big HTTP/1.1\r\nHost: x\r\n\r\n"),
                3 => stream.write_all(&big[i..i + 1000]),
                4 => stream.write_all("GET /dir/big HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100).as_bytes()),
                5 => stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    .and_then(|()| stream.shutdown(Shutdown::Write)),
                6 => stream.write_all(&[0; 4096]),
                _ => stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
            };
            match i % 3 {
                0 => drop(client),
                1 => reset(client.0.into_inner()),
                _ => kept.push(client),
            }
            if i % 30 == 0 {
                serving.ask_a_hundred(&big);
                answered += 100;
                kept.clear();
            }
        }
        assert!(serving.get("/dir/big", "").body == big);
        drop(kept);
        serving.stop();
        site.is_quiet();
    }
    assert!(answered >= 10_000);
}

#[test]
fn a_server_that_is_stopped_ends_what_it_is_doing_and_lets_the_idle_go() {
    let site = Site::new();
    let limits = Limits { grace: Duration::from_secs(120), ..Limits::default() };
    let Some(serving) = site.serve(EVERY_WAY[6].0, Sleep::InRing, limits) else { return };
    let (mut idle, mut busy) = (serving.client(), serving.client());
    idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().unwrap().status, 200);
    busy.send("GET /dir/big HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20));
    let mut first = busy.answer().unwrap();
    let address = serving.address;
    let stopping = std::thread::spawn(move || serving.stop());
    assert!(idle.is_over(), "long before its time");
    let mut answers = 1;
    // Whole answers, of which the last one says that it is.
    while first.field("connection") != "close" {
        assert_eq!(first.body, big());
        first = busy.answer().unwrap();
        answers += 1;
    }
    assert!(busy.is_over() && answers <= 20);
    drop((idle, busy));
    stopping.join().unwrap();
    assert!(TcpStream::connect(address).is_err());
    site.is_quiet();
}

#[test]
fn no_more_clients_are_taken_than_the_limit_and_the_next_when_one_has_gone() {
    let site = Site::new();
    let limits = Limits { connections: 2, ..Limits::default() };
    let Some(serving) = site.serve(EVERY_WAY[6].0, Sleep::InRing, limits) else { return };
    let ask = |client: &mut crate::site::Client| {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    };
    let mut clients: Vec<_> = (0..2).map(|_| serving.client()).collect();
    for client in &mut clients {
        ask(client);
        assert_eq!(client.answer().unwrap().status, 200);
    }
    let mut third = serving.client();
    ask(&mut third);
    third.0.get_ref().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.answer().is_err(), "nobody takes it");
    third.0.get_ref().set_read_timeout(None).unwrap();
    clients.clear();
    assert_eq!(third.answer().unwrap().status, 200);
    drop(third);
    serving.stop();
    site.is_quiet();
}

#[test]
fn a_load_has_every_request_answered_with_the_same_bytes() {
    let site = Site::new();
    for (blocking, sleep) in EVERY_WAY {
        let Some(serving) = site.serve(blocking, sleep, Limits::default()) else { return };
        let load = |path: &str, body: &[u8], connections| {
            let (address, path, body) = (serving.address, path.to_owned(), body.to_owned());
            let time = Duration::from_millis(100);
            drive(&Plan { address, path, body, connections, time }).unwrap()
        };
        for (path, body) in [("/index.html", &b"<h1>index</h1>"[..]), ("/dir/big", &big())] {
            let load = load(path, body, 16);
            assert!(load.answers >= 16 && load.answers == load.requests, "{blocking:?}, {sleep:?}");
            assert_eq!((load.wrong, load.failed), (0, 0));
        }
        let other = load("/index.html", b"<h1>other</h1>", 1);
        assert!(other.wrong > 0 && other.wrong == other.compared, "other bytes are seen");
        let longer = load("/index.html", b"<h1>longer</h1>", 1);
        let none = load("/none", b"404 Not Found\n", 1);
        assert!(longer.answers + none.answers == 0 && longer.failed.min(none.failed) > 0);
        serving.stop();
        site.is_quiet();
    }
}

/// Built by `cargo test`, not by `cargo test --test http`.
#[test]
fn the_program_ends_well_when_it_is_told_to() {
    let site = Site::new();
    let example = std::env::current_exe().unwrap().with_file_name("../examples/http");
    for signal in ["-INT", "-TERM"] {
        let root = site.directory.join("root");
        let mut command = Command::new(&example);
        let started = command.arg(&root).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn();
        let Ok(mut server) = started else { return eprintln!("SKIPPED: no {}", example.display()) };
        let mut output = std::io::BufReader::new(server.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let Some(address) = line.strip_prefix("http://").and_then(|rest| rest.split('/').next()) else {
            assert!(!server.wait().unwrap().success());
            return eprintln!("SKIPPED: the server does not start here");
        };
        let mut idle = TcpStream::connect(address).unwrap();
        let pid = server.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0);
        assert!(server.wait().unwrap().success(), "{signal}");
    }
}
