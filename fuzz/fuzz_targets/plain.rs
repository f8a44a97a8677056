//! A body read in one pass means what the parser says it means. A blank behind the brace is none of the usual shape.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use skyline_flux::api::{Api, Decision, PointLimits, Scratch, auth::Keys};
use skyline_flux::http::{Fields, Message, Method};
use skyline_flux::point::Collected;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn decide(api: &Api, body: &[u8]) -> (Decision, Collected) {
    let message = Message {
        method: Method::Post,
        path: b"/metric_data_post",
        query: None,
        fields: Fields {
            key: Some(KEY.as_bytes()),
            ..Fields::default()
        },
        body,
        http_1_0: false,
        keep_alive: true,
    };
    let mut sink = Collected::default();
    let decision = api.decide(&message, 1_478_021_700, &mut Scratch::default(), &mut sink);
    (decision, sink)
}

fuzz_target!(|body: &[u8]| {
    let limits = PointLimits {
        age_seconds_max: 3600,
        future_seconds_max: 60,
        points_per_request_max: 1000,
        whisper_path_bytes: 30,
    };
    let api = Api::new(Keys::new(KEY, &BTreeMap::new()), limits);
    let Some(rest) = body.strip_prefix(b"{") else {
        return;
    };
    let parsed = [b"{ ", rest].concat();
    assert_eq!(decide(&api, body), decide(&api, &parsed));
});
