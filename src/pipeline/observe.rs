//! What a shard has done, as the numbers everybody is shown.

use super::{Now, Pipeline};
use crate::config::Durability;
use crate::telemetry::Snapshot;
use crate::telemetry::counters::{Counters, Gauges};

impl Pipeline {
    /// The pipeline's part of a snapshot; what only the runtime knows (sockets) is 0.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        Snapshot {
            counters: self.counted(),
            gauges: self.gauges(now),
            latency: self.latency.clone(),
            refused: self.refused.clone(),
        }
    }

    /// Each stage counts for itself; here it is put together.
    fn counted(&self) -> Counters {
        let mut counters = self.counters.clone();
        for (place, decided) in self.owner.decided().iter().enumerate() {
            let points = &mut counters.points;
            points.accepted += decided.accepted;
            points.unchecked += decided.unchecked;
            points.duplicate_same += decided.same;
            points.duplicate_older += decided.older;
            // The first one counts points without a namespace.
            if let Some(index) = place.checked_sub(1) {
                counters.namespace(index as u16).duplicate += decided.same + decided.older;
            }
        }
        counters.last.lookups = self.owner.lookups.lookups;
        counters.last.lookup_timeouts = self.owner.lookups.timeouts;
        counters.carbon.frames_sent = self.outbound.frames_sent;
        counters.carbon.frames_repeated = self.outbound.frames_repeated;
        counters.carbon.bytes_sent = self.outbound.bytes_sent;
        counters.journal.commits = self.journal.counts.commits;
        counters.journal.commits_failed = self.journal.counts.commits_failed;
        counters.journal.bytes_written = self.journal.counts.bytes_written;
        if let Some(statsd) = &self.beside.statsd {
            counters.statsd.datagrams_sent = statsd.datagrams_sent;
            counters.statsd.points_sent = statsd.points_sent;
            counters.statsd.points_dropped = statsd.points_dropped;
        }
        for names in [&self.beside.sent, &self.beside.filled] {
            counters.last.names_dropped += names.as_ref().map_or(0, |names| names.dropped);
        }
        counters.table.evicted = self.owner.evicted;
        counters.table.evicted_unsaved = self.owner.evicted_unsaved;
        counters
    }

    fn gauges(&self, now: Now) -> Gauges {
        let table = self.owner.table();
        let age_seconds = |ms| now.ms().saturating_sub(ms) / 1000;
        Gauges {
            points_queued: self.outbound.points_queued(),
            points_age: self.outbound.oldest_ms().map_or(0, age_seconds),
            up: 1,
            journal_bytes: self.journal.segments.held_bytes(),
            journal_bytes_max: match self.journal.durability() {
                Durability::Memory => 0,
                Durability::Journal | Durability::Fsync => self.journal.segments.bytes_max(),
            },
            journal_full: self.journal.segments.is_full().into(),
            in_flight_bytes: self.budgets.reserved(self.settings.shard) as u64,
            in_flight_bytes_max: self.budgets.limit() as u64,
            metrics_distinct: self
                .beside
                .distinct
                .as_ref()
                .map_or(0, |distinct| distinct.of_last_interval()),
            marks_pending: self.writer.waiting() as u64,
            filter_bytes: match self.settings.shard {
                0 => self.owner.lookups.known.bytes() as u64,
                _ => 0,
            },
            table_entries: table.len() as u64,
            table_unsaved: table.unsaved() as u64,
            table_bytes: table.bytes() as u64,
            ..Gauges::default()
        }
    }
}
