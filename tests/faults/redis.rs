//! The last store gone, slow, silent, cut off, emptied, read-only, odd or old, while points keep coming.
//! tests/store_faults.rs looks at single answers; here the books are kept through all of it.

use std::time::Duration;

use crate::common::blackhole::Blackhole;
use crate::common::flux::Flux;
use crate::common::ledger::{Answered, Ledger, PREFIX, reconcile};
use crate::common::load::Load;
use crate::common::proxy::{Proxy, Verb};
use crate::common::redis::{Redis, Reply};
use crate::common::wait_until;
use crate::table::{Row, pick};

const DRAIN: Duration = Duration::from_secs(30);
const LOOKUP_DEADLINE_MS: u64 = 200;

struct Setup {
    blackhole: Blackhole,
    redis: Redis,
    proxy: Proxy,
    flux: Flux,
    ledger: Ledger,
}

impl Setup {
    fn start() -> Setup {
        let (blackhole, redis) = (Blackhole::start(), Redis::start());
        let proxy = Proxy::in_front_of(redis.port);
        let flux = Flux::builder()
            .shards(2)
            .carbon(&blackhole.endpoint())
            .redis(&format!("redis://127.0.0.1:{}/0", proxy.port))
            .set("last.lookup_deadline_ms", LOOKUP_DEADLINE_MS)
            .start();
        Setup {
            blackhole,
            redis,
            proxy,
            flux,
            ledger: Ledger::default(),
        }
    }

    /// Some hundred points, a part of them of metrics that nobody has seen. Each of them accepted, none
    /// of them slower than one look-up that timed out.
    fn points(&self) -> Vec<Answered> {
        let before = self.ledger.answers().len();
        let load = Load {
            requests_max: pick(25, 100),
            ..Load::default()
        };
        load.start(&self.ledger, self.flux.port).wait();
        let answers = self.ledger.answers().split_off(before);
        let refused = answers.iter().find(|answer| answer.status != 204);
        assert!(refused.is_none(), "{refused:?}");
        let limit = Duration::from_millis(LOOKUP_DEADLINE_MS + 300);
        let slow = answers.iter().filter(|answer| answer.took > limit).count();
        assert_eq!(
            slow,
            0,
            "of {} answers: they wait for the store",
            answers.len()
        );
        answers
    }

    /// Everything arrives, and the store catches up with it.
    fn settle(&self, scenario: &str) {
        self.ledger.check_marks(&self.redis, &self.blackhole);
        let (tally, recovered) = self.ledger.settle(&self.blackhole, DRAIN);
        assert!(tally.acked > 1_000, "hardly anything was sent: {tally:?}");
        assert_eq!(tally.acked, tally.delivered, "and nothing else: {tally:?}");
        self.ledger.wait_marks(&self.redis, DRAIN);
        reconcile(&self.flux.metrics());
        Row::one(tally, recovered).write(scenario);
    }
}

#[test]
fn down_slow_silent_and_emptied() {
    let mut setup = Setup::start();
    setup.points();
    setup.proxy.refuse();
    setup.points();
    setup.proxy.listen();
    setup.points();
    setup.proxy.set(Verb::Delay(Duration::from_millis(40)));
    setup.points();
    setup.proxy.set(Verb::Stall);
    setup.points();
    setup.points();
    setup.proxy.set(Verb::Pass);
    wait_until("it asks again", || {
        setup.flux.metrics().sum("flux_last_up") == 2.0
    });
    setup.points();
    setup.settle("Redis down, slow, silent");

    setup.redis.command(&["FLUSHALL"]);
    // The newest points of each metric only: the program does not know that older marks are gone.
    setup.points();
    let known = setup.ledger.settle(&setup.blackhole, DRAIN);
    setup.redis.wait_mark_count(1);
    setup.ledger.check_marks(&setup.redis, &setup.blackhole);
    Row::one(known.0, known.1).write("Redis emptied (FLUSHALL)");
}

#[test]
fn read_only_and_of_the_wrong_types() {
    let setup = Setup::start();
    setup.points();
    setup.redis.make_read_only();
    setup.points();
    setup.redis.make_writable();
    setup.points();
    // Under the names that the next lanes will use.
    for lane in 13..=16 {
        for metric in 0..40 {
            let key = format!("flux.last.{PREFIX}{lane}.1.{metric}");
            match metric % 4 {
                0 => setup.redis.command(&["RPUSH", &key, "x"]),
                1 => setup.redis.command(&["HSET", &key, "x", "y"]),
                2 => setup.redis.command(&["SET", &key, "not a mark"]),
                _ => setup.redis.command(&["SET", &key, "[, 1]"]),
            };
        }
    }
    setup.points();
    setup.settle("Redis read-only, keys of wrong types");
    assert!(setup.flux.metrics().sum("flux_last_unreadable_total") > 20.0);
}

