//! The shape that everybody sends, read in one pass: an object of `key` and `metrics`, or of one metric; members that
//! we know, each once; texts without escapes, numbers, at most one blank after a colon or a comma. Whatever else a body
//! is, it is not read here but by [`super::json`], which decides alone what is right, wrong and told
//! (docs/decisions/0013). What is read here must be what it would have read: the tests hold one against the other.

use super::decimal;
use super::document::{Document, Metrics};
use super::name;
use super::validate::{Given, Item};

/// Memory above this is let go, so that one large request does not hold it on every shard: 320 KiB.
const KEPT_ITEMS: usize = 4096;

/// Memory of a list of items, kept between requests. It is empty there: what it holds points into a body.
#[derive(Debug, Default)]
pub struct Kept(Vec<Item<'static>>);

impl Kept {
    pub fn lend<'b>(&mut self) -> Vec<Item<'b>> {
        std::mem::take(&mut self.0)
    }

    pub fn give_back(&mut self, mut items: Vec<Item<'_>>) {
        items.clear();
        if items.capacity() <= KEPT_ITEMS {
            // A list of nothing in the same memory, for another lifetime.
            self.0 = items.into_iter().map(|_| Item::default()).collect();
        }
    }
}

/// A body that may be of this shape: an object, by its first byte, and UTF-8.
#[inline]
pub fn text(body: &[u8]) -> Option<&str> {
    (body.first() == Some(&b'{'))
        .then(|| simdutf8::basic::from_utf8(body).ok())
        .flatten()
}

/// What [`super::skip`] looks at in one window.
const FAST_BYTES: usize = 33;

/// A body that is one usual item, with its key behind it or without one, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Single<'b> {
    text: &'b str,
    pub item: Item<'b>,
    pub key: Option<&'b [u8]>,
    /// The name and a few bytes behind it, which are looked at faster than fewer.
    pub name_in: &'b [u8],
}

impl<'b> Single<'b> {
    #[inline]
    pub fn read(text: &'b str) -> Option<Single<'b>> {
        let mut cursor = Cursor::behind_brace(text);
        let item = cursor.usual_members()?;
        let Given::Text(name) = item.metric else {
            return None;
        };
        let key = last_key(cursor.rest())?;
        let name_at = name.as_ptr() as usize - text.as_ptr() as usize;
        let name_in = text.as_bytes().get(name_at..)?;
        let name_in = &name_in[..name.len().max(FAST_BYTES).min(name_in.len())];
        Some(Single {
            text,
            item,
            key,
            name_in,
        })
    }

    /// The same as [`read`] would have it.
    pub fn document<'t>(&self) -> Option<Document<'t, 'b>>
    where
        'b: 't,
    {
        let key = self.key.map(std::str::from_utf8).transpose().ok()?;
        Some(Document {
            key: key.map_or(Given::Absent, Given::Text),
            names_in: Some(self.text.as_bytes()),
            single: self.item,
            ..Document::default()
        })
    }
}

/// The rest of a body whose last member is the key, or has been.
#[inline]
fn last_key(rest: &[u8]) -> Option<Option<&[u8]>> {
    if rest == b"}" {
        return Some(None);
    }
    let key = match rest.strip_prefix(b", \"key\": \"") {
        Some(key) => key,
        None => rest.strip_prefix(b",\"key\":\"")?,
    };
    let key = key.strip_suffix(b"\"}")?;
    is_one_literal(key).then_some(Some(key))
}

/// Reads a body whose list of metrics, if it has one, goes to `items`. `None`: it is not of this shape, and `items`
/// mean nothing.
pub fn read<'t, 'b>(text: &'b str, items: &'t mut Vec<Item<'b>>) -> Option<Document<'t, 'b>> {
    let mut cursor = Cursor::behind_brace(text);
    let mut key = Given::Absent;
    let mut single = Members::default();
    loop {
        if cursor.eat(b"\"key\":") {
            if !matches!(key, Given::Absent) {
                return None;
            }
            key = Given::Text(cursor.text()?);
        } else if cursor.eat(b"\"metrics\":") {
            if !items.is_empty() {
                return None;
            }
            cursor.items(items)?;
        } else if single.has_none_of_three()
            && let Some(item) = cursor.usual_members()
        {
            let fill = single.item.fill;
            single.item = Item { fill, ..item };
        } else {
            cursor.member(&mut single)?;
        }
        match cursor.next()? {
            b',' => cursor.blank(),
            b'}' => break,
            _ => return None,
        }
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    if !cursor.rest().iter().all(blank) {
        return None;
    }
    Some(Document {
        key,
        metrics: (!items.is_empty()).then_some(Metrics::Read(items)),
        single: single.item,
        names_in: cursor.all_clean.then_some(text.as_bytes()),
        ..Document::default()
    })
}

/// An item so far.
#[derive(Default)]
struct Members<'b> {
    item: Item<'b>,
    has_fill: bool,
}

impl Members<'_> {
    fn has_none_of_three(&self) -> bool {
        let Item {
            metric,
            value,
            timestamp,
            ..
        } = &self.item;
        [metric, value, timestamp]
            .iter()
            .all(|given| matches!(given, Given::Absent))
    }
}

