//! What the host does: a clock that jumps, a shard that does not run. What refuses a start is in
//! tests/preflight.rs (io_uring, locked memory, open files, a second instance, taken ports).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::common::blackhole::Blackhole;
use crate::common::flux::{Flux, KEY};
use crate::common::http::{Client, post, request, single};
use crate::common::ledger::{Ledger, reconcile};
use crate::common::load::{Lane, Load};
use crate::common::shim::Shim;
use crate::common::stopped::Stopped;
use crate::common::{now, wait_for, wait_until};
use crate::table::{Row, pick, skipped};

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
            statuses.push(lane.send(&never).expect("an answer"));
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
    let never = AtomicBool::new(false);
    let mut lane = Lane::new(&ledger, flux.port, Load::default());
    wait_until("both shards serve again", || lane.send(&never) == Some(204));
    // Nobody was told that these are safe, and they arrive: what is handed over is not taken back.
    wait_for("what was handed over is delivered", DRAIN, || {
        ledger.absorb(&blackhole);
        let tally = ledger.tally();
        (tally.delivered == tally.acked + tally.unknown).then_some(())
    });
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
    assert_eq!(flux.metrics().sum("flux_mesh_groups_overflowed_total"), 0.0);
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
