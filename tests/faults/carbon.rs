//! Carbon gone, slow, silent, resetting, out of reach or moved.

use std::fs;
use std::time::{Duration, Instant};

use crate::SINK;
use crate::common::blackhole::{Blackhole, Mode};
use crate::common::flux::{Builder, Flux, KEY};
use crate::common::http::batch;
use crate::common::ledger::{Ledger, reconcile};
use crate::common::load::Load;
use crate::common::netns::OwnNetwork;
use crate::common::sink::{Sink, SinkProcess};
use crate::common::{now, wait_until};
use crate::table::{Row, pick, skipped};

/// Everything that was kept back leaves within this, on a machine that does other things too.
const DRAIN: Duration = Duration::from_secs(30);

fn flux(endpoint: &str) -> Builder {
    Flux::builder().shards(2).carbon(endpoint)
}

/// What a client sends while carbon misbehaves for seconds or a minute.
fn gentle() -> Load {
    Load {
        pause: Duration::from_millis(5),
        ..Load::default()
    }
}

/// The end of every scenario: all of it arrives, the program's own books balance, and new points flow.
fn settle(scenario: &str, flux: &Flux, ledger: &Ledger, sink: &dyn Sink) {
    let (tally, recovered) = ledger.settle(sink, DRAIN);
    assert!(tally.acked > 100, "hardly anything was sent: {tally:?}");
    let again = Load {
        requests_max: 20,
        ..gentle()
    };
    again.start(ledger, flux.port).wait();
    let (after, _) = ledger.settle(sink, DRAIN);
    assert!(after.acked > tally.acked, "it serves as before: {after:?}");
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(after, recovered).write(scenario);
}

fn down_for(scenario: &str, time: Duration) {
    let mut blackhole = Blackhole::refusing();
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let load = gentle().start(&ledger, flux.port);
    ledger.wait_acked(100);
    // How long it is down is the scenario, not a wait for something.
    std::thread::sleep(time);
    assert_eq!(blackhole.connections_accepted(), 0);
    blackhole.listen();
    let back = Instant::now();
    wait_until("it is found again", || blackhole.connections_accepted() > 0);
    assert!(
        back.elapsed() < Duration::from_secs(3),
        "{:?}",
        back.elapsed()
    );
    load.stop();
    settle(scenario, &flux, &ledger, &blackhole);
}

#[test]
fn down_at_the_start() {
    down_for("carbon down at the start, for 1 s", Duration::from_secs(1));
    if pick(false, true) {
        down_for(
            "carbon down at the start, for 60 s",
            Duration::from_secs(60),
        );
    }
}

#[test]
fn restarted_under_load() {
    let mut blackhole = Blackhole::start();
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let load = Load::default().start(&ledger, flux.port);
    for round in 1..pick(4, 20) {
        ledger.wait_acked(1_000 * round);
        blackhole.refuse();
        ledger.wait_acked(1_000 * round + 500);
        blackhole.listen();
    }
    load.stop();
    settle("carbon restarted under load", &flux, &ledger, &blackhole);
}

#[test]
fn stopped_and_then_killed_with_bytes_unread_in_its_kernel() {
    let mut sink = SinkProcess::start(SINK);
    let flux = flux(&sink.endpoint()).start();
    let ledger = Ledger::default();
    let load = gentle().start(&ledger, flux.port);
    wait_until("it delivers", || {
        ledger.absorb(&sink);
        ledger.tally().delivered > 100
    });
    sink.pause();
    let before = ledger.tally().acked;
    ledger.wait_acked(before + 2_000);
    // Longer than the redo window: what the kernel took meanwhile counts as delivered, and is lost with it.
    let delivered = flux.metrics().sum("flux_points_delivered_total");
    wait_until("unread points count as delivered", || {
        flux.metrics().sum("flux_points_delivered_total") > delivered
    });
    std::thread::sleep(Duration::from_secs(pick(1, 5)));
    load.stop();
    sink.kill();
    ledger.absorb(&sink);
    let lost = ledger.tally().lost;
    assert!(
        lost > 0,
        "its kernel held nothing: the scenario shows nothing"
    );
    sink.start_again(SINK);
    settle(
        "carbon stopped, then killed with bytes unread",
        &flux,
        &ledger,
        &sink,
    );
}

