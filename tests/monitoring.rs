//! The dashboard and the alert rules in docs/monitoring: nothing in them names a series, a label or a value that
//! the program does not show, and what they say is documented.

#[path = "monitoring/query.rs"]
mod query;

use std::path::{Path, PathBuf};
use std::process::Command;

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
