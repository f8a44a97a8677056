//! `flux explain`: one line per point of a request body, ours or Telegraf's, or of carbon lines. Pure.
//!
//! It tells what a request's own points and the configuration decide. Keys, quotas, duplicates and budgets depend
//! on the running service and are not looked at.

use std::fmt::Write;

use crate::api::explain::{self, Explained, Verdict};
use crate::api::quota::Quotas;
use crate::api::validate::Fault;
use crate::api::{Api, Scratch};
use crate::carbon::line::{self, LineError};
use crate::config::Config;
use crate::last::text::python_float;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The error is why the service would refuse all of it.
pub fn verdicts(config: &Config, input: &[u8], now: u32) -> Result<String, String> {
    let api = Api::of(config, Quotas::default());
    let body_bytes_max = config.http.body_bytes_max;
    if input.len() > body_bytes_max {
        return Err(format!(
            "refused: request body too large - http.body_bytes_max is {body_bytes_max}"
        ));
    }
    let text = input.strip_prefix(BOM).unwrap_or(input);
    match text.trim_ascii_start().first() {
        None => Err("nothing to explain: give a request body, or carbon lines".to_owned()),
        Some(b'{' | b'[') => body(&api, input, now),
        Some(_) => Ok(lines(&api, text, now)),
    }
}

fn body(api: &Api, body: &[u8], now: u32) -> Result<String, String> {
    let explained = explain::body(api, body, now, &mut Scratch::default());
    let explained = explained.map_err(|fault| refused(&fault))?;
    let mut out = String::new();
    for point in &explained {
        push(&mut out, point);
    }
    Ok(out)
}

/// Each line is numbered by its place in the input; empty ones are passed over.
fn lines(api: &Api, text: &[u8], now: u32) -> String {
    let mut scratch = Scratch::default();
    let mut out = String::new();
    let most = api.line.line_bytes_max;
    for (index, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        match (bytes.trim_ascii(), line::parse_line(bytes)) {
            _ if bytes.len() > most => {
                let _ = writeln!(
                    out,
                    "{number} - refused: longer than line.line_bytes_max = {most}"
                );
            }
            (b"", _) => {}
            (_, Ok(line)) => {
                let fields = (line.name, line.value, line.timestamp);
                let point = explain::line(api, fields, number, now, &mut scratch);
                push(&mut out, &point);
            }
            (_, Err(why @ (LineError::NotUtf8 | LineError::Fields))) => {
                let _ = writeln!(out, "{number} - refused: {why}");
            }
        }
    }
    out
}

/// Writing to a String cannot fail.
fn push(out: &mut String, point: &Explained) {
    let _ = write!(out, "{} ", point.item);
    push_name(out, &point.name);
    match &point.verdict {
        Verdict::Accepted { timestamp, value } => {
            let mut text = Vec::new();
            python_float(&mut text, *value);
            let value = String::from_utf8_lossy(&text);
            let _ = writeln!(out, " accepted {timestamp} {value}");
        }
        Verdict::DiscardedNotFinite => out.push_str(" discarded: not finite\n"),
        Verdict::Skipped => out.push_str(" discarded: it matches points.skip\n"),
        Verdict::NotNumeric => out.push_str(" discarded: not a number\n"),
        Verdict::Unnamed(values) => {
            let _ = writeln!(
                out,
                " discarded: {values} values, and no host tag or no name to call them by"
            );
        }
        Verdict::Refused(fault) => {
            let _ = writeln!(out, " {}", refused(fault));
        }
    }
}

fn refused(fault: &Fault) -> String {
    let message = fault.problem.message();
    if fault.why.is_empty() {
        format!("refused: {message}")
    } else {
        format!("refused: {message} - {}", fault.why)
    }
}

/// A refused name is shown as it was given, but it must neither break the line nor reach the terminal as
/// a command.
fn push_name(out: &mut String, name: &str) {
    if name.is_empty() {
        out.push('-');
    }
    for c in name.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_478_021_700;

    fn said(input: &str) -> Result<String, String> {
        verdicts(&Config::default(), input.as_bytes(), NOW)
    }

    #[test]
    fn every_point_of_a_body_gets_one_line() {
        let body = r#" {"metrics": [
            {"metric": "a.b", "value": 1, "timestamp": 1478021700},
            {"metric": "x", "value": "one"},
            {"metric": "y", "value": NaN},
            {"metric": "new\nline\u001b[2J", "value": 1},
            {"value": 1},
            {"metric": "old", "value": 0.1, "timestamp": 1000000000},
            {"metric": "old", "value": 1e16, "timestamp": 14, "fill": true}]}"#;
        let expected = r"1 a.b accepted 1478021700 1.0
