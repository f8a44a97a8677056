//! The last store down, slow, read-only or holding nonsense: requests neither fail nor wait for it,
//! and it catches up.

mod common;

use std::time::{Duration, Instant};

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{Client, post, single};
use common::redis::Redis;
use common::{free_port, now, stays, wait_until};

/// Asked of every request; generous, because two cores are shared with the daemons.
const LOOKUP_DEADLINE_MS: u64 = 200;

fn flux_with(blackhole: &Blackhole, redis_url: &str) -> Flux {
    Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(redis_url)
        .shards(2)
        .set("last.lookup_deadline_ms", LOOKUP_DEADLINE_MS)
        .start()
}

/// Posts `count` metrics nobody has seen, one by one, each needing a look-up. Fails when more than
/// one of them per shard can have waited for the store.
fn post_new_metrics(flux: &Flux, prefix: &str, count: usize) {
    let mut client = flux.client();
    let started = Instant::now();
    for i in 0..count {
        let answer = client.post(&single(KEY, &format!("{prefix}.{i}"), now(), i as f64));
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    let each_waits = Duration::from_millis(LOOKUP_DEADLINE_MS) * count as u32;
    assert!(
        started.elapsed() < each_waits / 4,
        "{count} requests took {:?}: they wait for the store",
        started.elapsed()
    );
}

#[test]
fn a_store_that_is_absent_at_the_start_costs_nothing_and_is_caught_up_with() {
    let blackhole = Blackhole::start();
    let port = free_port();
    let flux = flux_with(&blackhole, &format!("redis://127.0.0.1:{port}/0"));
    post_new_metrics(&flux, "absent", 40);
    blackhole.wait_points(40);

    let redis = Redis::start_on(port);
    wait_until(
        "the marks of what was delivered meanwhile are written",
        || (0..40).all(|i| redis.get(&format!("flux.last.absent.{i}")).is_some()),
    );
}

#[test]
fn a_store_that_is_killed_is_missed_by_nobody_and_written_again_when_back() {
    let blackhole = Blackhole::start();
    let mut redis = Redis::start();
    let flux = flux_with(&blackhole, &redis.url());
    let at = now() - 100;
    assert_eq!(flux.post(&single(KEY, "killed.a", at, 1.0)).status, 204);
    redis.wait_mark("killed.a", &format!("[{at}, 1.0]"));

    redis.kill();
    post_new_metrics(&flux, "killed.b", 40);
    // What the table knows is decided without the store.
    assert_eq!(flux.post(&single(KEY, "killed.a", at, 2.0)).status, 204);
    assert_eq!(flux.post(&single(KEY, "killed.a", at + 1, 3.0)).status, 204);
    blackhole.wait_points(42);
    assert!(!blackhole.has("killed.a", at, 2.0));

    redis.restart();
    redis.wait_mark("killed.a", &format!("[{}, 3.0]", at + 1));
    redis.wait_mark("killed.b.39", &last_mark(&blackhole, "killed.b.39"));
}

fn last_mark(blackhole: &Blackhole, name: &str) -> String {
    let points = blackhole.points();
    let point = points.iter().rfind(|point| point.name == name);
    let point = point.expect("it was delivered");
    format!("[{}, {:?}]", point.timestamp, point.value)
}

#[test]
fn a_store_that_hangs_is_waited_for_once_and_asked_again_when_it_answers() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let flux = flux_with(&blackhole, &redis.url());
    let at = now() - 100;
    assert_eq!(flux.post(&single(KEY, "hang.a", at, 1.0)).status, 204);
    redis.wait_mark("hang.a", &format!("[{at}, 1.0]"));
    redis.set("flux.last.hang.later", &format!("[{at}, 1.0]"));

    redis.pause();
    post_new_metrics(&flux, "hang.b", 40);
    blackhole.wait_points(41);

    redis.resume();
    redis.wait_mark("hang.b.39", &last_mark(&blackhole, "hang.b.39"));
    // It answers again, so its marks decide again.
    assert_eq!(flux.post(&single(KEY, "hang.later", at, 2.0)).status, 204);
    wait_until("the stored mark decides", || {
        flux.metrics().sum("flux_points_duplicate_total") == 1.0
    });
}

