//! What goes out beside carbon and the marks: statsd, the program's own series, and what Skyline's other
//! programs look for in Redis.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::blackhole::Blackhole;
use common::datagrams::Statsd;
use common::flux::{Flux, KEY};
use common::http::{batch, single};
use common::ledger::reconcile;
use common::redis::{Redis, Reply};
use common::{now, wait_for, wait_until};

#[test]
fn statsd_gets_each_accepted_point_once_and_no_duplicate() {
    let (blackhole, mut statsd) = (Blackhole::start(), Statsd::start());
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set_text("statsd.endpoint", &statsd.endpoint())
        .shards(2)
        .start();
    let at = now() - 10;
    assert_eq!(flux.post(&single(KEY, "s.one", at, 2.5)).status, 204);
    assert_eq!(
        flux.post(&single(KEY, "s.one", at, 9.0)).status,
        204,
        "a duplicate"
    );
    assert_eq!(
        flux.post(&single(KEY, "s.one", at - 1, 9.0)).status,
        204,
        "older"
    );
    let target = format!("/metric_data?metric=caf%C3%A9:x&value=1e16&timestamp={at}&key={KEY}");
    assert_eq!(flux.client().get(&target).status, 204);
    let fill = format!(
        r#"{{"key":"{KEY}","metrics":[{{"metric":"s.fill","timestamp":1400000000,"value":-1e-05,"fill":true}}]}}"#
    );
    assert_eq!(flux.post(&fill).status, 204);
    let bad = batch(KEY, [("s.good", at, 1.0), ("s.b{d", at, 1.0)]);
    assert_eq!(flux.post(&bad).status, 400);
    let names: Vec<String> = (0..1_000)
        .map(|i| format!("s.batch.of.many.metrics.m{i}"))
        .collect();
    let points = names.iter().map(|name| (name.as_str(), at, 0.1));
    assert_eq!(flux.post(&batch(KEY, points)).status, 204);

    let mut lines = statsd.wait_lines(1_003);
    lines.sort_unstable();
    let mut expected: Vec<String> = names.iter().map(|name| format!("{name}:0.1|c")).collect();
    expected.extend(["s.one:2.5|c", "café_x:1e+16|c", "s.fill:-1e-05|c"].map(str::to_owned));
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let sizes: Vec<usize> = statsd.datagrams.iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 1432), "{sizes:?}");
    assert!(
        sizes.len() < 40,
        "a thousand lines share {} datagrams",
        sizes.len()
    );
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_statsd_points_sent_total"), 1_003.0);
    assert_eq!(
        metrics.sum("flux_statsd_datagrams_sent_total"),
        sizes.len() as f64
    );
    assert_eq!(metrics.sum("flux_statsd_points_dropped_total"), 0.0);
}

#[test]
fn what_comes_back_from_the_journal_is_not_counted_again() {
    let (mut blackhole, mut statsd) = (Blackhole::refusing(), Statsd::start());
    let mut flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set_text("statsd.endpoint", &statsd.endpoint())
        .start();
    let at = now() - 10;
    assert_eq!(flux.post(&single(KEY, "j.before", at, 1.0)).status, 204);
    statsd.wait_lines(1);
    flux.kill9();
    blackhole.listen();
    flux.start_again();
    blackhole.wait_points(1);
    assert_eq!(
        flux.post(&single(KEY, "j.before", at, 1.0)).status,
        204,
        "known"
    );
    assert_eq!(flux.post(&single(KEY, "j.after", at, 1.0)).status, 204);
    statsd.wait_lines(2);
    assert!(flux.stop().success());
    statsd.receive();
    assert_eq!(statsd.lines(), ["j.before:1.0|c", "j.after:1.0|c"]);
}

#[test]
fn a_statsd_that_is_away_delays_nobody_and_is_found_again() {
    let blackhole = Blackhole::start();
    let address = Statsd::start().endpoint();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set_text("statsd.endpoint", &address)
        .start();
    let at = now() - 2_000;
    let mut sent = 0;
    wait_until("the closed port was noticed", || {
        sent += 1;
        assert_eq!(
            flux.post(&single(KEY, "away.a", at + sent, 1.0)).status,
            204
        );
        flux.metrics().sum("flux_statsd_errors_total") >= 2.0
    });
    let mut statsd = Statsd::on(&address).expect("its own port again");
    wait_until("a point arrives", || {
        sent += 1;
        assert_eq!(
            flux.post(&single(KEY, "away.b", at + sent, 2.0)).status,
            204
        );
        statsd.receive();
        statsd.lines().iter().any(|line| line == "away.b:2.0|c")
    });
    blackhole.wait_points(sent as usize);

    let nowhere = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set_text("statsd.endpoint", "nowhere.invalid:8125")
        .start();
    assert_eq!(nowhere.post(&single(KEY, "away.c", at, 1.0)).status, 204);
    blackhole.wait_points(sent as usize + 1);
    wait_until("the name was not resolved", || {
        nowhere.metrics().sum("flux_statsd_errors_total") >= 1.0
    });
}

