//! One string literal, without the letters that may stand before it.

/// The literal that starts with a quote here, and what follows it. `raw`: backslashes stay.
pub fn string(text: &str, raw: bool) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let triple = if quote == '"' { "\"\"\"" } else { "'''" };
    let (end, mut rest) = match text.strip_prefix(triple) {
        Some(rest) => (triple, rest),
        None => (&triple[..1], &text[1..]),
    };
    let mut out = String::new();
    loop {
        if let Some(after) = rest.strip_prefix(end) {
            return Some((out, after));
        }
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' if raw => {
                // It keeps the character behind it from ending the literal, and both stay.
                let next = rest.chars().next()?;
                rest = &rest[next.len_utf8()..];
                out.extend([c, next]);
            }
            '\\' => rest = escape(rest, &mut out)?,
            '\n' | '\r' if end.len() == 1 => return None,
            _ => out.push(c),
        }
    }
}

/// What stands behind a backslash, by Python's rules.
fn escape<'t>(text: &'t str, out: &mut String) -> Option<&'t str> {
    let c = text.chars().next()?;
    let after = &text[c.len_utf8()..];
    let simple = match c {
        '\\' | '\'' | '"' => c,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'x' => return number(after, 2, 16, out),
        'u' => return number(after, 4, 16, out),
        'U' => return number(after, 8, 16, out),
        '0'..='7' => {
            let octal = text
                .bytes()
                .take(3)
                .take_while(|b| matches!(b, b'0'..=b'7'));
            return number(text, octal.count(), 8, out);
        }
        '\n' => return Some(after),
        // By a character's name: neither an address nor a setting has one.
        'N' => return None,
        // Not an escape in Python either: the backslash stays.
        _ => {
            out.push('\\');
            c
        }
    };
    out.push(simple);
    Some(after)
}

fn number<'t>(text: &'t str, digits: usize, radix: u32, out: &mut String) -> Option<&'t str> {
    let number = text.get(..digits)?;
    if !number.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    out.push(char::from_u32(u32::from_str_radix(number, radix).ok()?)?);
    Some(&text[digits..])
}
