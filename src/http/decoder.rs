//! The message decoder of one connection: bytes in, whole messages out, each byte looked at once.
//!
//! It may assume that its caller passes the same unconsumed bytes again, only longer, until a message is
//! whole (inside a chunked body it has moved some of them), and then the bytes after `consumed`.

use super::again::Again;
use super::chunked::{self, Chunked};
use super::head::{Framing, Head, Span};
use super::lines::{EMPTY_LINES_BYTES_MAX, HeadScan};
use super::{Decoded, Refusal};

/// Bounds on one message; each has a status of its own when it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub head_bytes_max: usize,
    pub body_bytes_max: usize,
}

impl Limits {
    /// A buffer of this size always holds a whole message or gets it refused, chunk framing included. So a
    /// connection that gives its read buffer this bound cannot get stuck with it full.
    pub const fn buffer_bytes_max(&self) -> usize {
        let body = chunked::wire_bytes_max(self.body_bytes_max);
        EMPTY_LINES_BYTES_MAX + self.head_bytes_max + body
    }
}

/// What the next bytes belong to; each has a deadline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// Between requests: nothing of the next one has arrived (empty lines are nothing).
    Request,
    Head,
    Body,
}

/// What has to be remembered between reads of one message.
#[derive(Debug)]
pub struct Decoder {
    pub limits: Limits,
    scan: HeadScan,
    /// Set once the head is whole.
    pending: Option<Pending>,
    /// The last head, for when it comes again.
    last: Option<Again>,
    /// For good: nothing after lost framing may be executed.
    refused: Option<Refusal>,
}

#[derive(Debug)]
struct Pending {
    head: Head,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Length(Span),
    Chunked(Chunked),
}

impl Decoder {
    pub fn new(limits: Limits) -> Self {
        Decoder {
            limits,
            scan: HeadScan::default(),
            pending: None,
            last: None,
            refused: None,
        }
    }

    /// Looks at the unconsumed bytes. Called again with the same start and more bytes after
    /// `Incomplete`; called with the bytes after `consumed` after a message.
    pub fn next<'b>(&mut self, buffer: &'b mut [u8]) -> Decoded<'b> {
        if let Some((head, body)) = self.whole_again(buffer) {
            return Decoded::Message {
                message: head.message(buffer, body),
                consumed: body.end,
            };
        }
        if let Some((head, query, body)) = self.another_query(buffer) {
            return Decoded::Message {
                message: head.message_of(query, buffer, body),
                consumed: body.end,
            };
        }
        match self.advance(buffer) {
            Ok(Some((head, body, consumed))) => Decoded::Message {
                message: head.message(buffer, body),
                consumed,
            },
            Ok(None) => Decoded::Incomplete {
                send_continue: self.take_continue(),
            },
            Err(refusal) => {
                self.refused = Some(refusal);
                Decoded::Refused(refusal)
            }
        }
    }

    /// What was missing at the last call of [`next`](Self::next).
    pub fn awaiting(&self) -> Awaiting {
        match self.pending {
            Some(_) => Awaiting::Body,
            None if self.scan.is_idle() => Awaiting::Request,
            None => Awaiting::Head,
        }
    }

    /// A message that is there as a whole, under the last one's head: nothing of it has to be remembered.
    #[inline]
    fn whole_again(&mut self, buffer: &[u8]) -> Option<(&Head, Span)> {
        let limits = self.limits;
        self.usable()?.whole(buffer, limits)
    }

    /// The same for one whose head has another query.
    #[inline]
    fn another_query(&mut self, buffer: &[u8]) -> Option<(&Head, Span, Span)> {
        let limits = self.limits;
        self.usable()?.query(buffer, limits)
    }

    /// The last head, where a message begins and nothing was lost before it.
    #[inline]
    fn usable(&mut self) -> Option<&mut Again> {
        let fresh = self.pending.is_none() && self.refused.is_none() && self.scan.is_fresh();
        self.last.as_mut().filter(|_| fresh)
    }

    // A head that is read takes much of the stack, which the way of nearly all messages should not ask for.
    #[inline(never)]
    fn advance(&mut self, buffer: &mut [u8]) -> Result<Option<(Head, Span, usize)>, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        if self.pending.is_none() {
            self.pending = self.read_head(buffer)?;
        }
        let Some(pending) = &mut self.pending else {
            return Ok(None);
        };
        let whole = match &mut pending.body {
            Body::Length(span) if span.end > buffer.len() => None,
            Body::Length(span) => Some((*span, span.end)),
            Body::Chunked(chunked) => chunked.advance(buffer, self.limits.body_bytes_max)?,
        };
        let Some((body, consumed)) = whole else {
            return Ok(None);
        };
        let head = pending.head;
        self.pending = None;
        self.scan = HeadScan::default();
        Ok(Some((head, body, consumed)))
    }

    fn read_head(&mut self, buffer: &[u8]) -> Result<Option<Pending>, Refusal> {
        let fresh = self.scan.is_fresh();
        let known = self.last.as_mut().filter(|_| fresh);
        let known = known.and_then(|last| last.head(buffer, self.limits));
        let (head, end) = match known {
            Some(known) => known,
            None => {
                let Some(end) = self.scan.end(buffer, self.limits.head_bytes_max)? else {
                    return Ok(None);
                };
                let start = self.scan.start();
                let head = Head::parse(&buffer[..end], start, self.limits.body_bytes_max)?;
                if start == 0 {
                    Again::remember(&mut self.last, &buffer[..end], &head, self.limits);
                }
                (head, end)
            }
        };
        let body = match head.framing {
            Framing::Length(length) => Body::Length(Span {
                start: end,
                end: end + length,
            }),
            Framing::Chunked => Body::Chunked(Chunked::starting_at(end)),
        };
        Ok(Some(Pending { head, body }))
    }

    fn take_continue(&mut self) -> bool {
        self.pending
            .as_mut()
            .is_some_and(|pending| std::mem::take(&mut pending.head.expects_continue))
    }
}
