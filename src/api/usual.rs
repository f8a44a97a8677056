//! The query that everybody sends, read in one pass: a metric, a value and a key, and mostly a timestamp, each once and
//! in any order; a clean name, a number, ten digits, and nothing percent-encoded. Whatever else a query is, it is not
//! read here but by [`super::query`], which decides alone what is right, wrong and told. What is read here must be what
//! it would have read: the tests hold one against the other.

use super::at_once::Usual;
use super::validate::{Given, Item};
use super::{decimal, name};

/// `None`: it is not of this shape. Else nothing is wrong in how it is written.
#[inline]
pub(super) fn read(query: &[u8]) -> Option<Usual<'_>> {
    let text = simdutf8::basic::from_utf8(query).ok()?;
    let mut cursor = Cursor { text, at: 0 };
    let (mut name, mut value, mut key) = (None, None, None);
    let mut timestamp = Given::Absent;
    loop {
        match cursor.rest().first()? {
            b'm' if name.is_none() && cursor.eat(b"metric=") => {
                let rest = cursor.rest();
                let text = cursor.literal()?;
                name = name::is_clean_in(rest, text.len()).then_some(text);
                name?;
            }
            b'v' if value.is_none() && cursor.eat(b"value=") => value = Some(cursor.number()?),
            b't' if timestamp == Given::Absent && cursor.eat(b"timestamp=") => {
                timestamp = Given::Unsigned(cursor.ten_digits()?);
            }
            b'k' if key.is_none() && cursor.eat(b"key=") => key = Some(cursor.literal()?),
            _ => return None,
        }
        match cursor.rest() {
            [] => break,
            [b'&', ..] => cursor.at += 1,
            _ => return None,
        }
    }
    let (name, value, key) = (name?, value?, key?);
    Some(Usual {
        item: Item {
            metric: Given::Text(name),
            timestamp,
            value,
            fill: false,
            clean: true,
        },
        key: key.as_bytes(),
        name_in: None,
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
        let (number, bytes) = decimal::read(self.rest())?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::api::auth::Keys;
    use crate::api::{Api, PointLimits, Scratch};
    use crate::http::{Fields, Message, Method};
    use crate::point::Collected;
    use proptest::prelude::*;

    const NOW: u32 = 1_478_021_700;

    /// What becomes of it, to the last bit of a value.
    fn decided(query: &[u8], test: bool) -> String {
        let limits = PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 10,
            whisper_path_bytes: 30,
        };
        let namespaces = BTreeMap::from([("k2".to_owned(), "wide".to_owned())]);
        let api = Api::new(Keys::new("k", &namespaces), limits);
        let message = Message {
            method: Method::Get,
            path: b"/metric_data",
            query: Some(query),
            fields: Fields {
                x_test_only: test.then_some(b"1"),
                ..Fields::default()
            },
            body: b"",
            http_1_0: false,
            keep_alive: true,
        };
        let (mut scratch, mut sink) = (Scratch::default(), Collected::default());
        let decision = api.decide(&message, NOW, &mut scratch, &mut sink);
        format!("{decision:?} {sink:?}")
    }

    /// True when it was read; then it means what it means to the other reader, who alone takes a query that ends with
    /// an empty pair.
    fn agrees(query: &[u8]) -> bool {
        let longer = [query, b"&"].concat();
        assert_eq!(read(&longer), None);
        for test in [false, true] {
            let (ours, theirs) = (decided(query, test), decided(&longer, test));
            assert_eq!(ours, theirs, "{}", query.escape_ascii());
        }
        read(query).is_some()
    }

    #[test]
    fn what_clients_send_is_read_and_as_the_other_reader_reads_it() {
        for query in [
            "metric=a.b&value=1.5&timestamp=1478021700&key=k",
            "metric=a.b&value=0&key=k",
            "key=k2&timestamp=1478018100&value=-1&metric=wide.a",
            "key=k2&value=-0.0&metric=a",
            "key=bad&metric=a&value=1e-7&timestamp=1478021700",
            "metric=a&value=1&timestamp=1478018099&key=k",
            "metric=a&value=1&timestamp=1478018099&key=bad",
            "timestamp=9999999999&key=bad&metric=a&value=1",
            "metric=a=b&value=12345678901234567.5&key=k",
            "metric=a&value=1&key=",
            "metric=a&value=1&key=k=",
        ] {
            assert!(agrees(query.as_bytes()), "{query}");
        }
        let long = format!("metric={}&value=1&key=k", "x".repeat(300));
        assert!(agrees(long.as_bytes()));
    }

    #[test]
    fn everything_else_is_left_to_the_other_reader() {
        for query in [
            "",
            "&",
            "metric=a.b&value=1",
            "value=1&key=k",
            "metric=a.b&key=k",
            "metric=&value=1&key=k",
            "metric=a.b&value=&key=k",
            "metric=a.b&value=1&timestamp=&key=k",
            "metric=a.b&value=1&timestamp=147802170&key=k",
            "metric=a.b&value=1&timestamp=14780217000&key=k",
            "metric=a.b&value=1&timestamp=0147802170&key=k",
            "metric=a.b&value=1&&key=k",
            "&metric=a.b&value=1&key=k",
            "metric=a.b&value=1&key=k&",
            "metric=a.b&metric=a.b&value=1&key=k",
            "metric=a.b&value=1&value=1&key=k",
            "metric=a.b&value=1&key=k&key=k",
            "metric=a.b&value=1&timestamp=1478021700&timestamp=1478021700&key=k",
            "metric=a+b&value=1&key=k",
            "metric=a%2eb&value=1&key=k",
            "metric=a%&value=1&key=k",
            "%6detric=a&value=1&key=k",
            "metric=a.b&value=1&key=%6b",
            "metric=a.b&value=1&key=k+",
            "metric=a.b&value=1e+5&key=k",
            "metric=a.b&value=+1&key=k",
            "metric=a.b&value=-0&key=k",
            "metric=a.b&value=nan&key=k",
            "metric=a.b&value=1.&key=k",
            "metric=a.b&value=1x&key=k",
            "metric=a.b&value=1_0&key=k",
            "metric=a.b&value=1e400&key=k",
            "metric=a.b&value=12345678901234567890&key=k",
            "metric=a..b&value=1&key=k",
            "metric=a,b&value=1&key=k",
            "metric=caf\u{e9}&value=1&key=k",
            "metric=a.b&value=1&key=k&fill=true",
            "metric=a.b&value=1&key=k&test=true",
            "metric=a.b&value=1&key=k&status=",
            "metric=a.b&value=1&key=k&foo=1",
            "metric=a.b&value=1&key=k&metric",
            "metric=a.b&value=1&KEY=k",
        ] {
            assert!(!agrees(query.as_bytes()), "{query}");
        }
        assert!(!agrees(b"metric=a\xff&value=1&key=k"));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_the_other_reader_reads(
            query in "((metric|value|timestamp|key|fill|test|x)=(a\\.b|a|k|k2|true|-?[0-9]{1,3}(\\.[0-9]{0,2})?(e[+-]?[0-9])?|14780(217|182)[0-9]{2}|[a.%+=é]{0,3})(&|&&|;|)){0,6}"
        ) {
            agrees(query.as_bytes());
        }

        /// Of every number, as long as it is one.
        #[test]
        fn any_value_is_the_same_double(value in "-?[0-9]{0,20}(\\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?") {
            agrees(format!("metric=a&value={value}&key=k").as_bytes());
        }

        #[test]
        fn one_byte_off_is_left_to_the_other_reader_or_read_as_it_does(
            at: usize, byte: u8, kind in 0..3, order in 0..3,
        ) {
            let mut query = match order {
                0 => b"metric=stats.eu-west.host-07.requests&value=12.5&timestamp=1478021700&key=k".to_vec(),
                1 => b"key=k2&timestamp=1478021700&value=-3&metric=a.b".to_vec(),
                _ => b"value=7&metric=a.b&key=k".to_vec(),
            };
            let at = at % query.len();
            match kind {
                0 => query[at] = byte,
                1 => query.insert(at, byte),
                _ => {
                    query.remove(at);
                }
            }
            agrees(&query);
        }
    }
}
