//! A real Prometheus as the remote: a history of days, and the program's own series.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::common::blackhole::Blackhole;
use super::common::carbon::CarbonCache;
use super::common::flux::{Flux, KEY};
use super::common::graphite::GraphiteWeb;
use super::common::http::single;
use super::common::prometheus::Prometheus;
use super::common::redis::Redis;
use super::common::{now, wait_for, wait_until};
use super::{LONG, body, dice, minute, post, sent, value, wait_done};
use serde_json::json;

const METRIC: &str = "vista.prometheus_example_org.node_network_transmit_bytes_total.device.eth0";
const QUERY: &str = "node_network_transmit_bytes_total%7Bdevice%3D%22eth0%22%7D";
const STEP: u32 = 20;
const SECONDS: u32 = 2 * 86_400;

/// Two days of samples, as OpenMetrics; two series, of which the query names one.
fn history(now: u32) -> String {
    let mut text = String::from("# TYPE node_network_transmit_bytes_total unknown\n");
    for device in ["eth0", "lo"] {
        for at in samples(now) {
            let value = if device == "lo" { 1.0 } else { value(3, at) };
            let name = "node_network_transmit_bytes_total";
            let line = writeln!(text, "{name}{{device=\"{device}\"}} {value:?} {at}");
            line.expect("a String takes it");
        }
    }
    text + "# EOF\n"
}

fn samples(now: u32) -> impl Iterator<Item = u32> {
    let end = now - now % STEP;
    let all = (end - SECONDS..=end).step_by(STEP as usize);
    all.filter(|at| !dice(4, *at).is_multiple_of(13))
}

fn minutes(now: u32) -> BTreeMap<u32, f64> {
    let mut bins: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for at in samples(now) {
        bins.entry(minute(at)).or_default().push(value(3, at));
    }
    bins.retain(|at, _| *at < minute(now));
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    bins.into_iter()
        .map(|(at, values)| (at, mean(values)))
        .collect()
}

#[test]
fn vistas_prometheus_example_fills_a_graphite_once() {
    let began = now();
    let carbon = CarbonCache::keeping("60s:30d");
    let local = GraphiteWeb::of(&carbon);
    let redis = Redis::start();
    let flux = Flux::builder()
        .carbon(&format!("127.0.0.1:{}", carbon.pickle_port))
        .redis(&redis.url())
        .set_text("populate.graphite", &local.render_address())
        .start();
    let prometheus = Prometheus::scraping(flux.admin_port, Some(&history(began)));
    // Its bytes on the wire, in the example's form.
    let url = format!(
        "http://127.0.0.1:{}/api/v1/query?query={QUERY}[15d]",
        prometheus.port
    );
    let example = format!(
        "{{\"remote_host_type\": \"prometheus\", \"remote_target\": \"node_network_transmit_bytes_total{{device=\\\"eth0\\\"}}\", \
         \"metric\": \"{METRIC}\", \"namespace_prefix\": \"vista.prometheus_example_org\", \"key\": \"{KEY}\", \
         \"token\": \"None\", \"user\": \"None\", \"password\": \"None\", \
         \"fetch_resolution_urls\": \"\\\"['{url}']\\\"\"}}"
    );
    assert_eq!(post(&flux, &example).status, 204);
    wait_done(&flux, 1);
    let expected = minutes(began);
    let read = || local.values(METRIC, began - SECONDS - 3600, minute(began) - 60);
    wait_until("Graphite has the history", || read() == expected);
    let points = sent(&flux);

    let (last, value) = expected.last_key_value().expect("minutes");
    // The sample of a minute that ended meanwhile may have been a bin of its own.
    let mark = redis.get(&format!("flux.last.{METRIC}")).expect("a mark");
    let at: u32 = mark[1..]
        .split(',')
        .next()
        .expect("a pair")
        .parse()
        .expect("a time");
    assert!(
        at == *last && mark == format!("[{last}, {value:?}]") || at == last + 60,
        "{mark}"
    );
    assert_eq!(
        redis
            .get(&format!("vista.last.resolution.{METRIC}"))
            .as_deref(),
        Some("20")
    );

    // A young mark: only minutes are asked for, and there is nothing new in them.
    assert_eq!(post(&flux, &example).status, 204);
    wait_done(&flux, 2);
    assert!(sent(&flux) <= points + 1, "sent again");
    // An old one, as after hours without Vista: only what is missing.
    let gap = minute(began) - 5 * 3600;
    let missing = expected.range(gap + 1..).count() as u64;
    redis.set("flux.last.caught.up", &format!("[{gap}, 1.0]"));
    let before = sent(&flux);
    let range = format!("{url}&x=1");
    let again = body(
        "prometheus",
        "caught",
        "caught.up",
        json!(format!("\"['{range}']\"")),
    );
    assert_eq!(post(&flux, &again).status, 204);
    wait_done(&flux, 3);
    assert!((missing..=missing + 1).contains(&(sent(&flux) - before)));

    // The same history through query_range, whose step decides.
    let start = minute(began) - 7200;
    let ranged = format!(
        "http://127.0.0.1:{}/api/v1/query_range?query={QUERY}&start={start}&end={}&step=60s",
        prometheus.port,
        minute(began) - 60
    );
    assert_eq!(
        post(
            &flux,
            &body("prometheus", "ranged", "ranged.m", json!([ranged]))
        )
        .status,
        204
    );
    wait_done(&flux, 4);
    // An instant: the newest sample at that second, at most five minutes old.
    let instant = |at: u32| samples(began).filter(|sample| *sample <= at).last();
    let expected: BTreeMap<u32, f64> = (start..=minute(began) - 60)
        .step_by(60)
        .map(|at| (at, value_of(instant(at))))
        .collect();
    wait_until("Graphite has the range", || {
        local.values("ranged.m", start - 60, minute(began) - 60) == expected
    });
}

