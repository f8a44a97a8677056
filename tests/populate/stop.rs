//! An orderly stop in the middle of jobs.

use super::common::blackhole::Blackhole;
use super::common::flux::Flux;
use super::common::redis::Redis;
use super::common::remote::{Gate, Remote, Reply, graphite_series};
use super::common::{now, wait_until};
use super::{graphite_job, jobs, minute, post, value, wait_done};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn a_fetch_that_hangs_does_not_hold_a_stop() {
    let remote = Remote::start(|_| Reply::Hang);
    let mut flux = Flux::builder()
        .set("http.drain_deadline_ms", 2_000)
        .set("populate.read_timeout_ms", 60_000)
        .start();
    for index in 0..6 {
        let job = graphite_job(&format!("hang.{index}"), &[remote.url("/")]);
        assert_eq!(post(&flux, &job).status, 204);
    }
    remote.wait_asked(4);
    let started = Instant::now();
    let status = flux.stop_within(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    flux.start_again();
    assert_eq!(jobs(&flux, "recovered"), 6.0);
    // And a start with jobs that hang again is no reason not to stop again.
    remote.wait_asked(8);
    let status = flux.stop_within(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
}

/// What is done has left its mark, whatever moment the stop came in; what is not is carried out later.
#[test]
fn stopped_in_the_middle_every_job_is_either_done_with_its_mark_or_carried_out_later() {
    const METRICS: u32 = 50;
    let end = minute(now());
    let history = move |index: u64| {
        (end - 4 * 3600..end)
            .step_by(60)
            .map(move |at| (at, value(index, at)))
    };
    let gate = Gate::default();
    let held = gate.clone();
    let remote = Remote::start(move |path| {
        let index: u64 = path
            .rsplit('=')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number");
        if index >= 30 {
            held.wait();
        }
        graphite_series(history(index).map(|(at, value)| (at, Some(value))))
    });
    let (blackhole, redis) = (Blackhole::start(), Redis::start());
    let mut flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .shards(2)
        // Seconds, as Graphite's render API has them, until one counts as delivered.
        .set("carbon.redo_window_ms", 300)
        .start();
    for index in 0..METRICS {
        let urls = [remote.url(&format!("/render/?target={index}"))];
        assert_eq!(
            post(&flux, &graphite_job(&format!("stop.{index}"), &urls)).status,
            204
        );
    }
    wait_until("some jobs are done", || jobs(&flux, "done") >= 3.0);
    let status = flux.stop_within(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
    let mark = |index: u32| redis.get(&format!("flux.last.stop.{index}"));
    let marked = (0..METRICS).filter(|index| mark(*index).is_some()).count() as f64;

    gate.open();
    flux.start_again();
    let recovered = jobs(&flux, "recovered");
    assert_eq!(
        marked + recovered,
        f64::from(METRICS),
        "{marked} marks, {recovered} jobs left"
    );
    wait_done(&flux, recovered as u32);
    for index in 0..METRICS {
        let (at, value) = history(index.into()).next_back().expect("hours");
        redis.wait_mark(&format!("stop.{index}"), &format!("[{at}, {value:?}]"));
    }
    let delivered: BTreeSet<(String, u32, u64)> = blackhole
        .points()
        .into_iter()
        .map(|point| (point.name, point.timestamp, point.value.to_bits()))
        .collect();
    let expected: BTreeSet<(String, u32, u64)> = (0..METRICS)
        .flat_map(|index| {
            let name = format!("stop.{index}");
            history(index.into()).map(move |(at, value)| (name.clone(), at, value.to_bits()))
        })
        .collect();
    assert!(
        delivered == expected,
        "{} of {}",
        delivered.len(),
        expected.len()
    );
}
