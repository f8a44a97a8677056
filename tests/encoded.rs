//! Encoded bodies through the pure core: however the wire is cut and however the work is shared out between
//! turns, the answers and the points are those of the plain requests.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use skyline_flux::api::{Api, PointLimits, auth::Keys};
use skyline_flux::budget::Budgets;
use skyline_flux::carbon::outbound::{Limits as OutboundLimits, Outbound};
use skyline_flux::config::Protocol;
use skyline_flux::dedup::{Owner, lookup::Lookups, table::Table};
use skyline_flux::http::Limits;
use skyline_flux::journal::{Durability, Journal, commit};
use skyline_flux::last::writer::Writer;
use skyline_flux::pipeline::{Abandoned, Connection, Now, Pipeline, Settings, Stages};
use skyline_flux::router::{Gathered, NameHasher};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NOW: Now = Now {
    unix_seconds: 1_478_021_700,
    us: 0,
};
const DATE: [u8; 29] = *b"Tue, 01 Nov 2016 17:35:00 GMT";
const LIMITS: Limits = Limits {
    head_bytes_max: 8192,
    body_bytes_max: 1 << 20,
};
const INFLATED_BYTES_MAX: usize = 4 << 20;

struct Shard(Pipeline);

impl Shard {
    fn new(budget: usize) -> Shard {
        let limits = PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 100_000,
            whisper_path_bytes: 30,
        };
        let mut api = Api::new(Keys::new(KEY, &BTreeMap::new()), limits);
        api.inflated_bytes_max = INFLATED_BYTES_MAX;
        let settings = Settings {
            shard: 0,
            shards: 1,
            pipeline_max: 8,
            request_deadline_ms: 1000,
            hosts: skyline_flux::populate::address::Hosts(Vec::new()),
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
        let journal = commit::Limits {
            segment_bytes: 65_536,
            shard_bytes_max: 1 << 20,
        };
        let stages = Stages {
            gathered: Gathered::new(NameHasher::new([9; 16]), 0, 1),
            owner: Owner::new(Table::new(100_000), true, 0, Lookups::new(50)),
            journal: Journal::new(Durability::Memory, 1, 0, journal),
            outbound: Outbound::new(outbound),
            writer: Writer::new(100_000),
        };
        let budgets = Budgets::new(1, budget);
        Shard(Pipeline::new(settings, Arc::new(api), budgets, stages))
    }

    /// One turn of a connection, as the runtime makes it. True when there is more to do without reading.
    fn turn(&mut self, connection: &mut Connection, rest: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let taken = self.0.read(connection, rest, NOW);
        rest.drain(..taken.consumed);
        while !self.0.answers(connection, out, &DATE, NOW) {
            let (id, names) = self.0.take_lookup().expect("nothing else is waited for");
            self.0.looked_up(id, names.iter().map(|_| None), NOW);
        }
        taken.more
    }

