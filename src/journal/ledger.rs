//! Up to where everything is delivered, from nothing but counts.
//!
//! The outbound takes points in the order they were accepted and gives them up in that order, so a count
//! is enough ([`Ledger`]). A replayed record goes to several owners, each with an order of its own: it is
//! done when all are, and what counts is the run of done ones from the start ([`Progress`]).

use std::collections::VecDeque;

/// Points on their way, oldest first, under tags.
#[derive(Debug)]
pub struct Ledger<T> {
    entries: VecDeque<(T, u32)>,
    points: u64,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Ledger {
            entries: VecDeque::new(),
            points: 0,
        }
    }
}

impl<T: PartialEq> Ledger<T> {
    /// More points; those of one tag come together.
    #[inline]
    pub fn add(&mut self, tag: T, points: u32) {
        self.points += u64::from(points);
        match self.entries.back_mut() {
            Some((last, count)) if *last == tag => *count += points,
            _ => self.entries.push_back((tag, points)),
        }
    }

    /// The outbound will never send the oldest `points` again. Tags that end with them go to `done`.
    pub fn released(&mut self, points: u64, mut done: impl FnMut(T)) {
        debug_assert!(points <= self.points, "released more than there was");
        let mut left = points.min(self.points);
        self.points -= left;
        while let Some((_, count)) = self.entries.front_mut() {
            if u64::from(*count) > left {
                *count -= left as u32;
                break;
            }
            left -= u64::from(*count);
            self.entries
                .pop_front()
                .into_iter()
                .for_each(|(tag, _)| done(tag));
        }
    }

    pub fn oldest(&self) -> Option<&T> {
        self.entries.front().map(|(tag, _)| tag)
    }

    /// Oldest first; one whose points were not all added together stands there more than once.
    pub fn tags(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(tag, _)| tag)
    }

    /// Points on their way.
    pub fn points(&self) -> u64 {
        self.points
    }
}

/// Records handed out for replay, in order, until all owners are done with them.
#[derive(Debug, Default)]
pub struct Progress {
    entries: VecDeque<Entry>,
    /// Records below this are done.
    done: u64,
}

#[derive(Debug)]
struct Entry {
    record: u64,
    /// Owners that still have points of it; a segment's end has none.
    owners: u32,
    ends: Option<u64>,
}

impl Progress {
    pub fn new(done: u64) -> Self {
        Progress {
            entries: VecDeque::new(),
            done,
        }
    }

    /// Records come in rising order.
    pub fn handed(&mut self, record: u64, owners: u32) {
        self.entries.push_back(Entry {
            record,
            owners,
            ends: None,
        });
    }

    /// Everything in this segment has been handed out.
    pub fn ended(&mut self, segment: u64) {
        let record = self.entries.back().map_or(self.done, |last| last.record);
        self.entries.push_back(Entry {
            record,
            owners: 0,
            ends: Some(segment),
        });
    }

    /// One owner will never send its points of the record again.
    pub fn owner_done(&mut self, record: u64) {
        let at = self.entries.partition_point(|entry| entry.record < record);
        let mut rest = self.entries.range_mut(at..);
        let entry = rest.find(|entry| entry.record == record && entry.ends.is_none());
        debug_assert!(
            entry.is_some(),
            "a record that was handed out and is not done"
        );
        if let Some(entry) = entry {
            entry.owners = entry.owners.saturating_sub(1);
        }
    }

    /// Moves over what is done. The next segment that is not needed any more, oldest first.
    pub fn take_ended(&mut self) -> Option<u64> {
        while self.entries.front().is_some_and(|entry| entry.owners == 0) {
            let entry = self.entries.pop_front()?;
            match entry.ends {
                Some(segment) => return Some(segment),
                None => self.done = entry.record + 1,
            }
        }
        None
    }

    /// Records below this are done; moved by [`Progress::take_ended`].
    pub fn done(&self) -> u64 {
        self.done
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records handed out and not done: what bounds a replay's window.
    pub fn outstanding(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.ends.is_none())
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_done_with_its_last_point_and_not_before() {
        let mut ledger = Ledger::default();
        ledger.add('a', 2);
        ledger.add('b', 1);
        ledger.add('b', 1);
        ledger.add('c', 1);
        let mut done = vec![];
        ledger.released(1, |tag| done.push(tag));
        assert_eq!((ledger.oldest(), ledger.points()), (Some(&'a'), 4));
        ledger.released(2, |tag| done.push(tag));
        assert_eq!(done, ['a']);
        assert_eq!((ledger.oldest(), ledger.points()), (Some(&'b'), 2));
        ledger.released(2, |tag| done.push(tag));
        assert_eq!(done, ['a', 'b', 'c']);
        assert_eq!((ledger.oldest(), ledger.points()), (None, 0));
    }

    #[test]
    fn progress_moves_only_over_an_unbroken_run_of_done_records() {
        let mut progress = Progress::new(4);
        progress.handed(5, 2);
        progress.handed(7, 1);
        progress.ended(0);
        progress.handed(8, 1);
        progress.ended(1);
        progress.owner_done(7);
        progress.owner_done(5);
        assert_eq!((progress.take_ended(), progress.done()), (None, 4));
        progress.owner_done(5);
        assert_eq!((progress.take_ended(), progress.done()), (Some(0), 8));
        assert_eq!((progress.take_ended(), progress.outstanding()), (None, 1));
        progress.owner_done(8);
        assert_eq!((progress.take_ended(), progress.done()), (Some(1), 9));
    }

    #[test]
    fn a_segment_without_a_record_ends_in_its_turn() {
        let mut progress = Progress::new(0);
        progress.ended(0);
        assert_eq!(progress.take_ended(), Some(0));
        progress.ended(1);
        progress.handed(0, 1);
        progress.owner_done(0);
        assert_eq!(
            (progress.take_ended(), progress.take_ended()),
            (Some(1), None)
        );
        assert_eq!(progress.done(), 1);
        progress.handed(3, 1);
        progress.ended(1);
        progress.ended(2);
        assert_eq!(progress.take_ended(), None);
        progress.owner_done(3);
        assert_eq!(
            (progress.take_ended(), progress.take_ended()),
            (Some(1), Some(2))
        );
    }
}