/// It takes connections and reads nothing, as when its disk or its machine hangs. Our kernel gives each of
/// them up after a while; that is no reason to give up a point.
#[test]
fn hung_for_minutes() {
    let scenario = pick("carbon hangs for 2 s", "carbon hangs for 300 s");
    let blackhole = Blackhole::start();
    blackhole.set(Mode::Stall);
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let load = Load {
        pause: Duration::ZERO,
        ..Load::default()
    };
    // More than the kernels on both sides hold.
    let load = load.start(&ledger, flux.port);
    ledger.wait_acked(pick(20_000, 200_000));
    load.stop();
    std::thread::sleep(Duration::from_secs(pick(2, 300)));
    assert_eq!(flux.metrics().sum("flux_points_unconfirmed_total"), 0.0);
    blackhole.set(Mode::Read);
    settle(scenario, &flux, &ledger, &blackhole);
}

/// What stands in front of carbon takes every connection and closes it again. After a minute and a half of that
/// a frame is given up, so that a frame that carbon cannot take does not hold up the others; not before.
#[test]
fn closed_again_and_again() {
    let scenario = pick(
        "carbon closes every connection for 2 s",
        "carbon closes every connection for 40 s",
    );
    let blackhole = Blackhole::start();
    blackhole.set(Mode::CloseAfterAccept);
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let load = gentle().start(&ledger, flux.port);
    std::thread::sleep(Duration::from_secs(pick(2, 40)));
    blackhole.set(Mode::Read);
    load.stop();
    flux.wait_metric("flux_points_queued", 0.0);
    ledger.absorb(&blackhole);
    let tally = ledger.tally();
    let given_up = flux.metrics().sum("flux_points_unconfirmed_total");
    println!("{tally:?}, {given_up} given up");
    assert!(tally.acked > 100, "{tally:?}");
    assert_eq!((tally.lost, given_up), (0, 0.0), "{tally:?}");
    reconcile(&flux.metrics());
    Row::one(tally, Duration::ZERO).write(scenario);
}

#[test]
fn read_at_a_kilobyte_a_second() {
    let blackhole = Blackhole::start();
    let flux = flux(&blackhole.endpoint()).start();
    blackhole.set(Mode::Rate(1_000));
    let ledger = Ledger::default();
    let load = Load::default().start(&ledger, flux.port);
    // The full form is longer than the time after which unacknowledged bytes mean a dead peer.
    std::thread::sleep(Duration::from_secs(pick(2, 40)));
    load.stop();
    ledger.absorb(&blackhole);
    assert!(ledger.tally().lost > 0, "it read everything: not slow");
    blackhole.set(Mode::Read);
    settle("carbon reads 1 kB/s", &flux, &ledger, &blackhole);
}

#[test]
fn reset_after_every_byte_of_a_frame() {
    let blackhole = Blackhole::start();
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let names: Vec<_> = (0..4).map(|i| format!("ledger.cut.{i}").into()).collect();
    let mut client = flux.client();
    let begin = now() - 3_000;
    let mut length = 0;
    let mut send = |at: u32| {
        let points = ledger.attempt(&names, at);
        let items = names.iter().zip(points.clone());
        let items = items.map(|(name, value)| (&**name, at, value as f64));
        let asked = Instant::now();
        let answer = client.post(&batch(KEY, items));
        ledger.answered(points, Some(answer.status), asked);
        assert_eq!(answer.status, 204, "{answer:?}");
        let (_, took) = ledger.settle(&blackhole, DRAIN);
        took
    };
    send(begin);
    // Two shards, so each sends a part of it; their frames are not longer than all of it in one.
    for name in &names {
        length += name.len() + 23;
    }
    length += 12;
    let mut longest = Duration::ZERO;
    for cut in (0..length).step_by(pick(23, 1)) {
        let broken = blackhole.broken();
        blackhole.set(Mode::ResetOnce(cut));
        longest = longest.max(send(begin + 1 + cut as u32));
        // A cut beyond the shorter frames waits for bytes that do not come.
        if blackhole.broken() == broken {
            blackhole.set(Mode::Read);
            assert!(cut > length / 4, "no reset after {cut} bytes");
        }
    }
    let tally = ledger.tally();
    assert_eq!(tally.acked, tally.delivered);
    Row::one(tally, longest).write("carbon resets after every k-th byte of a frame");
    reconcile(&flux.metrics());
}

