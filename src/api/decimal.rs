//! Decimal literals in JSON's grammar → numbers, correctly rounded: by one division where a double holds both sides
//! of it exactly, by the standard library else. Text that it does not take may still be a number; others decide.

use super::validate::Given;

/// Digits that surely fit 64 bits.
const DIGITS_MAX: usize = 18;
/// A double holds every whole number up to here.
const EXACT_MAX: u64 = 1 << 53;

/// The powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The finite number that `text` begins with, and where it ends. Integers of more than 18 digits are not taken.
#[inline]
pub fn read(text: &str) -> Option<(Given<'static>, usize)> {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let (whole, mut at) = digits(bytes, start, 0);
    let count = at - start;
    if count == 0 || (count > 1 && bytes[start] == b'0') {
        return None;
    }
    let (mut mantissa, mut places) = (whole, 0);
    if bytes.get(at) == Some(&b'.') {
        let end;
        (mantissa, end) = digits(bytes, at + 1, whole);
        places = end - at - 1;
        if places == 0 {
            return None;
        }
        at = end;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let end = exponent(bytes, at + 1)?;
        return parsed(text, end);
    }
    let fits = count + places <= DIGITS_MAX;
    let given = match (places, negative) {
        _ if !fits && places == 0 => return None,
        (0, false) => Given::Unsigned(mantissa),
        (0, true) => Given::Signed(-(mantissa as i64)),
        _ if !fits || mantissa > EXACT_MAX => return parsed(text, at),
        (_, false) => Given::Float(mantissa as f64 / POWERS[places]),
        (_, true) => Given::Float(-(mantissa as f64 / POWERS[places])),
    };
    Some((given, at))
}

fn parsed(text: &str, end: usize) -> Option<(Given<'static>, usize)> {
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((Given::Float(number), end))
}

/// Appends the digits from `at` on to `number`, which is meaningless when they do not fit; and where they end.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')) {
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    (number, at)
}

/// A timestamp as it nearly always is: ten digits, with the end of a member's value or of a text behind them.
#[inline]
pub fn ten_digits(bytes: &[u8]) -> Option<u64> {
    let &[ref ten_of_them @ .., after] = bytes.first_chunk::<11>()?;
    let number = ten(ten_of_them)?;
    matches!(after, b',' | b'}' | b'"').then_some(number)
}

/// Ten digits, whatever stands behind them.
#[inline]
pub fn ten(digits: &[u8; 10]) -> Option<u64> {
    let &[a, b, c, d, e, f, g, h, i, j] = digits;
    let eight = eight_digits(u64::from_le_bytes([a, b, c, d, e, f, g, h]))?;
    let (i, j) = (i.wrapping_sub(b'0'), j.wrapping_sub(b'0'));
    let number = eight * 100 + u64::from(i) * 10 + u64::from(j);
    (a != b'0' && i < 10 && j < 10).then_some(number)
}

/// Eight digits at once (after Lemire and Muła): all of them neighbours in pairs, then in fours, then together.
#[inline]
fn eight_digits(text: u64) -> Option<u64> {
    let values = text.wrapping_sub(0x3030_3030_3030_3030);
    let over_nine = text.wrapping_add(0x4646_4646_4646_4646);
    if (over_nine | values) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = values.wrapping_mul(10) + (values >> 8);
    const TWO_PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let high = (pairs & TWO_PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & TWO_PAIRS).wrapping_mul(1 + (10_000 << 32));
    Some(high.wrapping_add(low) >> 32)
}

/// Where an exponent ends: at least one digit, behind a sign or not.
fn exponent(bytes: &[u8], start: usize) -> Option<usize> {
    let signed = matches!(bytes.get(start), Some(b'+' | b'-'));
    let first = start + usize::from(signed);
    let (_, end) = digits(bytes, first, 0);
    (end > first).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is read, as the double it is.
    fn double(text: &str) -> Option<(u64, usize)> {
        let (given, end) = read(text)?;
        let value = match given {
            Given::Unsigned(value) => value as f64,
            Given::Signed(0) => -0.0,
            Given::Signed(value) => value as f64,
            Given::Float(value) => value,
            other => panic!("{other:?}"),
        };
        Some((value.to_bits(), end))
    }

    #[test]
    fn a_literal_ends_where_its_grammar_does_and_what_is_none_is_left_to_others() {
        for (text, end) in [
            ("0", 1),
            ("-0,", 2),
            ("12]", 2),
            ("123456789012345678 ", 18),
            ("1.5}", 3),
            ("-0.10", 5),
            ("1e5", 3),
            ("1.25E-07,", 8),
            ("0.12345678901234567890123", 25),
            ("1478021700,", 10),
            ("5x", 1),
        ] {
            let expected: f64 = text[..end].parse().unwrap();
            assert_eq!(double(text), Some((expected.to_bits(), end)), "{text}");
        }
        for text in [
            "",
            "-",
            "00",
            "01.5",
            "-01",
            "+1",
            ".5",
            "5.",
            "5.e1",
            "1e",
            "1e+",
            "1e400",
            "NaN",
            "x",
            "1234567890123456789",
            "1.x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ten_digits_are_read_alike(text in "[0-9]{9,11}[,}\" x]?", at in 0usize..9, byte: u8) {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let alone = matches!(text.as_bytes().get(digits), Some(b',' | b'}' | b'"'));
            let taken = digits == 10 && alone && !text.starts_with('0');
            let number: u64 = text[..digits].parse().unwrap();
            prop_assert_eq!(ten_digits(text.as_bytes()), taken.then_some(number));
            let mut other = text.into_bytes();
            if !byte.is_ascii_digit() {
                other[at] = byte;
                prop_assert_eq!(ten_digits(&other), None);
            }
        }

        #[test]
        fn every_literal_is_the_double_that_the_standard_library_reads(
            text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
            after in "[,}\\] x]?",
        ) {
            let expected: f64 = text.parse().unwrap();
            match double(&format!("{text}{after}")) {
                Some(read) => prop_assert_eq!(read, (expected.to_bits(), text.len())),
                None => prop_assert!(!expected.is_finite() || text.len() > DIGITS_MAX, "{}", text),
            }
        }

        #[test]
        fn a_double_survives_its_text(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = format!("{value:?}");
            prop_assert_eq!(double(&text), Some((bits, text.len())));
        }
    }
}
