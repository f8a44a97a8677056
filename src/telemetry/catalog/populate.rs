//! Populate.

use super::{Kind, Metric, Read, counter, family, gauge};

pub(super) static METRICS: &[Metric] = &[
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
];
