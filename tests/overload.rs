//! Carbon down, stalled or resetting: the queue is bounded, full is a 429, and nothing that was
//! acknowledged is lost while the process lives.

mod common;

use common::blackhole::{Blackhole, Mode};
use common::flux::{Builder, Flux, KEY};
use common::http::{request, single};
use common::ledger::Ledger;
use common::load::{Lane, Load};
use common::{PATIENCE, now, wait_until};

/// A budget that a test can fill within a second, and bodies that fit in it.
fn small_budget() -> Builder {
    Flux::builder()
        .shards(2)
        .set("http.body_bytes_max", 16 * 1024)
        .set("http.inflated_bytes_max", 16 * 1024)
        .set("points.in_flight_bytes_max", 512 * 1024)
        .set("carbon.redo_bytes", 64 * 1024)
}

/// Batches of some metrics on one connection, and the books.
fn client(flux: &Flux) -> (Lane, Ledger) {
    let ledger = Ledger::default();
    let load = Load {
        metrics: 100,
        singles: 0,
        gets: 0,
        twice: 0,
        ..Load::default()
    };
    (Lane::new(&ledger, flux.port, load), ledger)
}

/// No loss, no invention, no split decision. Repeats are allowed: carbon overwrites equals.
fn check(ledger: &Ledger, blackhole: &Blackhole) {
    let (tally, _) = ledger.settle(blackhole, PATIENCE);
    assert_eq!(tally.delivered, tally.acked, "{tally:?}");
}

#[test]
fn with_carbon_down_the_queue_fills_to_429_and_drains_when_it_is_back() {
    let mut blackhole = Blackhole::refusing();
    let flux = small_budget().carbon(&blackhole.endpoint()).start();
    let (mut lane, ledger) = client(&flux);
    lane.ask_until_full();
    let queued = flux.metrics().sum("flux_points_queued");
    assert_eq!(queued, ledger.tally().acked as f64);
    // A refusal is not the end of the connection (another batch, other owners, may still fit).
    lane.ask_until_full();

    blackhole.listen();
    check(&ledger, &blackhole);
    wait_until("there is room again", || lane.ask() == 204);
    check(&ledger, &blackhole);
}

#[test]
fn with_carbon_stalled_the_queue_fills_to_429_and_drains_when_it_reads() {
    let blackhole = Blackhole::start();
    let flux = small_budget().carbon(&blackhole.endpoint()).start();
    blackhole.set(Mode::Stall);
    let (mut lane, ledger) = client(&flux);
    lane.ask_until_full();
    // The other side of the budget still answers: probes and refusals need no room.
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    blackhole.set(Mode::Read);
    check(&ledger, &blackhole);
    wait_until("there is room again", || lane.ask() == 204);
    check(&ledger, &blackhole);
}

#[test]
fn a_carbon_that_resets_inside_frames_gets_every_point_whole() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .start();
    let (mut lane, ledger) = client(&flux);
    blackhole.set(Mode::ResetAfter(10_000));
    for _ in 0..50 {
        assert_eq!(lane.ask(), 204);
    }
    wait_until("frames were cut off", || blackhole.torn() >= 2);
    blackhole.set(Mode::Read);
    check(&ledger, &blackhole);
}

#[test]
fn a_carbon_that_closes_every_connection_costs_nothing_once_it_stops_that() {
    let blackhole = Blackhole::start();
    blackhole.set(Mode::CloseAfterAccept);
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .start();
    let (mut lane, ledger) = client(&flux);
    for _ in 0..20 {
        assert_eq!(lane.ask(), 204);
    }
    wait_until("it tried again", || blackhole.connections_accepted() >= 4);
    blackhole.set(Mode::Read);
    check(&ledger, &blackhole);
}

#[test]
fn a_slow_carbon_is_fed_at_its_own_pace_and_misses_nothing() {
    let blackhole = Blackhole::start();
    blackhole.set(Mode::Slow(4_096));
    let flux = small_budget().carbon(&blackhole.endpoint()).start();
    let (mut lane, ledger) = client(&flux);
    for _ in 0..200 {
        lane.ask();
    }
    check(&ledger, &blackhole);
}

#[test]
fn a_full_points_file_is_a_429_too() {
    let flux = small_budget()
        .set("carbon.file_bytes_max", 64 * 1024)
        .start();
    let (mut lane, _ledger) = client(&flux);
    wait_until("the file is full, and then the queue", || lane.ask() == 429);
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
