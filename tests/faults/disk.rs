//! The disk full, failing, or without power.

use std::time::{Duration, Instant};

use crate::common::blackhole::Blackhole;
use crate::common::disk::{PowerDisk, SmallDisk};
use crate::common::flux::Flux;
use crate::common::ledger::{Answered, Ledger, Tally, reconcile};
use crate::common::load::Load;
use crate::common::redis::Redis;
use crate::common::shim::{Shim, Verb};
use crate::common::{stays, wait_for, wait_until};
use crate::table::{Row, pick, skipped};

const MIB: u64 = 1024 * 1024;
const DRAIN: Duration = Duration::from_secs(30);

#[test]
fn full_for_the_embedded_store() {
    let scenario = "disk full for the embedded last store, then freed";
    let disk = match SmallDisk::mount(8 * MIB) {
        Ok(disk) => disk,
        Err(why) => return skipped(scenario, &why),
    };
    let blackhole = Blackhole::start();
    let data = disk.path().join("data");
    let flux = Flux::builder()
        .shards(2)
        .set_text("data_dir", &data.display().to_string())
        .set_text("journal.durability", "memory")
        .carbon(&blackhole.endpoint())
        .start();
    let ledger = Ledger::default();
    // Each lane has metrics of its own: enough of them to make the store's file grow.
    let some = || {
        let load = Load {
            metrics: 1_000,
            requests_max: pick(15, 150),
            ..Load::default()
        };
        load.start(&ledger, flux.port).wait();
    };
    some();
    disk.fill();
    some();
    let refused = ledger.answers().iter().filter(|a| a.status != 204).count();
    assert_eq!(refused, 0, "the store's disk is no reason to refuse");
    ledger.settle(&blackhole, DRAIN);
    disk.free();
    some();
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    assert_eq!(tally.acked, tally.delivered, "{tally:?}");
    flux.wait_metric("flux_last_marks_pending", 0.0);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}

