//! From a client's request to what carbon and the last store hold.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Barrier};

use common::blackhole::Blackhole;
use common::carbon::CarbonCache;
use common::flux::{Flux, KEY};
use common::http::{Client, batch, single};
use common::process::Daemon;
use common::redis::Redis;
use common::{now, wait_until};

#[test]
fn with_no_configuration_at_all_it_serves_and_keeps_what_it_is_sent() {
    let taken = [8000, 8001].map(|port| TcpListener::bind(("127.0.0.1", port)).is_err());
    if taken.contains(&true) {
        println!("skipped: the default ports 8000 and 8001 are taken on this machine");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_flux"));
    let mut flux = Daemon::spawn("flux", command.current_dir(dir.path()));
    wait_until("flux is ready", || {
        assert!(flux.exited().is_none(), "{}", flux.said());
        Client::try_connect(8001).is_ok_and(|mut admin| admin.get("/readyz").status == 200)
    });

    let data = dir.path().join("flux-data");
    let key = fs::read_to_string(data.join("key")).expect("a key is made at the first start");
    let at = now();
    let answer = Client::connect(8000).post(&single(key.trim(), "a.b", at, 1.5));
    assert_eq!(answer.status, 204, "{answer:?}");
    wait_until("the point is in points.carbon", || {
        let points = fs::read_to_string(data.join("points.carbon"));
        points.is_ok_and(|text| text.lines().any(|line| line == format!("a.b 1.5 {at}")))
    });
    assert!(flux.said().contains("points.carbon"), "{}", flux.said());
}

#[test]
fn the_key_made_at_the_first_start_is_private_and_survives_a_restart() {
    let mut flux = Flux::builder().unset("keys.self").start();
    let file = flux.data_dir().join("key");
    let key = fs::read_to_string(&file).expect("a key file");
    assert_eq!(key.trim().len(), 32);
    assert!(key.trim().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let mode = fs::metadata(&file).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(flux.post(&single(key.trim(), "a", now(), 1.0)).status, 204);
    assert_eq!(flux.post(&single(KEY, "a", now(), 1.0)).status, 401);
    assert!(
        !flux.daemon.said().contains(key.trim()),
        "the key is in the log"
    );

    assert!(flux.stop().success());
    flux.start_again();
    assert_eq!(fs::read_to_string(&file).expect("still there"), key);
}

#[test]
fn a_point_reaches_whisper_exactly_and_its_mark_has_pythons_text() {
    let carbon = CarbonCache::start();
    let redis = Redis::with_password("s3cret");
    let flux = Flux::builder()
        .carbon(&format!("127.0.0.1:{}", carbon.pickle_port))
        .redis(&redis.url())
        .start();
    let at = now() - 60;
    let values = [
        ("e2e.tenth", 0.1, "0.1"),
        ("e2e.whole", 1.0, "1.0"),
        ("e2e.minus_zero", -0.0, "-0.0"),
        ("e2e.large", 1e16, "1e+16"),
        (
            "e2e.just_below",
            9_007_199_254_740_993.0,
            "9007199254740992.0",
        ),
        ("e2e.small", 1e-5, "1e-05"),
        ("e2e.smallest", 5e-324, "5e-324"),
    ];
    let answer = flux.post(&batch(
        KEY,
        values.map(|(name, value, _)| (name, at, value)),
    ));
    assert_eq!(answer.status, 204, "{answer:?}");
    for (name, value, text) in values {
        carbon.wait_point(name, at, value);
        redis.wait_mark(name, &format!("[{at}, {text}]"));
    }
    assert_eq!(flux.metrics().sum("flux_points_accepted_total"), 7.0);
}

#[test]
fn the_line_protocol_reaches_whisper_too() {
    let carbon = CarbonCache::start();
    let flux = Flux::builder()
        .carbon(&format!("127.0.0.1:{}", carbon.line_port))
        .set_text("carbon.protocol", "line")
        .start();
    let at = now() - 60;
    assert_eq!(flux.post(&single(KEY, "line.a", at, 0.1)).status, 204);
    carbon.wait_point("line.a", at, 0.1);
}

#[test]
fn the_store_can_be_redis_on_a_unix_socket() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.unix_url())
        .start();
    let at = now();
    assert_eq!(flux.post(&single(KEY, "a.b", at, 2.5)).status, 204);
    redis.wait_mark("a.b", &format!("[{at}, 2.5]"));
}

