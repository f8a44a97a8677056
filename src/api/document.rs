//! The members that mean something, of a posted document and of the items in it. Of a repeated
//! member the last one counts; unknown ones are passed over.

use super::json::{self, Node};
use super::validate::{Given, Item};

/// The nodes of one member's value.
pub type Member<'t, 'i> = Option<&'t [Node<'i>]>;

/// What stands under `metrics`.
#[derive(Clone, Copy, Debug)]
pub enum Metrics<'t, 'i> {
    /// Anything.
    Nodes(&'t [Node<'i>]),
    /// A list of objects, read already.
    Read(&'t [Item<'i>]),
}

/// A posted document, read but not yet judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Document<'t, 'i> {
    pub key: Given<'i>,
    pub metrics: Option<Metrics<'t, 'i>>,
    pub status: Member<'t, 'i>,
    pub status_code: Member<'t, 'i>,
    pub validate_key: Member<'t, 'i>,
    pub test: Member<'t, 'i>,
    /// The body, when every name in the document is clean and so a piece of it.
    pub names_in: Option<&'i [u8]>,
    /// What a document with a single metric says at its top.
    pub single: Item<'i>,
}

impl<'t, 'i> Document<'t, 'i> {
    /// `None` for what Python takes for no data: anything but an object with members.
    pub fn of(nodes: &'t [Node<'i>]) -> Option<Document<'t, 'i>> {
        let mut document = Document::default();
        let mut empty = true;
        for (name, value) in json::members(nodes)? {
            empty = false;
            match name {
                "key" => document.key = json::given(value),
                "metrics" => document.metrics = Some(Metrics::Nodes(value)),
                "status" => document.status = Some(value),
                "status_code" => document.status_code = Some(value),
                "validate_key" => document.validate_key = Some(value),
                "test" => document.test = Some(value),
                _ => set(&mut document.single, name, value),
            }
        }
        (!empty).then_some(document)
    }

    /// How many items it carries, whether or not they are any good.
    pub fn items(&self) -> usize {
        match self.metrics {
            Some(Metrics::Read(items)) => items.len(),
            Some(Metrics::Nodes([Node::Array { len, .. }, ..])) => *len,
            Some(Metrics::Nodes(_)) => 0,
            None => match (self.single.metric, self.single.value) {
                (Given::Absent, Given::Absent) => 0,
                _ => 1,
            },
        }
    }
}

/// One element of `metrics`; `None` when it is not an object.
pub fn item<'i>(nodes: &[Node<'i>]) -> Option<Item<'i>> {
    let mut item = Item::default();
    for (name, value) in json::members(nodes)? {
        set(&mut item, name, value);
    }
    Some(item)
}

fn set<'i>(item: &mut Item<'i>, name: &str, value: &[Node<'i>]) {
    match name {
        "metric" => item.metric = json::given(value),
        "timestamp" => item.timestamp = json::given(value),
        "value" => item.value = json::given(value),
        "fill" => {
            let fill = json::given(value);
            item.fill = matches!(fill, Given::True | Given::Text("true" | "True"));
        }
        _ => {}
    }
}