struct Cursor<'b> {
    text: &'b str,
    at: usize,
    /// All names so far.
    all_clean: bool,
}

impl<'b> Cursor<'b> {
    #[inline]
    fn behind_brace(text: &'b str) -> Cursor<'b> {
        Cursor {
            text,
            at: 1,
            all_clean: true,
        }
    }

    #[inline]
    fn rest(&self) -> &'b [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn eat<const N: usize>(&mut self, token: &[u8; N]) -> bool {
        let eaten = self.rest().first_chunk() == Some(token);
        if eaten {
            self.at += N;
        }
        eaten
    }

    #[inline]
    fn blank(&mut self) {
        self.eat(b" ");
    }

    /// The list behind `"metrics":`; empty ones are not for us.
    fn items(&mut self, items: &mut Vec<Item<'b>>) -> Option<()> {
        self.blank();
        if !self.eat(b"[") {
            return None;
        }
        loop {
            if !self.eat(b"{") {
                return None;
            }
            items.push(self.item()?);
            match self.next()? {
                b',' => self.blank(),
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// The three members that nearly every item has: a clean name, a number, a timestamp of ten digits, in this order,
    /// as Python writes them or without blanks, the numbers perhaps as texts. Takes all of them or nothing; what it does
    /// not take, [`Cursor::member`] may.
    // An item is large to move.
    #[inline(always)]
    fn usual_members(&mut self) -> Option<Item<'b>> {
        let rest = self.rest();
        let (spaced, name_at) = match rest.first_chunk() == Some(b"\"metric\": \"") {
            true => (true, 11),
            false if rest.first_chunk() == Some(b"\"metric\":\"") => (false, 10),
            false => return None,
        };
        let name_end = name_at + memchr::memchr(b'"', rest.get(name_at..)?)?;
        let mut at = name_end;
        at += behind(rest, at, spaced, b"\", \"value\": ", b"\",\"value\":")?;
        let (value, bytes) = usual_value(rest.get(at..)?)?;
        at += bytes;
        at += behind(rest, at, spaced, b", \"timestamp\": ", b",\"timestamp\":")?;
        let (seconds, bytes) = usual_timestamp(rest.get(at..)?)?;
        if !name::is_clean_in(&rest[name_at..], name_end - name_at) {
            return None;
        }
        // In two steps, which are not made a call of.
        let (before, _) = self.text.split_at_checked(self.at + name_end)?;
        let name = before.get(self.at + name_at..)?;
        self.at += at + bytes;
        Some(Item {
            metric: Given::Text(name),
            timestamp: Given::Unsigned(seconds),
            value,
            fill: false,
            clean: true,
        })
    }

    /// An element of the list, behind its brace.
    #[inline]
    fn item(&mut self) -> Option<Item<'b>> {
        let usual = self.usual_members();
        match usual {
            Some(item) if self.eat(b"}") => Some(item),
            _ => self.rest_of_item(usual),
        }
    }

    /// From its first member on, or from the comma behind its usual ones.
    fn rest_of_item(&mut self, usual: Option<Item<'b>>) -> Option<Item<'b>> {
        let mut single = Members::default();
        if let Some(item) = usual {
            single.item = item;
            if !self.eat(b",") {
                return None;
            }
            self.blank();
        }
        loop {
            self.member(&mut single)?;
            match self.next()? {
                b',' => self.blank(),
                b'}' => return Some(single.item),
                _ => return None,
            }
        }
    }

    fn member(&mut self, Members { item, has_fill }: &mut Members<'b>) -> Option<()> {
        let first = |given: &Given<'_>| matches!(given, Given::Absent).then_some(());
        if self.eat(b"\"metric\":") {
            first(&item.metric)?;
            self.name(item)
        } else if self.eat(b"\"value\":") {
            first(&item.value)?;
            item.value = self.number()?;
            Some(())
        } else if self.eat(b"\"timestamp\":") {
            first(&item.timestamp)?;
            item.timestamp = self.timestamp()?;
            Some(())
        } else if self.eat(b"\"fill\":") && !*has_fill {
            *has_fill = true;
            self.fill(item)
        } else {
            None
        }
    }

    #[inline]
    fn name(&mut self, item: &mut Item<'b>) -> Option<()> {
        let text = self.quoted()?;
        item.clean = name::is_clean(text.as_bytes());
        self.all_clean &= item.clean;
        item.metric = Given::Text(text);
        (item.clean || is_literal(text)).then_some(())
    }

    /// A number, or a text that may be one.
    #[inline]
    fn number(&mut self) -> Option<Given<'b>> {
        self.blank();
        if self.rest().first() == Some(&b'"') {
            return Some(Given::Text(self.text()?));
        }
        let (number, bytes) = decimal::read(self.rest())?;
        self.at += bytes;
        Some(number)
    }

    #[inline]
    fn timestamp(&mut self) -> Option<Given<'b>> {
        self.blank();
        let Some(seconds) = decimal::ten_digits(self.rest()) else {
            return self.number();
        };
        self.at += 10;
        Some(Given::Unsigned(seconds))
    }

