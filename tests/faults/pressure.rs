//! Back-pressure: carbon out of reach under full load. Memory and disk stay within their bounds, clients
//! are told to wait, and when it is back the backlog drains without starving who is live.

use std::time::{Duration, Instant};

use crate::common::blackhole::{Blackhole, Mode};
use crate::common::flux::Flux;
use crate::common::ledger::{Answered, Ledger, reconcile};
use crate::common::load::Load;
use crate::common::wait_for;
use crate::table::{Row, pick};

const MIB: u64 = 1024 * 1024;

/// Points acknowledged a second between two moments.
fn rate(answers: &[Answered], from: Instant, to: Instant) -> f64 {
    let within = |answer: &&Answered| answer.status == 204 && answer.at >= from && answer.at < to;
    let points: u32 = answers
        .iter()
        .filter(within)
        .map(|answer| answer.points)
        .sum();
    f64::from(points) / to.duration_since(from).as_secs_f64()
}

#[test]
fn carbon_out_of_reach_under_full_load() {
    let scenario = pick(
        "back-pressure: carbon silent for 6 s under full load",
        "back-pressure: carbon silent for 120 s under full load",
    );
    let budget = pick(2, 32) * MIB;
    let disk_max = pick(32, 160) * MIB;
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .set("http.body_bytes_max", 128 * 1024)
        .set("http.inflated_bytes_max", 128 * 1024)
        .set("points.in_flight_bytes_max", budget)
        .set("carbon.redo_bytes", 256 * 1024)
        .set("journal.bytes_max", disk_max)
        .set("journal.segment_bytes", MIB)
        .start();
    let ledger = Ledger::default();
    let load = Load {
        metrics: 100,
        pause: Duration::ZERO,
        requests_max: usize::MAX,
        ..Load::default()
    };
    let load = load.start(&ledger, flux.port);
    ledger.wait_acked(2_000);
    let healthy = Instant::now();
    std::thread::sleep(Duration::from_secs(pick(2, 10)));
    let (memory_before, _) = flux.resident();

    blackhole.set(Mode::Stall);
    let silent = Instant::now();
    let (mut most_disk, mut most_memory) = (0, 0);
    while silent.elapsed() < Duration::from_secs(pick(6, 120)) {
        most_disk = most_disk.max(flux.journal_files().values().sum());
        most_memory = most_memory.max(flux.resident().0);
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "{} MiB before, at most {} MiB of memory and {} MiB of disk",
        memory_before / MIB,
        most_memory / MIB,
        most_disk / MIB
    );
    assert!(most_disk <= disk_max, "{most_disk} bytes of disk");
    // Both budgets, and as much again for buffers that doubled and for what is being written.
    let memory_max = memory_before + 2 * 2 * budget + 16 * MIB;
    assert!(
        most_memory < memory_max,
        "{most_memory} bytes of memory, {memory_max} allowed"
    );
    let answers = ledger.answers();
    let during: Vec<_> = answers.iter().filter(|answer| answer.at > silent).collect();
    assert!(
        during.iter().any(|a| a.status == 429),
        "nobody was told to wait"
    );
    let other = during.iter().find(|a| a.status != 204 && a.status != 429);
    assert!(other.is_none(), "{other:?}");
    // One owner is full; most requests touch it, so the other one may have room.
    let metrics = flux.metrics();
    let held = metrics.sum("flux_in_flight_bytes") / metrics.sum("flux_in_flight_bytes_limit");
    assert!(
        held > 0.8,
        "clients are told to wait with room left: {held}"
    );

    let back = Instant::now();
    blackhole.set(Mode::Read);
    wait_for("both shards found it", Duration::from_secs(30), || {
        (flux.metrics().sum("flux_carbon_connected") == 2.0).then_some(())
    });
    let found = Instant::now();
    ledger.wait_backlog(&blackhole, Duration::from_secs(60));
    let recovered = back.elapsed();
    // There is room again when the first of it counts as delivered, a redo window later: within this.
    let window = Duration::from_secs(4);
    std::thread::sleep((2 * window).saturating_sub(found.elapsed()));
    load.stop();
    let answers = ledger.answers();
    let before = rate(&answers, healthy, silent);
    let draining = rate(&answers, found, found + window);
    let after = rate(&answers, found + window, found + 2 * window);
    println!(
        "backlog gone after {recovered:?}; points/s: {before:.0} before, {draining:.0} while it \
         drained, {after:.0} after"
    );
    // Both, because others use this machine too.
    let usual = before.min(after);
    assert!(draining >= usual / 2.0, "{draining} points/s of {usual}");
    let (tally, _) = ledger.settle(&blackhole, Duration::from_secs(30));
    wait_for("it drains", Duration::from_secs(30), || {
        (flux.metrics().sum("flux_points_queued") == 0.0).then_some(())
    });
    assert!(flux.is_ready());
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}
