//! The test vectors of the Python program (their numbers are the reference's), each with what that program
//! answers and what this one does: the requests here, jobs and their histories in `jobs`, what comes behind an
//! answer in `worker`.

mod common;

#[path = "vectors/jobs.rs"]
mod jobs;
#[path = "vectors/worker.rs"]
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use skyline_flux::api::auth::Keys;
use skyline_flux::api::quota::Quotas;
use skyline_flux::api::skip::Skip;
use skyline_flux::api::{Api, Decision, PointLimits, Scratch, Tally, verdict};
use skyline_flux::http::encoding::Inflater;
use skyline_flux::http::response::Answer;
use skyline_flux::http::{ContentEncoding, Fields, Message, Method};
use skyline_flux::point::Collected;
use skyline_flux::telemetry::counters::Reject;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const K2: &str = "fedcba9876543210fedcba9876543210";
/// Another key of the same namespace.
const K3: &str = "00112233445566778899aabbccddeeff";
/// A key of digits, to see that a number is never one.
const DIGITS: &str = "12345678901234567890123456789012";
const NOW: u32 = 1_795_454_579;

fn api() -> Api {
    let namespaces = [(K2, "warehouse-1"), (K3, "warehouse-1"), (DIGITS, "digits")];
    let namespaces = namespaces.map(|(key, prefix)| (key.to_owned(), prefix.to_owned()));
    Api::new(Keys::new(KEY, &BTreeMap::from(namespaces)), limits())
}

fn limits() -> PointLimits {
    PointLimits {
        age_seconds_max: 3600,
        future_seconds_max: 60,
        points_per_request_max: 1000,
        whisper_path_bytes: "/opt/graphite/storage/whisper".len(),
    }
}

