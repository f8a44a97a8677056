//! A client sends the same head with every request of a connection, but for its `Content-Length`. What was read once
//! from the same bytes need not be read again: the answer could only be the same.

use super::Limits;
use super::head::{Framing, Head, Span};

/// Longer heads are read every time: one is kept for each connection.
const HEAD_BYTES_MAX: usize = 512;

/// The last head that was read from the very start of what was unread.
#[derive(Debug)]
pub(super) struct Again {
    bytes: Vec<u8>,
    head: Head,
    limits: Limits,
}

impl Again {
    /// Only of requests that carry a body: others have their content in the head, and it differs.
    pub(super) fn remember(last: &mut Option<Again>, bytes: &[u8], head: &Head, limits: Limits) {
        if bytes.len() > HEAD_BYTES_MAX || !head.is_post() {
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
    pub(super) fn head(&self, buffer: &[u8], limits: Limits) -> Option<(Head, usize)> {
        let framing = self.framing(buffer, limits)?;
        Some((self.head.framed(framing), self.bytes.len()))
    }

    /// The same for a message whose body is there too: where that lies, and the head, of which all but its framing
    /// holds.
    #[inline]
    pub(super) fn whole(&self, buffer: &[u8], limits: Limits) -> Option<(&Head, Span)> {
        let Framing::Length(length) = self.framing(buffer, limits)? else {
            return None;
        };
        let start = self.bytes.len();
        let end = start + length;
        (end <= buffer.len()).then_some((&self.head, Span { start, end }))
    }

    #[inline]
    fn framing(&self, buffer: &[u8], limits: Limits) -> Option<Framing> {
        let bytes = buffer.get(..self.bytes.len())?;
        if self.limits != limits {
            return None;
        }
        if bytes == self.bytes {
            return Some(self.head.framing);
        }
        let length = self.head.length_at?;
        let same = bytes[..length.start] == self.bytes[..length.start]
            && bytes[length.end..] == self.bytes[length.end..];
        if !same {
            return None;
        }
        // As many digits as before, or it is not the same head; one that is refused is read in full for the reason.
        Framing::length(length.slice(bytes), limits.body_bytes_max).ok()
    }
}