#[test]
fn closed_before_it_read_the_frame() {
    for (scenario, mode) in [
        ("carbon closes, nothing read (reset)", Mode::CloseUnread),
        ("carbon closes, nothing read (FIN first)", Mode::FinUnread),
    ] {
        let blackhole = Blackhole::start();
        blackhole.set(mode);
        let flux = flux(&blackhole.endpoint()).start();
        let ledger = Ledger::default();
        let load = gentle().start(&ledger, flux.port);
        wait_until("it closed again and again", || {
            blackhole.broken() > pick(8, 14)
        });
        load.stop();
        blackhole.set(Mode::Read);
        settle(scenario, &flux, &ledger, &blackhole);
    }
}

#[test]
fn a_black_hole_in_the_network() {
    let scenario = pick(
        "black hole (packets dropped) for 3 s",
        "black hole (packets dropped) for 30 s",
    );
    let network = match OwnNetwork::enter() {
        Ok(network) => network,
        Err(why) => return skipped(scenario, &why),
    };
    let blackhole = Blackhole::start();
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let load = gentle().start(&ledger, flux.port);
    ledger.wait_acked(200);
    ledger.settle(&blackhole, DRAIN);
    network.swallow(blackhole.port);
    let before = ledger.tally();
    std::thread::sleep(Duration::from_secs(pick(3, 30)));
    ledger.absorb(&blackhole);
    let during = ledger.tally();
    assert!(
        during.acked > before.acked + 500,
        "clients notice nothing: {during:?}"
    );
    assert!(during.lost > 500, "nothing gets through: {during:?}");
    network.heal();
    load.stop();
    settle(scenario, &flux, &ledger, &blackhole);
}

#[test]
fn flapping_every_200_ms() {
    let scenario = pick(
        "carbon flaps every 200 ms, for 3 s",
        "carbon flaps every 200 ms, for 60 s",
    );
    let mut blackhole = Blackhole::start();
    let flux = flux(&blackhole.endpoint()).start();
    let ledger = Ledger::default();
    let load = Load {
        pause: Duration::from_millis(20),
        ..Load::default()
    }
    .start(&ledger, flux.port);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(pick(3, 60)) {
        std::thread::sleep(Duration::from_millis(200));
        blackhole.refuse();
        std::thread::sleep(Duration::from_millis(200));
        blackhole.listen();
    }
    load.stop();
    settle(scenario, &flux, &ledger, &blackhole);
}

#[test]
fn a_name_that_changes_its_address() {
    let scenario = "carbon's name changes its address";
    // SAFETY: a plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return skipped(scenario, "needs root to mount an /etc/hosts of its own");
    }
    let hosts = tempfile::NamedTempFile::new().expect("a file of our own");
    let points_to = |address: &str| {
        fs::write(hosts.path(), format!("{address} carbon.flux.test\n")).expect("our own file");
    };
    points_to("127.0.0.2");
    let mut old = Blackhole::refusing();
    old.address = [127, 0, 0, 2].into();
    old.listen();
    let flux = flux(&format!("carbon.flux.test:{}", old.port))
        .hosts(hosts.path())
        .start();
    let ledger = Ledger::default();
    let load = gentle().start(&ledger, flux.port);
    ledger.wait_acked(200);
    ledger.settle(&old, DRAIN);

    points_to("127.0.0.3");
    let mut new = Blackhole::refusing_on(old.port);
    new.address = [127, 0, 0, 3].into();
    new.listen();
    old.refuse();
    // What the old one got before it went away stays delivered: both are read into the same books.
    ledger.absorb(&old);
    wait_until("it goes to the new address", || {
        new.connections_accepted() > 0
    });
    let before = ledger.tally().acked;
    ledger.wait_acked(before + 200);
    load.stop();
    ledger.forget(&old);
    settle(scenario, &flux, &ledger, &new);
}
