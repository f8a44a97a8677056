//! A metric's name: rewritten where senders are known to be careless, refused where Graphite could not
//! keep it, and put under its key's namespace.

use std::fmt::Write;

use super::validate::{Fault, Given, Item, Rules};
use super::verdict::Problem;
use super::windows;

/// Which letters and digits a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    Ascii,
    /// Those beyond ASCII too: Vista sends them in its GETs, and sends again at once on a 400.
    Any,
}

/// A file name is at most 255 bytes, and the last element of a name becomes one with `.wsp`.
const FILE_NAME_BYTES_MAX: usize = 255;
/// Linux's PATH_MAX, the bound on the path of a whisper file.
const PATH_BYTES_MAX: usize = 4096;
const WHISPER_SUFFIX_BYTES: usize = ".wsp".len();

/// The name as it is written: a piece of the request when nothing had to change, else `buffer`.
#[inline]
pub fn finish<'n>(
    item: &Item<'n>,
    rules: &Rules<'_>,
    buffer: &'n mut String,
) -> Result<&'n str, Fault> {
    if let Given::Text(text) = item.metric
        && item.clean
        && rules.prefix.is_empty()
    {
        fits(text, rules.limits.whisper_path_bytes)?;
        return Ok(text);
    }
    finish_others(item, rules, buffer)
}

fn finish_others<'n>(
    item: &Item<'n>,
    rules: &Rules<'_>,
    buffer: &'n mut String,
) -> Result<&'n str, Fault> {
    buffer.clear();
    let prefix = rules.prefix;
    let given = &item.metric;
    let form = |text| match item.clean {
        true => Form::Clean,
        false => scan(text, rules.letters),
    };
    let name = match *given {
        Given::Text("") => return Err(refused("the name is empty")),
        Given::Text(text) => match form(text) {
            Form::Refused => return Err(refused("invalid characters in name")),
            Form::Clean if prefix.is_empty() || text.starts_with(prefix) => text,
            Form::Clean => {
                buffer.push_str(prefix);
                buffer.push_str(text);
                buffer
            }
            Form::Rewritten => {
                rewrite(text, buffer);
                under(prefix, buffer)
            }
        },
        _ => {
            spell(given, buffer)?;
            under(prefix, buffer)
        }
    };
    fits(name, rules.limits.whisper_path_bytes)?;
    Ok(name)
}

fn refused(why: &'static str) -> Fault {
    Fault::new(Problem::InvalidMetric, why)
}

/// Puts the namespace in front, unless it is there already (up to its dot: `warehouse-10.x` does not lie
/// under `warehouse-1`).
fn under<'n>(prefix: &str, name: &'n mut String) -> &'n str {
    if !name.starts_with(prefix) {
        name.insert_str(0, prefix);
    }
    name
}

/// A name that is not text, as Python's `str()` writes it.
fn spell(given: &Given<'_>, out: &mut String) -> Result<(), Fault> {
    match *given {
        Given::Unsigned(number) => write!(out, "{number}"),
        Given::Signed(number) => write!(out, "{number}"),
        Given::Float(number) => write!(out, "{number:?}"),
        Given::True => write!(out, "True"),
        Given::False => write!(out, "False"),
        Given::Absent => return Err(refused("the item has no metric")),
        Given::Null => return Err(refused("the name is null")),
        Given::Nested => return Err(refused("the name is a list or an object")),
        Given::Text(text) => write!(out, "{text}"),
    }
    .expect("writing to a String");
    // Rust writes 1e16 and 1e-5 where Python writes 1e+16 and 1e-05.
    if let (Given::Float(_), Some(at)) = (given, out.find('e')) {
        let exponent: i32 = out[at + 1..].parse().expect("Rust wrote an integer there");
        out.truncate(at);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.unsigned_abs()).expect("writing to a String");
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Clean,
    Rewritten,
    Refused,
}

const CHANGES: u8 = 1;
const WIDE: u8 = 2;
const BAD: u8 = 4;
/// A dot changes something only after another one: shifted by this many bits it is `CHANGES`.
const DOT: u8 = CHANGES << DOT_SHIFT;
const DOT_SHIFT: u8 = 4;

