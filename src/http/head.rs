//! The rules of one request head: what it asks for, how its body is framed, whether it may be believed.
//!
//! `httparse` reads the syntax; every rule two parsers could see differently is decided here, strictly.
//! What is kept are offsets relative to the buffer's start, so that a body can arrive later.

use std::mem::MaybeUninit;

use httparse::{Error, Request, Status};

use super::{ContentEncoding, Fields, Message, Method, Refusal};

/// As many fields as gunicorn takes, which Python Flux runs behind.
pub const FIELDS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    /// Where `part`, which is a slice of `buffer`, lies in it.
    fn of(part: &[u8], buffer: &[u8]) -> Span {
        let start = part.as_ptr() as usize - buffer.as_ptr() as usize;
        Span {
            start,
            end: start + part.len(),
        }
    }

    pub(super) fn slice(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start..self.end]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) framing: Framing,
    /// Where the digits of its `Content-Length` stand.
    pub(super) length_at: Option<Span>,
    /// Cleared when the interim response was asked for.
    pub(super) expects_continue: bool,
    method: Method,
    target: Target,
    http_1_0: bool,
    keep_alive: bool,
    key: Option<Span>,
    telegraf: Option<Span>,
    prefix: Option<Span>,
    x_test_only: Option<Span>,
    content_encoding: ContentEncoding,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    path: Span,
    query: Option<Span>,
}

impl Framing {
    /// By a `Content-Length` that is the only thing that frames.
    pub(super) fn length(value: &[u8], body_bytes_max: usize) -> Result<Framing, Refusal> {
        Framing::bounded(length(value)?, body_bytes_max)
    }

    fn bounded(length: u64, body_bytes_max: usize) -> Result<Framing, Refusal> {
        match usize::try_from(length) {
            Ok(length) if length <= body_bytes_max => Ok(Framing::Length(length)),
            _ => Err(Refusal::BodyTooLarge),
        }
    }
}

impl Head {
    pub(super) fn is_post(&self) -> bool {
        self.method == Method::Post
    }

    pub(super) fn query(&self) -> Option<Span> {
        self.target.query
    }

    // Large to move, and on the way of every request.
    #[inline(always)]
    pub(super) fn message<'b>(&self, buffer: &'b [u8], body: Span) -> Message<'b> {
        self.message_at(buffer, self.target.query, body, |field| field)
    }

    /// The same of a head with a query that ends elsewhere, which has moved all that stands behind it.
    pub(super) fn message_of<'b>(&self, query: Span, buffer: &'b [u8], body: Span) -> Message<'b> {
        let before = self.target.query.unwrap_or(query);
        self.message_at(buffer, Some(query), body, |field| Span {
            start: query.end + (field.start - before.end),
            end: query.end + (field.end - before.end),
        })
    }

    #[inline(always)]
    fn message_at<'b>(
        &self,
        buffer: &'b [u8],
        query: Option<Span>,
        body: Span,
        field_at: impl Fn(Span) -> Span,
    ) -> Message<'b> {
        let slice = |span: Span| span.slice(buffer);
        let field = |span: Option<Span>| span.map(|span| slice(field_at(span)));
        let path = slice(self.target.path);
        Message {
            method: self.method,
            // Only an absolute target can have an empty path.
            path: if path.is_empty() { b"/" } else { path },
            query: query.map(slice),
            fields: Fields {
                key: field(self.key),
                telegraf: field(self.telegraf),
                prefix: field(self.prefix),
                x_test_only: field(self.x_test_only),
                content_encoding: self.content_encoding,
            },
            body: slice(body),
            http_1_0: self.http_1_0,
            keep_alive: self.keep_alive,
        }
    }

    /// Reads `buffer[start..]`, which ends with the head's empty line.
    pub(super) fn parse(
        buffer: &[u8],
        start: usize,
        body_bytes_max: usize,
    ) -> Result<Head, Refusal> {
        let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(&buffer[start..], &mut slots) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Err(Refusal::Malformed("request head")),
            Err(error) => return Err(syntax_refusal(error, &buffer[start..])),
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Refusal::Malformed("request line"));
        };
        let mut seen = Seen::default();
        for field in request.headers.iter() {
            seen.field(field.name, field.value)?;
        }
        let http_1_0 = minor == 0;
        let span = |part: &[u8]| Span::of(part, buffer);
        let target = split_target(method, target.as_bytes())?;
        if !http_1_0 && seen.host.is_none() {
            return Err(Refusal::Malformed("no Host"));
        }
        Ok(Head {
            framing: seen.framing(http_1_0, body_bytes_max)?,
            length_at: seen.length_at.map(span),
            expects_continue: seen.expects_continue(http_1_0)?,
            method: match method {
                "GET" => Method::Get,
                "POST" => Method::Post,
                "OPTIONS" => Method::Options,
                "HEAD" => Method::Head,
                _ => Method::Other,
            },
            target: Target {
                path: span(target.0),
                query: target.1.map(span),
            },
            http_1_0,
            keep_alive: !seen.close && (!http_1_0 || seen.keep_alive),
            // The reference joins repeated fields with a comma, and no key has one: 401. Handing out all
            // from the first to the last does the same (it holds a CRLF), where choosing one would let a
            // client pass another key than the one a proxy looked at.
            key: seen.key.map(|(first, last)| Span {
                start: span(first).start,
                end: span(last).end,
            }),
            telegraf: seen.telegraf.map(span),
            prefix: seen.prefix.map(span),
            x_test_only: seen.x_test_only.map(span),
            content_encoding: seen.content_encoding,
        })
    }
}