#[test]
fn the_own_series_go_to_carbon_and_into_no_count_of_points() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set_text("telemetry.host_name", "web-1")
        // A shard that is asked more than an interval late has forgotten one: longer than a loaded machine is.
        .set("telemetry.interval_seconds", 3)
        .shards(2)
        .start();
    let at = now() - 10;
    let body = batch(
        KEY,
        [("own.a", at, 1.0), ("own.b", at, 1.0), ("own.c", at, 1.0)],
    );
    assert_eq!(flux.post(&body).status, 204);
    assert_eq!(flux.post(&body).status, 204, "three duplicates");
    assert_eq!(
        flux.post(&single(KEY, "own.old", at - 9_000, 1.0)).status,
        400
    );
    let unknown = format!("/metric_data?metric=own.b&value=1&key={KEY}&colour=blue");
    assert_eq!(flux.client().get(&unknown).status, 400);
    let wrong = "x".repeat(32);
    assert_eq!(flux.post(&single(&wrong, "own.key", at, 1.0)).status, 401);

    let expected: BTreeMap<&str, f64> = [
        ("worker.metrics_sent_to_graphite", 3.0),
        ("worker.discarded.already_received", 3.0),
        ("listen.added_to_queue", 6.0),
        ("listen.discarded.invalid_timestamp", 1.0),
        ("listen.discarded.metric_name", 0.0),
        ("listen.discarded.invalid_value", 0.0),
        ("listen.discarded.invalid_key", 1.0),
        ("listen.discarded.invalid_parameters", 1.0),
        ("listen.dropped_non_numeric_metrics", 0.0),
    ]
    .into();
    let own = || {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for point in blackhole.since(0) {
            if let Some(name) = point.name.strip_prefix("skyline.flux.web-1.") {
                assert!(point.timestamp.abs_diff(now()) < 100, "{point:?}");
                *sums.entry(name.to_owned()).or_default() += point.value;
            }
        }
        sums
    };
    // What belongs to one moment may fall into two intervals: the sums tell.
    let sums = wait_for("every series has its sum", common::PATIENCE, || {
        let sums = own();
        let reached = |(name, sum): (&&str, &f64)| sums.get(*name) == Some(sum);
        expected.iter().all(reached).then_some(sums)
    });
    let mut names: Vec<&str> = expected.keys().copied().collect();
    names.push("worker.httpMetricDataQueue.size");
    names.sort_unstable();
    assert_eq!(sums.keys().collect::<Vec<_>>(), names);

    flux.wait_metric("flux_points_delivered_total", 3.0);
    wait_until("the own points are counted apart", || {
        flux.metrics()
            .with("flux_own_points_total", r#"result="sent""#)
            >= 10.0
    });
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_points_accepted_total"), 3.0);
    let rejected = |reason: &str| {
        metrics.with(
            "flux_points_rejected_total",
            &format!("reason=\"{reason}\""),
        )
    };
    assert_eq!((rejected("parameters"), rejected("other")), (1.0, 0.0));
    reconcile(&metrics);
}

#[test]
fn without_a_host_name_the_kernels_is_used_and_off_means_off() {
    let (on, off) = (Blackhole::start(), Blackhole::start());
    let start = |blackhole: &Blackhole, to_carbon: bool| {
        Flux::builder()
            .carbon(&blackhole.endpoint())
            .set("telemetry.interval_seconds", 1)
            .set("telemetry.to_carbon", to_carbon)
            .start()
    };
    let _running = (start(&on, true), start(&off, false));
    let kernels = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let element: String = kernels
        .trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let name = format!("skyline.flux.{element}.listen.added_to_queue");
    wait_until("two intervals have passed", || {
        on.since(0)
            .iter()
            .filter(|point| point.name == name)
            .count()
            >= 2
    });
    assert!(off.since(0).is_empty(), "{:?}", off.since(0));
}

