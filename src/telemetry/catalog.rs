//! Every metric, in one table: its name, kind, labels, help, and where its value is read. What is not
//! here is not shown; what is here must be explained in `docs/operating.md` (the tidy test looks).

use super::counters::{Discard, Endpoint, Loss, Namespace, Reject};
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

pub static METRICS: &[Metric] = &[
    // Points: what became of each. The lines of the oracle, so their names are fixed.
    counter(
        "flux_points_received_total",
        "Points parsed from requests, whatever became of them.",
        |s| s.counters.points.received,
    ),
    counter(
        "flux_points_accepted_total",
        "Points accepted as new by the shard that owns their metric.",
        |s| s.counters.points.accepted,
    ),
    family(
        "flux_points_duplicate_total",
        &["kind"],
        "Points at or before the last accepted timestamp of their metric; answered as accepted, not sent.",
        |s, _, put| {
            put(&["same"], s.counters.points.duplicate_same);
            put(&["older"], s.counters.points.duplicate_older);
        },
    ),
    family(
        "flux_points_discarded_total",
        &["reason"],
        "Points of accepted requests that were left out: without a number, without a name, or skipped.",
        |s, _, put| {
            for cause in Discard::ALL {
                put(
                    &[cause.label()],
                    s.counters.points.discarded[*cause as usize],
                );
            }
        },
    ),
    family(
        "flux_points_rejected_total",
        &["reason"],
        "Points of refused requests (one bad point refuses its whole request), and new metrics above a quota.",
        |s, _, put| {
            for cause in Reject::ALL {
                put(
                    &[cause.label()],
                    s.counters.points.rejected[*cause as usize],
                );
            }
        },
    ),
    counter(
        "flux_points_unchecked_total",
        "Accepted points decided without the last store, because it was down or late.",
        |s| s.counters.points.unchecked,
    ),
    counter(
        "flux_points_delivered_total",
        "Points whose frame counts as delivered to carbon.",
        |s| s.counters.points.delivered,
    ),
    counter(
        "flux_points_recovered_total",
        "Points found undelivered at the start and taken up again.",
        |s| s.counters.points.recovered,
    ),
    counter(
        "flux_points_unconfirmed_total",
        "Delivered points that were repeated as often as allowed without a confirmation.",
        |s| s.counters.points.unconfirmed,
    ),
    family(
        "flux_points_dropped_total",
        &["reason"],
        "Accepted points given up before they were delivered.",
        |s, _, put| {
            for cause in Loss::ALL {
                put(&[cause.label()], s.counters.points.lost[*cause as usize]);
            }
        },
    ),
    gauge(
        "flux_points_queued",
        "Points accepted and not yet delivered.",
        |s| s.gauges.points_queued,
    ),
    // The same by namespace and by shard, under names of their own so that the totals stay one series.
    family(
        "flux_namespace_points_received_total",
        &["namespace"],
        "Points received with a key of this namespace.",
        |s, process, put| by_namespace(s, process, put, |n| n.received),
    ),
    family(
        "flux_namespace_points_duplicate_total",
        &["namespace"],
        "Duplicate points received with a key of this namespace.",
        |s, process, put| by_namespace(s, process, put, |n| n.duplicate),
    ),
    family(
        "flux_namespace_points_rejected_total",
        &["namespace"],
        "Points refused that came with a key of this namespace.",
        |s, process, put| by_namespace(s, process, put, |n| n.rejected),
    ),
    counter(
        "flux_line_points_received_total",
        "Of the received points: those that came in carbon's line protocol.",
        |s| s.counters.line.points,
    ),
    counter(
        "flux_line_pauses_total",
        "Times a connection that sends lines was not read on, because a budget had no room.",
        |s| s.counters.line.pauses,
    ),
    counter(
        "flux_line_idle_closed_total",
        "Connections for lines that were closed because nothing came for line.idle_deadline_ms.",
        |s| s.counters.line.idle_closed,
    ),
    shard_counter(
        "flux_shard_points_received_total",
        "Points received on the connections of this shard.",
        |s| s.counters.points.received,
    ),
    shard_counter(
        "flux_shard_points_accepted_total",
        "Points accepted for the metrics this shard owns.",
        |s| s.counters.points.accepted,
    ),
    shard_gauge(
        "flux_shard_points_queued",
        "Points this shard accepted and has not delivered.",
        |s| s.gauges.points_queued,
    ),
    shard_gauge(
        "flux_points_oldest_age_seconds",
        "Time since the oldest point that this shard has not delivered was accepted; 0 without one.",
        |s| s.gauges.points_age,
    ),
    shard_gauge(
        "flux_shard_up",
        "1 when the shard has answered this scrape; 0 when it did not in time, and its other numbers are old.",
        |s| s.gauges.up,
    ),
    // Admission.
    shard_gauge(
        "flux_in_flight_bytes",
        "Bytes of the shard's budget that are reserved.",
        |s| s.gauges.in_flight_bytes,
    ),
    shard_gauge(
        "flux_in_flight_bytes_limit",
        "The shard's budget; a request that does not fit is answered 429.",
        |s| s.gauges.in_flight_bytes_max,
    ),
    counter(
        "flux_busy_answers_total",
        "Requests answered 429: a bound was reached and the client sends again.",
        |s| s.counters.http.answered(429) + s.counters.http.refused.of(429),
    ),
    counter(
        "flux_outcome_unknown_answers_total",
        "Requests answered 504: handed over, and no verdict before the deadline.",
        |s| s.counters.http.answered(504),
    ),
    // HTTP.
    family(
        "flux_http_requests_total",
        &["endpoint", "status"],
        "Requests answered, by route and status.",
        |s, _, put| {
            for endpoint in Endpoint::ALL {
                let statuses = &s.counters.http.requests[*endpoint as usize];
                for (status, count) in statuses.iter() {
                    put(&[endpoint.label(), &status_label(status)], count);
                }
            }
        },
    ),
    family(
        "flux_http_refused_total",
        &["status"],
        "Messages refused before they were a request: framing, sizes, deadlines.",
        |s, _, put| {
            for (status, count) in s.counters.http.refused.iter() {
                put(&[&status_label(status)], count);
            }
        },
    ),
    counter(
        "flux_connections_accepted_total",
        "Connections accepted.",
        |s| s.counters.http.connections_accepted,
    ),
    counter(
        "flux_connections_refused_total",
        "Accepts that failed, for want of a descriptor or because the client had gone.",
        |s| s.counters.http.connections_refused,
    ),
    shard_gauge("flux_connections_open", "Connections open.", |s| {
        s.gauges.connections_open
    }),
    shard_gauge(
        "flux_connections_limit",
        "The shard's part of http.connections_max.",
        |s| s.gauges.connections_max,
    ),
    shard_gauge(
        "flux_buffered_bytes",
        "Bytes kept of requests that have not arrived whole.",
        |s| s.gauges.buffered_bytes,
    ),
    counter(
        "flux_inflated_bytes_total",
        "Bytes that gzip and deflate bodies came to.",
        |s| s.counters.http.inflated_bytes,
    ),
    // The table and the last store.
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
    // Carbon.
    shard_gauge(
        "flux_carbon_connected",
        "1 while the shard's connection to carbon is up.",
        |s| s.gauges.carbon_connected,
    ),
    counter(
        "flux_carbon_connects_total",
        "Connections made to carbon.",
        |s| s.counters.carbon.connects,
    ),
    counter(
        "flux_carbon_frames_sent_total",
        "Frames written to carbon, repeats included.",
        |s| s.counters.carbon.frames_sent,
    ),
    counter(
        "flux_carbon_frames_repeated_total",
        "Frames written again after a connection was lost.",
        |s| s.counters.carbon.frames_repeated,
    ),
    counter(
        "flux_carbon_sent_bytes_total",
        "Bytes written to carbon, repeats included.",
        |s| s.counters.carbon.bytes_sent,
    ),
    // Beside carbon.
    counter(
        "flux_statsd_points_sent_total",
        "Accepted points that left in a statsd datagram.",
        |s| s.counters.statsd.points_sent,
    ),
    counter(
        "flux_statsd_points_dropped_total",
        "Accepted points that statsd was not told of: the queue was full, or the socket would not have them.",
        |s| s.counters.statsd.points_dropped,
    ),
    counter(
        "flux_statsd_datagrams_sent_total",
        "Datagrams handed to the kernel for statsd.",
        |s| s.counters.statsd.datagrams_sent,
    ),
    counter(
        "flux_statsd_errors_total",
        "Times the socket to statsd reported an error, or the name was not resolved.",
        |s| s.counters.statsd.errors,
    ),
    family(
        "flux_own_points_total",
        &["result"],
        "Points of the program's own series, in no other count of points: delivered, and left out while carbon is away.",
        |s, _, put| {
            put(&["sent"], s.counters.own_series.sent);
            put(&["dropped"], s.counters.own_series.dropped);
        },
    ),
    gauge(
        "flux_metrics_distinct",
        "Different metrics accepted in the last whole interval of telemetry, estimated.",
        |s| s.gauges.metrics_distinct,
    ),
    counter(
        "flux_skyline_names_dropped_total",
        "Names left out of flux.workers.metrics_sent or flux.filled_metrics.",
        |s| s.counters.last.names_dropped,
    ),
    // The journal.
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
    // Populate.
    Metric {
        name: "flux_populate_jobs",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Jobs accepted and not done: those that wait, and those that run.",
        read: Read::Family(|s, _, put| {
            put(&["queued"], s.gauges.jobs_queued);
            put(&["running"], s.gauges.jobs_running);
        }),
    },
    gauge(
        "flux_populate_jobs_bytes",
        "Bytes of the jobs accepted and not done.",
        |s| s.gauges.jobs_bytes,
    ),
    family(
        "flux_populate_jobs_total",
        &["result"],
        "Jobs accepted, posted again while they waited, taken up again at the start, and done.",
        |s, _, put| {
            let jobs = &s.counters.populate;
            put(&["accepted"], jobs.accepted);
            put(&["repeated"], jobs.repeated);
            put(&["recovered"], jobs.recovered);
            put(&["done"], jobs.done);
        },
    ),
    family(
        "flux_populate_jobs_failed_total",
        &["reason"],
        "Jobs that gave nothing that could be used.",
        |s, _, put| {
            for (reason, count) in &s.counters.populate.failed.0 {
                put(&[reason], *count);
            }
        },
    ),
    family(
        "flux_populate_fetches_failed_total",
        &["reason"],
        "URLs of jobs that gave nothing; the job goes on with the others.",
        |s, _, put| {
            for (reason, count) in &s.counters.populate.skipped.0 {
                put(&[reason], *count);
            }
        },
    ),
    counter(
        "flux_populate_points_total",
        "Points of jobs handed over for delivery; also in received and accepted.",
        |s| s.counters.populate.points,
    ),
    counter(
        "flux_populate_waits_total",
        "Times a job waited because jobs had reached populate.points_per_second_max.",
        |s| s.counters.populate.paced,
    ),
    // Between shards.
    counter(
        "flux_mesh_groups_sent_total",
        "Groups of points handed to another shard.",
        |s| s.counters.mesh.groups_sent,
    ),
    // How long things take.
    histogram(
        "flux_request_duration_seconds",
        "From the last byte of a request to its answer.",
        Stage::Request,
    ),
    histogram(
        "flux_last_lookup_duration_seconds",
        "From a metric the table does not know to the last store's reply.",
        Stage::Lookup,
    ),
    histogram(
        "flux_owner_round_trip_seconds",
        "From a group sent to another shard to its verdict.",
        Stage::Owner,
    ),
    histogram(
        "flux_delivery_duration_seconds",
        "From a frame's first point accepted to the frame counted as delivered; includes the redo window.",
        Stage::Delivery,
    ),
    histogram(
        "flux_journal_commit_duration_seconds",
        "A journal write, with its fdatasync where durability is fsync.",
        Stage::Commit,
    ),
    histogram(
        "flux_sweep_lateness_seconds",
        "From when a shard's sweep was due to when it ran.",
        Stage::Sweep,
    ),
    family(
        "flux_config_reloads_total",
        &["outcome"],
        "Times the configuration was read again, on SIGHUP: taken by every shard, or refused.",
        |_, process, put| {
            put(&["ok"], process.reloads.ok);
            put(&["refused"], process.reloads.refused);
        },
    ),
    Metric {
        name: "flux_ready",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while new points are taken: what /readyz says.",
        read: Read::Family(|_, process, put| put(&[], process.ready.into())),
    },
    // The process. The first name is the one every Prometheus client library uses.
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process started, in Unix seconds.",
        read: Read::Family(|_, process, put| put(&[], process.started_at_seconds)),
    },
    Metric {
        name: "flux_build_info",
        kind: Kind::Gauge,
        labels: &["version"],
        help: "Always 1; the version is in the label.",
        read: Read::Family(|_, process, put| put(&[process.version], 1)),
    },
];

fn by_namespace(snapshot: &Snapshot, process: &Process, put: Put<'_>, read: fn(&Namespace) -> u64) {
    for (name, numbers) in process.namespaces.iter().zip(&snapshot.counters.namespaces) {
        put(&[name], read(numbers));
    }
}

fn status_label(status: u16) -> String {
    if status == 0 {
        "other".to_owned()
    } else {
        status.to_string()
    }
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
        for metric in METRICS {
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
