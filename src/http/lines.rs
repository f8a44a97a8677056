//! Finds where a head or a trailer section ends, looking at each byte once however it trickles in.
//! Only CRLF ends a line here: `httparse`, which reads the section afterwards, would also take a bare LF,
//! and a proxy in front of us that does not would then see other requests than we do.

use memchr::{memchr, memchr_iter};

use super::Refusal;

/// The longest request line, without its CRLF. Apache's default: a usual proxy in front refuses longer ones
/// anyway, and a `GET /metric_data` needs a few hundred bytes.
pub const REQUEST_LINE_BYTES_MAX: usize = 8190;

/// Empty lines before a request are skipped (old clients send one after a body), but not for ever.
pub const EMPTY_LINES_BYTES_MAX: usize = 16;

pub(super) const BARE_LF: Refusal = Refusal::Malformed("line end without CR");

/// Field lines up to and including the empty line that ends them. Offsets are relative to the buffer's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    line_start: usize,
    scanned: usize,
}

impl Section {
    pub(super) fn starting_at(offset: usize) -> Self {
        Section {
            line_start: offset,
            scanned: offset,
        }
    }

    /// The offset after the empty line, once it is there. `window` is the buffer up to the section's bound.
    pub(super) fn end(&mut self, window: &[u8]) -> Result<Option<usize>, Refusal> {
        let base = self.scanned;
        for found in memchr_iter(b'\n', &window[base..]) {
            let lf = base + found;
            // A section follows a line, so there is a byte before this one, and an LF at the front follows one.
            if window[lf - 1] != b'\r' {
                return Err(BARE_LF);
            }
            if lf - 1 == self.line_start {
                return Ok(Some(lf + 1));
            }
            self.line_start = lf + 1;
        }
        self.scanned = window.len();
        Ok(None)
    }
}

/// The search for the end of one request head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadScan {
    /// Where the request line starts, after any empty lines.
    start: usize,
    /// How far the request line was looked at.
    scanned: usize,
    /// Set once the request line is whole.
    fields: Option<Section>,
}

impl HeadScan {
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Nothing was looked at yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_idle() && self.start == 0
    }

    /// Nothing of a request was seen yet; empty lines are nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.fields.is_none() && self.scanned == self.start
    }

    /// The offset after the head's empty line, once it is there.
    pub(super) fn end(
        &mut self,
        buffer: &[u8],
        head_bytes_max: usize,
    ) -> Result<Option<usize>, Refusal> {
        if self.fields.is_none() {
            if self.is_idle() && !self.skip_empty_lines(buffer)? {
                return Ok(None);
            }
            let line_end = self.request_line_end(buffer, head_bytes_max)?;
            self.fields = line_end.map(Section::starting_at);
        }
        let Some(fields) = &mut self.fields else {
            return Ok(None);
        };
        let limit = self.start + head_bytes_max;
        let window = &buffer[..buffer.len().min(limit)];
        match fields.end(window)? {
            None if window.len() == limit => Err(Refusal::HeadTooLarge),
            end => Ok(end),
        }
    }

    /// True when the first byte of a request line is there.
    fn skip_empty_lines(&mut self, buffer: &[u8]) -> Result<bool, Refusal> {
        loop {
            self.scanned = self.start;
            match &buffer[self.start..] {
                [] | [b'\r'] => return Ok(false),
                [b'\r', b'\n', ..] if self.start < EMPTY_LINES_BYTES_MAX => self.start += 2,
                [b'\r', b'\n', ..] => return Err(Refusal::Malformed("too many empty lines")),
                // A TLS hello or noise is refused by its first byte and does not sit out its deadline.
                [first, ..] if !first.is_ascii_graphic() => {
                    return Err(Refusal::Malformed("request line"));
                }
                _ => return Ok(true),
            }
        }
    }

    fn request_line_end(
        &mut self,
        buffer: &[u8],
        head_bytes_max: usize,
    ) -> Result<Option<usize>, Refusal> {
        let limit = self.start + head_bytes_max.min(REQUEST_LINE_BYTES_MAX + 2);
        let window = &buffer[..buffer.len().min(limit)];
        match memchr(b'\n', &window[self.scanned..]) {
            Some(found) => {
                // The first byte is printable, so there is one before the LF.
                let lf = self.scanned + found;
                if window[lf - 1] != b'\r' {
                    return Err(BARE_LF);
                }
                Ok(Some(lf + 1))
            }
            None if window.len() == limit => Err(Refusal::UriTooLong),
            None => {
                self.scanned = window.len();
                Ok(None)
            }
        }
    }
}
