//! How many different metrics were accepted in an interval, without remembering them: the registers of
//! HyperLogLog (Flajolet and others, 2007), 4 KiB a shard and a few instructions a point. A metric has one
//! owner, so the numbers of all shards add up.

use crate::point::NameHash;

/// 2^12 registers: a standard error of 1.6 %, and a small number comes out exact nearly always.
const INDEX_BITS: u32 = 12;
const REGISTERS: usize = 1 << INDEX_BITS;

#[derive(Debug)]
pub struct Distinct {
    interval_seconds: u32,
    /// The number of the interval under way, counted from 1970. Unknown until the first tick, which may be later than
    /// the first point: that one belongs to it all the same.
    interval: Option<u32>,
    registers: Box<[u8; REGISTERS]>,
    last: u64,
}

impl Distinct {
    pub fn new(interval_seconds: u32) -> Distinct {
        Distinct {
            interval_seconds,
            interval: None,
            registers: Box::new([0; REGISTERS]),
            last: 0,
        }
    }

    #[inline]
    pub fn insert(&mut self, hash: NameHash) {
        // The lower half: the upper one has decided the owner, so here its first bits are all the same.
        let bits = hash as u64;
        let index = (bits >> (64 - INDEX_BITS)) as usize;
        let rank = (bits << INDEX_BITS).leading_zeros().min(64 - INDEX_BITS) as u8 + 1;
        let register = &mut self.registers[index];
        *register = (*register).max(rank);
    }

    pub fn tick(&mut self, unix_seconds: u32) {
        let interval = unix_seconds / self.interval_seconds;
        if self
            .interval
            .replace(interval)
            .is_some_and(|before| before != interval)
        {
            self.last = self.estimate();
            self.registers.fill(0);
        }
    }

    /// Of the last whole interval.
    pub fn of_last_interval(&self) -> u64 {
        self.last
    }

    fn estimate(&self) -> u64 {
        let count = REGISTERS as f64;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count();
        let sum: f64 = self
            .registers
            .iter()
            .map(|rank| 2f64.powi(-i32::from(*rank)))
            .sum();
        let alpha = 0.7213 / (1.0 + 1.079 / count);
        let raw = alpha * count * count / sum;
        // Below this counting the empty registers is the better estimate.
        let estimate = match raw <= 2.5 * count && empty > 0 {
            true => count * (count / empty as f64).ln(),
            false => raw,
        };
        estimate.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::NameHasher;

    #[test]
    fn what_comes_before_the_first_tick_is_of_the_first_interval() {
        let mut distinct = Distinct::new(60);
        distinct.insert(1);
        distinct.tick(119);
        assert_eq!(distinct.of_last_interval(), 0);
        distinct.insert(1 << 60);
        distinct.tick(120);
        assert_eq!(distinct.of_last_interval(), 2);
        distinct.tick(180);
        assert_eq!(distinct.of_last_interval(), 0);
    }

    #[test]
    fn few_are_exact_and_many_within_five_hundredths_however_often_they_come() {
        let hasher = NameHasher::new([7; 16]);
        let mut distinct = Distinct::new(60);
        let mut at = 60;
        for metrics in [0u64, 1, 3, 20, 1000, 9_000, 12_000, 100_000, 1_000_000] {
            distinct.tick(at);
            for repeat in 0..2 {
                for metric in 0..metrics {
                    distinct.insert(hasher.hash(&format!("m.{metric}")));
                }
                distinct.tick(at + 59 * repeat);
            }
            at += 60;
            distinct.tick(at);
            let off = distinct.of_last_interval().abs_diff(metrics);
            let allowed = if metrics <= 20 { 0 } else { metrics / 20 };
            assert!(off <= allowed, "{metrics}: off by {off}");
        }
    }
}
