//! Answers that keep nothing: the test report, and the status echo.

use std::fmt::Write;

use super::json::Node;
use super::validate::{Fault, Given};
use super::verdict::{self, Problem};
use super::{json, number};
use crate::http::response::Answer;

/// What a request in test mode would have done.
#[derive(Debug, Default)]
pub(super) struct Report {
    ingested: Vec<String>,
    dropped: Vec<String>,
}

impl Report {
    pub fn add(&mut self, name: &str, kept: bool) {
        let list = if kept {
            &mut self.ingested
        } else {
            &mut self.dropped
        };
        list.push(name.to_owned());
    }

    /// `prefix` is empty, or the namespace and a dot.
    pub fn answer(&self, prefix: &str) -> Answer {
        let namespace = prefix.strip_suffix('.').unwrap_or("None");
        let mut body = String::from("{\"namespace\": \"");
        verdict::push_escaped(&mut body, namespace);
        body.push_str(
            "\", \"message\": \"metric ingestion test, no metrics were ingested only counts are reported\"",
        );
        write!(
            body,
            ", \"ingest_count\": {}, \"drop_count\": {}",
            self.ingested.len(),
            self.dropped.len()
        )
        .expect("writing to a String");
        body.push_str(", \"metrics\": \"");
        verdict::push_escaped(&mut body, &python_list(&self.ingested));
        body.push_str("\", \"dropped\": \"");
        verdict::push_escaped(&mut body, &python_list(&self.dropped));
        body.push_str("\"}");
        verdict::json(200, body.into_bytes())
    }
}

/// The text of a Python list of names. One that was accepted has no quote and no backslash; one that was
/// dropped may.
fn python_list(names: &[String]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'")))
        .collect();
    format!("[{}]", quoted.join(", "))
}

/// What an over-quota answer of Skyline Flux looks like, for clients that want to see one.
const OVER_QUOTA: &[u8] = br#"{"code": 207, "data": [{"metric": "c", "status": 400}, {"metric": "a", "status": 204}, {"metric": "b", "status": 204}], "error": "over quota - this account is allowed 2 metrics and an additional 1 new metrics were posted that have been rejected", "message": "2 metrics were processed and 1 metrics were rejected", "rejected metrics": ["c"], "rejected metrics count": 1, "processed metrics": ["a", "b"], "processed metrics count": 2, "submitted metrics count": 3, "defined skipped_metrics count": 0}"#;

/// `{"status": x, "status_code": c}` asks for an answer of status `c`. Only those that Skyline Flux
/// echoes are; a 5xx is not to be had from here.
pub(super) fn status_echo(code: &[Node<'_>]) -> Result<Answer, Fault> {
    let code = match json::given(code) {
        Given::Unsigned(code) => i64::try_from(code).ok(),
        Given::Signed(code) => Some(code),
        Given::Text(text) => number::integer(text),
        _ => None,
    };
    let fault = || Fault::new(Problem::InvalidStatusCode, "not an integer");
    Ok(match code.ok_or_else(fault)? {
        207 => verdict::json(207, OVER_QUOTA.to_vec()),
        code @ (200 | 400 | 401) => {
            let body = format!("{{\"code\": {code}, \"data\": \"Status code test - {code}\"}}");
            verdict::json(code as u16, body.into_bytes())
        }
        _ => verdict::accepted(),
    })
}
