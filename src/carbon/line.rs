//! Carbon's line protocol: `name value timestamp\n`.
//!
//! The value is Python's float text, as Skyline 1.3 sends it.

use crate::last::text::python_float;

/// What a line costs at most beside its name: two blanks, a newline, 24 characters of the longest
/// double (`-2.2250738585072014e-308`) and 10 of the longest timestamp.
pub const LINE_OVERHEAD_BYTES_MAX: usize = 37;

/// Appends one point as its line.
pub fn push_line(out: &mut Vec<u8>, name: &str, timestamp: u32, value: f64) {
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    python_float(out, value);
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(timestamp).as_bytes());
    out.push(b'\n');
}

/// The three fields of a line, as text: what they may hold is decided where it is for every other
/// way in (`api::validate`, where numbers may be text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub name: &'a str,
    pub value: &'a str,
    pub timestamp: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not three fields: name value timestamp")]
    Fields,
}

/// Splits a line at blanks as carbon does; its newline may be there or not.
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    let mut fields = line.split_whitespace();
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(name), Some(value), Some(timestamp), None) => Ok(Line {
            name,
            value,
            timestamp,
        }),
        _ => Err(LineError::Fields),
    }
}

/// The name of a line in a frame, by where it begins.
pub fn name_at(frame: &[u8], at: usize) -> &[u8] {
    let line = &frame[at..];
    let length = memchr::memchr(b' ', line).expect("a value follows a name");
    &line[..length]
}

/// Reads back what [`push_line`] wrote: name, timestamp, value, and the line's length.
#[must_use]
pub fn read_line(bytes: &[u8]) -> Option<(&str, u32, f64, usize)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = parse_line(&bytes[..end]).ok()?;
    Some((
        line.name,
        line.timestamp.parse().ok()?,
        line.value.parse().ok()?,
        end + 1,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_as_the_reference_shows_and_split_again() {
        let mut out = Vec::new();
        push_line(
            &mut out,
            "vista.nodes.skyline-1.cpu.user",
            1_478_021_700,
            1.0,
        );
        assert_eq!(out, b"vista.nodes.skyline-1.cpu.user 1.0 1478021700\n");
        let expected = Line {
            name: "vista.nodes.skyline-1.cpu.user",
            value: "1.0",
            timestamp: "1478021700",
        };
        assert_eq!(parse_line(&out), Ok(expected));
        assert_eq!(parse_line(&out[..out.len() - 1]), Ok(expected));
    }

    #[test]
    fn the_longest_line_costs_what_is_reserved_for_it() {
        let mut out = Vec::new();
        push_line(&mut out, "a", u32::MAX, -f64::MIN_POSITIVE);
        assert_eq!(out.len(), 1 + LINE_OVERHEAD_BYTES_MAX);
    }

    #[test]
    fn a_line_has_three_fields_of_text() {
        for line in [&b""[..], b"\n", b"a 1.0", b"a 1.0 1478021700 x"] {
            assert_eq!(parse_line(line), Err(LineError::Fields));
        }
        assert_eq!(parse_line(b"caf\xe9 1 1\n"), Err(LineError::NotUtf8));
    }
}
