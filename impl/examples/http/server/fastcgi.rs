//! `.php`: a FastCGI server on a unix socket is asked, with a connection for each request.
//!
//! A request is one record that begins it, the parameters, and the body; each of the latter two ends with
//! an empty record. An answer is records of output, which begin with CGI fields as of a head, and one that
//! ends it.

use std::fmt::Write as _;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use reveille::uring::{Connect, SendFlags, SocketAddrUnix};
use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::answer::{Asked, status_of};
use super::connection::Connection;
use super::request::Request;

const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMETERS: u8 = 4;
const BODY: u8 = 5;
const OUTPUT: u8 = 6;
const ERRORS: u8 = 7;

/// As much as one record holds, in whole words.
const RECORD: usize = 65_528;

/// An answer whose fields are longer than this is not taken.
const FIELDS: usize = 64 << 10;

/// What has come of an answer.
#[derive(Default)]
struct Answer {
    records: Vec<u8>,
    output: Vec<u8>,
    ended: bool,
}

impl Connection {
    /// Has PHP answer. Whether the connection stays.
    pub async fn run(&self, asked: &Asked, body: &[u8]) -> io::Result<bool> {
        let mut begun = false;
        // That it is there, and in the directory.
        let status = match self.open(&asked.request.path).await {
            Ok((_, stat)) if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile => {
                self.allow(self.server.options.limits.php);
                let answered = self.ask(asked, body, &mut begun).await;
                let late = self.upstream.borrow_mut().take().is_none();
                self.progress();
                match answered {
                    Ok(keep_alive) => return Ok(keep_alive),
                    // The client has part of an answer, and sees by the end of the connection that it is
                    // not whole.
                    Err(error) if begun => return Err(error),
                    Err(_) if late => "504 Gateway Timeout",
                    Err(_) => "502 Bad Gateway",
                }
            }
            Ok(_) => "403 Forbidden",
            Err(error) => status_of(&error),
        };
        self.send(asked.status(status, ""), SendFlags::empty()).await?;
        Ok(asked.keep_alive)
    }

    async fn ask(&self, asked: &Asked, body: &[u8], begun: &mut bool) -> io::Result<bool> {
        let request = &*asked.request;
        let place = self.server.options.php.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let upstream =
            Arc::new(socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?);
        *self.upstream.borrow_mut() = Some(upstream.clone());
        let ring = &self.server.ring;
        let connect = Connect::new(upstream.clone(), &SocketAddrUnix::new(place)?);
        ring.submit(connect).await.map_err(io::Error::other)??;
        let mut records = Vec::new();
        record(&mut records, BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]); // as a responder; close when done
        stream(&mut records, PARAMETERS, &self.parameters(request, body.len()));
        stream(&mut records, BODY, body);
        // A task of its own: a script may answer before it has read everything. If it fails, so does the
        // receive.
        let (sender, to) = (ring.clone(), upstream.clone());
        drop(
            self.server.spawner.spawn(async move { sender.send_all(to, records, SendFlags::empty()).await }),
        );

