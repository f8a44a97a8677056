//! From where a history is missing, what a job sends of it, and what a time zone has to do with it.

use std::collections::BTreeMap;

use super::common::blackhole::{Blackhole, Received};
use super::common::carbon::CarbonCache;
use super::common::flux::{Flux, KEY};
use super::common::graphite::{GraphiteWeb, whisper};
use super::common::http::single;
use super::common::redis::Redis;
use super::common::remote::{Gate, Remote, Reply, graphite_series};
use super::common::{now, stays, wait_until};
use super::{graphite_job, jobs, minute, post, sent, value, wait_done, wait_idle, wait_reconciled};
use std::time::Duration;

/// A value for each minute of these hours, up to the last one that is over.
fn hours(count: u32, now: u32) -> BTreeMap<u32, f64> {
    let end = minute(now);
    (end - count * 3600..end)
        .step_by(60)
        .map(|at| (at, value(5, at)))
        .collect()
}

fn series(points: &BTreeMap<u32, f64>) -> Reply {
    graphite_series(points.iter().map(|(at, value)| (*at, Some(*value))))
}

fn of<'p>(points: &'p [Received], metric: &'p str) -> impl Iterator<Item = (u32, u64)> + 'p {
    let ours = points.iter().filter(move |point| point.name == metric);
    ours.map(|point| (point.timestamp, point.value.to_bits()))
}

fn bits(points: impl IntoIterator<Item = (u32, f64)>) -> Vec<(u32, u64)> {
    let pair = |(at, value): (u32, f64)| (at, value.to_bits());
    points.into_iter().map(pair).collect()
}

#[test]
fn after_a_gap_of_hours_only_what_is_missing_is_sent() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let history = hours(8, now());
    let replied = history.clone();
    let remote = Remote::start(move |_| series(&replied));
    let (last, _) = history.last_key_value().expect("hours");
    let mark = last - 3 * 3600;
    redis.set("flux.last.gap.a", &format!("[{mark}, 1.0]"));
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .shards(2)
        .start();
    let urls = [remote.url(&format!("/render/?from={}&target=a", mark - 600))];
    for round in 1..=3 {
        assert_eq!(post(&flux, &graphite_job("gap.a", &urls)).status, 204);
        wait_done(&flux, round);
    }
    let missing = history.range(mark + 1..).map(|(at, value)| (*at, *value));
    let points = blackhole.wait_points(180);
    assert_eq!(of(&points, "gap.a").collect::<Vec<_>>(), bits(missing));
    redis.wait_mark("gap.a", &format!("[{last}, {:?}]", history[last]));
    assert_eq!(remote.asked().len(), 3);
    wait_reconciled(&flux);
}

#[test]
fn where_only_graphite_knows_the_metric_it_is_asked_from_where_history_is_missing() {
    let carbon = CarbonCache::keeping("60s:8d");
    let at = now();
    // Of another making than the remote's, so that one that was overwritten shows.
    let old: Vec<(u32, f64)> = (minute(at) - 5 * 3600..minute(at) - 3 * 3600)
        .step_by(60)
        .map(|at| (at, -1.0))
        .collect();
    whisper(
        &carbon.whisper_dir(),
        "known.a",
        &[(60, 8 * 1440)],
        old.clone(),
    );
    let local = GraphiteWeb::of(&carbon);
    let history = hours(8, at);
    let replied = history.clone();
    let remote = Remote::start(move |_| series(&replied));
    let flux = Flux::builder()
        .carbon(&format!("127.0.0.1:{}", carbon.pickle_port))
        .set_text("populate.graphite", &local.render_address())
        .start();
    let job = graphite_job("known.a", &[remote.url("/render/?from=-8hours&target=a")]);
    assert_eq!(post(&flux, &job).status, 204);
    wait_done(&flux, 1);
    assert_eq!(sent(&flux), 180);
    let newest_old = old.last().expect("two hours").0;
    let mut expected: BTreeMap<u32, f64> = old.into_iter().collect();
    expected.extend(history.range(newest_old + 1..));
    wait_until("Graphite has the rest", || {
        local.values("known.a", minute(at) - 9 * 3600, minute(at) - 60) == expected
    });
}

