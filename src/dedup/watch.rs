//! What populate wants to know of an owner's metrics: from where a history is missing, and the first live
//! timestamp that was accepted since each job was. Empty while no job is under way, and then it costs nothing; else a bit
//! is looked at for each point.

use super::sieve::Sieve;
use crate::point::NameHash;
use std::collections::{BTreeMap, HashMap};

/// The answer to [`Owner::watch`](super::Owner::watch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whose question it was.
    pub token: u64,
    /// The newest timestamp that the table or the last store knows.
    pub mark: Option<u32>,
}

#[derive(Debug)]
struct Watched {
    metric: String,
    jobs: u32,
    first_live: Option<u32>,
    /// A job has begun since: the next live point is the first one to it.
    fresh: bool,
}

#[derive(Debug, Default)]
pub struct Watch {
    metrics: HashMap<NameHash, Watched>,
    /// Every accepted point is asked about while a job is under way, and hardly any is of a job's metric.
    sieve: Sieve,
    /// Questions that wait for a look-up, in the order of the hashes: nothing depends on a random order.
    asked: BTreeMap<NameHash, Vec<u64>>,
    starts: Vec<Start>,
    lives: Vec<(String, u32)>,
}

impl Watch {
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    pub fn begin(&mut self, hash: NameHash, metric: &str) {
        if self.sieve.is_stale(self.metrics.len()) {
            self.sieve = Sieve::default();
            self.metrics.keys().for_each(|hash| self.sieve.hold(*hash));
        }
        self.sieve.hold(hash);
        let watched = self.metrics.entry(hash).or_insert_with(|| Watched {
            metric: metric.to_owned(),
            jobs: 0,
            first_live: None,
            fresh: true,
        });
        watched.jobs += 1;
        watched.fresh = true;
    }

    pub fn end(&mut self, hash: NameHash) {
        if let Some(watched) = self.metrics.get_mut(&hash) {
            watched.jobs -= 1;
            if watched.jobs == 0 {
                self.metrics.remove(&hash);
            }
        }
    }

    pub fn asks(&mut self, hash: NameHash, token: u64) {
        self.asked.entry(hash).or_default().push(token);
    }

    pub fn is_asked(&self, hash: NameHash) -> bool {
        self.asked.contains_key(&hash)
    }

    pub fn answer(&mut self, token: u64, mark: Option<u32>) {
        self.starts.push(Start { token, mark });
    }

    /// The look-up of a metric is over.
    pub fn found(&mut self, hash: NameHash, mark: Option<u32>) {
        // What was told before the answer found no job yet; the mark covers it.
        if let Some(watched) = self.metrics.get_mut(&hash) {
            watched.fresh = true;
        }
        for token in self.asked.remove(&hash).unwrap_or_default() {
            self.answer(token, mark);
        }
    }

    pub fn all_asked(&self) -> Vec<NameHash> {
        self.asked.keys().copied().collect()
    }

    /// A live point was accepted. It is told where it is the first one to some job of its metric, or the
    /// earliest one; which jobs that concerns, the populate core knows by what it has heard before.
    pub fn accepted(&mut self, hash: NameHash, timestamp: u32) {
        if !self.sieve.may_hold(hash) {
            return;
        }
        let Some(watched) = self.metrics.get_mut(&hash) else {
            return;
        };
        let fresh = std::mem::take(&mut watched.fresh);
        if fresh || watched.first_live.is_none_or(|first| timestamp < first) {
            let earliest = watched.first_live.unwrap_or(timestamp);
            watched.first_live = Some(earliest.min(timestamp));
            self.lives.push((watched.metric.clone(), timestamp));
        }
    }

    pub fn take_starts(&mut self) -> Vec<Start> {
        std::mem::take(&mut self.starts)
    }

    /// Metrics whose first live timestamp has become known.
    pub fn take_lives(&mut self) -> Vec<(String, u32)> {
        std::mem::take(&mut self.lives)
    }

    pub fn has_news(&self) -> bool {
        !self.starts.is_empty() || !self.lives.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: NameHash = 7;

    fn told(watch: &mut Watch, timestamp: u32) -> bool {
        watch.accepted(HASH, timestamp);
        !watch.take_lives().is_empty()
    }

    #[test]
    fn the_first_live_point_after_each_jobs_begin_is_told() {
        let mut watch = Watch::default();
        assert!(!told(&mut watch, 1), "nobody wants to know");
        watch.begin(HASH, "a");
        assert!(told(&mut watch, 100));
        assert!(!told(&mut watch, 101));
        assert!(told(&mut watch, 99), "earlier than the first");
        watch.begin(HASH, "a");
        assert!(told(&mut watch, 102), "the first one to the second job");
        assert!(!told(&mut watch, 103));
        watch.asks(HASH, 1);
        watch.begin(HASH, "a");
        assert!(
            told(&mut watch, 104),
            "before the third job's mark is known"
        );
        watch.found(HASH, Some(104));
        assert!(told(&mut watch, 105), "and after it");
        for _ in 0..3 {
            watch.end(HASH);
        }
        assert!(watch.is_empty());
    }
}
