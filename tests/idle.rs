//! A service without traffic leaves the CPU to others, and notices at once when traffic comes.

mod common;

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{post, single};
use common::{now, wait_for, wait_until};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How often its threads have gone to sleep.
fn sleeps(flux: &Flux) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", flux.daemon.pid())).expect("it runs");
    let statuses =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let counts = statuses.filter_map(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line?.trim().parse::<u64>().ok()
    });
    counts.sum()
}

/// Three executors with a sweep each 5 ms and what keeps glommio awake (docs/decisions/0002) sleep 670 times a second
/// together and in a lull 95 times, by what one shard and one populate core were counted to.
#[test]
fn an_idle_service_sleeps_although_a_frame_is_kept_for_a_redo() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .shards(2)
        .start();
    let mut client = flux.client();
    for metric in 0..10 {
        client.send(&post(&single(KEY, &format!("idle.m{metric}"), now(), 1.0)));
        assert_eq!(client.answer().status, 204);
    }
    blackhole.wait_points(10);
    wait_until("fewer than 200 sleeps in a second", || {
        let before = sleeps(&flux);
        thread::sleep(Duration::from_secs(1));
        sleeps(&flux) - before < 200
    });
}

/// Who waited for the lull to end would send it some 20 ms later than was asked for, by the median.
#[test]
fn a_point_after_a_lull_leaves_within_the_flush_interval() {
    const POINTS: u32 = 21;
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set("carbon.flush_interval_ms", 1)
        .shards(1)
        .start();
    let mut client = flux.client();
    let mut waited = Vec::new();
    for point in 0..POINTS {
        // Not the same part of a lull each time.
        thread::sleep(Duration::from_millis(u64::from(60 + 7 * point)));
        let timestamp = now() - POINTS + point;
        client.send(&post(&single(KEY, "idle.now_and_then", timestamp, 1.0)));
        assert_eq!(client.answer().status, 204);
        let answered = Instant::now();
        wait_for("the point", common::PATIENCE, || {
            blackhole
                .has("idle.now_and_then", timestamp, 1.0)
                .then_some(())
        });
        waited.push(answered.elapsed());
    }
    waited.sort();
    let median = waited[waited.len() / 2];
    assert!(median < Duration::from_millis(15), "{waited:?}");
}
