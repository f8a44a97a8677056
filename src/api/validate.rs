//! One item of a request → a point, or the rule that refuses it.

use std::borrow::Cow;

use super::PointLimits;
use super::name::Letters;
use super::number;
use super::verdict::Problem;

/// A member of an item as the client gave it. Nothing that a variant holds is shorter than a word: else what tells them
/// apart would be one byte with room behind it, which is copied in two moves that overlap, and the CPU waits where the next
/// copy reads both.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Given<'i> {
    #[default]
    Absent,
    Null,
    False,
    True,
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'i str),
    /// A list or an object.
    Nested,
}

/// One item, read but not yet checked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Item<'i> {
    pub metric: Given<'i>,
    pub timestamp: Given<'i>,
    pub value: Given<'i>,
    pub fill: bool,
    /// The name is known to need no change and no refusal for its letters: whoever read it has looked at all of them.
    pub clean: bool,
}

/// What every item of one request is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    pub limits: &'r PointLimits,
    /// Unix seconds.
    pub now: u32,
    /// Empty, or the namespace and a dot.
    pub prefix: &'r str,
    pub letters: Letters,
}

/// The rule an item broke.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub problem: Problem,
    pub why: Cow<'static, str>,
}

impl Fault {
    pub fn new(problem: Problem, why: impl Into<Cow<'static, str>>) -> Fault {
        let why = why.into();
        Fault { problem, why }
    }
}

impl Item<'_> {
    /// All but the name.
    #[inline(always)]
    pub fn check_numbers(&self, rules: &Rules<'_>) -> Result<(u32, f64), Fault> {
        let timestamp = timestamp(&self.timestamp, self.fill, rules)?;
        Ok((timestamp, value(&self.value)?))
    }
}

/// Unix seconds inside the window; a back-fill may lie anywhere in 32 bits.
#[inline]
pub fn timestamp(given: &Given<'_>, fill: bool, rules: &Rules<'_>) -> Result<u32, Fault> {
    // Nearly all: a number inside the window, with ten digits because now has ten.
    if let Given::Unsigned(seconds) = *given
        && seconds >= TEN_DIGITS
        && seconds <= u64::from(rules.now)
        && u64::from(rules.now) - seconds <= u64::from(rules.limits.age_seconds_max)
    {
        // At most `now`.
        return Ok(seconds as u32);
    }
    timestamp_in_full(given, fill, rules)
}

const TEN_DIGITS: u64 = 1_000_000_000;

fn timestamp_in_full(given: &Given<'_>, fill: bool, rules: &Rules<'_>) -> Result<u32, Fault> {
    let fault = |why: Cow<'static, str>| Fault::new(Problem::InvalidTimestamp, why);
    let seconds = match *given {
        Given::Absent | Given::Text("") => return Ok(rules.now),
        Given::Unsigned(seconds) => Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
        Given::Signed(seconds) => Some(seconds),
        Given::Text(text) => number::integer(text),
        Given::Null | Given::False | Given::True | Given::Float(_) | Given::Nested => None,
    };
    let seconds = seconds.ok_or_else(|| fault("timestamp is not an int".into()))?;
    if fill {
        let seconds = u32::try_from(seconds);
        return seconds.map_err(|_| fault("timestamp is not between 0 and 4294967295".into()));
    }
    // Ten characters, the minus sign counting as one: what is shorter is no date of ours, what is
    // longer counts milliseconds.
    if !matches!(seconds, 1_000_000_000..=9_999_999_999 | -999_999_999..=-100_000_000) {
        let why = "timestamp is not a valid current unix timestamp";
        return Err(fault(why.into()));
    }
    let (age, future) = (
        rules.limits.age_seconds_max,
        rules.limits.future_seconds_max,
    );
    if seconds < i64::from(rules.now) - i64::from(age) {
        let why = format!("timestamp is too old, older than {age} seconds");
        return Err(fault(why.into()));
    }
    match u32::try_from(seconds) {
        Ok(seconds) if i64::from(seconds) <= i64::from(rules.now) + i64::from(future) => {
            Ok(seconds)
        }
        _ if future == 60 => Err(fault(
            "timestamp is more than 1 minute in the future".into(),
        )),
        _ => {
            let why = format!("timestamp is more than {future} seconds in the future");
            Err(fault(why.into()))
        }
    }
}

