//! Drives the decoder as a connection does. Each outcome is one readable line:
//! `GET /path ?query "body"`, or the refusal.

mod again;
mod encoding;
mod gunicorn;
mod pieces;
mod rules;
mod smuggling;

use super::{Awaiting, Decoded, Decoder, Limits, Message};

pub const LIMITS: Limits = Limits {
    head_bytes_max: 16 * 1024,
    body_bytes_max: 64 * 1024,
};

/// Feeds the pieces one after the other and lists what comes out, up to the first refusal.
pub fn outcomes<'a>(
    limits: Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    show: fn(&Message<'_>) -> String,
) -> Vec<String> {
    let mut decoder = Decoder::new(limits);
    let mut buffer = Vec::new();
    let mut seen = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Decoded::Incomplete { .. } => {
                    assert!(buffer.len() < limits.buffer_bytes_max(), "stuck");
                    break;
                }
                Decoded::Message { message, consumed } => {
                    seen.push(show(&message));
                    buffer.drain(..consumed);
                }
                Decoded::Refused(refusal) => {
                    seen.push(format!("{refusal:?}"));
                    assert_eq!(decoder.next(&mut buffer), Decoded::Refused(refusal));
                    return seen;
                }
            }
        }
    }
    if decoder.awaiting() != Awaiting::Request {
        seen.push("incomplete".to_owned());
    }
    seen
}

/// The short form, for expectations written by hand.
pub fn brief(message: &Message<'_>) -> String {
    let mut text = format!("{:?} {}", message.method, message.path.escape_ascii());
    if let Some(query) = message.query {
        text += &format!(" ?{}", query.escape_ascii());
    }
    if !message.body.is_empty() {
        text += &format!(" {:?}", String::from_utf8_lossy(message.body));
    }
    text
}

/// Everything there is, for comparisons.
pub fn whole(message: &Message<'_>) -> String {
    format!("{message:?}")
}

pub fn decode(wire: &[u8]) -> Vec<String> {
    outcomes(LIMITS, [wire], brief)
}

/// One request with these field lines (each ends in CRLF) besides a good `Host`, and this behind its head.
pub fn post(fields: &str, rest: &str) -> Vec<String> {
    decode(format!("POST /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n{rest}").as_bytes())
}

/// The outcome of the only thing that was decoded.
pub fn one(outcomes: Vec<String>) -> String {
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.into_iter().next().unwrap_or_default()
}
