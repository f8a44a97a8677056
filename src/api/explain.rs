//! One verdict per point of a body or of carbon lines, for `flux explain`: the rules of the service, without keys
//! and without keeping anything.

use super::document::{self, Document, Metrics};
use super::name::{self, Letters};
use super::post::{self, Items};
use super::telegraf::{self, Batch, Found};
use super::validate::{Fault, Given, Item, Rules};
use super::verdict::Problem;
use super::{Api, Scratch, line};

/// What became of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Counted from 1, as the messages of the service do; the fields of a Telegraf metric share its number.
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
    /// The same: its name matches a skip pattern.
    Skipped,
    /// A field of a Telegraf metric that is a text or a boolean: left out, and named in the answer.
    NotNumeric,
    /// So many values of a Telegraf metric that no name can be made for: left out.
    Unnamed(u32),
    Refused(Fault),
}

/// Explains a body of `POST /metric_data_post`; one of Telegraf's form is read as if its headers were there. The
/// error is why it is refused as a whole.
pub fn body(
    api: &Api,
    body: &[u8],
    now: u32,
    scratch: &mut Scratch,
) -> Result<Vec<Explained>, Fault> {
    let Scratch {
        parser, name, path, ..
    } = scratch;
    parser.read(body, |nodes| {
        let nodes = nodes.map_err(post::unreadable)?;
        let document = Document::of(nodes).ok_or(Fault::new(Problem::NoPostData, ""))?;
        let mut explainer = Explainer {
            api,
            rules: rules(api, now, ""),
            name,
            all: Vec::new(),
        };
        let batch = |metrics| match metrics {
            Metrics::Nodes(nodes) => Batch::of_form(nodes, b"", api.telegraf),
            Metrics::Read(_) => None,
        };
        match document.metrics.and_then(batch) {
            Some(batch) => explainer.telegraf(batch, path)?,
            None => explainer.document(&document)?,
        }
        Ok(explainer.all)
    })
}

/// Explains one line of carbon's line protocol, of which the fields are given.
pub fn line(
    api: &Api,
    fields: (&str, &str, &str),
    index: usize,
    now: u32,
    scratch: &mut Scratch,
) -> Explained {
    let mut explainer = Explainer {
        api,
        rules: rules(api, now, &api.line.prefix),
        name: &mut scratch.name,
        all: Vec::new(),
    };
    let (name, value, timestamp) = fields;
    explainer.explain(index, &line::item(name, value, timestamp))
}

fn rules<'a>(api: &'a Api, now: u32, prefix: &'a str) -> Rules<'a> {
    Rules {
        limits: &api.limits,
        now,
        prefix,
        letters: Letters::Ascii,
    }
}

struct Explainer<'e> {
    api: &'e Api,
    rules: Rules<'e>,
    name: &'e mut String,
    all: Vec<Explained>,
}

impl Explainer<'_> {
    fn document(&mut self, document: &Document<'_, '_>) -> Result<(), Fault> {
        match post::items(document)? {
            Items::Single(item) => self.add(1, item),
            Items::List(len, list) => {
                post::not_too_many(len, &self.api.limits)?;
                for (index, nodes) in list.enumerate() {
                    self.add(index + 1, &document::item(nodes).unwrap_or_default());
                }
            }
            Items::Read(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(index + 1, item);
                }
            }
        }
        Ok(())
    }

    fn telegraf(&mut self, batch: Batch<'_, '_>, path: &mut String) -> Result<(), Fault> {
        post::not_too_many(batch.items(), &self.api.limits)?;
        let mut values = 0;
        batch.read(path, |found| {
            let (place, name, verdict) = match found {
                Found::Value {
                    place,
                    name,
                    timestamp,
                    value,
                } => {
                    values += 1;
                    let item = Item {
                        metric: Given::Text(name),
                        timestamp,
                        value,
                        ..Item::default()
                    };
                    self.add(place + 1, &item);
                    return Ok::<(), Fault>(());
                }
                Found::NotNumeric { place, name } => (place, name, Verdict::NotNumeric),
                Found::Unnamed { place, values } => (place, "", Verdict::Unnamed(values)),
            };
            self.all.push(Explained {
                item: place + 1,
                name: name.to_owned(),
                verdict,
            });
            Ok(())
        })?;
        match values {
            0 => Err(telegraf::no_number()),
            _ => Ok(()),
        }
    }

    fn add(&mut self, index: usize, item: &Item<'_>) {
        let explained = self.explain(index, item);
        self.all.push(explained);
    }

    fn explain(&mut self, index: usize, item: &Item<'_>) -> Explained {
        let (name, verdict) = match self.judge(item) {
            Ok((name, verdict)) => (name.to_owned(), verdict),
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

    /// In the service's order: what is skipped is not looked at any further.
    fn judge<'n>(&'n mut self, item: &'n Item<'_>) -> Result<(&'n str, Verdict), Fault> {
        let name = name::finish(item, &self.rules, self.name)?;
        if self.api.skip.matches(name) {
            return Ok((name, Verdict::Skipped));
        }
        let (timestamp, value) = item.check_numbers(&self.rules)?;
        let verdict = match value.is_finite() {
            true => Verdict::Accepted { timestamp, value },
            false => Verdict::DiscardedNotFinite,
        };
        Ok((name, verdict))
    }
}

