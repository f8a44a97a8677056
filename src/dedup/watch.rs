//! What populate wants to know of an owner's metrics: from where a history is missing, and the first live
//! timestamp that was accepted since a job was. Empty while no job is under way, and then it costs nothing.

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
}

#[derive(Debug, Default)]
pub struct Watch {
    metrics: HashMap<NameHash, Watched>,
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
        let watched = self.metrics.entry(hash).or_insert_with(|| Watched {
            metric: metric.to_owned(),
            jobs: 0,
            first_live: None,
        });
        watched.jobs += 1;
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
        for token in self.asked.remove(&hash).unwrap_or_default() {
            self.answer(token, mark);
        }
    }

    pub fn all_asked(&self) -> Vec<NameHash> {
        self.asked.keys().copied().collect()
    }

    /// A live point was accepted.
    pub fn accepted(&mut self, hash: NameHash, timestamp: u32) {
        let Some(watched) = self.metrics.get_mut(&hash) else {
            return;
        };
        if watched.first_live.is_none_or(|first| timestamp < first) {
            watched.first_live = Some(timestamp);
            self.lives.push((watched.metric.clone(), timestamp));
        }
    }

    pub fn first_live(&self, hash: NameHash) -> Option<u32> {
        self.metrics.get(&hash)?.first_live
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
