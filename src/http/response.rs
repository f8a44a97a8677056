//! Writes one response to the end of an output buffer.

use std::borrow::Cow;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::{Message, Method};

/// What goes back to the client. `Content-Type` is JSON wherever there is a body.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Empty for 204.
    pub body: Cow<'static, [u8]>,
    pub allow: Option<&'static str>,
    pub retry_after_seconds: Option<u32>,
    /// Close after this answer even if the client asked to keep the connection.
    pub close: bool,
}

impl Answer {
    pub const fn empty(status: u16) -> Answer {
        Answer {
            status,
            body: Cow::Borrowed(&[]),
            allow: None,
            retry_after_seconds: None,
            close: false,
        }
    }
}

/// What of a request its answer has to fit; kept until the answer's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    pub keep_alive: bool,
    pub http_1_0: bool,
    /// The client of a HEAD reads no body, whatever `Content-Length` says.
    pub head_only: bool,
}

impl ReplyTo {
    /// A request that was refused before its head could be believed.
    pub const REFUSED: ReplyTo = ReplyTo {
        keep_alive: false,
        http_1_0: false,
        head_only: false,
    };

    pub fn message(message: &Message<'_>) -> ReplyTo {
        ReplyTo {
            keep_alive: message.keep_alive,
            http_1_0: message.http_1_0,
            head_only: message.method == Method::Head,
        }
    }
}

pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An IMF-fixdate, as [`http_date`] makes it.
pub type Date = [u8; 29];

/// Appends the 204 of a request whose points are all accepted, which nearly every answer is.
#[inline]
pub fn write_accepted(out: &mut Vec<u8>, to: ReplyTo, date: &Date) {
    if !to.keep_alive || to.http_1_0 {
        return write(out, &Answer::empty(204), to, date);
    }
    const DATE_AT: usize = b"HTTP/1.1 204 No Content\r\nDate: ".len();
    let mut text = *b"HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
    text[DATE_AT..DATE_AT + date.len()].copy_from_slice(date);
    out.extend_from_slice(&text);
}

/// Appends `answer`. The connection closes after it unless `to.keep_alive && !answer.close`.
pub fn write(out: &mut Vec<u8>, answer: &Answer, to: ReplyTo, date: &Date) {
    out.extend_from_slice(status_line_and_date(answer.status));
    out.extend_from_slice(date);
    out.extend_from_slice(b"\r\n");
    if let Some(allow) = answer.allow {
        field(out, b"Allow: ", allow.as_bytes());
    }
    if let Some(seconds) = answer.retry_after_seconds {
        number(out, b"Retry-After: ", u64::from(seconds));
    }
    let keep_alive = to.keep_alive && !answer.close;
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if to.http_1_0 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    if answer.status == 204 {
        out.extend_from_slice(b"\r\n");
        return;
    }
    if !answer.body.is_empty() {
        field(out, b"Content-Type: ", b"application/json");
    }
    number(out, b"Content-Length: ", answer.body.len() as u64);
    out.extend_from_slice(b"\r\n");
    if !to.head_only {
        out.extend_from_slice(&answer.body);
    }
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    field(out, name, itoa::Buffer::new().format(value).as_bytes());
}

/// One constant per status, so that the common 204 is three copies.
fn status_line_and_date(status: u16) -> &'static [u8] {
    macro_rules! line {
        ($text:literal) => {
            concat!("HTTP/1.1 ", $text, "\r\nDate: ").as_bytes()
        };
    }
    match status {
        200 => line!("200 OK"),
        204 => line!("204 No Content"),
        207 => line!("207 Multi-Status"),
        400 => line!("400 Bad Request"),
        401 => line!("401 Unauthorized"),
        404 => line!("404 Not Found"),
        405 => line!("405 Method Not Allowed"),
        408 => line!("408 Request Timeout"),
        413 => line!("413 Content Too Large"),
        414 => line!("414 URI Too Long"),
        415 => line!("415 Unsupported Media Type"),
        417 => line!("417 Expectation Failed"),
        429 => line!("429 Too Many Requests"),
        431 => line!("431 Request Header Fields Too Large"),
        501 => line!("501 Not Implemented"),
        503 => line!("503 Service Unavailable"),
        504 => line!("504 Gateway Timeout"),
        505 => line!("505 HTTP Version Not Supported"),
        _ => {
            debug_assert!(status == 500, "status {status} has no line here");
            line!("500 Internal Server Error")
        }
    }
}

