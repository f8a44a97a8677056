//! The test vectors of the Python program (their numbers are the reference's), each with what that program
//! answers and what this one does, in one table.

use std::collections::BTreeMap;

use skyline_flux::api::auth::Keys;
use skyline_flux::api::{Api, Decision, PointLimits, Scratch, Tally};
use skyline_flux::http::response::Answer;
use skyline_flux::http::{ContentEncoding, Fields, Message, Method};
use skyline_flux::point::Collected;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const K2: &str = "fedcba9876543210fedcba9876543210";
/// A key of digits, to see that a number is never one.
const DIGITS: &str = "12345678901234567890123456789012";
const NOW: u32 = 1_795_454_579;

fn api() -> Api {
    let namespaces = [(K2, "warehouse-1"), (DIGITS, "digits")];
    let namespaces = namespaces.map(|(key, prefix)| (key.to_owned(), prefix.to_owned()));
    Api::new(
        Keys::new(KEY, &BTreeMap::from(namespaces)),
        PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 1000,
            whisper_path_bytes: "/opt/graphite/storage/whisper".len(),
        },
    )
}

/// A request as a row of the table writes it; `KEY`, `K2`, `DIGITS`, `N`, `N-3600` in braces stand for values.
enum Ask {
    Get(&'static str),
    Post(&'static str),
    Body(&'static [u8]),
    With(Fields<'static>, &'static str),
    At(Method, &'static str, &'static str),
}
use Ask::{At, Body, Get, Post, With};

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
    Probe,
}
use Want::{Exactly, Filled, NotFinite, Points, Probe, Refused};

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
        // 52: the queue is full. Ours is the owners' business: 429, tested with them.
        Row("53", At(Method::Get, "//metric_data", "metric=a.b&value=1&key={KEY}"), "204", AB, ""),
        Row("54", At(Method::Get, "/metric_data/", "metric=a.b&value=1&key={KEY}"), "404", Refused(404, "not found"), ""),
        Row("54", At(Method::Get, "/Metric_Data", "metric=a.b&value=1&key={KEY}"), "404", Refused(404, "not found"), ""),
        Row("54", At(Method::Get, "/flux/metric_data", "metric=a.b&value=1&key={KEY}"), "404", AB, "the proxy's prefix is known here"),
        Row("54", At(Method::Get, "/nope", ""), "404", Refused(404, "not found"), ""),
        Row("55", At(Method::Post, "/metric_data", "metric=a.b&value=1&key={KEY}"), "405", Refused(405, "method not allowed"), ""),
        Row("56", At(Method::Options, "/metric_data", ""), "200", Exactly(200, ""), ""),
        Row("56", At(Method::Head, "/metric_data", "metric=a.b&value=1&key={KEY}"), "405", Exactly(405, ""), ""),
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
        Row("125", At(Method::Get, "/metric_data_post", ""), "405", Refused(405, "method not allowed"), ""),
        Row("125a", Post(r#"{"key":"{KEY}","metrics":5}"#), "500", Refused(400, "invalid metric - metrics is not a list"), ALWAYS_ANSWERED),
        Row("125a", Post(r#"{"key":"{KEY}","metrics":"ab"}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("125b", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":0,"fill":true}]}"#), "204, now", Filled("a.a", 0), "0 is a timestamp: only a missing or empty one means now"),
        Row("125c", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a","value":1,"timestamp":"abc","fill":true}]}"#), "400", Refused(400, "invalid timestamp - "), ""),
        Row("125d", Post(r#"{"key":"{KEY}","metrics":[{"metric":"a.a"}]}"#), "400", Refused(400, "no value parameter present - "), ""),
        Row("125d", Post(r#"{"key":"{KEY}","metrics":[{"value":1}]}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("125d", Post(r#"{"key":"{KEY}","metrics":[[1]]}"#), "400", Refused(400, "invalid metric - "), ""),
        Row("125e", Post(r#"{"key":{DIGITS},"metric":"a.b","value":1}"#), "401", Refused(401, "invalid key"), ""),
        Row("129", Post(r#"{"key":"{KEY}","metrics":[{"fields":{"usage.idle":1.5},"name":"cpu","tags":{"host":"h"},"timestamp":{N}}]}"#), "400", Refused(400, "invalid metric - item 1 - the item has no metric"), ""),
        Row("136", With(header_key(KEY), r#"{"fields":{"usage.idle":1.5},"name":"cpu","tags":{"host":"h"},"timestamp":{N}}"#), "400", Refused(400, "no metric data passed"), ""),
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
        Row("+", At(Method::Post, "/populate_metric", "{}"), "400", Refused(404, "populate is not available in this version"), "not built yet"),
    ]
}

fn fill_in(text: &str) -> String {
    let mut text = text.to_owned();
    let elements = [
        vec!["x".repeat(200); 21].join("."),
        "x".repeat(252),
        "9".repeat(400),
    ];
    let many = vec![r#"{"metric":"a","value":1}"#; 1001].join(",");
    for (sign, name) in [
        ("{KEY}", KEY),
        ("{K2}", K2),
        ("{DIGITS}", DIGITS),
        ("{21x200}", &elements[0]),
        ("{252}", &elements[1]),
        ("{NINES}", &elements[2]),
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

fn ask(ask: &Ask, scratch: &mut Scratch) -> (Decision, Collected) {
    let mut sink = Collected::default();
    let (method, path, fields, text) = match ask {
        Get(query) => (Method::Get, "/metric_data", Fields::default(), *query),
        Post(body) => (Method::Post, "/metric_data_post", Fields::default(), *body),
        With(fields, body) => (Method::Post, "/metric_data_post", *fields, *body),
        At(method, path, text) => (*method, *path, Fields::default(), *text),
        Body(_) => (Method::Post, "/metric_data_post", Fields::default(), ""),
    };
    let text = fill_in(text);
    let (path, path_query) = path
        .split_once('?')
        .map_or((path, None), |(p, q)| (p, Some(q)));
    let (query, body) = match (method, ask) {
        (_, Body(body)) => (None, *body),
        (Method::Post, _) => (path_query.map(str::as_bytes), text.as_bytes()),
        _ => (Some(text.as_bytes()), &b""[..]),
    };
    let message = Message {
        method,
        path: path.as_bytes(),
        query,
        fields,
        body,
        http_1_0: false,
        keep_alive: true,
    };
    let decision = api().decide(&message, NOW, scratch, &mut sink);
    (decision, sink)
}

fn answered(decision: &Decision) -> (&Answer, Tally) {
    match decision {
        Decision::Answer { answer, tally } => (answer, *tally),
        other => panic!("not an answer: {other:?}"),
    }
}

fn check(row: &Row, scratch: &mut Scratch) {
    let Row(number, request, _, want, _) = row;
    let (decision, sink) = ask(request, scratch);
    let place = format!("row {number}: {decision:?} {sink:?}");
    match want {
        Points(points) => {
            let Decision::Points(tally) = decision else {
                panic!("{place}");
            };
            let expected = points.iter().map(|(name, value, offset)| {
                let timestamp = (i64::from(NOW) + offset) as u32;
                ((*name).to_owned(), timestamp, value.to_bits(), false)
            });
            let got = sink
                .0
                .iter()
                .map(|(n, t, v, f)| (n.clone(), *t, v.to_bits(), *f));
            assert!(expected.eq(got), "{place}");
            let discarded = tally.discarded_not_finite as usize;
            assert_eq!(tally.received as usize, points.len() + discarded, "{place}");
            assert_eq!(tally.problem, None, "{place}");
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
    for row in get_rows().iter().chain(&post_rows()) {
        check(row, &mut scratch);
    }
    // Backwards, so that every row follows another one too.
    for row in get_rows().iter().chain(&post_rows()).rev() {
        check(row, &mut scratch);
    }
}

/// A row whose answer differs says why, and one that does not has nothing to explain.
#[test]
fn every_difference_has_a_reason() {
    for Row(number, _, theirs, ours, why) in get_rows().iter().chain(&post_rows()) {
        let status = match ours {
            Points(_) | Filled(..) | NotFinite(_) => 204,
            Refused(status, _) | Exactly(status, _) => *status,
            Probe => 200,
        };
        let same = theirs.starts_with(&status.to_string());
        assert!(
            same || !why.is_empty(),
            "row {number} differs without a reason"
        );
    }
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
    assert_eq!(tally.problem.map(|problem| problem.reason()), Some("value"));
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
