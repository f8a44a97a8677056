//! The report's page in a real browser, from made-up measurements: everything is drawn, nothing is cut off or comes
//! from outside, on a desk and on a phone. The pictures of it are kept in cargo's folder for tests.

#[path = "page/browser.rs"]
mod browser;

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use browser::Browser;
use serde_json::{Value, json};

const DESK: u32 = 1200;
const PHONE: u32 = 375;

/// What `make load` would have kept of this experiment, with numbers that anyone could have thought of.
fn measured(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("experiments/{name}.toml"));
    let text = fs::read_to_string(file).expect("an experiment");
    let experiment: Value = toml::from_str(&text).expect("TOML");
    let outcome = |(index, target): (usize, &Value)| {
        let slow = (index + 1) as f64;
        let round = json!({
            "cpu_us_per_request": 8.5 * slow, "cpu_us_per_point": 0.4 * slow, "p50_us": 300.0 * slow, "p99_us": 2500.0 * slow,
            "requests_per_second": 51234.5, "points_per_second": 1234567.8, "blackhole_headroom": 14.2,
        });
        let micros = json!({"90": 40_000, "240": 50_000, "800": 9_000, "2500": 900, "31000": 99, "90000": 1});
        json!({"target": target["name"], "rounds": [round, round], "micros": micros})
    };
    let targets = experiment["targets"].as_array().expect("targets");
    let outcomes: Vec<Value> = targets.iter().enumerate().map(outcome).collect();
    json!({
        "name": name,
        "machine": {"date": "2026-01-01 00:00 UTC", "commit": "0000000", "kernel": "Linux 6.18.44-with-a-long-local-name",
            "cpu": "2 × Example <EPYC> Processor", "command": format!("make load EXPERIMENT={name}")},
        "experiment": experiment,
        "outcomes": outcomes,
    })
}

fn report(dir: &Path, experiments: &[&str]) -> String {
    let folder = dir.join("load");
    fs::create_dir_all(&folder).expect("a folder of our own");
    for name in experiments {
        let text = measured(name).to_string();
        fs::write(folder.join(format!("{name}.json")), text).expect("a file of our own");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .arg("report")
        .env("CARGO_TARGET_DIR", dir)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Everything that is wrong with the page that is open.
fn faults(browser: &mut Browser, width: u32) -> Vec<String> {
    // A phone's window grows with what does not fit, so it is held against the width that was asked for.
    let overflow = "
        const wide = document.documentElement.scrollWidth - WIDTH;
        const cut = [...document.querySelectorAll('svg text')].filter(text => {
          const inner = text.getBoundingClientRect(), outer = text.closest('svg').getBoundingClientRect();
          return inner.width == 0 || inner.left < outer.left || inner.right > outer.right || inner.bottom > outer.bottom;
        }).map(text => 'cut off: ' + text.textContent);
        return (wide > 0 ? ['wider than the window by ' + wide] : []).concat(cut)";
    let found = browser.value(&format!("(WIDTH => {{ {overflow} }})({width})"));
    let mut faults: Vec<String> = serde_json::from_value(found).expect("a list");
    for event in &browser.events {
        let parameters = &event["params"];
        let bad = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => parameters["type"] == "error",
            Some("Log.entryAdded") => parameters["entry"]["level"] == "error",
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                !url.starts_with("file:") && !url.starts_with("data:")
            }
            _ => false,
        };
        if bad {
            faults.push(parameters.to_string());
        }
    }
    faults
}

/// Of the whole page, for a person to look at.
fn keep_picture(browser: &mut Browser, name: &str) {
    let asked = json!({"format": "png", "captureBeyondViewport": true});
    let answer = browser.call("Page.captureScreenshot", asked);
    let text = answer["data"].as_str().expect("a picture");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(file, bytes.expect("base64")).expect("cargo's folder for tests");
}

#[test]
fn the_page_renders_on_a_desk_and_on_a_phone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let experiments = ["single", "batch", "latency", "shards"];
    let text = report(dir.path(), &experiments);
    assert!(text.contains("| single POST, CPU per request"), "{text}");
    let url = format!("file://{}", dir.path().join("load/report.html").display());
    let mut browser = Browser::start();
    for (width, name) in [(DESK, "report-desk.png"), (PHONE, "report-phone.png")] {
        browser.open(&url, width);
        assert_eq!(faults(&mut browser, width), [""; 0], "at {width}");
        let mut count =
            |what: &str| browser.value(&format!("document.querySelectorAll('{what}').length"));
        assert_eq!(count("polyline.curve"), 2, "flux and nginx");
        assert_eq!(count("rect.bar"), 3 + 3 + 3, "single, batch and shards");
        assert_eq!(count(".targets tbody tr"), 1 + 1 + 2 + 2);
        assert_eq!(count("details"), experiments.len());
        let drawn = "[...document.querySelectorAll('rect.bar, polyline.curve')].every(it => it.getBoundingClientRect().width > 0)";
        assert_eq!(browser.value(drawn), true);
        keep_picture(&mut browser, name);
    }
    // The picture for the README stands alone.
    browser.open(&url.replace("report.html", "cpu.svg"), DESK);
    assert_eq!(
        browser.value("document.querySelectorAll('rect.bar').length"),
        6
    );
}

#[test]
fn a_page_with_faults_is_seen_to_have_them() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let page = "<meta name=viewport content='width=device-width'><div style='width:500px'>wide</div>\
                <svg viewBox='0 0 50 20' width=50><text x=0 y=10>longer than it has room for</text></svg>\
                <script>console.error('x'); nothing.there()</script><img src='http://127.0.0.1:9/outside.png'>";
    let file = dir.path().join("bad.html");
    fs::write(&file, page).expect("a file of our own");
    let mut browser = Browser::start();
    browser.open(&format!("file://{}", file.display()), PHONE);
    let faults = faults(&mut browser, PHONE).join("\n");
    for expected in [
        "wider than the window",
        "cut off: longer",
        "console-api",
        "nothing is not defined",
        "outside.png",
    ] {
        let expected = expected.replace("console-api", "\"type\":\"error\"");
        assert!(faults.contains(&expected), "{expected}: {faults}");
    }
}
