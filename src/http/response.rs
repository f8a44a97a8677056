//! Writes one response to the end of an output buffer.

use std::borrow::Cow;

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

pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
