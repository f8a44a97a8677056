//! A Telegraf batch is taken whole or refused whole, and every value in it is counted exactly once.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use skyline_flux::api::{Api, Decision, PointLimits, Scratch, auth::Keys};
use skyline_flux::http::{Fields, Message, Method};
use skyline_flux::point::Collected;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fuzz_target!(|input: (&[u8], &[u8])| {
    let (prefix, element) = input;
    let limits = PointLimits {
        age_seconds_max: u32::MAX,
        future_seconds_max: 60,
        points_per_request_max: 1000,
        whisper_path_bytes: 30,
    };
    let api = Api::new(Keys::new(KEY, &BTreeMap::new()), limits);
    let fields = Fields {
        key: Some(KEY.as_bytes()),
        telegraf: Some(b"true"),
        prefix: Some(prefix),
        ..Fields::default()
    };
    let first: &[u8] =
        br#"{"metrics":[{"fields":{"n":1},"name":"m","tags":{"host":"h"},"timestamp":1478021700},"#;
    let body = [first, element, b"]}"].concat();
    let message = Message {
        method: Method::Post,
        path: b"/metric_data_post",
        query: None,
        fields,
        body: &body,
        http_1_0: false,
        keep_alive: true,
    };
    let mut sink = Collected::default();
    match api.decide(&message, 1_478_021_700, &mut Scratch::default(), &mut sink) {
        Decision::Points(tally) | Decision::Partly { tally, .. } => {
            let left_out = tally.discarded_not_finite + tally.not_numeric + tally.unnamed;
            assert_eq!(tally.received as usize, sink.0.len() + left_out as usize);
        }
        Decision::Answer { answer, .. } => {
            assert!((400..500).contains(&answer.status) || answer.status == 200)
        }
        Decision::Probe(_) | Decision::Job => {}
    }
});