    fn talk<'p>(&mut self, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
        let mut connection = Connection::new(0, LIMITS);
        let (mut rest, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            if connection.is_closing() {
                break;
            }
            rest.extend_from_slice(piece);
            while self.turn(&mut connection, &mut rest, &mut out) {}
        }
        assert!(!connection.is_inflating() && connection.held_bytes() == 0);
        out
    }

    /// Everything accepted, in order.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.0.outbound.connected();
        while let Some(frame) = self.0.outbound.next_due(u64::MAX) {
            let text = String::from_utf8(frame.bytes.clone()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn post(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /metric_data_post HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut wire = b"POST /metric_data_post HTTP/1.1\r\nHost: h\r\nContent-Encoding: GZIP\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in body.chunks(50) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

const GZIP: &str = "Content-Encoding: gzip\r\n";

fn batch(name: &str, points: usize) -> String {
    let item = |i: usize| format!(r#"{{"metric":"{name}.{i}","value":{i}}}"#);
    let items: Vec<String> = (0..points).map(item).collect();
    format!(r#"{{"key":"{KEY}","metrics":[{}]}}"#, items.join(","))
}

fn lines_of(name: &str, points: usize) -> Vec<String> {
    let line = |i: usize| format!("{name}.{i} {i}.0 {}", NOW.unix_seconds);
    (0..points).map(line).collect()
}

fn statuses(out: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(out);
    let starts = text.match_indices("HTTP/1.1 ");
    starts
        .map(|(at, found)| text[at + found.len()..][..3].parse().unwrap())
        .collect()
}

/// A stream of everything: short bodies and long ones, good and damaged ones, and plain ones between them.
fn stream(long: usize) -> (Vec<u8>, Vec<u16>, Vec<String>) {
    let damaged = {
        let mut body = gzip(batch("damaged", 5).as_bytes());
        let at = body.len() - 6;
        body[at] ^= 1;
        body
    };
    let truncated = gzip(batch("truncated", 5).as_bytes());
    let wire = [
        post(GZIP, &gzip(batch("a", 3).as_bytes())),
        post("", batch("b", 2).as_bytes()),
        post(GZIP, &gzip(batch("long", long).as_bytes())),
        chunked(&gzip(batch("c", 20).as_bytes())),
        post(GZIP, &damaged),
        post(
            "Content-Encoding: deflate\r\n",
            &zlib(batch("d", 2).as_bytes()),
        ),
        post(GZIP, &truncated[..truncated.len() - 9]),
        b"GET /metric_data?status=true HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\n\r\n"
            .to_vec(),
        post("Content-Encoding: br\r\n", b"x"),
        post(
            &format!("{GZIP}Connection: close\r\n"),
            &gzip(batch("e", 1).as_bytes()),
        ),
        post("", batch("never", 1).as_bytes()),
    ];
    let statuses = vec![204, 204, 204, 204, 400, 204, 400, 200, 415, 204];
    let names = [
        ("a", 3),
        ("b", 2),
        ("long", long),
        ("c", 20),
        ("d", 2),
        ("e", 1),
    ];
    let lines = names
        .iter()
        .flat_map(|(name, points)| lines_of(name, *points));
    (wire.concat(), statuses, lines.collect())
}

#[test]
fn cut_at_every_byte_the_stream_is_answered_as_the_whole_one() {
    let (wire, expected, lines) = stream(30);
    for cut in 0..=wire.len() {
        let mut shard = Shard::new(1 << 30);
        let (a, b) = wire.split_at(cut);
        let out = shard.talk([a, b]);
        assert_eq!(statuses(&out), expected, "cut at {cut}");
        assert_eq!(shard.lines(), lines, "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn cut_anywhere_a_long_body_takes_its_turns_and_changes_nothing(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        long in 20_000usize..60_000,
    ) {
        let (wire, expected, lines) = stream(long);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let mut shard = Shard::new(1 << 30);
        let out = shard.talk(cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]));
        prop_assert_eq!(statuses(&out), expected);
        prop_assert!(shard.lines() == lines);
    }
}

#[test]
fn between_two_slices_another_connection_is_served() {
    let mut shard = Shard::new(1 << 30);
    let body = batch("long", 60_000);
    assert!(body.len() > 2_000_000);
    let mut wire = [
        post(GZIP, &gzip(body.as_bytes())),
        post("", batch("behind", 1).as_bytes()),
    ]
    .concat();
    let (mut long, mut other) = (Connection::new(0, LIMITS), Connection::new(1, LIMITS));
    let (mut out, mut turns) = (Vec::new(), 0);
    while shard.turn(&mut long, &mut wire, &mut out) {
        assert!(long.is_inflating() && out.is_empty());
        let held = long.held_bytes();
        assert!(held > 0 && held < INFLATED_BYTES_MAX + (1 << 20), "{held}");
        turns += 1;
        let (mut request, mut answer) = (
            post("", batch(&format!("other.{turns}"), 1).as_bytes()),
            Vec::new(),
        );
        assert!(!shard.turn(&mut other, &mut request, &mut answer));
        assert_eq!(statuses(&answer), [204]);
    }
    assert!((7..40).contains(&turns), "{turns} turns");
    assert_eq!(statuses(&out), [204, 204]);
    assert_eq!(long.held_bytes(), 0);
    assert_eq!(shard.lines().len(), 60_000 + 1 + turns);
}

#[test]
fn a_bomb_is_413_and_the_connection_goes_on() {
    let mut shard = Shard::new(1 << 30);
    let spaces = vec![b' '; 64 << 20];
    let mut wire = Vec::new();
    for bomb in [gzip(&spaces), zlib(&spaces)] {
        let encoding = if bomb[0] == 0x1f { "gzip" } else { "deflate" };
        wire.extend(post(&format!("Content-Encoding: {encoding}\r\n"), &bomb));
    }
    wire.extend(post(GZIP, &gzip(batch("a", 2).as_bytes())));
    let out = shard.talk([&wire[..]]);
    assert_eq!(statuses(&out), [413, 413, 204]);
    let text = String::from_utf8_lossy(&out);
    assert!(
        text.contains("request body too large - it inflates to more than"),
        "{text}"
    );
    assert_eq!(shard.lines(), lines_of("a", 2));
}

#[test]
fn a_full_budget_refuses_before_it_inflates() {
    let mut shard = Shard::new(30_000);
    // The first fills it, the second finds no room, the third is not even looked at.
    let wire = [
        post(GZIP, &gzip(batch("a", 300).as_bytes())),
        post(GZIP, &gzip(batch("b", 300).as_bytes())),
    ];
    let out = shard.talk(wire.iter().map(Vec::as_slice));
    assert_eq!(statuses(&out), [204, 429]);
    assert_eq!(shard.lines(), lines_of("a", 300));
}

#[test]
fn one_that_is_given_up_leaves_nothing() {
    let mut shard = Shard::new(1 << 30);
    let mut connection = Connection::new(0, LIMITS);
    let mut wire = post(GZIP, &gzip(batch("long", 60_000).as_bytes()));
    let mut out = Vec::new();
    assert!(shard.turn(&mut connection, &mut wire, &mut out));
    assert!(connection.held_bytes() > 0);
    shard.0.abandon(&mut connection, Abandoned::NoRoom, NOW);
    assert!(shard.0.answers(&mut connection, &mut out, &DATE, NOW));
    assert_eq!(statuses(&out), [429]);
    assert_eq!(connection.held_bytes(), 0);
    assert!(connection.is_closing());
    assert_eq!(shard.lines(), [""; 0]);
}