/// What each byte means for a name.
const CLASS: [u8; 256] = {
    let mut class = [BAD; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => 0,
            b'+' | b'-' | b'%' | b'_' | b'/' | b'=' | b':' => 0,
            b'.' => DOT,
            b' ' | b'*' | b'\'' => CHANGES,
            0x80.. => WIDE,
            _ => BAD,
        };
        byte += 1;
    }
    class
};

fn scan(text: &str, letters: Letters) -> Form {
    let mut seen = 0;
    let mut before = 0;
    for &byte in text.as_bytes() {
        let class = CLASS[usize::from(byte)];
        seen |= class | (class & before & DOT) >> DOT_SHIFT;
        before = class;
    }
    if seen & WIDE != 0 && !wide_letters_are_allowed(text, letters) {
        return Form::Refused;
    }
    match seen & !(WIDE | DOT) {
        0 => Form::Clean,
        CHANGES => Form::Rewritten,
        _ => Form::Refused,
    }
}

fn wide_letters_are_allowed(text: &str, letters: Letters) -> bool {
    letters == Letters::Any && text.chars().all(|c| c.is_ascii() || c.is_alphanumeric())
}

/// Blanks, stars and quotes become `_`; two dots become one, in a single pass from the left (so that
/// `a...b` keeps two, as it always did).
fn rewrite(text: &str, out: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '*' | '\'' => out.push('_'),
            '.' => {
                chars.next_if_eq(&'.');
                out.push('.');
            }
            _ => out.push(c),
        }
    }
}

/// Whether nothing in a name has to be looked at again: not empty, only letters that every name may have, no two
/// dots together.
pub fn is_clean(name: &[u8]) -> bool {
    match name.len() {
        66.. => windows_are_clean::<32>(name),
        33.. => two_windows_are_clean(name),
        17.. => windows_are_clean::<16>(name),
        _ => {
            let text = std::str::from_utf8(name);
            text.is_ok_and(|text| !text.is_empty() && scan(text, Letters::Ascii) == Form::Clean)
        }
    }
}

/// The same of a name that ends where its text does, or has no dot behind it. A short one is looked at together with what
/// follows, which saves a second look at its middle.
#[inline(always)]
pub fn is_clean_in(text: &[u8], name_bytes: usize) -> bool {
    debug_assert_ne!(text.get(name_bytes), Some(&b'.'));
    let here = text.first_chunk();
    let next = text.get(1..).and_then(<[u8]>::first_chunk);
    let within = WITHIN
        .get(32usize.wrapping_sub(name_bytes)..)
        .and_then(<[u8]>::first_chunk);
    match (here, next, within) {
        (Some(here), Some(next), Some(within)) if name_bytes > 0 => {
            begins_clean(here, next, within)
        }
        _ => is_clean(&text[..name_bytes]),
    }
}

/// From its middle less a name's length on: what covers a window's part of the name, and nothing behind it.
const WITHIN: [u8; 64] = {
    let mut within = [0; 64];
    let mut place = 0;
    while place < 32 {
        within[place] = 1;
        place += 1;
    }
    within
};

#[inline(always)]
fn begins_clean(here: &[u8; 32], next: &[u8; 32], within: &[u8; 32]) -> bool {
    let mut bad = [0u8; 32];
    for place in 0..32 {
        bad[place] = within[place] & is_bad(here[place], next[place]);
    }
    bad == [0; 32]
}

/// Two windows and the last byte are all of it.
#[inline(always)]
fn two_windows_are_clean(name: &[u8]) -> bool {
    let (Some([first, last]), Some(&ends)) = (windows::two(name), name.last()) else {
        return false;
    };
    let mut bad = [0u8; windows::BYTES];
    for (place, bad) in bad.iter_mut().enumerate() {
        *bad = is_bad(first.0[place], first.1[place]) | is_bad(last.0[place], last.1[place]);
    }
    bad == [0; windows::BYTES] && is_plain(ends) == 1
}

/// Windows of a fixed size without a branch in them, which the compiler turns into vector instructions. The last one
/// ends before the last byte, so that each byte has one behind it, which may be the second of two dots.
fn windows_are_clean<const N: usize>(name: &[u8]) -> bool {
    let Some((&ends, before)) = name.split_last() else {
        return false;
    };
    let last = before.len() - N;
    let mut bad = [0u8; N];
    let mut at = 0;
    while let (Some(here), Some(next)) = (window::<N>(name, at), window::<N>(name, at + 1)) {
        for place in 0..N {
            bad[place] |= is_bad(here[place], next[place]);
        }
        if at == last {
            break;
        }
        at = last.min(at + N);
    }
    bad.iter().fold(is_plain(ends) ^ 1, |all, bad| all | bad) == 0
}