fn value_of(sample: Option<u32>) -> f64 {
    value(3, sample.expect("a sample before it"))
}

#[test]
fn the_programs_own_series_come_back_through_prometheus() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set("populate.resample_seconds", 1)
        .set("populate.submit_current_minute", true)
        .start();
    let prometheus = Prometheus::scraping(flux.admin_port, None);
    // Something that changes from scrape to scrape.
    let mut sent_points = 0;
    wait_for("five scrapes", LONG, || {
        sent_points += 1;
        let body = single(KEY, &format!("own.{sent_points}"), now(), 1.0);
        assert_eq!(flux.post(&body).status, 204);
        std::thread::sleep(std::time::Duration::from_millis(50));
        let held = prometheus.samples("sum(flux_points_received_total)[5m:1s]");
        (held.len() >= 5).then_some(())
    });
    for (name, path) in [
        (
            "instant",
            "query?query=sum(flux_points_received_total)[5m:1s]".to_owned(),
        ),
        (
            "raw",
            "query?query=flux_points_delivered_total[5m]".to_owned(),
        ),
        (
            "range",
            format!(
                "query_range?query=sum(flux_points_received_total)&start={}&end={}&step=1",
                now() - 60,
                now() - 1
            ),
        ),
    ] {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", prometheus.port);
        let before = jobs_done(&flux);
        let answer = post(
            &flux,
            &body("prometheus", name, &format!("own.{name}"), json!([url])),
        );
        assert_eq!(answer.status, 204, "{answer:?}");
        wait_done(&flux, before + 1);
    }
    // What Prometheus itself says of these seconds, now that they are over.
    for (name, query) in [
        ("own.instant", "sum(flux_points_received_total)[10m:1s]"),
        ("own.raw", "flux_points_delivered_total[10m]"),
        ("own.range", "sum(flux_points_received_total)[10m:1s]"),
    ] {
        let mut oracle: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (at, value) in prometheus.samples(query) {
            oracle.entry((at / 1000) as u32).or_default().push(value);
        }
        let points = blackhole.points();
        let ours: Vec<_> = points.iter().filter(|point| point.name == name).collect();
        assert!(ours.len() >= 4, "{name}: {} points", ours.len());
        for point in ours {
            let values = &oracle[&point.timestamp];
            // A second with two scrapes may have been asked for between them.
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!(
                point.value == mean || values.contains(&point.value),
                "{name} at {}: {} of {values:?}",
                point.timestamp,
                point.value
            );
        }
    }
}

fn jobs_done(flux: &Flux) -> u32 {
    super::jobs(flux, "done") as u32
}
