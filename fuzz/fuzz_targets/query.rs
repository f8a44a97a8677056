//! A query read in one pass means what the other reader says it means. An empty pair at the end is none of the usual
//! shape.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use skyline_flux::api::{Api, PointLimits, Scratch, auth::Keys};
use skyline_flux::http::{Fields, Message, Method};
use skyline_flux::point::Collected;

/// To the last bit of a value: a zero is told from a negative one.
fn decide(api: &Api, query: &[u8]) -> String {
    let message = Message {
        method: Method::Get,
        path: b"/metric_data",
        query: Some(query),
        fields: Fields::default(),
        body: b"",
        http_1_0: false,
        keep_alive: true,
    };
    let mut sink = Collected::default();
    let decision = api.decide(&message, 1_478_021_700, &mut Scratch::default(), &mut sink);
    format!("{decision:?} {sink:?}")
}

fuzz_target!(|query: &[u8]| {
    let limits = PointLimits {
        age_seconds_max: 3600,
        future_seconds_max: 60,
        points_per_request_max: 1000,
        whisper_path_bytes: 30,
    };
    let api = Api::new(Keys::new("k", &BTreeMap::new()), limits);
    let longer = [query, b"&"].concat();
    assert_eq!(decide(&api, query), decide(&api, &longer));
});
