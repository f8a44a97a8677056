//! Every metric, in one table by rooms: its name, kind, labels, help, and where its value is read. What is not
//! here is not shown; what is here must be explained in `docs/operating.md` (the tidy test looks).

mod journal;
mod marks;
mod outputs;
mod points;
mod populate;
mod process;
mod requests;

use super::latency::Stage;
use super::{Process, Snapshot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Takes the label values of one series, and its value.
pub type Put<'a> = &'a mut dyn FnMut(&[&str], u64);

pub enum Read {
    /// One series, summed over shards.
    Sum(fn(&Snapshot) -> u64),
    /// One series a shard, under the label `shard`.
    PerShard(fn(&Snapshot) -> u64),
    /// Several series, summed over shards.
    Family(fn(&Snapshot, &Process, Put<'_>)),
    Latency(Stage),
}

pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
    pub read: Read,
}

/// In the order in which they are shown.
static ROOMS: [&[Metric]; 7] = [
    points::METRICS,
    requests::METRICS,
    marks::METRICS,
    outputs::METRICS,
    journal::METRICS,
    populate::METRICS,
    process::METRICS,
];

pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    ROOMS.into_iter().flatten()
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Metric {
    metric(name, Kind::Counter, &[], help, Read::Sum(read))
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Metric {
    metric(name, Kind::Gauge, &[], help, Read::Sum(read))
}

const fn shard_counter(
    name: &'static str,
    help: &'static str,
    read: fn(&Snapshot) -> u64,
) -> Metric {
    metric(name, Kind::Counter, &["shard"], help, Read::PerShard(read))
}

const fn shard_gauge(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Metric {
    metric(name, Kind::Gauge, &["shard"], help, Read::PerShard(read))
}

/// A counter with labels.
const fn family(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Snapshot, &Process, Put<'_>),
) -> Metric {
    metric(name, Kind::Counter, labels, help, Read::Family(read))
}

const fn histogram(name: &'static str, help: &'static str, stage: Stage) -> Metric {
    metric(name, Kind::Histogram, &[], help, Read::Latency(stage))
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
        read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_say_their_kind() {
        let mut seen = HashSet::new();
        for metric in metrics() {
            let name = metric.name;
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(
                metric.kind == Kind::Counter,
                name.ends_with("_total"),
                "{name}"
            );
            if metric.kind == Kind::Histogram {
                assert!(name.ends_with("_seconds"), "{name}");
            }
            assert!(
                metric.help.ends_with('.') && metric.help.is_ascii(),
                "{name}"
            );
        }
    }
}
