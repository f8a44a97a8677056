//! The rows of what comes behind an answer: duplicates, marks in a real Redis, points at a carbon that is there
//! or not.

use crate::common::blackhole::Blackhole;
use crate::common::flux::{Flux, KEY};
use crate::common::http::batch;
use crate::common::redis::{Redis, Reply};
use crate::common::{now, wait_until};

/// A point: its value as JSON, seconds after the row's time, and whether it is a back-fill.
type Sent = (&'static str, i64, bool);

pub struct Row {
    pub number: &'static str,
    /// Each of them posted alone, and answered 204.
    posts: &'static [Sent],
    pub theirs: &'static str,
    /// Value and seconds of what carbon gets.
    delivered: &'static [(f64, i64)],
    /// The value of the mark, which stands at the row's time.
    mark: &'static str,
    pub why: &'static str,
}

/// Shown one by one below.
pub const ALONE: [(&str, &str, &str); 3] = [
    (
        "52",
        "500",
        "429: nothing of it is accepted, and the client keeps it",
    ),
    (
        "156",
        "204; kept in memory and sent again, the mark is there before",
        "a mark is never ahead of a delivery",
    ),
    (
        "157",
        "a pickle frame, a connection each",
        "the same frame, on one connection",
    ),
];

pub const ROWS: &[Row] = &[
    Row {
        number: "151",
        posts: &[("1.5", 0, false), ("2.5", 0, false)],
        theirs: "the second is dropped",
        delivered: &[(1.5, 0)],
        mark: "1.5",
        why: "",
    },
    Row {
        number: "152",
        posts: &[("1.5", 0, false), ("2.5", -60, false)],
        theirs: "the second is dropped",
        delivered: &[(1.5, 0)],
        mark: "1.5",
        why: "",
    },
    Row {
        number: "153",
        posts: &[("1.5", 0, false)],
        theirs: "in the hash, and for 3600 s as a string",
        delivered: &[(1.5, 0)],
        mark: "1.5",
        why: "without an end, as in 1.3: Vista fills long gaps from it",
    },
    Row {
        number: "154",
        posts: &[("NaN", 0, false), ("1.0", 0, false), ("2.0", 0, false)],
        theirs: "the mark is unreadable, every next point is accepted",
        delivered: &[(1.0, 0)],
        mark: "1.0",
        why: "a value that is not finite is no point",
    },
    Row {
        number: "155",
        posts: &[("1.5", 0, false), ("2.5", -100_000, true)],
        theirs: "sent, the mark stays, flux.filled_metrics",
        delivered: &[(1.5, 0), (2.5, -100_000)],
        mark: "1.5",
        why: "",
    },
];

fn post(flux: &Flux, name: &str, value: &str, at: u32, fill: bool) -> u16 {
    let body = format!(
        r#"{{"key":"{KEY}","metrics":[{{"metric":"{name}","value":{value},"timestamp":{at},"fill":{fill}}}]}}"#
    );
    flux.post(&body).status
}

fn field(redis: &Redis, hash: &str, name: &str) -> Option<String> {
    match redis.command(&["HGET", hash, name]) {
        Reply::Bulk(text) => text,
        other => panic!("HGET {hash}: {other:?}"),
    }
}

/// Both layouts, in Python's text, and nothing that ends by itself.
fn assert_mark(redis: &Redis, name: &str, at: u32, value: &str) {
    let key = format!("flux.last.{name}");
    redis.wait_mark(name, &format!("[{at}, {value}]"));
    assert_eq!(redis.command(&["TTL", &key]), Reply::Int(-1));
    let dict = format!("{{'timestamp': {at}, 'value': {value}}}");
    wait_until("the hash has it", || {
        field(redis, "flux.last.metric_data", name).as_deref() == Some(&dict)
    });
}

#[test]
fn what_is_delivered_and_marked_is_what_the_table_says() {
    let (blackhole, redis) = (Blackhole::start(), Redis::start());
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .set_text("last.layout", "both")
        .set("skyline.filled_metrics", true)
        .shards(1)
        .start();
    let at = now() - 60;
    let when = |offset: i64| (i64::from(at) + offset) as u32;
    let name = |row: &Row| format!("row.{}", row.number);
    for row in ROWS {
        for (value, offset, fill) in row.posts {
            let status = post(&flux, &name(row), value, when(*offset), *fill);
            assert_eq!(status, 204, "row {}", row.number);
        }
    }
    let all = ROWS.iter().map(|row| row.delivered.len()).sum();
    let points = blackhole.wait_points(all);
    assert_eq!(points.len(), all, "{points:?}");
    for row in ROWS {
        for (value, offset) in row.delivered {
            let there = blackhole.has(&name(row), when(*offset), *value);
            assert!(there, "row {}: {points:?}", row.number);
        }
        assert_mark(&redis, &name(row), at, row.mark);
    }
    wait_until("the back-fill is noted", || {
        field(&redis, "flux.filled_metrics", "row.155").is_some()
    });
    let filled = redis.command(&["HLEN", "flux.filled_metrics"]);
    assert_eq!(filled, Reply::Int(1));
    // The shard's, and the populate core's.
    assert_eq!(blackhole.connections_accepted(), 2, "row 157");
    assert_eq!(blackhole.faults(), [""; 0], "row 157");
}

#[test]
fn rows_52_and_156_a_carbon_that_refuses_costs_no_point_and_gets_no_mark() {
    let (mut blackhole, redis) = (Blackhole::refusing(), Redis::start());
    let flux = Flux::builder()
        .shards(1)
        .carbon(&blackhole.endpoint())
        .redis(&redis.url())
        .set("http.body_bytes_max", 16 * 1024)
        .set("http.inflated_bytes_max", 16 * 1024)
        .set("points.in_flight_bytes_max", 256 * 1024)
        .set("carbon.redo_bytes", 64 * 1024)
        .start();
    let at = now();
    let mut taken = 0;
    wait_until("the queue is full", || {
        let names: Vec<String> = (taken..taken + 100)
            .map(|i| format!("row.156.{i}"))
            .collect();
        let points = names.iter().map(|name| (name.as_str(), at, 1.5));
        match flux.post(&batch(KEY, points)).status {
            204 => taken += 100,
            status => {
                assert_eq!(status, 429, "row 52");
                return true;
            }
        }
        false
    });
    assert!(taken > 0, "row 156");
    // What is left is less than a hundred points: the rest of the room, one by one.
    let full = |i: &usize| {
        let status = post(&flux, &format!("row.156.{i}"), "1.5", at, false);
        assert!(matches!(status, 204 | 429), "{status}");
        status == 429
    };
    let taken = (taken..).find(full).expect("the queue has an end");
    let target = format!("/metric_data?metric=row.52&value=1&key={KEY}");
    let answer = flux.client().get(&target);
    assert_eq!(answer.status, 429, "row 52: {answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(redis.get("flux.last.row.156.0"), None);
    blackhole.listen();
    assert_eq!(blackhole.wait_points(taken).len(), taken);
    assert!(!blackhole.has("row.52", at, 1.0));
    redis.wait_mark("row.156.0", &format!("[{at}, 1.5]"));
}

#[test]
fn row_157_a_frame_is_what_python_pickles() {
    use skyline_flux::carbon::{frame, line};
    let mut bytes = Vec::new();
    let start = frame::open(&mut bytes);
    frame::push_tuple(&mut bytes, "a.b", 1_478_021_700, 1.0);
    frame::close(&mut bytes, start);
    // The reference's bytes without memo puts, which no reader needs, and in the form for several.
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let tuple = "5803000000612e624a44d21858473ff00000000000008686";
    assert_eq!(hex, format!("0000001e80025d28{tuple}652e"));
    let mut text = Vec::new();
    line::push_line(&mut text, "m", 1_478_021_700, 1.5);
    assert_eq!(text, b"m 1.5 1478021700\n", "carbon.protocol = \"line\"");
}