#[inline]
fn window<const N: usize>(name: &[u8], at: usize) -> Option<&[u8; N]> {
    name.get(at..)?.first_chunk()
}

/// 1 for a byte that no clean name has before this other one.
#[inline]
const fn is_bad(byte: u8, next: u8) -> u8 {
    let two_dots = (byte == b'.') as u8 & (next == b'.') as u8;
    two_dots | (is_plain(byte) ^ 1)
}

/// 1 for what every name may have. Without short cuts, which would be branches; `-./0123456789:` stand together.
const fn is_plain(byte: u8) -> u8 {
    (((byte | 0x20).wrapping_sub(b'a') < 26) as u8)
        | ((byte.wrapping_sub(b'-') <= b':' - b'-') as u8)
        | ((byte == b'_') as u8)
        | ((byte == b'+') as u8)
        | ((byte == b'%') as u8)
        | ((byte == b'=') as u8)
}

/// Checked on the name as it is written, its namespace included.
#[inline]
fn fits(name: &str, whisper_path_bytes: usize) -> Result<(), Fault> {
    // Most names are shorter than any part of one may be.
    let path_bytes = whisper_path_bytes.saturating_add(1 + FILE_NAME_BYTES_MAX);
    if name.len() + WHISPER_SUFFIX_BYTES <= FILE_NAME_BYTES_MAX && path_bytes <= PATH_BYTES_MAX {
        return Ok(());
    }
    fits_in_parts(name, whisper_path_bytes)
}

