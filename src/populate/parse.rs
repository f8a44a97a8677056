//! A remote's answer → points: Graphite's JSON and Prometheus's, by Python's rules for what is a number.
//!
//! Read in one pass, without a tree: what is kept of an answer is its points. An answer is at most
//! `response_bytes_max` long, which bounds what is read.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::cause::Cause;
use super::job::Remote;
use crate::api::{number, second_look};

/// A timestamp in Unix seconds, and a finite value.
pub type Raw = (u32, f64);

/// What was beside the points that were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// The newest timestamp below [`Keep::before`], and whether it has a value; of equal ones the last counts.
    pub newest: Option<(u32, bool)>,
    /// The newest one that has a value.
    pub newest_value: Option<u32>,
    /// Null or not finite.
    pub without_value: u32,
    /// Neither a timestamp of 32 bits and a number nor null.
    pub unreadable: u32,
    /// At or before [`Keep::after`].
    pub old: u32,
    /// Series behind the first one: what is asked for is one series.
    pub series_ignored: u32,
}

/// Which points are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Only newer ones.
    pub after: Option<u32>,
    /// For [`Summary::newest`] only older ones count.
    pub before: u32,
    /// As many as a job may hold, what it holds already included.
    pub points_max: usize,
}

/// Appends the points of the first series; none of them when the answer is not to be used.
pub fn parse(
    body: &[u8],
    remote: Remote,
    keep: &Keep,
    points: &mut Vec<Raw>,
) -> Result<Summary, Cause> {
    let held = points.len();
    let mut reading = Reading::new(keep, points);
    let mut result = read(body, remote, &mut reading);
    if result.is_err() && reading.refused.is_none() {
        // The number literals that Python takes and this parser does not: NaN, Infinity, 1e9999.
        let mut again = Vec::new();
        if second_look::rewrite(body, &mut again) {
            result = read(&again, remote, &mut reading);
        }
    }
    let summary = reading.summary;
    let cause = match (result, reading.refused) {
        (_, Some(cause)) => cause,
        (Err(_), None) => Cause::Decode,
        (Ok(()), None) if reading.pairs == 0 => Cause::Empty,
        (Ok(()), None) => return Ok(summary),
    };
    points.truncate(held);
    Err(cause)
}

fn read(body: &[u8], remote: Remote, reading: &mut Reading<'_>) -> Result<(), serde_json::Error> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut json = serde_json::Deserializer::from_slice(body);
    let path: &[Step] = match remote {
        Remote::Graphite => &[Step::First, Step::Member("datapoints")],
        Remote::Prometheus => &[
            Step::Member("data"),
            Step::Member("result"),
            Step::First,
            Step::Member("values"),
        ],
    };
    let value_first = remote == Remote::Graphite;
    Way(reading, path, value_first).deserialize(&mut json)?;
    json.end()
}

struct Reading<'r> {
    keep: &'r Keep,
    points: &'r mut Vec<Raw>,
    held: usize,
    summary: Summary,
    pairs: u64,
    refused: Option<Cause>,
}

impl<'r> Reading<'r> {
    fn new(keep: &'r Keep, points: &'r mut Vec<Raw>) -> Reading<'r> {
        Reading {
            keep,
            held: points.len(),
            points,
            summary: Summary::default(),
            pairs: 0,
            refused: None,
        }
    }

    /// Of a repeated member the last counts, so what an earlier one gave goes.
    fn restart(&mut self) {
        self.points.truncate(self.held);
        self.pairs = 0;
        self.summary = Summary::default();
    }

    fn take(&mut self, timestamp: Scalar, value: Scalar) -> Result<(), Cause> {
        self.pairs += 1;
        let (Some(timestamp), Some(value)) = (timestamp.seconds(), value.number()) else {
            self.summary.unreadable += 1;
            return Ok(());
        };
        let (summary, is_counted) = (&mut self.summary, timestamp < self.keep.before);
        if is_counted && summary.newest.is_none_or(|(known, _)| known <= timestamp) {
            summary.newest = Some((timestamp, value.is_finite()));
        }
        if !value.is_finite() {
            self.summary.without_value += 1;
            return Ok(());
        }
        if is_counted {
            let newest = &mut self.summary.newest_value;
            *newest = Some(newest.unwrap_or(0).max(timestamp));
        }
        if self.keep.after.is_some_and(|mark| timestamp <= mark) {
            self.summary.old += 1;
        } else if self.points.len() >= self.keep.points_max {
            return Err(Cause::TooLarge);
        } else {
            self.points.push((timestamp, value));
        }
        Ok(())
    }
}