/// The value of a `Date` field; made once a second, not once an answer.
pub fn http_date(unix_seconds: u64) -> Date {
    // The last second of the year 9999: the format has four digits, and httpdate panics beyond.
    const LAST: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST));
    let mut date = [b' '; 29];
    // Cannot fail: the text is 29 bytes long for every year below 10000.
    let _ = write!(&mut date[..], "{}", httpdate::HttpDate::from(time));
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &Date = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const TO: ReplyTo = ReplyTo {
        keep_alive: true,
        http_1_0: false,
        head_only: false,
    };

    fn text(answer: &Answer, to: ReplyTo) -> String {
        let mut out = b"before ".to_vec();
        write(&mut out, answer, to, DATE);
        let text = String::from_utf8(out).expect("ASCII");
        text.strip_prefix("before ").expect("appended").to_owned()
    }

    #[test]
    fn a_204_has_no_body_and_none_of_its_fields() {
        let expected = "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(text(&Answer::empty(204), TO), expected);
    }

    #[test]
    fn what_is_written_for_an_accepted_request_is_its_204_to_whomever_it_goes() {
        for bits in 0..8 {
            let to = ReplyTo {
                keep_alive: bits & 1 != 0,
                http_1_0: bits & 2 != 0,
                head_only: bits & 4 != 0,
            };
            let mut out = b"before ".to_vec();
            write_accepted(&mut out, to, DATE);
            let expected = format!("before {}", text(&Answer::empty(204), to));
            assert_eq!(String::from_utf8(out).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn a_body_is_json_with_its_length() {
        let answer = Answer {
            body: b"{}".as_slice().into(),
            retry_after_seconds: Some(1),
            ..Answer::empty(429)
        };
        assert_eq!(
            text(&answer, TO),
            "HTTP/1.1 429 Too Many Requests\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Retry-After: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn an_empty_200_says_so_and_names_what_is_allowed() {
        let answer = Answer {
            allow: Some("GET, OPTIONS"),
            ..Answer::empty(200)
        };
        assert_eq!(
            text(&answer, TO),
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Allow: GET, OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn the_answer_to_head_keeps_the_length_and_drops_the_body() {
        let answer = Answer {
            body: b"{\"code\": 405}".as_slice().into(),
            ..Answer::empty(405)
        };
        let to = ReplyTo {
            head_only: true,
            ..TO
        };
        assert!(text(&answer, to).ends_with("Content-Length: 13\r\n\r\n"));
    }

    #[test]
    fn the_connection_field_says_only_what_is_not_the_default() {
        let (open, close) = (Answer::empty(204), Answer::empty(204));
        let close = Answer {
            close: true,
            ..close
        };
        let connection = |answer, keep_alive, http_1_0| {
            let to = ReplyTo {
                keep_alive,
                http_1_0,
                ..TO
            };
            let text = text(answer, to);
            text.split_once("Connection: ")
                .map(|(_, rest)| rest.replace("\r\n", ""))
        };
        assert_eq!(connection(&open, true, false), None);
        assert_eq!(connection(&open, true, true).as_deref(), Some("keep-alive"));
        assert_eq!(connection(&open, false, false).as_deref(), Some("close"));
        assert_eq!(connection(&open, false, true).as_deref(), Some("close"));
        assert_eq!(connection(&close, true, false).as_deref(), Some("close"));
        assert_eq!(connection(&close, true, true).as_deref(), Some("close"));
    }

    #[test]
    fn a_date_is_an_imf_fixdate() {
        assert_eq!(&http_date(784_111_777), DATE);
        assert_eq!(&http_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&http_date(1_709_164_800), b"Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(&http_date(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
