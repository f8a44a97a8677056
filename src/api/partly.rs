//! Answers to requests of which a part was accepted: 207, and the lists of what was and what was not, in the
//! shape Skyline Flux gives them. Names are written as the client sent them, without its namespace.

use std::fmt::Write;

use super::auth::Keys;
use super::verdict::{self, push_escaped};
use crate::http::response::Answer;

/// Bytes of names in one list of an answer: thousands of names, and no way to make an answer grow with
/// its request. The counts beside the lists are exact.
const LISTED_BYTES_MAX: usize = 64 * 1024;

/// Names of one kind.
#[derive(Debug, Default)]
pub(super) struct Listed {
    names: Vec<String>,
    bytes: usize,
}

/// What became of the metrics of one request, as far as its answer may have to say. Most requests leave nothing out:
/// they make, move and drop no lists.
#[derive(Debug, Default)]
pub(super) struct LeftOut(Option<Box<Lists>>);

#[derive(Debug, Default)]
pub(super) struct Lists {
    pub rejected: Listed,
    pub processed: Listed,
    pub dropped: Listed,
}

/// How many there were, listed or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub submitted: u32,
    pub rejected: u32,
    pub skipped: u32,
    pub dropped: u32,
}

impl Counts {
    fn processed(&self) -> u32 {
        self.submitted - self.rejected - self.skipped
    }
}

impl Listed {
    pub fn add(&mut self, name: &str) {
        self.bytes += name.len();
        if self.bytes <= LISTED_BYTES_MAX {
            self.names.push(name.to_owned());
        }
    }
}

impl LeftOut {
    pub fn lists(&mut self) -> &mut Lists {
        self.0.get_or_insert_default()
    }
}

impl Lists {
    /// Metrics that no place was left for: 400 when there was one, else 207.
    pub fn over_quota(&self, quota: usize, counts: Counts, keys: &Keys) -> Answer {
        let code = if counts.submitted == 1 { 400 } else { 207 };
        let Counts {
            rejected, skipped, ..
        } = counts;
        let processed = counts.processed();
        let mut body = format!("{{\"code\": {code}, \"data\": ");
        let refused = self.rejected.names.iter().map(|name| (name, "400"));
        let taken = self.processed.names.iter().map(|name| (name, "204"));
        push_list(&mut body, refused.chain(taken), |body, (name, status)| {
            push_name(body, "{\"metric\": ", name, keys);
            push(body, format_args!(", \"status\": {status}}}"));
        });
        push(
            &mut body,
            format_args!(
                ", \"error\": \"over quota - this account is allowed {quota} metrics and an \
                 additional {rejected} new metrics were posted that have been rejected\", \
                 \"message\": \"{processed} metrics were processed and {rejected} metrics were rejected\""
            ),
        );
        push_names(
            &mut body,
            "rejected metrics",
            &self.rejected,
            rejected,
            keys,
        );
        push_names(
            &mut body,
            "processed metrics",
            &self.processed,
            processed,
            keys,
        );
        push_end(&mut body, "defined skipped_metrics count", counts, skipped);
        if counts.dropped > 0 {
            body.pop();
            self.push_dropped(&mut body, counts, keys);
            body.push('}');
        }
        verdict::json(code, body.into_bytes())
    }

    /// Fields of a Telegraf batch that are texts or booleans.
    pub fn dropped(&self, counts: Counts, keys: &Keys) -> Answer {
        let mut body = String::from("{\"code\": 207, \"data\": ");
        push_list(&mut body, self.dropped.names.iter(), |body, name| {
            push_name(body, "{\"metric\": ", name, keys);
            body.push_str(", \"status\": 400, \"reason\": \"non-numeric value\"}");
        });
        let dropped = counts.dropped;
        push(
            &mut body,
            format_args!(", \"message\": \"{dropped} non-numeric value metrics were dropped\""),
        );
        self.push_dropped(&mut body, counts, keys);
        push(
            &mut body,
            format_args!(", \"processed metrics count\": {}", counts.processed()),
        );
        push_end(
            &mut body,
            "defined skipped_metrics_count",
            counts,
            counts.skipped,
        );
        verdict::json(207, body.into_bytes())
    }

    fn push_dropped(&self, body: &mut String, counts: Counts, keys: &Keys) {
        let name = "dropped non-numeric metrics";
        push_names(body, name, &self.dropped, counts.dropped, keys);
    }
}

/// What a GET is told when its metric finds no place.
pub(super) fn over_quota(quota: usize, name: &str, keys: &Keys) -> Answer {
    let mut body = format!(
        "{{\"code\": 400, \"error\": \"over quota - this account is allowed {quota} metrics and an \
         additional metric was posted that has been rejected\", "
    );
    push_name(&mut body, "\"rejected metric\": ", name, keys);
    body.push('}');
    verdict::json(400, body.into_bytes())
}

fn push_names(body: &mut String, title: &str, listed: &Listed, count: u32, keys: &Keys) {
    push(body, format_args!(", \"{title}\": "));
    push_list(body, listed.names.iter(), |body, name| {
        push_name(body, "", name, keys);
    });
    push(body, format_args!(", \"{title} count\": {count}"));
}

fn push_end(body: &mut String, skipped_title: &str, counts: Counts, skipped: u32) {
    let submitted = counts.submitted;
    push(
        body,
        format_args!(
            ", \"submitted metrics count\": {submitted}, \"{skipped_title}\": {skipped}}}"
        ),
    );
}

fn push_list<T>(
    body: &mut String,
    items: impl Iterator<Item = T>,
    mut one: impl FnMut(&mut String, T),
) {
    body.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            body.push_str(", ");
        }
        one(body, item);
    }
    body.push(']');
}

/// A name in quotes; one that a key slipped into is not shown.
fn push_name(body: &mut String, before: &str, name: &str, keys: &Keys) {
    body.push_str(before);
    body.push('"');
    push_escaped(
        body,
        if keys.occur_in(name) {
            "(hidden)"
        } else {
            name
        },
    );
    body.push('"');
}

fn push(body: &mut String, text: std::fmt::Arguments<'_>) {
    body.write_fmt(text).expect("writing to a String");
}
