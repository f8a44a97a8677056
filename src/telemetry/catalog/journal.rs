//! The journal.

use super::{Metric, counter, gauge, shard_gauge};

pub(super) static METRICS: &[Metric] = &[
    gauge(
        "flux_journal_points",
        "Points of earlier runs that wait in the journal and were not taken up yet.",
        |s| s.gauges.journal_points,
    ),
    gauge(
        "flux_journal_bytes",
        "Bytes of DATA/journal: this run's segments and what earlier runs have left.",
        |s| s.gauges.journal_bytes,
    ),
    gauge(
        "flux_journal_bytes_limit",
        "What they may be: journal.bytes_max, in whole segments.",
        |s| s.gauges.journal_bytes_max,
    ),
    gauge(
        "flux_journal_oldest_age_seconds",
        "Time since the oldest segment that earlier runs have left was written; 0 without one.",
        |s| s.gauges.journal_age,
    ),
    shard_gauge(
        "flux_journal_full",
        "1 while the shard has no segment for new points: they are answered 429.",
        |s| s.gauges.journal_full,
    ),
    counter(
        "flux_journal_commits_total",
        "Journal writes, each with everything that was waiting.",
        |s| s.counters.journal.commits,
    ),
    counter(
        "flux_journal_commits_failed_total",
        "Journal writes that failed; their requests were answered 504 and their points are delivered all the same.",
        |s| s.counters.journal.commits_failed,
    ),
    counter(
        "flux_journal_written_bytes_total",
        "Bytes written to the journal.",
        |s| s.counters.journal.bytes_written,
    ),
    counter(
        "flux_journal_stalls_total",
        "Journal writes that held their shard for too long; for a while the next ones are made off it.",
        |s| s.counters.journal.stalls,
    ),
    counter(
        "flux_journal_records_damaged_total",
        "Records of earlier runs that could not be read and were skipped; their segments are put aside.",
        |s| s.counters.journal.damaged,
    ),
    counter(
        "flux_journal_records_torn_total",
        "Last records of segments whose write did not finish: never acknowledged.",
        |s| s.counters.journal.torn,
    ),
    counter(
        "flux_journal_segments_kept_total",
        "Segments of another version, or under another's name, that were left where they are.",
        |s| s.counters.journal.segments_kept,
    ),
    counter(
        "flux_journal_cursors_ignored_total",
        "Cursor files that were not believed; costs repeats only.",
        |s| s.counters.journal.cursors_ignored,
    ),
    counter(
        "flux_journal_records_repeated_total",
        "Records found twice, or below their cursor; passed over.",
        |s| s.counters.journal.repeats,
    ),
];
