//! Files: the right bytes, and none of another directory.

use std::fs;

use reveille::pool::Layout;
use reveille::uring::Sleep;

use crate::server::Limits;
use crate::site::{Blocking, EVERY_WAY, SECRET, Site, big};

#[test]
fn every_way_of_working_and_sleeping_serves_the_right_bytes_and_leaves_nothing() {
    let site = Site::new();
    for (blocking, sleep) in EVERY_WAY {
        let Some(serving) = site.serve(blocking, sleep, Limits::default()) else { return };
        let mut client = serving.client();
        for (target, body) in [
            ("/", b"<h1>index</h1>".to_vec()),
            ("/dir/big", big()),
            ("/a%20b.txt?query", b"a and b".to_vec()),
            ("/inside", b"<h1>index</h1>".to_vec()),
            ("http://host:80//dir//big", big()),
            ("/empty", Vec::new()),
        ] {
            client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let answer = client.answer().unwrap();
            assert!(answer.status == 200 && answer.body == body, "{target}, {blocking:?}, {sleep:?}");
        }
        client.send("GET /none HTTP/1.0\r\n\r\n");
        assert_eq!(client.answer().unwrap().status, 404);
        assert!(client.is_over(), "HTTP/1.0 keeps no connection that it is not asked to");
        drop(client);
        serving.stop();
        site.is_quiet();
    }
}

#[test]
fn heads_ranges_and_conditions() {
    let site = Site::new();
    let Some(serving) = site.serve_default() else { return };
    let (whole, get) = (big(), |fields: &str| serving.get("/dir/big", fields));
    let full = get("");
    let (tag, modified) = (full.field("etag"), full.field("last-modified"));
    let mut client = serving.client();
    client.send("HEAD /dir/big HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.head().unwrap();
    assert_eq!((head.status, head.field("content-length")), (200, "1000003"));
    assert_eq!(client.answer().unwrap().body, b"<h1>index</h1>", "no body came before");

    for (field, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=999999-", 999_999, 1_000_003),
        ("bytes=-3", 1_000_000, 1_000_003),
        ("bytes=1000000-99999999", 1_000_000, 1_000_003),
        ("bytes=-99999999", 0, 1_000_003),
        ("bytes=70000-900000", 70_000, 900_001),
    ] {
        let part = get(&format!("Range: {field}\r\n"));
        assert_eq!(part.field("content-range"), format!("bytes {first}-{}/1000003", end - 1));
        assert!(part.status == 206 && part.body == whole[first..end], "{field}");
    }
    for field in ["bytes=1000003-", "bytes=-0", "bytes=99999999-999999999"] {
        let none = get(&format!("Range: {field}\r\n"));
        assert_eq!((none.status, none.field("content-range")), (416, "bytes */1000003"), "{field}");
    }
    for field in ["bytes=9-5", "bytes=x-", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2", "bytes=-"] {
        assert_eq!(get(&format!("Range: {field}\r\n")).status, 200, "{field}");
    }
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"other\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {modified}\r\n"), 200),
        (format!("If-Modified-Since: {modified}\r\n"), 304),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n".into(), 200),
        (format!("If-Range: {tag}\r\nRange: bytes=0-0\r\n"), 206),
        ("If-Range: \"other\"\r\nRange: bytes=0-0\r\n".into(), 200),
    ] {
        let answer = get(&fields);
        assert_eq!(answer.status, status, "{fields}");
        assert_eq!(
            answer.body.len(),
            [0, 1, whole.len()][usize::from(status != 304) + usize::from(status == 200)]
        );
    }
    let moved = serving.get("//dir?a=b", "");
    assert_eq!((moved.status, moved.field("location")), (301, "/dir/?a=b"), "and to no other host");
    drop(client);
    serving.stop();
    site.is_quiet();
}

#[test]
fn a_path_that_leaves_the_directory_is_never_served() {
    let site = Site::new();
    let up = |name: &str| fs::read_to_string(site.root().join(name)).unwrap() == SECRET;
    assert!(up("../secret") && up("relative") && up("absolute") && up("up/secret"), "they do lead out");
    let outside = site.directory.join("secret").to_string_lossy().into_owned();
    let encoded = outside.replace('/', "%2f");
    let mut forms: Vec<String> = [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/.%2e/secret",
        "/%2E./secret",
        "/dir/../../secret",
        "/dir/..%2f..%2fsecret",
        "/dir/deep/../../../secret",
        "/./../secret",
        "//../secret",
        "/%252e%252e/secret",
        "/%252e%252e%252fsecret",
        "/%25252e%25252e/secret",
        "/..%c0%afsecret",
        "/%c0%ae%c0%ae/secret",
        "/%e0%80%ae%e0%80%ae/secret",
        "/..%5csecret",
        "/..\\secret",
        "/..;/secret",
        "/.../secret",
        "/relative",
        "/absolute",
        "/up/secret",
        "/up/root/up/secret",
        "/up%2fsecret",
        "/magic",
        "/secret%00",
        "/%00../secret",
        "/..%00/secret",
        "/index.html%00/../../secret",
        "/index.html/../../secret",
        "http://host/../secret",
        "http://host/up/secret",
        "/.hidden",
        "/%2ehidden",
        "/dir/../.hidden",
        "/../root/.hidden",
        "/%",
        "/%2",
        "/%2x",
        "/..%2",
        "/%uff0e%uff0e/secret",
        "/..%0d%0a/secret",
        "/..?/secret",
        "/up/./secret",
        "/~/secret",
        "/dir/%2e%2e/%2e%2e/secret",
        "../secret",
        "secret",
        "*",
        "/dir/deep/..//..//..//secret",
    ]
    .map(String::from)
    .into();
    forms.extend([format!("/{outside}"), encoded.clone(), format!("/{encoded}"), format!("/slash{outside}")]);
    forms.extend([format!("/magic{outside}"), format!("/up/..{outside}"), format!("file://{outside}")]);
    for blocking in [Blocking::Kernel, Blocking::Pool(Layout::OneLock)] {
        let Some(serving) = site.serve(blocking, Sleep::InRing, Limits::default()) else { return };
        for form in &forms {
            let answer = serving.get(form, "");
            assert!(matches!(answer.status, 400 | 403 | 404), "{form}: {}", answer.status);
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{form}");
        }
        assert_eq!(serving.get("/", "").status, 200);
        serving.stop();
    }
    println!("{} forms, none served", forms.len());
}

#[test]
fn a_hundred_requests_in_one_go_are_answered_in_their_order_though_the_client_has_ended() {
    let site = Site::new();
    for blocking in [Blocking::Kernel, Blocking::Pool(Layout::LockPerAccount)] {
        let Some(serving) = site.serve(blocking, Sleep::InRing, Limits::default()) else { return };
        serving.ask_a_hundred(&big());
        serving.stop();
        site.is_quiet();
    }
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_closed() {
    let site = Site::new();
    let Some(serving) = site.serve_default() else { return };
    let long = "x".repeat(20_000);
    for (request, status) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n".into(), 505),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 501),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".into(), 413),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nLong: {long}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100)), 431),
    ] {
        let mut client = serving.client();
        client.send(&request);
        assert_eq!(client.answer().unwrap().status, status, "{request}");
        assert!(client.is_over());
    }
    let mut client = serving.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert_eq!(client.answer().unwrap().status, 405);
    assert_eq!(client.answer().unwrap().body, b"<h1>index</h1>", "the body was no request");
    drop(client);
    serving.stop();
    site.is_quiet();
}
