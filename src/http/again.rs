//! A client sends the same head with every request of a connection, but for its `Content-Length`, or, of a GET, for its
//! query. What was read once from the same bytes need not be read again: the answer could only be the same.

use super::Limits;
use super::head::{Framing, Head, Span};

/// Longer heads are read every time: one is kept for each connection.
const HEAD_BYTES_MAX: usize = 512;

/// Together with a head, far less than a request line may have.
const QUERY_BYTES_MAX: usize = 1024;

/// The last head that was read from the very start of what was unread.
#[derive(Debug)]
pub(super) struct Again {
    bytes: Vec<u8>,
    head: Head,
    limits: Limits,
}

impl Again {
    /// Only of requests that carry something: in a body, or in a query.
    pub(super) fn remember(last: &mut Option<Again>, bytes: &[u8], head: &Head, limits: Limits) {
        let carries = head.is_post() || head.query().is_some();
        if bytes.len() > HEAD_BYTES_MAX || !carries {
            return;
        }
        let last = last.get_or_insert_with(|| Again {
            bytes: Vec::with_capacity(bytes.len()),
            head: *head,
            limits,
        });
        last.bytes.clear();
        last.bytes.extend_from_slice(bytes);
        (last.head, last.limits) = (*head, limits);
    }

    /// The head that `buffer` begins with, and where it ends; `None` when it has to be read.
    pub(super) fn head(&mut self, buffer: &[u8], limits: Limits) -> Option<(Head, usize)> {
        self.begins(buffer, limits)
            .then_some((self.head, self.bytes.len()))
    }

    /// The same for a message whose body is there too: where that lies, and the head.
    #[inline]
    pub(super) fn whole(&mut self, buffer: &[u8], limits: Limits) -> Option<(&Head, Span)> {
        if !self.begins(buffer, limits) {
            return None;
        }
        let Framing::Length(length) = self.head.framing else {
            return None;
        };
        let start = self.bytes.len();
        let end = start + length;
        (end <= buffer.len()).then_some((&self.head, Span { start, end }))
    }

    /// Whether `buffer` begins with this head, which has the length of its body from then on.
    #[inline(always)]
    fn begins(&mut self, buffer: &[u8], limits: Limits) -> bool {
        let Some(bytes) = buffer.get(..self.bytes.len()) else {
            return false;
        };
        self.limits == limits && (bytes == self.bytes || self.lengthen(bytes))
    }

    /// Takes the `Content-Length` of a head that is this one but for its digits.
    #[inline(never)]
    fn lengthen(&mut self, bytes: &[u8]) -> bool {
        let Some(length) = self.head.length_at else {
            return false;
        };
        let same = bytes[..length.start] == self.bytes[..length.start]
            && bytes[length.end..] == self.bytes[length.end..];
        if !same {
            return false;
        }
        // As many digits as before, or it is not the same head; one that is refused is read in full for the reason.
        let Ok(framing) = Framing::length(length.slice(bytes), self.limits.body_bytes_max) else {
            return false;
        };
        self.bytes[length.start..length.end].copy_from_slice(length.slice(bytes));
        self.head.framing = framing;
        true
    }

    /// A whole message that begins with this head but for its query: the head, and where query and body lie. A query
    /// that is not plain may be refused, or end before its blank: such a head is read in full.
    #[inline]
    pub(super) fn query(&self, buffer: &[u8], limits: Limits) -> Option<(&Head, Span, Span)> {
        let before = self.head.query()?;
        let Framing::Length(body_bytes) = self.head.framing else {
            return None;
        };
        let rest = buffer.strip_prefix(&self.bytes[..before.start])?;
        let after = &self.bytes[before.end..];
        let length = match rest.len().checked_sub(after.len()) {
            // Nearly always nothing follows.
            Some(length) if is_plain(rest, length) => length,
            _ => {
                let window = &rest[..rest.len().min(QUERY_BYTES_MAX)];
                let length = memchr::memchr(b' ', window)?;
                is_plain(rest, length).then_some(length)?
            }
        };
        let query = Span {
            start: before.start,
            end: before.start + length,
        };
        let start = query.end + after.len();
        let body = Span {
            start,
            end: start + body_bytes,
        };
        let whole = rest[length..].starts_with(after)
            && start <= limits.head_bytes_max
            && body.end <= buffer.len();
        (whole && self.limits == limits).then_some((&self.head, query, body))
    }
}

/// Whether the first bytes are few, and such that every query may have and none ends it.
#[inline]
fn is_plain(rest: &[u8], length: usize) -> bool {
    const WINDOW: usize = 32;
    if length > QUERY_BYTES_MAX {
        return false;
    }
    let query = &rest[..length];
    // Without a short cut, which would be a branch for each byte.
    let other = |byte: u8| u8::from(!byte.is_ascii_graphic()) | u8::from(byte == b'#');
    let Some(last) = query.last_chunk::<WINDOW>() else {
        return query.iter().fold(0, |all, &byte| all | other(byte)) == 0;
    };
    // The last window lies in part on the one before: no byte is looked at alone.
    let (windows, _) = query.as_chunks::<WINDOW>();
    let mut others = [0; WINDOW];
    for window in windows.iter().chain([last]) {
        for (all, &byte) in others.iter_mut().zip(window) {
            *all |= other(byte);
        }
    }
    others == [0; WINDOW]
}