        let mut answer = Answer::default();
        let more = async |answer: &mut Answer| match self.receive(&upstream, &mut answer.records).await? {
            true => answer.take_apart(),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let (status, mut fields, length) = loop {
            match head(&mut answer)? {
                Some(head) => break head,
                None => more(&mut answer).await?,
            }
        };
        let has_body = request.method != "HEAD";
        // Short ones come whole, and their length is known.
        let length = length.or_else(|| (answer.ended && has_body).then_some(answer.output.len()));
        let chunked = length.is_none() && request.version == 1;
        let keep_alive = asked.keep_alive && (length.is_some() || chunked);
        match length {
            Some(length) => _ = write!(fields, "Content-Length: {length}\r\n"),
            None if chunked => fields.push_str("Transfer-Encoding: chunked\r\n"),
            None => {}
        }
        let (request, date) = (asked.request.clone(), asked.date.clone());
        let head = Asked { request, date, keep_alive }.head(&status);
        let (mut bytes, mut sent) = (format!("{head}{fields}\r\n").into_bytes(), 0);
        loop {
            let part = std::mem::take(&mut answer.output);
            sent += part.len();
            match chunked {
                _ if !has_body => {}
                true if !part.is_empty() => {
                    bytes.extend([format!("{:x}\r\n", part.len()).as_bytes(), &part, b"\r\n"].concat());
                }
                _ => bytes.extend(part),
            }
            if chunked && has_body && answer.ended {
                bytes.extend(b"0\r\n\r\n");
            }
            *begun = true;
            self.send(std::mem::take(&mut bytes), SendFlags::empty()).await?;
            if answer.ended {
                break;
            }
            self.allow(self.server.options.limits.php);
            more(&mut answer).await?;
        }
        // A script may say another length than it has.
        let whole = !has_body || length.is_none_or(|length| length == sent);
        if whole { Ok(keep_alive) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn parameters(&self, request: &Request, body: usize) -> Vec<u8> {
        let root = self.server.options.root.to_string_lossy();
        let stream = self.socket.try_clone().map(TcpStream::from);
        let peer = stream.as_ref().ok().and_then(|stream| stream.peer_addr().ok());
        let local = stream.as_ref().ok().and_then(|stream| stream.local_addr().ok());
        let field = |name| request.field(name).unwrap_or_default();
        let mut all = Vec::new();
        let mut put = |name: &str, value: &str| {
            for length in [name.len(), value.len()] {
                match u8::try_from(length) {
                    Ok(short @ ..=127) => all.push(short),
                    _ => all.extend((length as u32 | 1 << 31).to_be_bytes()),
                }
            }
            all.extend([name, value].concat().into_bytes());
        };
        put("GATEWAY_INTERFACE", "CGI/1.1");
        put("SERVER_SOFTWARE", "reveille");
        put("SERVER_PROTOCOL", if request.version == 0 { "HTTP/1.0" } else { "HTTP/1.1" });
        put("REQUEST_METHOD", &request.method);
        put("REQUEST_URI", &request.target);
        put("QUERY_STRING", &request.query);
        put("DOCUMENT_ROOT", &root);
        put("SCRIPT_NAME", &request.path);
        put("SCRIPT_FILENAME", &format!("{root}{}", request.path));
        put("REDIRECT_STATUS", "200");
        put("CONTENT_TYPE", field("content-type"));
        put("CONTENT_LENGTH", &if body > 0 { body.to_string() } else { String::new() });
        put("SERVER_NAME", field("host").split(':').next().unwrap_or_default());
        for (name, address) in [("REMOTE", peer), ("SERVER", local)] {
            put(&format!("{name}_ADDR"), &address.map_or(String::new(), |address| address.ip().to_string()));
            put(
                &format!("{name}_PORT"),
                &address.map_or(String::new(), |address| address.port().to_string()),
            );
        }
        // An underscore would pass for a dash; and scripts take HTTP_PROXY for something else.
        for (name, value) in request.fields.iter().filter(|(name, _)| !name.contains('_') && name != "proxy")
        {
            put(&format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_")), value);
        }
        all
    }
}

impl Answer {
    /// Takes the records apart that are complete.
    fn take_apart(&mut self) -> io::Result<()> {
        let mut rest = &self.records[..];
        while let Some((&[version, kind, _, _, high, low, padding, _], tail)) = rest.split_first_chunk::<8>()
        {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let Some((record, tail)) = tail.split_at_checked(length + usize::from(padding)) else { break };
            match kind {
                _ if version != 1 => return Err(io::ErrorKind::InvalidData.into()),
                OUTPUT => self.output.extend_from_slice(&record[..length]),
                ERRORS => eprint!("{}", String::from_utf8_lossy(&record[..length])),
                // Its fifth byte says whether the request was taken at all.
                END if record.get(4) == Some(&0) => self.ended = true,
                END => return Err(io::ErrorKind::ConnectionRefused.into()),
                _ => {}
            }
            rest = tail;
        }
        let taken = self.records.len() - rest.len();
        self.records.drain(..taken);
        Ok(())
    }
}

/// The CGI fields at the beginning of an answer, when they are there: the status, the others, and the
/// length, if it is said.
fn head(answer: &mut Answer) -> io::Result<Option<(String, String, Option<usize>)>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let (end, fields) = match httparse::parse_headers(&answer.output, &mut fields) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) if !answer.ended && answer.output.len() < FIELDS => return Ok(None),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let (mut status, mut others, mut length) = ("200 OK".to_owned(), String::new(), None);
    for field in fields {
        let value = String::from_utf8_lossy(field.value);
        match field.name.to_ascii_lowercase().as_str() {
            "status" => status = value.into_owned(),
            "content-length" => length = Some(value.parse().map_err(io::Error::other)?),
            // The connection is the server's.
            "connection" | "transfer-encoding" | "keep-alive" | "server" | "date" => {}
            _ => _ = write!(others, "{}: {value}\r\n", field.name),
        }
    }
    answer.output.drain(..end);
    Ok(Some((status, others, length)))
}

fn record(to: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [high, low] = (content.len() as u16).to_be_bytes();
    // Version 1; the first request of its connection, and the only one.
    to.extend([1, kind, 0, 1, high, low, 0, 0]);
    to.extend_from_slice(content);
}

/// Records, and an empty one that ends them.
fn stream(to: &mut Vec<u8>, kind: u8, content: &[u8]) {
    content.chunks(RECORD).for_each(|part| record(to, kind, part));
    record(to, kind, &[]);
}