2 x refused: invalid value - not a number
3 y discarded: not finite
4 new\nline\u{1b}[2J refused: invalid metric - invalid characters in name
5 - refused: invalid metric - the item has no metric
6 old refused: invalid timestamp - timestamp is too old, older than 3600 seconds
7 old accepted 14 1e+16
";
        assert_eq!(said(body).unwrap(), expected);
        assert_eq!(
            said("\u{feff}{\"metric\": \"a\", \"value\": 2}").unwrap(),
            "1 a accepted 1478021700 2.0\n"
        );
    }

    #[test]
    fn every_carbon_line_gets_one_line_with_its_place() {
        let lines = "a.b 1.5 1478021700\n\r\na.c nan 1478021700\r\na.d 1\na.e 1 2 3\n";
        let expected = "1 a.b accepted 1478021700 1.5
3 a.c discarded: not finite
4 - refused: not three fields: name value timestamp
5 - refused: not three fields: name value timestamp
";
        assert_eq!(said(lines).unwrap(), expected);
        let wrong = verdicts(&Config::default(), b"a\xff 1 1478021700", NOW);
        assert_eq!(wrong.unwrap(), "1 - refused: not UTF-8\n");
    }

    #[test]
    fn skip_patterns_and_telegrafs_form_are_known() {
        let body = r#"{"metrics": [
            {"fields": {"idle": 1, "state": "ok"}, "name": "cpu", "tags": {"host": "h.x"}, "timestamp": 1478021700},
            {"fields": {"idle": 1, "busy": 2}, "name": "cpu", "tags": {}, "timestamp": 1478021700},
            {"fields": {"x": 1}, "name": "analyzer", "tags": {"host": "skyline"}, "timestamp": 1478021700}]}"#;
        let expected = "1 h.x.cpu.idle accepted 1478021700 1.0
1 h.x.cpu.state discarded: not a number
2 - discarded: 2 values, and no host tag or no name to call them by
3 skyline.analyzer.x discarded: it matches points.skip
";
        assert_eq!(said(body).unwrap(), expected);
        let mut config = Config::default();
        config.points.telegraf_sanitise = true;
        let sanitised = verdicts(&config, body.as_bytes(), NOW).unwrap();
        assert!(sanitised.starts_with("1 h_x.cpu.idle "), "{sanitised}");

        let lines = "skyline.mirage.x 1 -1\nskyline.mirage.run_time 1 -1\n";
        let expected = "1 skyline.mirage.x discarded: it matches points.skip
2 skyline.mirage.run_time accepted 1478021700 1.0
";
        assert_eq!(said(lines).unwrap(), expected);
        let long = format!("{} 1 -1\na 1 -1\n", "n".repeat(9_000));
        let expected =
            "1 - refused: longer than line.line_bytes_max = 8192\n2 a accepted 1478021700 1.0\n";
        assert_eq!(said(&long).unwrap(), expected);
    }

    #[test]
    fn what_is_refused_whole_is_one_line() {
        let mut config = Config::default();
        config.points.points_per_request_max = 1;
        config.http.body_bytes_max = 60;
        let refused = |input: &str| verdicts(&config, input.as_bytes(), NOW).unwrap_err();
        assert_eq!(refused("{\"metric\":"), "refused: invalid json data");
        assert_eq!(refused("[1]"), "refused: no POST data received");
        assert_eq!(
            refused(r#"{"metrics":[{"metric":"a"},{"metric":"b"}]}"#),
            "refused: too many points in one request - 2, and points_per_request_max is 1"
        );
        let long = refused(&"a 1 1478021700\n".repeat(5));
        assert!(long.contains("http.body_bytes_max is 60"), "{long}");
        assert!(refused(" \n").starts_with("nothing to explain"));
    }
}
