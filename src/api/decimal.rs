//! Decimal literals in JSON's grammar → numbers, correctly rounded: by one division where a double holds both sides
//! of it exactly, by one of integers up to 18 digits, by the standard library else. Text that it does not take may still
//! be a number; others decide.

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

/// The powers of ten that 64 bits hold, for numbers of at most 18 digits.
const TENS: [u64; DIGITS_MAX + 1] = {
    let mut tens = [1; DIGITS_MAX + 1];
    let mut power = 1;
    while power < tens.len() {
        tens[power] = 10 * tens[power - 1];
        power += 1;
    }
    tens
};

/// The finite number that a text begins with, and where it ends. Integers of more than 18 digits are not taken.
#[inline(always)]
pub fn read(bytes: &[u8]) -> Option<(Given<'static>, usize)> {
    match short(bytes) {
        Some(read) => Some(read),
        None => long(bytes),
    }
}

/// A number without a sign and an exponent that ends within eight characters, as most do: all digits at once, the
/// point taken out from between them.
#[inline(always)]
fn short(bytes: &[u8]) -> Option<(Given<'static>, usize)> {
    let text = eight_at(bytes, 0)?;
    // What is longer ends with a digit here.
    if ((text >> 56) as u8).is_ascii_digit() {
        return None;
    }
    let values = text ^ ZEROS;
    let others = not_digits(values);
    let whole = others.trailing_zeros() / 8;
    if whole == 0 || whole == 8 || (whole > 1 && values as u8 == 0) {
        return None;
    }
    let character = |at: u32| (text >> (8 * at)) as u8;
    match character(whole) {
        b'.' => {
            let end = (others & (others - 1)).trailing_zeros() / 8;
            let places = end - whole - 1;
            if end == 8 || places == 0 || matches!(character(end), b'e' | b'E') {
                return None;
            }
            let mantissa = together(without(values, whole) << (64 - 8 * (end - 1)));
            let number = divided(mantissa, places as usize);
            Some((Given::Float(number), end as usize))
        }
        b'e' | b'E' => None,
        _ => {
            let number = together(values << (64 - 8 * whole));
            Some((Given::Unsigned(number), whole as usize))
        }
    }
}

/// Eight values less one of them, the point's.
#[inline]
fn without(values: u64, point: u32) -> u64 {
    let before = (1 << (8 * point)) - 1;
    (values & before) | (values >> 8 & !before)
}

/// However long it is.
#[inline(never)]
fn long(bytes: &[u8]) -> Option<(Given<'static>, usize)> {
    match precise(bytes) {
        Some(read) => Some(read),
        None => any(bytes),
    }
}

/// A number without a sign and an exponent, with the point and a digit behind it among its first eight characters and at
/// most 18 digits: what is measured, or an average. Eight characters at once.
#[inline(always)]
fn precise(bytes: &[u8]) -> Option<(Given<'static>, usize)> {
    let text = eight_at(bytes, 0)?;
    let values = text ^ ZEROS;
    let others = not_digits(values);
    let point = others.trailing_zeros() / 8;
    if others & others.wrapping_sub(1) != 0
        || point == 0
        || point >= 7
        || (text >> (8 * point)) as u8 != b'.'
        || (point > 1 && values as u8 == 0)
    {
        return None;
    }
    let mut mantissa = together(without(values, point) << 8);
    let mut end = 8;
    let mut next = eight_at(bytes, end)?;
    if let Some(value) = eight_digits(next) {
        mantissa = mantissa * TENS[8] + value;
        end += 8;
        next = eight_at(bytes, end)?;
    }
    let (value, count) = up_to_eight(next);
    // What has more digits than fit ends further on: it is not taken.
    mantissa = mantissa.wrapping_mul(TENS[count]).wrapping_add(value);
    end += count;
    // With the point.
    if end > DIGITS_MAX + 1 || matches!(bytes[end], b'e' | b'E') {
        return None;
    }
    let places = end - 1 - point as usize;
    Some((Given::Float(divided(mantissa, places)), end))
}

/// The same one digit after the other, with whatever it may have.
#[inline(never)]
fn any(bytes: &[u8]) -> Option<(Given<'static>, usize)> {
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
        (mantissa, end) = digits_behind(bytes, at + 1, whole);
        places = end - at - 1;
        if places == 0 {
            return None;
        }
        at = end;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let end = exponent(bytes, at + 1)?;
        return parsed(&bytes[..end]);
    }
    let fits = count + places <= DIGITS_MAX;
    let given = match (places, negative) {
        _ if !fits && places == 0 => return None,
        (0, false) => Given::Unsigned(mantissa),
        (0, true) => Given::Signed(-(mantissa as i64)),
        _ if !fits => return parsed(&bytes[..at]),
        (_, false) => Given::Float(divided(mantissa, places)),
        (_, true) => Given::Float(-divided(mantissa, places)),
    };
    Some((given, at))
}

/// A mantissa of at most 18 digits over a power of ten of as many, correctly rounded.
#[inline]
fn divided(mantissa: u64, places: usize) -> f64 {
    if mantissa <= EXACT_MAX {
        return mantissa as f64 / POWERS[places];
    }
    // Both with their highest bit set, so that the quotient has 63 or 64 bits: ten more than a double, at least.
    let divisor = TENS[places];
    let (up, down) = (divisor.leading_zeros(), mantissa.leading_zeros());
    let divisor = divisor << up;
    let dividend = u128::from(mantissa << down) << 63;
    let quotient = (dividend / u128::from(divisor)) as u64;
    // What is left over only says on which side of half way the quotient lies, so its lowest bit tells all of it.
    let rest = dividend as u64 != quotient.wrapping_mul(divisor);
    let rounded = (quotient | u64::from(rest)) as f64;
    // A power of two between 2^-66 and 2^-7: it changes no bit of the digits.
    let exponent = 1023 - 63 + u64::from(up) - u64::from(down);
    rounded * f64::from_bits(exponent << 52)
}