#[test]
fn io_errors_of_the_embedded_store() {
    let scenario = "I/O errors of the embedded last store";
    let shim = match Shim::build("last.redb") {
        Ok(shim) => shim,
        Err(why) => return skipped(scenario, &why),
    };
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .shim(&shim)
        .start();
    let ledger = Ledger::default();
    let some = || {
        let load = Load {
            requests_max: pick(50, 500),
            ..Load::default()
        };
        load.start(&ledger, flux.port).wait();
    };
    some();
    shim.set(Verb::Fail);
    some();
    wait_until("its writes fail", || shim.struck() > 0);
    let waiting = || flux.metrics().sum("flux_last_marks_pending");
    wait_until("its marks are due", || waiting() > 0.0);
    stays("its marks wait", Duration::from_millis(500), || {
        waiting() > 0.0
    });
    some();
    let refused = ledger.answers().iter().filter(|a| a.status != 204).count();
    assert_eq!(refused, 0, "the store is no reason to refuse");
    ledger.settle(&blackhole, DRAIN);
    shim.set(Verb::Pass);
    some();
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    assert_eq!(tally.acked, tally.delivered, "{tally:?}");
    flux.wait_metric("flux_points_queued", 0.0);
    flux.wait_metric("flux_last_marks_pending", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}

#[test]
fn full_for_the_journal_and_freed() {
    let scenario = "disk full for the journal, then freed";
    let disk = match SmallDisk::mount(24 * MIB) {
        Ok(disk) => disk,
        Err(why) => return skipped(scenario, &why),
    };
    let (mut blackhole, redis) = (Blackhole::refusing(), Redis::start());
    let flux = Flux::builder()
        .shards(2)
        .set_text("data_dir", &disk.path().join("data").display().to_string())
        .set("journal.segment_bytes", MIB)
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .start();
    let ledger = Ledger::default();
    let load = Load {
        padding: 800,
        pause: Duration::ZERO,
        ..Load::default()
    };
    let load = load.start(&ledger, flux.port);
    ledger.wait_acked(500);
    disk.fill();
    wait_for("clients are told to wait", DRAIN, || {
        ledger
            .answers()
            .iter()
            .any(|a| a.status == 429)
            .then_some(())
    });
    wait_until("it says so", || !flux.is_ready());
    let full_at = Instant::now();
    stays("nothing fits", Duration::from_secs(pick(1, 5)), || {
        !flux.is_ready()
    });
    disk.free();
    wait_until("it has room again by itself", || flux.is_ready());
    let before = ledger.tally().acked;
    ledger.wait_acked(before + 500);
    // A segment is allocated whole, so a full disk is met before a point is accepted.
    let other = |a: &&Answered| a.status != 204 && a.status != 429;
    let answers = ledger.answers();
    assert!(
        answers.iter().find(other).is_none(),
        "{:?}",
        answers.iter().find(other)
    );
    assert!(answers.iter().any(|a| a.at > full_at && a.status == 429));
    blackhole.listen();
    load.stop();
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    ledger.wait_marks(&redis, DRAIN);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}

/// One owner of three cannot write. Who touches it is told that nothing is known, and what was handed
/// over arrives all the same.
#[test]
fn an_io_error_on_one_of_three_owners() {
    let scenario = "I/O error on one of three owners";
    let shim = match Shim::build("-00001-") {
        Ok(shim) => shim,
        Err(why) => return skipped(scenario, &why),
    };
    let mut row = Row::default();
    for durability in ["journal", "fsync"] {
        let mut blackhole = Blackhole::start();
        let mut flux = Flux::builder()
            .shards(3)
            .set_text("journal.durability", durability)
            .set("journal.segment_bytes", 65_536)
            // Who waits for a segment that cannot be made is answered at the deadline.
            .set("http.request_deadline_ms", 3_000)
            .carbon(&blackhole.endpoint())
            .shim(&shim)
            .start();
        let ledger = Ledger::default();
        let some = || {
            let load = Load {
                requests_max: pick(50, 300),
                ..Load::default()
            };
            let before = ledger.answers().len();
            load.start(&ledger, flux.port).wait();
            ledger.answers().split_off(before)
        };
        assert!(some().iter().all(|a| a.status == 204));
        shim.set(Verb::Fail);
        let failing = some();
        let count = |status| failing.iter().filter(|a| a.status == status).count();
        println!(
            "{durability}: {} × 204, {} × 504, {} × 429",
            count(204),
            count(504),
            count(429)
        );
        assert!(count(504) > 0, "who was first to touch the owner");
        assert!(count(204) > 10, "who does not");
        assert_eq!(count(204) + count(504) + count(429), failing.len());
        assert!(flux.metrics().sum("flux_journal_commits_failed_total") > 0.0);
        shim.set(Verb::Pass);
        wait_until("it writes again", || some().iter().all(|a| a.status == 204));
        wait_for("what was handed over is delivered", DRAIN, || {
            ledger.absorb(&blackhole);
            let tally = ledger.tally();
            (tally.delivered == tally.acked + tally.unknown).then_some(())
        });

        // And with carbon down, a crash after it: what got a 204 meanwhile is there.
        blackhole.refuse();
        shim.set(Verb::Fail);
        some();
        shim.set(Verb::Pass);
        some();
        flux.kill9();
        blackhole.listen();
        let started = Instant::now();
        flux.start_again();
        let (tally, _) = ledger.settle(&blackhole, DRAIN);
        let recovered = started.elapsed();
        row.add(tally, recovered);
    }
    row.write(scenario);
}

/// The power goes under load. What was synced is there afterwards; what was only written may not be,
/// which also shows that the power was really cut.
fn power_loss(disk: &mut PowerDisk, durability: &str, seed: u64) -> (Tally, Duration) {
    let mut blackhole = Blackhole::refusing();
    let data = |disk: &PowerDisk| disk.path().join("data").display().to_string();
    let mut flux = Flux::builder()
        .shards(2)
        .set_text("data_dir", &data(disk))
        .set_text("journal.durability", durability)
        .set("journal.segment_bytes", 65_536)
        .carbon(&blackhole.endpoint())
        .start();
    let ledger = Ledger::default();
    let load = Load {
        seed,
        twice: 300,
        ..Load::default()
    };
    let load = load.start(&ledger, flux.port);
    ledger.wait_acked(500 + 300 * seed as usize);
    ledger.void_promises();
    disk.cut();
    flux.kill9();
    load.stop();
    disk.come_back();
    blackhole.listen();
    let data = data(disk);
    flux.change(|builder| builder.set_text("data_dir", &data));
    let started = Instant::now();
    flux.start_again();
    if durability == "fsync" {
        let (tally, _) = ledger.settle(&blackhole, DRAIN);
        return (tally, started.elapsed());
    }
    wait_for("what is there is delivered", DRAIN, || {
        let metrics = flux.metrics();
        let left = metrics.sum("flux_points_queued") + metrics.sum("flux_journal_points");
        (left == 0.0).then_some(())
    });
    ledger.absorb(&blackhole);
    (ledger.tally(), started.elapsed())
}

#[test]
fn without_power() {
    for (durability, seeds) in [("fsync", pick(2, 20)), ("journal", pick(1, 5))] {
        let scenario = match durability {
            "fsync" => "power loss, `fsync`",
            _ => "power loss, `journal` (a loss is expected)",
        };
        let mut row = Row::default();
        for seed in 0..seeds {
            let mut disk = match PowerDisk::mount(64 * MIB) {
                Ok(disk) => disk,
                Err(why) => return skipped(scenario, &why),
            };
            let (tally, recovered) = power_loss(&mut disk, durability, seed);
            row.add(tally, recovered);
        }
        let lossless = durability == "fsync";
        assert_eq!(row.lost == 0, lossless, "{row:?}");
        row.write(scenario);
    }
}
