//! A segment's bytes back to records: chunks go in, records come out, and no more than one record and one
//! chunk is ever held. What cannot be read is skipped and counted; the work is linear whatever stands there.
//!
//! Segments are allocated whole, so zeros follow the last record. A stretch of unreadable bytes is *torn*
//! when only zeros come after it (a write that did not finish), *damaged* when a record does.

use super::record::{self, Points};
use super::segment::{self, SegmentId};
use std::ops::Range;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    pub points: u64,
    /// Records skipped, as far as they can be counted: exact when only records were damaged that stood
    /// between two good ones.
    pub damaged: u64,
    pub damaged_bytes: u64,
    /// The last stretch, up to its last byte that is not zero.
    pub torn: u64,
    pub torn_bytes: u64,
    /// The segment's header: the file's name was believed in its stead.
    pub headers_damaged: u64,
    /// The segment is of another version, or has another's name: not read.
    pub strangers: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Counts) {
        self.records += other.records;
        self.points += other.points;
        self.damaged += other.damaged;
        self.damaged_bytes += other.damaged_bytes;
        self.torn += other.torn;
        self.torn_bytes += other.torn_bytes;
        self.headers_damaged += other.headers_damaged;
        self.strangers += other.strangers;
    }

    /// Something was lost that was once whole.
    pub fn has_damage(&self) -> bool {
        self.damaged + self.headers_damaged > 0
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub sequence: u64,
    pub points: u32,
    payload: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn iter(&self) -> Points<'a> {
        Points(self.payload)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is in [`Reader::record`].
    Record,
    /// Push a chunk, or say that there is none.
    More,
    End,
}

enum Step {
    Found(record::Header, Range<usize>),
    More,
    End,
}

/// Unreadable bytes since the last record.
#[derive(Debug, Default)]
struct Stretch {
    bytes: u64,
    /// Up to the last that is not zero.
    written: u64,
    /// Records whose header could be read.
    records: u64,
}

#[derive(Debug)]
pub struct Reader {
    id: SegmentId,
    salt: u32,
    header_read: bool,
    window: Vec<u8>,
    /// Of the window, up to here is done with.
    start: usize,
    ended: bool,
    closed: bool,
    stretch: Stretch,
    /// The sequence that should come next.
    expected: Option<u64>,
    /// The last record found, and where its payload stands.
    found: Option<(record::Header, Range<usize>)>,
    counts: Counts,
}

impl Reader {
    /// `id` as the file's name has it.
    pub fn new(id: SegmentId) -> Self {
        Reader {
            id,
            salt: id.salt(),
            header_read: false,
            window: Vec::new(),
            start: 0,
            ended: false,
            closed: false,
            stretch: Stretch::default(),
            expected: None,
            found: None,
            counts: Counts::default(),
        }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.found = None;
        self.window.drain(..self.start);
        self.start = 0;
        if !self.closed {
            self.window.extend_from_slice(chunk);
        }
    }

    /// The file has no more bytes.
    pub fn end_of_file(&mut self) {
        self.ended = true;
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Everything there is to learn has been read: the rest of the file need not be.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// What the last [`Next::Record`] found.
    pub fn record(&self) -> Option<Record<'_>> {
        self.found.as_ref().map(|(header, payload)| Record {
            sequence: header.sequence,
            points: header.points,
            payload: &self.window[payload.clone()],
        })
    }

    /// Looks for the next record in what has been pushed. (Not an iterator: it may want more.)
    pub fn advance(&mut self) -> Next {
        self.found = None;
        if !self.header_read && !self.read_header() {
            return Next::More;
        }
        loop {
            match self.step() {
                Step::More => return Next::More,
                Step::End => {
                    self.close();
                    return Next::End;
                }
                Step::Found(header, payload) => {
                    let whole = payload.end - self.start;
                    if header.fits(&self.window[payload.clone()]) {
                        self.count(&header);
                        self.start = payload.end;
                        self.found = Some((header, payload));
                        return Next::Record;
                    }
                    self.stretch.records += 1;
                    self.skip(whole);
                }
            }
        }
    }

    fn read_header(&mut self) -> bool {
        let header = match self.window.first_chunk() {
            Some(header) => SegmentId::read_header(header),
            None if self.ended => segment::Header::Damaged,
            None => return false,
        };
        self.header_read = true;
        match header {
            segment::Header::Ours(id) if id == self.id => {}
            segment::Header::Ours(_) | segment::Header::Version(_) => {
                self.counts.strangers = 1;
                self.closed = true;
            }
            segment::Header::Damaged => {
                // A file that is empty was never begun: a crash came first.
                let begun = self.window.iter().any(|byte| *byte != 0);
                self.counts.headers_damaged = u64::from(begun);
            }
        }
        self.start = segment::HEADER_BYTES.min(self.window.len());
        true
    }

