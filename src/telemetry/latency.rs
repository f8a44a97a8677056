//! How long each stage takes, in bounded histograms: 20 KiB a stage whatever is recorded.
//!
//! May assume: the caller has both clock readings already; nothing here reads a clock.

use hdrhistogram::Histogram;

use super::Merge;

/// A minute: twice the longest deadline a request has by default. What takes longer counts as this long.
const LONGEST_MICROSECONDS: u64 = 60_000_000;

/// Two digits: a bucket is at most 1 % wide, finer than any bound in [`BOUNDS_MICROSECONDS`] needs.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The buckets shown to Prometheus, from a mesh hop to a request's deadline; finer above a
/// second, where a delivery is with the usual redo window.
pub const BOUNDS_MICROSECONDS: [u64; 19] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 1_500_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Last byte of a request read → its answer handed to the socket.
    Request,
    /// A metric the table does not know → the last store's reply.
    Lookup,
    /// A group sent to another shard → its verdict back here.
    Owner,
    /// A frame's first point accepted → the frame counted as delivered.
    Delivery,
    /// A journal write begun → written, and synced where that is asked for.
    Commit,
    /// When a shard's sweep was due → when it ran.
    Sweep,
}

impl Stage {
    pub const ALL: [Stage; 6] = [
        Stage::Request,
        Stage::Lookup,
        Stage::Owner,
        Stage::Delivery,
        Stage::Commit,
        Stage::Sweep,
    ];
}

/// Values below this have a count of their own; above, each doubling has half as many, twice as wide each time.
const EXACT: u64 = 256;
const EXACT_BITS: u32 = EXACT.ilog2();
const COUNTS: usize = count_of(LONGEST_MICROSECONDS) + 1;

/// Where a value is counted: in the place that the histogram with [`SIGNIFICANT_DIGITS`] has for it, found without a
/// look at its settings.
const fn count_of(microseconds: u64) -> usize {
    let doublings = (microseconds | (EXACT - 1)).ilog2() + 1 - EXACT_BITS;
    (doublings as usize * EXACT as usize / 2) + (microseconds >> doublings) as usize
}

/// The least value that is counted there.
const fn value_of(count: usize) -> u64 {
    let doublings = (count as u64 / (EXACT / 2)).saturating_sub(1);
    (count as u64 - doublings * (EXACT / 2)) << doublings
}

/// Counted here, several times a request; read as a histogram, now and then.
#[derive(Clone, Debug)]
pub struct Timing {
    counts: Box<[u64; COUNTS]>,
    /// Exact, where the histogram's own sum is off by its bucket width.
    sum_microseconds: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            counts: Box::new([0; COUNTS]),
            sum_microseconds: 0,
        }
    }
}

impl Timing {
    #[inline]
    fn record(&mut self, microseconds: u64) {
        self.counts[count_of(microseconds.min(LONGEST_MICROSECONDS))] += 1;
        self.sum_microseconds = self.sum_microseconds.saturating_add(microseconds);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_seconds(&self) -> f64 {
        self.sum_microseconds as f64 / 1e6
    }

    fn histogram(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, SIGNIFICANT_DIGITS)
            .expect("the constants are within the histogram's rules");
        for (count, times) in self.counts.iter().enumerate() {
            if *times > 0 {
                histogram.saturating_record_n(value_of(count), *times);
            }
        }
        histogram
    }

    /// For a report of percentiles; 0 when nothing was recorded.
    pub fn quantile_microseconds(&self, quantile: f64) -> u64 {
        self.histogram().value_at_quantile(quantile)
    }

    /// How many took at most each bound, to the histogram's 1 %.
    pub fn at_most(&self) -> [u64; BOUNDS_MICROSECONDS.len()] {
        let mut counts = [0; BOUNDS_MICROSECONDS.len()];
        for (count, times) in self.counts.iter().enumerate() {
            // The bucket's lowest value: a bound falls inside a bucket only where buckets are wide,
            // and a value recorded exactly at it belongs below.
            let value = value_of(count);
            let first = BOUNDS_MICROSECONDS.partition_point(|bound| *bound < value);
            for count in &mut counts[first..] {
                *count += times;
            }
        }
        counts
    }
}

impl Merge for Timing {
    fn merge(&mut self, other: &Timing) {
        for (count, other) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += other;
        }
        self.sum_microseconds = self.sum_microseconds.saturating_add(other.sum_microseconds);
    }
}

/// One histogram per stage.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    stages: [Timing; Stage::ALL.len()],
}

impl Latency {
    #[inline]
    pub fn record(&mut self, stage: Stage, microseconds: u64) {
        self.stages[stage as usize].record(microseconds);
    }

    pub fn of(&self, stage: Stage) -> &Timing {
        &self.stages[stage as usize]
    }
}

impl Merge for Latency {
    fn merge(&mut self, other: &Latency) {
        self.stages.merge(&other.stages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The histogram is the judge of which values count as one.
        #[test]
        fn a_value_is_counted_where_the_histogram_counts_it(bits in 0u32..64, whole: u64) {
            let microseconds = whole >> bits;
            // A histogram's bound is the end of a bucket, a little beyond the longest that is told.
            let counted = microseconds.min(LONGEST_MICROSECONDS);
            let mut histogram = Timing::default().histogram();
            histogram.saturating_record(counted);
            let lowest = histogram.lowest_equivalent(counted);
            prop_assert_eq!(value_of(count_of(counted)), lowest);
            let mut timing = Timing::default();
            timing.record(microseconds);
            prop_assert_eq!(timing.count(), 1);
            for quantile in [0.0, 0.5, 1.0] {
                let expected = histogram.value_at_quantile(quantile);
                prop_assert_eq!(timing.quantile_microseconds(quantile), expected);
            }
        }
    }

    #[test]
    fn two_shards_add_up_and_a_bound_counts_what_is_exactly_at_it() {
        let mut a = Latency::default();
        let mut b = Latency::default();
        for bound in BOUNDS_MICROSECONDS {
            a.record(Stage::Request, bound);
        }
        b.record(Stage::Request, 0);
        b.record(Stage::Request, 3_600_000_000);
        b.record(Stage::Lookup, 7);
        a.merge(&b);
        let request = a.of(Stage::Request);
        let all = BOUNDS_MICROSECONDS.len() as u64;
        let expected: Vec<u64> = (2..all + 2).collect();
        assert_eq!(request.at_most().to_vec(), expected);
        assert_eq!(request.count(), all + 2);
        let sum: u64 = BOUNDS_MICROSECONDS.iter().sum();
        assert_eq!(request.sum_seconds(), (sum + 3_600_000_000) as f64 / 1e6);
        assert_eq!(a.of(Stage::Lookup).count(), 1);
        assert_eq!(a.of(Stage::Owner).count(), 0);
    }

    #[test]
    fn what_takes_longer_than_the_longest_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record(Stage::Delivery, u64::MAX);
        let slowest = latency.of(Stage::Delivery).quantile_microseconds(1.0);
        let off = slowest.abs_diff(LONGEST_MICROSECONDS) as f64;
        assert!(off / (LONGEST_MICROSECONDS as f64) < 0.2, "{slowest}");
    }
}
