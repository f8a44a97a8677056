//! The names of a minute, each once, on their way into a set or hash in Redis that other programs of Skyline
//! look at. Best effort: what does not fit, or could not be written within its minute, is left out and counted.

use crate::point::NameHash;
use std::collections::{HashSet, VecDeque};

/// Skyline's: the set starts anew each minute.
pub const MINUTE_SECONDS: u32 = 60;

#[derive(Debug)]
pub struct Names {
    names_max: usize,
    minute: u32,
    seen: HashSet<NameHash>,
    waiting: VecDeque<String>,
    pub dropped: u64,
}

impl Names {
    /// At most `names_max` names a minute.
    pub fn new(names_max: usize) -> Names {
        Names {
            names_max,
            minute: 0,
            seen: HashSet::new(),
            waiting: VecDeque::new(),
            dropped: 0,
        }
    }

    pub fn push(&mut self, hash: NameHash, name: &str) {
        if self.seen.contains(&hash) {
            return;
        }
        if self.seen.len() >= self.names_max {
            self.dropped += 1;
            return;
        }
        self.seen.insert(hash);
        self.waiting.push_back(name.to_owned());
    }

    pub fn tick(&mut self, unix_seconds: u32) {
        let minute = unix_seconds / MINUTE_SECONDS;
        if minute != self.minute {
            self.minute = minute;
            self.seen.clear();
            // Those of the minute that just ended may still be written; older ones make room.
            let surplus = self.waiting.len().saturating_sub(self.names_max);
            self.waiting.drain(..surplus);
            self.dropped += surplus as u64;
        }
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next names, at most so many.
    pub fn take(&mut self, count_max: usize) -> Vec<String> {
        let taken = self.waiting.len().min(count_max);
        self.waiting.drain(..taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_a_minute_and_there_are_never_more_than_two_minutes_of_them() {
        let mut names = Names::new(2);
        names.tick(60);
        for (hash, name) in [(1, "a"), (2, "b"), (1, "a"), (3, "c")] {
            names.push(hash, name);
        }
        assert_eq!(names.dropped, 1, "c");
        assert_eq!(names.take(1), ["a"]);
        names.tick(119);
        names.push(1, "a");
        assert_eq!(names.take(9), ["b"]);
        for minute in 2..5 {
            names.tick(minute * 60);
            for (hash, name) in [(1, "a"), (2, "b")] {
                names.push(hash, name);
            }
            assert!(names.waiting.len() <= 4);
        }
        assert_eq!(names.take(9), ["a", "b", "a", "b"]);
        assert_eq!(names.dropped, 3);
        assert!(!names.is_waiting());
    }
}
