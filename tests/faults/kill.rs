//! kill -9 in the middle of everything, and a start that finds what was promised.

use std::time::{Duration, Instant};

use crate::common::blackhole::{Blackhole, Mode};
use crate::common::flux::{Builder, Flux, KEY};
use crate::common::http::{post, single};
use crate::common::ledger::{Ledger, Tally, marks, reconcile};
use crate::common::load::{Dice, Lane, Load};
use crate::common::redis::Redis;
use crate::common::shim::{Shim, Verb};
use crate::common::{now, wait_for, wait_until};
use crate::table::{Row, pick, skipped};

const DRAIN: Duration = Duration::from_secs(40);

/// Small segments and a short redo, so that seconds see many of them come and go.
fn builder(durability: &str, endpoint: &str) -> Builder {
    Flux::builder()
        .set_text("journal.durability", durability)
        .set("journal.segment_bytes", 65_536)
        .set("carbon.redo_window_ms", 100)
        .set("carbon.redo_bytes", 65_536)
        .carbon(endpoint)
}

/// Until nothing is on its way any more.
fn drained(flux: &Flux) {
    let on_its_way = |flux: &Flux| {
        let metrics = flux.metrics();
        metrics.sum("flux_points_queued") + metrics.sum("flux_journal_points")
    };
    wait_for("nothing is on its way", DRAIN, || {
        (on_its_way(flux) == 0.0).then_some(())
    });
}

/// One life and its end, and the next life. With carbon stopped during the first one, unless the seed
/// says that it reads.
fn crash(durability: &str, redis: &Redis, seed: u64) -> (Tally, Duration) {
    redis.command(&["FLUSHALL"]);
    let mut dice = Dice::new(seed);
    let carbon_reads = seed % 4 == 3;
    let mut blackhole = Blackhole::refusing();
    if carbon_reads {
        blackhole.listen();
    }
    let mut flux = builder(durability, &blackhole.endpoint())
        .redis(&redis.url())
        .shards(2 + (seed % 2) as u32)
        .start();
    let ledger = Ledger::default();
    let load = Load {
        pause: Duration::from_micros(dice.below(2_000)),
        twice: 300,
        retry: true,
        seed,
        ..Load::default()
    };
    let load = load.start(&ledger, flux.port);
    ledger.wait_acked(200 + dice.below(4_000) as usize);
    // Anywhere within a write.
    std::thread::sleep(Duration::from_micros(dice.below(3_000)));
    flux.kill9();
    if carbon_reads {
        ledger.check_marks(redis, &blackhole);
    } else {
        let marks = marks(redis);
        assert!(
            marks.is_empty(),
            "marks of what was not delivered: {marks:?}"
        );
        blackhole.listen();
    }
    // Another number of shards: every metric has another owner.
    let shards = 1 + dice.below(3) as u32;
    flux.change(|builder| builder.shards(shards));
    let started = Instant::now();
    flux.start_again();
    if durability != "memory" {
        ledger.wait_backlog(&blackhole, DRAIN);
    }
    let recovered = started.elapsed();
    ledger.wait_acked(ledger.tally().acked + 100);
    load.stop();
    drained(&flux);
    ledger.absorb(&blackhole);
    let tally = ledger.tally();
    ledger.check_marks(redis, &blackhole);
    if durability != "memory" {
        // Without a journal, what was delivered just before the crash may have no mark: it costs a repeat.
        ledger.wait_marks(redis, DRAIN);
    }
    let metrics = flux.metrics();
    reconcile(&metrics);
    assert_eq!(metrics.sum("flux_journal_records_damaged_total"), 0.0);
    assert_eq!(flux.stop().code(), Some(0), "{}", flux.daemon.said());
    (tally, recovered)
}

fn crashes(durability: &str, seeds: u64) -> Row {
    let redis = Redis::start();
    let mut row = Row::default();
    for seed in 0..seeds {
        let (tally, recovered) = crash(durability, &redis, seed);
        if durability != "memory" {
            assert_eq!(tally.lost, 0, "seed {seed}: {tally:?}");
        }
        row.add(tally, recovered);
    }
    row
}

#[test]
fn in_mid_load_with_a_journal() {
    crashes("journal", pick(5, 100)).write("kill -9 in mid-load, `journal`");
}

#[test]
fn in_mid_load_with_a_synced_journal() {
    crashes("fsync", pick(2, 20)).write("kill -9 in mid-load, `fsync`");
}

/// The same without a journal loses, so the scenario can fail.
#[test]
fn in_mid_load_without_a_journal() {
    let row = crashes("memory", pick(2, 20));
    assert!(row.lost > 0, "nothing was lost: the others prove nothing");
    row.write("kill -9 in mid-load, `memory` (a loss is expected)");
}

/// Points in a journal, and no process.
fn backlog(flux: &mut Flux, ledger: &Ledger, points: usize) {
    let load = Load {
        pause: Duration::ZERO,
        padding: 100,
        ..Load::default()
    };
    let load = load.start(ledger, flux.port);
    ledger.wait_acked(points);
    flux.kill9();
    load.stop();
}

