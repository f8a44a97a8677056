//! Admission and HTTP.

use super::super::counters::Endpoint;
use super::{Metric, counter, family, shard_gauge};

pub(super) static METRICS: &[Metric] = &[
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
];

fn status_label(status: u16) -> String {
    if status == 0 {
        "other".to_owned()
    } else {
        status.to_string()
    }
}
