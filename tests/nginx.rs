//! Behind a real nginx, as Skyline's own deployment has it.

mod common;

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{batch, request, single};
use common::nginx::Nginx;
use common::now;

#[test]
fn every_route_answers_with_and_without_the_prefix_and_behind_a_proxy() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let nginx = Nginx::in_front_of(flux.port);
    let at = now();
    let mut sent = 0;
    let mut direct = flux.client();
    let mut proxied = common::http::Client::connect(nginx.port);
    let mut try_both = |client: &mut common::http::Client, path: &str| {
        sent += 1;
        let query = format!("{path}?metric=way.{sent}&value=1&timestamp={at}&key={KEY}");
        let answer = client.get(&query);
        assert_eq!(answer.status, 204, "GET {path}: {answer:?}");
        sent += 1;
        let body = single(KEY, &format!("way.{sent}"), at, 1.0);
        client.send(&request(
            "POST",
            &format!("{path}_post"),
            &[],
            body.as_bytes(),
        ));
        let answer = client.answer();
        assert_eq!(answer.status, 204, "POST {path}: {answer:?}");
    };
    for path in [
        "/metric_data",
        "/flux/metric_data",
        "//metric_data",
        "///flux/metric_data",
    ] {
        try_both(&mut direct, path);
    }
    for path in [
        "/flux/metric_data",
        "/apache/metric_data",
        "/flux/flux/metric_data",
    ] {
        try_both(&mut proxied, path);
    }
    assert_eq!(blackhole.wait_points(sent).len(), sent);
}

#[test]
fn refusals_and_probes_pass_through_a_proxy_unchanged() {
    let flux = Flux::builder().start();
    let nginx = Nginx::in_front_of(flux.port);
    let mut client = common::http::Client::connect(nginx.port);
    let mut post = |body: &str| {
        client.send(&request(
            "POST",
            "/flux/metric_data_post",
            &[],
            body.as_bytes(),
        ));
        client.answer()
    };
    let wrong = post(&single(&"x".repeat(32), "a", now(), 1.0));
    assert_eq!(
        (wrong.status, wrong.message().as_str()),
        (401, "invalid key")
    );
    assert_eq!(wrong.body, r#"{"code": 401, "message": "invalid key"}"#);
    let bad = post("{");
    assert_eq!(bad.status, 400);
    assert!(bad.message().starts_with("invalid json data"), "{bad:?}");
    let probe = client.get("/flux/metric_data?status=true");
    assert_eq!(
        (probe.status, probe.body.as_str()),
        (200, r#"{"status": "ok"}"#)
    );
    assert_eq!(client.get("/flux/nope").status, 404);
}

#[test]
fn large_batches_pass_through_a_proxy_that_buffers_them() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let nginx = Nginx::in_front_of(flux.port);
    let names: Vec<String> = (0..5_000)
        .map(|i| format!("large.{}", "n".repeat(60) + &i.to_string()))
        .collect();
    let at = now();
    let body = batch(KEY, names.iter().map(|name| (name.as_str(), at, 1.0)));
    assert!(body.len() > 500_000, "large enough for nginx to spool");
    let mut client = common::http::Client::connect(nginx.port);
    client.send(&request(
        "POST",
        "/flux/metric_data_post",
        &[],
        body.as_bytes(),
    ));
    assert_eq!(client.answer().status, 204);
    assert_eq!(blackhole.wait_points(5_000).len(), 5_000);
}
