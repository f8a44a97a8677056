//! The chunk decoder: moves the data of a chunked body together inside the read buffer.
//!
//! Its own, because `httparse::parse_chunk_size` takes an empty size as 0. It may assume that the bytes
//! before its offsets stay where they are between calls; each call continues where the last one stopped.

use httparse::{EMPTY_HEADER, Error, Status, parse_headers};

use super::Refusal;
use super::head::{FIELDS_MAX, Span};
use super::lines::{BARE_LF, Section};

/// A size line with its extensions and CRLF. The only extension seen in the field is a signature of 80 bytes.
pub const SIZE_LINE_BYTES_MAX: usize = 256;

/// Trailers are thrown away: there is no reason to read many.
pub const TRAILER_BYTES_MAX: usize = 4096;

/// Size lines and CRLFs stay in the read buffer until the body is whole, so they are bounded too: as many
/// bytes as the body may have (chunks of 5 bytes and more always fit), plus this for small limits.
const FRAMING_BYTES_FREE: usize = 4096;

/// More hex digits than a u64 has can only mean to confuse somebody.
const SIZE_DIGITS_MAX: usize = 16;

/// The most a chunked body can take in the buffer before it is whole or refused.
pub(super) const fn wire_bytes_max(body_bytes_max: usize) -> usize {
    let framing = body_bytes_max + FRAMING_BYTES_FREE + SIZE_LINE_BYTES_MAX;
    body_bytes_max + framing + TRAILER_BYTES_MAX
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    /// The data moved together so far.
    body: Span,
    /// The first byte not looked at.
    next: usize,
    framing_bytes: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Size,
    Data { missing: usize },
    DataEnd,
    Trailers(Section),
}

impl Chunked {
    pub(super) fn starting_at(offset: usize) -> Self {
        Chunked {
            body: Span {
                start: offset,
                end: offset,
            },
            next: offset,
            framing_bytes: 0,
            step: Step::Size,
        }
    }

    /// The body and the offset after it, once its last trailer is there.
    pub(super) fn advance(
        &mut self,
        buffer: &mut [u8],
        body_bytes_max: usize,
    ) -> Result<Option<(Span, usize)>, Refusal> {
        loop {
            let moved_on = match &mut self.step {
                Step::Size => self.size_line(buffer, body_bytes_max)?,
                Step::Data { .. } => self.data(buffer),
                Step::DataEnd => self.data_end(buffer)?,
                Step::Trailers(section) => {
                    let end = trailers_end(section, self.next, buffer)?;
                    return Ok(end.map(|end| (self.body, end)));
                }
            };
            if !moved_on {
                return Ok(None);
            }
        }
    }

    fn size_line(&mut self, buffer: &[u8], body_bytes_max: usize) -> Result<bool, Refusal> {
        let rest = &buffer[self.next..];
        let window = &rest[..rest.len().min(SIZE_LINE_BYTES_MAX)];
        let Some(lf) = memchr::memchr(b'\n', window) else {
            return match window.len() {
                SIZE_LINE_BYTES_MAX => Err(Refusal::Malformed("chunk size line too long")),
                _ => Ok(false),
            };
        };
        let line = window[..lf].strip_suffix(b"\r").ok_or(BARE_LF)?;
        let size = chunk_size(line)?;
        self.next += lf + 1;
        if size == 0 {
            self.step = Step::Trailers(Section::starting_at(self.next));
            return Ok(true);
        }
        self.framing_bytes += lf + 1 + b"\r\n".len();
        let room = body_bytes_max - (self.body.end - self.body.start);
        let missing = match usize::try_from(size) {
            Ok(size) if size <= room => size,
            _ => return Err(Refusal::BodyTooLarge),
        };
        if self.framing_bytes > body_bytes_max + FRAMING_BYTES_FREE {
            return Err(Refusal::BodyTooLarge);
        }
        if self.body.start == self.body.end {
            // The first chunk stays where it is: many bodies have no other.
            self.body = Span {
                start: self.next,
                end: self.next,
            };
        }
        self.step = Step::Data { missing };
        Ok(true)
    }

    fn data(&mut self, buffer: &mut [u8]) -> bool {
        let Step::Data { missing } = &mut self.step else {
            return true;
        };
        let arrived = (*missing).min(buffer.len() - self.next);
        if self.next != self.body.end {
            buffer.copy_within(self.next..self.next + arrived, self.body.end);
        }
        self.next += arrived;
        self.body.end += arrived;
        *missing -= arrived;
        if *missing > 0 {
            return false;
        }
        self.step = Step::DataEnd;
        true
    }

    fn data_end(&mut self, buffer: &[u8]) -> Result<bool, Refusal> {
        match &buffer[self.next..] {
            [] | [b'\r'] => Ok(false),
            [b'\r', b'\n', ..] => {
                self.next += 2;
                self.step = Step::Size;
                Ok(true)
            }
            _ => Err(Refusal::Malformed("chunk data without CRLF after it")),
        }
    }
}