#[test]
fn during_a_replay_again_and_again() {
    let mut row = Row::default();
    for seed in 0..pick(2, 20) {
        let mut dice = Dice::new(seed);
        let mut blackhole = Blackhole::refusing();
        let mut flux = builder("journal", &blackhole.endpoint()).shards(2).start();
        let ledger = Ledger::default();
        backlog(&mut flux, &ledger, 6_000);
        blackhole.set(Mode::Slow(500));
        blackhole.listen();
        for life in 1..4 {
            flux.start_again();
            let before = delivered(&ledger, &blackhole);
            wait_for("the replay goes on", DRAIN, || {
                (delivered(&ledger, &blackhole) > before + 200).then_some(())
            });
            std::thread::sleep(Duration::from_micros(dice.below(50_000)));
            let tally = ledger.tally();
            assert!(tally.lost > 0, "life {life} was no replay: {tally:?}");
            flux.kill9();
        }
        blackhole.set(Mode::Read);
        let started = Instant::now();
        flux.start_again();
        let (tally, _) = ledger.settle(&blackhole, DRAIN);
        let recovered = started.elapsed();
        drained(&flux);
        reconcile(&flux.metrics());
        row.add(tally, recovered);
    }
    row.write("kill -9 during a replay, three times");
}

fn delivered(ledger: &Ledger, blackhole: &Blackhole) -> usize {
    ledger.absorb(blackhole);
    ledger.tally().delivered
}

#[test]
fn while_delivered_segments_are_deleted() {
    let mut row = Row::default();
    for seed in 0..pick(3, 30) {
        let mut dice = Dice::new(seed);
        let mut blackhole = Blackhole::refusing();
        let mut flux = builder("journal", &blackhole.endpoint()).shards(2).start();
        let ledger = Ledger::default();
        backlog(&mut flux, &ledger, 6_000);
        let before = flux.journal_files();
        assert!(before.len() > 10, "{before:?}");
        // Slow enough that there is a middle to be killed in.
        blackhole.set(Mode::Slow(2_000));
        blackhole.listen();
        flux.start_again();
        let gone = |flux: &Flux| {
            let now = flux.journal_files();
            before
                .keys()
                .filter(|name| !now.contains_key(*name))
                .count()
        };
        wait_for("delivered segments go", DRAIN, || {
            (gone(&flux) > 0).then_some(())
        });
        std::thread::sleep(Duration::from_micros(dice.below(30_000)));
        flux.kill9();
        blackhole.set(Mode::Read);
        let started = Instant::now();
        flux.start_again();
        let (tally, _) = ledger.settle(&blackhole, DRAIN);
        let recovered = started.elapsed();
        drained(&flux);
        reconcile(&flux.metrics());
        assert_eq!(flux.stop().code(), Some(0), "{}", flux.daemon.said());
        assert!(
            flux.journal_files().is_empty(),
            "{:?}",
            flux.journal_files()
        );
        row.add(tally, recovered);
    }
    row.write("kill -9 while delivered segments are deleted");
}

/// A retry's 204 promises what any 204 does: while the write of the point it repeats hangs, it waits too.
#[test]
fn a_retry_while_the_first_write_hangs() {
    let scenario = "a retry while the first write hangs, then kill -9";
    let shim = match Shim::build("/journal/") {
        Ok(shim) => shim,
        Err(why) => return skipped(scenario, &why),
    };
    let mut blackhole = Blackhole::refusing();
    let mut flux = builder("fsync", &blackhole.endpoint())
        .shards(2)
        .shim(&shim)
        .start();
    let ledger = Ledger::default();
    let load = Load {
        requests_max: 50,
        ..Load::default()
    };
    load.start(&ledger, flux.port).wait();

    shim.set(Verb::Hold);
    let (at, name) = (now(), "ledger.held".into());
    let points = ledger.attempt(std::slice::from_ref(&name), at);
    let asked = Instant::now();
    let body = single(KEY, &name, at, points.start as f64);
    let mut first = flux.client();
    first.send(&post(&body));
    wait_until("its write hangs", || shim.struck() > 0);
    let mut second = flux.client();
    second.send(&post(&body));
    assert!(
        second.silent_for(Duration::from_millis(700)),
        "a promise that nothing keeps"
    );
    assert!(first.silent_for(Duration::from_millis(1)));
    flux.kill9();
    shim.set(Verb::Pass);
    ledger.answered(points.clone(), None, asked);

    blackhole.listen();
    let started = Instant::now();
    flux.start_again();
    let answer = flux.post(&body);
    ledger.answered(points, Some(answer.status), asked);
    assert_eq!(answer.status, 204, "{answer:?}");
    let mut lane = Lane::new(&ledger, flux.port, Load::default());
    assert_eq!(lane.ask(), 204);
    let (tally, _) = ledger.settle(&blackhole, DRAIN);
    let recovered = started.elapsed();
    drained(&flux);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}
