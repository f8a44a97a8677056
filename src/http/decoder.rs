//! The message decoder of one connection.

use super::Decoded;

/// Bounds on one message; each has a status of its own when it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub head_bytes_max: usize,
    pub body_bytes_max: usize,
}

/// What has to be remembered between reads of one message.
#[derive(Debug)]
pub struct Decoder {
    pub limits: Limits,
}

impl Decoder {
    pub fn new(limits: Limits) -> Self {
        Decoder { limits }
    }

    /// Looks at the unconsumed bytes. Called again with the same start and more bytes after
    /// `Incomplete`; called with the bytes after `consumed` after a message.
    pub fn next<'b>(&mut self, buffer: &'b mut [u8]) -> Decoded<'b> {
        let _ = buffer;
        Decoded::Incomplete {
            send_continue: false,
        }
    }
}
