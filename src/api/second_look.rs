//! The number literals Python reads and `simd-json` refuses, rewritten so that it takes them too: `NaN`, `Infinity`,
//! `-Infinity`, integers beyond 64 bits, floats beyond a double. One of them in a batch must not cost the
//! other points.
//!
//! What is not finite becomes a quoted string (a value given as text means the same); an integer beyond 64 bits
//! becomes a float and stays a number. Nothing inside a string is touched, and nothing that stands where
//! a member's name should: that is no JSON in Python either.

/// Longest integer literal that surely fits 64 bits.
const SAFE_DIGITS: usize = 18;

/// Copies `body` to the end of `out`, rewritten; false when there was nothing to rewrite.
pub fn rewrite(body: &[u8], out: &mut Vec<u8>) -> bool {
    let mut changed = false;
    let mut at = 0;
    while at < body.len() {
        let rest = &body[at..];
        let taken = match rest[0] {
            b'"' => string_bytes(rest),
            _ => token_bytes(rest).max(1),
        };
        let (token, after) = rest.split_at(taken);
        match change(token) {
            // Asked only where it matters, so that a run of blanks is not looked at again and again.
            Change::Quote | Change::ToFloat if is_member_name(after) => {
                out.extend_from_slice(token);
            }
            Change::Quote => {
                changed = true;
                out.push(b'"');
                out.extend_from_slice(token);
                out.push(b'"');
            }
            Change::ToFloat => {
                changed = true;
                out.extend_from_slice(token);
                out.extend_from_slice(b"e0");
            }
            Change::Nothing => out.extend_from_slice(token),
        }
        at += taken;
    }
    changed
}

/// Whether a text is what a number literal that is not finite was rewritten to.
pub fn quotes(text: &[u8]) -> bool {
    matches!(change(text), Change::Quote)
}

enum Change {
    Nothing,
    Quote,
    ToFloat,
}

fn change(token: &[u8]) -> Change {
    if matches!(token, b"NaN" | b"Infinity" | b"-Infinity") {
        return Change::Quote;
    }
    let integer = match json_number(token) {
        Some(Number::Integer) if token.len() > SAFE_DIGITS => true,
        Some(Number::Float) => false,
        _ => return Change::Nothing,
    };
    let text = std::str::from_utf8(token).expect("a JSON number is ASCII");
    match text.parse::<f64>() {
        Ok(value) if !value.is_finite() => Change::Quote,
        // Also those that do fit: as floats they mean the same to a point, and a timestamp that long
        // is refused either way.
        Ok(_) if integer => Change::ToFloat,
        _ => Change::Nothing,
    }
}

enum Number {
    Integer,
    Float,
}

/// JSON's grammar, strictly: what it does not cover is left for the parser to refuse.
fn json_number(token: &[u8]) -> Option<Number> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest[0] == b'0' {
        return None;
    }
    rest = &rest[whole..];
    let mut number = Number::Integer;
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return None;
        }
        (rest, number) = (&fraction[count..], Number::Float);
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            _ => exponent,
        };
        let count = digits(exponent);
        if count == 0 {
            return None;
        }
        (rest, number) = (&exponent[count..], Number::Float);
    }
    rest.is_empty().then_some(number)
}

/// Up to and including the closing quote, or to the end without one.
fn string_bytes(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Everything up to what may follow a JSON value.
fn token_bytes(text: &[u8]) -> usize {
    let end = |byte: &u8| {
        matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{') || is_blank(byte)
    };
    text.iter().position(end).unwrap_or(text.len())
}

fn is_member_name(after: &[u8]) -> bool {
    after.iter().find(|byte| !is_blank(byte)) == Some(&b':')
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(body: &str) -> String {
        let mut out = Vec::new();
        let changed = rewrite(body.as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(changed, out != body, "{body}");
        out
    }

    #[test]
    fn what_is_not_finite_is_quoted_and_long_integers_stay_numbers() {
        let nines = "9".repeat(400);
        for (body, rewritten) in [
            (
                "[NaN,Infinity , -Infinity]",
                r#"["NaN","Infinity" , "-Infinity"]"#.to_owned(),
            ),
            (
                "[1e400,-1E+999,1e-400]",
                r#"["1e400","-1E+999",1e-400]"#.to_owned(),
            ),
            (
                "[18446744073709551616]",
                "[18446744073709551616e0]".to_owned(),
            ),
            (&nines, format!("\"{nines}\"")),
            ("1.5 2 -3", "1.5 2 -3".to_owned()),
        ] {
            assert_eq!(looked(body), rewritten);
        }
    }

    #[test]
    fn strings_member_names_and_what_is_no_number_stay_as_they_are() {
        for body in [
            r#"{"a\"NaN":"Infinity, NaN \\","b":["1e400"]}"#,
            "{NaN:1, 1e400 :2}",
            "[NaNN, xNaN, 1NaN, -NaN, +Infinity, nan, 01e400, 1e400x, .1e400, 1.e400, 1e]",
            "[00000000000000000000000]",
            "\"unterminated NaN",
            "\"\\",
            "",
        ] {
            assert_eq!(looked(body), body);
        }
    }
}