#[test]
fn frames_carry_names_timestamps_and_values_bit_for_bit() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now();
    let names: Vec<String> = (0..2_000)
        .map(|i| format!("exact.{}.m{i}", i % 13))
        .collect();
    let value = |i: usize| match i % 5 {
        0 => i as f64,
        1 => -(i as f64) / 3.0,
        2 => f64::from_bits(0x3ff0_0000_0000_0000 + i as u64),
        3 => f64::MAX / i as f64,
        _ => f64::MIN_POSITIVE / i as f64,
    };
    let points = names.iter().enumerate().map(|(i, name)| {
        let spread = (i % 3_000) as u32;
        (name.as_str(), at - spread, value(i))
    });
    assert_eq!(flux.post(&batch(KEY, points)).status, 204);
    let received = blackhole.wait_points(names.len());
    assert_eq!(received.len(), names.len(), "each point once");
    for (i, name) in names.iter().enumerate() {
        assert!(
            blackhole.has(name, at - (i % 3_000) as u32, value(i)),
            "{name}"
        );
    }
}

#[test]
fn a_point_at_or_before_the_last_one_accepted_is_a_duplicate() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now() - 100;
    // In one request, in wire order: new, the same again, older, new.
    let body = batch(
        KEY,
        [
            ("dup.a", at, 1.0),
            ("dup.a", at, 2.0),
            ("dup.a", at - 1, 3.0),
            ("dup.a", at + 1, 4.0),
        ],
    );
    assert_eq!(flux.post(&body).status, 204);
    // And in a second one, all of them again.
    assert_eq!(flux.post(&body).status, 204);
    blackhole.wait_points(2);
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_points_received_total"), 8.0);
    assert_eq!(metrics.sum("flux_points_accepted_total"), 2.0);
    assert_eq!(
        metrics.with("flux_points_duplicate_total", r#"kind="same""#),
        2.0
    );
    assert_eq!(
        metrics.with("flux_points_duplicate_total", r#"kind="older""#),
        4.0
    );
    flux.wait_metric("flux_points_delivered_total", 2.0);
    assert_eq!(blackhole.points().len(), 2);
    assert!(blackhole.has("dup.a", at, 1.0) && blackhole.has("dup.a", at + 1, 4.0));
}

#[test]
fn a_back_fill_is_sent_whatever_its_age_and_does_not_move_the_mark() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now() - 100;
    let fill = |timestamp: u32, value: f64| {
        format!(
            r#"{{"key":"{KEY}","metrics":[{{"metric":"f.a","timestamp":{timestamp},"value":{value},"fill":true}}]}}"#
        )
    };
    assert_eq!(flux.post(&single(KEY, "f.a", at, 1.0)).status, 204);
    assert_eq!(flux.post(&fill(1_400_000_000, 2.0)).status, 204);
    assert_eq!(flux.post(&fill(at + 50, 3.0)).status, 204);
    assert_eq!(flux.post(&single(KEY, "f.a", at + 1, 4.0)).status, 204);
    blackhole.wait_points(4);
    assert!(
        blackhole.has("f.a", 1_400_000_000, 2.0),
        "older than the window and the mark"
    );
    assert!(
        blackhole.has("f.a", at + 1, 4.0),
        "the mark was not moved by the fill"
    );
}

