//! A body's content encoding undone: bytes in, bytes out, a slice at a time, so that whoever calls can do
//! other work in between. Knows when to give up: what strangers send may swell a thousandfold.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use thiserror::Error;

use super::ContentEncoding;
use super::gzip;

/// What is inflated in one go, in bytes read or written, whichever are more: about half a millisecond. It
/// holds the batches that agents send, so that most bodies need no second slice.
pub const SLICE_BYTES: usize = 256 * 1024;

/// Most of what a body may swell to, as a multiple of its size. Points as JSON swell ten- to
/// fiftyfold; only a bomb comes near the thousandfold that the format can do.
pub const SWELL_MAX: usize = 200;

/// Swelling is not looked at below this size: a small body of a few repeated items swells a lot, and
/// costs little.
const SWELL_FREE_BYTES: usize = 1024 * 1024;

/// Pieces in which the decompressor is fed and emptied.
const PIECE_BYTES: usize = 16 * 1024;

/// What an inflater holds beside its output: the decompressor's window and tables.
const STATE_BYTES: usize = 48 * 1024;

/// Why a body could not be decoded. The first two are bounds, the others are damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("it inflates to more than {bytes_max} bytes, http.inflated_bytes_max")]
    TooLarge { bytes_max: usize },
    #[error("it inflates to more than {SWELL_MAX} times its size")]
    Swells,
    #[error("the {0} body ends too early")]
    Truncated(&'static str),
    #[error("the {0} body is damaged")]
    Damaged(&'static str),
}

impl Fault {
    pub fn is_bound(self) -> bool {
        matches!(self, Fault::TooLarge { .. } | Fault::Swells)
    }
}

/// One body on its way to what it was before it was encoded.
#[derive(Debug)]
pub struct Inflater {
    format: Format,
    decompress: Decompress,
    /// Of the encoded body: how many bytes are done with.
    read: usize,
    out: Vec<u8>,
    bytes_max: usize,
}

#[derive(Debug)]
enum Format {
    /// Members one after the other.
    Gzip { part: Part, crc: Crc },
    /// With its wrapper or without, as browsers and old servers send it; told apart by the first bytes.
    Deflate { told: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Data,
    Trailer,
    /// After at least one member: another one, zeros, or nothing.
    Between,
}

impl Format {
    fn name(&self) -> &'static str {
        match self {
            Format::Gzip { .. } => "gzip",
            Format::Deflate { .. } => "deflate",
        }
    }
}

impl Inflater {
    /// `None` for an encoding that cannot be undone, or need not.
    pub fn new(encoding: ContentEncoding, bytes_max: usize) -> Option<Inflater> {
        let format = match encoding {
            ContentEncoding::Gzip => Format::Gzip {
                part: Part::Header,
                crc: Crc::new(),
            },
            ContentEncoding::Deflate => Format::Deflate { told: false },
            ContentEncoding::Identity | ContentEncoding::Unknown => return None,
        };
        Some(Inflater {
            format,
            decompress: Decompress::new(false),
            read: 0,
            out: Vec::new(),
            bytes_max,
        })
    }

    /// Goes on where the last call stopped, until `slice` is used up. True when all of it is there.
    /// `body` is the whole encoded body, the same in every call.
    pub fn advance(&mut self, body: &[u8], slice: &mut usize) -> Result<bool, Fault> {
        while *slice > 0 {
            let (read, written) = (self.read, self.out.len());
            let done = self.step(body)?;
            if self.out.len() > self.bytes_max {
                let bytes_max = self.bytes_max;
                return Err(Fault::TooLarge { bytes_max });
            }
            if self.out.len() > SWELL_FREE_BYTES + self.read.saturating_mul(SWELL_MAX) {
                return Err(Fault::Swells);
            }
            if done {
                return Ok(true);
            }
            let worked = (self.read - read).max(self.out.len() - written);
            *slice = slice.saturating_sub(worked.max(1));
        }
        Ok(false)
    }

    /// What was decoded so far; the body, once all of it is there.
    pub fn decoded(&self) -> &[u8] {
        &self.out
    }

    /// Memory this takes.
    pub fn held_bytes(&self) -> usize {
        STATE_BYTES + self.out.capacity()
    }

    /// True at the end of the body.
    fn step(&mut self, body: &[u8]) -> Result<bool, Fault> {
        let rest = &body[self.read.min(body.len())..];
        let name = self.format.name();
        match &mut self.format {
            Format::Deflate { told } => {
                if !*told {
                    *told = true;
                    self.decompress = Decompress::new(has_zlib_header(rest));
                }
                if !self.inflate(rest)? {
                    return Ok(false);
                }
                match self.read == body.len() {
                    true => Ok(true),
                    false => Err(Fault::Damaged(name)),
                }
            }
            Format::Gzip { part, crc } => match *part {
                Part::Header => {
                    self.read += gzip::header_bytes(rest)?;
                    *part = Part::Data;
                    Ok(false)
                }
                Part::Data => {
                    let before = self.out.len();
                    let ended = self.inflate(rest)?;
                    if let Format::Gzip { part, crc } = &mut self.format {
                        crc.update(&self.out[before..]);
                        if ended {
                            *part = Part::Trailer;
                        }
                    }
                    Ok(false)
                }
                Part::Trailer => {
                    self.read += gzip::trailer_bytes(rest, crc.sum(), crc.amount())?;
                    *part = Part::Between;
                    Ok(false)
                }
                Part::Between => {
                    // Some programs fill up with zeros.
                    self.read += rest.iter().take_while(|byte| **byte == 0).count();
                    if self.read == body.len() {
                        return Ok(true);
                    }
                    self.decompress.reset(false);
                    crc.reset();
                    *part = Part::Header;
                    Ok(false)
                }
            },
        }
    }

    /// A piece of the compressed stream; true at its end.
    fn inflate(&mut self, rest: &[u8]) -> Result<bool, Fault> {
        let name = self.format.name();
        let (taken, given) = (self.decompress.total_in(), self.decompress.total_out());
        let input = &rest[..rest.len().min(PIECE_BYTES)];
        let mut piece = [0; PIECE_BYTES];
        let status = self
            .decompress
            .decompress(input, &mut piece, FlushDecompress::None)
            .map_err(|_| Fault::Damaged(name))?;
        let given = (self.decompress.total_out() - given) as usize;
        self.keep(&piece[..given]);
        let taken = (self.decompress.total_in() - taken) as usize;
        self.read += taken;
        let idle = taken == 0 && given == 0;
        match status {
            Status::StreamEnd => Ok(true),
            Status::Ok | Status::BufError if !idle => Ok(false),
            // There is room to write, so it can only wait for bytes that are not there.
            _ if rest.is_empty() => Err(Fault::Truncated(name)),
            _ => Err(Fault::Damaged(name)),
        }
    }

    /// Grows as a vector does, but never beyond what a body may have, and a byte that shows it has more.
    fn keep(&mut self, piece: &[u8]) {
        let most = self.bytes_max + 1;
        let piece = &piece[..piece.len().min(most - self.out.len())];
        let (used, all) = (self.out.len(), self.out.capacity());
        if all - used < piece.len() {
            let wanted = (all * 2).max(used + piece.len()).min(most);
            self.out.reserve_exact(wanted - used);
        }
        self.out.extend_from_slice(piece);
    }
}

/// RFC 1950: compression method 8, a window of at most 32 KiB, and a check on both bytes. As the start of a
/// bare stream the same bytes would be a stored block with its padding set, which nothing writes.
fn has_zlib_header(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8
                && method >> 4 <= 7
                && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0
        }
        _ => false,
    }
}
