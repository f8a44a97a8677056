//! The table and the last store.

use super::{Metric, counter, family, gauge, shard_gauge};

pub(super) static METRICS: &[Metric] = &[
    shard_gauge(
        "flux_table_entries",
        "Metrics whose last accepted timestamp is in memory.",
        |s| s.gauges.table_entries,
    ),
    shard_gauge(
        "flux_table_entries_unsaved",
        "Of those: metrics whose mark is not in the last store yet.",
        |s| s.gauges.table_unsaved,
    ),
    shard_gauge("flux_table_bytes", "Memory of the table.", |s| {
        s.gauges.table_bytes
    }),
    family(
        "flux_table_evicted_total",
        &["mark"],
        "Metrics pushed out of the full table, by whether their mark was in the last store.",
        |s, _, put| {
            let table = &s.counters.table;
            put(
                &["saved"],
                table.evicted.saturating_sub(table.evicted_unsaved),
            );
            put(&["unsaved"], table.evicted_unsaved);
        },
    ),
    shard_gauge("flux_last_up", "1 while the last store answers.", |s| {
        s.gauges.last_up
    }),
    counter(
        "flux_last_lookups_total",
        "Metrics looked up in the last store.",
        |s| s.counters.last.lookups,
    ),
    counter(
        "flux_last_lookup_timeouts_total",
        "Metrics whose look-up was given up at lookup_deadline_ms.",
        |s| s.counters.last.lookup_timeouts,
    ),
    counter(
        "flux_last_unreadable_total",
        "Values in the last store that are not marks; taken as absent.",
        |s| s.counters.last.unreadable,
    ),
    counter(
        "flux_last_marks_written_total",
        "Marks written to the last store.",
        |s| s.counters.last.marks_written,
    ),
    counter(
        "flux_last_marks_refused_total",
        "Marks the last store answered with an error; tried again.",
        |s| s.counters.last.marks_refused,
    ),
    gauge(
        "flux_last_marks_pending",
        "Marks waiting to be written.",
        |s| s.gauges.marks_pending,
    ),
    gauge(
        "flux_last_filter_bytes",
        "Memory of the filters that tell which metrics the embedded store surely has not.",
        |s| s.gauges.filter_bytes,
    ),
];
