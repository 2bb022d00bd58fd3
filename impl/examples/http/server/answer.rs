//! What is answered to a request, by what was found. Nothing is read or sent here.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::request::Request;

/// A request, and what else its answer depends on.
pub struct Asked {
    pub request: Arc<Request>,
    pub date: Arc<str>,
    pub keep_alive: bool,
}

/// A file of the directory, and what is known of it.
pub type Found = (Arc<OwnedFd>, rustix::fs::Statx);

/// A head, and the part of a file that follows it.
pub struct Answer {
    pub head: Vec<u8>,
    pub body: Option<Body>,
}

pub struct Body {
    pub file: Arc<OwnedFd>,
    pub offset: u64,
    pub left: u64,
}

impl Asked {
    /// A head up to its fields.
    pub fn head(&self, status: &str) -> String {
        let connection = if self.keep_alive { "keep-alive" } else { "close" };
        format!(
            "HTTP/1.1 {status}\r\nServer: reveille\r\nDate: {}\r\nConnection: {connection}\r\n",
            self.date
        )
    }

    /// A status, and nothing else; `fields` end with a line's end.
    pub fn status(&self, status: &str, fields: &str) -> Vec<u8> {
        let (head, length) = (self.head(status), status.len() + 1);
        let body = if self.request.method == "HEAD" { String::new() } else { format!("{status}\n") };
        format!("{head}{fields}Content-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
            .into_bytes()
    }

    /// The answer with a file.
    pub fn file(&self, path: &str, found: io::Result<Found>) -> Answer {
        let alone = |status, fields: &str| Answer { head: self.status(status, fields), body: None };
        let request = &*self.request;
        let (file, stat) = match found {
            Ok(found) => found,
            Err(error) => return alone(status_of(&error), ""),
        };
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => {}
            FileType::Directory => {
                // As it was sent, but with one slash: two would name a host.
                let (path, query) =
                    request.target.split_at(request.target.find('?').unwrap_or(request.target.len()));
                let field = format!("Location: /{}/{query}\r\n", path.trim_start_matches('/'));
                return alone("301 Moved Permanently", &field);
            }
            _ => return alone("403 Forbidden", ""),
        }
        let (length, seconds) = (stat.stx_size, u64::try_from(stat.stx_mtime.tv_sec).unwrap_or_default());
        let changed = UNIX_EPOCH + Duration::from_secs(seconds);
        let modified = httpdate::fmt_http_date(changed);
        let tag = format!("\"{seconds:x}-{:x}-{length:x}\"", stat.stx_mtime.tv_nsec);
        let fields = format!("Last-Modified: {modified}\r\nETag: {tag}\r\nAccept-Ranges: bytes\r\n");
        let unchanged = match (request.field("if-none-match"), request.field("if-modified-since")) {
            (Some(tags), _) => {
                tags.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag)
            }
            (None, Some(since)) => httpdate::parse_http_date(since).is_ok_and(|since| changed <= since),
            (None, None) => false,
        };
        if unchanged {
            let head = format!("{}{fields}\r\n", self.head("304 Not Modified"));
            return Answer { head: head.into_bytes(), body: None };
        }
        let same = request.field("if-range").is_none_or(|version| version == tag || version == modified);
        let part = request.field("range").filter(|_| same).and_then(|field| range(field, length));
        let (status, place, offset, left) = match part {
            None => ("200 OK", String::new(), 0, length),
            Some(Some((first, count))) => {
                let place = format!("Content-Range: bytes {first}-{}/{length}\r\n", first + count - 1);
                ("206 Partial Content", place, first, count)
            }
            Some(None) => {
                return alone("416 Range Not Satisfiable", &format!("Content-Range: bytes */{length}\r\n"));
            }
        };
        let (head, kind) = (self.head(status), kind(path));
        let head = format!("{head}{fields}{place}Content-Type: {kind}\r\nContent-Length: {left}\r\n\r\n");
        let body = (request.method != "HEAD" && left > 0).then_some(Body { file, offset, left });
        Answer { head: head.into_bytes(), body }
    }
}

/// What is said of a file that could not be opened.
pub fn status_of(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => "404 Not Found",
        // XDEV: out of the directory. AGAIN: something was moved just then, and the kernel is not sure.
        Some(Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP | Errno::NXIO | Errno::AGAIN) => {
            "403 Forbidden"
        }
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

/// Which bytes of a file of this length a `Range` field asks for: the first, and how many. `None` is no
/// such range; what is not understood, or asks for several, is as if it were not there.
fn range(field: &str, length: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = field.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (first, end) = match (first, last) {
        ("", suffix) => (length.saturating_sub(number(suffix)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first, (first <= last).then_some(last)?.saturating_add(1).min(length))
        }
    };
    Some((first < end).then(|| (first, end - first)))
}