#[test]
fn while_carbon_is_away_the_own_series_wait_and_end_with_the_process() {
    let mut blackhole = Blackhole::refusing();
    let mut flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set("telemetry.interval_seconds", 1)
        .start();
    let at = now() - 10;
    assert_eq!(flux.post(&single(KEY, "w.a", at, 1.0)).status, 204);
    flux.wait_metric("flux_metrics_distinct", 1.0);
    flux.wait_metric("flux_metrics_distinct", 0.0);
    assert!(flux.stop().success());
    blackhole.listen();
    flux.change(|builder| builder.set("telemetry.to_carbon", false));
    flux.start_again();
    blackhole.wait_points(1);
    assert!(flux.stop().success());
    let names: Vec<String> = blackhole
        .since(0)
        .into_iter()
        .map(|point| point.name)
        .collect();
    assert_eq!(names, ["w.a"], "only what was accepted is journalled");
}

fn ttl(redis: &Redis, key: &str) -> i64 {
    match redis.command(&["TTL", key]) {
        Reply::Int(seconds) => seconds,
        other => panic!("TTL {key}: {other:?}"),
    }
}

fn members(redis: &Redis, key: &str) -> Vec<String> {
    let Reply::Array(members) = redis.command(&["SMEMBERS", key]) else {
        panic!("{key} is a set");
    };
    let text = |reply| match reply {
        Reply::Bulk(Some(text)) => text,
        other => panic!("{key}: {other:?}"),
    };
    let mut members: Vec<String> = members.into_iter().map(text).collect();
    members.sort_unstable();
    members
}

#[test]
fn heartbeats_are_there_for_two_minutes_and_come_back_after_redis_was_away() {
    let blackhole = Blackhole::start();
    let mut redis = Redis::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .shards(2)
        .start();
    let beats = |redis: &Redis, key: &str| {
        wait_until(&format!("{key} is there"), || redis.get(key).is_some());
        let said: u32 = redis.get(key).expect("it is").parse().expect("a second");
        assert!(said.abs_diff(now()) < 60, "{said}");
        let left = ttl(redis, key);
        assert!((60..=120).contains(&left), "{key} lives {left} s");
    };
    beats(&redis, "flux.worker");
    assert_eq!(redis.get("flux.listen"), None, "nobody has probed");
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    beats(&redis, "flux.listen");
    redis.command(&["DEL", "flux.listen"]);
    assert_eq!(flux.post(r#"{"status": "true"}"#).status, 200);
    beats(&redis, "flux.listen");
    redis.restart();
    beats(&redis, "flux.worker");
    // Not unless it is asked for.
    assert_eq!(flux.post(&single(KEY, "h.a", now(), 1.0)).status, 204);
    wait_until("its mark", || redis.get("flux.last.h.a").is_some());
    assert_eq!(members(&redis, "flux.workers.metrics_sent"), [""; 0]);
}

#[test]
fn the_metrics_of_this_minute_and_what_was_filled_are_kept_where_others_look() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.unix_url())
        .set("skyline.metrics_sent", true)
        .set("skyline.filled_metrics", true)
        .set("skyline.full_duration_seconds", 3600)
        .shards(2)
        .start();
    wait_until("the first minute has begun", || {
        redis.get("flux.worker").is_some()
    });
    let at = now() - 10;
    let names: Vec<String> = (0..2_500).map(|i| format!("sent.m{i:04}")).collect();
    let points = names.iter().map(|name| (name.as_str(), at, 1.0));
    assert_eq!(flux.post(&batch(KEY, points)).status, 204);
    let fill = |timestamp: u32| {
        format!(
            r#"{{"key":"{KEY}","metrics":[{{"metric":"fill.a","timestamp":{timestamp},"value":1,"fill":true}}]}}"#
        )
    };
    for timestamp in 1_400_000_000..1_400_000_003 {
        assert_eq!(flux.post(&fill(timestamp)).status, 204);
    }
    let mut expected = names.clone();
    expected.insert(0, "fill.a".to_owned());
    // A minute may end meanwhile: then some are in the copy already.
    wait_until("all names are in one of the two sets", || {
        let mut all = members(&redis, "flux.workers.metrics_sent");
        all.extend(members(&redis, "aet.flux.workers.metrics_sent"));
        all.sort_unstable();
        all.dedup();
        all == expected
    });
    let filled = redis.command(&["HGET", "flux.filled_metrics", "fill.a"]);
    let Reply::Bulk(Some(text)) = filled else {
        panic!("{filled:?}");
    };
    let rest = text
        .strip_prefix("{'expiry': 3600, 'filled_at': ")
        .expect("Python's text");
    let filled_at: u32 = rest
        .strip_suffix('}')
        .expect("its end")
        .parse()
        .expect("a second");
    assert!(filled_at.abs_diff(now()) < 60, "{text}");
    assert_eq!(
        redis.command(&["HLEN", "flux.filled_metrics"]),
        Reply::Int(1)
    );
}

