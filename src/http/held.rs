//! A message copied out of the read buffer, for one that is not answered in the turn that read it.

use super::head::Span;
use super::{ContentEncoding, Fields, Message, Method};

/// Everything of a [`Message`], its body still encoded, in one piece of memory.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    method: Method,
    path: Span,
    query: Option<Span>,
    key: Option<Span>,
    telegraf: Option<Span>,
    prefix: Option<Span>,
    x_test_only: Option<Span>,
    body: Span,
    http_1_0: bool,
    keep_alive: bool,
}

impl Held {
    pub fn of(message: &Message<'_>) -> Held {
        let fields = &message.fields;
        let mut bytes = Vec::new();
        let mut keep = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            Span {
                start,
                end: bytes.len(),
            }
        };
        Held {
            method: message.method,
            path: keep(message.path),
            query: message.query.map(&mut keep),
            key: fields.key.map(&mut keep),
            telegraf: fields.telegraf.map(&mut keep),
            prefix: fields.prefix.map(&mut keep),
            x_test_only: fields.x_test_only.map(&mut keep),
            body: keep(message.body),
            http_1_0: message.http_1_0,
            keep_alive: message.keep_alive,
            bytes,
        }
    }

    /// As it was sent.
    pub fn body(&self) -> &[u8] {
        self.body.slice(&self.bytes)
    }

    /// With this body in place of the encoded one.
    pub fn with_body<'b>(&'b self, body: &'b [u8]) -> Message<'b> {
        let slice = |span: Span| span.slice(&self.bytes);
        Message {
            method: self.method,
            path: slice(self.path),
            query: self.query.map(slice),
            fields: Fields {
                key: self.key.map(slice),
                telegraf: self.telegraf.map(slice),
                prefix: self.prefix.map(slice),
                x_test_only: self.x_test_only.map(slice),
                content_encoding: ContentEncoding::Identity,
            },
            body,
            http_1_0: self.http_1_0,
            keep_alive: self.keep_alive,
        }
    }

    /// Memory this takes.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
