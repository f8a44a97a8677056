//! A record: one commit, whatever was waiting. Header, then the points.
//!
//! ```text
//! magic 4 | payload bytes 4 | sequence 8 | points 4 | CRC-32C of the payload 4 | CRC-32C of these, salted 4
//! each point: kind 1 | its pickle tuple, as in a frame
//! ```
//!
//! Little-endian. The header has a checksum of its own, so that its length can be trusted when the
//! payload cannot: damage inside one record never costs the next, and looking for a record among damaged
//! bytes costs one small checksum per place that looks like one. The salt is the segment's identity.
//!
//! A point takes its name and 22 bytes (24 past 2^31-1 seconds); a record 28.

use crate::carbon::frame::{self, Encoded, TUPLE_OVERHEAD_BYTES_MAX};
use crate::point::{self, Point, Run};

pub const HEADER_BYTES: usize = 28;
/// A commit above this becomes several records of one write. What replay has to hold of a segment at a
/// time, and large enough that the header is nothing.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// The longest record: a point never straddles two.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;
/// What a point costs at most beside its name when it is alone in its record.
pub const POINT_BYTES_MAX: usize = HEADER_BYTES + KIND_BYTES + TUPLE_OVERHEAD_BYTES_MAX;

const KIND_BYTES: usize = 1;
/// Bytes that UTF-8 never has, so that no name looks like a record.
pub const MAGIC: [u8; 4] = [0xf5, 0xff, 0xfe, 0xf6];
/// Its delivery moves the metric's mark, or does not.
const KIND_MARK: u8 = b'm';
const KIND_FILL: u8 = b'f';

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Appends points to a payload. Their tuples are the bytes that also go into a frame.
#[inline]
pub fn push_run<'p>(payload: &'p mut Vec<u8>, run: Run<'_>, fill: bool) -> Encoded<'p> {
    let kind = if fill { KIND_FILL } else { KIND_MARK };
    let start = payload.len();
    payload.reserve(run.bytes_with(KIND_BYTES + TUPLE_OVERHEAD_BYTES_MAX));
    for (header, name) in run.named() {
        frame::push_tuple_behind(payload, kind, name, header.timestamp, header.value);
    }
    Encoded {
        bytes: &payload[start..],
        gap: KIND_BYTES,
    }
}

/// Appends one point.
pub fn push(payload: &mut Vec<u8>, point: Point<'_>) {
    let header = point::Header::of(0, point);
    push_run(payload, Run::one(&header, point.name), point.fill);
}

/// Fills in the header of a record whose payload stands behind it.
pub fn seal(record: &mut [u8], salt: u32, sequence: u64, points: u32) {
    let (header, payload) = record.split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&MAGIC);
    // PAYLOAD_BYTES_MAX is far below 4 GiB.
    header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..20].copy_from_slice(&points.to_le_bytes());
    header[20..24].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &header[..24]);
    header[24..].copy_from_slice(&crc.to_le_bytes());
}

/// A header that has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub payload_bytes: usize,
    pub sequence: u64,
    pub points: u32,
    payload_crc: u32,
}

impl Header {
    pub fn read(header: &[u8; HEADER_BYTES], salt: u32) -> Option<Header> {
        let payload_bytes = u32_at(header, 4) as usize;
        let proven = header[..4] == MAGIC
            && payload_bytes <= PAYLOAD_BYTES_MAX
            && u32_at(header, 24) == crc32c::crc32c_append(salt, &header[..24]);
        proven.then(|| Header {
            payload_bytes,
            sequence: u64_at(header, 8),
            points: u32_at(header, 16),
            payload_crc: u32_at(header, 20),
        })
    }

    /// The payload is what was sealed, and every point in it can be read.
    pub fn fits(&self, payload: &[u8]) -> bool {
        if crc32c::crc32c(payload) != self.payload_crc {
            return false;
        }
        let mut points = Points(payload);
        let count = points.by_ref().count();
        points.0.is_empty() && count == self.points as usize
    }
}

/// The points of a payload; ends early at what is not one, which [`Header::fits`] has ruled out.
#[derive(Clone, Debug)]
pub struct Points<'a>(pub &'a [u8]);

impl<'a> Iterator for Points<'a> {
    type Item = Point<'a>;

    fn next(&mut self) -> Option<Point<'a>> {
        let (&kind, tuple) = self.0.split_first()?;
        if kind != KIND_MARK && kind != KIND_FILL {
            return None;
        }
        let (name, timestamp, value, len) = frame::read_tuple(tuple)?;
        self.0 = &tuple[len..];
        Some(Point {
            name,
            timestamp,
            value,
            fill: kind == KIND_FILL,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget;
    use crate::point::BLOCK_HEADER_BYTES;

    fn point(name: &str, timestamp: u32, fill: bool) -> Point<'_> {
        Point {
            name,
            timestamp,
            value: -0.0,
            fill,
        }
    }

    #[test]
    fn a_point_costs_its_name_and_22_bytes_and_its_tuple_is_the_frames() {
        let mut payload = vec![];
        push(&mut payload, point("a.b", 7, false));
        assert_eq!(payload.len(), 3 + 22);
        let mut framed = vec![];
        frame::push_tuple(&mut framed, "a.b", 7, -0.0);
        assert_eq!(payload[KIND_BYTES..], framed);
        payload.clear();
        push(&mut payload, point("a.b", u32::MAX, false));
        assert_eq!(payload.len(), 3 + POINT_BYTES_MAX - HEADER_BYTES);
    }

    /// What lets one budget bound memory and journal.
    #[test]
    fn admission_counts_more_for_a_point_than_the_journal_ever_needs() {
        let admitted = budget::cost(BLOCK_HEADER_BYTES + 9, 1);
        assert!(admitted >= 9 + POINT_BYTES_MAX);
    }

    #[test]
    fn a_record_of_another_segment_or_with_a_wrong_count_is_refused() {
        let mut record = vec![0; HEADER_BYTES];
        push(&mut record, point("a", 1, true));
        push(&mut record, point("café", u32::MAX, false));
        seal(&mut record, 5, 9, 2);
        let (header, payload) = record.split_first_chunk().unwrap();
        let read = Header::read(header, 5).unwrap();
        assert_eq!((read.sequence, read.points), (9, 2));
        assert!(read.fits(payload));
        let points: Vec<_> = Points(payload).collect();
        assert_eq!(
            points,
            [point("a", 1, true), point("café", u32::MAX, false)]
        );
        assert_eq!(Header::read(header, 6), None);
        seal(&mut record, 5, 9, 3);
        let (header, payload) = record.split_first_chunk().unwrap();
        assert!(!Header::read(header, 5).unwrap().fits(payload));
    }
}