fn parsed(literal: &[u8]) -> Option<(Given<'static>, usize)> {
    let number: f64 = std::str::from_utf8(literal).ok()?.parse().ok()?;
    let taken = (Given::Float(number), literal.len());
    number.is_finite().then_some(taken)
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

/// The same of digits behind a point. Where they are many, several at once are cheaper.
#[inline]
fn digits_behind(bytes: &[u8], mut at: usize, mut number: u64) -> (u64, usize) {
    while bytes.get(at + 3).is_some_and(u8::is_ascii_digit)
        && let Some(text) = eight_at(bytes, at)
    {
        let (value, count) = up_to_eight(text);
        number = number.wrapping_mul(TENS[count]).wrapping_add(value);
        at += count;
        if count < 8 {
            return (number, at);
        }
    }
    digits(bytes, at, number)
}

/// Eight characters, the first one lowest.
#[inline]
fn eight_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A timestamp as it nearly always is: ten digits, with the end of a member's value or of a text behind them.
#[inline(always)]
pub fn ten_digits(bytes: &[u8]) -> Option<u64> {
    let &[ref ten_of_them @ .., after] = bytes.first_chunk::<11>()?;
    let number = ten(ten_of_them)?;
    matches!(after, b',' | b'}' | b'"').then_some(number)
}

/// Ten digits, whatever stands behind them.
#[inline(always)]
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
    Some(together(values))
}

/// The digits that eight characters begin with, and how many they are.
#[inline]
fn up_to_eight(text: u64) -> (u64, usize) {
    let values = text ^ ZEROS;
    let others = not_digits(values);
    let count = others.trailing_zeros() / 8;
    // Zeros before the first digit, in place of all that stands behind the last one.
    let digits = values.checked_shl(64 - 8 * count).unwrap_or(0);
    (together(digits), count as usize)
}

/// Eight times the character `0`: what a digit differs from it by is its value.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The highest bit of each byte that is no digit's value.
#[inline]
fn not_digits(values: u64) -> u64 {
    // Without that bit nothing is carried from one to the next.
    let above_nine = (values & 0x7f7f_7f7f_7f7f_7f7f) + 0x7676_7676_7676_7676;
    (above_nine | values) & 0x8080_8080_8080_8080
}

/// The number that eight values of one digit make, the first one lowest.
#[inline]
fn together(values: u64) -> u64 {
    let pairs = values.wrapping_mul(10) + (values >> 8);
    const TWO_PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let high = (pairs & TWO_PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & TWO_PAIRS).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
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
        let (given, end) = read(text.as_bytes())?;
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
            "1234567.",
            "01.2345678",
            "1.2345678e400",
        ] {
            for behind in ["", ", \"timestamp\": 14"] {
                let text = format!("{text}{behind}");
                assert_eq!(read(text.as_bytes()), None, "{text}");
            }
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
            after in "([,}\\] x]|, \"timestamp\": 14)?",
        ) {
            let expected: f64 = text.parse().unwrap();
            match double(&format!("{text}{after}")) {
                Some(read) => prop_assert_eq!(read, (expected.to_bits(), text.len())),
                None => prop_assert!(!expected.is_finite() || text.len() > DIGITS_MAX, "{}", text),
            }
        }

        #[test]
        fn a_short_number_is_the_one_that_is_read_however_long_it_is(
            text in "[0-9]{0,6}[.]?[0-9]{0,6}[-+eE.,} x\\PC]{0,3}[0-9 ]{0,8}",
        ) {
            if let Some(short) = short(text.as_bytes()) {
                prop_assert_eq!(Some(short), long(text.as_bytes()));
            }
        }

        /// Whatever stands behind them, and however near the end.
        #[test]
        fn digits_are_the_same_number_at_once_and_one_by_one(text in "[0-9]{0,19}[0-9,}\" .e\\PC]{0,9}", at in 0usize..4) {
            let bytes = text.as_bytes();
            let run = bytes.iter().skip(at).take_while(|byte| byte.is_ascii_digit());
            let number = run.clone().fold(7u64, |all, digit| {
                all.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
            });
            let expected = (number, at + run.count());
            prop_assert_eq!(digits(bytes, at, 7), expected);
            prop_assert_eq!(digits_behind(bytes, at, 7), expected);
        }

        #[test]
        fn eighteen_digits_are_divided_as_the_standard_library_divides(
            mantissa in 1u64..1_000_000_000_000_000_000, fewer in 0usize..18, places in 1usize..18,
        ) {
            let mantissa = mantissa / 10u64.pow(fewer as u32);
            let expected: f64 = format!("{mantissa}e-{places}").parse().unwrap();
            prop_assert_eq!(divided(mantissa, places).to_bits(), expected.to_bits());
        }

        /// A double with a few binary places and the one behind it, and what lies just beside the middle of them.
        #[test]
        fn half_way_goes_to_the_even_one_and_what_is_beside_it_does_not(
            odd in (1u64 << 53)..(1 << 54), binary in 1u32..5, beside in -1i64..=1,
        ) {
            // odd / 2^binary, with an odd numerator: half way, as a double ends one bit before.
            let (odd, places) = (odd | 1, binary as usize);
            if let Some(mantissa) = odd.checked_mul(5u64.pow(binary)) {
                let mantissa = mantissa.wrapping_add_signed(beside);
                let expected: f64 = format!("{mantissa}e-{places}").parse().unwrap();
                prop_assert_eq!(divided(mantissa, places).to_bits(), expected.to_bits());
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
