//! SIGTERM: what was begun is answered, what was acknowledged is delivered, and it ends in time.

mod common;

use std::time::{Duration, Instant};

use common::blackhole::{Blackhole, Mode};
use common::flux::{Flux, KEY};
use common::http::{Client, batch, post, single};
use common::{now, wait_until};

#[test]
fn with_nothing_to_do_it_ends_soon_even_with_idle_connections() {
    let mut flux = Flux::builder().shards(2).start();
    let mut idle = flux.client();
    assert_eq!(idle.get("/metric_data?status=true").status, 200);
    let _silent = flux.client();
    // Idle ones have a second for one more request. The drain deadline of ten is for those who are owed an answer.
    let status = flux.stop_within(Duration::from_secs(4));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
    assert!(idle.ends_or_resets());
}

#[test]
fn a_request_under_way_is_answered_and_its_point_delivered() {
    let blackhole = Blackhole::start();
    let mut flux = Flux::builder()
        .shards(1)
        .carbon(&blackhole.endpoint())
        .start();
    let at = now();
    let bytes = post(&single(KEY, "drain.a", at, 1.0));
    let (first, rest) = bytes.split_at(bytes.len() - 10);
    let mut client = flux.client();
    client.send(first);
    // Its shard has read it: a later connection's request was answered.
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    flux.sigterm();
    wait_until("it is draining", || !flux.is_ready());
    client.send(rest);
    let answer = client.answer();
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(client.ends_or_resets());
    let status = flux.daemon.wait_exit(Duration::from_secs(12));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
    assert!(blackhole.has("drain.a", at, 1.0));
}

#[test]
fn a_kept_connections_next_request_is_answered_and_told_to_close() {
    let mut flux = Flux::builder().shards(2).start();
    let mut clients: Vec<Client> = (0..8).map(|_| flux.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/metric_data?status=true").status, 200);
    }
    flux.sigterm();
    wait_until("it is draining", || !flux.is_ready());
    for client in &mut clients {
        client.post_until_told_to_close(&single(KEY, "kept.a", now(), 1.0));
    }
    let status = flux.daemon.wait_exit(Duration::from_secs(12));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
}

#[test]
fn while_it_drains_nobody_new_is_let_in() {
    // One shard: the probe below shows that it has read what the first connection sent.
    let mut flux = Flux::builder().shards(1).start();
    let mut client = flux.client();
    client.send(b"POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    flux.sigterm();
    wait_until("the port is closed", || {
        Client::try_connect(flux.port).is_err()
    });
    client.send(b"\"a\": 1} ");
    assert_eq!(client.answer().status, 400, "answered all the same");
    assert_eq!(
        flux.daemon.wait_exit(Duration::from_secs(12)).code(),
        Some(0)
    );
}

#[test]
fn a_client_that_never_finishes_cannot_hold_it_beyond_the_deadline() {
    let mut flux = Flux::builder().set("http.drain_deadline_ms", 1_000).start();
    let mut client = flux.client();
    client.send(b"POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    let started = Instant::now();
    let status = flux.stop_within(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_was_queued_is_delivered_before_the_end_when_carbon_reads() {
    let blackhole = Blackhole::start();
    let mut flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .start();
    blackhole.set(Mode::Stall);
    let at = now();
    let names: Vec<String> = (0..20_000).map(|i| format!("queued.{i}")).collect();
    for part in names.chunks(5_000) {
        let body = batch(KEY, part.iter().map(|name| (name.as_str(), at, 1.0)));
        assert_eq!(flux.post(&body).status, 204);
    }
    flux.sigterm();
    wait_until("it is draining", || !flux.is_ready());
    blackhole.set(Mode::Read);
    let status = flux.daemon.wait_exit(Duration::from_secs(12));
    assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
    let delivered: std::collections::BTreeSet<_> = blackhole
        .wait_points(20_000)
        .into_iter()
        .map(|p| p.name)
        .collect();
    assert_eq!(delivered.len(), 20_000);
}

#[test]
fn a_dead_carbon_cannot_hold_it_beyond_the_deadline() {
    let blackhole = Blackhole::refusing();
    let mut flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set("http.drain_deadline_ms", 1_000)
        .start();
    assert_eq!(flux.post(&single(KEY, "dead.a", now(), 1.0)).status, 204);
    flux.stop_within(Duration::from_secs(6));
}

#[test]
fn the_points_file_holds_whole_lines_after_a_kill_9_and_a_restart() {
    let mut flux = Flux::builder().start();
    let at = now() - 100;
    assert_eq!(flux.post(&single(KEY, "file.a", at, 1.5)).status, 204);
    wait_until("it is written", || flux.points_file().len() == 1);
    flux.kill9();
    // What a crash in the middle of a write leaves.
    let file = flux.data_dir().join("points.carbon");
    let torn = format!("file.a 1.5 {at}\nfile.b 2.5 14780");
    std::fs::write(&file, torn).expect("our own file");
    flux.start_again();
    assert_eq!(flux.post(&single(KEY, "file.c", at, 3.5)).status, 204);
    let expected = [format!("file.a 1.5 {at}"), format!("file.c 3.5 {at}")];
    // A line whose delivery the journal had not noted yet is repeated.
    let lines = || std::collections::BTreeSet::from_iter(flux.points_file());
    wait_until("the torn line is gone", || {
        lines().into_iter().eq(expected.clone())
    });
}
