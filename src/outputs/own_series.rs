//! What Flux says about itself in Graphite, under the names that Skyline's dashboards know. Pure: two moments in,
//! series out.

use crate::telemetry::counters::{Counters, Discard, Gauges, Reject};

/// What all shards have done, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    pub counters: Counters,
    pub gauges: Gauges,
    /// Points that populate has handed over.
    pub populate_points: u64,
    /// Namespaces have quotas.
    pub has_quotas: bool,
}

/// `skyline.flux.<host>`, or without a host `skyline.flux`.
pub fn prefix(host: &str) -> String {
    match host {
        "" => "skyline.flux".to_owned(),
        host => format!("skyline.flux.{host}"),
    }
}

/// A host's name as one element of a metric's: dots would make several.
pub fn host_element(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let kept = name.trim().chars();
    kept.map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// The series of the time between two moments. Those of aggregation and of Prometheus are left out: there
/// is neither here.
pub fn series(prefix: &str, before: &Moment, now: &Moment) -> Vec<(String, f64)> {
    let grown = |read: fn(&Counters) -> u64| read(&now.counters) - read(&before.counters);
    let rejected = |cause: Reject| {
        let read = |moment: &Moment| moment.counters.points.rejected[cause as usize];
        read(now) - read(before)
    };
    let duplicate = grown(|c| c.points.duplicate_same + c.points.duplicate_older);
    let populated = now.populate_points - before.populate_points;
    let mut all = vec![
        (
            "worker.metrics_sent_to_graphite",
            now.gauges.metrics_distinct,
        ),
        ("worker.discarded.already_received", duplicate),
        ("worker.httpMetricDataQueue.size", now.gauges.points_queued),
        (
            "listen.added_to_queue",
            duplicate + grown(|c| c.points.accepted),
        ),
        (
            "listen.discarded.invalid_timestamp",
            rejected(Reject::Timestamp),
        ),
        ("listen.discarded.metric_name", rejected(Reject::Name)),
        ("listen.discarded.invalid_value", rejected(Reject::Value)),
        // A request with a wrong key is not read any further: it has no points.
        (
            "listen.discarded.invalid_key",
            grown(|c| c.http.answered(401)),
        ),
        (
            "listen.discarded.invalid_parameters",
            rejected(Reject::Parameters),
        ),
        (
            "listen.dropped_non_numeric_metrics",
            grown(|c| c.points.discarded[Discard::NotNumeric as usize]),
        ),
    ];
    if now.has_quotas {
        all.push(("listen.over_quota_metrics_count", rejected(Reject::Quota)));
    }
    // Skyline's comes with each job, not with each minute.
    if populated > 0 {
        all.push((
            "populate_metric_worker.datapoints_sent_to_graphite",
            populated,
        ));
    }
    all.into_iter()
        .map(|(name, value)| (format!("{prefix}.{name}"), value as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::counters::Endpoint;

    #[test]
    fn each_series_is_what_has_grown_since_the_moment_before() {
        let mut before = Moment::default();
        before.counters.points.accepted = 5;
        before.counters.points.duplicate_same = 1;
        before.populate_points = 7;
        let mut now = before.clone();
        now.counters.points.accepted = 15;
        now.counters.points.duplicate_same = 2;
        now.counters.points.duplicate_older = 3;
        now.counters.points.reject(Reject::Timestamp, 11);
        now.counters.points.reject(Reject::Name, 12);
        now.counters.points.reject(Reject::Value, 13);
        now.counters.points.reject(Reject::Parameters, 14);
        now.counters.points.discard(Discard::NotNumeric, 15);
        now.counters.http.answer(Endpoint::MetricData, 401);
        now.gauges.points_queued = 16;
        now.gauges.metrics_distinct = 9;
        let expected = [
            ("skyline.flux.web01.worker.metrics_sent_to_graphite", 9.0),
            ("skyline.flux.web01.worker.discarded.already_received", 4.0),
            ("skyline.flux.web01.worker.httpMetricDataQueue.size", 16.0),
            ("skyline.flux.web01.listen.added_to_queue", 14.0),
            (
                "skyline.flux.web01.listen.discarded.invalid_timestamp",
                11.0,
            ),
            ("skyline.flux.web01.listen.discarded.metric_name", 12.0),
            ("skyline.flux.web01.listen.discarded.invalid_value", 13.0),
            ("skyline.flux.web01.listen.discarded.invalid_key", 1.0),
            (
                "skyline.flux.web01.listen.discarded.invalid_parameters",
                14.0,
            ),
            (
                "skyline.flux.web01.listen.dropped_non_numeric_metrics",
                15.0,
            ),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(series(&prefix("web01"), &before, &now), expected);

        now.populate_points = 10;
        now.has_quotas = true;
        now.counters.points.reject(Reject::Quota, 2);
        let more = series(&prefix(""), &before, &now);
        let expected = [
            ("skyline.flux.listen.over_quota_metrics_count", 2.0),
            (
                "skyline.flux.populate_metric_worker.datapoints_sent_to_graphite",
                3.0,
            ),
        ];
        assert_eq!(
            more[10..],
            expected.map(|(name, value)| (name.to_owned(), value))
        );
    }

    #[test]
    fn a_hosts_name_is_one_element() {
        for (name, element) in [
            ("web01\n", "web01"),
            ("web-01.example.org", "web-01_example_org"),
            ("bücher host", "b_cher_host"),
            ("", ""),
        ] {
            assert_eq!(host_element(name), element);
        }
    }
}
