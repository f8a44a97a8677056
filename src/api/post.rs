//! `POST /metric_data_post`: one metric, or a list of them under `metrics`, ours or Telegraf's.
//!
//! The order is Skyline's, since it decides which of several faults a client is told: JSON, no data, the
//! status probe (no key needed), the key, `validate_key`, then item by item.

use std::borrow::Borrow;

use super::at_once::{self, Usual};
use super::auth::{Grant, Keys};
use super::document::{self, Document, Metrics};
use super::json::{self, Node, Unreadable};
use super::name::Letters;
use super::partly::LeftOut;
use super::plain::{self, Single};
use super::quota::Known;
use super::report::{self, Report};
use super::take::{Taker, reject};
use super::telegraf::{self, Batch, Found};
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
    // What can be undone was, before the message came here.
    if message.fields.content_encoding != ContentEncoding::Identity {
        let fault = Fault::new(Problem::UnsupportedEncoding, "gzip and deflate are");
        return reject(&fault, "", Tally::default());
    }
    let text = plain::text(message.body);
    let single = text.and_then(Single::read);
    if let Some(single) = &single
        && let Some(usual) = usual(single, &message.fields)
    {
        let name = &mut scratch.name;
        let taken = at_once::take(api, &message.fields, &usual, now, name, sink);
        if let Some(tally) = taken {
            return Decision::Points(tally);
        }
    }
    in_full(api, message, now, (text, single), scratch, sink)
}

/// With the key that counts: the header wins over the document.
#[inline(always)]
fn usual<'b>(single: &Single<'b>, fields: &Fields<'b>) -> Option<Usual<'b>> {
    let header = fields.key.filter(|key| !key.is_empty());
    Some(Usual {
        item: single.item,
        key: header.or(single.key)?,
        name_in: Some(single.name_in),
    })
}

/// Whatever was not taken at once. Of a body that is text, and of a usual single item, that much is read.
#[inline(never)]
fn in_full<S: PointSink>(
    api: &Api,
    message: &Message<'_>,
    now: u32,
    (text, single): (Option<&str>, Option<Single<'_>>),
    scratch: &mut Scratch,
    sink: &mut S,
) -> Decision {
    let Scratch {
        parser,
        name,
        path,
        known,
        items: kept,
        ..
    } = scratch;
    let buffers = Buffers { name, path, known };
    let mut items = kept.lend();
    let read = match &single {
        Some(single) => single.document(),
        None => text.and_then(|text| plain::read(text, &mut items)),
    };
    if let Some(document) = &read {
        let request = Request {
            api,
            fields: &message.fields,
            document,
            now,
        };
        let decision = request.decide(buffers, sink);
        kept.give_back(items);
        return decision;
    }
    kept.give_back(items);
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
        request.decide(buffers, sink)
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
    fields: &'r Fields<'t>,
    document: &'r Document<'t, 'i>,
    now: u32,
}

/// The parts of the scratch that the items need.
struct Buffers<'s> {
    name: &'s mut String,
    path: &'s mut String,
    known: &'s mut Known,
}

/// A fault, and at which item; nowhere, when it is the request's as a whole.
struct Placed(String, Fault);

impl From<Fault> for Placed {
    fn from(fault: Fault) -> Placed {
        Placed(String::new(), fault)
    }
}