/// What the fields said, before they are weighed against each other.
#[derive(Default)]
struct Seen<'b> {
    host: Option<&'b [u8]>,
    content_length: Option<u64>,
    length_at: Option<&'b [u8]>,
    /// Set by the first `Transfer-Encoding`; true when it is `chunked` and nothing else.
    chunked: Option<bool>,
    expects_continue: bool,
    expects_other: bool,
    close: bool,
    keep_alive: bool,
    key: Option<(&'b [u8], &'b [u8])>,
    telegraf: Option<&'b [u8]>,
    prefix: Option<&'b [u8]>,
    x_test_only: Option<&'b [u8]>,
    content_encoding: ContentEncoding,
}

impl<'b> Seen<'b> {
    fn field(&mut self, name: &str, value: &'b [u8]) -> Result<(), Refusal> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        // The length first: most fields are none of ours.
        match name.len() {
            3 if is("key") => {
                let first = self.key.map_or(value, |(first, _)| first);
                self.key = Some((first, value));
            }
            4 if is("host") => {
                if self.host.replace(value).is_some() {
                    return Err(Refusal::Malformed("repeated Host"));
                }
                if !is_authority(value) {
                    return Err(Refusal::Malformed("Host"));
                }
            }
            // Of these three the first counts: none of them can grant anything.
            6 if is("prefix") => {
                self.prefix.get_or_insert(value);
            }
            8 if is("telegraf") => {
                self.telegraf.get_or_insert(value);
            }
            11 if is("x-test-only") => {
                self.x_test_only.get_or_insert(value);
            }
            6 if is("expect") => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= known;
                self.expects_other |= !known;
            }
            10 if is("connection") => self.connection(value),
            14 if is("content-length") => {
                let length = length(value)?;
                self.length_at = Some(value);
                if self.content_length.replace(length).is_some() {
                    return Err(Refusal::Malformed("repeated Content-Length"));
                }
            }
            16 if is("content-encoding") => self.content_encoding(value),
            17 if is("transfer-encoding") => {
                let alone = self.chunked.is_none();
                self.chunked = Some(alone && value.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for token in value.split(|&byte| byte == b',') {
            let token = token.trim_ascii();
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_encoding(&mut self, value: &[u8]) {
        let named = |known: &[u8]| value.eq_ignore_ascii_case(known);
        if value.is_empty() || named(b"identity") {
            return;
        }
        // One coding can be undone; a second one on top of it cannot.
        let first = self.content_encoding == ContentEncoding::Identity;
        self.content_encoding = if !first {
            ContentEncoding::Unknown
        } else if named(b"gzip") || named(b"x-gzip") {
            ContentEncoding::Gzip
        } else if named(b"deflate") {
            ContentEncoding::Deflate
        } else {
            ContentEncoding::Unknown
        };
    }

    fn framing(&self, http_1_0: bool, body_bytes_max: usize) -> Result<Framing, Refusal> {
        match (self.chunked, self.content_length) {
            (Some(_), Some(_)) => Err(Refusal::Malformed(
                "both Content-Length and Transfer-Encoding",
            )),
            (Some(_), None) if http_1_0 => Err(Refusal::Malformed("Transfer-Encoding on HTTP/1.0")),
            (Some(true), None) => Ok(Framing::Chunked),
            (Some(false), None) => Err(Refusal::UnknownTransferEncoding),
            (None, length) => Framing::bounded(length.unwrap_or(0), body_bytes_max),
        }
    }

    fn expects_continue(&self, http_1_0: bool) -> Result<bool, Refusal> {
        if self.expects_other {
            return Err(Refusal::UnknownExpectation);
        }
        // A 1.0 client cannot read an interim response; the expectation is ignored (RFC 9110, 10.1.1).
        Ok(self.expects_continue && !http_1_0)
    }
}

/// So many digits fit 64 bits, whatever they are.
const FITTING_DIGITS: usize = 19;

/// Digits and nothing else: no sign, blank, list or separator, which parsers disagree about.
fn length(value: &[u8]) -> Result<u64, Refusal> {
    const REFUSED: Refusal = Refusal::Malformed("Content-Length");
    if value.is_empty() {
        return Err(REFUSED);
    }
    if value.len() <= FITTING_DIGITS {
        let mut length = 0;
        for byte in value {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Err(REFUSED);
            }
            length = 10 * length + u64::from(digit);
        }
        return Ok(length);
    }
    value.iter().try_fold(0u64, |length, byte| {
        let digit = match byte {
            b'0'..=b'9' => u64::from(byte - b'0'),
            _ => return Err(REFUSED),
        };
        length
            .checked_mul(10)
            .and_then(|length| length.checked_add(digit))
            .ok_or(REFUSED)
    })
}

/// Path and query of a target: `/path?query`, `http://host/path?query`, or `*` for OPTIONS. A fragment is
/// cut off, as the reference's server does.
fn split_target<'b>(
    method: &str,
    target: &'b [u8],
) -> Result<(&'b [u8], Option<&'b [u8]>), Refusal> {
    const REFUSED: Refusal = Refusal::Malformed("request target");
    let target = match target {
        [b'/', ..] => target,
        b"*" if method == "OPTIONS" => target,
        _ => {
            let rest = strip_scheme(target).ok_or(REFUSED)?;
            let authority_ends = |&byte: &u8| matches!(byte, b'/' | b'?' | b'#');
            let end = rest.iter().position(authority_ends).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            if !is_authority(authority) {
                return Err(REFUSED);
            }
            rest
        }
    };
    let end = memchr::memchr(b'#', target).unwrap_or(target.len());
    let target = &target[..end];
    Ok(match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    })
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}

/// `host[:port]` (RFC 3986), and stricter in three places: no user name, no empty host (RFC 9110, 4.2.1),
/// and no comma, which is what two `Host` fields joined by a proxy look like.
fn is_authority(value: &[u8]) -> bool {
    let (host_ok, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else {
                return false;
            };
            let address = &rest[..end];
            let ok = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (
                !address.is_empty() && address.iter().all(ok),
                &rest[end + 1..],
            )
        }
        _ => {
            let end = memchr::memchr(b':', value).unwrap_or(value.len());
            let ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
            (end > 0 && value[..end].iter().all(ok), &value[end..])
        }
    };
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_ok && port_ok
}

fn syntax_refusal(error: Error, head: &[u8]) -> Refusal {
    match error {
        Error::TooManyHeaders => Refusal::HeadTooLarge,
        Error::Version => version_refusal(head),
        Error::HeaderName => Refusal::Malformed("field name"),
        Error::HeaderValue => Refusal::Malformed("field value"),
        Error::NewLine => Refusal::Malformed("line end"),
        Error::Token | Error::Status => Refusal::Malformed("request line"),
    }
}

/// A well-formed version that is not ours is 505 (HTTP/2's preface among them), anything else is noise.
fn version_refusal(head: &[u8]) -> Refusal {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or(line);
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => Refusal::Malformed("request line"),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::VersionNotSupported
        }
        _ => Refusal::Malformed("HTTP version"),
    }
}
