//! The dashboard and the alert rules in docs/monitoring: nothing in them names a series, a label or a value that
//! the program does not show, and what they say is documented.

mod common;

#[path = "monitoring/query.rs"]
mod query;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::single;
use common::prometheus::Prometheus;
use common::{now, wait_until};
use query::faults;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("a file of the project")
}

fn promtool(arguments: &[&str], folder: &Path) {
    let run = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .output();
    let run = run.expect("promtool runs: run tests/install.sh");
    assert!(run.status.success(), "{arguments:?}: {run:?}");
}

/// What follows a word at the beginning of a line.
fn after<'t>(text: &'t str, word: &str) -> Vec<&'t str> {
    let lines = text.lines().map(str::trim_start);
    lines.filter_map(|line| line.strip_prefix(word)).collect()
}

fn alerts() -> Vec<String> {
    let rules = read("flux_alerts.yml");
    let names = after(&rules, "- alert: ").into_iter().map(str::to_owned);
    names.collect()
}

/// Every expression of the dashboard, as Prometheus is asked it.
fn dashboard() -> Vec<String> {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if name == "expr" => found.push(text.clone()),
                        _ => walk(value, found),
                    }
                }
            }
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&read("flux.json")).expect("JSON");
    let mut found = Vec::new();
    walk(&dashboard, &mut found);
    let plain = |text: String| {
        let text = text.replace("$__rate_interval", "5m");
        text.replace("$__interval", "5m")
    };
    found.into_iter().map(plain).collect()
}

#[test]
fn no_rule_and_no_panel_names_what_is_not_shown() {
    let rules = read("flux_alerts.yml");
    let rules = after(&rules, "expr: ").into_iter().map(str::to_owned);
    let (rules, panels): (Vec<_>, Vec<_>) = (rules.collect(), dashboard());
    assert_eq!(rules.len(), alerts().len());
    assert!(panels.len() > 50, "{}", panels.len());
    let bad: Vec<String> = rules
        .iter()
        .chain(&panels)
        .flat_map(|text| faults(text))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn promtool_takes_the_rules_and_every_panel_and_each_alert_fires_when_it_should() {
    promtool(&["check", "rules", "flux_alerts.yml"], &folder());
    promtool(&["test", "rules", "flux_alerts_test.yml"], &folder());
    let tests = read("flux_alerts_test.yml");
    for name in alerts() {
        assert!(tests.contains(&name), "{name} is not tested");
    }
    let mut rules = "groups: [{name: panels, rules: [\n".to_owned();
    for (number, text) in dashboard().iter().enumerate() {
        rules += &format!("  {{record: \"panel{number}\", expr: {text:?}}},\n");
    }
    rules += "]}]\n";
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("panels.yml"), rules).expect("a file of our own");
    promtool(&["check", "rules", "panels.yml"], folder.path());
}

/// By a real Prometheus that scrapes the real program: that sides of a division match, for one.
#[test]
fn every_panel_and_every_rule_can_be_asked_and_nearly_every_panel_shows_something() {
    let carbon = Blackhole::start();
    let flux = Flux::builder().shards(2).carbon(&carbon.endpoint()).start();
    let prometheus = Prometheus::scraping(flux.admin_port, None);
    assert_eq!(flux.post(&single(KEY, "a.b", now(), 1.0)).status, 204);
    wait_until("it has seen the point come and go, and two scrapes", || {
        let seen = "flux_points_delivered_total == 1 and flux_points_queued == 0 \
                    and count_over_time(flux_ready[5m]) > 1";
        !prometheus.instant(seen).is_empty()
    });
    let panels: Vec<String> = dashboard()
        .into_iter()
        .map(|text| text.replace("$job", "flux").replace("$instance", ".+"))
        .collect();
    let empty: Vec<&String> = panels
        .iter()
        .filter(|text| prometheus.instant(text).is_empty())
        .collect();
    // What is shown once there is one only: refused messages, restarts.
    assert!(empty.len() <= 3, "{empty:#?}");
    let rules = read("flux_alerts.yml");
    for text in after(&rules, "expr: ") {
        let found = prometheus.instant(text);
        assert!(found.is_empty(), "a well service: {text}: {found:?}");
    }
}

#[test]
fn what_waits_grows_old_in_this_run_and_after_the_next_start_and_is_forgotten_when_delivered() {
    let mut carbon = Blackhole::refusing();
    let mut flux = Flux::builder().shards(1).carbon(&carbon.endpoint()).start();
    let age = |flux: &Flux, name: &str| flux.metrics().sum(name);
    assert_eq!(age(&flux, "flux_journal_oldest_age_seconds"), 0.0);
    assert_eq!(flux.post(&single(KEY, "a.b", now(), 1.0)).status, 204);
    wait_until("it is a second old", || {
        age(&flux, "flux_points_oldest_age_seconds") >= 1.0
    });
    flux.kill9();
    flux.start_again();
    wait_until("so is what the last run has left", || {
        age(&flux, "flux_journal_oldest_age_seconds") >= 1.0
    });
    carbon.listen();
    for name in [
        "flux_points_oldest_age_seconds",
        "flux_journal_oldest_age_seconds",
    ] {
        flux.wait_metric(name, 0.0);
    }
    assert_eq!(carbon.wait_points(1).len(), 1);
}

/// Who is woken by it finds what to do.
#[test]
fn every_alert_is_explained_and_none_is_explained_that_is_gone() {
    let page = std::fs::read_to_string(folder().join("../operating.md")).expect("the page");
    let mut explained: Vec<&str> = after(&page, "| `Flux")
        .into_iter()
        .filter_map(|row| row.split('`').next())
        .collect();
    let alerts = alerts();
    let mut known: Vec<&str> = alerts
        .iter()
        .map(|name| name.trim_start_matches("Flux"))
        .collect();
    explained.sort_unstable();
    known.sort_unstable();
    assert_eq!(explained, known);
}

#[test]
fn what_is_not_shown_is_found() {
    for (good, bad) in [
        (
            "sum(rate(flux_points_accepted_total[5m]))",
            "flux_points_lost_total",
        ),
        ("up{job=\"flux\"}", "down{job=\"flux\"}"),
        (
            "flux_shard_up{shard=\"0\"}",
            "flux_shard_up{namespace=\"a\"}",
        ),
        (
            "flux_points_rejected_total{reason!=\"busy\"}",
            "flux_points_rejected_total{reason=\"bsuy\"}",
        ),
        (
            "sum by (reason) (flux_points_dropped_total)",
            "sum by (status) (flux_points_dropped_total)",
        ),
        (
            "flux_request_duration_seconds_bucket{le=\"1\"}",
            "flux_points_queued_bucket",
        ),
        (
            "flux_request_duration_seconds_count",
            "flux_request_duration_seconds",
        ),
    ] {
        assert!(faults(good).is_empty(), "{good}");
        assert_eq!(faults(bad).len(), 1, "{bad}");
    }
}
