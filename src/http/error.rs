//! Why a message is refused before its meaning matters, with the status of each in one match.

use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    #[error("request head too large")]
    HeadTooLarge,
    #[error("URI too long")]
    UriTooLong,
    #[error("request body too large")]
    BodyTooLarge,
    #[error("request took too long")]
    TooSlow,
    #[error("unknown expectation")]
    UnknownExpectation,
    #[error("unknown transfer encoding")]
    UnknownTransferEncoding,
    #[error("HTTP version not supported")]
    VersionNotSupported,
}

impl Refusal {
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::HeadTooLarge => 431,
            Refusal::UriTooLong => 414,
            Refusal::BodyTooLarge => 413,
            Refusal::TooSlow => 408,
            Refusal::UnknownExpectation => 417,
            Refusal::UnknownTransferEncoding => 501,
            Refusal::VersionNotSupported => 505,
        }
    }
}