impl<'t, 'i> Request<'_, 't, 'i> {
    fn decide<S: PointSink>(&self, buffers: Buffers<'_>, sink: &mut S) -> Decision {
        let document = self.document;
        // Any status but an empty text asks for the probe, `false` included.
        if document
            .status
            .is_some_and(|status| json::given(status) != Given::Text(""))
        {
            return self.status();
        }
        let telegraf = match document.metrics {
            Some(Metrics::Nodes(nodes)) => Batch::of(self.fields, nodes, self.api.telegraf),
            Some(Metrics::Read(_)) | None => None,
        };
        let items = telegraf.map_or(document.items(), |batch| batch.items());
        let mut tally = Tally {
            received: u32::try_from(items).unwrap_or(u32::MAX),
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
        let Buffers { name, path, known } = buffers;
        let quota = self.api.quotas.of(grant.namespace, known);
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
            skip: document
                .names_in
                .is_none_or(|body| self.api.skip.may_match_in(body, grant.prefix))
                .then_some(&self.api.skip),
            quota: quota.filter(|_| !test),
            only_check: false,
            left_out: LeftOut::default(),
        };
        // A place under a quota is taken for good: not before all of the request is known to be good.
        taker.only_check = taker.quota.is_some();
        let taken = loop {
            let taken = self.take(telegraf, path, &mut taker);
            if taken.is_err() || !std::mem::take(&mut taker.only_check) {
                break taken;
            }
        };
        match taken {
            Ok(()) => taker.finish(&self.api.keys),
            Err(Placed(place, fault)) => reject(&fault, &place, tally),
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
            (_, Given::Absent) => return Err(Problem::NoKeyPassed),
            (_, Given::Text(key)) => Some(key.as_bytes()),
            _ => None,
        };
        let grant = sent.and_then(|key| self.api.keys.check(key));
        grant.ok_or(Problem::InvalidKey)
    }

    /// All items, or the first bad one with its place.
    fn take<S: PointSink>(
        &self,
        telegraf: Option<Batch<'t, 'i>>,
        path: &mut String,
        taker: &mut Taker<'_, S>,
    ) -> Result<(), Placed> {
        if let Some(batch) = telegraf {
            return self.take_telegraf(batch, path, taker);
        }
        let keys = &self.api.keys;
        match items(self.document)? {
            Items::Single(item) => {
                let result = taker.take(item);
                result.map_err(|fault| Placed(place(None, item, keys), fault))
            }
            Items::List(len, list) => {
                not_too_many(len, &self.api.limits)?;
                let items = list.map(|nodes| document::item(nodes).unwrap_or_default());
                take_all(items, keys, taker)
            }
            Items::Read(items) => {
                not_too_many(items.len(), &self.api.limits)?;
                take_all(items.iter(), keys, taker)
            }
        }
    }

    fn take_telegraf<S: PointSink>(
        &self,
        batch: Batch<'t, 'i>,
        path: &mut String,
        taker: &mut Taker<'_, S>,
    ) -> Result<(), Placed> {
        not_too_many(batch.items(), &self.api.limits)?;
        let (mut values, mut received) = (0, 0);
        batch.read(path, |found| {
            match found {
                Found::Value {
                    place: index,
                    name,
                    timestamp,
                    value,
                } => {
                    received += 1;
                    values += 1;
                    let item = Item {
                        metric: Given::Text(name),
                        timestamp,
                        value,
                        ..Item::default()
                    };
                    let keys = &self.api.keys;
                    let result = taker.take(&item);
                    result.map_err(|fault| Placed(place(Some(index), &item, keys), fault))?;
                }
                Found::NotNumeric { name, .. } => {
                    received += 1;
                    taker.drop_not_numeric(name);
                }
                Found::Unnamed { values, .. } => {
                    received += values;
                    taker.drop_unnamed(values);
                }
            }
            Ok::<(), Placed>(())
        })?;
        if values == 0 {
            return Err(telegraf::no_number().into());
        }
        // A member that stood twice was counted once.
        taker.tally.received = received;
        Ok(())
    }
}

fn take_all<'i, S: PointSink>(
    items: impl Iterator<Item = impl Borrow<Item<'i>>>,
    keys: &Keys,
    taker: &mut Taker<'_, S>,
) -> Result<(), Placed> {
    for (index, item) in items.enumerate() {
        let item = item.borrow();
        let result = taker.take(item);
        result.map_err(|fault| Placed(place(Some(index), item, keys), fault))?;
    }
    Ok(())
}

/// The items of a document, by whichever of its forms it has.
pub(super) enum Items<'d, 'i, L> {
    Single(&'d Item<'i>),
    List(usize, L),
    Read(&'d [Item<'i>]),
}

pub(super) fn items<'d, 't: 'd, 'i>(
    document: &'d Document<'t, 'i>,
) -> Result<Items<'d, 'i, impl Iterator<Item = &'t [Node<'i>]>>, Fault> {
    if let Some(Metrics::Read(items)) = document.metrics {
        return Ok(Items::Read(items));
    }
    if let Some(Metrics::Nodes(metrics)) = document.metrics {
        if !json::truthy(metrics) {
            return Err(Fault::new(Problem::NoMetricData, "metrics is empty"));
        }
        let (len, list) = json::elements(metrics)
            .ok_or(Fault::new(Problem::InvalidMetric, "metrics is not a list"))?;
        return Ok(Items::List(len, list));
    }
    let single = &document.single;
    let why = match (single.metric, single.value) {
        (Given::Absent, _) => "the document has no metric",
        (_, Given::Absent) => "the document has no value",
        _ => return Ok(Items::Single(single)),
    };
    Err(Fault::new(Problem::NoMetricData, why))
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
pub(super) fn place(index: Option<usize>, item: &Item<'_>, keys: &Keys) -> String {
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
