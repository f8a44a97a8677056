//! How much the journal can hold, and so how large a shard's admission budget may be for it never to be full
//! before that. The journal's own tests hold these numbers to its format.

use super::Config;

/// Of one segment: its header, and what is left at its end because the longest record did not fit; a record is
/// a quarter of a small segment at most.
const SEGMENT_HEADER_BYTES: u64 = 36;
const RECORD_BYTES_MAX: u64 = 28 + 256 * 1024;
/// Beside the segments that hold nothing but what is needed: the oldest is partly delivered, the newest
/// partly written, one is ahead, one is being deleted.
const SEGMENTS_BESIDE: u64 = 4;
/// Bytes of the journal for one of a frame, at the most: a name of one character, alone in its record,
/// against its line.
const JOURNAL_PER_FRAME_BYTES: u64 = 4;
/// `cpu.shards = "auto"` makes no more.
const SHARDS_AUTO_MAX: u64 = 8;

/// How large a shard's admission budget may be: what its part of `journal.bytes_max` holds, less what
/// segments waste and what is kept for a redo. 0: the limits are too small.
pub fn budget_bytes_max(shard_bytes_max: u64, segment_bytes: u64, redo_bytes: u64) -> u64 {
    let record_bytes_max = RECORD_BYTES_MAX.min(segment_bytes / 4);
    let usable = segment_bytes - SEGMENT_HEADER_BYTES - record_bytes_max;
    (shard_bytes_max / segment_bytes)
        .saturating_sub(SEGMENTS_BESIDE)
        .saturating_mul(usable)
        .saturating_sub(redo_bytes.saturating_mul(JOURNAL_PER_FRAME_BYTES))
}

impl Config {
    /// The admission budget of each shard: `points.in_flight_bytes_max`, or what the journal can hold of it.
    /// With durability "memory" too: an orderly stop writes the backlog there.
    pub fn budget_bytes(&self, shards: usize) -> usize {
        let journal = budget_bytes_max(
            self.journal.bytes_max / shards as u64,
            self.journal.segment_bytes,
            self.carbon.redo_bytes as u64,
        );
        let journal = usize::try_from(journal).unwrap_or(usize::MAX);
        self.points.in_flight_bytes_max.min(journal)
    }

    /// Shards before the CPUs were counted: as many as there may be.
    pub fn shards_max(&self) -> usize {
        self.cpu
            .shards
            .map_or(SHARDS_AUTO_MAX as usize, |shards| shards as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_budget_admits_fits_in_the_journal() {
        let mib = 1 << 20;
        let budget = budget_bytes_max(256 * mib, 16 * mib, 4 * mib);
        assert!((160 * mib..180 * mib).contains(&budget), "{budget}");
        assert_eq!(budget_bytes_max(64 * mib, 16 * mib, 0), 0);
        assert_eq!(budget_bytes_max(u64::MAX, 16 * mib, u64::MAX), 0);
    }

    #[test]
    fn the_default_journal_holds_the_default_budget_of_the_most_shards() {
        let config = Config::default();
        assert_eq!(config.budget_bytes(8), config.points.in_flight_bytes_max);
        assert!(config.budget_bytes(32) < config.points.in_flight_bytes_max);
    }
}
