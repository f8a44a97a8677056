//! The programs that really send: Skyline's way with Python's `requests`, curl with gzip, Telegraf's batches;
//! and what a namespace with a quota tells them.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{batch, request, single};
use common::{now, wait_until};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

const K2: &str = "fedcba9876543210fedcba9876543210";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("into a Vec");
    encoder.finish().expect("into a Vec")
}

/// Runs a script of `tests/clients` with Debian's interpreter; what it printed, which is JSON.
fn python(script: &str, flux: &Flux, key: &str, more: &[&str]) -> Value {
    let file = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    let base = format!("http://127.0.0.1:{}", flux.port);
    let output = Command::new("/usr/bin/python3")
        .args([&file, &base, key, &now().to_string()])
        .args(more)
        .output()
        .expect("/usr/bin/python3 runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

type Points = BTreeMap<(String, u32), u64>;

/// Name, time, and the text of a number, as the scripts print them.
fn expected(points: &Value) -> Points {
    let point = |point: &Value| {
        let name = point[0].as_str().expect("a name").to_owned();
        let timestamp = point[1].as_u64().expect("a time") as u32;
        let value: f64 = point[2]
            .as_str()
            .expect("a text")
            .parse()
            .expect("a number");
        ((name, timestamp), value.to_bits())
    };
    let points = points.as_array().expect("a list");
    let map: Points = points.iter().map(point).collect();
    assert_eq!(map.len(), points.len(), "each is expected once");
    map
}

fn received(blackhole: &Blackhole, count: usize) -> Points {
    let points = blackhole.wait_points(count);
    assert_eq!(points.len(), count, "each came once");
    let point = |point: &common::blackhole::Received| {
        ((point.name.clone(), point.timestamp), point.value.to_bits())
    };
    points.iter().map(point).collect()
}

#[test]
fn skylines_own_programs_notice_no_difference() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let points = expected(&python("skyline.py", &flux, KEY, &[]));
    assert!(points.len() > 900);
    assert_eq!(received(&blackhole, points.len()), points);
    let metrics = flux.metrics();
    assert!(metrics.sum("flux_inflated_bytes_total") > 30_000.0);
    assert_eq!(
        metrics.sum("flux_points_accepted_total"),
        points.len() as f64
    );
}

#[test]
fn a_telegraf_batch_gets_the_names_its_documentation_promises() {
    for (key, prefix, before) in [(KEY, "-", ""), (K2, "tg", "warehouse-1.")] {
        let blackhole = Blackhole::start();
        let flux = Flux::builder()
            .carbon(&blackhole.endpoint())
            .set(
                "keys.namespaces",
                format!("{{ \"{K2}\" = \"warehouse-1\" }}"),
            )
            .start();
        let printed = python("telegraf.py", &flux, key, &[prefix]);
        let points: Points = expected(&printed["points"])
            .into_iter()
            .map(|((name, timestamp), value)| ((format!("{before}{name}"), timestamp), value))
            .collect();
        assert!(points.len() > 2000);
        assert_eq!(received(&blackhole, points.len()), points);
        let dropped = printed["dropped"].as_f64().expect("a number");
        let metrics = flux.metrics();
        let label = "reason=\"not_numeric\"";
        assert_eq!(metrics.with("flux_points_discarded_total", label), dropped);
        assert_eq!(
            metrics.sum("flux_points_received_total"),
            points.len() as f64 + dropped
        );
    }
}

#[test]
fn curl_sends_what_gzip_wrote() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now();
    let names: Vec<String> = (0..450).map(|i| format!("curl.{i}")).collect();
    let body = batch(KEY, names.iter().map(|name| (name.as_str(), at, 0.5)));
    let url = format!("http://127.0.0.1:{}/metric_data_post", flux.port);
    // A large body makes curl ask for a 100 first, and a pipe has no length.
    for more in [
        "",
        "-H 'Transfer-Encoding: chunked' -H 'Expect: 100-continue'",
    ] {
        let script = format!(
            "gzip -9 | curl -sS -w '%{{http_code}}' -H 'Content-Encoding: gzip' {more} --data-binary @- {url}"
        );
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut stdin = shell.stdin.take().expect("piped");
        stdin.write_all(body.as_bytes()).expect("gzip reads");
        drop(stdin);
        let output = shell.wait_with_output().expect("curl ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "204", "{more}");
    }
    assert_eq!(blackhole.wait_points(450).len(), 450);
    assert_eq!(flux.metrics().sum("flux_points_duplicate_total"), 450.0);
}

#[test]
fn what_inflates_counts_as_buffered_and_nothing_of_it_stays() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .shards(1)
        .set("http.body_bytes_max", 500_000)
        .set("http.inflated_bytes_max", 3_000_000)
        .set("http.buffered_bytes_max", 4_000_000)
        .start();
    let at = now();
    let body = |client: usize| {
        let name = |i: usize| format!("inflates.{client}.{i}.{}", "x".repeat(30));
        let names: Vec<String> = (0..20_000).map(name).collect();
        let body = batch(KEY, names.iter().map(|name| (name.as_str(), at, 1.0)));
        assert!(body.len() > 1_500_000 && body.len() < 3_000_000);
        gzip(body.as_bytes())
    };
    let fields = [("Content-Encoding", "gzip")];
    let bodies: Vec<Vec<u8>> = (0..8).map(body).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let post = |body: &Vec<u8>| {
            let mut client = flux.client();
            client.send(&request("POST", "/metric_data_post", &fields, body));
            client.answer().status
        };
        let clients: Vec<_> = bodies
            .iter()
            .map(|body| scope.spawn(move || post(body)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("no panic"))
            .collect()
    });
    assert!(
        statuses.iter().all(|status| matches!(status, 204 | 429)),
        "{statuses:?}"
    );
    let taken = statuses.iter().filter(|status| **status == 204).count();
    assert!(taken > 0, "{statuses:?}");
    assert_eq!(blackhole.wait_points(taken * 20_000).len(), taken * 20_000);
    flux.wait_metric("flux_buffered_bytes", 0.0);
}