#[test]
fn a_series_that_is_null_at_its_end_gets_a_mark_without_a_value() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    whisper(folder.path(), "null.series", &[(60, 8 * 1440)], []);
    let remote = GraphiteWeb::over(folder.path());
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .start();
    let url = format!(
        "http://127.0.0.1:{}/render/?from=-6hours&format=json&target=null.series",
        remote.port
    );
    assert_eq!(post(&flux, &graphite_job("null.a", &[url])).status, 204);
    wait_done(&flux, 1);
    let key = "flux.last.null.a";
    wait_until("it has a mark", || redis.get(key).is_some());
    let mark = redis.get(key).expect("a mark");
    let at = mark
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(", None]"));
    let at: u32 = at
        .unwrap_or_else(|| panic!("{mark}"))
        .parse()
        .expect("a time");
    assert!((now() - 125..=now()).contains(&at), "{mark}");
    let known = redis.command(&["SISMEMBER", "vista.fetcher.unique_metrics", "remote.null.a"]);
    assert_eq!(known, super::common::redis::Reply::Int(1));
    assert!(blackhole.points().is_empty());
    // It is a mark like any other: an older point is a duplicate, a newer one is accepted.
    assert_eq!(flux.post(&single(KEY, "null.a", at - 1, 1.0)).status, 204);
    assert_eq!(flux.post(&single(KEY, "null.a", at + 1, 2.0)).status, 204);
    redis.wait_mark("null.a", &format!("[{}, 2.0]", at + 1));
    assert_eq!(blackhole.points().len(), 1);
}

#[test]
fn the_worked_example_gives_the_same_bytes_in_every_time_zone() {
    // reference.md 11.2; no empty minutes.
    let raw = [
        (1_478_021_705, 1.0),
        (1_478_021_735, 3.0),
        (1_478_021_890, 5.0),
        (1_478_021_905, 7.5),
    ];
    let expected = bits([(1_478_021_700, 2.0), (1_478_021_880, 6.25)]);
    for zone in ["UTC", "Europe/Paris", "Asia/Kolkata"] {
        let remote =
            Remote::start(move |_| graphite_series(raw.map(|(at, value)| (at, Some(value)))));
        let (blackhole, redis) = (Blackhole::start(), Redis::start());
        let flux = Flux::builder()
            .carbon(&blackhole.endpoint())
            .redis(&redis.url())
            .env("TZ", zone)
            .start();
        let urls = [remote.url("/render/?target=a")];
        assert_eq!(post(&flux, &graphite_job("zone.a", &urls)).status, 204);
        wait_done(&flux, 1);
        redis.wait_mark("zone.a", "[1478021880, 6.25]");
        let points = blackhole.wait_points(2);
        assert_eq!(
            of(&points, "zone.a").collect::<Vec<_>>(),
            expected,
            "{zone}"
        );
    }
}

#[test]
fn live_points_that_come_meanwhile_are_not_overwritten_and_hide_nothing() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let history = hours(4, now());
    let gate = Gate::default();
    let (replied, held) = (history.clone(), gate.clone());
    let remote = Remote::start(move |_| {
        held.wait();
        series(&replied)
    });
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .shards(2)
        .start();
    let urls = [remote.url("/render/?target=a")];
    assert_eq!(post(&flux, &graphite_job("live.a", &urls)).status, 204);
    remote.wait_asked(1);
    let first = minute(now()) - 1800;
    for (at, value) in [(first, 7.0), (first + 60, 8.0)] {
        assert_eq!(flux.post(&single(KEY, "live.a", at, value)).status, 204);
    }
    redis.wait_mark("live.a", &format!("[{}, 8.0]", first + 60));
    gate.open();
    wait_done(&flux, 1);
    let before = history.range(..first).map(|(at, value)| (*at, *value));
    let mut expected = bits(before);
    expected.extend(bits([(first, 7.0), (first + 60, 8.0)]));
    let points = blackhole.wait_points(expected.len());
    let mut ours: Vec<_> = of(&points, "live.a").collect();
    ours.sort_unstable();
    assert_eq!(ours, expected);
    stays("the mark", Duration::from_millis(300), || {
        redis.get("flux.last.live.a") == Some(format!("[{}, 8.0]", first + 60))
    });
}

