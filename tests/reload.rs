//! SIGHUP: the configuration is read again, every shard switches between two turns, and nobody notices but those
//! whom the change concerns.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::blackhole::Blackhole;
use common::flux::{Builder, Flux, KEY};
use common::http::{Client, batch, single};
use common::ledger::Ledger;
use common::load::Load;
use common::{PATIENCE, now};

const STEADY: &str = "STEADYSTEADYSTEADYSTEADYSTEADY00";
const FIRST: &str = "FIRSTFIRSTFIRSTFIRSTFIRSTFIRST00";
const SECOND: &str = "SECONDSECONDSECONDSECONDSECOND00";

/// The keys that are there beside the steady one; its namespace sorts between theirs.
fn keys(builder: Builder, others: &str) -> Builder {
    builder.set("keys.namespaces", format!("{{ {STEADY} = \"m\"{others} }}"))
}

/// Sends under the steady key until it is told to stop: a point, and the same again. Each must be taken.
fn steady(port: u16, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) {
    let mut client = Client::connect(port);
    while !stop.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let name = format!("steady.{}", number % 50);
        let at = now() - 3_000 + (number / 50) as u32;
        for _ in 0..2 {
            let answer = client.post(&single(STEADY, &name, at, number as f64));
            assert_eq!(answer.status, 204, "{name} {at}: {answer:?}");
        }
    }
}

#[test]
fn a_reload_under_load_loses_no_request_and_changes_what_it_should() {
    let blackhole = Blackhole::start();
    let builder = Flux::builder().shards(3).carbon(&blackhole.endpoint());
    let mut flux = keys(builder, "").start();
    let ledger = Ledger::default();
    let load = Load {
        lanes: 3,
        ..Load::default()
    };
    let running = load.start(&ledger, flux.port);
    let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let thread = {
        let (port, stop, sent) = (flux.port, stop.clone(), sent.clone());
        std::thread::spawn(move || steady(port, stop, sent))
    };

    let at = now() - 1000;
    let post = |flux: &Flux, key: &str, name: &str, round: u32| {
        flux.post(&single(key, name, at + round, 1.0)).status
    };
    const ROUNDS: u32 = 12;
    for round in 0..ROUNDS {
        let before = sent.load(Ordering::Relaxed);
        // A namespace that sorts before the steady one, and one that sorts behind it, come and go.
        flux.reload(true, |b| keys(b, &format!(", {FIRST} = \"a\"")));
        assert_eq!(post(&flux, FIRST, "x", round), 204);
        assert_eq!(post(&flux, SECOND, "x", round), 401);
        flux.reload(true, |b| {
            keys(b, &format!(", {SECOND} = {{ prefix = \"z\", quota = 2 }}"))
        });
        assert_eq!(post(&flux, FIRST, "x", round), 401);
        let statuses = ["x", "y", "full"].map(|name| post(&flux, SECOND, name, round));
        assert_eq!(statuses, [204, 204, 400], "round {round}");
        assert_eq!(post(&flux, KEY, "own", round), 204);
        let passed = || sent.load(Ordering::Relaxed) > before + 20;
        common::wait_until("requests come in between two reloads", passed);
    }
    stop.store(true, Ordering::Relaxed);
    thread
        .join()
        .expect("every request under the steady key was taken");
    running.stop();

    let (tally, _) = ledger.settle(&blackhole, PATIENCE);
    assert_eq!((tally.rejected, tally.unknown), (0, 0), "{tally:?}");
    assert_eq!(tally.acked, tally.attempted);
    let sent = sent.load(Ordering::Relaxed) as f64;
    let metrics = flux.metrics();
    let of = |what: &str, namespace: &str| {
        let name = format!("flux_namespace_points_{what}_total");
        metrics.with(&name, &format!("namespace=\"{namespace}\""))
    };
    let rounds = f64::from(ROUNDS);
    assert_eq!(
        (of("received", "m"), of("duplicate", "m")),
        (2.0 * sent, sent)
    );
    assert_eq!((of("received", "a"), of("rejected", "a")), (rounds, 0.0));
    assert_eq!(
        (of("received", "z"), of("rejected", "z")),
        (3.0 * rounds, rounds)
    );
    assert_eq!(of("duplicate", "a") + of("duplicate", "z"), 0.0);
}

