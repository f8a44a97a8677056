//! The one table of statuses and messages.

use crate::http::response::Answer;

/// Every point of the request was accepted, or recognised as a duplicate.
pub fn accepted() -> Answer {
    Answer {
        status: 204,
        body: (&[][..]).into(),
        allow: None,
        retry_after_seconds: None,
        close: false,
    }
}