#[cfg(test)]
mod tests {
    use super::super::quota::Quotas;
    use super::*;
    use crate::config::Config;

    const NOW: u32 = 1_795_454_579;

    fn explained(text: &str) -> Result<Vec<(usize, String, String)>, Fault> {
        let mut config = Config::default();
        config.points.skip = vec!["left.out".to_owned()];
        config.points.do_not_skip = vec!["left.out.but".to_owned()];
        let api = Api::of(&config, Quotas::default());
        let all = body(&api, text.as_bytes(), NOW, &mut Scratch::default())?;
        let told = |point: Explained| {
            let verdict = match point.verdict {
                Verdict::Accepted { timestamp, value } => format!("{value} at {timestamp}"),
                Verdict::DiscardedNotFinite => "not finite".to_owned(),
                Verdict::Skipped => "skipped".to_owned(),
                Verdict::NotNumeric => "not a number".to_owned(),
                Verdict::Unnamed(values) => format!("{values} without a name"),
                Verdict::Refused(fault) => fault.why.to_string(),
            };
            (point.item, point.name, verdict)
        };
        Ok(all.into_iter().map(told).collect())
    }

    fn owned(expected: &[(usize, &str, &str)]) -> Vec<(usize, String, String)> {
        let owned = |&(item, name, why): &(usize, &str, &str)| (item, name.into(), why.into());
        expected.iter().map(owned).collect()
    }

    #[test]
    fn every_item_gets_its_own_verdict() {
        let text = r#"{"metrics": [{"metric": "a b", "value": "1.5"}, {"metric": "c", "value": NaN},
            {"metric": "d{", "value": 1}, null, {"metric": "e", "value": 1, "timestamp": 5},
            {"metric": "left.out.x", "value": "no number"}, {"metric": "left.out.but", "value": 2}]}"#;
        let expected = [
            (1, "a_b", "1.5 at 1795454579"),
            (2, "c", "not finite"),
            (3, "d{", "invalid characters in name"),
            (4, "", "the item has no metric"),
            (5, "e", "timestamp is not a valid current unix timestamp"),
            (6, "left.out.x", "skipped"),
            (7, "left.out.but", "2 at 1795454579"),
        ];
        assert_eq!(explained(text).unwrap(), owned(&expected));
        assert_eq!(explained("[1]").unwrap_err().problem, Problem::NoPostData);
    }

    #[test]
    fn a_telegraf_batch_gets_a_verdict_for_each_field() {
        let metric = |fields: &str, name: &str, tags: &str| {
            format!(
                r#"{{"fields":{{{fields}}},"name":"{name}","tags":{{{tags}}},"timestamp":{NOW}}}"#
            )
        };
        let host = r#""host":"h.x","path":"/var/log""#;
        let metrics = [
            metric(
                r#""usage.idle":1.5,"state":"ok","up":true,"nan":NaN"#,
                "cpu",
                host,
            ),
            metric(r#""a":1,"b":2"#, "mem", r#""path":"/""#),
            metric(r#""n":1"#, "left", r#""host":"out","t":"(""#),
            metric(r#""out":1"#, "left", r#""host":"h""#),
        ];
        let text = format!(r#"{{"metrics":[{}]}}"#, metrics.join(","));
        let expected = [
            (1, "h.x.-var-log.cpu.usage_idle", "1.5 at 1795454579"),
            (1, "h.x.-var-log.cpu.state", "not a number"),
            (1, "h.x.-var-log.cpu.up", "not a number"),
            (1, "h.x.-var-log.cpu.nan", "not finite"),
            (2, "", "2 without a name"),
            (3, "out.(.left.n", "invalid characters in name"),
            (4, "h.left.out", "skipped"),
        ];
        assert_eq!(explained(&text).unwrap(), owned(&expected));
        let nothing = format!(r#"{{"metrics":[{}]}}"#, metrics[1]);
        assert_eq!(explained(&nothing).unwrap_err(), telegraf::no_number());
    }

    #[test]
    fn a_line_is_judged_under_the_prefix_of_lines() {
        let mut config = Config::default();
        config.line.namespace = "hosts".to_owned();
        config.points.skip = vec!["hosts.x".to_owned()];
        let api = Api::of(&config, Quotas::default());
        let mut scratch = Scratch::default();
        let explained = line(&api, ("a.b", "2", "-1"), 7, NOW, &mut scratch);
        let verdict = Verdict::Accepted {
            timestamp: NOW,
            value: 2.0,
        };
        assert_eq!(
            (explained.item, explained.name.as_str(), explained.verdict),
            (7, "hosts.a.b", verdict)
        );
        let skipped = line(&api, ("x.y", "2", "-1"), 8, NOW, &mut scratch);
        assert_eq!(skipped.verdict, Verdict::Skipped);
    }
}