fn fits_in_parts(name: &str, whisper_path_bytes: usize) -> Result<(), Fault> {
    let last =
        memchr::memrchr(b'.', name.as_bytes()).map_or(name.len(), |dot| name.len() - dot - 1);
    if last + WHISPER_SUFFIX_BYTES > FILE_NAME_BYTES_MAX {
        return Err(refused("longer than 255 characters"));
    }
    let path_bytes = whisper_path_bytes
        .saturating_add(1 + WHISPER_SUFFIX_BYTES)
        .saturating_add(name.len());
    if path_bytes > PATH_BYTES_MAX {
        return Err(refused("name too long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PointLimits;
    use proptest::prelude::*;

    fn finish_with(
        given: Given<'_>,
        prefix: &str,
        letters: Letters,
        whisper_path_bytes: usize,
    ) -> Result<String, String> {
        let limits = PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 10,
            whisper_path_bytes,
        };
        let rules = Rules {
            limits: &limits,
            now: 0,
            prefix,
            letters,
        };
        // Left over from the item before: it must not show.
        let mut buffer = String::from("left.over");
        let item = Item {
            metric: given,
            ..Item::default()
        };
        let name = finish(&item, &rules, &mut buffer);
        name.map(str::to_owned)
            .map_err(|fault| fault.why.into_owned())
    }

    fn plain(text: &str) -> Result<String, String> {
        finish_with(Given::Text(text), "", Letters::Ascii, 28)
    }

    #[test]
    fn careless_names_are_rewritten_in_one_pass() {
        for (text, name) in [
            ("a.b", "a.b"),
            ("a b", "a_b"),
            ("a..b...c", "a.b..c"),
            ("....", ".."),
            ("a*b'c", "a_b_c"),
            (". .", "._."),
            ("a/b:c=d%e+f-g_h.i", "a/b:c=d%e+f-g_h.i"),
            (".a.", ".a."),
        ] {
            assert_eq!(plain(text), Ok(name.to_owned()), "{text}");
        }
    }

    #[test]
    fn names_graphite_cannot_keep_are_refused() {
        for text in [
            "a{b", "café", "a;host=x", "a\nb", "a\0", "a\u{7f}", "a\tb", "a\"b", "a,b",
        ] {
            assert_eq!(
                plain(text),
                Err("invalid characters in name".into()),
                "{text:?}"
            );
        }
        assert_eq!(plain(""), Err("the name is empty".into()));
    }

    #[test]
    fn only_a_get_takes_letters_and_digits_beyond_ascii() {
        let wide = |text| finish_with(Given::Text(text), "", Letters::Any, 28);
        assert_eq!(wide("café.١٢ x"), Ok("café.١٢_x".into()));
        for text in ["a\u{a0}b", "a–b", "😀", "a\u{fffd}", "é{"] {
            assert!(wide(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_a_number_is_its_text_as_python_writes_it() {
        let spelled = |given| finish_with(given, "", Letters::Ascii, 28).unwrap();
        assert_eq!(spelled(Given::Unsigned(5)), "5");
        assert_eq!(spelled(Given::Signed(-5)), "-5");
        for (number, text) in [
            (1.5, "1.5"),
            (2.0, "2.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (1e-4, "0.0001"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(spelled(Given::Float(number)), text);
        }
        for given in [Given::Null, Given::Absent, Given::Nested] {
            assert!(finish_with(given, "", Letters::Ascii, 28).is_err());
        }
    }

    #[test]
    fn the_namespace_is_put_in_front_once_and_ends_at_a_dot() {
        let under = |text| finish_with(Given::Text(text), "warehouse-1.", Letters::Ascii, 28);
        for (text, name) in [
            ("a.b", "warehouse-1.a.b"),
            ("a b", "warehouse-1.a_b"),
            ("warehouse-1.x", "warehouse-1.x"),
            ("warehouse-1..x", "warehouse-1.x"),
            ("warehouse-1", "warehouse-1.warehouse-1"),
            ("warehouse-10.x", "warehouse-1.warehouse-10.x"),
        ] {
            assert_eq!(under(text), Ok(name.to_owned()), "{text}");
        }
        let number = finish_with(Given::Unsigned(7), "w.", Letters::Ascii, 28);
        assert_eq!(number, Ok("w.7".into()));
        assert_eq!(under(""), Err("the name is empty".into()));
    }

    #[test]
    fn the_lengths_hold_for_what_is_written() {
        let last = |bytes: usize| plain(&format!("a.{}", "x".repeat(bytes)));
        assert!(last(251).is_ok());
        assert_eq!(last(252), Err("longer than 255 characters".into()));
        // 2 * 125 = 250 bytes fit, 2 * 126 do not: the file system counts bytes.
        let wide = |n: usize| finish_with(Given::Text(&"é".repeat(n)), "", Letters::Any, 28);
        assert!(wide(125).is_ok() && wide(126).is_err());

        let elements = |bytes: usize| "x.".repeat(bytes / 2) + &"x"[..bytes % 2];
        let room = 4096 - 28 - 1 - 4;
        assert!(plain(&elements(room)).is_ok());
        assert_eq!(plain(&elements(room + 1)), Err("name too long".into()));
        let text = elements(room - 1);
        let under = finish_with(Given::Text(&text), "w.", Letters::Ascii, 28);
        assert_eq!(under, Err("name too long".into()));
        assert!(finish_with(Given::Text("a"), "", Letters::Ascii, usize::MAX).is_err());
    }

    proptest! {
        #[test]
        fn a_clean_name_is_one_that_the_table_finds_clean(text in "[a-zA-Z0-9+%_/=:.-]{0,60}", odd in "[\\PC\n]?", at: usize) {
            let mut text = text;
            let at = at % (text.len() + 1);
            text.insert_str(at, &odd);
            let clean = !text.is_empty() && scan(&text, Letters::Ascii) == Form::Clean;
            prop_assert_eq!(is_clean(text.as_bytes()), clean);
            for after in ["\"", "\",", "\", \"value\": 1..5, \"timestamp\": 1478021700}"] {
                let followed = format!("{text}{after}");
                prop_assert_eq!(is_clean_in(followed.as_bytes(), text.len()), clean);
            }
        }

        #[test]
        fn what_is_accepted_keeps_to_the_charset_and_to_the_rules_order(text in "[a-c. *'+/é{\n]{1,40}") {
            let mut replaced = text.replace(' ', "_").replace("..", ".");
            replaced = replaced.replace(['*', '\''], "_");
            for letters in [Letters::Ascii, Letters::Any] {
                let got = finish_with(Given::Text(&text), "", letters, 28);
                let allowed = |c: char| c.is_ascii_alphanumeric() || "+-%._/=:".contains(c)
                    || letters == Letters::Any && c == 'é';
                prop_assert_eq!(got.is_ok(), replaced.chars().all(allowed));
                if let Ok(name) = got {
                    prop_assert_eq!(&name, &replaced);
                }
            }
        }
    }
}