    fn fill(&mut self, item: &mut Item<'b>) -> Option<()> {
        self.blank();
        item.fill = self.eat(b"true") || self.eat(b"\"true\"") || self.eat(b"\"True\"");
        (item.fill || self.eat(b"false")).then_some(())
    }

    fn text(&mut self) -> Option<&'b str> {
        let text = self.quoted()?;
        is_literal(text).then_some(text)
    }

    /// From a quote to the next; whether what stands between is meant literally, the caller asks.
    #[inline]
    fn quoted(&mut self) -> Option<&'b str> {
        self.blank();
        if !self.eat(b"\"") {
            return None;
        }
        let length = memchr::memchr(b'"', self.rest())?;
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length + 1;
        Some(text)
    }
}

/// A number, or a text that is one. What a text means, [`super::number::float`] says.
#[inline(always)]
fn usual_value(rest: &[u8]) -> Option<(Given<'static>, usize)> {
    let quote = usize::from(rest.first() == Some(&b'"'));
    let (given, bytes) = decimal::read(rest.get(quote..)?)?;
    if quote == 0 {
        return Some((given, bytes));
    }
    let value = match given {
        Given::Float(value) => value,
        Given::Unsigned(value) => value as f64,
        // `-0` as a text is a zero that an integer has not.
        _ => return None,
    };
    (rest.get(1 + bytes) == Some(&b'"')).then_some((Given::Float(value), bytes + 2))
}

/// The same of a timestamp, and of [`super::number::integer`].
#[inline(always)]
fn usual_timestamp(rest: &[u8]) -> Option<(u64, usize)> {
    let Some(text) = rest.strip_prefix(b"\"") else {
        return Some((decimal::ten_digits(rest)?, 10));
    };
    let seconds = decimal::ten_digits(text)?;
    (text.get(10) == Some(&b'"')).then_some((seconds, 12))
}

/// The length of the one of two writings that stands at `at`.
#[inline]
fn behind<const S: usize, const C: usize>(
    rest: &[u8],
    at: usize,
    spaced: bool,
    with_blanks: &[u8; S],
    without: &[u8; C],
) -> Option<usize> {
    let rest = rest.get(at..)?;
    match spaced {
        true => (rest.first_chunk() == Some(with_blanks)).then_some(S),
        false => (rest.first_chunk() == Some(without)).then_some(C),
    }
}

/// Literal from end to end, and no quote in it. In windows without a branch in them; the last may lie over the one before.
#[inline]
fn is_one_literal(text: &[u8]) -> bool {
    const WINDOW: usize = 32;
    let other = |byte: u8| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < b' ');
    let Some(last) = text.last_chunk::<WINDOW>() else {
        return text.iter().fold(0, |all, &byte| all | other(byte)) == 0;
    };
    let (windows, _) = text[..text.len() - 1].as_chunks::<WINDOW>();
    let mut others = [0; WINDOW];
    for window in windows.iter().chain([last]) {
        for (all, &byte) in others.iter_mut().zip(window) {
            *all |= other(byte);
        }
    }
    others == [0; WINDOW]
}