#[test]
fn a_full_namespace_takes_what_it_knows_and_names_what_it_does_not_across_restarts() {
    let blackhole = Blackhole::start();
    let mut flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .shards(2)
        .set(
            "keys.namespaces",
            format!("{{ \"{K2}\" = {{ prefix = \"w\", quota = 20 }} }}"),
        )
        .start();
    let at = now() - 600;
    let names: Vec<String> = (0..25).map(|i| format!("quota.{i}")).collect();
    let post = |flux: &Flux, at: u32| {
        let body = batch(K2, names.iter().map(|name| (name.as_str(), at, 1.0)));
        flux.post(&body)
    };
    let refused = post(&flux, at);
    assert_eq!(refused.status, 207, "{refused:?}");
    let told: Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(told["rejected metrics"], serde_json::json!(names[20..]));
    assert_eq!(told["processed metrics"], serde_json::json!(names[..20]));
    assert_eq!(blackhole.wait_points(20).len(), 20);

    // On whichever shard they arrive: each connection may be another's.
    for i in 0..25 {
        let answer = flux.post(&single(K2, &names[24 - i], at + 1, 1.0));
        let status = if 24 - i < 20 { 204 } else { 400 };
        assert_eq!(answer.status, status, "{}: {answer:?}", names[24 - i]);
    }
    let target = format!("/metric_data?metric=quota.21&value=1&key={K2}");
    let answer = flux.client().get(&target);
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("\"rejected metric\": \"quota.21\""),
        "{answer:?}"
    );
    assert_eq!(flux.post(&single(KEY, "quota.21", at, 1.0)).status, 204);
    let label = "reason=\"quota\"";
    let metrics = flux.metrics();
    assert_eq!(metrics.with("flux_points_rejected_total", label), 11.0);
    assert_eq!(metrics.sum("flux_namespace_points_rejected_total"), 11.0);

    let file = flux.data_dir().join("quotas");
    let known = || fs::read_to_string(&file).map_or(0, |text| text.lines().count());
    wait_until("the places are on disk", || known() == 2 + 20);
    for (restart, at) in [(false, at + 2), (true, at + 3)] {
        if restart {
            assert!(flux.stop().success());
        } else {
            flux.kill9();
        }
        flux.start_again();
        let told: Value = serde_json::from_str(&post(&flux, at).body).expect("JSON");
        assert_eq!(told["rejected metrics"], serde_json::json!(names[20..]));
    }
}
