//! One verdict per point of a body, for `flux explain`: the rules of a POST, without keys and without
//! keeping anything.

use super::document::{self, Document};
use super::name::Letters;
use super::post::{self, Items};
use super::validate::{Fault, Given, Item, Rules};
use super::verdict::Problem;
use super::{PointLimits, Scratch};

/// What became of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Counted from 1, as the messages of the service do.
    pub item: usize,
    /// As it would be written, or as it was given where it was refused.
    pub name: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Accepted {
        timestamp: u32,
        value: f64,
    },
    /// Answered like an accepted one, but there is nothing to send.
    DiscardedNotFinite,
    Refused(Fault),
}

/// Explains a body of `POST /metric_data_post`; the error is why it is refused as a whole.
pub fn body(
    limits: &PointLimits,
    body: &[u8],
    now: u32,
    scratch: &mut Scratch,
) -> Result<Vec<Explained>, Fault> {
    let Scratch { parser, name, .. } = scratch;
    parser.read(body, |nodes| {
        let nodes = nodes.map_err(post::unreadable)?;
        let document = Document::of(nodes).ok_or(Fault::new(Problem::NoPostData, ""))?;
        let mut explained = Vec::new();
        let mut add = |item: Item<'_>| {
            let index = explained.len() + 1;
            explained.push(explain(index, &item, limits, now, name));
        };
        match post::items(&document)? {
            Items::Single(item) => add(item),
            Items::Read(items) => items.iter().copied().for_each(add),
            Items::List(len, list) => {
                post::not_too_many(len, limits)?;
                list.for_each(|nodes| add(document::item(nodes).unwrap_or_default()));
            }
        }
        Ok(explained)
    })
}

/// Explains one line of carbon's line protocol, `name value timestamp`.
pub fn line(
    limits: &PointLimits,
    line: &str,
    index: usize,
    now: u32,
    scratch: &mut Scratch,
) -> Explained {
    let mut fields = line.split_ascii_whitespace().map(Given::Text);
    let mut next = || fields.next().unwrap_or_default();
    let (metric, value, timestamp) = (next(), next(), next());
    let item = Item {
        metric,
        value,
        timestamp,
        ..Item::default()
    };
    explain(index, &item, limits, now, &mut scratch.name)
}

fn explain(
    index: usize,
    item: &Item<'_>,
    limits: &PointLimits,
    now: u32,
    buffer: &mut String,
) -> Explained {
    let rules = Rules {
        limits,
        now,
        prefix: "",
        letters: Letters::Ascii,
    };
    let (name, verdict) = match item.check(&rules, buffer) {
        Ok(checked) if checked.value.is_finite() => {
            let (timestamp, value) = (checked.timestamp, checked.value);
            (
                checked.name.to_owned(),
                Verdict::Accepted { timestamp, value },
            )
        }
        Ok(checked) => (checked.name.to_owned(), Verdict::DiscardedNotFinite),
        Err(fault) => {
            let name = match item.metric {
                Given::Text(name) => name.to_owned(),
                _ => String::new(),
            };
            (name, Verdict::Refused(fault))
        }
    };
    Explained {
        item: index,
        name,
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_gets_its_own_verdict() {
        let limits = PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 10,
            whisper_path_bytes: 28,
        };
        let now = 1_795_454_579;
        let mut scratch = Scratch::default();
        let text =
            br#"{"metrics": [{"metric": "a b", "value": "1.5"}, {"metric": "c", "value": NaN},
            {"metric": "d{", "value": 1}, null, {"metric": "e", "value": 1, "timestamp": 5}]}"#;
        let explained = body(&limits, text, now, &mut scratch).unwrap();
        let seen: Vec<(usize, &str, String)> = explained
            .iter()
            .map(|point| {
                let verdict = match &point.verdict {
                    Verdict::Accepted { timestamp, value } => format!("{value} at {timestamp}"),
                    Verdict::DiscardedNotFinite => "not finite".to_owned(),
                    Verdict::Refused(fault) => fault.why.to_string(),
                };
                (point.item, point.name.as_str(), verdict)
            })
            .collect();
        let expected = [
            (1, "a_b", "1.5 at 1795454579"),
            (2, "c", "not finite"),
            (3, "d{", "invalid characters in name"),
            (4, "", "the item has no metric"),
            (5, "e", "timestamp is not a valid current unix timestamp"),
        ];
        assert_eq!(
            seen,
            expected.map(|(item, name, why)| (item, name, why.to_owned()))
        );
        let refused = body(&limits, b"[1]", now, &mut scratch).unwrap_err();
        assert_eq!(refused.problem, Problem::NoPostData);

        let explained = line(&limits, "a.b 2 1795454570\n", 7, now, &mut scratch);
        let verdict = Verdict::Accepted {
            timestamp: 1_795_454_570,
            value: 2.0,
        };
        assert_eq!((explained.item, explained.verdict), (7, verdict));
    }
}
