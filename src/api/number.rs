//! Numbers as text, by the rules of Python's `float()` and `int()` less two of them: underscores between
//! digits and digits beyond ASCII are refused.

use super::decimal;
use super::validate::Given;

/// A value; infinite or not a number where Python's `float()` gives that too.
pub fn float(text: &str) -> Option<f64> {
    match decimal::read(text.as_bytes()) {
        Some((Given::Float(value), end)) if end == text.len() => return Some(value),
        Some((Given::Unsigned(value), end)) if end == text.len() => return Some(value as f64),
        // All others, `-0` among them: an integer has no such zero.
        _ => {}
    }
    // Rust's grammar is Python's without underscores: sign, `.5`, `5.`, exponent, nan, inf, infinity.
    trim(text).parse().ok()
}

/// A whole number; one too large for 64 bits comes back as the nearest that fits, which no
/// timestamp is.
pub fn integer(text: &str) -> Option<i64> {
    if let Some((Given::Unsigned(value), end)) = decimal::read(text.as_bytes())
        && end == text.len()
    {
        // Of at most 18 digits.
        return Some(value as i64);
    }
    let text = trim(text).as_bytes();
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    Some(if negative { -magnitude } else { magnitude })
}

/// Python strips U+001C to U+001F too, which Unicode does not call white space.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_are_what_python_takes() {
        let taken = [
            ("1", 1.0),
            (" +1.5 ", 1.5),
            ("\t-.5\n", -0.5),
            ("5.", 5.0),
            ("1e5", 1e5),
            ("5.E-1", 0.5),
            ("\u{a0}\u{1c}7\u{2003}", 7.0),
            ("10000000000000000.", 1e16),
            ("0.0000001", 1e-7),
            ("-0.0", -0.0),
            ("1e400", f64::INFINITY),
            ("+Infinity", f64::INFINITY),
            ("-iNf", f64::NEG_INFINITY),
            ("1e-400", 0.0),
        ];
        for (text, value) in taken {
            let got = float(text).map(f64::to_bits);
            assert_eq!(got, Some(value.to_bits()), "{text:?}");
        }
        assert!(float(" NaN").unwrap().is_nan() && float("-nan").unwrap().is_nan());
        assert_eq!(float(&"9".repeat(400)), Some(f64::INFINITY));
    }

    #[test]
    fn floats_are_not_what_python_refuses_nor_underscores_nor_other_digits() {
        for text in [
            "", " ", ".", "+", "e5", "1e", "1e+", "abc", "True", "0x10", "1,5", "1 2", "1_0", "١٢",
            "１", "+-1", "1f", "infin", "nan(1)", "1e 300", "--1", "1..", "1.5.",
        ] {
            assert_eq!(float(text), None, "{text:?}");
        }
    }

    #[test]
    fn integers_have_a_sign_blanks_and_leading_zeros_but_no_point() {
        for (text, value) in [
            ("0", 0),
            (" 01795454579 ", 1_795_454_579),
            ("+7", 7),
            ("-123456789", -123_456_789),
            ("99999999999999999999", i64::MAX),
            ("-99999999999999999999", -i64::MAX),
        ] {
            assert_eq!(integer(text), Some(value), "{text:?}");
        }
        for text in [
            "", " ", "+", "-", "1.0", "1e9", "1_0", "١٢", "0x10", "1 2", "None", "- 1",
        ] {
            assert_eq!(integer(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_float_survives_its_text_to_the_last_bit(bits: u64, blanks in "[ \t\n]{0,3}") {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            for text in [format!("{blanks}{value}{blanks}"), format!("{value:e}"), format!("{value:?}")] {
                prop_assert_eq!(float(&text).map(f64::to_bits), Some(bits));
            }
        }

        #[test]
        fn an_integer_survives_its_text(value: i64, zeros in "0{0,30}") {
            let sign = if value < 0 { "-" } else { "" };
            let text = format!("{sign}{zeros}{}", value.unsigned_abs());
            prop_assert_eq!(integer(&text), Some(value.max(-i64::MAX)));
        }
    }
}
