//! The one table of statuses and messages, and how an answer is written from it.

use std::borrow::Cow;
use std::fmt::Write;

use crate::http::{Refusal, encoding, response::Answer};
use crate::telemetry::counters::Reject;

/// Why a request is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    NoKeyPassed,
    NoKeyParameter,
    InvalidKey,
    InvalidParameter,
    NoMetricParameter,
    NoValueParameter,
    InvalidJson,
    NoPostData,
    NoMetricData,
    NoValue,
    InvalidMetric,
    InvalidTimestamp,
    InvalidValue,
    InvalidStatusCode,
    /// Of carbon's line protocol: nobody is answered, it is only counted.
    InvalidLine,
    TooManyPoints,
    BodyTooLarge,
    LargerThanBudget,
    UnsupportedEncoding,
    NotFound,
    MethodNotAllowed,
    Busy,
    OutcomeUnknown,
}

impl Problem {
    /// The table: status, message (HEAD's, up to its first ` - `), and what its points are rejected for. Where
    /// nothing was parsed there are no points, and the reason is [`Reject::Other`].
    fn row(self) -> (u16, &'static str, Reject) {
        use Problem::*;
        match self {
            NoKeyPassed => (400, "no key passed", Reject::Key),
            NoKeyParameter => (400, "no key parameter passed", Reject::Key),
            InvalidKey => (401, "invalid key", Reject::Key),
            InvalidParameter => (400, "Invalid parameter received", Reject::Parameters),
            NoMetricParameter => (400, "no metric parameter passed", Reject::Name),
            NoValueParameter => (400, "no value parameter passed", Reject::Value),
            InvalidJson => (400, "invalid json data", Reject::Json),
            NoPostData => (400, "no POST data received", Reject::Json),
            NoMetricData => (400, "no metric data passed", Reject::Json),
            NoValue => (400, "no value parameter present", Reject::Value),
            InvalidMetric => (400, "invalid metric", Reject::Name),
            InvalidTimestamp => (400, "invalid timestamp", Reject::Timestamp),
            InvalidValue => (400, "invalid value", Reject::Value),
            InvalidStatusCode => (400, "invalid status_code", Reject::Parameters),
            InvalidLine => (400, "invalid line", Reject::Line),
            TooManyPoints => (413, "too many points in one request", Reject::TooLarge),
            BodyTooLarge => (413, "request body too large", Reject::TooLarge),
            LargerThanBudget => (
                413,
                "request larger than what may be in flight",
                Reject::TooLarge,
            ),
            UnsupportedEncoding => (415, "content encoding not supported", Reject::Other),
            NotFound => (404, "not found", Reject::Other),
            MethodNotAllowed => (405, "method not allowed", Reject::Other),
            Busy => (429, "too busy, send again later", Reject::Busy),
            OutcomeUnknown => (504, "outcome unknown, send again", Reject::Other),
        }
    }

    pub fn status(self) -> u16 {
        self.row().0
    }

    pub fn message(self) -> &'static str {
        self.row().1
    }

    /// What its points are counted under, in `flux_points_rejected_total`.
    pub fn reason(self) -> Reject {
        self.row().2
    }
}

/// Longest part of a message that depends on the request: it says which item and why, and is no
/// way to make an answer grow with its request.
const DETAIL_CHARS_MAX: usize = 240;

/// Longest `Retry-After`: a client that waits longer than this has given the batch up.
const RETRY_AFTER_SECONDS_MAX: u32 = 60;

/// Every point of the request was accepted, or recognised as a duplicate.
pub fn accepted() -> Answer {
    answer(204, Cow::Borrowed(b""))
}

