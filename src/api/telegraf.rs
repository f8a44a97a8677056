//! Telegraf's JSON → names and values, by the rules of its Graphite template `host.tags.measurement.field`.
//!
//! A metric there has a name, tags, and fields; each field that is a number becomes a point. A field that is
//! a text or a boolean is dropped and told; a metric without a `host` tag, or with a tag that is no text,
//! gives no point at all, as with Skyline Flux.

use std::collections::HashMap;

use super::json::{self, Node};
use super::second_look;
use super::validate::{Fault, Given};
use super::verdict::Problem;
use crate::http::Fields;

/// What the configuration says about Telegraf's names.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether dots and slashes in the host and in the measurement are rewritten as in other tags.
    pub sanitise: bool,
    /// Bytes of all names of one batch: tags are repeated in every name, so a small body could spell out
    /// a very large one.
    pub names_bytes_max: usize,
}

/// A posted list that is Telegraf's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'t, 'i> {
    metrics: &'t [Node<'i>],
    prefix: &'t [u8],
    settings: Settings,
}

/// What stands in a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'p, 'i> {
    /// A field that is to be a number, of the metric at `place` in the batch.
    Value {
        place: usize,
        name: &'p str,
        timestamp: Given<'i>,
        value: Given<'i>,
    },
    /// A field that is a text or a boolean.
    NotNumeric { place: usize, name: &'p str },
    /// So many values of a metric that no name can be made for.
    Unnamed { place: usize, values: u32 },
}

/// The parts of one metric; of a repeated member the last counts.
#[derive(Default)]
struct Metric<'t, 'i> {
    fields: Option<&'t [Node<'i>]>,
    name: Given<'i>,
    tags: Option<&'t [Node<'i>]>,
    timestamp: Given<'i>,
}

type Members<'t, 'i> = Vec<(&'i str, &'t [Node<'i>])>;

impl<'t, 'i> Batch<'t, 'i> {
    /// The headers `key` and `telegraf` must be there, and the list must have Telegraf's form.
    pub fn of(
        fields: &Fields<'t>,
        metrics: &'t [Node<'i>],
        settings: Settings,
    ) -> Option<Batch<'t, 'i>> {
        let given = |field: Option<&[u8]>| field.is_some_and(|value| !value.is_empty());
        if !given(fields.key) || !given(fields.telegraf) {
            return None;
        }
        Batch::of_form(metrics, fields.prefix.unwrap_or_default(), settings)
    }

    /// The first element of `metrics` must have the four members of Telegraf's and no other.
    pub fn of_form(
        metrics: &'t [Node<'i>],
        prefix: &'t [u8],
        settings: Settings,
    ) -> Option<Batch<'t, 'i>> {
        let (_, mut elements) = json::elements(metrics)?;
        let mut names: Vec<&str> = json::members(elements.next()?)?
            .map(|(name, _)| name)
            .collect();
        names.sort_unstable();
        names.dedup();
        (names == ["fields", "name", "tags", "timestamp"]).then_some(Batch {
            metrics,
            prefix,
            settings,
        })
    }

    /// How many points it may become: its fields, and one for each element that has none.
    pub fn items(&self) -> usize {
        self.elements()
            .map(|element| items_of(&Metric::of(element)))
            .sum()
    }

    fn elements(&self) -> impl Iterator<Item = &'t [Node<'i>]> + use<'t, 'i> {
        json::elements(self.metrics)
            .into_iter()
            .flat_map(|(_, elements)| elements)
    }

    /// Hands everything to `each`, in order, until it objects. The names are spelled out in `path`.
    pub fn read<E: From<Fault>>(
        &self,
        path: &mut String,
        mut each: impl FnMut(Found<'_, 'i>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut members = Members::new();
        let mut spelled_bytes = 0;
        for (place, element) in self.elements().enumerate() {
            let metric = Metric::of(element);
            let Some(fields) = self.name(&metric, path, &mut members) else {
                let values = u32::try_from(items_of(&metric)).unwrap_or(u32::MAX);
                each(Found::Unnamed { place, values })?;
                continue;
            };
            let stem = path.len();
            last_of_each(fields, &mut members);
            for &(field, value) in &members {
                path.truncate(stem);
                path.push('.');
                push_rewritten(path, field, true);
                spelled_bytes += path.len();
                if spelled_bytes > self.settings.names_bytes_max {
                    return Err(self.too_long().into());
                }
                let (name, timestamp) = (path.as_str(), metric.timestamp);
                each(match number(value) {
                    Some(value) => Found::Value {
                        place,
                        name,
                        timestamp,
                        value,
                    },
                    None => Found::NotNumeric { place, name },
                })?;
            }
        }
        Ok(())
    }

    fn too_long(&self) -> Fault {
        let most = self.settings.names_bytes_max;
        let why = format!("its names take more than {most} bytes, http.inflated_bytes_max");
        Fault::new(Problem::BodyTooLarge, why)
    }

    /// What all names of a metric begin with, into `path`; its fields. `None`: it cannot be named.
    fn name(
        &self,
        metric: &Metric<'t, 'i>,
        path: &mut String,
        members: &mut Members<'t, 'i>,
    ) -> Option<&'t [Node<'i>]> {
        let fields = metric
            .fields
            .filter(|nodes| json::members(nodes).is_some())?;
        let Given::Text(name) = metric.name else {
            return None;
        };
        if metric.timestamp == Given::Absent {
            return None;
        }
        last_of_each(metric.tags?, members);
        let host = members.iter().find(|(tag, _)| *tag == "host")?;
        path.clear();
        if !self.prefix.is_empty() {
            // Bytes that are no text become a character that no name may have.
            path.push_str(&String::from_utf8_lossy(self.prefix));
            path.push('.');
        }
        push_rewritten(path, text(host.1)?, self.settings.sanitise);
        for &(_, value) in members.iter().filter(|(tag, _)| *tag != "host") {
            path.push('.');
            push_rewritten(path, text(value)?, true);
        }
        path.push('.');
        push_rewritten(path, name, self.settings.sanitise);
        Some(fields)
    }
}

