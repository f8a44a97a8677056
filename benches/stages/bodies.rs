//! What the stages are given.

use skyline_flux::api::PointLimits;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const SECOND: u32 = 1_478_021_700;
pub const POINTS: usize = 450;

pub const LIMITS: PointLimits = PointLimits {
    age_seconds_max: 3600,
    future_seconds_max: 60,
    points_per_request_max: 50_000,
    whisper_path_bytes: 30,
};

/// 40 bytes each.
pub fn names() -> Vec<String> {
    let name = |i| format!("stats.eu-west.host-07.http.count.{i:07}");
    (0..POINTS).map(name).collect()
}

fn value(point: usize) -> f64 {
    (point % 100) as f64 + 0.5
}

/// As Python's `json.dumps` writes them.
pub fn batch() -> String {
    let points = names().into_iter().enumerate().map(|(i, name)| {
        let value = value(i);
        format!(r#"{{"metric": "{name}", "value": {value}, "timestamp": {SECOND}}}"#)
    });
    let points = points.collect::<Vec<_>>().join(", ");
    format!(r#"{{"key": "{KEY}", "metrics": [{points}]}}"#)
}

pub fn single() -> String {
    let name = names().swap_remove(0);
    format!(r#"{{"metric": "{name}", "value": 1.5, "timestamp": {SECOND}, "key": "{KEY}"}}"#)
}

pub fn post(body: &str) -> String {
    format!(
        "POST /metric_data_post HTTP/1.1\r\nHost: flux.example.org:8000\r\nUser-Agent: python-requests/2.32.3\r\n\
         Accept: */*\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
