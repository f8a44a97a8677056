//! What the host does: a clock that jumps, a shard that does not run. What refuses a start is in
//! tests/preflight.rs (io_uring, locked memory, open files, a second instance, taken ports).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::common::blackhole::Blackhole;
use crate::common::cgroup::MemoryLimit;
use crate::common::flux::{Flux, KEY};
use crate::common::http::{Client, post, request, single};
use crate::common::ledger::{Ledger, reconcile};
use crate::common::load::{Lane, Load};
use crate::common::shim::Shim;
use crate::common::stopped::Stopped;
use crate::common::{now, wait_for, wait_until};
use crate::table::{Row, pick, skipped};

const MIB: u64 = 1024 * 1024;
const DRAIN: Duration = Duration::from_secs(30);

#[test]
fn the_clock_jumps_by_an_hour_either_way() {
    let scenario = "the clock jumps by an hour, either way";
    let shim = match Shim::build("no file at all") {
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
    let mut lane = Lane::new(&ledger, flux.port, Load::default());
    let never = AtomicBool::new(false);
    let mut statuses = Vec::new();
    for hours in [0, 1, 0, -1, 0] {
        shim.shift_clock(3_600 * hours);
        // Stamped by the true clock: refused or accepted by the program's, but answered and booked.
        for _ in 0..20 {
            statuses.push(lane.ask());
        }
        // Stamped by a clock that jumped with the program's.
        lane.begin((i64::from(now()) + 3_600 * hours) as u32);
        let begun = Instant::now();
        for _ in 0..pick(100, 1_000) {
            let status = lane.send_next(&never).expect("an answer");
            assert_eq!(status, 204, "{hours} h");
        }
        println!("{hours:+} h: {:?}", begun.elapsed());
        lane.begin(now());
        ledger.settle(&blackhole, DRAIN);
    }
    assert!(
        statuses.contains(&400) && statuses.contains(&204),
        "{statuses:?}"
    );
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}

/// A connection's request waits for an owner that does not answer; its deadline passes; it sends the
/// next. Each leaves a group with the shard that stands still.
#[test]
fn a_hundred_thousand_groups_for_a_shard_that_stands_still() {
    let scenario = pick(
        "3,000 groups handed to a shard that stands still",
        "100,000 groups handed to a shard that stands still",
    );
    let target = pick(3_000, 100_000);
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .set("http.request_deadline_ms", 300)
        .start();
    let ledger = Ledger::default();
    let mut names: Vec<Arc<str>> = (0..400)
        .map(|i| format!("ledger.still.{i}").into())
        .collect();
    let all: Vec<Client> = (0..pick(800, 2_000)).map(|_| flux.client()).collect();
    let stopped = Stopped::thread(flux.daemon.pid(), "shard-1");
    let mut clients = who_answers(all);
    assert!(clients.len() > 100, "{} connections", clients.len());
    let began = Instant::now();
    let mut round = |names: &[Arc<str>], at: u32| -> Vec<u16> {
        let mut asked = Vec::new();
        for (i, client) in clients.iter_mut().enumerate() {
            let name = &names[i % names.len()];
            let at = at + (i / names.len()) as u32;
            let points = ledger.attempt(std::slice::from_ref(name), at);
            client.send(&post(&single(KEY, name, at, points.start as f64)));
            asked.push((points, Instant::now()));
        }
        let answers = clients.iter_mut().zip(asked);
        answers
            .map(|(client, (points, asked))| {
                let answer = client.answer();
                assert!(!answer.closes(), "{answer:?}");
                ledger.answered(points, Some(answer.status), asked);
                answer.status
            })
            .collect()
    };
    // The first round tells whose names are whose.
    let mut at = now() - 3_000;
    let statuses = round(&names, at);
    let theirs = |i: &usize| statuses.get(*i) == Some(&504);
    names = (0..names.len())
        .filter(theirs)
        .map(|i| names[i].clone())
        .collect();
    let mut handed = names.len();
    // At least as long as the contract says, and as long as the groups take.
    while handed < target || began.elapsed() < Duration::from_secs(pick(2, 10)) {
        at += 20;
        let statuses = round(&names, at);
        assert!(statuses.iter().all(|&status| status == 504), "{statuses:?}");
        handed += statuses.len();
        assert!(
            began.elapsed() < Duration::from_secs(pick(60, 400)),
            "{handed} groups"
        );
    }
    println!("{handed} groups in {:?}", began.elapsed());
    drop(stopped);
    let moves = Instant::now();
    let mut lane = Lane::new(&ledger, flux.port, Load::default());
    wait_until("both shards serve again", || lane.ask() == 204);
    // Nobody was told that these are safe, and they arrive: what is handed over is not taken back.
    wait_for("what was handed over is delivered", DRAIN, || {
        ledger.absorb(&blackhole);
        let tally = ledger.tally();
        (tally.delivered == tally.acked + tally.unknown).then_some(())
    });
    let recovered = moves.elapsed();
    let tally = ledger.tally();
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(scenario);
}

/// The connections of shards that run.
fn who_answers(mut clients: Vec<Client>) -> Vec<Client> {
    for client in &mut clients {
        client.send(&request("GET", "/metric_data?status=true", &[], b""));
    }
    let mut patience = Duration::from_secs(2);
    clients.retain_mut(|client| {
        let answers = !client.silent_for(patience);
        if answers {
            assert_eq!(client.answer().status, 200);
        } else {
            // All others had the same time.
            patience = Duration::from_millis(1);
        }
        answers
    });
    clients
}

/// Replay streams: a journal that does not fit into the memory that is allowed, by far.
#[test]
fn a_journal_many_times_the_memory_limit() {
    let times = pick(3, 10);
    let scenario = format!("a journal {times} times the memory limit");
    let limit_bytes = 48 * MIB;
    let limit = match MemoryLimit::new(limit_bytes) {
        Ok(limit) => limit,
        Err(why) => return skipped(&scenario, &why),
    };
    let mut blackhole = Blackhole::refusing();
    let mut flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .set("carbon.redo_bytes", MIB)
        // With so small a budget below, this bounds the rate.
        .set("carbon.redo_window_ms", 200)
        .set("points.in_flight_bytes_max", 1_024 * MIB)
        .start();
    let ledger = Ledger::default();
    // Long names, for a large journal of few points.
    let load = Load {
        metrics: 200,
        singles: 0,
        gets: 0,
        padding: 900,
        pause: Duration::ZERO,
        ..Load::default()
    };
    let load = load.start(&ledger, flux.port);
    let written = |flux: &Flux| flux.metrics().sum("flux_journal_written_bytes_total") as u64;
    wait_for("the journal is large", Duration::from_secs(120), || {
        (written(&flux) > times * limit_bytes).then_some(())
    });
    flux.kill9();
    load.stop();
    let backlog = ledger.tally().acked;

    flux.change(|builder| {
        builder
            .set("http.body_bytes_max", 256 * 1024)
            .set("http.inflated_bytes_max", 256 * 1024)
            .set("points.in_flight_bytes_max", 8 * MIB)
            .memory(&limit)
    });
    flux.start_again();
    let live = Load {
        pause: Duration::from_millis(5),
        ..Load::default()
    };
    let live = live.start(&ledger, flux.port);
    ledger.wait_acked(backlog + 500);
    blackhole.listen();
    let recovered = ledger.wait_backlog(&blackhole, Duration::from_secs(120));
    live.stop();
    // Held by the kernel: a process that needs more is killed. What it maps of its own program is not counted.
    let (_, most) = flux.resident();
    println!("{} MiB resident at most, {recovered:?}", most / MIB);
    let (tally, _) = ledger.settle(&blackhole, DRAIN);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write(&scenario);
    flux.stop();
}

#[test]
fn a_second_instance_on_the_same_data() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .start();
    let ledger = Ledger::default();
    let load = Load::default().start(&ledger, flux.port);
    ledger.wait_acked(500);
    let data = flux.data_dir().display().to_string();
    for _ in 0..pick(3, 10) {
        let second = Flux::builder().set_text("data_dir", &data);
        let mut second = second.carbon(&blackhole.endpoint()).launch();
        let status = second.daemon.wait_exit(DRAIN);
        assert_eq!(status.code(), Some(1), "{}", second.daemon.said());
        let said = second.daemon.stderr();
        assert!(said.contains("another instance"), "{said}");
        let acked = ledger.tally().acked;
        ledger.wait_acked(acked + 500);
    }
    load.stop();
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    Row::one(tally, recovered).write("a second instance on the same data");
}
