//! Between shards, how long things take, and the process itself.

use super::super::latency::Stage;
use super::{Kind, Metric, Read, counter, family, histogram};

pub(super) static METRICS: &[Metric] = &[
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
