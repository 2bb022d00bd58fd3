//! The head of a request.

use std::sync::Arc;

/// What a client wants, as far as this server understands it.
#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    /// As it was sent: what comes after the host.
    pub target: String,
    /// Decoded; it begins with one slash, and no part of it begins with a dot.
    pub path: String,
    pub query: String,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub version: u8,
    pub keep_alive: bool,
    /// How long the body is.
    pub body: u64,
    pub expects_continue: bool,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    /// All of the head's fields, for PHP.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// What can be said of the bytes so far.
pub enum Parsed {
    Partial,
    /// The head, and its length.
    Head(Arc<Request>, usize),
    /// It is answered with this status, and the connection closed: where the next request begins is not known.
    Refused(&'static str),
}

const FIELDS: usize = 64;

const BAD: &str = "400 Bad Request";

pub fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Ok(httparse::Status::Complete(length)) => match understand(&head) {
            Ok(request) => Parsed::Head(Arc::new(request), length),
            Err(status) => Parsed::Refused(status),
        },
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused("431 Request Header Fields Too Large"),
        Err(httparse::Error::Version) => Parsed::Refused("505 HTTP Version Not Supported"),
        Err(_) => Parsed::Refused(BAD),
    }
}

fn understand(head: &httparse::Request<'_, '_>) -> Result<Request, &'static str> {
    let (method, version) = (head.method.unwrap_or_default().to_owned(), head.version.unwrap_or_default());
    let mut request = Request { method, version, keep_alive: version == 1, ..Request::default() };
    let (mut hosts, mut lengths) = (0, 0);
    for field in &*head.headers {
        let value = str::from_utf8(field.value).map(str::trim);
        let text = || value.ok().map(str::to_owned);
        match field.name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "connection" => {
                for word in value.unwrap_or_default().split(',').map(str::trim) {
                    request.keep_alive &= !word.eq_ignore_ascii_case("close");
                    request.keep_alive |= version == 0 && word.eq_ignore_ascii_case("keep-alive");
                }
            }
            // Digits only: a parser that takes more, as `+1`, disagrees with a proxy in front about where a
            // request ends.
            "content-length" => {
                let digits = value.ok().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
                request.body = digits.and_then(|digits| digits.parse().ok()).ok_or(BAD)?;
                lengths += 1;
            }
            "transfer-encoding" => return Err("501 Not Implemented"),
            "expect" => request.expects_continue = true,
            "range" => request.range = text(),
            "if-range" => request.if_range = text(),
            "if-none-match" => request.if_none_match = text(),
            "if-modified-since" => request.if_modified_since = text(),
            _ => {}
        }
        request.fields.push((field.name.to_owned(), field.value.to_owned()));
    }
    if lengths > 1 || hosts > 1 || version == 1 && hosts == 0 {
        return Err(BAD);
    }
    let target = origin(head.path.unwrap_or_default()).ok_or(BAD)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    request.path = decode(path)?;
    (request.target, request.query) = (target.to_owned(), query.to_owned());
    Ok(request)
}

/// The part after scheme and host, which a client may send along.
fn origin(target: &str) -> Option<&str> {
    match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => Some(rest.find('/').map_or("/", |slash| &rest[slash..])),
        None => target.starts_with('/').then_some(target),
    }
}

/// Decodes a path, once: what is encoded twice is a name with a percent sign in it. A part that begins with a
/// dot is refused, which is all of `.`, `..`, and what was not meant to be seen; so is what is no text, and
/// what no path can hold.
fn decode(path: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2).ok_or(BAD)?;
                let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits).ok_or(BAD)?;
                rest = tail;
                u8::from_str_radix(str::from_utf8(digits).map_err(|_| BAD)?, 16).map_err(|_| BAD)?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| BAD)?;
    let path = format!("/{}", text.trim_start_matches('/'));
    if path.chars().any(char::is_control) {
        return Err(BAD);
    }
    if path.split('/').any(|part| part.starts_with('.')) {
        return Err("403 Forbidden");
    }
    Ok(path)
}

/// Which bytes of a file of this length a `Range` field asks for: the first, and how many. `None` is no such
/// range; what is not understood, or asks for several, is as if it were not there.
pub fn range(field: &str, length: u64) -> Option<Option<(u64, u64)>> {
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
