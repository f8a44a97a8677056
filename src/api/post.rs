//! `POST /metric_data_post`: one metric, or a list of them under `metrics`.
//!
//! The order is Skyline's, since it decides which of several faults a client is told: JSON, no data, the
//! status probe (no key needed), the key, `validate_key`, then item by item.

use super::auth::{Grant, Keys};
use super::document::{self, Document};
use super::json::{self, Node, Unreadable};
use super::name::Letters;
use super::report::{self, Report};
use super::take::{Taker, reject};
use super::validate::{Fault, Given, Item, Rules};
use super::verdict::{self, Problem};
use super::{Api, Decision, PointLimits, Scratch, Tally};
use crate::http::{ContentEncoding, Fields, Message};
use crate::point::PointSink;

pub(super) fn decide<S: PointSink>(
    api: &Api,
    message: &Message<'_>,
    now: u32,
    scratch: &mut Scratch,
    sink: &mut S,
) -> Decision {
    let cannot_decode = |why| {
        let fault = Fault::new(Problem::UnsupportedEncoding, why);
        reject(&fault, "", Tally::default())
    };
    match message.fields.content_encoding {
        ContentEncoding::Identity => {}
        ContentEncoding::Gzip => return cannot_decode("gzip is not available in this version"),
        ContentEncoding::Unknown => return cannot_decode("only gzip is"),
    }
    let Scratch { parser, name, .. } = scratch;
    parser.read(message.body, |nodes| {
        let document = nodes
            .map_err(unreadable)
            .and_then(|nodes| Document::of(nodes).ok_or(Fault::new(Problem::NoPostData, "")));
        let document = match document {
            Ok(document) => document,
            Err(fault) => return reject(&fault, "", Tally::default()),
        };
        let request = Request {
            api,
            fields: &message.fields,
            document: &document,
            now,
        };
        request.decide(name, sink)
    })
}

pub(super) fn unreadable(why: Unreadable) -> Fault {
    match why {
        Unreadable::NotUtf8 => Fault::new(Problem::NoPostData, "the body is not UTF-8"),
        Unreadable::NotJson => Fault::new(Problem::InvalidJson, ""),
    }
}

struct Request<'r, 't, 'i> {
    api: &'r Api,
    fields: &'r Fields<'r>,
    document: &'r Document<'t, 'i>,
    now: u32,
}

impl Request<'_, '_, '_> {
    fn decide<S: PointSink>(&self, name: &mut String, sink: &mut S) -> Decision {
        let document = self.document;
        // Any status but an empty text asks for the probe, `false` included.
        if document
            .status
            .is_some_and(|status| json::given(status) != Given::Text(""))
        {
            return self.status();
        }
        let mut tally = Tally {
            received: u32::try_from(document.items()).unwrap_or(u32::MAX),
            ..Tally::default()
        };
        let grant = match self.grant() {
            Ok(grant) => grant,
            Err(problem) => return reject(&Fault::new(problem, ""), "", tally),
        };
        tally.namespace = grant.namespace;
        if document.validate_key.is_some_and(json::truthy) {
            return verdict::key_valid().into();
        }
        let test = document.test.is_some_and(json::truthy)
            || self
                .fields
                .x_test_only
                .is_some_and(|value| !value.is_empty());
        let mut taker = Taker {
            rules: Rules {
                limits: &self.api.limits,
                now: self.now,
                prefix: grant.prefix,
                letters: Letters::Ascii,
            },
            name,
            sink,
            tally,
            report: test.then(Report::default),
        };
        match self.take(&mut taker) {
            Ok(()) => taker.finish(),
            Err((place, fault)) => reject(&fault, &place, tally),
        }
    }

    fn status(&self) -> Decision {
        match self.document.status_code.map(report::status_echo) {
            None => Decision::Probe(verdict::healthy()),
            Some(Ok(answer)) => answer.into(),
            Some(Err(fault)) => reject(&fault, "", Tally::default()),
        }
    }

    /// The header wins over the document.
    fn grant(&self) -> Result<Grant<'_>, Problem> {
        let sent = match (self.fields.key, self.document.key) {
            (Some(key), _) if !key.is_empty() => Some(key),
            (_, None) => return Err(Problem::NoKeyPassed),
            (_, Some(nodes)) => match json::given(nodes) {
                Given::Text(key) => Some(key.as_bytes()),
                _ => None,
            },
        };
        let grant = sent.and_then(|key| self.api.keys.check(key));
        grant.ok_or(Problem::InvalidKey)
    }

    /// All items, or the first bad one with its place.
    fn take<S: PointSink>(&self, taker: &mut Taker<'_, S>) -> Result<(), (String, Fault)> {
        let keys = &self.api.keys;
        let nowhere = |fault| (String::new(), fault);
        match items(self.document).map_err(nowhere)? {
            Items::Single(item) => {
                let result = taker.take(&item);
                result.map_err(|fault| (place(None, &item, keys), fault))
            }
            Items::List(len, list) => {
                not_too_many(len, &self.api.limits).map_err(nowhere)?;
                for (index, nodes) in list.enumerate() {
                    let item = document::item(nodes).unwrap_or_default();
                    let result = taker.take(&item);
                    result.map_err(|fault| (place(Some(index), &item, keys), fault))?;
                }
                Ok(())
            }
        }
    }
}

/// The items of a document, by whichever of its two forms it has.
pub(super) enum Items<'i, L> {
    Single(Item<'i>),
    List(usize, L),
}

pub(super) fn items<'t, 'i>(
    document: &Document<'t, 'i>,
) -> Result<Items<'i, impl Iterator<Item = &'t [Node<'i>]>>, Fault> {
    if let Some(metrics) = document.metrics {
        if !json::truthy(metrics) {
            return Err(Fault::new(Problem::NoMetricData, "metrics is empty"));
        }
        let (len, list) = json::elements(metrics)
            .ok_or(Fault::new(Problem::InvalidMetric, "metrics is not a list"))?;
        return Ok(Items::List(len, list));
    }
    let single = document.single;
    for (member, why) in [
        (single.metric, "the document has no metric"),
        (single.value, "the document has no value"),
    ] {
        if member == Given::Absent {
            return Err(Fault::new(Problem::NoMetricData, why));
        }
    }
    Ok(Items::Single(single))
}

pub(super) fn not_too_many(items: usize, limits: &PointLimits) -> Result<(), Fault> {
    let most = limits.points_per_request_max;
    if items > most {
        let why = format!("{items}, and points_per_request_max is {most}");
        return Err(Fault::new(Problem::TooManyPoints, why));
    }
    Ok(())
}

/// Most of a name that is echoed.
const NAME_CHARS_MAX: usize = 80;

/// Which item it was, for the message: counted from 1, and never showing a key that slipped into a name.
fn place(index: Option<usize>, item: &Item<'_>, keys: &Keys) -> String {
    let name = match item.metric {
        Given::Text(name) if keys.occur_in(name) => "metric hidden".to_owned(),
        Given::Text(name) => {
            let end = name.char_indices().nth(NAME_CHARS_MAX);
            let (name, more) = end.map_or((name, ""), |(end, _)| (&name[..end], "…"));
            format!("metric \"{name}{more}\"")
        }
        _ => String::new(),
    };
    match (index, name.is_empty()) {
        (None, _) => name,
        (Some(index), true) => format!("item {}", index + 1),
        (Some(index), false) => format!("item {} - {name}", index + 1),
    }
}