/// No escape, and nothing that JSON would have escaped.
fn is_literal(text: &str) -> bool {
    // Without a short cut, which would be a branch for each byte.
    let escaped = |all, byte| all | u8::from(byte == b'\\') | u8::from(byte < b' ');
    text.bytes().fold(0, escaped) == 0
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::super::json::{self, Parser};
    use super::super::number;
    use super::*;
    use proptest::prelude::*;

    /// What a document says, however it was read: key, single metric, list.
    type Facts = (String, String, Option<Vec<String>>);

    fn facts(document: &Document<'_, '_>) -> Facts {
        // -0.0 and 0.0 are equal and print differently.
        let item = |item: Item<'_>| {
            format!(
                "{:?}",
                Item {
                    clean: false,
                    value: value(item.value),
                    timestamp: timestamp(item.timestamp),
                    ..item
                }
            )
        };
        let list = document.metrics.map(|metrics| match metrics {
            Metrics::Read(items) => items.iter().copied().map(item).collect(),
            Metrics::Nodes(nodes) => {
                let (_, list) = json::elements(nodes).expect("a list");
                list.map(|nodes| item(document::item(nodes).expect("an object")))
                    .collect()
            }
        });
        let others = [
            document.status,
            document.status_code,
            document.validate_key,
            document.test,
        ];
        assert!(others.iter().all(Option::is_none));
        (format!("{:?}", document.key), item(document.single), list)
    }

    // A number that came as a text may have been read already.

    fn value(given: Given<'_>) -> Given<'_> {
        match given {
            Given::Text(text) => number::float(text).map_or(given, Given::Float),
            _ => given,
        }
    }

    fn timestamp(given: Given<'_>) -> Given<'_> {
        match given {
            Given::Text(text) => number::integer(text).map_or(given, whole),
            _ => given,
        }
    }

    /// As a number of JSON is given.
    fn whole<'t>(value: i64) -> Given<'t> {
        u64::try_from(value).map_or(Given::Signed(value), Given::Unsigned)
    }

    /// True when it was read; then the parser has read the same.
    fn agrees(body: &[u8]) -> bool {
        let mut kept = Kept::default();
        let mut items = kept.lend();
        let text = text(body);
        let single = text.and_then(Single::read);
        let Some(document) = text.and_then(|text| read(text, &mut items)) else {
            assert!(single.is_none(), "{}", String::from_utf8_lossy(body));
            return false;
        };
        let read = facts(&document);
        if let Some(single) = single {
            let single = single.document().expect("it is UTF-8");
            assert_eq!(facts(&single), read, "{}", String::from_utf8_lossy(body));
            assert_eq!(single.names_in, document.names_in);
            assert_eq!(single.single.clean, document.single.clean);
        }
        let parsed = Parser::default().read(body, |nodes| {
            facts(&Document::of(nodes.expect("it is JSON")).expect("it is an object"))
        });
        assert_eq!(read, parsed, "{}", String::from_utf8_lossy(body));
        true
    }

    #[test]
    fn what_clients_send_is_read_and_as_the_parser_reads_it() {
        for body in [
            r#"{"metric": "a.b", "value": 1.5, "timestamp": 1478021700, "key": "k"}"#,
            r#"{"key":"k","metrics":[{"metric":"a","value":-1},{"timestamp":"1","metric":"b c","value":"2.5","fill":true}]}"#,
            r#"{"metrics": [{"metric": "a", "value": 1e-07, "timestamp": 5, "fill": "True"}], "key": "k"}"#,
            "{\"metric\":\"a..b\",\"value\":\"\",\"fill\":false}\r\n",
            r#"{"metric":"café","value":0.10000000000000001,"key":"é"}"#,
            r#"{"metrics":[{"value":1}],"value":3}"#,
            r#"{"metric":"","value":-0}"#,
            r#"{"metrics":[{"metric":"a","value":-1.5,"timestamp":1478021700},{"metric": "a", "value": 1, "timestamp": 1478021700}]}"#,
            r#"{"metrics": [{"metric": "a", "value":1, "timestamp": 1478021700}, {"metric": "a b", "value": 1, "timestamp": 1478021700}]}"#,
            r#"{"metrics": [{"metric": "a", "value": "12.5", "timestamp": "1478021700"}, {"metric": "a", "value": 7, "timestamp": "1478021700"}]}"#,
            r#"{"metrics":[{"metric":"a","value":"7","timestamp":1478021700},{"metric":"a","value":"-0","timestamp":"1478021700","fill":true}]}"#,
            r#"{"fill":true,"metric":"a","value":"1e400","timestamp":"1478021700"}"#,
            r#"{"key": "k", "metric": "a.b", "value": "-1.5", "timestamp": "1478021700"}"#,
            "{\"metric\":\"a\u{7f}\"}",
        ] {
            assert!(agrees(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_parser() {
        for body in [
            "",
            "{",
            "{}",
            "[]",
            r#"{"metrics":[]}"#,
            r#"{"metrics":[{}]}"#,
            r#"{"metrics":[1]}"#,
            r#"{"metric":"a\u0062"}"#,
            "{\"metric\":\"a\nb\"}",
            r#"{"metric" :"a"}"#,
            r#"{ "metric":"a"}"#,
            r#"{"metric":"a","metric":"b"}"#,
            r#"{"metric":"a","value":1,"timestamp":1478021700,"value":2}"#,
            r#"{"metrics":[{"metric":"a","value":1,"timestamp":1478021700,"metric":"b"}]}"#,
            r#"{"metric":"a","value":1,"timestamp":1478021700,"metric":"b","value":2,"timestamp":1478021701}"#,
            r#"{"metrics":[{"metric":"a","value":1,"timestamp":1478021700,}]}"#,
            r#"{"metrics":[{"metric":"a","value":1,"timestamp":1478021700 }]}"#,
            r#"{"metrics":[{"metric":"a","value":1,"timestamp":1478021700"}]}"#,
            r#"{"metrics":[{"metric":"a","value":"1,"timestamp":1478021700}]}"#,
            r#"{"fill":true,"fill":false}"#,
            r#"{"key":"a","key":"b"}"#,
            r#"{"metrics":[{"value":1}],"metrics":[{"value":2}]}"#,
            r#"{"value":01}"#,
            r#"{"value":NaN}"#,
            r#"{"value":1e400}"#,
            r#"{"value":1}x"#,
            r#"{"value":1"#,
            r#"{"value":1,}"#,
            r#"{"value":1 }"#,
            r#"{"value":1}  }"#,
            r#"{"value":true}"#,
            r#"{"value":null}"#,
            r#"{"fill":1,"value":1}"#,
            r#"{"metric":5}"#,
            r#"{"key":5}"#,
            r#"{"status":"x"}"#,
            r#"{"value":12345678901234567890}"#,
            r#"{"metrics":[{"value":1},]}"#,
            r#"{"metrics":[{"value":1}"#,
            r#"{"metrics":{"value":1}}"#,
            "\u{feff}{\"value\":1}",
            r#"{"value":1.}"#,
            r#"{"timestamp":"\"}"#,
        ] {
            assert!(!agrees(body.as_bytes()), "{body}");
        }
        assert!(!agrees(b"{\"metric\":\"a\xff\"}"));
    }

    #[test]
    fn memory_is_kept_for_the_next_list_but_not_of_the_largest() {
        let mut kept = Kept::default();
        for (items, held) in [(100, true), (KEPT_ITEMS + 1, false)] {
            let mut list = kept.lend();
            list.resize_with(items, Item::default);
            kept.give_back(list);
            assert_eq!(kept.0.capacity() >= items, held);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_the_parser_reads(
            body in "\\{(\"(key|metric|value|timestamp|fill|metrics|x)\": ?(\"[a. \\\\é1]{0,3}\"|-?[0-9]{1,2}(\\.[0-9]{0,3})?(e[0-9])?|true|\\[(\\{\"(metric|value)\":(\"b\"|7)\\},?){0,2}\\])(, |,| )?){0,4}\\} ?"
        ) {
            agrees(body.as_bytes());
        }

        /// Bodies of the shape with one byte changed, gone or put in: what is still read must still agree.
        #[test]
        fn one_byte_off_is_left_to_the_parser_or_read_as_it_does(
            body in 0..BODIES.len(), at in 0usize..210, byte: u8, likely in "[0-9\"{},:. e-]", kind in 0..4,
        ) {
            let mut body = BODIES[body].as_bytes().to_vec();
            let at = at % body.len();
            match kind {
                0 => body[at] = byte,
                1 => body[at] = likely.as_bytes()[0],
                2 => body.insert(at, byte),
                _ => {
                    body.remove(at);
                }
            }
            agrees(&body);
        }
    }

    const BODIES: [&str; 4] = [
        r#"{"key": "k", "metrics": [{"metric": "a.b", "value": 1.5, "timestamp": "1478021700"}, {"metric":"c","value":-2,"fill":true}]}"#,
        r#"{"metric": "a.b", "value": "-12.5", "timestamp": "1478021700", "key": "k"}"#,
        r#"{"fill":true,"metric":"a.b","value":100.10000000000001,"timestamp":1478021700,"key":"k"}"#,
        r#"{"metrics":[{"metric":"a.b","value":"7","timestamp":1478021700,"fill":true},{"metric":"a.b","value":7,"timestamp":"1478021700"}]}"#,
    ];
}
