//! How long a shard may do one thing while others wait: long work is made of pieces, and goes aside between some of them.

use super::clock::Clock;
use std::time::Duration;

/// What a request may have to wait for besides other requests: about what a batch of points takes.
const STEP_US: u64 = 50;
/// A request needs a few turns of the executor until it is answered. It should not meet a step in each of them.
const ASIDE: Duration = Duration::from_micros(200);
/// A shard with more to do than it can comes back late. With steps of always the same length long work would get less done
/// than comes in; so it may take half of what the others took.
const PART_OF_THE_OTHERS: u64 = 2;

pub struct Pace<'c> {
    clock: &'c Clock,
    step_ends_us: u64,
}

impl<'c> Pace<'c> {
    pub fn new(clock: &'c Clock) -> Pace<'c> {
        Pace {
            clock,
            step_ends_us: clock.now().us + STEP_US,
        }
    }

    /// After each piece: everything else has its turn if this step has had its time.
    pub async fn piece_done(&mut self) {
        let left_us = self.clock.now().us;
        if left_us < self.step_ends_us {
            return;
        }
        glommio::timer::sleep(ASIDE).await;
        let back_us = self.clock.now().us;
        let late_us = (back_us - left_us).saturating_sub(ASIDE.as_micros() as u64);
        self.step_ends_us = back_us + STEP_US.max(late_us / PART_OF_THE_OTHERS);
    }
}