/// Why a batch of which nothing is left is refused.
pub(super) fn no_number() -> Fault {
    let why = "no number among the fields of a metric with a host tag";
    Fault::new(Problem::InvalidMetric, why)
}

impl<'t, 'i> Metric<'t, 'i> {
    fn of(element: &'t [Node<'i>]) -> Metric<'t, 'i> {
        let mut metric = Metric::default();
        for (name, value) in json::members(element).into_iter().flatten() {
            match name {
                "fields" => metric.fields = Some(value),
                "name" => metric.name = json::given(value),
                "tags" => metric.tags = Some(value),
                "timestamp" => metric.timestamp = json::given(value),
                _ => {}
            }
        }
        metric
    }
}

/// `None` for what Telegraf itself cannot write as a number: texts and booleans.
fn number<'i>(value: &[Node<'i>]) -> Option<Given<'i>> {
    match json::given(value) {
        // A bare NaN or 1e400 arrives here as a text: it is a number that is not finite.
        Given::Text(text) if second_look::quotes(text.as_bytes()) => Some(Given::Float(f64::NAN)),
        Given::Text(_) | Given::False | Given::True => None,
        given => Some(given),
    }
}

fn items_of(metric: &Metric<'_, '_>) -> usize {
    match metric.fields.map(|nodes| nodes[0]) {
        Some(Node::Object { len, .. }) => len,
        _ => 1,
    }
}

fn text<'i>(nodes: &[Node<'i>]) -> Option<&'i str> {
    match json::given(nodes) {
        Given::Text(text) => Some(text),
        _ => None,
    }
}

fn push_rewritten(path: &mut String, text: &str, rewrite: bool) {
    if !rewrite {
        return path.push_str(text);
    }
    path.extend(text.chars().map(|c| match c {
        '.' => '_',
        '/' => '-',
        c => c,
    }));
}

/// The members of an object as Python keeps them: each name once, where it first stood, with the value it
/// had last. Nothing, for what is no object.
fn last_of_each<'t, 'i>(nodes: &'t [Node<'i>], out: &mut Members<'t, 'i>) {
    /// Above this a look-up in a table beats looking at each of them.
    const FEW: usize = 16;
    out.clear();
    let Some(members) = json::members(nodes) else {
        return;
    };
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, value) in members {
        let before = if out.len() < FEW {
            out.iter().position(|(known, _)| *known == name)
        } else {
            if places.is_empty() {
                places.extend(out.iter().enumerate().map(|(at, (name, _))| (*name, at)));
            }
            places.get(name).copied()
        };
        match before {
            Some(at) => out[at].1 = value,
            None => {
                if !places.is_empty() {
                    places.insert(name, out.len());
                }
                out.push((name, value));
            }
        }
    }
}