/// The minute's turn takes up to a minute to come.
#[test]
fn at_the_minute_the_set_of_names_becomes_the_copy() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .set("skyline.metrics_sent", true)
        .start();
    wait_until("the first minute has begun", || {
        redis.get("flux.worker").is_some()
    });
    redis.command(&[
        "SADD",
        "aet.flux.workers.metrics_sent",
        "of.an.earlier.minute",
    ]);
    assert_eq!(flux.post(&single(KEY, "turn.a", now(), 1.0)).status, 204);
    let limit = std::time::Duration::from_secs(75);
    wait_for("the set was renamed", limit, || {
        (members(&redis, "aet.flux.workers.metrics_sent") == ["turn.a"]).then_some(())
    });
    assert_eq!(
        flux.post(&single(KEY, "turn.b", now() + 1, 1.0)).status,
        204
    );
    wait_until("the new minute's set", || {
        members(&redis, "flux.workers.metrics_sent") == ["turn.b"]
    });
}

#[test]
fn pythons_literal_parser_reads_what_each_layout_writes() {
    const SCRIPT: &str = "import ast, sys\n\
        for line in sys.stdin:\n \
        mark = ast.literal_eval(line)\n \
        mark = [mark['timestamp'], mark['value']] if isinstance(mark, dict) else mark\n \
        assert type(mark[0]) is int and type(mark[1]) is float, mark\n \
        print(mark[0], mark[1].hex())\n";
    let values = [
        0.1,
        1.0,
        -0.0,
        1e16,
        1e-5,
        5e-324,
        f64::MAX,
        123_456_789.123_456_78,
    ];
    for layout in ["string", "hash", "both"] {
        let (blackhole, redis) = (Blackhole::start(), Redis::start());
        let flux = Flux::builder()
            .carbon(&blackhole.endpoint())
            .redis(&redis.url())
            .set_text("last.layout", layout)
            .start();
        let at = now() - 10;
        let names: Vec<String> = (0..values.len()).map(|i| format!("py.m{i}")).collect();
        let points = names.iter().zip(values);
        let points = points.map(|(name, value)| (name.as_str(), at, value));
        assert_eq!(flux.post(&batch(KEY, points)).status, 204);
        let of_string = |name: &str| redis.get(&format!("flux.last.{name}"));
        let of_hash = |name: &str| match redis.command(&["HGET", "flux.last.metric_data", name]) {
            Reply::Bulk(text) => text,
            other => panic!("HGET: {other:?}"),
        };
        let mut written = String::new();
        for name in &names {
            let both = wait_for(&format!("the mark of {name}"), common::PATIENCE, || {
                let found = (of_string(name), of_hash(name));
                let there = match layout {
                    "string" => found.0.is_some(),
                    "hash" => found.1.is_some(),
                    _ => found.0.is_some() && found.1.is_some(),
                };
                there.then_some(found)
            });
            assert_eq!(both.0.is_some(), layout != "hash", "{both:?}");
            assert_eq!(both.1.is_some(), layout != "string", "{both:?}");
            for text in [both.0, both.1].into_iter().flatten() {
                written += &format!("{text}\n");
            }
        }
        let file = flux.dir().join("written");
        std::fs::write(&file, &written).expect("a file of our own");
        let output = Command::new("python3")
            .args(["-c", SCRIPT])
            .stdin(std::fs::File::open(&file).expect("just written"))
            .output()
            .expect("python3 runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let read = String::from_utf8(output.stdout).expect("text");
        let each = if layout == "both" { 2 } else { 1 };
        let expected: Vec<String> = values
            .iter()
            .flat_map(|value| vec![format!("{at} {}", hex(*value)); each])
            .collect();
        assert_eq!(
            read.lines().collect::<Vec<_>>(),
            expected,
            "{layout}: {written}"
        );
    }
}

/// As Python's `float.hex`.
fn hex(value: f64) -> String {
    let bits = value.to_bits();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let fraction = bits & ((1 << 52) - 1);
    match (bits >> 52) & 0x7ff {
        0 if fraction == 0 => format!("{sign}0x0.0p+0"),
        0 => format!("{sign}0x0.{fraction:013x}p-1022"),
        exponent => format!("{sign}0x1.{fraction:013x}p{:+}", exponent as i64 - 1023),
    }
}
