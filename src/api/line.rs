//! Points that come without a key and without an answer, one by one: those of carbon's line protocol. What holds
//! for a posted item holds for them; a bad one costs only itself.

use super::auth::Keys;
use super::name::Letters;
use super::partly::LeftOut;
use super::take::Taker;
use super::validate::{Fault, Given, Item, Rules};
use super::{Api, Scratch, Tally, post};
use crate::config;
use crate::point::PointSink;

/// How carbon's senders write "now".
const NOW: &str = "-1";

/// What stands in place of a key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// With its closing dot; empty for none.
    pub(super) prefix: String,
    namespace: Option<u16>,
    pub line_bytes_max: usize,
}

impl Settings {
    pub(super) fn of(line: &config::Line, keys: &mut Keys) -> Settings {
        let prefix = match line.namespace.as_str() {
            "" => String::new(),
            name => format!("{name}."),
        };
        Settings {
            prefix,
            namespace: keys.number(&line.namespace),
            line_bytes_max: line.line_bytes_max,
        }
    }
}

/// The fields of a line, as an item that was posted would have them.
pub(super) fn item<'l>(name: &'l str, value: &'l str, timestamp: &'l str) -> Item<'l> {
    Item {
        metric: Given::Text(name),
        value: Given::Text(value),
        timestamp: match timestamp {
            NOW => Given::Absent,
            timestamp => Given::Text(timestamp),
        },
        ..Item::default()
    }
}

/// Takes the lines of one read.
pub struct Lines<'r, S>(Taker<'r, S>);

impl Api {
    /// What the sender of a bad line would be told, if anybody were.
    pub fn told_of_line(&self, name: &str, fault: &Fault) -> String {
        let item = Item {
            metric: Given::Text(name),
            ..Item::default()
        };
        let place = post::place(None, &item, &self.keys);
        format!("{} - {place} - {}", fault.problem.message(), fault.why)
    }

    pub fn lines<'r, S: PointSink>(
        &'r self,
        now: u32,
        scratch: &'r mut Scratch,
        sink: &'r mut S,
    ) -> Lines<'r, S> {
        let Settings {
            prefix, namespace, ..
        } = &self.line;
        Lines(Taker {
            rules: Rules {
                limits: &self.limits,
                now,
                prefix,
                letters: Letters::Ascii,
            },
            name: &mut scratch.name,
            sink,
            tally: Tally {
                namespace: *namespace,
                ..Tally::default()
            },
            report: None,
            skip: Some(&self.skip),
            quota: self.quotas.of(*namespace, &mut scratch.known),
            only_check: false,
            left_out: LeftOut::default(),
        })
    }
}

impl<S: PointSink> Lines<'_, S> {
    /// Name, value and timestamp, as text.
    pub fn take(&mut self, name: &str, value: &str, timestamp: &str) -> Result<(), Fault> {
        self.0.tally.received += 1;
        let item = item(name, value, timestamp);
        self.0.take(&item)
    }

    /// A line that holds no three fields, or is longer than a line may be.
    pub fn pass_over(&mut self) {
        self.0.tally.received += 1;
    }

    /// What they came to; those that were not taken are among the received.
    pub fn finish(self) -> Tally {
        self.0.tally
    }
}
