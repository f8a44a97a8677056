//! The query that everybody sends, read in one pass: a metric, a value and a key, and mostly a timestamp, each once and
//! in any order; a clean name, a number, ten digits, and nothing percent-encoded. Whatever else a query is, it is not
//! read here but by [`super::query`], which decides alone what is right, wrong and told. What is read here must be what
//! it would have read: the tests hold one against the other.

use super::validate::{Given, Item};
use super::{decimal, name};

/// A query with nothing wrong in how it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual<'q> {
    pub item: Item<'q>,
    pub key: &'q [u8],
}

/// `None`: it is not of this shape.
pub(super) fn read(query: &[u8]) -> Option<Usual<'_>> {
    let text = simdutf8::basic::from_utf8(query).ok()?;
    let mut cursor = Cursor { text, at: 0 };
    let (mut name, mut value, mut key) = (None, None, None);
    let mut timestamp = Given::Absent;
    loop {
        if name.is_none() && cursor.eat(b"metric=") {
            name = Some(cursor.literal()?);
        } else if value.is_none() && cursor.eat(b"value=") {
            value = Some(cursor.number()?);
        } else if timestamp == Given::Absent && cursor.eat(b"timestamp=") {
            timestamp = Given::Unsigned(cursor.ten_digits()?);
        } else if key.is_none() && cursor.eat(b"key=") {
            key = Some(cursor.literal()?);
        } else {
            return None;
        }
        if cursor.rest().is_empty() {
            break;
        }
        if !cursor.eat(b"&") {
            return None;
        }
    }
    let (name, value, key) = (name?, value?, key?);
    name::is_clean(name.as_bytes()).then_some(Usual {
        item: Item {
            metric: Given::Text(name),
            timestamp,
            value,
            fill: false,
            clean: true,
        },
        key: key.as_bytes(),
    })
}

struct Cursor<'q> {
    text: &'q str,
    at: usize,
}

impl<'q> Cursor<'q> {
    #[inline]
    fn rest(&self) -> &'q [u8] {
        &self.text.as_bytes()[self.at..]
    }

    #[inline]
    fn eat<const N: usize>(&mut self, token: &[u8; N]) -> bool {
        let eaten = self.rest().first_chunk() == Some(token);
        if eaten {
            self.at += N;
        }
        eaten
    }

    /// Up to the next parameter, when decoding would not change it.
    #[inline]
    fn literal(&mut self) -> Option<&'q str> {
        let rest = self.rest();
        let length = match memchr::memchr3(b'&', b'%', b'+', rest) {
            Some(at) if rest[at] != b'&' => return None,
            Some(at) => at,
            None => rest.len(),
        };
        let literal = self.text.get(self.at..self.at + length)?;
        self.at += length;
        Some(literal)
    }

    /// A plus, which an exponent may have, is a blank here; an integer has no negative zero.
    #[inline]
    fn number(&mut self) -> Option<Given<'q>> {
        let (number, bytes) = decimal::read(self.text.get(self.at..)?)?;
        if number == Given::Signed(0) || self.rest()[..bytes].contains(&b'+') {
            return None;
        }
        self.at += bytes;
        Some(number)
    }

    #[inline]
    fn ten_digits(&mut self) -> Option<u64> {
        let digits = decimal::ten(self.rest().first_chunk()?)?;
        self.at += 10;
        Some(digits)
    }
}
