//! Points of any resolution → one point for each bin of `resample_seconds`: the mean, at the bin's start.
//! Whole seconds of UTC only: no time zone can matter.

use std::collections::HashMap;

use super::parse::Raw;

/// How many of the newest points tell a metric's resolution. Skyline's.
const RESOLUTION_POINTS: usize = 30;

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Only bins newer than this. A bin at the mark was sent when its minute was over, or is a live point's:
    /// the rest of its points would replace a whole mean by a part of it.
    pub mark: Option<u32>,
    /// When the first URL was asked. What was not over then may be incomplete.
    pub asked: u32,
    pub resample_seconds: u32,
    pub submit_current_minute: bool,
}

impl Rules {
    /// Points at or after this are left out.
    pub fn end(&self) -> Option<u32> {
        let start_of = |seconds: u32| self.asked - self.asked % seconds;
        let end = start_of(60).min(start_of(self.resample_seconds));
        (!self.submit_current_minute).then_some(end)
    }

    fn bin(&self, timestamp: u32) -> u32 {
        timestamp - timestamp % self.resample_seconds
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resampled {
    /// In ascending order, none empty.
    pub bins: Vec<Raw>,
    /// Seconds between the newest points, most of them: `vista.last.resolution.<metric>`.
    pub resolution: Option<u32>,
}

/// Sorts the points and takes their means. A point that came from two URLs counts twice, as in Skyline: it
/// has the same value in both, or nobody knows which is right.
pub fn resample(mut points: Vec<Raw>, rules: &Rules) -> Resampled {
    points.retain(|(timestamp, _)| {
        rules.mark.is_none_or(|mark| rules.bin(*timestamp) > mark)
            && rules.end().is_none_or(|end| *timestamp < end)
    });
    // By value too, so that the order of the URLs, which is arbitrary, does not show in a sum's last bit.
    points.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let bin = |a: &Raw, b: &Raw| rules.bin(a.0) == rules.bin(b.0);
    Resampled {
        bins: points
            .chunk_by(bin)
            .map(|bin| (rules.bin(bin[0].0), mean(bin)))
            .collect(),
        resolution: resolution(&points),
    }
}

/// With the rounding errors of the sum added up apart (Neumaier), as pandas does nearly.
fn mean(bin: &[Raw]) -> f64 {
    let count = bin.len() as f64;
    let total = |scale: f64| {
        let (mut sum, mut lost) = (0.0f64, 0.0f64);
        for value in bin.iter().map(|(_, value)| value * scale) {
            let next = sum + value;
            lost += if sum.abs() >= value.abs() {
                (sum - next) + value
            } else {
                (value - next) + sum
            };
            sum = next;
        }
        sum + lost
    };
    if let [(_, only)] = bin {
        return *only;
    }
    let mean = total(1.0) / count;
    if mean.is_finite() {
        return mean;
    }
    // The values are finite and so is their mean; only the sum was not.
    total(1.0 / count)
}

/// The most common gap of the last points, in order; of equally common ones the first seen, and none when it is 0.
fn resolution(points: &[Raw]) -> Option<u32> {
    let last = &points[points.len().saturating_sub(RESOLUTION_POINTS)..];
    let mut seen: HashMap<u32, (usize, usize)> = HashMap::new();
    for (place, pair) in last.windows(2).enumerate() {
        let entry = seen.entry(pair[1].0 - pair[0].0).or_insert((0, place));
        entry.0 += 1;
    }
    let most = seen
        .into_iter()
        .max_by_key(|(_, (count, place))| (*count, usize::MAX - *place));
    most.map(|(gap, _)| gap).filter(|gap| *gap > 0)
}

#[cfg(test)]
#[path = "tests/resample.rs"]
mod tests;