    /// Looks at most through what the window holds.
    fn step(&mut self) -> Step {
        if self.closed {
            return Step::End;
        }
        loop {
            let left = &self.window[self.start..];
            let Some(header) = left.first_chunk() else {
                if !self.ended {
                    return Step::More;
                }
                self.skip(self.window.len() - self.start);
                return Step::End;
            };
            let Some(header) = record::Header::read(header, self.salt) else {
                self.skip_to_magic();
                continue;
            };
            let whole = record::HEADER_BYTES + header.payload_bytes;
            if left.len() >= whole {
                let payload = self.start + record::HEADER_BYTES..self.start + whole;
                return Step::Found(header, payload);
            }
            if !self.ended {
                return Step::More;
            }
            self.stretch.records += 1;
            self.skip(left.len());
            return Step::End;
        }
    }

    /// What stands at the start is not a record: on to the next place that looks like one.
    fn skip_to_magic(&mut self) {
        let left = &self.window[self.start..];
        let next = memchr::memmem::find(&left[1..], &record::MAGIC).map(|at| at + 1);
        // The magic may straddle this chunk and the next.
        let none = left.len() - (record::MAGIC.len() - 1);
        self.skip(next.unwrap_or(none));
    }

    fn skip(&mut self, bytes: usize) {
        let skipped = &self.window[self.start..self.start + bytes];
        if let Some(last) = skipped.iter().rposition(|byte| *byte != 0) {
            self.stretch.written = self.stretch.bytes + last as u64 + 1;
        }
        self.stretch.bytes += bytes as u64;
        self.start += bytes;
    }

    fn count(&mut self, header: &record::Header) {
        let stretch = std::mem::take(&mut self.stretch);
        if stretch.bytes > 0 {
            let missing = self
                .expected
                .map_or(0, |expected| header.sequence.saturating_sub(expected));
            self.counts.damaged += missing.max(stretch.records).max(1);
            self.counts.damaged_bytes += stretch.bytes;
        }
        self.expected = Some(header.sequence.saturating_add(1));
        self.counts.records += 1;
        self.counts.points += u64::from(header.points);
    }

    fn close(&mut self) {
        self.closed = true;
        let stretch = std::mem::take(&mut self.stretch);
        self.counts.torn += u64::from(stretch.written > 0);
        self.counts.torn_bytes += stretch.written;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Point;

    const ID: SegmentId = SegmentId {
        run: 5,
        shard: 1,
        sequence: 0,
    };
    const POINTS: u32 = 2;

    fn record(sequence: u64, salt: u32) -> Vec<u8> {
        let mut record = vec![0; record::HEADER_BYTES];
        for i in 0..POINTS {
            let point = Point {
                name: "metric.a",
                timestamp: sequence as u32 * POINTS + i,
                value: 0.5,
                fill: false,
            };
            record::push(&mut record, point);
        }
        record::seal(&mut record, salt, sequence, POINTS);
        record
    }

    fn segment(records: u64, zeros: usize) -> Vec<u8> {
        let mut bytes = ID.header().to_vec();
        (0..records).for_each(|sequence| bytes.extend(record(sequence, ID.salt())));
        bytes.resize(bytes.len() + zeros, 0);
        bytes
    }

    /// Sequences of the records read, each checked to the last bit, and the counts.
    fn read(bytes: &[u8], chunk_bytes: usize) -> (Vec<u64>, Counts) {
        let mut reader = Reader::new(ID);
        let mut chunks = bytes.chunks(chunk_bytes);
        let mut sequences = vec![];
        loop {
            match reader.advance() {
                Next::Record => {
                    let found = reader.record().unwrap();
                    let whole = record(found.sequence, 0);
                    assert_eq!(found.payload, &whole[record::HEADER_BYTES..]);
                    assert_eq!(found.iter().count(), found.points as usize);
                    sequences.push(found.sequence);
                }
                Next::More => match chunks.next() {
                    Some(chunk) => reader.push(chunk),
                    None => reader.end_of_file(),
                },
                Next::End => return (sequences, *reader.counts()),
            }
        }
    }

    #[test]
    fn records_come_back_whatever_the_chunks() {
        for zeros in [0, 1, 1000] {
            let bytes = segment(3, zeros);
            for chunk in [1, 2, 7, 64, 10_000] {
                let (sequences, counts) = read(&bytes, chunk);
                assert_eq!(sequences, [0, 1, 2]);
                let clean = Counts {
                    records: 3,
                    points: 6,
                    ..Counts::default()
                };
                assert_eq!(counts, clean);
            }
        }
        assert_eq!(read(&[], 1), (vec![], Counts::default()));
        assert_eq!(read(&[0; 100], 10), (vec![], Counts::default()));
    }

    #[test]
    fn a_tail_torn_at_any_byte_costs_its_record_and_is_counted() {
        let bytes = segment(3, 0);
        let len = record(0, 0).len();
        for cut in segment::HEADER_BYTES..bytes.len() {
            let whole = (cut - segment::HEADER_BYTES) / len;
            let torn = (cut - segment::HEADER_BYTES) % len;
            for zeros in [0, 500] {
                let mut cut_off = bytes[..cut].to_vec();
                cut_off.resize(cut + zeros, 0);
                let (sequences, counts) = read(&cut_off, 50);
                assert_eq!(sequences.len(), whole, "cut at {cut}");
                assert_eq!(counts.torn, u64::from(torn > 0), "cut at {cut}");
                assert!(counts.torn_bytes <= torn as u64 && !counts.has_damage());
            }
        }
    }

    #[test]
    fn any_bit_flipped_costs_its_own_record_and_nothing_else() {
        let bytes = segment(3, 100);
        let len = record(0, 0).len();
        for bit in 0..(bytes.len() - 100) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let hit = (bit / 8)
                .checked_sub(segment::HEADER_BYTES)
                .map(|at| (at / len) as u64);
            let (sequences, counts) = read(&bad, 64);
            let expected: Vec<u64> = (0..3).filter(|sequence| Some(*sequence) != hit).collect();
            assert_eq!(sequences, expected, "bit {bit}");
            assert_eq!(
                counts.headers_damaged,
                u64::from(hit.is_none()),
                "bit {bit}"
            );
            assert_eq!(
                counts.damaged,
                u64::from(matches!(hit, Some(0 | 1))),
                "bit {bit}"
            );
            assert_eq!(counts.torn, u64::from(hit == Some(2)), "bit {bit}");
        }
    }

