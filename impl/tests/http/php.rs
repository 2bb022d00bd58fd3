//! PHP, or what says that it is: a FastCGI server of a few lines, to which it can be said what to answer.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use reveille::uring::Sleep;

use crate::server::Limits;
use crate::site::{EVERY_WAY, Serving, Site};

/// What was asked: the parameters, and the body.
type Asked = (BTreeMap<String, String>, Vec<u8>);

/// One record; none at the end of the stream.
fn record(stream: &mut UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 8];
    stream.read_exact(&mut head).ok()?;
    let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) + usize::from(head[6])];
    stream.read_exact(&mut content).ok()?;
    content.truncate(content.len() - usize::from(head[6]));
    Some((head[1], content))
}

fn asked(stream: &mut UnixStream) -> Option<Asked> {
    let (mut parameters, mut body) = (Vec::new(), Vec::new());
    loop {
        match record(stream)? {
            (4, part) => parameters.extend(part),
            (5, part) if part.is_empty() => break,
            (5, part) => body.extend(part),
            (kind, _) => assert_eq!(kind, 1),
        }
    }
    let (mut found, mut rest) = (BTreeMap::new(), &parameters[..]);
    let length = |rest: &mut &[u8]| {
        let (&first, tail) = rest.split_first().unwrap();
        let (length, tail) = match first {
            ..=127 => (u32::from(first), tail),
            _ => (u32::from_be_bytes(rest[..4].try_into().unwrap()) & !(1 << 31), &rest[4..]),
        };
        *rest = tail;
        length as usize
    };
    while !rest.is_empty() {
        let (name, value) = (length(&mut rest), length(&mut rest));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        found.insert(text(&rest[..name]), text(&rest[name..name + value]));
        rest = &rest[name + value..];
    }
    Some((found, body))
}

fn say(stream: &mut UnixStream, kind: u8, content: &[u8]) -> io::Result<()> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let padding = [0; 3]; // which is to be skipped
    stream.write_all(&[1, kind, 0, 1, high, low, padding.len() as u8, 0])?;
    stream.write_all(content)?;
    stream.write_all(&padding)
}

/// Answers each request by `answer`, in a thread that ends with the test's process.
fn responder(site: &Site, answer: impl Fn(&mut UnixStream, Asked) -> io::Result<()> + Send + 'static) {
    let path = site.directory.join("php");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(asked) = asked(&mut stream) else { continue };
            if asked.0["QUERY_STRING"] == "end" {
                return;
            }
            _ = answer(&mut stream, asked);
        }
    });
}

fn serve(site: &Site) -> Option<Serving> {
    let time = Duration::from_millis(500);
    site.serve(EVERY_WAY[6].0, Sleep::InRing, Limits { php: time, ..Limits::default() })
}

/// Ends the responder, and the server.
fn end(site: &Site, serving: Serving) {
    _ = serving.get("/script.php?end", "");
    serving.stop();
    for _ in 0..1000 {
        // The responder's thread lets go of its socket a moment later.
        if UnixStream::connect(site.directory.join("php")).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    site.is_quiet();
}

#[test]
fn a_script_is_told_the_request_and_its_answer_is_passed_on() {
    let site = Site::new();
    responder(&site, |stream, (parameters, body)| {
        let told =
            ["REQUEST_METHOD", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_X_SOME", "SERVER_NAME", "SCRIPT_NAME"];
        let told: Vec<_> = told.iter().map(|name| &parameters[*name][..]).collect();
        assert!(parameters["SCRIPT_FILENAME"].ends_with("/root/script.php"));
        assert!(!parameters.contains_key("HTTP_PROXY") && !parameters.contains_key("HTTP_UNDER_SCORE"));
        let sum: usize = body.iter().map(|&byte| usize::from(byte)).sum();
        say(stream, 7, b"")?;
        say(stream, 6, b"Status: 201 Created\r\nX-Powered-By: ")?;
        say(stream, 6, format!("test\r\nConnection: evil\r\n\r\n{} {sum}", told.join(" ")).as_bytes())?;
        say(stream, 6, b"")?;
        say(stream, 3, &[0; 8])
    });
    let Some(serving) = serve(&site) else { return };
    let mut client = serving.client();
    let long = vec![1; 200_000];
    for body in [&b"123"[..], &long] {
        let length = body.len();
        client.send(format!(
            "POST /script.php?a=b HTTP/1.1\r\nHost: name:80\r\nX-Some: field\r\nUnder_score: x\r\nProxy: x\r\n\
             Content-Length: {length}\r\n\r\n"
        ));
        client.send(body);
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.field("x-powered-by")), (201, "test"));
        assert_eq!(answer.field("connection"), "keep-alive");
        let sum: usize = body.iter().map(|&byte| usize::from(byte)).sum();
        assert_eq!(
            String::from_utf8_lossy(&answer.body),
            format!("POST a=b {length} field name /script.php {sum}")
        );
    }
    drop(client);
    assert_eq!(serving.get("/none.php", "").status, 404);
    assert_eq!(serving.get("/up/secret.php", "").status, 403);
    end(&site, serving);
}