/// More look-ups than may be under way at once wait for a store that does not answer: the shard goes on with
/// everything else.
#[test]
fn more_look_ups_than_fit_on_the_connection_do_not_hold_the_shard() {
    let (blackhole, redis) = (Blackhole::start(), Redis::start());
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .shards(1)
        .set("last.lookup_deadline_ms", 2_000)
        .start();
    assert_eq!(flux.post(&single(KEY, "fit.first", now(), 1.0)).status, 204);
    blackhole.wait_points(1);
    redis.wait_mark("fit.first", &last_mark(&blackhole, "fit.first"));
    redis.pause();
    let mut clients: Vec<Client> = (0..40).map(|_| flux.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&post(&single(KEY, &format!("fit.{i}"), now(), 1.0)));
        // Turns of their own: a metric the shard knows is decided at once.
        assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    }
    redis.resume();
    for client in &mut clients {
        assert_eq!(client.answer().status, 204);
    }
}

#[test]
fn a_read_only_store_decides_duplicates_and_is_written_when_it_can_be() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let at = now() - 100;
    redis.set("flux.last.ro.a", &format!("[{at}, 1.0]"));
    redis.make_read_only();
    let flux = flux_with(&blackhole, &redis.url());
    assert_eq!(flux.post(&single(KEY, "ro.a", at, 2.0)).status, 204);
    assert_eq!(flux.post(&single(KEY, "ro.a", at + 1, 3.0)).status, 204);
    post_new_metrics(&flux, "ro.b", 40);
    blackhole.wait_points(41);
    assert!(!blackhole.has("ro.a", at, 2.0), "its reads still decide");
    assert_eq!(redis.get("flux.last.ro.a"), Some(format!("[{at}, 1.0]")));

    redis.make_writable();
    redis.wait_mark("ro.a", &format!("[{}, 3.0]", at + 1));
    redis.wait_mark("ro.b.39", &last_mark(&blackhole, "ro.b.39"));
}

#[test]
fn what_cannot_be_read_as_a_mark_counts_as_none_and_is_replaced() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    redis.command(&["RPUSH", "flux.last.odd.list", "x"]);
    redis.command(&["HSET", "flux.last.odd.hash", "x", "y"]);
    redis.set("flux.last.odd.text", "certainly not");
    redis.set("flux.last.odd.empty", "");
    redis.set("flux.last.odd.nan", "[1478021700, nan]");
    let flux = flux_with(&blackhole, &redis.url());
    let at = now();
    for name in ["list", "hash", "text", "empty", "nan"] {
        let answer = flux.post(&single(KEY, &format!("odd.{name}"), at, 1.5));
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    blackhole.wait_points(5);
    for name in ["list", "hash", "text", "empty", "nan"] {
        redis.wait_mark(&format!("odd.{name}"), &format!("[{at}, 1.5]"));
    }
}

#[test]
fn marks_that_others_wrote_decide_and_never_move_back() {
    let blackhole = Blackhole::start();
    let redis = Redis::start();
    let at = now() - 100;
    redis.set("flux.last.other.python", &format!("[{at}, 1.0]"));
    redis.set("flux.last.other.null", &format!("[{at}, None]"));
    let ahead = format!("[{}, 9.0]", at + 1_000);
    redis.set("flux.last.other.ahead", &ahead);
    let flux = flux_with(&blackhole, &redis.url());
    for name in ["python", "null", "ahead"] {
        let name = format!("other.{name}");
        assert_eq!(flux.post(&single(KEY, &name, at, 2.0)).status, 204);
        assert_eq!(flux.post(&single(KEY, &name, at + 1, 3.0)).status, 204);
    }
    redis.wait_mark("other.python", &format!("[{}, 3.0]", at + 1));
    redis.wait_mark("other.null", &format!("[{}, 3.0]", at + 1));
    assert_eq!(redis.get("flux.last.other.ahead"), Some(ahead));
    assert_eq!(blackhole.points().len(), 2);
    assert_eq!(flux.metrics().sum("flux_points_duplicate_total"), 4.0);
}

#[test]
fn a_mark_is_not_written_before_carbon_has_the_point() {
    let mut blackhole = Blackhole::refusing();
    let redis = Redis::start();
    let flux = flux_with(&blackhole, &redis.url());
    let at = now();
    assert_eq!(flux.post(&single(KEY, "early.a", at, 1.0)).status, 204);
    post_new_metrics(&flux, "early.b", 10);
    flux.wait_metric("flux_points_queued", 11.0);
    // Longer than the redo window, after which a frame that was sent would count as delivered.
    stays("no mark", Duration::from_millis(1_500), || {
        redis.get("flux.last.early.a").is_none()
    });

    blackhole.listen();
    redis.wait_mark("early.a", &format!("[{at}, 1.0]"));
    assert!(
        blackhole.has("early.a", at, 1.0),
        "the mark is ahead of carbon"
    );
}
