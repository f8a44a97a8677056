//! A segment's name and header: which run of the program wrote it, which shard, and where it stands among
//! that shard's segments.

use super::record;

/// Before the first record.
pub const HEADER_BYTES: usize = 36;
/// Unlinking and closing a dirty file stalls its closer in proportion to its size: 0.9 ms at this one.
pub const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Small enough for tests; a quarter of it still holds the longest point.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

const MAGIC: [u8; 8] = *b"fluxjrnl";
/// Of the header, the records and the points in them.
pub const VERSION: u32 = 1;
const SUFFIX: &str = ".journal";

/// In the order of replay: an older run first, and in each shard the older segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// Milliseconds since 1970 at the start of the run; see [`next_run`].
    pub run: u64,
    pub shard: u16,
    /// Rising from 0 in each run and shard.
    pub sequence: u64,
}

/// The run that starts now: newer than everything on disk even when the clock has gone back.
pub fn next_run(now_unix_ms: u64, found: impl Iterator<Item = u64>) -> u64 {
    found.fold(now_unix_ms, |run, found| run.max(found.saturating_add(1)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    Ours(SegmentId),
    /// Intact, of a version this program does not know: nothing in it may be touched.
    Version(u32),
    Damaged,
}

impl SegmentId {
    /// Sorts as the ids do.
    pub fn file_name(&self) -> String {
        let SegmentId {
            run,
            shard,
            sequence,
        } = self;
        format!("{run:015}-{shard:05}-{sequence:010}{SUFFIX}")
    }

    /// Only what [`SegmentId::file_name`] writes: a file has one name.
    pub fn parse(file_name: &str) -> Option<SegmentId> {
        let mut fields = file_name.strip_suffix(SUFFIX)?.split('-');
        let id = SegmentId {
            run: fields.next()?.parse().ok()?,
            shard: fields.next()?.parse().ok()?,
            sequence: fields.next()?.parse().ok()?,
        };
        (id.file_name() == file_name).then_some(id)
    }

    /// What ties a record to its segment: a checksum that was right elsewhere is wrong here.
    pub fn salt(&self) -> u32 {
        crc32c::crc32c(&self.bytes())
    }

    fn bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&u32::from(self.shard).to_le_bytes());
        bytes[4..12].copy_from_slice(&self.run.to_le_bytes());
        bytes[12..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    /// Little-endian: magic 8, version 4, shard 4, run 8, sequence 8, CRC-32C of these 4.
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..32].copy_from_slice(&self.bytes());
        let crc = crc32c::crc32c(&header[..32]);
        header[32..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    pub fn read_header(header: &[u8; HEADER_BYTES]) -> Header {
        if header[..8] != MAGIC || record::u32_at(header, 32) != crc32c::crc32c(&header[..32]) {
            return Header::Damaged;
        }
        match (
            record::u32_at(header, 8),
            u16::try_from(record::u32_at(header, 12)),
        ) {
            (VERSION, Ok(shard)) => Header::Ours(SegmentId {
                run: record::u64_at(header, 16),
                shard,
                sequence: record::u64_at(header, 24),
            }),
            (version, _) => Header::Version(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SegmentId = SegmentId {
        run: 1_478_021_700_123,
        shard: 3,
        sequence: 12,
    };

    #[test]
    fn a_name_is_read_only_as_it_was_written_and_names_sort_as_ids_do() {
        assert_eq!(ID.file_name(), "001478021700123-00003-0000000012.journal");
        assert_eq!(SegmentId::parse(&ID.file_name()), Some(ID));
        for other in [
            "1478021700123-3-12.journal",
            "001478021700123-00003-0000000012.journal.damaged",
            "001478021700123-00003-0000000012-1.journal",
            "+01478021700123-00003-0000000012.journal",
            "001478021700123-00003.journal",
            "001478021700123-99999-0000000012.journal",
            "",
        ] {
            assert_eq!(SegmentId::parse(other), None, "{other}");
        }
        let later = [(2, 0, 0), (1, 1, 0), (1, 0, 1)].map(|(run, shard, sequence)| SegmentId {
            run,
            shard,
            sequence,
        });
        let first = SegmentId {
            run: 1,
            shard: 0,
            sequence: 0,
        };
        for id in later {
            assert!(first < id && first.file_name() < id.file_name());
        }
    }

    #[test]
    fn a_header_with_any_bit_flipped_is_damaged_and_another_version_is_recognised() {
        let header = ID.header();
        assert_eq!(SegmentId::read_header(&header), Header::Ours(ID));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = header;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentId::read_header(&bad), Header::Damaged, "bit {bit}");
        }
        let mut newer = header;
        newer[8] = 2;
        let crc = crc32c::crc32c(&newer[..32]);
        newer[32..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentId::read_header(&newer), Header::Version(2));
    }

    #[test]
    fn a_run_is_newer_than_all_before_it_even_when_the_clock_went_back() {
        assert_eq!(next_run(1000, [3, 999].into_iter()), 1000);
        assert_eq!(next_run(1000, [3, 1000].into_iter()), 1001);
        assert_eq!(next_run(0, [5, 1].into_iter()), 6);
    }
}