/// A request as a row of the table writes it; `KEY`, `K2`, `DIGITS`, `N`, `N-3600` in braces stand for values.
enum Ask {
    Get(&'static str),
    Post(&'static str),
    Body(&'static [u8]),
    With(Fields<'static>, &'static str),
    At(Method, &'static str, &'static str),
    /// A body that comes encoded, with what the field says it is.
    Coded(ContentEncoding, fn(&[u8]) -> Vec<u8>, &'static str),
    /// Telegraf's batch: fields `key` and `telegraf`, and `prefix` where it is not empty.
    Batch(&'static str, &'static str, &'static str),
    /// After a first POST, where `warehouse-1` may have two metrics.
    Quota(&'static str, &'static Ask),
    /// Where `skyline.analyzer.` is skipped, but not `skyline.analyzer.run_time`.
    Skipping(&'static Ask),
}
use Ask::{At, Batch, Body, Coded, Get, Post, Quota, Skipping, With};

/// What a row expects of this program.
enum Want {
    /// 204 and these points: name, value, seconds after NOW.
    Points(&'static [(&'static str, f64, i64)]),
    /// 204, with a timestamp of its own, as a back-fill.
    Filled(&'static str, u32),
    /// 204, and this many values that are not finite.
    NotFinite(u32),
    /// This status; the message starts so and the body is JSON with that code.
    Refused(u16, &'static str),
    /// This status and exactly this body.
    Exactly(u16, &'static str),
    /// The same, and these points all the same.
    Partly(u16, &'static str, &'static [(&'static str, f64, i64)]),
    /// 204, these points, and this many values without a name, or without any number.
    Unnamed(&'static [(&'static str, f64, i64)], u32),
    /// 204, these points, and this many that match a skip pattern.
    Skipped(&'static [(&'static str, f64, i64)], u32),
    /// 204, and one point with a name of this length.
    Named(usize),
    Probe,
}
use Want::{Exactly, Filled, NotFinite, Partly, Points, Probe, Refused, Skipped};

const AB: Want = Points(&[("a.b", 1.0, 0)]);
const fn point(point: &'static [(&'static str, f64, i64)]) -> Want {
    Points(point)
}

struct Row(
    /// The reference's number.
    &'static str,
    Ask,
    /// What the Python program answers.
    &'static str,
    Want,
    /// Why ours differs; empty where it does not.
    &'static str,
);

fn with_header(key: Option<&'static [u8]>, x_test_only: Option<&'static [u8]>) -> Fields<'static> {
    Fields {
        key,
        x_test_only,
        ..Fields::default()
    }
}

fn plain(body: &[u8]) -> Vec<u8> {
    body.to_vec()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn two_members(body: &[u8]) -> Vec<u8> {
    let (a, b) = body.split_at(body.len() / 2);
    [gzip(a), gzip(b)].concat()
}

fn cut_off(body: &[u8]) -> Vec<u8> {
    let whole = gzip(body);
    whole[..whole.len() - 1].to_vec()
}

fn bomb(body: &[u8]) -> Vec<u8> {
    gzip(&[body, &vec![b' '; 64 << 20]].concat())
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn header_key(key: &'static str) -> Fields<'static> {
    with_header(Some(key.as_bytes()), None)
}

const ALWAYS_ANSWERED: &str = "never a 5xx for what a client sent";
const EMPTY_IS_NOW: &str = "an empty timestamp means now on every path";
const REPEATED: &str = "a repeated query parameter is 400";
const NO_UNDERSCORES: &str = "underscores and other digits than ASCII's are 400";
const GET_NAMES: &str = "names are sanitised and checked on GET too";
const DISCARDED: &str = "accepted, discarded and counted";
const FILL: &str = "fill counts on every path, in all three spellings";
const NOTHING_KEPT: &str = "nothing of a bad request is accepted";

const TEST_REPORT: &str = r#"{"namespace": "None", "message": "metric ingestion test, no metrics were ingested only counts are reported", "ingest_count": 1, "drop_count": 0, "metrics": "['a.b']", "dropped": "[]"}"#;
const TEST_REPORT_2: &str = r#"{"namespace": "None", "message": "metric ingestion test, no metrics were ingested only counts are reported", "ingest_count": 2, "drop_count": 0, "metrics": "['a.a', 'a.b']", "dropped": "[]"}"#;

const TOLD: &str = "the 207 that the documentation promises";
const HEADER_ONLY: &str = r#"{"metric":"a.b","value":1.0,"timestamp":{N}}"#;
const B: &str = r#"{"metric":"a.b","value":1.0,"timestamp":{N},"key":"{KEY}"}"#;
const A_B: &str = r#"{"key":"{K2}","metrics":[{"metric":"a","value":1},{"metric":"b","value":1}]}"#;
const C: &Ask = &Post(r#"{"key":"{K2}","metric":"c","value":1}"#);
const C_BATCH: &Ask = &Batch(
    "{K2}",
    "",
    r#"{"metrics":[{"fields":{"n":1,"s":"x"},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#,
);
const DROPPED_126: &str = r#"{"code": 207, "data": [{"metric": "h.example.org.cpu-total.-var-log.c_d.cpu.state", "status": 400, "reason": "non-numeric value"}, {"metric": "h.example.org.cpu-total.-var-log.c_d.cpu.up", "status": 400, "reason": "non-numeric value"}], "message": "2 non-numeric value metrics were dropped", "dropped non-numeric metrics": ["h.example.org.cpu-total.-var-log.c_d.cpu.state", "h.example.org.cpu-total.-var-log.c_d.cpu.up"], "dropped non-numeric metrics count": 2, "processed metrics count": 2, "submitted metrics count": 2, "defined skipped_metrics_count": 0}"#;
const DROPPED_127: &str = r#"{"code": 207, "data": [{"metric": "tg.h.x.m.s", "status": 400, "reason": "non-numeric value"}], "message": "1 non-numeric value metrics were dropped", "dropped non-numeric metrics": ["tg.h.x.m.s"], "dropped non-numeric metrics count": 1, "processed metrics count": 1, "submitted metrics count": 1, "defined skipped_metrics_count": 0}"#;
const OVER_121: &str = r#"{"code": 207, "data": [{"metric": "c", "status": 400}, {"metric": "a", "status": 204}, {"metric": "b", "status": 204}], "error": "over quota - this account is allowed 2 metrics and an additional 1 new metrics were posted that have been rejected", "message": "2 metrics were processed and 1 metrics were rejected", "rejected metrics": ["c"], "rejected metrics count": 1, "processed metrics": ["a", "b"], "processed metrics count": 2, "submitted metrics count": 3, "defined skipped_metrics count": 0}"#;
const OVER_122: &str = r#"{"code": 400, "data": [{"metric": "c", "status": 400}], "error": "over quota - this account is allowed 2 metrics and an additional 1 new metrics were posted that have been rejected", "message": "0 metrics were processed and 1 metrics were rejected", "rejected metrics": ["c"], "rejected metrics count": 1, "processed metrics": [], "processed metrics count": 0, "submitted metrics count": 1, "defined skipped_metrics count": 0}"#;
const OVER_BATCH: &str = r#"{"code": 400, "data": [{"metric": "h.m.n", "status": 400}], "error": "over quota - this account is allowed 2 metrics and an additional 1 new metrics were posted that have been rejected", "message": "0 metrics were processed and 1 metrics were rejected", "rejected metrics": ["h.m.n"], "rejected metrics count": 1, "processed metrics": [], "processed metrics count": 0, "submitted metrics count": 1, "defined skipped_metrics count": 0, "dropped non-numeric metrics": ["h.m.s"], "dropped non-numeric metrics count": 1}"#;
const OVER_GET: &str = r#"{"code": 400, "error": "over quota - this account is allowed 2 metrics and an additional metric was posted that has been rejected", "rejected metric": "c"}"#;
const TEST_REPORT_SKIPPED: &str = r#"{"namespace": "None", "message": "metric ingestion test, no metrics were ingested only counts are reported", "ingest_count": 1, "drop_count": 1, "metrics": "['a']", "dropped": "['skyline.analyzer.x']"}"#;
const TEST_REPORT_BATCH: &str = r#"{"namespace": "warehouse-1", "message": "metric ingestion test, no metrics were ingested only counts are reported", "ingest_count": 1, "drop_count": 1, "metrics": "['warehouse-1.h.m.n']", "dropped": "['h.m.s']"}"#;

#[rustfmt::skip]
fn get_rows() -> Vec<Row> {
    vec![
        Row("1", Get("metric=a.b&value=1&timestamp={N}&key={KEY}"), "204", AB, ""),
        Row("2", Get("metric=a.b&value=1&key={KEY}"), "204, now", AB, ""),
        Row("3", Get("metric=a.b&value=1&timestamp={N}"), "500", Refused(400, "no key parameter passed"), ALWAYS_ANSWERED),
        Row("4", Get(""), "500", Refused(400, "no key parameter passed"), ALWAYS_ANSWERED),
        Row("5", Get("metric=a.b&value=1&key="), "401", Refused(401, "invalid key"), ""),
        Row("6", Get("metric=a.b&value=1&key=abc"), "401", Exactly(401, r#"{"code": 401, "message": "invalid key"}"#), ""),
        Row("7", Get("metric=a.b&value=1&key=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), "401", Refused(401, "invalid key"), ""),
        Row("8", Get("metric=a.b&value=1&key=--------------------------------"), "401", Refused(401, "invalid key"), ""),
        Row("9", Get("metric=a.b&value=1&key={KEY}&key={KEY}"), "401", Refused(400, "Invalid parameter received - key is repeated"), REPEATED),
        Row("10", Get("value=1&key={KEY}"), "400", Refused(400, "no metric parameter passed"), ""),
        Row("11", Get("metric=&value=1&key={KEY}"), "400", Refused(400, "no metric parameter passed"), ""),
        Row("12", Get("metric=a.b&key={KEY}"), "400", Refused(400, "no value parameter passed"), ""),
        Row("13", Get("metric=a.b&value=&key={KEY}"), "400", Refused(400, "invalid value - "), ""),
        Row("14", Get("metric=a.b&value=abc&key={KEY}"), "400", Refused(400, "invalid value - "), ""),
        Row("15", Get("metric=a.b&value=nan&key={KEY}"), "204, nan", NotFinite(1), DISCARDED),
        Row("16", Get("metric=a.b&value=-inf&key={KEY}"), "204, -inf", NotFinite(1), DISCARDED),
        Row("17", Get("metric=a.b&value=1e5&key={KEY}"), "204", point(&[("a.b", 1e5, 0)]), ""),
        Row("18", Get("metric=a.b&value=1_0&key={KEY}"), "204, 10.0", Refused(400, "invalid value - "), NO_UNDERSCORES),
        Row("19", Get("metric=a.b&value=%20%2B1.5%20&key={KEY}"), "204", point(&[("a.b", 1.5, 0)]), ""),
        Row("20", Get("metric=a.b&value=True&key={KEY}"), "400", Refused(400, "invalid value - "), ""),
        Row("21", Get("metric=a.b&value=1,2&key={KEY}"), "400", Refused(400, "invalid value - "), ""),
        Row("22", Get("metric=a.b&value=1&value=2&key={KEY}"), "400", Refused(400, "invalid value - "), ""),
        Row("23", Get("metric=a.b&value=1&timestamp={N}.0&key={KEY}"), "400", Refused(400, "invalid timestamp - timestamp is not an int"), ""),
        Row("24", Get("metric=a.b&value=1&timestamp={N}000&key={KEY}"), "400", Refused(400, "invalid timestamp - timestamp is not a valid current unix timestamp"), ""),
        Row("25", Get("metric=a.b&value=1&timestamp={N-500}&key={KEY}"), "204", point(&[("a.b", 1.0, -500)]), ""),
        Row("26", Get("metric=a.b&value=1&timestamp={N-501}&key={KEY}"), "204", point(&[("a.b", 1.0, -501)]), ""),
        Row("27", Get("metric=a.b&value=1&timestamp={N-3600}&key={KEY}"), "204", point(&[("a.b", 1.0, -3600)]), ""),
        Row("28", Get("metric=a.b&value=1&timestamp={N-3601}&key={KEY}"), "400", Refused(400, "invalid timestamp - timestamp is too old, older than 3600 seconds"), ""),
        Row("29", Get("metric=a.b&value=1&timestamp={N+1}&key={KEY}"), "204", point(&[("a.b", 1.0, 1)]), ""),
        Row("30", Get("metric=a.b&value=1&timestamp={N+60}&key={KEY}"), "204", point(&[("a.b", 1.0, 60)]), ""),
        Row("31", Get("metric=a.b&value=1&timestamp={N+61}&key={KEY}"), "400", Refused(400, "invalid timestamp - timestamp is more than 1 minute in the future"), ""),
        Row("32", Get("metric=a.b&value=1&timestamp=&key={KEY}"), "400", AB, EMPTY_IS_NOW),
        Row("33", Get("metric=a.b&value=1&timestamp=1795_454579&key={KEY}"), "204", Refused(400, "invalid timestamp - timestamp is not an int"), NO_UNDERSCORES),
        Row("34", Get("metric=a.b&value=1&timestamp=%20{N}%20&key={KEY}"), "204", AB, ""),
        Row("34", Get("metric=a.b&value=1&timestamp=0{N}&key={KEY}"), "204", AB, ""),
        Row("35", Get("metric=a.b&value=1&timestamp=-123456789&key={KEY}"), "400", Refused(400, "invalid timestamp - timestamp is too old"), ""),
        Row("36", Get("metric=a.b&value=1&timestamp={N}&timestamp={N}&key={KEY}"), "400", Refused(400, "invalid timestamp - "), ""),
        Row("37", Get("metric=a.b&value=1&key={KEY}&foo=1"), "400", Refused(400, "Invalid parameter received - "), ""),
        Row("38", Get("status=true"), "200", Probe, ""),
        Row("39", Get("status="), "200", Probe, ""),
        Row("40", Get("foo=1&status=true"), "400", Refused(400, "Invalid parameter received - "), ""),
        Row("41", Get("key=abc&status=true"), "401", Refused(401, "invalid key"), ""),
        Row("41", Get("status=true&key=abc"), "200", Probe, ""),
        Row("42", Get("metric=a.b&value=1&key={KEY}&timestamp=1400000000&fill=true"), "204, backfill", Filled("a.b", 1_400_000_000), ""),
        Row("43", Get("metric=a.b&value=1&key={KEY}&timestamp=1400000000&fill=True"), "400", Filled("a.b", 1_400_000_000), FILL),
        Row("43", Get("metric=a.b&value=1&key={KEY}&timestamp=1400000000&fill=TRUE"), "400", Refused(400, "invalid timestamp - "), ""),
        Row("44", Get("metric=a.b&value=1&key={KEY}&timestamp=14&fill=true"), "204, ts 14", Filled("a.b", 14), ""),
        Row("45", Get("metric=a.b&value=1&key={KEY}&test=true"), "200", Exactly(200, TEST_REPORT), ""),
        Row("46", Get("metric=a%20b&value=1&key={KEY}"), "204, name \"a b\"", point(&[("a_b", 1.0, 0)]), GET_NAMES),
        Row("46", Get("metric=a+b&value=1&key={KEY}"), "204, name \"a b\"", point(&[("a_b", 1.0, 0)]), GET_NAMES),
        Row("47", Get("metric=a%2Bb&value=1&key={KEY}"), "204", point(&[("a+b", 1.0, 0)]), ""),
        Row("48", Get("metric=a,b&value=1&key={KEY}"), "204", Refused(400, "invalid metric - invalid characters in name"), GET_NAMES),
        Row("49", Get("metric=a&metric=b&value=1&key={KEY}"), "204, name \"['a', 'b']\"", Refused(400, "Invalid parameter received - metric is repeated"), REPEATED),
        Row("50", Get("metric=a.b&value=1&key={K2}"), "204, prefixed", point(&[("warehouse-1.a.b", 1.0, 0)]), ""),
        Row("51", Get("key={K2}&metric=a.b&value=1"), "204, not prefixed", point(&[("warehouse-1.a.b", 1.0, 0)]), "the prefix is always applied"),
        // 52: the queue is full. Ours is the owners' business: in `worker`.
        Row("53", At(Method::Get, "//metric_data", "metric=a.b&value=1&key={KEY}"), "204", AB, ""),
        Row("54", At(Method::Get, "/metric_data/", "metric=a.b&value=1&key={KEY}"), "404", Refused(404, "not found"), ""),
        Row("54", At(Method::Get, "/Metric_Data", "metric=a.b&value=1&key={KEY}"), "404", Refused(404, "not found"), ""),
        Row("54", At(Method::Get, "/flux/metric_data", "metric=a.b&value=1&key={KEY}"), "404", AB, "the proxy's prefix is known here"),
        Row("54", At(Method::Get, "/nope", ""), "404", Refused(404, "not found"), ""),
        Row("55", At(Method::Post, "/metric_data", "metric=a.b&value=1&key={KEY}"), "405", Refused(405, "method not allowed"), ""),
        Row("56", At(Method::Options, "/metric_data", ""), "200", Exactly(200, ""), ""),
        Row("56", At(Method::Head, "/metric_data", "metric=a.b&value=1&key={KEY}"), "405", Exactly(405, ""), ""),
        Row("146", At(Method::Get, "/populate_metric", ""), "405", Refused(405, "method not allowed"), ""),
        Row("125c", Get("metric=a.b&value=1&key={KEY}&timestamp=abc&fill=true"), "400", Refused(400, "invalid timestamp"), ""),
        // Seen from real senders (section 18).
        Row("s2", Get("metric=a.b&value=10000000000000000.&key={KEY}"), "204", point(&[("a.b", 1e16, 0)]), ""),
        Row("s2", Get("metric=a.b&value=0.0000001&key={KEY}"), "204", point(&[("a.b", 1e-7, 0)]), ""),
        Row("s2", Get("metric=a.b&value=-0.0&key={KEY}"), "204", point(&[("a.b", -0.0, 0)]), ""),
        Row("s2", Get("metric=a.b&value=1e+300&key={KEY}"), "400", Refused(400, "invalid value - "), ""),
        Row("s3", Get("metric=caf%C3%A9&value=1&key={KEY}"), "204", point(&[("café", 1.0, 0)]), ""),
        // Ours alone.
        Row("+", Get("metric=a%FFb&value=1&key={KEY}"), "204", Refused(400, "invalid metric - "), "a name is UTF-8"),
        Row("+", Get("metric=a%26b%00&value=1&key={KEY}"), "204", Refused(400, "invalid metric - "), GET_NAMES),
        Row("+", Get("metric=%zz&value=1&key={KEY}"), "204", point(&[("%zz", 1.0, 0)]), ""),
        Row("+", Get("metric=a.b&value=1&timestamp=4294967296&fill=true&key={KEY}"), "204", Refused(400, "invalid timestamp - "), "a back-fill lies in 32 bits"),
        Row("+", Get("{KEY}&metric=a.b&value=abc"), "400", Refused(400, "Invalid parameter received - "), ""),
        Row("+", Get("value=abc&key=abc"), "400", Refused(400, "invalid value - "), ""),
        Row("+", Get("metric=a.b&value=abc&metric=a.b&key={KEY}"), "400", Refused(400, "Invalid parameter received - metric is repeated"), REPEATED),
    ]
}

#[rustfmt::skip]
fn post_rows() -> Vec<Row> {
    vec![
        Row("57", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204", AB, ""),
        Row("58", Post(r#"{"metric":"a.b","value":"1.0","timestamp":"{N}","key":"{KEY}"}"#), "204", AB, ""),
        Row("59", Post(r#"{"metric":"a.b","value":1.0,"key":"{KEY}"}"#), "400", AB, EMPTY_IS_NOW),
        Row("60", Post(r#"{"metric":"a.b","value":1.0,"timestamp":"","key":"{KEY}"}"#), "204", AB, ""),
        Row("61", Post(r#"{"metric":"a.b","value":1.0,"timestamp":null,"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - metric \\\"a.b\\\" - timestamp is not an int"), ""),
        Row("61", Post(r#"{"metric":"a.b","value":1.0,"timestamp":true,"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - "), ""),
        Row("61", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N}.0,"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - "), ""),
        Row("61", Post(r#"{"metric":"a.b","value":1.0,"timestamp":"abc","key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - "), ""),
        Row("62", Post(r#"{"metric":"a.b","value":1.0,"timestamp":0,"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - metric \\\"a.b\\\" - timestamp is not a valid current unix timestamp"), ""),
        Row("63", Post(r#"{"metric":"a.b","value":1.0,"timestamp":1.5e9,"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - metric \\\"a.b\\\" - timestamp is not an int"), ""),
        Row("64", Post(r#"{"metric":"a.b","timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "no metric data passed"), ""),
        Row("65", Post(r#"{"metric":"a.b","value":null,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid value - "), ""),
        Row("66", Post(r#"{"metric":"a.b","value":"","timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "no value parameter present - "), ""),
        Row("67", Post(r#"{"metric":"a.b","value":"abc","timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid value - metric \\\"a.b\\\" - not a number"), ""),
        Row("67", Post(r#"{"metric":"a.b","value":[1],"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid value - "), ""),
        Row("67", Post(r#"{"metric":"a.b","value":"0x10","timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid value - "), ""),
        Row("68", Post(r#"{"metric":"a.b","value":true,"timestamp":{N},"key":"{KEY}"}"#), "204, 1.0", AB, ""),
        Row("69", Post(r#"{"metric":"a.b","value":0,"timestamp":{N},"key":"{KEY}"}"#), "204", point(&[("a.b", 0.0, 0)]), ""),
        Row("70", Post(r#"{"metric":"a.b","value":NaN,"timestamp":{N},"key":"{KEY}"}"#), "204, nan", NotFinite(1), DISCARDED),
        Row("70", Post(r#"{"metric":"a.b","value":"nan","timestamp":{N},"key":"{KEY}"}"#), "204, nan", NotFinite(1), DISCARDED),
        Row("71", Post(r#"{"metric":"a.b","value":-Infinity,"timestamp":{N},"key":"{KEY}"}"#), "204, inf", NotFinite(1), DISCARDED),
        Row("71", Post(r#"{"metric":"a.b","value":1e400,"timestamp":{N},"key":"{KEY}"}"#), "204, inf", NotFinite(1), DISCARDED),
        Row("71", Post(r#"{"metric":"a.b","value":"+Infinity","timestamp":{N},"key":"{KEY}"}"#), "204, inf", NotFinite(1), DISCARDED),
        Row("72", Post(r#"{"metric":"a.b","value":{NINES},"timestamp":{N},"key":"{KEY}"}"#), "400", NotFinite(1), DISCARDED),
        Row("73", Post(r#"{"metric":"a.b","value":"١٢","timestamp":{N},"key":"{KEY}"}"#), "204, 12.0", Refused(400, "invalid value - "), NO_UNDERSCORES),
        Row("74", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N}}"#), "400", Refused(400, "no key passed"), ""),
        Row("75", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N},"key":null}"#), "401", Refused(401, "invalid key"), ""),
        Row("75", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N},"key":"abc"}"#), "401", Refused(401, "invalid key"), ""),
        Row("76", Post(r#"{"metric":"a.b","value":1.0,"key":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#), "401", Refused(401, "invalid key"), ""),
        Row("77", Post(r#"{"metric":"a.b","value":1.0,"key":"éééééééééééééééééééééééééééééééé"}"#), "401", Refused(401, "invalid key"), ""),
        Row("78", With(header_key(KEY), r#"{"metric":"a.b","value":1.0,"timestamp":{N}}"#), "204", AB, ""),
        Row("79", Post(r#"{"value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "no metric data passed"), ""),
        Row("80", Post(r#"{"metric":"","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("81", Post(r#"{"metric":null,"value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204, name None", Refused(400, "invalid metric - the name is null"), "a name that is null is 400"),
        Row("81", Post(r#"{"metric":5,"value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204, name 5", point(&[("5", 1.0, 0)]), ""),
        Row("82", Post(r#"{"metric":"a b","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204, a_b", point(&[("a_b", 1.0, 0)]), ""),
        Row("83", Post(r#"{"metric":"a..b...c","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204, a.b..c", point(&[("a.b..c", 1.0, 0)]), ""),
        Row("84", Post(r#"{"metric":"a*b'c","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204, a_b_c", point(&[("a_b_c", 1.0, 0)]), ""),
        Row("85", Post(r#"{"metric":"a{b","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - metric \\\"a{b\\\" - invalid characters in name"), ""),
        Row("85", Post(r#"{"metric":"café","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - metric \\\"caf\\u00e9\\\" - invalid characters in name"), ""),
        Row("85", Post(r#"{"metric":"a;host=x","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("85", Post(r#"{"metric":"a\nb","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - metric \\\"a\\nb\\\" - "), ""),
        Row("86", Post(r#"{"metric":"a/b:c=d%e+f-g_h.i","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204", point(&[("a/b:c=d%e+f-g_h.i", 1.0, 0)]), ""),
        Row("87", Post(r#"{"metric":".a.","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "204", point(&[(".a.", 1.0, 0)]), ""),
        Row("88", Post(r#"{"metric":"a.{251}","value":1.0,"timestamp":{N},"key":"{KEY}","fill":"only the name is looked at"}"#), "204", Want::Named(251 + 2), ""),
        Row("88", Post(r#"{"metric":"a.{252}","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("89", Post(r#"{"metric":"{21x200}","value":1.0,"timestamp":{N},"key":"{KEY}"}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("90", Post(""), "400", Refused(400, "invalid json data"), ""),
        Row("91", Post("{}"), "400", Exactly(400, r#"{"code": 400, "message": "no POST data received"}"#), ""),
        Row("91", Post("[]"), "400", Refused(400, "no POST data received"), ""),
        Row("92", Post("[1]"), "500", Refused(400, "no POST data received"), ALWAYS_ANSWERED),
        Row("92", Post("\"abc\""), "500", Refused(400, "no POST data received"), ALWAYS_ANSWERED),
        Row("92", Post("5"), "500", Refused(400, "no POST data received"), ALWAYS_ANSWERED),
        Row("93", Post("{\"a\":"), "400", Refused(400, "invalid json data"), ""),
        Row("94", Body(b"{\"metric\":\"a\xff\"}"), "400", Refused(400, "no POST data received"), ""),
        Row("95", Post("metric=a.b&value=1&key={KEY}"), "400", Refused(400, "invalid json data"), ""),
        Row("96", Post(r#"{"metric":"a.b","value":1.0,"key":"{KEY}"} x"#), "400", Refused(400, "invalid json data"), ""),
        Row("96", Post(r#"{"metric":"a.b","value":1.0,"key":"{KEY}"}{"metric":"a.b","value":1.0,"key":"{KEY}"}"#), "400", Refused(400, "invalid json data"), ""),
        Row("97", Post("\u{feff}{\"metric\":\"a.b\",\"value\":1.0,\"key\":\"{KEY}\"}"), "204", AB, ""),
        Row("97", Body(b"\xff\xfe{\0}\0"), "204", Refused(400, "no POST data received"), "UTF-16 is 400"),
        Row("97", Body(b"{\x00\"\x00a\x00\"\x00:\x001\x00}\x00"), "204", Refused(400, "invalid json data"), "UTF-16 is 400"),
        Row("98", Post(r#"{"metric":"a","metric":"b","value":1.0,"key":"{KEY}"}"#), "204, b", point(&[("b", 1.0, 0)]), ""),
        Row("99", At(Method::Post, "/metric_data_post?user=a", r#"{"metric":"a.b","value":1.0,"key":"{KEY}"}"#), "204", AB, ""),
        Row("100", Coded(ContentEncoding::Gzip, gzip, B), "204", AB, ""),
        Row("101", Coded(ContentEncoding::Identity, gzip, B), "400", Refused(400, "no POST data received"), ""),
        Row("102", Coded(ContentEncoding::Gzip, gzip, B), "400, the field says GZIP", AB, "an encoding's name has no case"),
        Row("103", Coded(ContentEncoding::Gzip, plain, "garbage"), "400", Refused(400, "invalid json data - the gzip body is damaged"), ""),
        Row("104", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N-501},"key":"{KEY}"}"#), "204", point(&[("a.b", 1.0, -501)]), ""),
        Row("104", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N-3601},"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - metric \\\"a.b\\\" - timestamp is too old, older than 3600 seconds"), ""),
        Row("104", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N+30},"key":"{KEY}"}"#), "204", point(&[("a.b", 1.0, 30)]), ""),
        Row("104", Post(r#"{"metric":"a.b","value":1.0,"timestamp":{N+90},"key":"{KEY}"}"#), "400", Refused(400, "invalid timestamp - "), ""),
        Row("105", Post(r#"{"metric":"a.b","value":1.0,"timestamp":1400000000,"fill":"true","key":"{KEY}"}"#), "400", Filled("a.b", 1_400_000_000), FILL),
        Row("106", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":2}]}"#), "204", point(&[("a.a", 1.0, 0), ("a.b", 2.0, 0)]), ""),
        Row("107", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":2,"timestamp":""}]}"#), "204, now", point(&[("a.a", 1.0, 0), ("a.b", 2.0, 0)]), ""),
        Row("108", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":"x"}]}"#), "400, a.a queued", Refused(400, "invalid value - item 2 - metric \\\"a.b\\\" - not a number"), NOTHING_KEPT),
        Row("109", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":1400000000,"fill":"true"}]}"#), "204, backfill", Filled("a.a", 1_400_000_000), ""),
        Row("109", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":1400000000,"fill":true}]}"#), "204, backfill", Filled("a.a", 1_400_000_000), ""),
        Row("109", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":"1400000000","fill":"True"}]}"#), "204, backfill", Filled("a.a", 1_400_000_000), ""),
        Row("110", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":1400000000,"fill":"false"}]}"#), "400", Refused(400, "invalid timestamp - item 1 - "), ""),
        Row("111", Post(r#"{"key":"{KEY}","metrics":[]}"#), "400", Refused(400, "no metric data passed"), ""),
        Row("111", Post(r#"{"key":"{KEY}","metrics":null,"metric":"a.b","value":1,"timestamp":{N}}"#), "400", Refused(400, "no metric data passed"), ""),
        Row("112", Post(r#"{"key":"{KEY}","metrics":{"a":1}}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("112", Post(r#"{"key":"{KEY}","metrics":[null]}"#), "400", Refused(400, "invalid metric - item 1 - "), ""),
        Row("112", Post(r#"{"key":"{KEY}","metrics":["x"]}"#), "400", Refused(400, "invalid metric - item 1 - "), ""),
        Row("113", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1}],"metric":"t","value":2}"#), "204, metrics only", point(&[("a.a", 1.0, 0)]), ""),
        Row("114", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":2}],"test":true}"#), "200", Exactly(200, TEST_REPORT_2), ""),
        Row("114", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":2}],"test":"false"}"#), "200", Exactly(200, TEST_REPORT_2), ""),
        Row("114", With(with_header(None, Some(b"1")), r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":2}]}"#), "200", Exactly(200, TEST_REPORT_2), ""),
        Row("114", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1},{"metric":"a.b","value":"x"}],"test":true}"#), "400", Refused(400, "invalid value - item 2 - "), ""),
        Row("115", Post(r#"{"key":"{K2}","metrics":[{"metric":"a.a","value":1},{"metric":"warehouse-1.x","value":2},{"metric":"c.c","value":3}]}"#), "204, c.c not prefixed", point(&[("warehouse-1.a.a", 1.0, 0), ("warehouse-1.x", 2.0, 0), ("warehouse-1.c.c", 3.0, 0)]), "the prefix is always applied"),
        Row("116", Post(r#"{"key":"{K2}","metric":"warehouse-10.x","value":1}"#), "204, not prefixed", point(&[("warehouse-1.warehouse-10.x", 1.0, 0)]), "the prefix ends at a dot"),
        Row("117", Post(r#"{"status":"true"}"#), "200", Probe, ""),
        Row("117", Post(r#"{"status":false}"#), "200", Probe, ""),
        Row("118", Post(r#"{"status":""}"#), "400", Refused(400, "no key passed"), ""),
        Row("119", Post(r#"{"status":"x","status_code":207}"#), "207", Refused(207, "2 metrics were processed and 1 metrics were rejected"), ""),
        Row("119", Post(r#"{"status":"x","status_code":401}"#), "401", Exactly(401, r#"{"code": 401, "data": "Status code test - 401"}"#), ""),
        Row("119", Post(r#"{"status":"x","status_code":500}"#), "204", Exactly(204, ""), ""),
        Row("119", Post(r#"{"status":"x","status_code":"abc"}"#), "500", Refused(400, "invalid status_code - "), ALWAYS_ANSWERED),
        Row("120", Post(r#"{"key":"{KEY}","validate_key":true}"#), "200", Exactly(200, r#"{"status": "key valid"}"#), ""),
        Row("120", Post(r#"{"key":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","validate_key":true}"#), "401", Refused(401, "invalid key"), ""),
        Row("121", Quota(HEADER_ONLY, &Post(r#"{"key":"{K2}","metrics":[{"metric":"a","value":1},{"metric":"b","value":1},{"metric":"c","value":1}]}"#)), "207", Partly(207, OVER_121, &[("warehouse-1.a", 1.0, 0), ("warehouse-1.b", 1.0, 0)]), ""),
        Row("122", Quota(A_B, C), "400", Partly(400, OVER_122, &[]), ""),
        Row("122", Quota(A_B, &Get("key={K2}&metric=c&value=1")), "400", Partly(400, OVER_GET, &[]), ""),
        Row("122", Quota(A_B, &Post(A_B)), "204", Points(&[("warehouse-1.a", 1.0, 0), ("warehouse-1.b", 1.0, 0)]), ""),
        Row("122", Quota(A_B, &Post(r#"{"key":"{KEY}","metric":"c","value":1}"#)), "204", Points(&[("c", 1.0, 0)]), ""),
        // Its test form only marks the event that Skyline sends to Thunder; the answer is the same.
        Row("121", Quota(HEADER_ONLY, &Post(r#"{"key":"{K2}","metric_quota_exceeded_test":true,"metrics":[{"metric":"a","value":1},{"metric":"b","value":1},{"metric":"c","value":1}]}"#)), "207", Partly(207, OVER_121, &[("warehouse-1.a", 1.0, 0), ("warehouse-1.b", 1.0, 0)]), ""),
        Row("122", Quota(A_B, &Post(r#"{"key":"{K2}","metric_quota_exceeded_test":true,"metric":"c","value":1}"#)), "400", Partly(400, OVER_122, &[]), ""),
        Row("122", Quota(A_B, &Post(r#"{"key":"{K2}","metrics":[{"metric":"c","value":1}]}"#)), "400", Partly(400, OVER_122, &[]), ""),
        // Places are the prefix's, whichever of its keys they came with; the service's own key has none.
        Row("122", Quota(A_B, &Post(r#"{"key":"{K3}","metric":"c","value":1}"#)), "400", Partly(400, OVER_122, &[]), ""),
        Row("122", Quota(A_B, &Post(r#"{"key":"{K3}","metric":"a","value":1}"#)), "204", Points(&[("warehouse-1.a", 1.0, 0)]), ""),
        Row("122", Quota(A_B, C_BATCH), "400", Partly(400, OVER_BATCH, &[]), ""),
        Row("123", Skipping(&Post(r#"{"key":"{KEY}","metric":"skyline.analyzer.x","value":1}"#)), "204, nothing queued", Skipped(&[], 1), ""),
        Row("123", Skipping(&Post(r#"{"key":"{KEY}","metrics":[{"metric":"a","value":1},{"metric":"x.skyline.analyzer.x","value":"no number"},{"metric":"skyline.analyzer.run_time","value":2}]}"#)), "204", Skipped(&[("a", 1.0, 0), ("skyline.analyzer.run_time", 2.0, 0)], 1), ""),
        Row("123", Skipping(&Get("key={KEY}&metric=skyline.analyzer.x&value=1")), "204, queued", Points(&[("skyline.analyzer.x", 1.0, 0)]), ""),
        Row("123", Skipping(&Post(r#"{"key":"{KEY}","test":true,"metrics":[{"metric":"a","value":1},{"metric":"skyline.analyzer.x","value":1}]}"#)), "200", Exactly(200, TEST_REPORT_SKIPPED), ""),
        Row("124", Post(r#"{"key":"{KEY}","metric":"otel.traces.x","value":1}"#), "204, aggregated", Points(&[("otel.traces.x", 1.0, 0)]), ""),
        Row("125", At(Method::Get, "/metric_data_post", ""), "405", Refused(405, "method not allowed"), ""),
        Row("125a", Post(r#"{"key":"{KEY}","metrics":5}"#), "500", Refused(400, "invalid metric - metrics is not a list"), ALWAYS_ANSWERED),
        Row("125a", Post(r#"{"key":"{KEY}","metrics":"ab"}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("125b", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":0,"fill":true}]}"#), "204, now", Filled("a.a", 0), "0 is a timestamp: only a missing or empty one means now"),
        Row("125c", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":"abc","fill":true}]}"#), "400", Refused(400, "invalid timestamp - "), ""),
        Row("125d", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a"}]}"#), "400", Refused(400, "no value parameter present - "), ""),
        Row("125d", Post(r#"{"key":"{KEY}","metrics":[{"value":1}]}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("125d", Post(r#"{"key":"{KEY}","metrics":[[1]]}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("125e", Post(r#"{"key":{DIGITS},"metric":"a.b","value":1}"#), "401", Refused(401, "invalid key"), ""),
        Row("137b", With(header_key("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), r#"{"metric":"a.b","value":1.0,"key":"{KEY}"}"#), "401", Refused(401, "invalid key"), ""),
        // Ours alone.
        Row("+", At(Method::Post, "//flux/metric_data_post", r#"{"metric":"a.b","value":1.0,"key":"{KEY}"}"#), "404", AB, "the proxy's prefix is known here"),
        Row("+", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":NaN},{"metric":"a.b","value":1e999},{"metric":"a.c","value":18446744073709551616},{"metric":"Infinity","value":"1"}]}"#), "204", point(&[("a.c", 18446744073709551616.0, 0), ("Infinity", 1.0, 0)]), DISCARDED),
        Row("+", Post(r#"{"key":"{KEY}","metric":"a.b\ud800","value":1}"#), "400", Refused(400, "invalid json data"), "lone surrogates are 400"),
        Row("+", Post(r#"{"key":"{KEY}","metric":"a.b","x":"\udc00","value":1}"#), "204", Refused(400, "invalid json data"), "lone surrogates are 400"),
        Row("+", Post(r#"{"key":"{KEY}","metric":"a.b","x":"\ud800\ud800","value":1}"#), "204", Refused(400, "invalid json data"), "lone surrogates are 400"),
        Row("+", Post(r#"{"key":"{KEY}","\u006detric":"\u0061.b","value":1}"#), "204", AB, ""),
        Row("+", Post(r#"{"key":"{KEY}","metric":"{KEY}{","value":1}"#), "400", Refused(400, "invalid metric - metric hidden - invalid characters in name"), "a key is never echoed"),
        Row("+", Post(r#"{"key":"{KEY}","metrics":[{1001}]}"#), "204", Refused(413, "too many points in one request - 1001, and points_per_request_max is 1000"), "bounded"),
        Row("+", With(Fields { content_encoding: ContentEncoding::Unknown, ..header_key(KEY) }, r#"{"metric":"a.b","value":1}"#), "204", Refused(415, "content encoding not supported"), "an unknown Content-Encoding is 415"),
    ]
}

#[rustfmt::skip]
fn telegraf_rows() -> Vec<Row> {
    vec![
        Row("126", Batch("{KEY}", "", r#"{"metrics":[{E}]}"#), "204", Partly(207, DROPPED_126, &[("h.example.org.cpu-total.-var-log.c_d.cpu.usage_idle", 1.5, 0), ("h.example.org.cpu-total.-var-log.c_d.cpu.total-x", 3.0, 0)]), TOLD),
        Row("126", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1.5,"i":-3,"big":18446744073709551616},"name":"m","tags":{"host":"h"},"timestamp":"{N}"}]}"#), "204", Points(&[("h.m.n", 1.5, 0), ("h.m.i", -3.0, 0), ("h.m.big", 18446744073709551616.0, 0)]), ""),
        Row("127", Batch("{K2}", "tg", r#"{"metrics":[{"fields":{"n":1,"s":"ok"},"name":"m","tags":{"t":"x","host":"h"},"timestamp":{N}}]}"#), "204", Partly(207, DROPPED_127, &[("warehouse-1.tg.h.x.m.n", 1.0, 0)]), TOLD),
        Row("128", With(Fields { telegraf: Some(b"false"), ..header_key(KEY) }, r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "204", Points(&[("h.m.n", 1.0, 0)]), ""),
        Row("129", With(header_key(KEY), r#"{"metrics":[{E}]}"#), "400", Refused(400, "invalid metric - item 1 - the item has no metric"), ""),
        Row("129", With(Fields { telegraf: Some(b""), ..header_key(KEY) }, r#"{"metrics":[{E}]}"#), "400", Refused(400, "invalid metric - item 1 - the item has no metric"), ""),
        Row("130", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"s":"ok","t":true},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "400", Refused(400, "invalid metric - no number among the fields"), ""),
        Row("131", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"t":"h"},"timestamp":{N}}]}"#), "400", Refused(400, "invalid metric - no number among the fields of a metric with a host tag"), ""),
        Row("132", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"disk/x.y","tags":{"host":"h"},"timestamp":{N}}]}"#), "204", Points(&[("h.disk/x.y.n", 1.0, 0)]), ""),
        Row("133", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h","if":"Local Area"},"timestamp":{N}}]}"#), "204", Points(&[("h.Local_Area.m.n", 1.0, 0)]), ""),
        Row("134", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h","if":"a(b"},"timestamp":{N}}]}"#), "400", Refused(400, "invalid metric - item 1 - metric \\\"h.a(b.m.n\\\" - invalid characters in name"), ""),
        Row("134", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h"},"timestamp":{N}},{"fields":{"(":1},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "400, the first queued", Refused(400, "invalid metric - item 2 - "), NOTHING_KEPT),
        Row("135", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"a":null,"n":1},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "400", Refused(400, "invalid value - item 1 - metric \\\"h.m.a\\\" - the value is null"), ""),
        Row("135", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1,"a":[1]},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "400, the first queued", Refused(400, "invalid value - "), NOTHING_KEPT),
        Row("136", Batch("{KEY}", "", "{E}"), "400", Refused(400, "no metric data passed"), ""),
        Row("137", With(Fields { telegraf: Some(b"true"), ..Fields::default() }, r#"{"key":"{KEY}","metrics":[{E}]}"#), "400", Refused(400, "invalid metric - item 1 - the item has no metric"), ""),
        Row("137a", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h"},"timestamp":{N}},{"fields":{"n":1},"name":"m","timestamp":{N}},{"fields":{"n":1},"name":"m","tags":{"host":"h","t":5},"timestamp":{N}}]}"#), "204, the first", Want::Unnamed(&[("h.m.n", 1.0, 0)], 2), ""),
        // Ours alone.
        Row("+", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":NaN,"m":1e400,"k":2},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "204", Want::Unnamed(&[("h.m.k", 2.0, 0)], 0), DISCARDED),
        Row("+", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1,"n":2},"name":"m","tags":{"host":"x","t":"a","host":"h","t":"b"},"timestamp":{N}}]}"#), "204", Points(&[("h.b.m.n", 2.0, 0)]), ""),
        Row("+", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h"},"timestamp":{N-3601}}]}"#), "400", Refused(400, "invalid timestamp - item 1 - metric \\\"h.m.n\\\" - timestamp is too old"), ""),
        Row("+", Batch("{KEY}", "", r#"{"metrics":[{"fields":{{1001 fields}},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "204", Refused(413, "too many points in one request - 1001"), "bounded"),
        Row("+", Batch("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "", r#"{"metrics":[{E}]}"#), "401", Refused(401, "invalid key"), ""),
        Row("+", Batch("{K2}", "", r#"{"test":true,"metrics":[{"fields":{"n":1,"s":"x"},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "200", Exactly(200, TEST_REPORT_BATCH), ""),
        Row("+", Batch("{KEY}", "", r#"{"metrics":[{"metric":"a.b","value":1,"timestamp":{N}}]}"#), "204", AB, ""),
        Row("+", Batch("{KEY}", "", r#"{"metrics":[{"fields":{"n":1,"{KEY}":"x"},"name":"m","tags":{"host":"h"},"timestamp":{N}}]}"#), "204", Partly(207, r#"{"code": 207, "data": [{"metric": "(hidden)", "status": 400, "reason": "non-numeric value"}], "message": "1 non-numeric value metrics were dropped", "dropped non-numeric metrics": ["(hidden)"], "dropped non-numeric metrics count": 1, "processed metrics count": 1, "submitted metrics count": 1, "defined skipped_metrics_count": 0}"#, &[("h.m.n", 1.0, 0)]), "a key is never echoed"),
        Row("+", Coded(ContentEncoding::Gzip, two_members, B), "204", AB, ""),
        Row("+", Coded(ContentEncoding::Gzip, cut_off, B), "400", Refused(400, "invalid json data - the gzip body ends too early"), ""),
        Row("+", Coded(ContentEncoding::Gzip, bomb, B), "204", Refused(413, "request body too large - it inflates to more than"), "bounded"),
        Row("+", Coded(ContentEncoding::Deflate, zlib, B), "400", AB, "deflate is undone too"),
        Row("+", Coded(ContentEncoding::Deflate, raw_deflate, B), "400", AB, "deflate is undone too"),
        Row("+", Coded(ContentEncoding::Deflate, gzip, B), "400", Refused(400, "invalid json data - the deflate body is damaged"), ""),
        Row("+", Quota(A_B, &Post(r#"{"key":"{K2}","metrics":[{"metric":"a","value":2},{"metric":"c","value":NaN}]}"#)), "207", Want::Unnamed(&[("warehouse-1.a", 2.0, 0)], 0), DISCARDED),
        // A place is not taken by a request that is refused for another reason.
        Row("+", Quota(r#"{"key":"{K2}","metrics":[{"metric":"a","value":1},{"metric":"b","value":1},{"metric":"d","value":"x"}]}"#, C), "204", Points(&[("warehouse-1.c", 1.0, 0)]), ""),
        Row("+", Quota(r#"{"key":"{K2}","test":true,"metrics":[{"metric":"a","value":1},{"metric":"b","value":1}]}"#, C), "204", Points(&[("warehouse-1.c", 1.0, 0)]), ""),
    ]
}

fn all_rows() -> Vec<Row> {
    let mut rows = get_rows();
    rows.extend(post_rows());
    rows.extend(telegraf_rows());
    rows
}

fn fill_in(text: &str) -> String {
    let mut text = text.to_owned();
    let elements = [
        vec!["x".repeat(200); 21].join("."),
        "x".repeat(252),
        "x".repeat(251),
        "9".repeat(400),
        r#"{"fields":{"usage.idle":1.5,"total/x":3,"state":"ok","up":true},"name":"cpu","tags":{"host":"h.example.org","cpu":"cpu-total","path":"/var/log","a.b":"c.d"},"timestamp":{N}}"#.to_owned(),
        (0..1001).map(|i| format!(r#""f{i}":1"#)).collect::<Vec<_>>().join(","),
    ];
    let many = vec![r#"{"metric":"a","value":1}"#; 1001].join(",");
    for (sign, name) in [
        ("{KEY}", KEY),
        ("{K2}", K2),
        ("{K3}", K3),
        ("{DIGITS}", DIGITS),
        ("{21x200}", &elements[0]),
        ("{252}", &elements[1]),
        ("{251}", &elements[2]),
        ("{NINES}", &elements[3]),
        ("{E}", &elements[4]),
        ("{1001 fields}", &elements[5]),
        ("{1001}", &many),
    ] {
        text = text.replace(sign, name);
    }
    for offset in [-3601, -3600, -501, -500, 0, 1, 30, 60, 61, 90i64] {
        let sign = match offset {
            0 => "{N}".to_owned(),
            offset => format!("{{N{offset:+}}}"),
        };
        text = text.replace(&sign, &(i64::from(NOW) + offset).to_string());
    }
    text
}

/// As the pipeline does before it asks: what came encoded is decoded, or answered.
fn decode(encoding: ContentEncoding, body: &[u8]) -> Result<Vec<u8>, Answer> {
    let Some(mut inflater) = Inflater::new(encoding, api().inflated_bytes_max) else {
        return Ok(body.to_vec());
    };
    match inflater.advance(body, &mut { usize::MAX }) {
        Ok(done) => {
            assert!(done, "a slice without end holds everything");
            Ok(inflater.decoded().to_vec())
        }
        Err(fault) => Err(verdict::not_decoded(fault)),
    }
}

fn ask(ask: &Ask, scratch: &mut Scratch) -> (Decision, Collected) {
    match ask {
        Quota(first, then) => {
            // What a scratch knows of quotas belongs to one service.
            let mut scratch = Scratch::default();
            let namespaces = [None, Some((2, Vec::new()))];
            let mut api = api();
            assert_eq!(api.keys.namespaces(), ["digits", "warehouse-1"]);
            api.quotas = Quotas::new([1; 16], namespaces);
            ask_of(&api, &Post(first), &mut scratch);
            ask_of(&api, then, &mut scratch)
        }
        Skipping(then) => {
            let mut api = api();
            let texts = ["skyline.analyzer.", "skyline.analyzer.run_time"].map(str::to_owned);
            api.skip = Skip::new(&texts[..1], &texts[1..]);
            ask_of(&api, then, scratch)
        }
        ask => ask_of(&api(), ask, scratch),
    }
}

fn ask_of(api: &Api, ask: &Ask, scratch: &mut Scratch) -> (Decision, Collected) {
    let mut sink = Collected::default();
    let (key, prefix);
    let (method, path, fields, text) = match ask {
        Get(query) => (Method::Get, "/metric_data", Fields::default(), *query),
        Post(body) | Coded(_, _, body) => {
            (Method::Post, "/metric_data_post", Fields::default(), *body)
        }
        With(fields, body) => (Method::Post, "/metric_data_post", *fields, *body),
        Batch(given, before, body) => {
            (key, prefix) = (fill_in(given), before.as_bytes());
            let fields = Fields {
                key: Some(key.as_bytes()),
                telegraf: Some(b"true"),
                prefix: (!prefix.is_empty()).then_some(prefix),
                ..Fields::default()
            };
            (Method::Post, "/metric_data_post", fields, *body)
        }
        At(method, path, text) => (*method, *path, Fields::default(), *text),
        Body(_) => (Method::Post, "/metric_data_post", Fields::default(), ""),
        Quota(..) | Skipping(_) => unreachable!("they ask through one of the others"),
    };
    let text = fill_in(text);
    let (path, path_query) = path
        .split_once('?')
        .map_or((path, None), |(p, q)| (p, Some(q)));
    let (query, body) = match (method, ask) {
        (_, Body(body)) => (None, body.to_vec()),
        (_, Coded(encoding, code, _)) => match decode(*encoding, &code(text.as_bytes())) {
            Ok(body) => (None, body),
            Err(answer) => return (answer.into(), sink),
        },
        (Method::Post, _) => (path_query.map(str::as_bytes), text.clone().into_bytes()),
        _ => (Some(text.as_bytes()), Vec::new()),
    };
    let message = Message {
        method,
        path: path.as_bytes(),
        query,
        fields,
        body: &body,
        http_1_0: false,
        keep_alive: true,
    };
    let decision = api.decide(&message, NOW, scratch, &mut sink);
    (decision, sink)
}

fn answered(decision: &Decision) -> (&Answer, Tally) {
    match decision {
        Decision::Answer { answer, tally } | Decision::Partly { answer, tally } => (answer, *tally),
        other => panic!("not an answer: {other:?}"),
    }
}

type Pushed = Vec<(String, u32, u64, bool)>;

fn wanted(points: &[(&str, f64, i64)]) -> Pushed {
    let point = |&(name, value, offset): &(&str, f64, i64)| {
        let timestamp = (i64::from(NOW) + offset) as u32;
        (name.to_owned(), timestamp, value.to_bits(), false)
    };
    points.iter().map(point).collect()
}

fn pushed(sink: &Collected) -> Pushed {
    let points = sink.0.iter();
    points
        .map(|(name, timestamp, value, fill)| (name.clone(), *timestamp, value.to_bits(), *fill))
        .collect()
}

/// What a tally leaves for the sink: each point is counted once.
fn kept(tally: &Tally) -> usize {
    let left_out = tally.discarded_not_finite + tally.not_numeric + tally.unnamed;
    (tally.received - left_out - tally.skipped - tally.over_quota) as usize
}

fn check(row: &Row, scratch: &mut Scratch) {
    let Row(number, request, _, want, _) = row;
    let (decision, sink) = ask(request, scratch);
    let place = format!("row {number}: {decision:?} {sink:?}");
    match want {
        Points(points) | Skipped(points, _) | Want::Unnamed(points, _) => {
            let Decision::Points(tally) = decision else {
                panic!("{place}");
            };
            assert_eq!(pushed(&sink), wanted(points), "{place}");
            let (skipped, unnamed) = match want {
                Skipped(_, skipped) => (*skipped, 0),
                Want::Unnamed(_, unnamed) => (0, *unnamed),
                _ => (0, 0),
            };
            assert_eq!(
                (tally.skipped, tally.unnamed),
                (skipped, unnamed),
                "{place}"
            );
            assert_eq!(kept(&tally), points.len(), "{place}");
            assert_eq!(tally.problem, None, "{place}");
        }
        Partly(status, body, points) => {
            let Decision::Partly { answer, tally } = decision else {
                panic!("{place}");
            };
            let got = std::str::from_utf8(&answer.body).unwrap();
            assert_eq!((answer.status, got), (*status, *body), "{place}");
            serde_json::from_str::<serde_json::Value>(got).expect(&place);
            assert_eq!(pushed(&sink), wanted(points), "{place}");
            assert_eq!(kept(&tally), points.len(), "{place}");
        }
        Want::Named(length) => {
            assert!(matches!(decision, Decision::Points(_)), "{place}");
            let lengths: Vec<usize> = sink.0.iter().map(|point| point.0.len()).collect();
            assert_eq!(lengths, [*length], "{place}");
        }
        Filled(name, timestamp) => {
            assert!(matches!(decision, Decision::Points(_)), "{place}");
            let point = ((*name).to_owned(), *timestamp, 1.0, true);
            assert_eq!(sink.0, [point], "{place}");
        }
        NotFinite(count) => {
            let Decision::Points(tally) = decision else {
                panic!("{place}");
            };
            assert_eq!(
                (tally.received, tally.discarded_not_finite),
                (1, *count),
                "{place}"
            );
            assert!(sink.0.is_empty(), "{place}");
        }
        Refused(status, start) => {
            let (answer, tally) = answered(&decision);
            let body = std::str::from_utf8(&answer.body).unwrap();
            assert_eq!(answer.status, *status, "{place}");
            let json: serde_json::Value = serde_json::from_str(body).expect(&place);
            assert_eq!(json["code"], *status, "{place}");
            let message = body.split_once("\"message\": \"").expect(&place).1;
            assert!(message.starts_with(start), "{place}: {body}");
            assert!(!body.contains(KEY), "{place}: {body}");
            assert!(body.len() < 1000, "{place}: {body}");
            assert_eq!(
                tally.problem.map(|p| p.status()).unwrap_or(*status),
                *status,
                "{place}"
            );
        }
        Exactly(status, body) => {
            let (answer, _) = answered(&decision);
            let got = std::str::from_utf8(&answer.body).unwrap();
            assert_eq!((answer.status, got), (*status, *body), "{place}");
            assert!(sink.0.is_empty(), "{place}");
        }
        Probe => {
            let Decision::Probe(answer) = decision else {
                panic!("{place}");
            };
            assert_eq!(
                (answer.status, &*answer.body),
                (200, &br#"{"status": "ok"}"#[..])
            );
        }
    }
}

#[test]
fn every_vector_is_answered_as_the_table_says() {
    // One scratch for all: what one request leaves behind must not show in the next.
    let mut scratch = Scratch::default();
    for row in &all_rows() {
        check(row, &mut scratch);
    }
    // Backwards, so that every row follows another one too.
    for row in all_rows().iter().rev() {
        check(row, &mut scratch);
    }
}

fn same_or_said_why(number: &str, theirs: &str, status: u16, why: &str) {
    let same = theirs.starts_with(&status.to_string());
    assert!(
        same || !why.is_empty(),
        "row {number} differs without a reason"
    );
}

/// A row whose answer differs says why, and one that does not has nothing to explain.
#[test]
fn every_difference_has_a_reason() {
    for Row(number, _, theirs, ours, why) in &all_rows() {
        let status = match ours {
            Points(_) | Filled(..) | NotFinite(_) | Skipped(..) => 204,
            Want::Unnamed(..) | Want::Named(_) => 204,
            Refused(status, _) | Exactly(status, _) | Partly(status, _, _) => *status,
            Probe => 200,
        };
        same_or_said_why(number, theirs, status, why);
    }
    for jobs::Row(number, _, theirs, want, why) in jobs::rows() {
        let status = match want {
            jobs::Want::Queued(_) => 204,
            jobs::Want::Refused(status, _) => status,
        };
        same_or_said_why(number, theirs, status, why);
    }
    // What comes behind an answer has no status to compare: a row without a reason claims to be the same.
    let behind = jobs::histories().into_iter();
    let behind = behind.map(|row| (row.number, row.theirs, row.why));
    let worker = worker::ROWS
        .iter()
        .map(|row| (row.number, row.theirs, row.why));
    for (number, theirs, why) in behind.chain(worker).chain(worker::ALONE) {
        assert!(
            !theirs.is_empty() && theirs != why,
            "row {number} does not say what the Python program does"
        );
    }
}

/// The numbers of the reference's rows.
fn numbers() -> BTreeSet<String> {
    let lettered = ["125a", "125b", "125c", "125d", "125e", "137a", "137b"];
    let plain = (1..=157).map(|number| number.to_string());
    plain.chain(lettered.map(str::to_owned)).collect()
}

#[test]
fn no_row_of_the_reference_is_missing() {
    let mut here: BTreeSet<&str> = all_rows().iter().map(|row| row.0).collect();
    here.extend(jobs::rows().iter().map(|row| row.0));
    here.extend(jobs::histories().iter().map(|row| row.number));
    here.extend(worker::ROWS.iter().map(|row| row.number));
    here.extend(worker::ALONE.iter().map(|row| row.0));
    let numbers = numbers();
    let missing: Vec<_> = numbers
        .iter()
        .filter(|number| !here.contains(number.as_str()))
        .collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");

    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference.md");
    let Ok(text) = std::fs::read_to_string(page) else {
        println!("skipped: no reference here to compare the numbers with");
        return;
    };
    let (_, rest) = text.split_once("## 17. Test vectors").expect("section 17");
    let (section, _) = rest.split_once("\n## 18").expect("section 18");
    let number = |line: &str| {
        let cell = line.strip_prefix("| ")?.split(" |").next()?;
        let number = cell.trim_end_matches('*');
        let is_one = number.starts_with(|c: char| c.is_ascii_digit());
        is_one.then(|| number.to_owned())
    };
    let rows: BTreeSet<String> = section.lines().filter_map(number).collect();
    assert_eq!(rows, numbers, "the reference's rows are others");
}

#[test]
fn a_method_that_is_wrong_is_told_the_right_ones() {
    for (path, method, status, allow) in [
        ("/metric_data", Method::Post, 405, "GET, OPTIONS"),
        ("/metric_data", Method::Head, 405, "GET, OPTIONS"),
        ("/metric_data", Method::Other, 405, "GET, OPTIONS"),
        ("/metric_data_post", Method::Get, 405, "POST, OPTIONS"),
        ("/populate_metric", Method::Get, 405, "POST, OPTIONS"),
        ("/metric_data", Method::Options, 200, "GET"),
        ("/metric_data_post", Method::Options, 200, "POST"),
    ] {
        let (decision, _) = ask(&At(method, path, ""), &mut Scratch::default());
        let (answer, _) = answered(&decision);
        assert_eq!(
            (answer.status, answer.allow),
            (status, Some(allow)),
            "{path} {method:?}"
        );
    }
}

#[test]
fn a_bad_request_counts_all_its_items_and_its_namespace() {
    let body = r#"{"key":"{K2}","metrics":[{"metric":"a","value":NaN},{"metric":"b","value":1},{"metric":"c","value":"x"}]}"#;
    let (decision, _) = ask(&Post(body), &mut Scratch::default());
    let (_, tally) = answered(&decision);
    assert_eq!((tally.received, tally.discarded_not_finite), (3, 0));
    assert_eq!(
        tally.problem.map(|problem| problem.reason()),
        Some(Reject::Value)
    );
    assert_eq!(
        api().keys.namespaces()[usize::from(tally.namespace.unwrap())],
        "warehouse-1"
    );
}

#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let mut scratch = Scratch::default();
    for (depth, status) in [(60, 204), (70, 400), (1_000_000, 400)] {
        let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let body = format!(r#"{{"metric":"a","value":1,"key":"{KEY}","x":{nested}}}"#);
        let message = Message {
            method: Method::Post,
            path: b"/metric_data_post",
            query: None,
            fields: Fields::default(),
            body: body.as_bytes(),
            http_1_0: false,
            keep_alive: true,
        };
        let decision = api().decide(&message, NOW, &mut scratch, &mut Collected::default());
        let got = match decision {
            Decision::Points(_) => 204,
            other => answered(&other).0.status,
        };
        assert_eq!(got, status, "depth {depth}");
    }
}
