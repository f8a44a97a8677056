//! Populate, from Vista's request to Graphite's render API: real Graphites, a real Prometheus, and remotes
//! that fail in every way.

mod common;

#[path = "populate/catch_up.rs"]
mod catch_up;
#[path = "populate/file.rs"]
mod file;
#[path = "populate/kill.rs"]
mod kill;
#[path = "populate/prometheus.rs"]
mod prometheus;
#[path = "populate/remotes.rs"]
mod remotes;
#[path = "populate/stop.rs"]
mod stop;
#[path = "populate/vista.rs"]
mod vista;

use common::flux::{Builder, Flux, KEY};
use common::http::{Answer, Client, request};
use common::{wait_for, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

/// For what takes several jobs, or a redo window for each.
const LONG: Duration = Duration::from_secs(60);

/// As Vista sends it: its fields in its order, without a path prefix.
fn post(flux: &Flux, body: &str) -> Answer {
    post_to(&mut flux.client(), body)
}

fn post_to(client: &mut Client, body: &str) -> Answer {
    let fields = [("Content-Type", "application/json")];
    client.send(&request(
        "POST",
        "/populate_metric",
        &fields,
        body.as_bytes(),
    ));
    client.answer()
}

/// A job, with a list of URLs in whichever form.
fn body(kind: &str, target: &str, metric: &str, urls: Value) -> String {
    json!({
        "remote_host_type": kind,
        "remote_target": target,
        "metric": metric,
        "namespace_prefix": "vista.graphite_example_org",
        "key": KEY,
        "token": "None",
        "user": "None",
        "password": "None",
        "fetch_resolution_urls": urls,
    })
    .to_string()
}

fn graphite_job(metric: &str, urls: &[String]) -> String {
    body("graphite", &format!("remote.{metric}"), metric, json!(urls))
}

fn jobs(flux: &Flux, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    flux.metrics().with("flux_populate_jobs_total", &label)
}

fn failed(flux: &Flux, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    flux.metrics()
        .with("flux_populate_jobs_failed_total", &label)
}

fn wait_done(flux: &Flux, count: u32) {
    wait_for(&format!("{count} jobs are done"), LONG, || {
        (jobs(flux, "done") >= f64::from(count)).then_some(())
    });
}

fn sent(flux: &Flux) -> u64 {
    flux.metrics().sum("flux_populate_points_total") as u64
}

/// No job is under way.
fn wait_idle(flux: &Flux) {
    wait_for("no job is left", LONG, || {
        (flux.metrics().sum("flux_populate_jobs") == 0.0).then_some(())
    });
}

/// Everything is delivered, and every point is in one place.
fn wait_reconciled(flux: &Flux) {
    wait_until("nothing is on its way", || {
        let metrics = flux.metrics();
        metrics.sum("flux_points_queued") + metrics.sum("flux_journal_points") == 0.0
    });
    common::ledger::reconcile(&flux.metrics());
}

/// Deadlines that a test can wait for.
fn hurried(builder: Builder) -> Builder {
    builder
        .set("populate.connect_timeout_ms", 500)
        .set("populate.read_timeout_ms", 700)
        .set("populate.total_timeout_ms", 1_500)
        .set("populate.response_bytes_max", 1024 * 1024)
}

/// Any number of a hash's quality, always the same for the same input.
fn dice(seed: u64, at: u32) -> u64 {
    let mixed = (u64::from(at) ^ seed.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

/// A value with a short binary fraction: sums of some of them are exact.
fn value(seed: u64, at: u32) -> f64 {
    (dice(seed, at) % 40_000) as f64 * 0.25
}

fn minute(at: u32) -> u32 {
    at - at % 60
}