/// Python's `float()` of what was given.
#[inline(always)]
pub fn value(given: &Given<'_>) -> Result<f64, Fault> {
    let invalid = |why: &'static str| Err(Fault::new(Problem::InvalidValue, why));
    match *given {
        Given::Float(value) => Ok(value),
        Given::Unsigned(value) => Ok(value as f64),
        Given::Signed(value) => Ok(value as f64),
        Given::False => Ok(0.0),
        Given::True => Ok(1.0),
        Given::Absent => Err(Fault::new(Problem::NoValue, "the item has no value")),
        Given::Text("") => Err(Fault::new(Problem::NoValue, "the value is empty")),
        Given::Text(text) => number::float(text).map_or_else(|| invalid("not a number"), Ok),
        Given::Null => invalid("the value is null"),
        Given::Nested => invalid("the value is a list or an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_795_454_579;

    fn limits() -> PointLimits {
        PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 10,
            whisper_path_bytes: 10,
        }
    }

    fn stamp(given: Given<'_>, fill: bool) -> Result<u32, String> {
        let limits = limits();
        let rules = Rules {
            limits: &limits,
            now: NOW,
            prefix: "",
            letters: Letters::Ascii,
        };
        timestamp(&given, fill, &rules).map_err(|fault| fault.why.into_owned())
    }

    #[test]
    fn the_window_includes_both_its_ends() {
        for seconds in [NOW - 3600, NOW, NOW + 60] {
            assert_eq!(stamp(Given::Unsigned(seconds.into()), false), Ok(seconds));
        }
        let old = stamp(Given::Unsigned((NOW - 3601).into()), false);
        assert_eq!(
            old,
            Err("timestamp is too old, older than 3600 seconds".into())
        );
        for seconds in [u64::from(NOW) + 61, 9_999_999_999] {
            let future = stamp(Given::Unsigned(seconds), false);
            assert_eq!(
                future,
                Err("timestamp is more than 1 minute in the future".into())
            );
        }
    }

    #[test]
    fn a_timestamp_is_ten_characters_of_an_integer() {
        let length = Err("timestamp is not a valid current unix timestamp".into());
        for given in [
            Given::Unsigned(0),
            Given::Unsigned(999_999_999),
            Given::Unsigned(10_000_000_000),
            Given::Unsigned(u64::MAX),
            Given::Text("99999999999999999999"),
            Given::Signed(-99_999_999),
            Given::Text("1795454579000"),
        ] {
            assert_eq!(stamp(given, false), length, "{given:?}");
        }
        for given in [
            Given::Null,
            Given::True,
            Given::Float(1_795_454_579.0),
            Given::Nested,
            Given::Text("abc"),
            Given::Text("1795454579.0"),
            Given::Text(" "),
        ] {
            let got = stamp(given, false);
            assert_eq!(got, Err("timestamp is not an int".into()), "{given:?}");
        }
        let old = stamp(Given::Signed(-123_456_789), false);
        assert!(old.unwrap_err().contains("too old"));
    }

    #[test]
    fn a_back_fill_may_lie_anywhere_in_32_bits() {
        for seconds in [0, 14, u32::MAX] {
            assert_eq!(stamp(Given::Unsigned(seconds.into()), true), Ok(seconds));
        }
        assert_eq!(stamp(Given::Text(""), true), Ok(NOW));
        assert!(stamp(Given::Unsigned(1 << 32), true).is_err());
        assert!(stamp(Given::Signed(-1), true).is_err());
    }
}
