//! The jobs file as bytes: a header, then records that are only ever appended.
//!
//! ```text
//! file:    magic 4 | version 2 | zeros 2 | next id 8 | zeros 4 | CRC-32C of these 4
//! record:  magic 4 | kind 1 | zeros 3 | payload bytes 4 | job id 8 | CRC-32C of the payload 4 | CRC-32C of these 4
//! ```
//!
//! Little-endian. A record's header has a checksum of its own, so that its length can be trusted when the
//! payload cannot: damage inside one record never costs the next.

use super::cause::Cause;
use super::job::{Job, Remote, URLS_MAX};

pub const FILE_HEADER_BYTES: usize = 24;
pub const RECORD_HEADER_BYTES: usize = 28;
/// The largest job, by the bounds of [`job`](super::job), is below 600 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

const FILE_MAGIC: [u8; 4] = *b"fxjb";
const VERSION: u16 = 1;
/// Bytes that UTF-8 never has, so that no URL looks like a record.
const MAGIC: [u8; 4] = [0xf5, 0xff, 0xfe, 0xf7];

/// From where a job's history is missing; fixed when it is accepted, so that live points which arrive
/// meanwhile do not hide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The newest of the owner's table and the last store.
    Stored(u32),
    /// Neither knew the metric; Graphite is to be asked.
    Unknown,
    /// What Graphite had, if anything.
    Graphite(Option<u32>),
}

/// An accepted job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub id: u64,
    /// Unix seconds.
    pub accepted: u32,
    pub start: Start,
    /// The first live timestamp accepted since, where the owner has said it.
    pub live: Option<u32>,
    pub job: Job,
}

/// How a job ended that gave what could be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The newest point that was delivered.
    pub newest: Option<u32>,
    /// URLs that gave nothing.
    pub skipped: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Accepted(Accepted),
    /// Graphite was asked for the starting mark.
    Found(Option<u32>),
    /// The first live timestamp accepted since.
    Live(u32),
    Done(Ended),
    Failed(Cause),
}

/// The file is another version's: it must be neither read nor overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the jobs file is of version {0}, and this program writes {VERSION}")]
pub struct OtherVersion(pub u16);

pub fn file_header(next_id: u64) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..4].copy_from_slice(&FILE_MAGIC);
    bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
    bytes[8..16].copy_from_slice(&next_id.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The next id; `None` for a header that is torn or damaged.
pub fn read_file_header(file: &[u8]) -> Result<Option<u64>, OtherVersion> {
    let Some(bytes) = file.first_chunk::<FILE_HEADER_BYTES>() else {
        return Ok(None);
    };
    let mut fields = Fields(&bytes[4..]);
    let read = |fields: &mut Fields<'_>| {
        let (version, _) = (fields.u16()?, fields.u16()?);
        let (next_id, _, crc) = (fields.u64()?, fields.u32()?, fields.u32()?);
        Some((version, next_id, crc))
    };
    match read(&mut fields) {
        Some((version, next_id, crc))
            if bytes[..4] == FILE_MAGIC && crc == crc32c::crc32c(&bytes[..20]) =>
        {
            if version == VERSION {
                Ok(Some(next_id))
            } else {
                Err(OtherVersion(version))
            }
        }
        _ => Ok(None),
    }
}

impl Entry {
    fn kind(&self) -> u8 {
        match self {
            Entry::Accepted(_) => b'a',
            Entry::Found(_) => b'g',
            Entry::Live(_) => b'l',
            Entry::Done(_) => b'd',
            Entry::Failed(_) => b'f',
        }
    }
}

/// Appends a record.
pub fn push(out: &mut Vec<u8>, id: u64, entry: &Entry) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[entry.kind(), 0, 0, 0]);
    out.resize(start + RECORD_HEADER_BYTES, 0);
    match entry {
        Entry::Accepted(accepted) => push_accepted(out, accepted),
        Entry::Found(mark) => push_option(out, *mark),
        Entry::Live(from) => out.extend_from_slice(&from.to_le_bytes()),
        Entry::Done(ended) => {
            push_option(out, ended.newest);
            out.extend_from_slice(&ended.skipped.to_le_bytes());
        }
        Entry::Failed(cause) => out.push(cause.code()),
    }
    let (header, payload) = out[start..].split_at_mut(RECORD_HEADER_BYTES);
    header[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[12..20].copy_from_slice(&id.to_le_bytes());
    header[20..24].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let crc = crc32c::crc32c(&header[..24]);
    header[24..].copy_from_slice(&crc.to_le_bytes());
}

