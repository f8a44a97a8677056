//! Carbon, and what is told beside it.

use super::{Metric, counter, family, gauge, shard_gauge};

pub(super) static METRICS: &[Metric] = &[
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
];
