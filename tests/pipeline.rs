//! The pure core of several shards, driven with byte slices and a clock of the test's own: no sockets,
//! no threads. The mesh is a loop that carries groups and replies.

use proptest::prelude::*;
use skyline_flux::api::{Api, PointLimits, auth::Keys};
use skyline_flux::budget::Budgets;
use skyline_flux::carbon::outbound::{Limits as OutboundLimits, Outbound};
use skyline_flux::config::Protocol;
use skyline_flux::dedup::{Owner, lookup::Lookups, table::Table};
use skyline_flux::http::Limits;
use skyline_flux::journal::{Durability, Journal, commit};
use skyline_flux::last::writer::Writer;
use skyline_flux::pipeline::{Connection, Feed, Now, Pipeline, Settings, Stages};
use skyline_flux::populate::address::Hosts;
use skyline_flux::router::{Gathered, NameHasher};
use skyline_flux::telemetry::counters::Reject;
use skyline_flux::telemetry::{Merge, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const SECOND: u32 = 1_478_021_700;
const DATE: [u8; 29] = *b"Tue, 01 Nov 2016 17:35:00 GMT";
const LIMITS: Limits = Limits {
    head_bytes_max: 8192,
    body_bytes_max: 65536,
};

const JOURNAL: commit::Limits = commit::Limits {
    segment_bytes: 65_536,
    shard_bytes_max: 1 << 20,
};

/// Shards joined by a loop.
struct Shards {
    shards: Vec<Pipeline>,
    budgets: Budgets,
    ms: u64,
}

impl Shards {
    fn new(count: usize, budget: usize) -> Shards {
        let budgets = Budgets::new(count, budget);
        let api = Arc::new(Api::new(
            Keys::new(KEY, &BTreeMap::new()),
            PointLimits {
                age_seconds_max: 3600,
                future_seconds_max: 60,
                points_per_request_max: 1000,
                whisper_path_bytes: 30,
            },
        ));
        let shard = |shard| {
            let settings = Settings {
                shard,
                shards: count,
                pipeline_max: 4,
                request_deadline_ms: 1000,
                hosts: Hosts(Vec::new()),
                tick_ms: 5,
            };
            let outbound = OutboundLimits {
                protocol: Protocol::Line,
                points_per_frame: 1_000_000,
                frame_bytes_max: 1_000_000,
                flush_interval_ms: 0,
                redo_window_ms: 0,
                redo_bytes: 0,
            };
            Pipeline::new(
                settings,
                api.clone(),
                budgets.clone(),
                Stages {
                    gathered: Gathered::new(NameHasher::new([9; 16]), shard, count),
                    owner: Owner::new(Table::new(100_000), true, 0, Lookups::new(50)),
                    journal: Journal::new(Durability::Memory, 1, shard as u16, JOURNAL),
                    outbound: Outbound::new(outbound),
                    writer: Writer::new(100_000),
                },
            )
        };
        Shards {
            shards: (0..count).map(shard).collect(),
            budgets,
            ms: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            unix_seconds: SECOND,
            us: self.ms * 1000,
        }
    }

    /// Carries parcels and answers look-ups (with nothing found) until all is quiet. Owners in
    /// `blocked` do not move.
    fn pump(&mut self, blocked: &[usize]) {
        let now = self.now();
        loop {
            let mut quiet = true;
            for at in (0..self.shards.len()).filter(|at| !blocked.contains(at)) {
                while let Some((id, names)) = self.shards[at].take_lookup() {
                    self.shards[at].looked_up(id, names.iter().map(|_| None), now);
                }
                let effects = std::mem::take(&mut self.shards[at].effects);
                for (owner, group) in effects.groups {
                    if blocked.contains(&owner) {
                        self.shards[at].effects.groups.push((owner, group));
                        continue;
                    }
                    quiet = false;
                    self.shards[owner].group(group, now);
                }
                for (reader, reply) in effects.replies {
                    quiet = false;
                    self.shards[reader].reply(reply, now);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Feeds one connection of shard 0 with these pieces and returns everything it sends.
    fn talk<'p>(&mut self, pieces: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
        let mut connection = Connection::new(0, LIMITS);
        let (mut rest, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            if connection.is_closing() {
                break;
            }
            rest.extend_from_slice(piece);
            loop {
                let now = self.now();
                let taken = self.shards[0].read(&mut connection, &mut rest, now);
                rest.drain(..taken.consumed);
                while !self.shards[0].answers(&mut connection, &mut out, &DATE, now) {
                    self.pump(&[]);
                }
                if !taken.more {
                    break;
                }
            }
        }
        out
    }

    /// Feeds one connection of lines of shard 0 with these pieces, each as often as it takes. Returns how often
    /// it was blocked; `freed` makes room then.
    fn feed<'p>(
        &mut self,
        pieces: impl Iterator<Item = &'p [u8]>,
        mut freed: impl FnMut(&mut Shards),
    ) -> usize {
        let (mut feed, mut rest, mut blocked) = (Feed::default(), Vec::new(), 0);
        for piece in pieces {
            rest.extend_from_slice(piece);
            loop {
                let now = self.now();
                let fed = self.shards[0].feed(&mut feed, &rest, now);
                rest.drain(..fed.consumed);
                self.pump(&[]);
                if !fed.blocked {
                    break;
                }
                blocked += 1;
                freed(self);
            }
        }
        blocked
    }

    /// Everything accepted, as lines in no particular order of shards.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let now = self.now();
        for shard in &mut self.shards {
            shard.outbound.connected();
            while let Some(frame) = shard.outbound.next_due(u64::MAX) {
                let text = String::from_utf8(frame.bytes.clone()).unwrap();
                lines.extend(text.lines().map(str::to_owned));
            }
            shard.sink_confirmed(now);
        }
        lines.sort();
        lines
    }

    fn reserved(&self) -> usize {
        (0..self.shards.len())
            .map(|at| self.budgets.reserved(at))
            .sum()
    }
}

fn post(body: &str) -> Vec<u8> {
    let head = format!(
        "POST /metric_data_post HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + body).into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    let (a, b) = body.split_at(body.len() / 2);
    format!(
        "POST /metric_data_post HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n{:X};x=y\r\n{b}\r\n0\r\n\r\n",
        a.len(),
        b.len()
    )
    .into_bytes()
}

fn single(name: &str, timestamp: u32) -> String {
    format!(r#"{{"metric":"{name}","value":1.5,"timestamp":{timestamp},"key":"{KEY}"}}"#)
}

fn batch(names: &[String], bad: bool) -> String {
    let mut items: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"metric":"{name}","value":2,"timestamp":{SECOND}}}"#))
        .collect();
    if bad {
        items.push(r#"{"metric":"m.bad","value":"x"}"#.to_owned());
    }
    format!(r#"{{"key":"{KEY}","metrics":[{}]}}"#, items.join(","))
}

fn statuses(out: &[u8]) -> Vec<u16> {
    String::from_utf8_lossy(out)
        .match_indices("HTTP/1.1 ")
        .map(|(at, found)| {
            let status = &out[at + found.len()..][..3];
            std::str::from_utf8(status).unwrap().parse().unwrap()
        })
        .collect()
}

/// One stream with everything in it, and what it must come to.
fn stream() -> (Vec<u8>, Vec<u16>) {
    let names: Vec<String> = (0..20).map(|i| format!("m.{i}")).collect();
    let get = format!(
        "GET /flux/metric_data?metric=g.caf%C3%A9&value=1&key={KEY} HTTP/1.1\r\nHost: h\r\n\r\n"
    );
    let requests: [(Vec<u8>, u16); 9] = [
        (post(&single("a.b", SECOND)), 204),
        (post(&single("a.b", SECOND)), 204),
        (post(&batch(&names, false)), 204),
        (get.into_bytes(), 204),
        (
            post(&batch(&["n.1".to_owned(), "n.2".to_owned()], true)),
            400,
        ),
        (chunked(&single("c.d", SECOND)), 204),
        (b"GET /nope HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 404),
        (post(r#"{"metric":"#), 400),
        (post(&single("a.b", SECOND + 1)), 204),
    ];
    let statuses = requests.iter().map(|(_, status)| *status).collect();
    (
        requests.into_iter().flat_map(|(bytes, _)| bytes).collect(),
        statuses,
    )
}

fn whole(shards: usize) -> (Vec<u8>, Vec<String>) {
    let (bytes, expected) = stream();
    let mut all = Shards::new(shards, 1 << 20);
    let out = all.talk(std::iter::once(&bytes[..]));
    assert_eq!(statuses(&out), expected);
    let lines = all.lines();
    assert_eq!(
        all.reserved(),
        0,
        "everything delivered gives its bytes back"
    );
    (out, lines)
}

#[test]
fn a_stream_of_requests_is_answered_in_order_and_a_bad_batch_leaves_nothing() {
    for shards in [1, 2, 3, 8] {
        let (_, lines) = whole(shards);
        assert_eq!(lines.len(), 24, "{lines:?}");
        assert!(
            lines
                .iter()
                .all(|line| !line.starts_with("n.") && !line.contains("bad"))
        );
        assert!(lines.contains(&format!("a.b 1.5 {}", SECOND + 1)));
        assert!(lines.contains(&format!("g.café 1.0 {SECOND}")));
    }
}

#[test]
fn a_stream_cut_at_any_byte_gives_the_answers_of_the_whole() {
    let (bytes, _) = stream();
    let expected = whole(3);
    for cut in 1..bytes.len() {
        let mut all = Shards::new(3, 1 << 20);
        let (a, b) = bytes.split_at(cut);
        let out = all.talk([a, b].into_iter());
        assert_eq!(out, expected.0, "cut at {cut}");
        assert_eq!(all.lines(), expected.1, "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_pieces_give_the_answers_of_the_whole(cuts in prop::collection::vec(1usize..400, 0..40)) {
        let (bytes, _) = stream();
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (piece, left) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        pieces.push(rest);
        let expected = whole(2);
        let mut all = Shards::new(2, 1 << 20);
        let out = all.talk(pieces.into_iter().filter(|piece| !piece.is_empty()));
        prop_assert_eq!(&out, &expected.0);
        prop_assert_eq!(&all.lines(), &expected.1);
    }
}

#[test]
fn a_full_budget_answers_429_takes_nothing_and_recovers() {
    let mut all = Shards::new(3, 4000);
    let names: Vec<String> = (0..30).map(|i| format!("some.metric.{i}")).collect();
    let mut accepted = 0;
    let mut busy = 0;
    for round in 0..10 {
        let names: Vec<String> = names.iter().map(|name| format!("{name}.{round}")).collect();
        let before = all.reserved();
        let out = all.talk(std::iter::once(&post(&batch(&names, false))[..]));
        match statuses(&out)[..] {
            [204] => accepted += names.len(),
            [429] => {
                busy += 1;
                assert!(String::from_utf8_lossy(&out).contains("Retry-After: "));
                assert_eq!(all.reserved(), before, "a refused request holds nothing");
            }
            ref other => panic!("{other:?}"),
        }
    }
    assert!(busy > 0 && accepted > 0, "{busy} {accepted}");
    assert_eq!(all.lines().len(), accepted, "exactly what was answered 204");
    assert_eq!(all.reserved(), 0);
    let out = all.talk(std::iter::once(&post(&single("x", SECOND))[..]));
    assert_eq!(statuses(&out), [204]);
}

#[test]
fn a_request_larger_than_an_empty_budget_is_413() {
    let mut all = Shards::new(1, 1000);
    let names: Vec<String> = (0..30).map(|i| format!("m.{i}")).collect();
    let out = all.talk(std::iter::once(&post(&batch(&names, false))[..]));
    assert_eq!(statuses(&out), [413]);
    assert_eq!(all.reserved(), 0);
}

#[test]
fn requests_touching_a_blocked_owner_end_at_their_deadline_and_others_do_not_notice() {
    let mut all = Shards::new(2, 1 << 20);
    let mut connection = Connection::new(0, LIMITS);
    let mut out = Vec::new();
    // Sixteen names: some belong to each owner.
    for i in 0..16 {
        let mut bytes = post(&single(&format!("m.{i}"), SECOND));
        let now = all.now();
        all.shards[0].read(&mut connection, &mut bytes, now);
        all.pump(&[1]);
        if !all.shards[0].answers(&mut connection, &mut out, &DATE, now) {
            all.ms += 1000;
            let now = all.now();
            while all.shards[0].tick(now) {}
            assert!(all.shards[0].answers(&mut connection, &mut out, &DATE, now));
        }
    }
    let answered = statuses(&out);
    let unknown = answered.iter().filter(|&&status| status == 504).count();
    assert_eq!(answered.len(), 16);
    assert!((1..16).contains(&unknown), "{answered:?}");
    // The owner goes on: what it was handed is accepted and delivered, and nothing stays reserved.
    all.pump(&[]);
    assert_eq!(all.lines().len(), 16);
    assert_eq!(all.reserved(), 0);
}

/// A thousand good lines, and what else may stand in a stream of them; what it comes to is 1,003 good points.
fn carbon_lines() -> (Vec<u8>, Vec<String>) {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for i in 0..1000 {
        let line = format!("lines.{i} {i}.5 {SECOND}\n");
        bytes.extend_from_slice(line.as_bytes());
        expected.push(line.trim_end().to_owned());
        if i % 100 == 0 {
            bytes.extend_from_slice(
                b"two fields\n\r\n\xff 1 1\nbad{name 1 1478021700\nold 1 5\nnan nan -1\n",
            );
            bytes.extend_from_slice("x".repeat(9000).as_bytes());
            bytes.extend_from_slice(b" 1 -1\n");
        }
    }
    bytes.extend_from_slice(b" spread\t2  -1 \r\nspread.b 1e3 1478021700\nspread.b 1e3 1478021700\nblank*s 1 -1\nhalf 1 14780");
    for line in ["spread 2.0", "spread.b 1000.0", "blank_s 1.0"] {
        expected.push(format!("{line} {SECOND}"));
    }
    expected.sort();
    (bytes, expected)
}

#[test]
fn lines_come_to_the_same_points_however_they_are_cut_and_a_bad_one_costs_itself() {
    let (bytes, expected) = carbon_lines();
    for (shards, size) in [(1, bytes.len()), (3, 1), (2, 7), (3, 4096), (1, 65_536)] {
        let mut all = Shards::new(shards, 1 << 24);
        let blocked = all.feed(bytes.chunks(size), |_| unreachable!("there is room"));
        assert_eq!(blocked, 0);
        assert_eq!(all.lines(), expected, "{shards} shards, pieces of {size}");
        let snapshots = all
            .shards
            .iter()
            .map(|shard| shard.snapshot(Now::default()));
        let mut sum = snapshots.fold(Snapshot::default(), |mut sum, one| {
            sum.merge(&one);
            sum
        });
        let points = &mut sum.counters.points;
        assert_eq!(points.received, points.decided());
        assert_eq!(points.received, 1000 + 10 * 6 + 4);
        assert_eq!(points.duplicate_same, 1);
        let rejected = |reason| points.rejected[reason as usize];
        assert_eq!(rejected(Reject::Line), 20);
        assert_eq!(rejected(Reject::Name), 10);
        assert_eq!(rejected(Reject::Timestamp), 10);
        assert_eq!(rejected(Reject::TooLarge), 10);
        assert_eq!(sum.counters.line.points, 1064);
        assert_eq!(all.reserved(), 0);
    }
}

#[test]
fn lines_that_find_no_room_are_not_consumed_and_none_is_lost() {
    let (bytes, expected) = carbon_lines();
    for shards in [1, 3] {
        // Room for a dozen lines, fewer than are let in together.
        let mut all = Shards::new(shards, 1200);
        let mut delivered = Vec::new();
        let blocked = all.feed(bytes.chunks(5000), |all| delivered.extend(all.lines()));
        assert!(blocked > 20, "{blocked}");
        delivered.extend(all.lines());
        delivered.sort();
        assert_eq!(delivered, expected);
        assert_eq!(all.reserved(), 0);
        let pauses = all.shards[0].counters.line.pauses;
        assert!((1..=blocked as u64).contains(&pauses), "{pauses}");
    }
}