fn push_option(out: &mut Vec<u8>, number: Option<u32>) {
    out.push(u8::from(number.is_some()));
    out.extend_from_slice(&number.unwrap_or(0).to_le_bytes());
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // Bounded by `job`, far below 64 KiB.
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn push_accepted(out: &mut Vec<u8>, accepted: &Accepted) {
    let job = &accepted.job;
    let (kind, mark) = match accepted.start {
        Start::Stored(mark) => (0, Some(mark)),
        Start::Unknown => (1, None),
        Start::Graphite(mark) => (2, mark),
    };
    out.extend_from_slice(&accepted.accepted.to_le_bytes());
    out.push(kind);
    push_option(out, mark);
    push_option(out, accepted.live);
    out.push(match job.remote {
        Remote::Graphite => 0,
        Remote::Prometheus => 1,
    });
    push_text(out, &job.metric);
    push_text(out, &job.target);
    out.push(job.urls.len() as u8);
    job.urls.iter().for_each(|url| push_text(out, url));
}

/// What stands at the start of these bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// With the record's length.
    Record(u64, Entry, usize),
    /// A record of this length whose content is damaged, or of a kind this version does not know.
    Damaged(usize),
    /// The start of a record: the file ends too early.
    Torn,
    /// No record starts here; one may after this many bytes.
    Nothing(usize),
}

pub fn read(bytes: &[u8]) -> Read {
    let Some(header) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
        return if MAGIC.starts_with(&bytes[..bytes.len().min(4)]) || bytes.starts_with(&MAGIC) {
            Read::Torn
        } else {
            nothing(bytes)
        };
    };
    let mut fields = Fields(&header[4..]);
    let Some((kind, payload_bytes, id, payload_crc)) = fields.header(header) else {
        return nothing(bytes);
    };
    let length = RECORD_HEADER_BYTES + payload_bytes;
    let Some(payload) = bytes.get(RECORD_HEADER_BYTES..length) else {
        return Read::Torn;
    };
    if crc32c::crc32c(payload) != payload_crc {
        return Read::Damaged(length);
    }
    let mut fields = Fields(payload);
    match fields.entry(kind, id) {
        Some(entry) if fields.0.is_empty() => Read::Record(id, entry, length),
        _ => Read::Damaged(length),
    }
}

/// As far as the next place that looks like a record.
fn nothing(bytes: &[u8]) -> Read {
    let next = memchr::memmem::find(&bytes[1..], &MAGIC);
    Read::Nothing(next.map_or(bytes.len(), |at| at + 1))
}

/// Takes fields from the front; `None` when there are not enough bytes.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn option(&mut self) -> Option<Option<u32>> {
        let (is_there, number) = (self.u8()?, self.u32()?);
        (is_there <= 1).then_some((is_there == 1).then_some(number))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }

    /// Kind, payload bytes, id, the payload's checksum; `None` unless they prove themselves.
    fn header(&mut self, header: &[u8; RECORD_HEADER_BYTES]) -> Option<(u8, usize, u64, u32)> {
        let kind = self.take::<4>()?[0];
        let (payload_bytes, id) = (self.u32()? as usize, self.u64()?);
        let (payload_crc, crc) = (self.u32()?, self.u32()?);
        let proven = header[..4] == MAGIC
            && payload_bytes <= PAYLOAD_BYTES_MAX
            && crc == crc32c::crc32c(&header[..24]);
        proven.then_some((kind, payload_bytes, id, payload_crc))
    }

    fn entry(&mut self, kind: u8, id: u64) -> Option<Entry> {
        Some(match kind {
            b'a' => Entry::Accepted(self.accepted(id)?),
            b'g' => Entry::Found(self.option()?),
            b'l' => Entry::Live(self.u32()?),
            b'd' => Entry::Done(Ended {
                newest: self.option()?,
                skipped: self.u16()?,
            }),
            b'f' => Entry::Failed(Cause::from_code(self.u8()?)?),
            _ => return None,
        })
    }

    fn accepted(&mut self, id: u64) -> Option<Accepted> {
        let accepted = self.u32()?;
        let start = match (self.u8()?, self.option()?) {
            (0, Some(mark)) => Start::Stored(mark),
            (1, None) => Start::Unknown,
            (2, mark) => Start::Graphite(mark),
            _ => return None,
        };
        let live = self.option()?;
        let remote = match self.u8()? {
            0 => Remote::Graphite,
            1 => Remote::Prometheus,
            _ => return None,
        };
        let (metric, target) = (self.text()?, self.text()?);
        let count = usize::from(self.u8()?);
        let urls: Option<Vec<String>> = (0..count.min(URLS_MAX)).map(|_| self.text()).collect();
        Some(Accepted {
            id,
            accepted,
            start,
            live,
            job: Job {
                metric,
                remote,
                target,
                urls: urls?,
            },
        })
    }
}

#[cfg(test)]
#[path = "tests/record.rs"]
pub(super) mod tests;