/// Reads trailers as strictly as fields and forgets them, `Content-Length` and the like included: nothing
/// after a body may change what it meant.
fn trailers_end(
    section: &mut Section,
    start: usize,
    buffer: &[u8],
) -> Result<Option<usize>, Refusal> {
    let limit = start + TRAILER_BYTES_MAX;
    let window = &buffer[..buffer.len().min(limit)];
    let end = match section.end(window)? {
        Some(end) => end,
        None if window.len() == limit => return Err(Refusal::HeadTooLarge),
        None => return Ok(None),
    };
    let trailers = &buffer[start..end];
    if trailers == b"\r\n" {
        return Ok(Some(end));
    }
    match parse_headers(trailers, &mut [EMPTY_HEADER; FIELDS_MAX]) {
        Ok(Status::Complete(_)) => Ok(Some(end)),
        Err(Error::TooManyHeaders) => Err(Refusal::HeadTooLarge),
        Ok(Status::Partial) | Err(_) => Err(Refusal::Malformed("trailer")),
    }
}

/// A size line without its CRLF: `1*16HEXDIG`, then extensions.
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let is_digit = |byte: &&u8| byte.is_ascii_hexdigit();
    let digits = line.iter().take_while(is_digit).count();
    if digits == 0 || digits > SIZE_DIGITS_MAX {
        return Err(Refusal::Malformed("chunk size"));
    }
    let (size, extensions) = line.split_at(digits);
    if !are_extensions(extensions) {
        return Err(Refusal::Malformed("chunk extension"));
    }
    Ok(size.iter().fold(0, |size, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => (digit | 0x20) - b'a' + 10,
        };
        size << 4 | u64::from(value)
    }))
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112, 7.1.1).
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = skip_blanks(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = skip_token(skip_blanks(after)) else {
            return false;
        };
        rest = after;
        if let Some(after) = skip_blanks(rest).strip_prefix(b"=") {
            let value = skip_blanks(after);
            let Some(after) = skip_quoted(value).or_else(|| skip_token(value)) else {
                return false;
            };
            rest = after;
        }
    }
    true
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    &text[text.iter().take_while(is_blank).count()..]
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let is_token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = text.iter().take_while(is_token).count();
    (length > 0).then(|| &text[length..])
}

fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', escaped, rest @ ..] if is_text(*escaped) => rest,
            [byte, rest @ ..] if *byte != b'\\' && is_text(*byte) => rest,
            _ => return None,
        };
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(line: &[u8]) -> Option<u64> {
        chunk_size(line).ok()
    }

    #[test]
    fn a_chunk_size_is_one_to_sixteen_hex_digits() {
        assert_eq!(size(b"0"), Some(0));
        assert_eq!(size(b"1aF"), Some(0x1af));
        assert_eq!(size(b"0000000000000005"), Some(5));
        assert_eq!(size(b"ffffffffffffffff"), Some(u64::MAX));
        for line in [
            &b""[..],
            b"00000000000000005",
            b"+5",
            b"-5",
            b" 5",
            b"5 ",
            b"5\t",
            b"0x5",
            b"5_0",
            b"5,5",
            b"5\r",
            b"\xef\xbc\x95",
            b"g",
        ] {
            assert_eq!(size(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn chunk_extensions_follow_their_grammar() {
        for line in [
            &b"5;a"[..],
            b"5;a=b",
            b"5; some; parameters=stuff",
            b"5 ;\ta = \"b;\\\" c\" ; d",
            b"5;a=\"\"",
        ] {
            assert_eq!(size(line), Some(5), "{}", line.escape_ascii());
        }
        for line in [
            &b"5;"[..],
            b"5;;a",
            b"5;a;",
            b"5;=b",
            b"5;a=",
            b"5;a ",
            b"5 a",
            b"5;a b",
            b"5;a\x07",
            b"5;a\x7f",
            b"5;a=b\rc",
            b"5;a=\"b\rc\"",
            b"5;a=\"b",
            b"5;a=\"b\\",
            b"5;a=\"\x00\"",
            b";a",
        ] {
            assert_eq!(size(line), None, "{}", line.escape_ascii());
        }
    }

    /// One byte per chunk, one byte per read: the worst case. Anything quadratic in here takes minutes.
    #[test]
    fn a_body_of_single_bytes_in_single_reads_is_moved_together() {
        let data: Vec<u8> = (0..100_000u32).map(|n| b'a' + (n % 26) as u8).collect();
        let mut wire = Vec::new();
        for byte in &data {
            wire.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let mut chunked = Chunked::starting_at(0);
        let mut buffer = Vec::new();
        let mut done = None;
        for byte in wire {
            assert_eq!(done, None);
            buffer.push(byte);
            done = chunked.advance(&mut buffer, 1 << 20).expect("valid");
        }
        let (body, end) = done.expect("whole");
        assert_eq!(end, buffer.len());
        assert!(buffer[body.start..body.end] == data);
    }
}