#[test]
fn one_bad_item_keeps_the_whole_request_out() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now();
    let old = at - 4_000;
    let bad_items = [
        format!(r#"{{"metric":"bad.z","timestamp":{old},"value":1}}"#),
        format!(r#"{{"metric":"bad.z","timestamp":{at},"value":"abc"}}"#),
        format!(r#"{{"metric":"bad{{z","timestamp":{at},"value":1}}"#),
        "null".to_owned(),
    ];
    for (i, bad) in bad_items.iter().enumerate() {
        let good = format!(r#"{{"metric":"bad.{i}","timestamp":{at},"value":1}}"#);
        let body = format!(r#"{{"key":"{KEY}","metrics":[{good},{good},{bad}]}}"#);
        let answer = flux.post(&body);
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert!(answer.message().starts_with("invalid "), "{answer:?}");
    }
    // What comes later overtakes nothing: when it is there, the refused ones would be too.
    assert_eq!(flux.post(&single(KEY, "bad.sentinel", at, 1.0)).status, 204);
    for i in 0..4 {
        let name = format!("bad.{i}");
        assert_eq!(flux.post(&single(KEY, &name, at, 2.0)).status, 204);
    }
    let points = blackhole.wait_points(5);
    assert_eq!(points.len(), 5, "{points:?}");
    assert!(
        points
            .iter()
            .all(|point| point.name == "bad.sentinel" || point.value == 2.0),
        "a refused request moved a mark or delivered a point: {points:?}"
    );
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_points_rejected_total"), 12.0);
    assert_eq!(metrics.sum("flux_points_duplicate_total"), 0.0);
}

#[test]
fn values_that_are_not_finite_cost_the_batch_nothing() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now();
    let item = |i: usize, value: &str| {
        format!(r#"{{"metric":"nan.{i}","timestamp":{at},"value":{value}}}"#)
    };
    let items = ["NaN", "-Infinity", "\"nan\"", "1e400", "7"]
        .iter()
        .enumerate()
        .map(|(i, value)| item(i, value))
        .collect::<Vec<_>>()
        .join(",");
    let answer = flux.post(&format!(r#"{{"key":"{KEY}","metrics":[{items}]}}"#));
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(blackhole.wait_points(1)[0].name, "nan.4");
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_points_discarded_total"), 4.0);
    assert_eq!(metrics.sum("flux_points_accepted_total"), 1.0);
}

#[test]
fn a_keys_namespace_is_put_in_front_of_every_name() {
    let blackhole = Blackhole::start();
    let other = "Z".repeat(32);
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set(&format!("keys.namespaces.{other}"), r#""warehouse-1""#)
        .start();
    let at = now();
    let names = ["a", "warehouse-1.b", "warehouse-10.c", "d"];
    let body = batch(&other, names.map(|name| (name, at, 1.0)));
    assert_eq!(flux.post(&body).status, 204);
    let target = format!("/metric_data?key={other}&metric=e&value=1&timestamp={at}");
    assert_eq!(flux.client().get(&target).status, 204);
    let received: BTreeSet<String> = blackhole
        .wait_points(5)
        .into_iter()
        .map(|point| point.name)
        .collect();
    let expected = [
        "warehouse-1.a",
        "warehouse-1.b",
        "warehouse-1.d",
        "warehouse-1.e",
        "warehouse-1.warehouse-10.c",
    ];
    assert_eq!(received, expected.map(str::to_owned).into());
}

#[test]
fn a_clean_restart_remembers_what_was_accepted() {
    let blackhole = Blackhole::start();
    let mut flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now() - 100;
    assert_eq!(flux.post(&single(KEY, "again.a", at, 1.0)).status, 204);
    blackhole.wait_points(1);
    assert!(flux.stop().success());

    flux.start_again();
    assert_eq!(flux.post(&single(KEY, "again.a", at, 2.0)).status, 204);
    assert_eq!(flux.post(&single(KEY, "again.a", at + 1, 3.0)).status, 204);
    wait_until("the new point arrives", || {
        blackhole.has("again.a", at + 1, 3.0)
    });
    assert!(
        !blackhole.has("again.a", at, 2.0),
        "a second value at an accepted timestamp"
    );
    assert_eq!(flux.metrics().sum("flux_points_duplicate_total"), 1.0);
}

#[test]
fn after_a_kill_9_a_stored_mark_still_decides() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let mut flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .start();
    let at = now() - 100;
    assert_eq!(flux.post(&single(KEY, "killed.a", at, 1.0)).status, 204);
    redis.wait_mark("killed.a", &format!("[{at}, 1.0]"));
    flux.kill9();
    flux.start_again();
    assert_eq!(flux.post(&single(KEY, "killed.a", at, 2.0)).status, 204);
    assert_eq!(flux.metrics().sum("flux_points_duplicate_total"), 1.0);
    assert_eq!(flux.metrics().sum("flux_points_accepted_total"), 0.0);
}

#[test]
fn sixty_four_connections_with_the_same_metrics_get_one_acceptance_per_timestamp() {
    const CONNECTIONS: usize = 64;
    const ROUNDS: u32 = 20;
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .shards(3)
        .start();
    let first = now() - 100;
    let start_line = Arc::new(Barrier::new(CONNECTIONS));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (start_line, port) = (start_line.clone(), flux.port);
            std::thread::spawn(move || {
                let mut client = Client::connect(port);
                for round in 0..ROUNDS {
                    // Every connection sends another value, so a second acceptance is visible.
                    let value = f64::from(round) + connection as f64 / 128.0;
                    let names = ["race.a", "race.b", "race.c", "race.d", "race.e"];
                    let body = batch(KEY, names.map(|name| (name, first + round, value)));
                    start_line.wait();
                    assert_eq!(client.post(&body).status, 204);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every request is a 204");
    }
    let accepted = 5 * ROUNDS as usize;
    let points = blackhole.wait_points(accepted);
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_points_accepted_total"), accepted as f64);
    assert_eq!(
        metrics.sum("flux_points_duplicate_total"),
        (accepted * (CONNECTIONS - 1)) as f64
    );
    let distinct: BTreeSet<_> = points.iter().map(|p| (&p.name, p.timestamp)).collect();
    assert_eq!(distinct.len(), accepted);
    flux.wait_metric("flux_points_delivered_total", accepted as f64);
    assert_eq!(blackhole.points().len(), accepted, "each of them once");
}

#[test]
fn the_counters_reconcile_after_a_mix_of_everything() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .shards(2)
        .start();
    let at = now() - 200;
    let mut client = flux.client();
    for i in 0..100_u32 {
        let names = [format!("mix.{}", i % 7), format!("mix.{}", i % 11)];
        let body = batch(
            KEY,
            names.iter().map(|name| (name.as_str(), at + i / 3, 1.0)),
        );
        assert_eq!(client.post(&body).status, 204);
        assert_eq!(client.post(&single(KEY, "mix.bad{", at, 1.0)).status, 400);
        let nan = format!(r#"{{"key":"{KEY}","metrics":[{{"metric":"n","value":NaN}}]}}"#);
        assert_eq!(client.post(&nan).status, 204);
    }
    let metrics = flux.metrics();
    let sum = |name: &str| metrics.sum(&format!("flux_points_{name}_total"));
    assert_eq!(sum("received"), 400.0);
    assert_eq!(sum("rejected"), 100.0);
    assert_eq!(sum("discarded"), 100.0);
    assert_eq!(
        sum("received"),
        sum("accepted") + sum("duplicate") + sum("discarded") + sum("rejected")
    );
    flux.wait_metric("flux_points_delivered_total", sum("accepted"));
    assert_eq!(flux.metrics().sum("flux_points_queued"), 0.0);
    assert_eq!(blackhole.points().len() as f64, sum("accepted"));
}
