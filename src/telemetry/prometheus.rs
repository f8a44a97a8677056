//! Prometheus' text exposition format, version 0.0.4, written from the shards' snapshots.

use std::fmt::{Display, Write};

use super::catalog::{Kind, Metric, Read, metrics};
use super::latency::{BOUNDS_MICROSECONDS, Timing};
use super::{Merge, Process, Snapshot};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything in the catalog; `shards` in the order of their numbers, and the populate core, which has no
/// number and counts in the sums.
pub fn render(process: &Process, shards: &[Snapshot], core: &Snapshot) -> String {
    let mut sum = core.clone();
    for shard in shards {
        sum.merge(shard);
    }
    let mut out = String::with_capacity(16 * 1024);
    for metric in metrics() {
        header(&mut out, metric);
        match &metric.read {
            Read::Sum(read) => series(&mut out, metric, &[], read(&sum)),
            Read::PerShard(read) => {
                for (number, shard) in shards.iter().enumerate() {
                    series(&mut out, metric, &[&number.to_string()], read(shard));
                }
            }
            Read::Family(read) => read(&sum, process, &mut |labels, value| {
                series(&mut out, metric, labels, value);
            }),
            Read::Latency(stage) => histogram(&mut out, metric.name, sum.latency.of(*stage)),
        }
    }
    out
}

fn header(out: &mut String, metric: &Metric) {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let name = metric.name;
    push(out, format_args!("# HELP {name} "));
    // In a help text a quote stands for itself.
    escape(out, metric.help, false);
    push(out, format_args!("\n# TYPE {name} {kind}\n"));
}

fn series(out: &mut String, metric: &Metric, values: &[&str], value: u64) {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    out.push_str(metric.name);
    let mut before = '{';
    for (label, text) in metric.labels.iter().zip(values) {
        out.push(before);
        before = ',';
        push(out, format_args!("{label}=\""));
        escape(out, text, true);
        out.push('"');
    }
    if before == ',' {
        out.push('}');
    }
    push(out, format_args!(" {value}\n"));
}

fn histogram(out: &mut String, name: &str, timing: &Timing) {
    for (bound, count) in BOUNDS_MICROSECONDS.iter().zip(timing.at_most()) {
        let seconds = *bound as f64 / 1e6;
        push(
            out,
            format_args!("{name}_bucket{{le=\"{seconds}\"}} {count}\n"),
        );
    }
    let (count, sum) = (timing.count(), timing.sum_seconds());
    push(out, format_args!("{name}_bucket{{le=\"+Inf\"}} {count}\n"));
    push(
        out,
        format_args!("{name}_sum {sum}\n{name}_count {count}\n"),
    );
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

fn push(out: &mut String, text: impl Display) {
    let written = write!(out, "{text}");
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::super::Reloads;
    use super::super::counters::{Endpoint, Reject};
    use super::super::latency::Stage;
    use super::*;
    use std::process::{Command, Stdio};

    fn process() -> Process {
        Process {
            version: "0.1.0",
            started_at_seconds: 1_478_021_700,
            namespaces: vec!["warehouse-1".into(), "a\\b\"c\nd".into()],
            reloads: Reloads { ok: 2, refused: 1 },
            ready: true,
        }
    }

    fn shards() -> Vec<Snapshot> {
        let mut one = Snapshot::default();
        one.counters.points.received = 3;
        one.counters.points.reject(Reject::Timestamp, 2);
        one.counters.namespace(1).received = 3;
        one.counters.http.answer(Endpoint::MetricData, 204);
        one.counters.http.answer(Endpoint::MetricDataPost, 418);
        one.counters.http.refused.count(431);
        one.gauges.last_up = 1;
        one.latency.record(Stage::Request, 900);
        let mut two = one.clone();
        two.gauges.last_up = 0;
        two.latency.record(Stage::Request, 40_000_000);
        vec![one, two]
    }

    #[test]
    fn numbers_are_summed_and_states_are_shown_by_shard() {
        let text = render(&process(), &shards(), &Snapshot::default());
        let lines: Vec<&str> = text.lines().collect();
        for expected in [
            "# HELP flux_points_received_total Points parsed from requests, whatever became of them.",
            "# TYPE flux_points_received_total counter",
            "flux_points_received_total 6",
            "flux_points_rejected_total{reason=\"timestamp\"} 4",
            "flux_points_rejected_total{reason=\"json\"} 0",
            "flux_namespace_points_received_total{namespace=\"warehouse-1\"} 0",
            "flux_namespace_points_received_total{namespace=\"a\\\\b\\\"c\\nd\"} 6",
            "flux_http_requests_total{endpoint=\"metric_data\",status=\"204\"} 2",
            "flux_http_requests_total{endpoint=\"metric_data_post\",status=\"other\"} 2",
            "flux_http_refused_total{status=\"431\"} 2",
            "flux_shard_points_received_total{shard=\"1\"} 3",
            "flux_last_up{shard=\"0\"} 1",
            "flux_last_up{shard=\"1\"} 0",
            "flux_request_duration_seconds_bucket{le=\"0.0005\"} 0",
            "flux_request_duration_seconds_bucket{le=\"0.001\"} 2",
            "flux_request_duration_seconds_bucket{le=\"30\"} 2",
            "flux_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "flux_request_duration_seconds_sum 40.0018",
            "flux_request_duration_seconds_count 3",
            "process_start_time_seconds 1478021700",
            "flux_config_reloads_total{outcome=\"ok\"} 2",
            "flux_config_reloads_total{outcome=\"refused\"} 1",
            "flux_build_info{version=\"0.1.0\"} 1",
        ] {
            assert!(
                lines.contains(&expected),
                "{expected} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn promtool_finds_nothing_to_say() {
        let tool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut tool) = tool else {
            println!("skipped: promtool is not installed (Debian package prometheus)");
            return;
        };
        let text = render(&process(), &shards(), &Snapshot::default());
        let mut input = tool.stdin.take().expect("it is piped");
        std::io::Write::write_all(&mut input, text.as_bytes()).expect("promtool reads it");
        drop(input);
        let output = tool.wait_with_output().expect("promtool ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}
