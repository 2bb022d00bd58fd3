//! The head of a request.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

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
    pub body: usize,
    pub fields: Vec<(String, String)>,
}

/// What can be said of the bytes so far.
pub enum Parsed {
    Partial,
    /// The head, and its length.
    Head(Arc<Request>, usize),
    /// It is answered with this status, and the connection closed: where the next request begins is not
    /// known.
    Refused(&'static str),
}

const BAD: &str = "400 Bad Request";
pub const TOO_LONG: &str = "431 Request Header Fields Too Large";

pub fn parse(bytes: &[u8]) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Ok(httparse::Status::Complete(length)) => match understand(&head) {
            Ok(request) => Parsed::Head(Arc::new(request), length),
            Err(status) => Parsed::Refused(status),
        },
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused(TOO_LONG),
        Err(httparse::Error::Version) => Parsed::Refused("505 HTTP Version Not Supported"),
        Err(_) => Parsed::Refused(BAD),
    }
}

fn understand(head: &httparse::Request<'_, '_>) -> Result<Request, &'static str> {
    let text = |field: &httparse::Header<'_>| {
        (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).trim().to_owned())
    };
    let mut request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        version: head.version.unwrap_or_default(),
        fields: head.headers.iter().map(text).collect(),
        ..Request::default()
    };
    let count = |name| request.fields.iter().filter(|(field, _)| field == name).count();
    let hosts = count("host");
    if hosts > 1 || count("content-length") > 1 || request.version == 1 && hosts == 0 {
        return Err(BAD);
    }
    if count("transfer-encoding") > 0 {
        return Err("501 Not Implemented");
    }
    let says = |word: &str| {
        let mut words = request.field("connection").unwrap_or_default().split(',');
        words.any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    request.keep_alive = !says("close") && (request.version == 1 || says("keep-alive"));
    // Digits only: a parser that takes more, as `+1`, disagrees with a proxy in front about where a request
    // ends.
    if let Some(length) = request.field("content-length") {
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        request.body = length.parse().ok().filter(|_| digits).ok_or(BAD)?;
    }
    // A client may send scheme and host along.
    let target = head.path.unwrap_or_default();
    let target = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (request.target, request.path, request.query) = (target.to_owned(), decode(path)?, query.to_owned());
    Ok(request)
}

impl Request {
    /// A field by its name, in small letters.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes a path, once: what is encoded twice is a name with a percent sign in it. A part that begins with
/// a dot is refused, which is all of `.`, `..`, and what was not meant to be seen; so is what is no text,
/// or no path.
fn decode(path: &str) -> Result<String, &'static str> {
    let text = percent_decode_str(path.strip_prefix('/').ok_or(BAD)?).decode_utf8().map_err(|_| BAD)?;
    let path = format!("/{}", text.trim_start_matches('/'));
    match path.split('/').any(|part| part.starts_with('.')) {
        _ if path.chars().any(char::is_control) => Err(BAD),
        true => Err("403 Forbidden"),
        false => Ok(path),
    }
}
