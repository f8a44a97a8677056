//! The program measured by itself: plain counters, the catalog of metrics, latency, logs.
//!
//! Each shard owns its numbers by value and counts with plain additions; a [`Snapshot`] of them is sent
//! to whoever shows them, and added up there. Keys never appear in a number, a label or a line.

pub mod catalog;
pub mod counters;
pub mod latency;
pub mod log;
pub mod page;
pub mod prometheus;
pub mod refused;

use counters::{Counters, Gauges};
use latency::Latency;
use refused::Refusals;

/// A number, or a group of numbers, that can be added up over shards.
pub trait Merge {
    fn merge(&mut self, other: &Self);
}

impl Merge for u64 {
    fn merge(&mut self, other: &u64) {
        *self += other;
    }
}

impl<T: Merge, const N: usize> Merge for [T; N] {
    fn merge(&mut self, other: &[T; N]) {
        for (mine, theirs) in self.iter_mut().zip(other) {
            mine.merge(theirs);
        }
    }
}

impl<T: Merge + Default> Merge for Vec<T> {
    fn merge(&mut self, other: &Vec<T>) {
        if self.len() < other.len() {
            self.resize_with(other.len(), T::default);
        }
        for (mine, theirs) in self.iter_mut().zip(other) {
            mine.merge(theirs);
        }
    }
}

/// What one shard has counted, at one moment; crosses to the thread that shows it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub counters: Counters,
    pub gauges: Gauges,
    pub latency: Latency,
    /// Not added up: whoever shows them asks each shard.
    pub refused: Refusals,
}

impl Merge for Snapshot {
    fn merge(&mut self, other: &Snapshot) {
        self.counters.merge(&other.counters);
        self.gauges.merge(&other.gauges);
        self.latency.merge(&other.latency);
    }
}

/// What is true of the whole process and not of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    pub version: &'static str,
    /// Unix seconds.
    pub started_at_seconds: u64,
    /// The prefixes, all different, in the order of the index in `api::Tally::namespace`.
    pub namespaces: Vec<String>,
    pub reloads: Reloads,
    /// New points are taken: `/readyz` answers 200.
    pub ready: bool,
}

/// How often the configuration was read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    pub ok: u64,
    pub refused: u64,
}

const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Snapshot>();
};
