//! Bytes ⇄ HTTP/1 messages. Pure: slices in, a message, a refusal or "not yet" out. Knows no metrics.
//!
//! One [`Decoder`] per connection looks at the unconsumed bytes of its read buffer. It never copies a
//! body: `Content-Length` bodies are a slice of the buffer, chunked bodies are moved together inside it.
//! [`encoding`] undoes what a body was compressed with.

mod again;
pub mod chunked;
pub mod decoder;
pub mod encoding;
pub mod error;
mod gzip;
mod head;
mod held;
mod lines;
pub mod response;
#[cfg(test)]
mod tests;

pub use decoder::{Awaiting, Decoder, Limits};
pub use error::Refusal;
pub use held::Held;

/// The methods we tell apart; anything else is answered 405 by the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Options,
    Head,
    Other,
}

/// How the body is coded on top of its framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentEncoding {
    #[default]
    Identity,
    Gzip,
    Deflate,
    /// Named, but not one we can undo: 415.
    Unknown,
}

/// The header fields that mean something to the application; the others are checked and passed over.
/// Values are as sent, without the blanks around them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fields<'b> {
    pub key: Option<&'b [u8]>,
    pub telegraf: Option<&'b [u8]>,
    pub prefix: Option<&'b [u8]>,
    pub x_test_only: Option<&'b [u8]>,
    pub content_encoding: ContentEncoding,
}

/// A whole request: head and body are there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message<'b> {
    pub method: Method,
    /// The target's path as sent (not percent-decoded), without scheme and authority.
    pub path: &'b [u8],
    /// What follows the first `?`; `None` without one.
    pub query: Option<&'b [u8]>,
    pub fields: Fields<'b>,
    /// Without its framing (chunks removed), still content-encoded.
    pub body: &'b [u8],
    /// HTTP/1.0: the answer says so about keep-alive, and gets no interim response.
    pub http_1_0: bool,
    pub keep_alive: bool,
}

impl<'b> Message<'b> {
    /// The same with its content encoding undone.
    pub fn decoded(&self, body: &'b [u8]) -> Message<'b> {
        let fields = Fields {
            content_encoding: ContentEncoding::Identity,
            ..self.fields
        };
        Message {
            fields,
            body,
            ..*self
        }
    }
}

/// What the decoder saw at the start of the buffer.
#[derive(Debug, PartialEq)]
pub enum Decoded<'b> {
    /// Not yet a whole message. `send_continue` is set once, when the head is complete, asks for it and
    /// is acceptable: the caller sends `HTTP/1.1 100 Continue` and reads on.
    Incomplete { send_continue: bool },
    /// A message, and how many bytes of the buffer it took (body and trailers included).
    Message {
        message: Message<'b>,
        consumed: usize,
    },
    /// The connection's framing is lost or a bound was met: answer, then close. Nothing that
    /// follows on this connection is executed.
    Refused(Refusal),
}