#[test]
fn limits_change_at_once_and_what_needs_a_restart_is_named() {
    let mut flux = Flux::builder().shards(2).start();
    let mut old = flux.client();
    let ahead = |value: f64| single(KEY, "ahead", now() + 300, value);
    assert_eq!(old.post(&ahead(1.0)).status, 400);
    flux.reload(true, |b| {
        b.set("points.future_seconds_max", 600)
            .set("points.points_per_request_max", 2)
            .set("points.skip", "[\"left.out\"]")
            .set("http.body_bytes_max", 2048)
            .set("carbon.flush_interval_ms", 20)
            .set_text("keys.self", SECOND)
    });
    // Also on a connection of before.
    assert_eq!(old.post(&ahead(1.0)).status, 401);
    let ahead = single(SECOND, "ahead", now() + 300, 1.0);
    assert_eq!(old.post(&ahead).status, 204);
    let three = batch(
        SECOND,
        [("a", now(), 1.0), ("b", now(), 1.0), ("c", now(), 1.0)],
    );
    assert_eq!(old.post(&three).status, 413);
    assert_eq!(
        flux.post(&single(SECOND, "left.out.x", now(), 1.0)).status,
        204
    );
    flux.wait_metric("flux_points_accepted_total", 1.0);
    let large = single(SECOND, &"n".repeat(3000), now(), 1.0);
    assert_eq!(flux.post(&large).status, 413);

    let said = flux.daemon.stderr();
    let line = said
        .lines()
        .find(|line| line.contains("reloaded: "))
        .expect(&said);
    assert!(
        line.ends_with("; at the next restart only: carbon.flush_interval_ms"),
        "{line}"
    );
    assert!(
        line.contains("keys.self, points.future_seconds_max"),
        "{line}"
    );
    assert!(!said.contains(SECOND), "{said}");
}

#[test]
fn a_bad_file_is_refused_with_its_reasons_and_the_running_configuration_stays() {
    let mut flux = keys(Flux::builder().shards(2), "").start();
    flux.reload(false, |b| {
        keys(b, ", short = \"w\"").set("http.pipeline_max", 0)
    });
    let said = flux.daemon.stderr();
    for reason in ["keys.namespaces: ", "http.pipeline_max: "] {
        let text = format!("error reload refused, the running configuration stays: {reason}");
        assert!(said.contains(&text), "{said}");
    }
    assert_eq!(flux.post(&single(STEADY, "a", now(), 1.0)).status, 204);
    // Good by itself, and too large for budgets that a restart only would change.
    flux.reload(false, |b| {
        keys(b, "")
            .unset("http.pipeline_max")
            .set("http.body_bytes_max", 512 << 20)
            .set("http.inflated_bytes_max", 512 << 20)
            .set("http.buffered_bytes_max", 2u64 << 30)
            .set("points.in_flight_bytes_max", 2u64 << 30)
            .set("journal.bytes_max", 1u64 << 40)
    });
    flux.reload(true, |b| {
        b.unset("http.body_bytes_max")
            .unset("http.inflated_bytes_max")
            .unset("http.buffered_bytes_max")
            .unset("points.in_flight_bytes_max")
            .unset("journal.bytes_max")
            .set_text("log.level", "error")
    });
    let lines = |flux: &Flux| flux.daemon.stderr().matches("reloaded: ").count();
    common::wait_until("the last line at the old level", || lines(&flux) == 1);
    flux.reload(true, |b| b);
    assert_eq!(flux.stop().code(), Some(0));
    assert_eq!(lines(&flux), 1, "{}", flux.daemon.said());
}
