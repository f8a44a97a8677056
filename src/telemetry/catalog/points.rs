//! What became of each point, in all, by namespace and by shard.

use super::super::counters::{Discard, Loss, Namespace, Reject};
use super::super::{Process, Snapshot};
use super::{Metric, Put, counter, family, gauge, shard_counter, shard_gauge};

pub(super) static METRICS: &[Metric] = &[
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
];

fn by_namespace(snapshot: &Snapshot, process: &Process, put: Put<'_>, read: fn(&Namespace) -> u64) {
    for (name, numbers) in process.namespaces.iter().zip(&snapshot.counters.namespaces) {
        put(&[name], read(numbers));
    }
}