    #[test]
    fn a_bit_flipped_in_the_zeros_is_a_torn_byte() {
        let mut bytes = segment(1, 100);
        let at = bytes.len() - 50;
        bytes[at] = 1;
        let (sequences, counts) = read(&bytes, 30);
        assert_eq!(
            (sequences.len(), counts.torn, counts.torn_bytes),
            (1, 1, 51)
        );
    }

    /// Pages that never reached the disk, with later ones that did.
    #[test]
    fn a_hole_is_counted_by_the_records_that_are_missing() {
        let mut bytes = segment(6, 40);
        let len = record(0, 0).len();
        bytes[segment::HEADER_BYTES + len..][..3 * len].fill(0);
        for chunk in 1..bytes.len() {
            let (sequences, counts) = read(&bytes, chunk);
            assert_eq!(sequences, [0, 4, 5], "chunks of {chunk}");
            let damaged = (counts.damaged, counts.damaged_bytes);
            assert_eq!(damaged, (3, 3 * len as u64));
        }
    }

    #[test]
    fn records_of_another_segment_are_not_delivered() {
        let mut bytes = segment(1, 0);
        let other = SegmentId { sequence: 1, ..ID };
        bytes.extend(record(1, other.salt()));
        let (sequences, counts) = read(&bytes, 64);
        assert_eq!((sequences, counts.torn), (vec![0], 1));
    }

    #[test]
    fn a_segment_of_another_version_or_with_anothers_name_is_left_alone() {
        let mut bytes = segment(3, 0);
        bytes[8] += 1;
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        let (sequences, counts) = read(&bytes, 64);
        assert_eq!((sequences.len(), counts.strangers), (0, 1));
        let mut bytes = segment(3, 0);
        let other = SegmentId { sequence: 1, ..ID };
        bytes[..segment::HEADER_BYTES].copy_from_slice(&other.header());
        let (sequences, counts) = read(&bytes, 64);
        assert_eq!((sequences.len(), counts.strangers), (0, 1));
    }

    /// Every place looks like a record: each costs one small checksum, and the window stays small.
    #[test]
    fn a_segment_full_of_magic_is_read_in_linear_time_and_bounded_memory() {
        let mut bytes = ID.header().to_vec();
        bytes.extend(record::MAGIC.iter().cycle().take(4 << 20));
        bytes.extend(record(7, ID.salt()));
        let mut reader = Reader::new(ID);
        let mut found = 0;
        let mut chunks = bytes.chunks(4096);
        loop {
            match reader.advance() {
                Next::Record => found += 1,
                Next::More => match chunks.next() {
                    Some(chunk) => reader.push(chunk),
                    None => reader.end_of_file(),
                },
                Next::End => break,
            }
            assert!(reader.window.len() <= record::RECORD_BYTES_MAX + 4096);
        }
        assert_eq!((found, reader.counts().damaged), (1, 1));
    }
}