#[test]
fn a_live_point_that_graphite_has_by_the_time_it_is_asked_hides_nothing() {
    let blackhole = Blackhole::start();
    let history = hours(4, now());
    let first = minute(now()) - 1800;
    let gate = Gate::default();
    let (replied, held) = (history.clone(), gate.clone());
    // The local Graphite answers only when it has the live point.
    let remote = Remote::start(move |path| match path.contains("local") {
        true => {
            held.wait();
            graphite_series([(first, Some(7.0))])
        }
        false => series(&replied),
    });
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set_text("populate.graphite", &remote.url("/local/render"))
        .start();
    let urls = [remote.url("/remote/render/?target=a")];
    assert_eq!(post(&flux, &graphite_job("raced.a", &urls)).status, 204);
    remote.wait_asked(1);
    assert_eq!(flux.post(&single(KEY, "raced.a", first, 7.0)).status, 204);
    blackhole.wait_points(1);
    gate.open();
    wait_done(&flux, 1);
    let before = history.range(..first).map(|(at, value)| (*at, *value));
    let mut expected = bits(before);
    expected.extend(bits([(first, 7.0)]));
    let points = blackhole.wait_points(expected.len());
    let mut ours: Vec<_> = of(&points, "raced.a").collect();
    ours.sort_unstable();
    assert_eq!(ours, expected);
}

#[test]
fn a_job_posted_while_another_of_its_metric_runs_counts_live_points_from_its_own_start() {
    let blackhole = Blackhole::start();
    let history = hours(4, now());
    let gate = Gate::default();
    let (replied, held) = (history.clone(), gate.clone());
    let remote = Remote::start(move |path| {
        held.wait();
        // The first job's remote has only the oldest hour.
        match path.contains("first") {
            true => series(&replied.iter().take(60).map(|(a, b)| (*a, *b)).collect()),
            false => series(&replied),
        }
    });
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let job =
        |name: &str| graphite_job("twice.a", &[remote.url(&format!("/render/?target={name}"))]);
    assert_eq!(post(&flux, &job("first")).status, 204);
    remote.wait_asked(1);
    // One live point, and then silence: what lies between it and the second job is missing.
    let live = minute(now()) - 3000;
    assert_eq!(flux.post(&single(KEY, "twice.a", live, 7.0)).status, 204);
    blackhole.wait_points(1);
    assert_eq!(post(&flux, &job("second")).status, 204);
    gate.open();
    wait_done(&flux, 2);
    wait_idle(&flux);
    let mut expected = bits(history.iter().take(60).map(|(at, value)| (*at, *value)));
    expected.extend(bits([(live, 7.0)]));
    expected.extend(bits(
        history.range(live + 1..).map(|(at, value)| (*at, *value)),
    ));
    let points = blackhole.wait_points(expected.len());
    let mut ours: Vec<_> = of(&points, "twice.a").collect();
    ours.sort_unstable();
    assert_eq!(ours, expected);
}

#[test]
fn marks_of_jobs_wait_for_a_store_that_is_down() {
    let blackhole = Blackhole::start();
    let mut redis = Redis::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .set("last.lookup_deadline_ms", 200)
        .start();
    redis.kill();
    let history = hours(1, now());
    let replied = history.clone();
    let remote = Remote::start(move |_| series(&replied));
    let names: Vec<String> = (0..20).map(|index| format!("down.{index}")).collect();
    for name in &names {
        let urls = [remote.url("/render/?target=a")];
        assert_eq!(post(&flux, &graphite_job(name, &urls)).status, 204);
    }
    wait_done(&flux, 20);
    blackhole.wait_points(20 * 60);
    // Nobody knows the store's marks, but the owner knows its own: nothing is sent twice.
    let urls = [remote.url("/render/?target=a")];
    assert_eq!(post(&flux, &graphite_job(&names[0], &urls)).status, 204);
    wait_done(&flux, 21);
    assert_eq!(sent(&flux), 20 * 60);
    redis.restart();
    let (last, value) = history.last_key_value().expect("an hour");
    for name in &names {
        redis.wait_mark(name, &format!("[{last}, {value:?}]"));
    }
    assert_eq!(jobs(&flux, "done"), 21.0);
}
