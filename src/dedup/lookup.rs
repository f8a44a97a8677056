//! Metrics being looked up in the last store: one pipelined round trip for a whole batch of misses,
//! and a deadline after which nobody waits any longer.

use crate::last::filter::Known;
use crate::point::NameHash;
use std::collections::VecDeque;

/// Names in one command at the most: a reply of this size is decoded in one go without a stall.
pub const NAMES_PER_LOOKUP_MAX: usize = 1000;

#[derive(Debug)]
struct Batch {
    id: u64,
    deadline_ms: u64,
    hashes: Vec<NameHash>,
}

#[derive(Debug, Default)]
pub struct Lookups {
    deadline_ms: u64,
    waiting: Vec<(NameHash, String)>,
    /// When the oldest of `waiting` gives up.
    waiting_deadline_ms: u64,
    in_flight: VecDeque<Batch>,
    next_id: u64,
    /// What needs no look-up: there is nothing to find.
    pub known: Known,
    pub lookups: u64,
    pub timeouts: u64,
}

impl Lookups {
    pub fn new(deadline_ms: u64) -> Self {
        Lookups {
            deadline_ms,
            ..Lookups::default()
        }
    }

    pub fn want(&mut self, hash: NameHash, name: &str, now_ms: u64) {
        if self.waiting.is_empty() {
            self.waiting_deadline_ms = now_ms + self.deadline_ms;
        }
        self.waiting.push((hash, name.to_owned()));
        self.lookups += 1;
    }

    /// Something is to be sent.
    pub fn waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next batch to send: its id and its names.
    pub fn take(&mut self) -> Option<(u64, Vec<String>)> {
        if self.waiting.is_empty() {
            return None;
        }
        let rest = self.waiting.len().min(NAMES_PER_LOOKUP_MAX);
        let (hashes, names) = self.waiting.drain(..rest).unzip();
        self.next_id += 1;
        self.in_flight.push_back(Batch {
            id: self.next_id,
            deadline_ms: self.waiting_deadline_ms,
            hashes,
        });
        Some((self.next_id, names))
    }

    /// The hashes of an answered batch, in the order of its names; `None` when it was given up before.
    pub fn answered(&mut self, id: u64) -> Option<Vec<NameHash>> {
        let place = self.in_flight.iter().position(|batch| batch.id == id)?;
        self.in_flight.remove(place).map(|batch| batch.hashes)
    }

    /// When the first name of a batch under way was missed.
    pub fn wanted_ms(&self, id: u64) -> Option<u64> {
        let batch = self.in_flight.iter().find(|batch| batch.id == id)?;
        Some(batch.deadline_ms - self.deadline_ms)
    }

    /// Whether something has waited past its deadline (with `slack_ms` until the next look at it).
    pub fn overdue(&self, now_ms: u64, slack_ms: u64) -> bool {
        let waiting = (!self.waiting.is_empty()).then_some(self.waiting_deadline_ms);
        let in_flight = self.in_flight.front().map(|batch| batch.deadline_ms);
        in_flight
            .or(waiting)
            .is_some_and(|deadline_ms| now_ms + slack_ms >= deadline_ms)
    }

    /// Forgets everything under way: the caller decides it without the store.
    pub fn give_up(&mut self) {
        self.timeouts += self.in_flight.len() as u64 + u64::from(!self.waiting.is_empty());
        self.waiting.clear();
        self.in_flight.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_leave_in_bounded_batches_and_replies_find_their_hashes() {
        let mut lookups = Lookups::new(50);
        for i in 0..NAMES_PER_LOOKUP_MAX as u128 + 1 {
            lookups.want(i, &format!("m{i}"), 10);
        }
        let (first, names) = lookups.take().unwrap();
        assert_eq!(names.len(), NAMES_PER_LOOKUP_MAX);
        let (second, names) = lookups.take().unwrap();
        assert_eq!(names, [format!("m{NAMES_PER_LOOKUP_MAX}")]);
        assert!(lookups.take().is_none());
        assert_eq!(
            lookups.answered(second).unwrap(),
            [NAMES_PER_LOOKUP_MAX as u128]
        );
        assert_eq!(lookups.answered(second), None);
        assert_eq!(lookups.answered(first).unwrap().len(), NAMES_PER_LOOKUP_MAX);
    }

    #[test]
    fn the_deadline_runs_from_the_first_miss_whether_or_not_it_was_sent() {
        let mut lookups = Lookups::new(50);
        assert!(!lookups.overdue(u64::MAX / 2, 0));
        lookups.want(1, "a", 100);
        assert!(!lookups.overdue(149, 0));
        assert!(lookups.overdue(145, 5));
        lookups.take();
        lookups.want(2, "b", 140);
        assert!(lookups.overdue(150, 0), "the one in flight is the oldest");
        lookups.give_up();
        assert!(!lookups.overdue(1000, 0));
        assert_eq!(lookups.timeouts, 2);
    }
}