#[test]
fn a_long_answer_comes_in_chunks_and_one_of_a_known_length_does_not() {
    const RECORDS: usize = 30;
    let site = Site::new();
    responder(&site, |stream, (parameters, _)| {
        let length = if parameters["QUERY_STRING"] == "known" { "Content-Length: 1800000\r\n" } else { "" };
        say(stream, 6, format!("Content-Type: text/plain\r\n{length}\r\n").as_bytes())?;
        (0..RECORDS).try_for_each(|i| say(stream, 6, &[i as u8; 60_000]))?;
        say(stream, 3, &[0; 8])
    });
    let Some(serving) = serve(&site) else { return };
    let expected: Vec<u8> = (0..RECORDS).flat_map(|i| [i as u8; 60_000]).collect();
    for (query, length, encoding) in [("known", "1800000", ""), ("unknown", "", "chunked")] {
        let answer = serving.get(&format!("/script.php?{query}"), "");
        assert_eq!((answer.field("content-length"), answer.field("transfer-encoding")), (length, encoding));
        assert!(answer.body == expected);
    }
    let mut old = serving.client();
    old.send("GET /script.php?unknown HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(old.head().unwrap().field("connection"), "close");
    let mut body = Vec::new();
    old.0.read_to_end(&mut body).unwrap();
    assert!(body == expected, "to the end of the connection, which HTTP/1.0 has in the place of chunks");
    let mut head = serving.client();
    head.send("HEAD /script.php?unknown HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(head.head().unwrap().status, 200);
    assert_eq!(head.answer().unwrap().body, b"<h1>index</h1>");
    drop((old, head));
    end(&site, serving);
}

#[test]
fn a_script_that_fails_is_the_servers_error_and_a_half_answer_no_whole_one() {
    let site = Site::new();
    responder(&site, |stream, (parameters, _)| match &parameters["QUERY_STRING"][..] {
        "gone" => Ok(()),
        "nonsense" => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"),
        "refused" => say(stream, 3, &[0, 0, 0, 0, 2, 0, 0, 0]),
        "headless" => say(stream, 6, b"no field").and_then(|()| say(stream, 3, &[0; 8])),
        "silent" => stream.read(&mut [0]).map(drop),
        _ => say(stream, 6, b"Content-Type: text/plain\r\n\r\nhalf of"),
    });
    let Some(serving) = serve(&site) else { return };
    for (query, status) in
        [("gone", 502), ("nonsense", 502), ("refused", 502), ("headless", 502), ("silent", 504)]
    {
        assert_eq!(serving.get(&format!("/script.php?{query}"), "").status, status, "{query}");
    }
    let mut client = serving.client();
    client.send("GET /script.php?half HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    drop(client);
    end(&site, serving);
    let Some(serving) = serve(&site) else { return };
    assert_eq!(serving.get("/script.php", "").status, 502, "nobody listens");
    serving.stop();
}