/// One step from the document to its points.
#[derive(Clone, Copy)]
enum Step {
    /// The first of a list of series; there may be none.
    First,
    /// An object's member, which must be there.
    Member(&'static str),
}

/// The rest of the way, and whether the value comes before its timestamp.
struct Way<'a, 'r>(&'a mut Reading<'r>, &'static [Step], bool);

impl<'de> DeserializeSeed<'de> for Way<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Way<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.1.first() {
            Some(Step::Member(name)) => name,
            Some(Step::First) => "a list of series",
            None => "a list of points",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Way(reading, way, value_first) = self;
        let Some((Step::Member(wanted), way)) = way.split_first() else {
            return Err(Error::custom("an object in place of a list"));
        };
        let mut found = false;
        while let Some(name) = object.next_key::<String>()? {
            if name == *wanted {
                found = true;
                object.next_value_seed(Way(reading, way, value_first))?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        let missing = || Error::missing_field(wanted);
        found.then_some(()).ok_or_else(missing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Way(reading, way, value_first) = self;
        reading.restart();
        match way.split_first() {
            Some((Step::Member(_), _)) => Err(Error::custom("a list in place of an object")),
            Some((Step::First, way)) => {
                let first = list.next_element_seed(Way(reading, way, value_first))?;
                while first.is_some() && list.next_element::<IgnoredAny>()?.is_some() {
                    reading.summary.series_ignored += 1;
                }
                Ok(())
            }
            None => {
                while let Some(Pair(first, second)) = list.next_element()? {
                    let taken = match value_first {
                        true => reading.take(second, first),
                        false => reading.take(first, second),
                    };
                    if let Err(cause) = taken {
                        reading.refused = Some(cause);
                        return Err(Error::custom(cause));
                    }
                }
                Ok(())
            }
        }
    }
}

/// One element of a point, as Python's `int()` and `float()` take it.
#[derive(Clone, Copy, Debug)]
enum Scalar {
    Null,
    Integer(i64),
    Float(f64),
    Text(Option<f64>, Option<i64>),
    Other,
}

impl Scalar {
    /// A fraction is cut off.
    fn seconds(self) -> Option<u32> {
        match self {
            Scalar::Integer(seconds) | Scalar::Text(_, Some(seconds)) => {
                u32::try_from(seconds).ok()
            }
            // Also false for NaN.
            Scalar::Float(seconds) if (0.0..4_294_967_296.0).contains(&seconds) => {
                Some(seconds as u32)
            }
            _ => None,
        }
    }

    /// Not a number for null.
    fn number(self) -> Option<f64> {
        match self {
            Scalar::Null => Some(f64::NAN),
            Scalar::Integer(value) => Some(value as f64),
            Scalar::Float(value) => Some(value),
            Scalar::Text(value, _) => value,
            Scalar::Other => None,
        }
    }
}

struct Pair(Scalar, Scalar);

struct ScalarVisitor;

/// Takes a list of at least two; anything else is a point that cannot be read.
struct PairVisitor;

macro_rules! from_json {
    ($type:ident, $visitor:ident) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(json: D) -> Result<$type, D::Error> {
                json.deserialize_any($visitor)
            }
        }
    };
}

from_json!(Scalar, ScalarVisitor);
from_json!(Pair, PairVisitor);

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        let integer = i64::try_from(value).map(Scalar::Integer);
        Ok(integer.unwrap_or(Scalar::Float(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(number::float(text), number::integer(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Scalar, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

impl<'de> Visitor<'de> for PairVisitor {
    type Value = Pair;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pair, A::Error> {
        let first = list.next_element()?.unwrap_or(Scalar::Other);
        let second = list.next_element()?.unwrap_or(Scalar::Other);
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Pair(first, second))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Pair, A::Error> {
        ScalarVisitor
            .visit_map(object)
            .map(|other| Pair(other, other))
    }

    fn visit_unit<E>(self) -> Result<Pair, E> {
        Ok(Pair(Scalar::Other, Scalar::Other))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Pair, E> {
        Ok(Pair(Scalar::Other, Scalar::Other))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Pair, E> {
        Ok(Pair(Scalar::Other, Scalar::Other))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Pair, E> {
        Ok(Pair(Scalar::Other, Scalar::Other))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Pair, E> {
        Ok(Pair(Scalar::Other, Scalar::Other))
    }

    fn visit_str<E>(self, _: &str) -> Result<Pair, E> {
        Ok(Pair(Scalar::Other, Scalar::Other))
    }
}

#[cfg(test)]
#[path = "tests/parse.rs"]
mod tests;