#[test]
fn replies_cut_at_every_byte() {
    let setup = Setup::start();
    setup.points();
    let load = Load {
        lanes: 2,
        pause: Duration::from_millis(2),
        ..Load::default()
    };
    let load = load.start(&setup.ledger, setup.flux.port);
    let mut cuts = 0;
    // A connection that lives long enough to be greeted ends the back-off that the one before began.
    for cut in (0..pick(120, 250)).step_by(pick(9, 1)) {
        setup.proxy.cut_replies([cut, 30]);
        cuts += 2;
    }
    // Those that are open now begin the series.
    setup.proxy.set(Verb::Stall);
    setup.proxy.set(Verb::Pass);
    setup.redis.drop_connections();
    crate::common::wait_for(
        "every cut was made",
        Duration::from_secs(pick(60, 300)),
        || (setup.proxy.cut() >= cuts).then_some(()),
    );
    load.stop();
    let slow = setup
        .ledger
        .answers()
        .iter()
        .filter(|a| a.status != 204)
        .count();
    assert_eq!(slow, 0, "requests failed");
    setup.settle("Redis' replies cut after every byte");
}

#[test]
fn replaced_by_an_old_snapshot() {
    let mut setup = Setup::start();
    setup.points();
    setup.ledger.settle(&setup.blackhole, DRAIN);
    setup.ledger.wait_marks(&setup.redis, DRAIN);
    let old = setup.redis.snapshot();
    assert!(old.len() > 100);
    let load = Load {
        requests_max: pick(200, 600),
        ..Load::default()
    }
    .start(&setup.ledger, setup.flux.port);
    setup.points();
    setup.redis.restart();
    setup.redis.restore(&old);
    setup.points();
    load.wait();
    // The old marks are below what this process accepted: they decide nothing, and go up again with
    // the next point of their metric.
    setup.ledger.check_marks(&setup.redis, &setup.blackhole);
    let (tally, recovered) = setup.ledger.settle(&setup.blackhole, DRAIN);
    assert_eq!(tally.acked, tally.delivered, "{tally:?}");
    setup.flux.wait_metric("flux_last_marks_pending", 0.0);
    setup.ledger.check_marks(&setup.redis, &setup.blackhole);
    // And a restart that believes them repeats at worst; it loses nothing.
    setup.flux.stop();
    setup.flux.start_again();
    setup.points();
    let (after, _) = setup.ledger.settle(&setup.blackhole, DRAIN);
    assert!(after.acked > tally.acked);
    Row::one(after, recovered).write("Redis replaced by an old snapshot");
}

#[test]
fn silent_at_the_start_with_every_metric_unknown() {
    let (blackhole, redis) = (Blackhole::start(), Redis::start());
    redis.pause();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .set("last.lookup_deadline_ms", LOOKUP_DEADLINE_MS)
        .start();
    let ledger = Ledger::default();
    let slowest = |requests_max| {
        let before = ledger.answers().len();
        let load = Load {
            requests_max,
            ..Load::default()
        };
        load.start(&ledger, flux.port).wait();
        let mut answers = ledger.answers().split_off(before);
        assert!(answers.iter().all(|answer| answer.status == 204));
        answers.sort_by_key(|answer| answer.took);
        let p99 = answers[answers.len() * 99 / 100].took;
        println!("p99 of {} answers: {p99:?}", answers.len());
        p99
    };
    let deadline = Duration::from_millis(LOOKUP_DEADLINE_MS);
    let while_silent = slowest(pick(150, 1_000));
    assert!(while_silent < deadline, "{while_silent:?}");
    redis.resume();
    wait_until("the store is used again", || {
        flux.metrics().sum("flux_last_up") == 2.0
    });
    let unchecked = flux.metrics().sum("flux_points_unchecked_total");
    let after = slowest(pick(150, 1_000));
    assert!(after < deadline, "{after:?}");
    assert_eq!(flux.metrics().sum("flux_points_unchecked_total"), unchecked);
    let (tally, recovered) = ledger.settle(&blackhole, DRAIN);
    ledger.wait_marks(&redis, DRAIN);
    Row::one(tally, recovered).write("Redis stopped at the start, every metric unknown");
}

trait Keys {
    fn wait_mark_count(&self, least: usize);
}

impl Keys for Redis {
    fn wait_mark_count(&self, least: usize) {
        wait_until(
            "marks are written again",
            || matches!(self.command(&["DBSIZE"]), Reply::Int(count) if count as usize >= least),
        );
    }
}
