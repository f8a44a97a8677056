//! How fast jobs hand points over: a bound on all of them together, so that a night's worth of history does
//! not fill carbon's queue, and the CPU caches, in one second.

/// Points of one time slice leave together, so that waiting takes few timers.
const SLICE_US: u64 = 20_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Evens out what is handed over to a number of points a second.
#[derive(Debug)]
pub struct Pace {
    points_per_second: u64,
    /// When everything handed over so far is paid for, in nanoseconds: a point may cost less than a microsecond.
    paid_ns: u64,
    /// How often a job had to wait.
    pub waits: u64,
}

impl Pace {
    pub fn new(points_per_second: u32) -> Pace {
        Pace {
            points_per_second: u64::from(points_per_second),
            paid_ns: 0,
            waits: 0,
        }
    }

    /// How long to wait before anything else may be handed over, in microseconds; `None`: not at all.
    pub fn wait_us(&mut self, now_us: u64) -> Option<u64> {
        let wait = (self.paid_ns / 1_000).saturating_sub(now_us);
        if wait <= SLICE_US {
            return None;
        }
        self.waits += 1;
        Some(wait)
    }

    pub fn handed_over(&mut self, points: usize, now_us: u64) {
        let cost_ns = points as u64 * SECOND_NS / self.points_per_second;
        self.paid_ns = self.paid_ns.max(now_us * 1_000) + cost_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    /// Hands over for ten seconds, waiting as it is told and no longer than `nap_us` at a time.
    fn in_ten_seconds(points_per_second: u32, chunk: usize, nap_us: u64) -> u64 {
        let mut pace = Pace::new(points_per_second);
        let (mut now, mut points) = (SECOND_US, 0);
        while now < 11 * SECOND_US {
            match pace.wait_us(now) {
                Some(wait) => now += wait.min(nap_us),
                None => {
                    pace.handed_over(chunk, now);
                    points += chunk as u64;
                }
            }
        }
        points
    }

    #[test]
    fn no_more_leave_than_the_bound_and_hardly_fewer() {
        for (rate, chunk) in [(100_000, 480), (100, 480), (1, 1), (4_000_000, 17)] {
            for nap_us in [1_000, 1_000_000] {
                let points = in_ten_seconds(rate, chunk, nap_us);
                let bound = u64::from(rate) * 10;
                let slice = u64::from(rate) / 50 + 2 * chunk as u64;
                assert!(points <= bound + slice, "{points} of {bound}");
                assert!(points + slice >= bound, "{points} of {bound}");
            }
        }
    }

    #[test]
    fn rest_is_not_saved_up() {
        let mut pace = Pace::new(1_000);
        pace.handed_over(1, 0);
        let later = 3_600 * SECOND_US;
        assert_eq!(pace.wait_us(later), None);
        pace.handed_over(1_000, later);
        assert_eq!(pace.wait_us(later), Some(SECOND_US));
        assert_eq!(pace.waits, 1);
    }
}
