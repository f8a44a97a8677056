//! A body → the flat tape of its JSON document, by Python's rules for what is JSON: a byte order mark
//! is skipped, and the number literals that other parsers refuse are taken on a second look.

use std::mem;

use simd_json::{Buffers, INPUT_PADDING, StaticNode, Tape, fill_tape_padded};

use super::second_look;
use super::validate::Given;

pub use simd_json::Node;

/// Deepest nesting. A document of ours is three levels deep (Telegraf's four).
pub const DEPTH_MAX: usize = 64;

/// Buffers that served a larger body are let go, so that one large request does not hold, on every
/// shard, the up to 25 times its size that a tape can take.
const KEPT_BODY_BYTES: usize = 256 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a body is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    NotUtf8,
    NotJson,
}

/// Parses in a private, padded copy of the body: the parser unescapes strings where they stand, also in a
/// document it then refuses.
pub struct Parser {
    text: Vec<u8>,
    buffers: Buffers,
    /// Empty between calls; kept for its memory.
    tape: Tape<'static>,
}

impl Default for Parser {
    fn default() -> Self {
        Parser {
            text: Vec::new(),
            buffers: Buffers::with_max_depth(0, DEPTH_MAX),
            tape: Tape(Vec::new()),
        }
    }
}

impl Parser {
    /// Hands the nodes of the document to `then`; the first one is its root.
    pub fn read<R>(
        &mut self,
        body: &[u8],
        then: impl FnOnce(Result<&[Node<'_>], Unreadable>) -> R,
    ) -> R {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let Parser {
            text,
            buffers,
            tape,
        } = self;
        let empty = mem::replace(tape, Tape(Vec::new()));
        text.clear();
        text.extend_from_slice(body);
        let result = match fill(text, buffers, empty) {
            Ok(filled) => {
                let result = then(Ok(&filled.0));
                *tape = filled.reset();
                result
            }
            Err(_) if std::str::from_utf8(body).is_err() => then(Err(Unreadable::NotUtf8)),
            Err(empty) => {
                text.clear();
                let again = second_look::rewrite(body, text);
                match again.then(|| fill(text, buffers, empty)) {
                    Some(Ok(filled)) => {
                        let result = then(Ok(&filled.0));
                        *tape = filled.reset();
                        result
                    }
                    _ => then(Err(Unreadable::NotJson)),
                }
            }
        };
        if body.len() > KEPT_BODY_BYTES {
            *self = Parser::default();
        }
        result
    }
}

/// Gives the tape back, emptied, when the text is refused.
fn fill<'t>(
    text: &'t mut Vec<u8>,
    buffers: &mut Buffers,
    empty: Tape<'static>,
) -> Result<Tape<'t>, Tape<'static>> {
    let len = text.len();
    text.resize(len + INPUT_PADDING, 0);
    let mut tape = empty.reset();
    match fill_tape_padded(text, len, buffers, &mut tape) {
        Ok(()) if !tape.0.is_empty() => Ok(tape),
        _ => Err(tape.reset()),
    }
}

/// How many nodes the value that starts here takes.
fn extent(nodes: &[Node<'_>]) -> usize {
    match nodes[0] {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

/// The members of an object, in order, repeated ones too; `None` for anything else.
pub fn members<'t, 'i>(
    nodes: &'t [Node<'i>],
) -> Option<impl Iterator<Item = (&'i str, &'t [Node<'i>])>> {
    let Node::Object { count, .. } = nodes[0] else {
        return None;
    };
    let mut rest = &nodes[1..=count];
    Some(std::iter::from_fn(move || {
        let (Node::String(name), value) = rest.split_first()? else {
            return None;
        };
        let (value, after) = value.split_at(extent(value));
        rest = after;
        Some((*name, value))
    }))
}

/// The elements of a list, and how many; `None` for anything else.
pub fn elements<'t, 'i>(
    nodes: &'t [Node<'i>],
) -> Option<(usize, impl Iterator<Item = &'t [Node<'i>]>)> {
    let Node::Array { len, count } = nodes[0] else {
        return None;
    };
    let mut rest = &nodes[1..=count];
    let elements = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (element, after) = rest.split_at(extent(rest));
        rest = after;
        Some(element)
    });
    Some((len, elements))
}

pub fn given<'i>(nodes: &[Node<'i>]) -> Given<'i> {
    match nodes[0] {
        Node::String(text) => Given::Text(text),
        Node::Object { .. } | Node::Array { .. } => Given::Nested,
        Node::Static(StaticNode::Null) => Given::Null,
        Node::Static(StaticNode::Bool(false)) => Given::False,
        Node::Static(StaticNode::Bool(true)) => Given::True,
        Node::Static(StaticNode::U64(value)) => Given::Unsigned(value),
        Node::Static(StaticNode::I64(value)) => Given::Signed(value),
        Node::Static(StaticNode::F64(value)) => Given::Float(value),
    }
}

/// What Python's `if` takes for true.
pub fn truthy(nodes: &[Node<'_>]) -> bool {
    match nodes[0] {
        Node::String(text) => !text.is_empty(),
        Node::Object { len, .. } | Node::Array { len, .. } => len > 0,
        Node::Static(StaticNode::Null) => false,
        Node::Static(StaticNode::Bool(value)) => value,
        Node::Static(StaticNode::U64(value)) => value != 0,
        Node::Static(StaticNode::I64(value)) => value != 0,
        Node::Static(StaticNode::F64(value)) => value != 0.0,
    }
}
