//! Carbon down, stalled or resetting: the queue is bounded, full is a 429, and nothing that was
//! acknowledged is lost while the process lives.

mod common;

use std::collections::BTreeMap;

use common::blackhole::{Blackhole, Mode};
use common::flux::{Builder, Flux, KEY};
use common::http::{Answer, Client, batch, request, single};
use common::{now, wait_until};

const POINTS_PER_REQUEST: u32 = 100;

/// A budget that a test can fill within a second, and bodies that fit in it.
fn small_budget() -> Builder {
    Flux::builder()
        .shards(2)
        .set("http.body_bytes_max", 16 * 1024)
        .set("http.inflated_bytes_max", 16 * 1024)
        .set("points.in_flight_bytes_max", 512 * 1024)
        .set("carbon.redo_bytes", 64 * 1024)
}

/// What the client knows of its own requests; every point's value is its sequence number.
#[derive(Default)]
struct Ledger {
    sequence: u32,
    acked: BTreeMap<String, (u32, f64)>,
    refused: BTreeMap<String, (u32, f64)>,
}

impl Ledger {
    fn send(&mut self, client: &mut Client) -> Answer {
        let at = now();
        let points: Vec<(String, f64)> = (0..POINTS_PER_REQUEST)
            .map(|i| {
                let sequence = self.sequence + i;
                (format!("ledger.m{sequence}"), f64::from(sequence))
            })
            .collect();
        self.sequence += POINTS_PER_REQUEST;
        let body = batch(KEY, points.iter().map(|(name, v)| (name.as_str(), at, *v)));
        let answer = client.post(&body);
        let side = match answer.status {
            204 => &mut self.acked,
            429 => &mut self.refused,
            other => panic!("{other}: {answer:?}"),
        };
        side.extend(points.into_iter().map(|(name, value)| (name, (at, value))));
        answer
    }

    /// Sends until the first 429, which must say when to come back.
    fn fill(&mut self, client: &mut Client) {
        for _ in 0..1_000 {
            let answer = self.send(client);
            if answer.status == 429 {
                let seconds = answer.header("retry-after").expect("a 429 says when");
                assert!(seconds.parse::<u32>().is_ok_and(|s| s >= 1), "{answer:?}");
                return;
            }
        }
        panic!("100,000 points fit into half a megabyte per shard");
    }

    /// No loss, no invention, no split decision. Repeats are allowed: carbon overwrites equals.
    fn check(&self, blackhole: &Blackhole) {
        wait_until("every acknowledged point is delivered", || {
            let received = received(blackhole);
            self.acked.keys().all(|name| received.contains_key(name))
        });
        for (name, (at, value)) in received(blackhole) {
            assert!(!self.refused.contains_key(&name), "{name} was refused");
            assert_eq!(self.acked.get(&name), Some(&(at, value)), "{name}");
        }
    }
}

fn received(blackhole: &Blackhole) -> BTreeMap<String, (u32, f64)> {
    blackhole
        .points()
        .into_iter()
        .map(|point| (point.name, (point.timestamp, point.value)))
        .collect()
}

#[test]
fn with_carbon_down_the_queue_fills_to_429_and_drains_when_it_is_back() {
    let mut blackhole = Blackhole::refusing();
    let flux = small_budget().carbon(&blackhole.endpoint()).start();
    let mut client = flux.client();
    let mut ledger = Ledger::default();
    ledger.fill(&mut client);
    let queued = flux.metrics().sum("flux_points_queued");
    assert_eq!(queued, ledger.acked.len() as f64);
    // A refusal is not the end of the connection (another batch, other owners, may still fit).
    ledger.fill(&mut client);

    blackhole.listen();
    ledger.check(&blackhole);
    wait_until("there is room again", || {
        ledger.send(&mut client).status == 204
    });
    ledger.check(&blackhole);
}

#[test]
fn with_carbon_stalled_the_queue_fills_to_429_and_drains_when_it_reads() {
    let blackhole = Blackhole::start();
    let flux = small_budget().carbon(&blackhole.endpoint()).start();
    blackhole.set(Mode::Stall);
    let mut client = flux.client();
    let mut ledger = Ledger::default();
    ledger.fill(&mut client);
    // The other side of the budget still answers: probes and refusals need no room.
    assert_eq!(client.get("/metric_data?status=true").status, 200);
    blackhole.set(Mode::Read);
    ledger.check(&blackhole);
    wait_until("there is room again", || {
        ledger.send(&mut client).status == 204
    });
    ledger.check(&blackhole);
}

#[test]
fn a_carbon_that_resets_inside_frames_gets_every_point_whole() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .start();
    let mut client = flux.client();
    let mut ledger = Ledger::default();
    blackhole.set(Mode::ResetAfter(10_000));
    for _ in 0..50 {
        assert_eq!(ledger.send(&mut client).status, 204);
    }
    wait_until("frames were cut off", || blackhole.torn() >= 2);
    blackhole.set(Mode::Read);
    ledger.check(&blackhole);
}

#[test]
fn a_carbon_that_closes_every_connection_costs_nothing_once_it_stops_that() {
    let blackhole = Blackhole::start();
    blackhole.set(Mode::CloseAfterAccept);
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .start();
    let mut client = flux.client();
    let mut ledger = Ledger::default();
    for _ in 0..20 {
        assert_eq!(ledger.send(&mut client).status, 204);
    }
    wait_until("it tried again", || blackhole.connections_accepted() >= 4);
    blackhole.set(Mode::Read);
    ledger.check(&blackhole);
}

#[test]
fn a_slow_carbon_is_fed_at_its_own_pace_and_misses_nothing() {
    let blackhole = Blackhole::start();
    blackhole.set(Mode::Slow(4_096));
    let flux = small_budget().carbon(&blackhole.endpoint()).start();
    let mut client = flux.client();
    let mut ledger = Ledger::default();
    for _ in 0..200 {
        ledger.send(&mut client);
    }
    ledger.check(&blackhole);
}

#[test]
fn a_full_points_file_is_a_429_too() {
    let flux = small_budget()
        .set("carbon.file_bytes_max", 64 * 1024)
        .start();
    let mut client = flux.client();
    let mut ledger = Ledger::default();
    wait_until("the file is full, and then the queue", || {
        ledger.send(&mut client).status == 429
    });
    let size = || {
        let file = std::fs::metadata(flux.data_dir().join("points.carbon"));
        file.map_or(0, |file| file.len())
    };
    assert!(size() <= 64 * 1024, "{} bytes", size());
}

#[test]
fn a_request_that_can_never_fit_is_413_and_the_next_one_is_served() {
    let flux = small_budget().start();
    let mut client = flux.client();
    let large = vec![b' '; 16 * 1024 + 1];
    client.send(&request("POST", "/metric_data_post", &[], &large));
    let answer = client.answer();
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.closes(), "its body was not read: {answer:?}");
    assert!(client.ends());
    assert_eq!(flux.post(&single(KEY, "a", now(), 1.0)).status, 204);
}
