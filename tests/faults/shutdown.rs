//! SIGTERM with a backlog and nobody to take it: an exit in time, and nothing lost. What happens to
//! single requests is in tests/shutdown.rs.

use std::time::{Duration, Instant};

use crate::common::blackhole::{Blackhole, Mode};
use crate::common::flux::Flux;
use crate::common::ledger::{Ledger, reconcile};
use crate::common::load::Load;
use crate::common::netns::OwnNetwork;
use crate::common::wait_until;
use crate::table::{Row, pick, skipped};

const DRAIN: Duration = Duration::from_secs(30);

fn flux(durability: &str, blackhole: &Blackhole, deadline_ms: u64) -> Flux {
    Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .set_text("journal.durability", durability)
        .set("http.drain_deadline_ms", deadline_ms)
        .start()
}

fn load() -> Load {
    Load {
        retry: true,
        ..Load::default()
    }
}

/// The next process delivers what the last one could not.
fn settle(scenario: &str, flux: &mut Flux, ledger: &Ledger, blackhole: &Blackhole) {
    let started = Instant::now();
    flux.start_again();
    let (tally, _) = ledger.settle(blackhole, DRAIN);
    let recovered = started.elapsed();
    assert!(tally.acked > 1_000, "hardly anything was sent: {tally:?}");
    flux.wait_metric("flux_points_queued", 0.0);
    flux.wait_metric("flux_journal_points", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}

#[test]
fn with_a_backlog_and_carbon_in_a_black_hole() {
    let network = match OwnNetwork::enter() {
        Ok(network) => network,
        Err(why) => return skipped("SIGTERM with a backlog, carbon in a black hole", &why),
    };
    for durability in ["journal", "memory", "fsync"] {
        let blackhole = Blackhole::start();
        let mut flux = flux(durability, &blackhole, 2_000);
        let ledger = Ledger::default();
        let load = load().start(&ledger, flux.port);
        ledger.wait_acked(500);
        network.swallow(blackhole.port);
        ledger.wait_acked(pick(4_000, 50_000));
        let asked = Instant::now();
        let status = flux.stop_within(Duration::from_secs(4));
        assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
        println!("{durability}: out after {:?}", asked.elapsed());
        load.stop();
        ledger.absorb(&blackhole);
        assert!(ledger.tally().lost > 0, "there was no backlog");
        network.heal();
        let scenario = format!("SIGTERM with a backlog, carbon in a black hole, `{durability}`");
        settle(&scenario, &mut flux, &ledger, &blackhole);
    }
}

#[test]
fn a_second_sigterm_ends_the_waiting_and_loses_nothing() {
    let blackhole = Blackhole::start();
    let mut flux = flux("journal", &blackhole, 60_000);
    let ledger = Ledger::default();
    let padded = Load {
        padding: 400,
        ..load()
    };
    let load = padded.start(&ledger, flux.port);
    ledger.wait_acked(500);
    blackhole.set(Mode::Stall);
    // More than the kernel's buffers hold, so that a write to carbon waits too.
    wait_until("a backlog of 16 MB", || {
        flux.metrics().sum("flux_points_queued") > pick(40_000.0, 100_000.0)
    });
    // A client that does not finish holds the drain.
    let mut client = flux.client();
    client.send(b"POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    flux.sigterm();
    wait_until("it is draining", || !flux.is_ready());
    std::thread::sleep(Duration::from_millis(500));
    assert!(flux.daemon.exited().is_none(), "it waits for its client");
    let asked = Instant::now();
    flux.stop_within(Duration::from_secs(3));
    println!("out after {:?}", asked.elapsed());
    load.stop();
    blackhole.set(Mode::Read);
    settle("a second SIGTERM", &mut flux, &ledger, &blackhole);
}

#[test]
fn under_load_and_again_and_again() {
    let blackhole = Blackhole::start();
    let mut flux = flux("journal", &blackhole, 5_000);
    let ledger = Ledger::default();
    let load = load().start(&ledger, flux.port);
    for _ in 0..pick(3, 20) {
        let acked = ledger.tally().acked;
        ledger.wait_acked(acked + 1_000);
        // The deadline, and what a flush of the disk that is under way then takes: seconds, where others write too.
        let status = flux.stop_within(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
        flux.start_again();
    }
    load.stop();
    flux.stop();
    settle(
        "SIGTERM and a new start, under load",
        &mut flux,
        &ledger,
        &blackhole,
    );
}