/// The health probe, whatever became of the heartbeat.
pub fn healthy() -> Answer {
    answer(200, Cow::Borrowed(br#"{"status": "ok"}"#))
}

pub fn key_valid() -> Answer {
    answer(200, Cow::Borrowed(br#"{"status": "key valid"}"#))
}

/// A body of ours, already JSON.
pub fn json(status: u16, body: Vec<u8>) -> Answer {
    answer(status, Cow::Owned(body))
}

pub fn refuse(problem: Problem, detail: &str) -> Answer {
    let (status, message, _) = problem.row();
    error(status, message, detail)
}

pub fn options(allow: &'static str) -> Answer {
    Answer {
        allow: Some(allow),
        ..answer(200, Cow::Borrowed(b""))
    }
}

pub fn method_not_allowed(allow: &'static str) -> Answer {
    Answer {
        allow: Some(allow),
        ..refuse(Problem::MethodNotAllowed, "")
    }
}

/// A bound was reached: nothing of the request was accepted.
pub fn busy(retry_after_seconds: u32) -> Answer {
    Answer {
        retry_after_seconds: Some(retry_after_seconds.clamp(1, RETRY_AFTER_SECONDS_MAX)),
        ..refuse(Problem::Busy, "")
    }
}

/// The points were handed over and nobody can say yet whether they are kept.
pub fn outcome_unknown() -> Answer {
    refuse(Problem::OutcomeUnknown, "")
}

/// The request would not fit even with nothing else in flight.
pub fn larger_than_budget() -> Answer {
    refuse(Problem::LargerThanBudget, "")
}

/// The decoder gave the message up: what follows on this connection cannot be trusted.
pub fn refused(refusal: Refusal) -> Answer {
    Answer {
        close: true,
        ..error(refusal.status(), &refusal.to_string(), "")
    }
}

/// The body could not be decoded. Its framing is sound, so the connection stays.
pub fn not_decoded(fault: encoding::Fault) -> Answer {
    let problem = match fault.is_bound() {
        true => Problem::BodyTooLarge,
        // What Skyline Flux says when it parses the bytes it could not gunzip.
        false => Problem::InvalidJson,
    };
    refuse(problem, &fault.to_string())
}

/// The words of an answer of ours that refuses something, for people.
pub fn told(answer: &Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Told {
        message: Option<String>,
        error: Option<String>,
        #[serde(rename = "rejected metric")]
        metric: Option<String>,
        #[serde(rename = "rejected metrics", default)]
        metrics: Vec<String>,
    }
    let Ok(told) = serde_json::from_slice::<Told>(&answer.body) else {
        return answer.status.to_string();
    };
    let mut text = told.error.or(told.message).unwrap_or_default();
    if let Some(name) = told.metric.or(told.metrics.into_iter().next()) {
        text = format!("metric \"{name}\" - {text}");
    }
    text
}

fn answer(status: u16, body: Cow<'static, [u8]>) -> Answer {
    Answer {
        status,
        body,
        allow: None,
        retry_after_seconds: None,
        close: false,
    }
}

fn error(status: u16, message: &str, detail: &str) -> Answer {
    let mut body = format!("{{\"code\": {status}, \"message\": \"");
    push_escaped(&mut body, message);
    if !detail.is_empty() {
        body.push_str(" - ");
        let end = detail.char_indices().nth(DETAIL_CHARS_MAX);
        push_escaped(&mut body, end.map_or(detail, |(end, _)| &detail[..end]));
    }
    body.push_str("\"}");
    json(status, body.into_bytes())
}

/// Writes text into a JSON string as Python's `json.dumps` does: printable ASCII stays.
pub fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("writing to a String");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: &Answer) -> &str {
        std::str::from_utf8(&answer.body).unwrap()
    }

    #[test]
    fn an_error_is_written_as_python_writes_it() {
        let answer = refuse(Problem::InvalidMetric, "metric \"a\\\n\u{7f}é😀\"");
        let expected = r#"{"code": 400, "message": "invalid metric - metric \"a\\\n\u007f\u00e9\ud83d\ude00\""}"#;
        assert_eq!(body(&answer), expected);
        assert_eq!(
            body(&refuse(Problem::InvalidKey, "")),
            r#"{"code": 401, "message": "invalid key"}"#
        );
    }

    #[test]
    fn what_is_wrong_with_a_point_is_counted_by_its_kind() {
        use Problem::*;
        for (problem, label) in [
            (InvalidParameter, "parameters"),
            (InvalidStatusCode, "parameters"),
            (NoKeyParameter, "key"),
            (NoMetricParameter, "name"),
            (InvalidTimestamp, "timestamp"),
            (InvalidValue, "value"),
            (NoMetricData, "json"),
            (TooManyPoints, "too_large"),
            (Busy, "busy"),
        ] {
            assert_eq!(problem.reason().label(), label, "{problem:?}");
        }
    }

    #[test]
    fn what_was_told_is_read_back_from_the_answer() {
        let refused = refuse(Problem::InvalidMetric, "metric \"<b>\u{7f}\"");
        assert_eq!(told(&refused), "invalid metric - metric \"<b>\u{7f}\"");
        let body = br#"{"code": 207, "error": "over quota", "message": "1 of 2", "rejected metrics": ["c", "d"]}"#;
        let quota = json(207, body.to_vec());
        assert_eq!(told(&quota), "metric \"c\" - over quota");
        assert_eq!(told(&Answer::empty(400)), "400", "the answer to a HEAD");
    }

    #[test]
    fn a_detail_cannot_make_an_answer_large() {
        let long = refuse(Problem::InvalidValue, &"é".repeat(10_000));
        assert!(long.body.len() < 6 * DETAIL_CHARS_MAX + 100);
        let parsed: serde_json::Value = serde_json::from_slice(&long.body).unwrap();
        let message = parsed["message"].as_str().unwrap();
        assert_eq!(message, format!("invalid value - {}", "é".repeat(240)));
    }

    #[test]
    fn only_an_unknown_outcome_and_the_framing_are_5xx_and_only_the_framing_closes() {
        assert_eq!(outcome_unknown().status, 504);
        let answer = refused(Refusal::Malformed("bare LF"));
        assert_eq!((answer.status, answer.close), (400, true));
        assert_eq!(refused(Refusal::BodyTooLarge).status, 413);
        assert_eq!(refused(Refusal::UnknownTransferEncoding).status, 501);
        assert!(!refuse(Problem::TooManyPoints, "").close);
    }

    #[test]
    fn busy_says_when_to_come_back_within_bounds() {
        for (asked, said) in [(0, 1), (5, 5), (u32::MAX, 60)] {
            assert_eq!(busy(asked).retry_after_seconds, Some(said));
        }
        assert_eq!(busy(1).status, 429);
    }
}
