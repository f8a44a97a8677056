//! Up to where a shard's records are delivered, as bytes for the next start. An older cursor costs repeats
//! and nothing else, so it is never synced; one that cannot be right is ignored and counted.
//!
//! The file has two slots, written in turn: a torn write leaves the other one.

use super::record::{u32_at, u64_at};

/// A sector each: a torn write cannot reach the neighbour.
pub const SLOT_BYTES: usize = 512;
pub const FILE_BYTES: usize = 2 * SLOT_BYTES;
pub const CURSOR_BYTES: usize = 40;
const MAGIC: [u8; 4] = *b"fxcu";
const VERSION: u16 = 1;
const SUFFIX: &str = ".cursor";

/// Records of this run and shard below `record` are delivered, and so are all segments below `segment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub run: u64,
    pub shard: u16,
    pub segment: u64,
    pub record: u64,
}

/// Why a cursor file was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    #[error("neither slot is intact")]
    Damaged,
    #[error("it is of another version")]
    Version,
    #[error("it belongs to another run or shard")]
    Stranger,
    #[error("it is ahead of the segments")]
    Ahead,
}

impl Cursor {
    pub fn file_name(run: u64, shard: u16) -> String {
        format!("{run:015}-{shard:05}{SUFFIX}")
    }

    /// Run and shard of a cursor file's name.
    pub fn parse_name(file_name: &str) -> Option<(u64, u16)> {
        let (run, shard) = file_name.strip_suffix(SUFFIX)?.split_once('-')?;
        let (run, shard) = (run.parse().ok()?, shard.parse().ok()?);
        (Cursor::file_name(run, shard) == file_name).then_some((run, shard))
    }

    /// Little-endian: magic 4, version 2, shard 2, run 8, segment 8, record 8, zeros 4, CRC-32C 4.
    pub fn encode(&self) -> [u8; CURSOR_BYTES] {
        let mut bytes = [0; CURSOR_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.shard.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.run.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.record.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(slot: &[u8]) -> Result<Cursor, Ignored> {
        let bytes = slot.first_chunk::<CURSOR_BYTES>().ok_or(Ignored::Damaged)?;
        if bytes[..4] != MAGIC || u32_at(bytes, 36) != crc32c::crc32c(&bytes[..36]) {
            return Err(Ignored::Damaged);
        }
        if bytes[4..6] != VERSION.to_le_bytes() {
            return Err(Ignored::Version);
        }
        Ok(Cursor {
            run: u64_at(bytes, 8),
            shard: u16::from_le_bytes([bytes[6], bytes[7]]),
            segment: u64_at(bytes, 16),
            record: u64_at(bytes, 24),
        })
    }

    /// The better slot of a file that is named for this run and shard.
    pub fn read(file: &[u8], run: u64, shard: u16) -> Result<Cursor, Ignored> {
        let slots = [file, file.get(SLOT_BYTES..).unwrap_or_default()].map(Cursor::decode);
        let why = match slots {
            [Err(Ignored::Damaged), Err(why)] | [Err(why), _] => why,
            _ => Ignored::Stranger,
        };
        let ours = |cursor: &Cursor| cursor.run == run && cursor.shard == shard;
        slots
            .into_iter()
            .flatten()
            .filter(ours)
            .max_by_key(|cursor| cursor.record)
            .ok_or(why)
    }
}

/// Which slot of its file a cursor goes to next.
#[derive(Debug, Default)]
pub struct Slots {
    second: bool,
    written: Option<Cursor>,
}

impl Slots {
    /// Where to write and what; nothing when the file says it already.
    pub fn next(&mut self, cursor: Cursor) -> Option<(u64, [u8; CURSOR_BYTES])> {
        if self.written == Some(cursor) {
            return None;
        }
        let at = if self.second { SLOT_BYTES as u64 } else { 0 };
        self.second = !self.second;
        self.written = Some(cursor);
        Some((at, cursor.encode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(record: u64) -> Cursor {
        Cursor {
            run: 7,
            shard: 1,
            segment: 2,
            record,
        }
    }

    fn file(records: &[u64]) -> Vec<u8> {
        let mut slots = Slots::default();
        let mut file = vec![0; FILE_BYTES];
        for &record in records {
            let (at, bytes) = slots.next(cursor(record)).unwrap();
            file[at as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert_eq!(slots.next(cursor(records[records.len() - 1])), None);
        file
    }

    #[test]
    fn the_newer_slot_counts_and_a_damaged_one_leaves_the_older() {
        let whole = file(&[10, 20, 30]);
        assert_eq!(Cursor::read(&whole, 7, 1), Ok(cursor(30)));
        for bit in 0..CURSOR_BYTES * 8 {
            let mut bad = whole.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Cursor::read(&bad, 7, 1), Ok(cursor(20)), "bit {bit}");
            bad[SLOT_BYTES] ^= 1;
            assert_eq!(Cursor::read(&bad, 7, 1), Err(Ignored::Damaged));
        }
        for cut in 0..whole.len() {
            let read = Cursor::read(&whole[..cut], 7, 1);
            assert_eq!(read.is_ok(), cut >= CURSOR_BYTES, "cut at {cut}");
        }
    }

    #[test]
    fn a_cursor_of_another_run_shard_or_version_is_ignored() {
        let whole = file(&[10]);
        assert_eq!(Cursor::read(&whole, 8, 1), Err(Ignored::Stranger));
        assert_eq!(Cursor::read(&whole, 7, 0), Err(Ignored::Stranger));
        let mut newer = cursor(10).encode();
        newer[4] = 2;
        let crc = crc32c::crc32c(&newer[..36]);
        newer[36..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Cursor::read(&newer, 7, 1), Err(Ignored::Version));
        let name = Cursor::file_name(7, 1);
        assert_eq!(Cursor::parse_name(&name), Some((7, 1)));
        assert_eq!(Cursor::parse_name("7-1.cursor"), None);
    }
}
